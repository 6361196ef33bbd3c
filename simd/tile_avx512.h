/* The vocabulary of the frames and the register tile on AVX-512.
 * Private to simd/: the *_avx512.c files, compiled with -mavx512f -mfma -mf16c; AVX-512F is enough.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_AVX512_H
#define TILE_AVX512_H

#include "frame.h"

#include <immintrin.h>
#include <sleef.h>

#include "fold_avx2.h"

#define PSC_NAME(op) psc_##op##__avx512

#define VEC 16
#define PANEL_REGISTERS 1
/* 24 accumulators, one input and two weights in 32 registers. */
#define TILE_ROWS 12
#define TILE_PANELS 2
#define TILE_MAX_PANELS 4
/* Few rows: up to 24 accumulators, so that 12 rows widen a weight once. */
#define STREAM_ROWS 12
#define STREAM_MOST(dtype) PSC_FEW_ROWS
/* Many rows: 24 accumulators, three weights and one input. */
#define NEAR_TILE_ROWS 8
#define NEAR_TILE_REGISTERS 3
#define PULL_ROWS 6
#define QUAD_ROWS 4
#define FOLD_WIDTH 16

typedef __m512 vec;
typedef __m512d vec64;

/* With 32 registers a compiler keeps the accumulators in place. */
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")
#define ACCUMULATE(sum, a, b) ((sum) = _mm512_fmadd_ps(a, b, sum))
/* value = the float at base + bytes + displacement in all lanes. */
#define BROADCAST_AT(value, base, bytes, displacement)                                             \
    ((value) = vec_set(*(const float *)(const void *)((base) + (bytes) + (displacement))))

#define vec_load(from) _mm512_loadu_ps(from)
#define vec_store(to, value) _mm512_storeu_ps(to, value)
#define vec_set(value) _mm512_set1_ps(value)
#define vec_zero() _mm512_setzero_ps()
#define vec_add(a, b) _mm512_add_ps(a, b)
#define vec_sub(a, b) _mm512_sub_ps(a, b)
#define vec_mul(a, b) _mm512_mul_ps(a, b)
#define vec_div(a, b) _mm512_div_ps(a, b)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define vec_greater(x, max) _mm512_max_ps(x, max)
#define vec_smaller(limit, x) _mm512_min_ps(limit, x)
#define vec_abs(a) _mm512_abs_ps(a)
#define vec_with_sign(a, of)                                                                       \
    _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(a), _mm512_castps_si512(of), \
        _mm512_set1_epi32(INT32_MIN), 0xf8)) /* a | (of & sign) */
#define vec_powers(t) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23))
#define vec_sub_bits(a, b)                                                                         \
    _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)))
#define vec_where_less(a, b, yes, no)                                                              \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes)
#define vec_stream(to, value) _mm512_stream_ps(to, value)
#define STREAM_END() _mm_sfence()
#define vec64_load(from) _mm512_loadu_pd(from)
#define vec64_store(to, value) _mm512_storeu_pd(to, value)
#define vec64_set(value) _mm512_set1_pd(value)
#define vec64_first(a) _mm256_cvtsd_f64(_mm512_castpd512_pd256(a))
#define vec64_add(a, b) _mm512_add_pd(a, b)
#define vec64_sub(a, b) _mm512_sub_pd(a, b)
#define vec64_abs(a) _mm512_abs_pd(a)
#define vec64_mul(a, b) _mm512_mul_pd(a, b)
#define vec64_div(a, b) _mm512_div_pd(a, b)
#define vec64_fma(a, b, c) _mm512_fmadd_pd(a, b, c)
#define vec64_greater(x, max) _mm512_max_pd(x, max)
#define vec64_where_less(a, b, yes, no)                                                            \
    _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), no, yes)
#define vec64_powers(t) _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t), 52))
#define vec64_sub_bits(a, b)                                                                       \
    _mm512_castsi512_pd(_mm512_sub_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b)))
#define vec64_narrow(to, a) _mm256_storeu_ps(to, _mm512_cvtpd_ps(a))
#define vec64_bits_less(a, b) ((uint32_t)_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ))
#define vec_bits_less(a, b) ((uint32_t)_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ))
#define vec_count_less(count, a, b)                                                                \
    _mm512_castsi512_ps(_mm512_mask_add_epi32(_mm512_castps_si512(count),                          \
        _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), _mm512_castps_si512(count), _mm512_set1_epi32(1)))
#define vec64_log(x) Sleef_finz_logd8_u10avx512f(x)

/* The first n of sixteen or eight lanes; n is smaller than their number. */
#define LANES_BELOW(n) ((1u << (n)) - 1u)

ALWAYS_INLINE __m256 lower_half(vec a) {
    return _mm512_castps512_ps256(a);
}

ALWAYS_INLINE __m256 upper_half(vec a) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
}

ALWAYS_INLINE vec64 vec64_half(vec a, int upper) {
    return _mm512_cvtps_pd(upper ? upper_half(a) : lower_half(a));
}

ALWAYS_INLINE vec widen_bits(__m256i bits, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F16) return _mm512_cvtph_ps(bits);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

ALWAYS_INLINE vec load_weights(const void *w, size_t i, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) return _mm512_loadu_ps((const float *)w + i);
    return widen_bits(
        _mm256_load_si256((const __m256i *)(const void *)((const uint16_t *)w + i)), dtype);
}

ALWAYS_INLINE vec load_narrow(const void *x, size_t i, psc_dtype dtype) {
    return widen_bits(
        _mm256_loadu_si256((const __m256i *)(const void *)((const char *)x + 2 * i)), dtype);
}

ALWAYS_INLINE vec load_some(const float *from, size_t left) {
    if (left >= 16) return _mm512_loadu_ps(from);
    return _mm512_maskz_loadu_ps((__mmask16)LANES_BELOW(left), from);
}

ALWAYS_INLINE void store_some(float *to, vec value, size_t left) {
    if (left >= 16) {
        _mm512_storeu_ps(to, value);
    } else {
        _mm512_mask_storeu_ps(to, (__mmask16)LANES_BELOW(left), value);
    }
}

ALWAYS_INLINE vec keep_past_end(vec kept, vec value, size_t left) {
    if (left >= 16) return value;
    return _mm512_mask_blend_ps((__mmask16)LANES_BELOW(left), kept, value);
}

ALWAYS_INLINE vec64 load_some_f64(const double *from, size_t left) {
    if (left >= 8) return _mm512_loadu_pd(from);
    return _mm512_maskz_loadu_pd((__mmask8)LANES_BELOW(left), from);
}

ALWAYS_INLINE void store_some_f64(double *to, vec64 value, size_t left) {
    if (left >= 8) {
        _mm512_storeu_pd(to, value);
    } else {
        _mm512_mask_storeu_pd(to, (__mmask8)LANES_BELOW(left), value);
    }
}

ALWAYS_INLINE vec64 keep_past_end_f64(vec64 kept, vec64 value, size_t left) {
    if (left >= 8) return value;
    return _mm512_mask_blend_pd((__mmask8)LANES_BELOW(left), kept, value);
}

ALWAYS_INLINE vec64 vec64_of_floats(const float *from, size_t left) {
    if (left >= 8) return _mm512_cvtps_pd(_mm256_loadu_ps(from));
    return vec64_half(load_some(from, left), 0);
}

static inline float fold(const vec lanes[1]) {
    return fold_eight_lanes(_mm256_add_ps(lower_half(lanes[0]), upper_half(lanes[0])));
}

static inline double fold_f64(const vec64 lanes[2]) {
    vec64 eight = _mm512_add_pd(lanes[0], lanes[1]);
    return fold_four_lanes_f64(
        _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1)));
}

/* Sixteen accumulators: each step adds lanes to those 8, 4, 2, then 1 on, of two registers at once,
 * and blends the two results into one register. */
static inline void fold_several(float sums[16], const float *acc) {
    __m512 a[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = _mm512_load_ps(acc + i * 16);
    UNROLL for (int i = 0; i < 8; i++) { /* lanes +8: [a a b b] */
        const __m512 x = a[2 * i], y = a[2 * i + 1];
        a[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, x, y), _mm512_shuffle_f32x4(x, y, 0x4e));
    }
    UNROLL for (int i = 0; i < 4; i++) { /* lanes +4: [a c b d] */
        const __m512 x = a[2 * i], y = a[2 * i + 1], z = _mm512_mask_blend_ps(0x0f0f, x, y);
        a[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xf0f0, x, y), _mm512_shuffle_f32x4(z, z, 0xb1));
    }
    UNROLL for (int i = 0; i < 2; i++) { /* lanes +2 */
        const __m512 x = a[2 * i], y = a[2 * i + 1];
        a[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, x, y), _mm512_shuffle_ps(x, y, 0x4e));
    }
    a[0] = _mm512_add_ps(_mm512_shuffle_ps(a[0], a[1], 0x88), _mm512_shuffle_ps(a[0], a[1], 0xdd));
    /* Part p has p, p + 4, p + 8, p + 12. */
    const __m512i order = _mm512_setr_epi32(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15);
    _mm512_storeu_ps(sums, _mm512_permutexvar_ps(order, a[0]));
}

/* Each step takes the even or the odd of what is left: lanes of four, then fours. */
ALWAYS_INLINE void half_turn(vec to[8], const vec a[16], const int odd) {
    vec b[8], c[4], d[4];
    UNROLL for (int i = 0; i < 8; i++) {
        const vec x = a[2 * i], y = a[2 * i + 1];
        b[i] = odd ? _mm512_shuffle_ps(x, y, 0xdd) : _mm512_shuffle_ps(x, y, 0x88);
    }
    UNROLL for (int i = 0; i < 2; i++) { /* lanes 4q + odd, then 4q + 2 + odd */
        UNROLL for (int j = 0; j < 4; j++) {
            const vec x = b[2 * j], y = b[2 * j + 1];
            c[j] = i ? _mm512_shuffle_ps(x, y, 0xdd) : _mm512_shuffle_ps(x, y, 0x88);
        }
        UNROLL for (int j = 0; j < 2; j++) {
            d[j] = _mm512_shuffle_f32x4(c[2 * j], c[2 * j + 1], 0x88); /* q = 0, 2 */
            d[2 + j] = _mm512_shuffle_f32x4(c[2 * j], c[2 * j + 1], 0xdd);
        }
        UNROLL for (int j = 0; j < 2; j++) {
            to[i + 2 * j] = _mm512_shuffle_f32x4(d[2 * j], d[2 * j + 1], 0x88);
            to[i + 2 * j + 4] = _mm512_shuffle_f32x4(d[2 * j], d[2 * j + 1], 0xdd);
        }
    }
}

#include "tile_broadcast.h"

#endif
