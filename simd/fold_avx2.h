/* The final folds of striped sums in AVX2: lanes +8, +4, +2, +1.
 * Private to simd/: tile_avx2.h and tile_avx512.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef FOLD_AVX2_H
#define FOLD_AVX2_H

#include <immintrin.h>

/* Lanes +4, +2, +1. */
static inline float fold_eight_lanes(__m256 eight) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* Lanes +2, +1. */
static inline double fold_four_lanes_f64(__m256d four) {
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Lanes +8, +4, +2, +1 of eight accumulators at once. Shuffles pair the lanes; each sum equals the
 * one from folding a single accumulator. */
static inline void fold_eight(float sums[8], const float *acc) {
    __m256 a[8], b[4];
    UNROLL for (int i = 0; i < 8; i++) {
        a[i] = _mm256_add_ps(_mm256_load_ps(acc + i * 16), _mm256_load_ps(acc + i * 16 + 8));
    }
    UNROLL for (int i = 0; i < 4; i++) {
        b[i] = _mm256_add_ps(_mm256_permute2f128_ps(a[2 * i], a[2 * i + 1], 0x20),
            _mm256_permute2f128_ps(a[2 * i], a[2 * i + 1], 0x31));
    }
    /* b[i] holds four lanes of accumulator 2i, then four of 2i+1. */
    __m256 low =
        _mm256_add_ps(_mm256_shuffle_ps(b[0], b[1], 0x44), _mm256_shuffle_ps(b[0], b[1], 0xee));
    __m256 high =
        _mm256_add_ps(_mm256_shuffle_ps(b[2], b[3], 0x44), _mm256_shuffle_ps(b[2], b[3], 0xee));
    __m256 mixed =
        _mm256_add_ps(_mm256_shuffle_ps(low, high, 0x88), _mm256_shuffle_ps(low, high, 0xdd));
    /* Now 0 2 4 6 in the lower half, 1 3 5 7 in the upper. */
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_ps(sums, _mm256_permutevar8x32_ps(mixed, order));
}

#endif
