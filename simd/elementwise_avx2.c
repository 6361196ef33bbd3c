/* Elementwise kernels on AVX2, eight elements a step: GELU, rotary, sums, widening, exp, erf, log;
 * equal to elementwise_reference.c to the bit. */
#include "kernel_names.h"
#include "tile_avx2.h"
#include "widen.h"

#include <sleef.h>

void psc_gelu__avx2(float *y, float *gate, const float *a, size_t n) {
    __m256 root = _mm256_set1_ps(0.70710678f), half = _mm256_set1_ps(0.5f);
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 value = load_some(a + i, left);
        __m256 erf = Sleef_finz_erff8_u10avx2(_mm256_mul_ps(value, root));
        __m256 phi = _mm256_fmadd_ps(half, erf, half);
        if (gate) store_some(gate + i, phi, left);
        store_some(y + i, _mm256_mul_ps(value, phi), left);
    }
}

void psc_rotary__avx2(float *y, const float *x, const float *cos, const float *sin, size_t n_heads,
    size_t d_head, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *to = y + h * d_head;
        const float *from = x + h * d_head;
        for (size_t i = 0; i < half; i += 8) {
            size_t left = half - i;
            __m256 a = load_some(from + i, left), b = load_some(from + half + i, left);
            __m256 c = load_some(cos + i, left), s = load_some(sin + i, left);
            __m256 turned_b = _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c));
            store_some(to + i, _mm256_fnmadd_ps(b, s, _mm256_mul_ps(a, c)), left);
            store_some(to + half + i, turned_b, left);
        }
        for (size_t i = 2 * half; i < d_head; i += 8) {
            store_some(to + i, load_some(from + i, d_head - i), d_head - i);
        }
    }
}

void psc_add__avx2(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m256 sum = _mm256_add_ps(load_some(a + i, n - i), load_some(b + i, n - i));
        store_some(y + i, sum, n - i);
    }
}

void psc_add3__avx2(float *y, const float *a, const float *b, const float *c, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m256 sum = _mm256_add_ps(load_some(a + i, n - i), load_some(b + i, n - i));
        store_some(y + i, _mm256_add_ps(sum, load_some(c + i, n - i)), n - i);
    }
}

void psc_sum_blocks__avx2(
    float *y, const float *blocks, size_t ld, size_t n_blocks, const float *bias, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 total = n_blocks ? load_some(blocks + i, left) : _mm256_setzero_ps();
        for (size_t b = 1; b < n_blocks; b++) {
            total = _mm256_add_ps(total, load_some(blocks + b * ld + i, left));
        }
        if (bias) total = _mm256_add_ps(total, load_some(bias + i, left));
        store_some(y + i, total, left);
    }
}

static inline __m128i load_eight_halves(const void *x, size_t i) {
    return _mm_loadu_si128((const __m128i *)(const void *)((const char *)x + 2 * i));
}

void psc_widen_f16__avx2(float *y, const void *x, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(load_eight_halves(x, i)));
    }
    for (; i < n; i++) y[i] = widen(x, PSC_DTYPE_F16, i);
}

void psc_widen_bf16__avx2(float *y, const void *x, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i bits = _mm256_cvtepu16_epi32(load_eight_halves(x, i));
        _mm256_storeu_ps(y + i, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)));
    }
    for (; i < n; i++) y[i] = widen(x, PSC_DTYPE_BF16, i);
}

void psc_exp_f32__avx2(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        store_some(y + i, Sleef_finz_expf8_u10avx2(load_some(x + i, n - i)), n - i);
    }
}

void psc_erf_f32__avx2(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        store_some(y + i, Sleef_finz_erff8_u10avx2(load_some(x + i, n - i)), n - i);
    }
}

/* One to four doubles of a row with `left` to go. */
static inline __m256i lane_mask_f64(size_t left) {
    return _mm256_cvtepi32_epi64(_mm256_castsi256_si128(lane_mask(left)));
}

static inline __m256d load_some_f64(const double *from, size_t left) {
    if (left >= 4) return _mm256_loadu_pd(from);
    return _mm256_maskload_pd(from, lane_mask_f64(left));
}

static inline void store_some_f64(double *to, __m256d value, size_t left) {
    if (left >= 4) {
        _mm256_storeu_pd(to, value);
    } else {
        _mm256_maskstore_pd(to, lane_mask_f64(left), value);
    }
}

void psc_exp_f64__avx2(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        __m256d value = Sleef_finz_expd4_u10avx2(load_some_f64(x + i, n - i));
        store_some_f64(y + i, value, n - i);
    }
}

void psc_log_f64__avx2(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        __m256d value = Sleef_finz_logd4_u10avx2(load_some_f64(x + i, n - i));
        store_some_f64(y + i, value, n - i);
    }
}
