/* AVX-512 as two halves in AVX2: the part that simd/tile_avx512.h uses, so that the overlay's bits
 * can be tested on a CPU without AVX-512. Masks, widths and the order of operations are the real
 * ones. Included before everything else (-include) in the sources of test_avx512_emulated only.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef EMULATE_AVX512_H
#define EMULATE_AVX512_H

#include <cpuid.h>
#include <immintrin.h>
#include <sleef.h>
#include <string.h>

/* Makes dispatch.c find the instructions and a system that saves their registers. */
#define XCR0_AVX512 6u
static inline int emulated_cpuid_count(
    unsigned leaf, unsigned sub, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    int known = __get_cpuid_count(leaf, sub, a, b, c, d);
    if (leaf == 7) *b |= 1u << 16;
    return known;
}
#define __get_cpuid_count emulated_cpuid_count

typedef struct emulated_ps {
    __m256 half[2];
} emulated_ps;
typedef struct emulated_pd {
    __m256d half[2];
} emulated_pd;
typedef struct emulated_si {
    __m256i half[2];
} emulated_si;
#define __m512 emulated_ps
#define __m512d emulated_pd
#define __m512i emulated_si

#define EMULATED static inline __attribute__((always_inline, unused))
#define EACH_PS(expression)                                                                        \
    do {                                                                                           \
        emulated_ps result;                                                                        \
        for (int h = 0; h < 2; h++) result.half[h] = expression;                                   \
        return result;                                                                             \
    } while (0)
#define EACH_PD(expression)                                                                        \
    do {                                                                                           \
        emulated_pd result;                                                                        \
        for (int h = 0; h < 2; h++) result.half[h] = expression;                                   \
        return result;                                                                             \
    } while (0)
#define BINARY_PS(name)                                                                            \
    EMULATED emulated_ps emulated_##name(emulated_ps a, emulated_ps b) {                           \
        EACH_PS(_mm256_##name(a.half[h], b.half[h]));                                              \
    }
#define BINARY_PD(name)                                                                            \
    EMULATED emulated_pd emulated_##name(emulated_pd a, emulated_pd b) {                           \
        EACH_PD(_mm256_##name(a.half[h], b.half[h]));                                              \
    }
#define TERNARY_PS(name)                                                                           \
    EMULATED emulated_ps emulated_##name(emulated_ps a, emulated_ps b, emulated_ps c) {            \
        EACH_PS(_mm256_##name(a.half[h], b.half[h], c.half[h]));                                   \
    }

BINARY_PS(add_ps)
BINARY_PS(sub_ps)
BINARY_PS(mul_ps)
BINARY_PS(div_ps)
BINARY_PS(max_ps)
BINARY_PS(min_ps)
BINARY_PD(add_pd)
BINARY_PD(sub_pd)
BINARY_PD(mul_pd)
BINARY_PD(div_pd)
BINARY_PD(max_pd)
TERNARY_PS(fmadd_ps)
TERNARY_PS(fnmadd_ps)

EMULATED emulated_ps emulated_loadu_ps(const float *from) {
    EACH_PS(_mm256_loadu_ps(from + 8 * h));
}
EMULATED void emulated_storeu_ps(float *to, emulated_ps a) {
    for (int h = 0; h < 2; h++) _mm256_storeu_ps(to + 8 * h, a.half[h]);
}
EMULATED void emulated_stream_ps(float *to, emulated_ps a) {
    for (int h = 0; h < 2; h++) _mm256_stream_ps(to + 8 * h, a.half[h]);
}
EMULATED emulated_ps emulated_set1_ps(float value) {
    EACH_PS(_mm256_set1_ps(value));
}
EMULATED emulated_ps emulated_abs_ps(emulated_ps a) {
    EACH_PS(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.half[h]));
}
EMULATED emulated_ps emulated_maskz_loadu_ps(unsigned mask, const float *from) {
    float lanes[16] = {0};
    for (int i = 0; i < 16; i++) {
        if (mask & 1u << i) lanes[i] = from[i];
    }
    return emulated_loadu_ps(lanes);
}
EMULATED void emulated_mask_storeu_ps(float *to, unsigned mask, emulated_ps a) {
    float lanes[16];
    emulated_storeu_ps(lanes, a);
    for (int i = 0; i < 16; i++) {
        if (mask & 1u << i) to[i] = lanes[i];
    }
}
EMULATED emulated_ps emulated_mask_blend_ps(unsigned mask, emulated_ps a, emulated_ps b) {
    float lanes[16];
    emulated_storeu_ps(lanes, a);
    emulated_mask_storeu_ps(lanes, mask, b);
    return emulated_loadu_ps(lanes);
}
EMULATED emulated_ps emulated_shuffle_f32x4(emulated_ps a, emulated_ps b, int parts) {
    float from[2][16], to[16];
    emulated_storeu_ps(from[0], a);
    emulated_storeu_ps(from[1], b);
    for (int part = 0; part < 4; part++)
        memcpy(to + part * 4, from[part / 2] + (parts >> 2 * part & 3) * 4, 4 * sizeof *to);
    return emulated_loadu_ps(to);
}
EMULATED emulated_ps emulated_shuffle_ps(emulated_ps a, emulated_ps b, int lanes) {
    float from[2][16], to[16];
    emulated_storeu_ps(from[0], a);
    emulated_storeu_ps(from[1], b);
    for (int i = 0; i < 16; i++) to[i] = from[i % 4 / 2][i / 4 * 4 + (lanes >> 2 * (i % 4) & 3)];
    return emulated_loadu_ps(to);
}
EMULATED emulated_ps emulated_permutexvar_ps(emulated_si order, emulated_ps a) {
    EACH_PS(_mm256_blendv_ps(_mm256_permutevar8x32_ps(a.half[0], order.half[h]),
        _mm256_permutevar8x32_ps(a.half[1], order.half[h]),
        _mm256_castsi256_ps(_mm256_slli_epi32(order.half[h], 28))));
}
#define EMULATED_SETR(a, b, c, d, e, f, g, h, ...)                                                 \
    ((emulated_si){{_mm256_setr_epi32(a, b, c, d, e, f, g, h), _mm256_setr_epi32(__VA_ARGS__)}})
EMULATED emulated_ps emulated_cvtph_ps(__m256i bits) {
    EACH_PS(_mm256_cvtph_ps(h ? _mm256_extracti128_si256(bits, 1) : _mm256_castsi256_si128(bits)));
}
EMULATED emulated_si emulated_cvtepu16_epi32(__m256i bits) {
    emulated_si result;
    result.half[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(bits));
    result.half[1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(bits, 1));
    return result;
}
EMULATED emulated_si emulated_slli_epi32(emulated_si a, int by) {
    for (int h = 0; h < 2; h++) a.half[h] = _mm256_slli_epi32(a.half[h], by);
    return a;
}
EMULATED emulated_si emulated_sub_epi32(emulated_si a, emulated_si b) {
    for (int h = 0; h < 2; h++) a.half[h] = _mm256_sub_epi32(a.half[h], b.half[h]);
    return a;
}
EMULATED emulated_si emulated_mask_add_epi32(
    emulated_si kept, unsigned mask, emulated_si a, emulated_si b) {
    int32_t lanes[16], sums[16];
    for (int h = 0; h < 2; h++) {
        const __m256i sum = _mm256_add_epi32(a.half[h], b.half[h]);
        _mm256_storeu_si256((__m256i *)(void *)(sums + 8 * h), sum);
        _mm256_storeu_si256((__m256i *)(void *)(lanes + 8 * h), kept.half[h]);
    }
    for (int i = 0; i < 16; i++) lanes[i] = mask >> i & 1 ? sums[i] : lanes[i];
    for (int h = 0; h < 2; h++)
        kept.half[h] = _mm256_loadu_si256((const __m256i *)(const void *)(lanes + 8 * h));
    return kept;
}
EMULATED emulated_ps emulated_castsi512_ps(emulated_si a) {
    EACH_PS(_mm256_castsi256_ps(a.half[h]));
}
EMULATED emulated_si emulated_castps_si512(emulated_ps a) {
    emulated_si result;
    for (int h = 0; h < 2; h++) result.half[h] = _mm256_castps_si256(a.half[h]);
    return result;
}
EMULATED emulated_si emulated_set1_epi32(int32_t value) {
    emulated_si result;
    for (int h = 0; h < 2; h++) result.half[h] = _mm256_set1_epi32(value);
    return result;
}
/* Bit (a b c) of the table, for each bit of the operands. */
EMULATED emulated_si emulated_ternarylogic_epi32(
    emulated_si a, emulated_si b, emulated_si c, unsigned table) {
    emulated_si result = emulated_set1_epi32(0);
    for (unsigned row = 0; row < 8; row++) {
        if (!(table & 1u << row)) continue;
        for (int h = 0; h < 2; h++) {
            __m256i ones = _mm256_set1_epi32(-1);
            __m256i from_a = _mm256_xor_si256(a.half[h], row & 4 ? _mm256_setzero_si256() : ones);
            __m256i from_b = _mm256_xor_si256(b.half[h], row & 2 ? _mm256_setzero_si256() : ones);
            __m256i from_c = _mm256_xor_si256(c.half[h], row & 1 ? _mm256_setzero_si256() : ones);
            __m256i all = _mm256_and_si256(from_a, _mm256_and_si256(from_b, from_c));
            result.half[h] = _mm256_or_si256(result.half[h], all);
        }
    }
    return result;
}
/* Less than; NaN compares false without an exception. */
EMULATED unsigned emulated_cmp_ps_mask(emulated_ps a, emulated_ps b, int predicate) {
    unsigned mask = 0;
    for (int h = 0; h < 2 && predicate == _CMP_LT_OQ; h++) {
        __m256 less = _mm256_cmp_ps(a.half[h], b.half[h], _CMP_LT_OQ);
        mask |= (unsigned)_mm256_movemask_ps(less) << 8 * h;
    }
    return mask;
}
EMULATED emulated_pd emulated_castps_pd(emulated_ps a) {
    EACH_PD(_mm256_castps_pd(a.half[h]));
}

EMULATED emulated_pd emulated_loadu_pd(const double *from) {
    EACH_PD(_mm256_loadu_pd(from + 4 * h));
}
EMULATED void emulated_storeu_pd(double *to, emulated_pd a) {
    for (int h = 0; h < 2; h++) _mm256_storeu_pd(to + 4 * h, a.half[h]);
}
EMULATED emulated_pd emulated_set1_pd(double value) {
    EACH_PD(_mm256_set1_pd(value));
}
EMULATED emulated_pd emulated_abs_pd(emulated_pd a) {
    EACH_PD(_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.half[h]));
}
EMULATED emulated_pd emulated_maskz_loadu_pd(unsigned mask, const double *from) {
    double lanes[8] = {0};
    for (int i = 0; i < 8; i++) {
        if (mask & 1u << i) lanes[i] = from[i];
    }
    return emulated_loadu_pd(lanes);
}
EMULATED void emulated_mask_storeu_pd(double *to, unsigned mask, emulated_pd a) {
    double lanes[8];
    emulated_storeu_pd(lanes, a);
    for (int i = 0; i < 8; i++) {
        if (mask & 1u << i) to[i] = lanes[i];
    }
}
EMULATED emulated_pd emulated_mask_blend_pd(unsigned mask, emulated_pd a, emulated_pd b) {
    double lanes[8];
    emulated_storeu_pd(lanes, a);
    emulated_mask_storeu_pd(lanes, mask, b);
    return emulated_loadu_pd(lanes);
}
EMULATED emulated_pd emulated_fmadd_pd(emulated_pd a, emulated_pd b, emulated_pd c) {
    EACH_PD(_mm256_fmadd_pd(a.half[h], b.half[h], c.half[h]));
}
EMULATED emulated_si emulated_castpd_si512(emulated_pd a) {
    emulated_si result;
    for (int h = 0; h < 2; h++) result.half[h] = _mm256_castpd_si256(a.half[h]);
    return result;
}
EMULATED emulated_pd emulated_castsi512_pd(emulated_si a) {
    EACH_PD(_mm256_castsi256_pd(a.half[h]));
}
EMULATED emulated_si emulated_slli_epi64(emulated_si a, int by) {
    for (int h = 0; h < 2; h++) a.half[h] = _mm256_slli_epi64(a.half[h], by);
    return a;
}
EMULATED emulated_si emulated_sub_epi64(emulated_si a, emulated_si b) {
    for (int h = 0; h < 2; h++) a.half[h] = _mm256_sub_epi64(a.half[h], b.half[h]);
    return a;
}
EMULATED unsigned emulated_cmp_pd_mask(emulated_pd a, emulated_pd b, int predicate) {
    unsigned mask = 0;
    for (int h = 0; h < 2 && predicate == _CMP_LT_OQ; h++) {
        __m256d less = _mm256_cmp_pd(a.half[h], b.half[h], _CMP_LT_OQ);
        mask |= (unsigned)_mm256_movemask_pd(less) << 4 * h;
    }
    return mask;
}
EMULATED emulated_pd emulated_cvtps_pd(__m256 a) {
    EACH_PD(_mm256_cvtps_pd(h ? _mm256_extractf128_ps(a, 1) : _mm256_castps256_ps128(a)));
}

EMULATED __m256 emulated_cvtpd_ps(emulated_pd a) {
    return _mm256_set_m128(_mm256_cvtpd_ps(a.half[1]), _mm256_cvtpd_ps(a.half[0]));
}

#define _mm512_add_ps emulated_add_ps
#define _mm512_sub_ps emulated_sub_ps
#define _mm512_mul_ps emulated_mul_ps
#define _mm512_div_ps emulated_div_ps
#define _mm512_max_ps emulated_max_ps
#define _mm512_min_ps emulated_min_ps
#define _mm512_fmadd_ps emulated_fmadd_ps
#define _mm512_fnmadd_ps emulated_fnmadd_ps
#define _mm512_loadu_ps emulated_loadu_ps
#define _mm512_storeu_ps emulated_storeu_ps
#define _mm512_load_ps emulated_loadu_ps
#define _mm512_stream_ps emulated_stream_ps
#define _mm512_set1_ps emulated_set1_ps
#define _mm512_setzero_ps() emulated_set1_ps(0.0f)
#define _mm512_abs_ps emulated_abs_ps
#define _mm512_abs_pd emulated_abs_pd
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_mask_blend_ps emulated_mask_blend_ps
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4
#undef _mm512_shuffle_ps
#define _mm512_shuffle_ps emulated_shuffle_ps
#define _mm512_permutexvar_ps emulated_permutexvar_ps
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 EMULATED_SETR
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_slli_epi32 emulated_slli_epi32
#define _mm512_sub_epi32 emulated_sub_epi32
#define _mm512_mask_add_epi32 emulated_mask_add_epi32
#define _mm512_castsi512_ps emulated_castsi512_ps
#define _mm512_castps_pd emulated_castps_pd
#define _mm512_castps_si512 emulated_castps_si512
#define _mm512_set1_epi32 emulated_set1_epi32
#define _mm512_ternarylogic_epi32 emulated_ternarylogic_epi32
#define _mm512_cmp_ps_mask emulated_cmp_ps_mask
#define _mm512_castps512_ps256(a) ((a).half[0])
#define _mm512_castpd512_pd256(a) ((a).half[0])
#define _mm512_extractf64x4_pd(a, h) ((a).half[h])
#define _mm512_add_pd emulated_add_pd
#define _mm512_sub_pd emulated_sub_pd
#define _mm512_mul_pd emulated_mul_pd
#define _mm512_div_pd emulated_div_pd
#define _mm512_cvtpd_ps emulated_cvtpd_ps
#define _mm512_max_pd emulated_max_pd
#define _mm512_fmadd_pd emulated_fmadd_pd
#define _mm512_castpd_si512 emulated_castpd_si512
#define _mm512_castsi512_pd emulated_castsi512_pd
#define _mm512_slli_epi64 emulated_slli_epi64
#define _mm512_sub_epi64 emulated_sub_epi64
#define _mm512_cmp_pd_mask emulated_cmp_pd_mask
#define _mm512_loadu_pd emulated_loadu_pd
#define _mm512_storeu_pd emulated_storeu_pd
#define _mm512_set1_pd emulated_set1_pd
#define _mm512_maskz_loadu_pd emulated_maskz_loadu_pd
#define _mm512_mask_storeu_pd emulated_mask_storeu_pd
#define _mm512_mask_blend_pd emulated_mask_blend_pd
#define _mm512_cvtps_pd emulated_cvtps_pd

/* SLEEF's forms for AVX-512 give the bits of those for AVX2. */
#define SLEEF_HALVES(type, each, name, half_name)                                                  \
    EMULATED type name(type a) {                                                                   \
        each(half_name(a.half[h]));                                                                \
    }
SLEEF_HALVES(emulated_pd, EACH_PD, Sleef_finz_logd8_u10avx512f, Sleef_finz_logd4_u10avx2)

#endif
