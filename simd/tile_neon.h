/* The vocabulary of the frames and the register tile on NEON.
 * Private to simd/: the *_neon.c files.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_NEON_H
#define TILE_NEON_H

#include "frame.h"
#include "stripe_reference.h"

#include <arm_neon.h>
#include <sleef.h>
#include <string.h>

#define PSC_NAME(op) psc_##op##__neon

#define VEC 4
#define PANEL_REGISTERS 4
/* 20 accumulators, five inputs and four weights in 32 registers. */
#define TILE_ROWS 5
#define TILE_PANELS 1
#define TILE_MAX_PANELS 4
/* Few rows: 24 accumulators. */
#define STREAM_ROWS 3
#define STREAM_MOST(dtype) 8
#define NEAR_TILE_ROWS 5
#define NEAR_TILE_REGISTERS 4
#define PULL_ROWS 6
#define QUAD_ROWS 4
#define FOLD_WIDTH 4

typedef float32x4_t vec;
typedef float64x2_t vec64;

/* See tile_avx2.h. */
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")
#define ACCUMULATE(sum, a, b) ((sum) = vfmaq_f32(sum, a, b))

#define vec_load(from) vld1q_f32(from)
#define vec_store(to, value) vst1q_f32(to, value)
#define vec_set(value) vdupq_n_f32(value)
#define vec_zero() vdupq_n_f32(0.0f)
#define vec_add(a, b) vaddq_f32(a, b)
#define vec_sub(a, b) vsubq_f32(a, b)
#define vec_mul(a, b) vmulq_f32(a, b)
#define vec_div(a, b) vdivq_f32(a, b)
#define vec_fma(a, b, c) vfmaq_f32(c, a, b)
#define vec_fnma(a, b, c) vfmsq_f32(c, a, b)
#define vec_smaller(limit, x) vminq_f32(limit, x)
#define vec_abs(a) vabsq_f32(a)
#define vec_with_sign(a, of) vbslq_f32(vdupq_n_u32(0x80000000u), of, a)
#define vec_powers(t) vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23))
#define vec_sub_bits(a, b)                                                                         \
    vreinterpretq_f32_u32(vsubq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)))
#define vec_where_less(a, b, yes, no) vbslq_f32(vcltq_f32(a, b), yes, no)
#define vec_stream(to, value) vst1q_f32(to, value)
#define STREAM_END() ((void)0)
#define vec64_load(from) vld1q_f64(from)
#define vec64_store(to, value) vst1q_f64(to, value)
#define vec64_half(a, h) ((h) ? vcvt_high_f64_f32(a) : vcvt_f64_f32(vget_low_f32(a)))
#define vec64_set(value) vdupq_n_f64(value)
#define vec64_first(a) vgetq_lane_f64(a, 0)
#define vec64_add(a, b) vaddq_f64(a, b)
#define vec64_sub(a, b) vsubq_f64(a, b)
#define vec64_abs(a) vabsq_f64(a)
#define vec64_mul(a, b) vmulq_f64(a, b)
#define vec64_div(a, b) vdivq_f64(a, b)
#define vec64_fma(a, b, c) vfmaq_f64(c, a, b)
#define vec64_greater(x, max) vbslq_f64(vcgtq_f64(x, max), x, max)
#define vec64_where_less(a, b, yes, no) vbslq_f64(vcltq_f64(a, b), yes, no)
#define vec64_powers(t) vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(t), 52))
#define vec64_sub_bits(a, b)                                                                       \
    vreinterpretq_f64_u64(vsubq_u64(vreinterpretq_u64_f64(a), vreinterpretq_u64_f64(b)))
#define vec64_narrow(to, a) vst1_f32(to, vcvt_f32_f64(a))
#define vec_count_less(count, a, b)                                                                \
    vec_sub_bits(count, vreinterpretq_f32_u32(vcltq_f32(a, b))) /* all ones is -1 */
#define vec64_log(x) Sleef_finz_logd2_u10advsimd(x)

ALWAYS_INLINE uint32_t vec_bits_less(vec a, vec b) {
    static const uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcltq_f32(a, b), vld1q_u32(bits)));
}

ALWAYS_INLINE uint32_t vec64_bits_less(vec64 a, vec64 b) {
    static const uint64_t bits[2] = {1, 2};
    return (uint32_t)vaddvq_u64(vandq_u64(vcltq_f64(a, b), vld1q_u64(bits)));
}

/* A comparison ignores NaN; fmax and fmaxnm do not. */
ALWAYS_INLINE vec vec_greater(vec x, vec max) {
    return vbslq_f32(vcgtq_f32(x, max), x, max);
}

/* Elements i..i+3 of w as f32; i is a multiple of 4. fcvtl is part of the base instruction set. */
ALWAYS_INLINE vec load_weights(const void *w, size_t i, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) return vld1q_f32((const float *)w + i);
    uint16x4_t bits = vld1_u16((const uint16_t *)w + i);
    if (dtype == PSC_DTYPE_F16) return vcvt_f32_f16(vreinterpret_f16_u16(bits));
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(bits), 16));
}

/* Elements i..i+15 of w as f32. */
ALWAYS_INLINE void load_sixteen(
    float32x4_t to[PANEL_REGISTERS], const void *w, size_t i, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) {
        UNROLL for (int v = 0; v < 4; v++) to[v] = vld1q_f32((const float *)w + i + v * 4);
        return;
    }
    UNROLL for (int half = 0; half < 2; half++) {
        uint16x8_t bits = vld1q_u16((const uint16_t *)w + i + half * 8);
        if (dtype == PSC_DTYPE_F16) {
            float16x8_t eight = vreinterpretq_f16_u16(bits);
            to[2 * half] = vcvt_f32_f16(vget_low_f16(eight));
            to[2 * half + 1] = vcvt_high_f32_f16(eight);
        } else {
            uint16x8_t zero = vdupq_n_u16(0);
            to[2 * half] = vreinterpretq_f32_u16(vzip1q_u16(zero, bits));
            to[2 * half + 1] = vreinterpretq_f32_u16(vzip2q_u16(zero, bits));
        }
    }
}

/* Elements i..i+3 of a row of f16 or bf16 at any address. */
ALWAYS_INLINE vec load_narrow(const void *x, size_t i, psc_dtype dtype) {
    uint16_t four[4];
    memcpy(four, (const char *)x + 2 * i, sizeof four);
    return load_weights(four, 0, dtype);
}

/* Up to four floats of a row with `left` (at least one) to go; lanes past its end are +0. */
ALWAYS_INLINE vec load_some(const float *from, size_t left) {
    if (left >= 4) return vld1q_f32(from);
    float32x4_t value = vld1q_lane_f32(from, vdupq_n_f32(0.0f), 0);
    if (left > 1) value = vld1q_lane_f32(from + 1, value, 1);
    if (left > 2) value = vld1q_lane_f32(from + 2, value, 2);
    return value;
}

ALWAYS_INLINE void store_some(float *to, vec value, size_t left) {
    if (left >= 4) {
        vst1q_f32(to, value);
        return;
    }
    vst1q_lane_f32(to, value, 0);
    if (left > 1) vst1q_lane_f32(to + 1, value, 1);
    if (left > 2) vst1q_lane_f32(to + 2, value, 2);
}

ALWAYS_INLINE vec keep_past_end(vec kept, vec value, size_t left) {
    static const uint32_t ones[8] = {~0u, ~0u, ~0u, ~0u};
    return left >= 4 ? value : vbslq_f32(vld1q_u32(ones + 4 - left), value, kept);
}

/* The last double of an odd row is in both lanes. */
ALWAYS_INLINE vec64 load_some_f64(const double *from, size_t left) {
    return left >= 2 ? vld1q_f64(from) : vdupq_n_f64(*from);
}

ALWAYS_INLINE void store_some_f64(double *to, vec64 value, size_t left) {
    if (left >= 2) {
        vst1q_f64(to, value);
    } else {
        vst1q_lane_f64(to, value, 0);
    }
}

ALWAYS_INLINE vec64 keep_past_end_f64(vec64 kept, vec64 value, size_t left) {
    return left >= 2 ? value : vcopyq_laneq_f64(kept, 0, value, 0);
}

ALWAYS_INLINE vec64 vec64_of_floats(const float *from, size_t left) {
    return vcvt_f64_f32(left >= 2 ? vld1_f32(from) : vdup_n_f32(*from));
}

static inline float fold(const vec sums[4]) {
    float lanes[PSC_LANES];
    for (int v = 0; v < 4; v++) vst1q_f32(lanes + 4 * v, sums[v]);
    return fold_lanes(lanes);
}

static inline double fold_f64(const vec64 sums[8]) {
    double lanes[PSC_LANES];
    for (int v = 0; v < 8; v++) vst1q_f64(lanes + 2 * v, sums[v]);
    return fold_lanes_f64(lanes);
}

/* Lanes +8 and +4 of one accumulator. */
ALWAYS_INLINE float32x4_t fold_to_four(const float *acc) {
    float32x4_t low = vaddq_f32(vld1q_f32(acc), vld1q_f32(acc + 8));
    float32x4_t high = vaddq_f32(vld1q_f32(acc + 4), vld1q_f32(acc + 12));
    return vaddq_f32(low, high);
}

/* Lanes +2 of two accumulators: both sums of the first, then both of the second. */
ALWAYS_INLINE float32x4_t fold_pair(float32x4_t a, float32x4_t b) {
    float64x2_t first = vreinterpretq_f64_f32(a), second = vreinterpretq_f64_f32(b);
    float32x4_t low = vreinterpretq_f32_f64(vzip1q_f64(first, second));
    return vaddq_f32(low, vreinterpretq_f32_f64(vzip2q_f64(first, second)));
}

/* Lanes +8, +4, +2, +1 of four accumulators at once; each sum equals the one from folding a single
 * accumulator. */
static inline void fold_several(float sums[4], const float *acc) {
    float32x4_t low = fold_pair(fold_to_four(acc), fold_to_four(acc + PSC_LANES));
    float32x4_t high =
        fold_pair(fold_to_four(acc + 2 * PSC_LANES), fold_to_four(acc + 3 * PSC_LANES));
    vst1q_f32(sums, vpaddq_f32(low, high));
}

ALWAYS_INLINE void half_turn(vec to[2], const vec a[4], const int odd) {
    const vec x = odd ? vuzp2q_f32(a[0], a[1]) : vuzp1q_f32(a[0], a[1]);
    const vec y = odd ? vuzp2q_f32(a[2], a[3]) : vuzp1q_f32(a[2], a[3]);
    to[0] = vuzp1q_f32(x, y);
    to[1] = vuzp2q_f32(x, y);
}

/* sums[v] += w[v] * x's lane. */
ALWAYS_INLINE void multiply_by_lane(float32x4_t sums[PANEL_REGISTERS],
    const float32x4_t w[PANEL_REGISTERS], float32x4_t x, const int lane) {
    UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
        if (lane == 0) sums[v] = vfmaq_laneq_f32(sums[v], w[v], x, 0);
        if (lane == 1) sums[v] = vfmaq_laneq_f32(sums[v], w[v], x, 1);
        if (lane == 2) sums[v] = vfmaq_laneq_f32(sums[v], w[v], x, 2);
        if (lane == 3) sums[v] = vfmaq_laneq_f32(sums[v], w[v], x, 3);
    }
}

/* One term: x[r] holds four terms of a row; this term is in `lane`. */
ALWAYS_INLINE void tile_term(float32x4_t acc[TILE_ROWS][PANEL_REGISTERS * TILE_MAX_PANELS],
    const float32x4_t x[TILE_ROWS], const tile_input *in, size_t k, const int lane, const int rows,
    const int panels, const psc_dtype dtype, const size_t stream) {
    UNROLL for (int p = 0; p < panels; p++) {
        size_t at = (size_t)p * in->panel_stride + k * PSC_LANES;
        float32x4_t w[PANEL_REGISTERS];
        load_sixteen(w, in->w, at, dtype);
        if (stream) {
            size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
            __builtin_prefetch((const char *)in->w + at * size + stream);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            multiply_by_lane(&acc[r][PANEL_REGISTERS * p], w, x[r], lane);
        }
    }
}

/* sums[rows][panels*16] = the chain over n terms, from +0 or, on resume, from the present sums.
 * rows, panels, dtype, resume and stream are constants at every call, so each call is a separate
 * kernel with 4*rows*panels accumulators (at most 24 of 32 registers). Four terms of x are loaded
 * at a time and multiplied by lane. With stream each panel is prefetched stream bytes ahead. */
ALWAYS_INLINE void tile(float *sums, const tile_input *in, const int rows, const int panels,
    const psc_dtype dtype, const bool resume, const size_t stream) {
    float32x4_t acc[TILE_ROWS][PANEL_REGISTERS * TILE_MAX_PANELS];
    float32x4_t x[TILE_ROWS];
    size_t n = in->n, k = 0;

    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * panels; v++) {
            const float *from = sums + r * panels * PSC_LANES + v * 4;
            acc[r][v] = resume ? vld1q_f32(from) : vdupq_n_f32(0.0f);
        }
    }
    for (; k + 4 <= n; k += 4) {
        UNROLL for (int r = 0; r < rows; r++) x[r] = vld1q_f32(in->x + (size_t)r * in->ldx + k);
        UNROLL for (int lane = 0; lane < 4; lane++) {
            tile_term(acc, x, in, k + (size_t)lane, lane, rows, panels, dtype, stream);
        }
    }
    for (; k < n; k++) {
        UNROLL for (int r = 0; r < rows; r++) x[r] = vdupq_n_f32(in->x[(size_t)r * in->ldx + k]);
        tile_term(acc, x, in, k, 0, rows, panels, dtype, 0);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * panels; v++) {
            vst1q_f32(sums + r * panels * PSC_LANES + v * 4, acc[r][v]);
        }
    }
}

/* One term of near_tile. */
ALWAYS_INLINE void near_term(float32x4_t acc[NEAR_TILE_ROWS][NEAR_TILE_REGISTERS],
    const float32x4_t x[NEAR_TILE_ROWS], const float *from, const int lane, const int rows) {
    float32x4_t w[NEAR_TILE_REGISTERS];
    UNROLL for (int v = 0; v < NEAR_TILE_REGISTERS; v++) w[v] = vld1q_f32(from + v * 4);
    UNROLL for (int r = 0; r < rows; r++) multiply_by_lane(acc[r], w, x[r], lane);
}

/* Widens a panel's weights of n terms. */
ALWAYS_INLINE void widen_terms(float *to, const void *packed, size_t n, psc_dtype dtype) {
    for (size_t i = 0; i < n * PSC_LANES; i += VEC)
        vec_store(to + i, load_weights(packed, i, dtype));
}

/* See tile_broadcast.h; registers is 4. The first rows' tile widens four terms before it reads
 * them. */
ALWAYS_INLINE void near_tile(const near_input *in, const int rows, const int registers,
    const bool first, const psc_dtype dtype) {
    float32x4_t acc[NEAR_TILE_ROWS][NEAR_TILE_REGISTERS], x[NEAR_TILE_ROWS];
    float *w = in->w;
    const char *packed = in->packed[0];
    const size_t n = in->n, size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    size_t k = 0;

    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) acc[r][v] = vdupq_n_f32(0.0f);
    }
    for (; k + 4 <= n; k += 4, w += 4 * PSC_LANES) {
        if (first) widen_terms(w, packed + k * size * PSC_LANES, 4, dtype);
        UNROLL for (int r = 0; r < rows; r++) x[r] = vld1q_f32(in->x + (size_t)r * in->ldx + k);
        UNROLL for (int lane = 0; lane < 4; lane++) {
            near_term(acc, x, w + lane * PSC_LANES, lane, rows);
        }
    }
    for (; k < n; k++, w += PSC_LANES) {
        if (first) widen_terms(w, packed + k * size * PSC_LANES, 1, dtype);
        UNROLL for (int r = 0; r < rows; r++) x[r] = vdupq_n_f32(in->x[(size_t)r * in->ldx + k]);
        near_term(acc, x, w, 0, rows);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        float *y = in->y + (size_t)r * in->ldy;
        UNROLL for (int v = 0; v < registers; v++) {
            float32x4_t total = acc[r][v];
            if (in->add) total = vaddq_f32(vld1q_f32(y + v * 4), total);
            if (in->bias) total = vaddq_f32(total, vld1q_f32(in->bias + v * 4));
            vst1q_f32(y + v * 4, total);
        }
    }
}

/* See tile_broadcast.h; panels is 1. */
ALWAYS_INLINE void panel_chain(float32x4_t acc[TILE_ROWS][PANEL_REGISTERS], const tile_input *in,
    const int rows, const int panels) {
    float32x4_t x[TILE_ROWS], w[PANEL_REGISTERS];
    const float *from = in->w;
    const size_t n = in->n;
    size_t k = 0;
    (void)panels;
    for (; k + 4 <= n; k += 4) {
        UNROLL for (int r = 0; r < rows; r++) x[r] = vld1q_f32(in->x + (size_t)r * in->ldx + k);
        UNROLL for (int lane = 0; lane < 4; lane++, from += PSC_LANES) {
            UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) w[v] = vld1q_f32(from + v * 4);
            UNROLL for (int r = 0; r < rows; r++) multiply_by_lane(acc[r], w, x[r], lane);
        }
    }
    for (; k < n; k++, from += PSC_LANES) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) w[v] = vld1q_f32(from + v * 4);
        UNROLL for (int r = 0; r < rows; r++) {
            multiply_by_lane(acc[r], w, vdupq_n_f32(in->x[(size_t)r * in->ldx + k]), 0);
        }
    }
}

#endif
