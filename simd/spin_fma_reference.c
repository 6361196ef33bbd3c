/* A loop of fused multiply-adds in scalar C: 64 independent chains, which compilers vectorize. */
#include "spin_fma.h"

#include <math.h>

uint64_t psc_spin_fma__reference(float *sink, uint64_t rounds) {
    float chains[64];
    for (int i = 0; i < 64; i++) chains[i] = (float)i;
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < 64; i++) chains[i] = fmaf(chains[i], 0.5f, 1.0f);
    }
    for (int i = 0; i < 64; i++) *sink += chains[i];
    return rounds * 64 * 2;
}
