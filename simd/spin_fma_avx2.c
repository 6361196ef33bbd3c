/* A loop of fused multiply-adds in AVX2: twelve chains of eight lanes, all in registers. */
#include "spin_fma.h"
#include "tile_avx2.h"

uint64_t psc_spin_fma__avx2(float *sink, uint64_t rounds) {
    __m256 chains[12], half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
    float lanes[8];
    UNROLL for (int i = 0; i < 12; i++) chains[i] = _mm256_set1_ps((float)i);
    for (uint64_t round = 0; round < rounds; round++) {
        UNROLL for (int i = 0; i < 12; i++) chains[i] = _mm256_fmadd_ps(chains[i], half, one);
    }
    UNROLL for (int i = 0; i < 12; i++) {
        _mm256_storeu_ps(lanes, chains[i]);
        *sink += lanes[i % 8];
    }
    return rounds * 12 * 8 * 2;
}
