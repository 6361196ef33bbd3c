/* The frame of the pull-back kernels, y[rows, k] = u[rows, out] W[out, k], equal to
 * pullback_reference.c to the bit: an accumulator is the sixteen chains of one (row, k).
 * Private to simd/: pullback_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      few rows (1..3):  W is streamed once, some panels side by side whose part of u stays in
 *                        registers; the accumulators of up to 256 k's stay in L1.
 *      more rows:        pullback_near.h.
 *      many rows, split by lanes:  pullback_lanes.h. */
#ifndef PULLBACK_FRAME_H
#define PULLBACK_FRAME_H

#include "kernel_names.h"

#include <string.h>

#define FEW_PULL_ROWS 3
#define STREAM_KS 256

static inline const char *weights_at(
    const psc_pullback *p, size_t panel, size_t k, psc_dtype dtype) {
    size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    return (const char *)p->w + (panel * p->k + k) * PSC_LANES * size;
}

/* The part of u for the last, partial panel, padded with +0. */
static void copy_ends(float *ends, const psc_pullback *p, size_t row, size_t rows) {
    size_t whole = p->out / PSC_LANES, rest = p->out % PSC_LANES;
    memset(ends, 0, rows * PSC_LANES * sizeof *ends);
    for (size_t r = 0; r < rows; r++) {
        const float *u = p->u + (row + r) * p->ldu + whole * PSC_LANES;
        for (size_t i = 0; i < rest; i++) ends[r * PSC_LANES + i] = u[i];
    }
}

/* Sums the lanes of the accumulators acc[rows][ld][16] into y; ld is a multiple of FOLD_WIDTH. */
static void fold_rows(float *y, size_t ldy, const float *acc, size_t ld, size_t rows, size_t ks) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t k = 0; k < ks; k += FOLD_WIDTH) {
            float sums[FOLD_WIDTH];
            fold_several(sums, acc + (r * ld + k) * PSC_LANES);
            size_t n = least(FOLD_WIDTH, ks - k);
            for (size_t i = 0; i < n; i += VEC) {
                store_some(y + r * ldy + k + i, vec_load(sums + i), n - i);
            }
        }
    }
}

/* --- few rows --- */

/* acc[rows][STREAM_KS][16] += `panels` panels from w on (stride bytes apart) times u, for ks k's.
 * Prefetches the next panels, `ahead` bytes ahead. */
ALWAYS_INLINE void stream_tile(float *acc, size_t ks, const float *u, size_t ldu, const char *w,
    size_t stride, ptrdiff_t ahead, const int rows, const int panels, const psc_dtype dtype) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    vec held[FEW_PULL_ROWS][4 * PANEL_REGISTERS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < panels * PANEL_REGISTERS; v++) {
            held[r][v] = vec_load(u + (size_t)r * ldu + v * VEC);
        }
    }
    for (size_t k = 0; k < ks; k++, w += PSC_LANES * size, acc += PSC_LANES) {
        UNROLL for (int p = 0; p < panels; p++) {
            __builtin_prefetch(w + (size_t)p * stride + ahead);
        }
        UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
            vec sums[FEW_PULL_ROWS];
            UNROLL for (int r = 0; r < rows; r++) {
                sums[r] = vec_load(acc + (size_t)r * STREAM_KS * PSC_LANES + v * VEC);
            }
            UNROLL for (int p = 0; p < panels; p++) {
                vec weights = load_weights(w + (size_t)p * stride, (size_t)v * VEC, dtype);
                UNROLL for (int r = 0; r < rows; r++) {
                    sums[r] = vec_fma(weights, held[r][p * PANEL_REGISTERS + v], sums[r]);
                }
            }
            UNROLL for (int r = 0; r < rows; r++) {
                vec_store(acc + (size_t)r * STREAM_KS * PSC_LANES + v * VEC, sums[r]);
            }
        }
    }
}

/* k's k..k+ks-1 of all rows (1..3). */
ALWAYS_INLINE void stream_ks(
    const psc_pullback *p, size_t k, size_t ks, const int rows, const psc_dtype dtype) {
    _Alignas(64) float acc[FEW_PULL_ROWS * STREAM_KS * PSC_LANES];
    _Alignas(64) float ends[FEW_PULL_ROWS * PSC_LANES];
    const size_t side = rows == 1 ? 4 : 2, size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    size_t whole = p->out / PSC_LANES, stride = p->k * PSC_LANES * size, panel = 0;
    memset(acc, 0, (size_t)rows * STREAM_KS * PSC_LANES * sizeof *acc);
    for (; panel + side <= whole; panel += side) {
        /* After the last panels, prefetch the first panels of the next k's. */
        ptrdiff_t ahead = panel + 2 * side <= whole
                              ? (ptrdiff_t)(side * stride)
                              : (ptrdiff_t)(ks * PSC_LANES * size) - (ptrdiff_t)(panel * stride);
        stream_tile(acc, ks, p->u + panel * PSC_LANES, p->ldu, weights_at(p, panel, k, dtype),
            stride, ahead, rows, (int)side, dtype);
    }
    for (; panel < whole; panel++) {
        stream_tile(acc, ks, p->u + panel * PSC_LANES, p->ldu, weights_at(p, panel, k, dtype),
            stride, 0, rows, 1, dtype);
    }
    if (p->out % PSC_LANES) {
        copy_ends(ends, p, 0, (size_t)rows);
        stream_tile(
            acc, ks, ends, PSC_LANES, weights_at(p, whole, k, dtype), stride, 0, rows, 1, dtype);
    }
    fold_rows(p->y + k, p->ldy, acc, STREAM_KS, (size_t)rows, ks);
}

/* --- any rows --- */

#include "pullback_lanes.h"
#include "pullback_near.h"

/* Runs the kernel again with room from the stack. */
static __attribute__((noinline)) void with_room(const psc_pullback *p, psc_pullback_f32_fn kernel) {
    _Alignas(64) float room[PSC_KERNEL_ROOM / sizeof(float)];
    psc_pullback own = *p;
    own.room = room;
    kernel(&own);
}

ALWAYS_INLINE void pullback(
    const psc_pullback *p, const psc_dtype dtype, psc_pullback_f32_fn kernel) {
    if (p->rows <= FEW_PULL_ROWS) {
        for (size_t k = p->k_begin, ks; k < p->k_end; k += ks) {
            ks = least(STREAM_KS, p->k_end - k);
            if (p->rows == 1) stream_ks(p, k, ks, 1, dtype);
            if (p->rows == 2) stream_ks(p, k, ks, 2, dtype);
            if (p->rows == 3) stream_ks(p, k, ks, 3, dtype);
        }
        return;
    }
    if (!p->room)
        with_room(p, kernel);
    else if (has_lanes(p))
        pull_lanes(p, dtype);
    else
        pull_many(p, dtype);
}

void PSC_NAME(pullback_f32)(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_F32, PSC_NAME(pullback_f32));
}

void PSC_NAME(pullback_f16)(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_F16, PSC_NAME(pullback_f16));
}

void PSC_NAME(pullback_bf16)(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_BF16, PSC_NAME(pullback_bf16));
}

#endif
