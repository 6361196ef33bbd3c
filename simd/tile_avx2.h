/* The vocabulary of the frames and the register tile on AVX2.
 * Private to simd/: the *_avx2.c files, compiled with -mavx2 -mfma -mf16c.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_AVX2_H
#define TILE_AVX2_H

#include "frame.h"

#include <immintrin.h>
#include <sleef.h>

#include "fold_avx2.h"

#define PSC_NAME(op) psc_##op##__avx2

#define VEC 8
#define PANEL_REGISTERS 2
/* 12 accumulators, one input and two weights in 16 registers. */
#define TILE_ROWS 6
#define TILE_PANELS 1
#define TILE_MAX_PANELS 4
/* Few rows: 12 accumulators. Widening bf16 for every three rows costs most. */
#define STREAM_ROWS 3
#define STREAM_MOST(dtype) ((dtype) == PSC_DTYPE_BF16 ? 12 : PSC_FEW_ROWS)
/* Many rows: 12 accumulators, three weights and one input. Four rows by three registers need the
 * fewest loads and other operations per multiply-add: 7 per 12. */
#define NEAR_TILE_ROWS 4
#define NEAR_TILE_REGISTERS 3
#define PULL_ROWS 3
#define QUAD_ROWS 2
#define FOLD_WIDTH 8

typedef __m256 vec;
typedef __m256d vec64;

/* Without these, compilers load the inputs of later terms early and accumulate in the product's
 * register, until the accumulators no longer fit into the registers. */
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")
#define ACCUMULATE(sum, a, b)                                                                      \
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))
/* value = the float at base + bytes + displacement in all lanes; the displacement is a constant.
 * Left alone, compilers spend one operation per term on the sum of two of them. */
#define BROADCAST_AT(value, base, bytes, displacement)                                             \
    __asm__ volatile("vbroadcastss %c3(%1,%2), %0"                                                 \
                     : "=x"(value)                                                                 \
                     : "r"(base), "r"(bytes), "i"(displacement))

#define vec_load(from) _mm256_loadu_ps(from)
#define vec_store(to, value) _mm256_storeu_ps(to, value)
#define vec_set(value) _mm256_set1_ps(value)
#define vec_zero() _mm256_setzero_ps()
#define vec_add(a, b) _mm256_add_ps(a, b)
#define vec_sub(a, b) _mm256_sub_ps(a, b)
#define vec_mul(a, b) _mm256_mul_ps(a, b)
#define vec_div(a, b) _mm256_div_ps(a, b)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define vec_greater(x, max) _mm256_max_ps(x, max)
#define vec_smaller(limit, x) _mm256_min_ps(limit, x)
#define vec_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define vec_with_sign(a, of) _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0f), of))
#define vec_powers(t) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23))
#define vec_sub_bits(a, b)                                                                         \
    _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)))
#define vec_where_less(a, b, yes, no) _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ))
#define vec_stream(to, value) _mm256_stream_ps(to, value)
#define STREAM_END() _mm_sfence()
#define vec64_load(from) _mm256_loadu_pd(from)
#define vec64_store(to, value) _mm256_storeu_pd(to, value)
#define vec64_half(a, h)                                                                           \
    _mm256_cvtps_pd((h) ? _mm256_extractf128_ps(a, 1) : _mm256_castps256_ps128(a))
#define vec64_set(value) _mm256_set1_pd(value)
#define vec64_first(a) _mm256_cvtsd_f64(a)
#define vec64_add(a, b) _mm256_add_pd(a, b)
#define vec64_sub(a, b) _mm256_sub_pd(a, b)
#define vec64_abs(a) _mm256_andnot_pd(_mm256_set1_pd(-0.0), a)
#define vec64_mul(a, b) _mm256_mul_pd(a, b)
#define vec64_div(a, b) _mm256_div_pd(a, b)
#define vec64_fma(a, b, c) _mm256_fmadd_pd(a, b, c)
#define vec64_greater(x, max) _mm256_max_pd(x, max)
#define vec64_where_less(a, b, yes, no) _mm256_blendv_pd(no, yes, _mm256_cmp_pd(a, b, _CMP_LT_OQ))
#define vec64_powers(t) _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(t), 52))
#define vec64_sub_bits(a, b)                                                                       \
    _mm256_castsi256_pd(_mm256_sub_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b)))
#define vec64_narrow(to, a) _mm_storeu_ps(to, _mm256_cvtpd_ps(a))
#define vec64_bits_less(a, b) ((uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ)))
#define vec_bits_less(a, b) ((uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)))
#define vec_count_less(count, a, b)                                                                \
    vec_sub_bits(count, _mm256_cmp_ps(a, b, _CMP_LT_OQ)) /* all ones is -1 */
#define vec64_log(x) Sleef_finz_logd4_u10avx2(x)

ALWAYS_INLINE vec widen_bits(__m128i bits, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F16) return _mm256_cvtph_ps(bits);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

ALWAYS_INLINE vec load_weights(const void *w, size_t i, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) return _mm256_load_ps((const float *)w + i);
    return widen_bits(
        _mm_load_si128((const __m128i *)(const void *)((const uint16_t *)w + i)), dtype);
}

ALWAYS_INLINE vec load_narrow(const void *x, size_t i, psc_dtype dtype) {
    return widen_bits(
        _mm_loadu_si128((const __m128i *)(const void *)((const char *)x + 2 * i)), dtype);
}

/* All ones in the first n of eight lanes, n < 8. */
static inline __m256i lane_mask(size_t n) {
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n));
}

ALWAYS_INLINE vec load_some(const float *from, size_t left) {
    return left >= 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lane_mask(left));
}

ALWAYS_INLINE void store_some(float *to, vec value, size_t left) {
    if (left >= 8) {
        _mm256_storeu_ps(to, value);
    } else {
        _mm256_maskstore_ps(to, lane_mask(left), value);
    }
}

ALWAYS_INLINE vec keep_past_end(vec kept, vec value, size_t left) {
    if (left >= 8) return value;
    return _mm256_blendv_ps(kept, value, _mm256_castsi256_ps(lane_mask(left)));
}

/* All ones in the first n of four lanes, n < 4. */
static inline __m256i lane_mask_f64(size_t n) {
    return _mm256_cvtepi32_epi64(_mm256_castsi256_si128(lane_mask(n)));
}

ALWAYS_INLINE vec64 load_some_f64(const double *from, size_t left) {
    return left >= 4 ? _mm256_loadu_pd(from) : _mm256_maskload_pd(from, lane_mask_f64(left));
}

ALWAYS_INLINE void store_some_f64(double *to, vec64 value, size_t left) {
    if (left >= 4) {
        _mm256_storeu_pd(to, value);
    } else {
        _mm256_maskstore_pd(to, lane_mask_f64(left), value);
    }
}

ALWAYS_INLINE vec64 keep_past_end_f64(vec64 kept, vec64 value, size_t left) {
    if (left >= 4) return value;
    return _mm256_blendv_pd(kept, value, _mm256_castsi256_pd(lane_mask_f64(left)));
}

ALWAYS_INLINE vec64 vec64_of_floats(const float *from, size_t left) {
    __m128 four = left >= 4 ? _mm_loadu_ps(from)
                            : _mm_maskload_ps(from, _mm256_castsi256_si128(lane_mask(left)));
    return _mm256_cvtps_pd(four);
}

static inline float fold(const vec lanes[2]) {
    return fold_eight_lanes(_mm256_add_ps(lanes[0], lanes[1]));
}

static inline double fold_f64(const vec64 lanes[4]) {
    __m256d low = _mm256_add_pd(lanes[0], lanes[2]);
    __m256d high = _mm256_add_pd(lanes[1], lanes[3]);
    return fold_four_lanes_f64(_mm256_add_pd(low, high));
}

#define fold_several(sums, acc) fold_eight(sums, acc)

/* Each step takes the even or the odd of what is left: lanes of four, then fours. */
ALWAYS_INLINE void half_turn(vec to[4], const vec a[8], const int odd) {
    vec b[4], c[2];
    UNROLL for (int i = 0; i < 4; i++) {
        const vec x = a[2 * i], y = a[2 * i + 1];
        b[i] = odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
    }
    UNROLL for (int i = 0; i < 2; i++) { /* lanes 4q + odd, then 4q + 2 + odd */
        UNROLL for (int j = 0; j < 2; j++) {
            const vec x = b[2 * j], y = b[2 * j + 1];
            c[j] = i ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
        }
        to[i] = _mm256_permute2f128_ps(c[0], c[1], 0x20);
        to[i + 2] = _mm256_permute2f128_ps(c[0], c[1], 0x31);
    }
}

#include "tile_broadcast.h"

#endif
