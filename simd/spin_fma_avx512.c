/* A loop of fused multiply-adds in AVX-512: 24 chains of sixteen lanes, all in registers. */
#include "spin_fma.h"
#include "tile_avx512.h"

#define CHAINS 24

uint64_t psc_spin_fma__avx512(float *sink, uint64_t rounds) {
    vec chains[CHAINS], half = vec_set(0.5f), one = vec_set(1.0f);
    float lanes[VEC];
    UNROLL for (int i = 0; i < CHAINS; i++) chains[i] = vec_set((float)i);
    for (uint64_t round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < CHAINS; i++) chains[i] = vec_fma(chains[i], half, one);
    }
    UNROLL for (int i = 0; i < CHAINS; i++) {
        vec_store(lanes, chains[i]);
        *sink += lanes[i % VEC];
    }
    return rounds * CHAINS * VEC * 2;
}
