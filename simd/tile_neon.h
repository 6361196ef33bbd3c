/* The register tile of the NEON matmul and attention kernels, and loads and stores of row ends.
 * Private to simd/: the *_neon.c files.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_NEON_H
#define TILE_NEON_H

#include "kernels.h"

#include <arm_neon.h>

/* Small loops over registers must be unrolled whole, or the accumulators go through memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define TILE_ROWS 5
#define TILE_MAX_PANELS 4
/* Registers of one panel's sixteen outputs. */
#define PANEL_REGISTERS 4

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Elements i..i+3 of w as f32; i is a multiple of 4. fcvtl is part of the base instruction set. */
ALWAYS_INLINE float32x4_t load_four(const void *w, size_t i, psc_dtype dtype) {
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

/* Up to four floats of a row with `left` (at least one) to go; lanes past its end are +0. */
ALWAYS_INLINE float32x4_t load_some(const float *from, size_t left) {
    if (left >= 4) return vld1q_f32(from);
    float32x4_t value = vld1q_lane_f32(from, vdupq_n_f32(0.0f), 0);
    if (left > 1) value = vld1q_lane_f32(from + 1, value, 1);
    if (left > 2) value = vld1q_lane_f32(from + 2, value, 2);
    return value;
}

ALWAYS_INLINE void store_some(float *to, float32x4_t value, size_t left) {
    if (left >= 4) {
        vst1q_f32(to, value);
        return;
    }
    vst1q_lane_f32(to, value, 0);
    if (left > 1) vst1q_lane_f32(to + 1, value, 1);
    if (left > 2) vst1q_lane_f32(to + 2, value, 2);
}

/* What a tile reads: x[r][k], row stride ldx; w[p][k][16] panels, panel_stride elements apart.
 * `ahead` is where to prefetch, moving on by ahead_step bytes a term. */
typedef struct tile_input {
    const float *x;
    size_t ldx;
    const void *w;
    size_t panel_stride;
    size_t n; /* terms */
    const char *ahead;
    size_t ahead_step;
} tile_input;

/* One term: x[r] holds four terms of a row, of which this is the one in `lane`. */
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
            UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
                float32x4_t *sum = &acc[r][PANEL_REGISTERS * p + v];
                if (lane == 0) *sum = vfmaq_laneq_f32(*sum, w[v], x[r], 0);
                if (lane == 1) *sum = vfmaq_laneq_f32(*sum, w[v], x[r], 1);
                if (lane == 2) *sum = vfmaq_laneq_f32(*sum, w[v], x[r], 2);
                if (lane == 3) *sum = vfmaq_laneq_f32(*sum, w[v], x[r], 3);
            }
        }
    }
}

/* sums[rows][panels*16] = the chain over n terms, from +0 or, on resume, from what is there.
 * rows, panels, dtype, resume and stream are constants at every call, so that each call is a kernel
 * of its own with 4*rows*panels accumulators (at most 24 of 32 registers). Four terms of x are
 * loaded at a time and multiplied by lane. With stream each panel is prefetched stream bytes ahead,
 * else `ahead` is. */
ALWAYS_INLINE void tile(float *sums, const tile_input *in, const int rows, const int panels,
    const psc_dtype dtype, const bool resume, const size_t stream) {
    float32x4_t acc[TILE_ROWS][PANEL_REGISTERS * TILE_MAX_PANELS];
    float32x4_t x[TILE_ROWS];
    const char *ahead = in->ahead;
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
            if (!stream) {
                __builtin_prefetch(ahead);
                ahead += in->ahead_step;
            }
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

/* One panel by 1 to 5 rows. */
ALWAYS_INLINE void tile_rows(
    float *sums, const tile_input *in, size_t rows, const psc_dtype dtype) {
    switch (rows) {
    case 5:
        tile(sums, in, 5, 1, dtype, false, 0);
        break;
    case 4:
        tile(sums, in, 4, 1, dtype, false, 0);
        break;
    case 3:
        tile(sums, in, 3, 1, dtype, false, 0);
        break;
    case 2:
        tile(sums, in, 2, 1, dtype, false, 0);
        break;
    default:
        tile(sums, in, 1, 1, dtype, false, 0);
        break;
    }
}

/* How many rows the tile at row r takes: the rest spread evenly over the fewest tiles, since a tile
 * of one or two rows waits for its own chains. */
static inline size_t tile_height(size_t rows_left) {
    size_t tiles = (rows_left + TILE_ROWS - 1) / TILE_ROWS;
    return (rows_left + tiles - 1) / tiles;
}

#endif
