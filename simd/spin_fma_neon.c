/* A loop of fused multiply-adds in NEON: 24 chains of four lanes, all in registers. */
#include "spin_fma.h"
#include "tile_neon.h"

#define CHAINS 24

uint64_t psc_spin_fma__neon(float *sink, uint64_t rounds) {
    float32x4_t chains[CHAINS], half = vdupq_n_f32(0.5f);
    UNROLL for (int i = 0; i < CHAINS; i++) chains[i] = vdupq_n_f32((float)i);
    for (uint64_t round = 0; round < rounds; round++) {
        /* fmla adds to its accumulator: the chain grows until 1/4 rounds away. */
        UNROLL for (int i = 0; i < CHAINS; i++) chains[i] = vfmaq_f32(chains[i], half, half);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) *sink += vgetq_lane_f32(chains[i], 0);
    return rounds * CHAINS * 4 * 2;
}
