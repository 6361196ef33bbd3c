/* y[rows, k] = u[rows, out] W[out, k] on NEON, equal to pullback_reference.c to the bit: the four
 * registers of an accumulator are the sixteen chains of one (row, k).
 *
 * A chunk of rows by k's keeps its accumulators in a scratch that stays in L1, [rows][k][16]. The
 * panels pass by a group at a time. When several row tiles read a group's weights they are
 * first copied, widened, into a small buffer: panels lie far apart, often by a power of two, and
 * would push each other out of the cache. Within a group a register tile of 3 rows x 2 k's (1 row:
 * 4 k's) runs. */
#include "kernel_names.h"
#include "tile_neon.h"

#define MAX_ROWS 24
/* k's and panels at a time when W is read in place, for few rows. */
#define STREAM_PAIRS 256
#define STREAM_GROUP 8
/* The same when a group is copied, for more rows. */
#define COPY_KS 8
#define COPY_GROUP 32
#define COPY_FROM_ROWS 9
#define SCRATCH_PAIRS (MAX_ROWS * COPY_KS > STREAM_PAIRS ? MAX_ROWS * COPY_KS : STREAM_PAIRS)

/* One register tile: n panels on from w (panel_stride elements apart) against u, 16 floats each. */
typedef struct pull_input {
    const float *u;
    size_t ldu;
    const void *w;
    size_t panel_stride, n;
    ptrdiff_t ahead; /* bytes from w to what is prefetched: the next group */
} pull_input;

ALWAYS_INLINE void pull_tile(float *scratch, size_t scratch_row, const pull_input *in,
    const int rows, const int ks, const psc_dtype dtype, const bool fetch) {
    float32x4_t acc[3][4 * PANEL_REGISTERS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * ks; v++) {
            acc[r][v] = vld1q_f32(scratch + (size_t)r * scratch_row + v * 4);
        }
    }
    const float *u = in->u;
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    /* Quarters in turn: 24 accumulators, 3 of u and one of w stay below 32 registers. */
    for (size_t p = 0, at = 0; p < in->n; p++, at += in->panel_stride, u += PSC_LANES) {
        UNROLL for (int k = 0; k < ks; k++) {
            const char *here = (const char *)in->w + (at + (size_t)k * PSC_LANES) * size;
            if (fetch) __builtin_prefetch(here + in->ahead);
        }
        UNROLL for (int quarter = 0; quarter < PANEL_REGISTERS; quarter++) {
            float32x4_t inputs[3];
            UNROLL for (int r = 0; r < rows; r++) {
                inputs[r] = vld1q_f32(u + (size_t)r * in->ldu + quarter * 4);
            }
            UNROLL for (int k = 0; k < ks; k++) {
                size_t i = at + (size_t)(k * PSC_LANES + quarter * 4);
                float32x4_t w = load_four(in->w, i, dtype);
                UNROLL for (int r = 0; r < rows; r++) {
                    float32x4_t *sum = &acc[r][PANEL_REGISTERS * k + quarter];
                    *sum = vfmaq_f32(*sum, w, inputs[r]);
                }
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * ks; v++) {
            vst1q_f32(scratch + (size_t)r * scratch_row + v * 4, acc[r][v]);
        }
    }
}

/* All k's of the chunk for one to three rows of one panel group. */
ALWAYS_INLINE void pull_rows(float *scratch, size_t ks, pull_input in, const int rows,
    const psc_dtype dtype, const bool fetch) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2, step = rows == 1 ? 4 : 2;
    const char *w = in.w;
    size_t k = 0;
    for (; k + step <= ks; k += step) {
        in.w = w + k * PSC_LANES * size;
        pull_tile(scratch + k * PSC_LANES, ks * PSC_LANES, &in, rows, (int)step, dtype, fetch);
    }
    for (; k < ks; k++) {
        in.w = w + k * PSC_LANES * size;
        pull_tile(scratch + k * PSC_LANES, ks * PSC_LANES, &in, rows, 1, dtype, fetch);
    }
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

/* Lanes +8, +4, +2, +1 of four accumulators at once: each sum is the one that folding a single
 * accumulator would make. */
static inline float32x4_t fold_four(const float *acc) {
    float32x4_t low = fold_pair(fold_to_four(acc), fold_to_four(acc + PSC_LANES));
    float32x4_t high =
        fold_pair(fold_to_four(acc + 2 * PSC_LANES), fold_to_four(acc + 3 * PSC_LANES));
    return vpaddq_f32(low, high);
}

/* The scratch must hold a multiple of four accumulators a row, or readable floats after the last
 * row. */
static void fold_chunk(float *y, size_t ldy, const float *scratch, size_t rows, size_t ks) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t k = 0; k < ks; k += 4) {
            float32x4_t sums = fold_four(scratch + (r * ks + k) * PSC_LANES);
            store_some(y + r * ldy + k, sums, ks - k);
        }
    }
}

/* The panels of one group against all rows of a chunk. */
ALWAYS_INLINE void pull_group(float *scratch, size_t rows, size_t ks, const pull_input *group,
    const psc_dtype dtype, const bool fetch) {
    pull_input in = *group;
    for (size_t r = 0, height; r < rows; r += height) {
        height = rows - r == 4 ? 2 : least(3, rows - r);
        in.u = group->u + r * group->ldu;
        float *acc = scratch + r * ks * PSC_LANES;
        if (height == 3) pull_rows(acc, ks, in, 3, dtype, fetch);
        if (height == 2) pull_rows(acc, ks, in, 2, dtype, fetch);
        if (height == 1) pull_rows(acc, ks, in, 1, dtype, fetch);
    }
}

/* A group's weights of ks k's, widened: near[n][ks][16]. */
ALWAYS_INLINE void copy_group(
    float *near, const pull_input *group, size_t ks, const psc_dtype dtype) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    for (size_t p = 0; p < group->n; p++) {
        size_t at = p * group->panel_stride;
        for (size_t i = 0; i < ks * PSC_LANES; i += PSC_LANES, near += PSC_LANES) {
            float32x4_t w[PANEL_REGISTERS];
            __builtin_prefetch((const char *)group->w + (at + i) * size + group->ahead);
            load_sixteen(w, group->w, at + i, dtype);
            UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) vst1q_f32(near + v * 4, w[v]);
        }
    }
}

/* One chunk: rows row..row+rows-1, k's k..k+ks-1. */
ALWAYS_INLINE void pull_chunk(
    const psc_pullback *p, size_t row, size_t rows, size_t k, size_t ks, const psc_dtype dtype) {
    /* Three more accumulators, which folding four at a time may read and not use. */
    _Alignas(64) float scratch[(SCRATCH_PAIRS + 3) * PSC_LANES];
    _Alignas(64) float near[COPY_GROUP * COPY_KS * PSC_LANES];
    _Alignas(64) float ends[MAX_ROWS * PSC_LANES] = {0};
    size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    size_t whole = p->out / PSC_LANES, rest = p->out % PSC_LANES;

    for (size_t i = 0; i < (rows * ks + 3) * PSC_LANES; i++) scratch[i] = 0.0f;
    size_t group = rows < COPY_FROM_ROWS ? STREAM_GROUP : COPY_GROUP;
    for (size_t panel = 0; panel < whole; panel += group) {
        pull_input in = {.u = p->u + row * p->ldu + panel * PSC_LANES,
            .ldu = p->ldu,
            .w = (const char *)p->w + (panel * p->k + k) * PSC_LANES * size,
            .panel_stride = p->k * PSC_LANES,
            .n = least(group, whole - panel)};
        size_t stride = in.panel_stride * size;
        /* After a chunk's last group comes the first of the next k's. */
        if (whole - panel > group) {
            in.ahead = (ptrdiff_t)(group * stride);
        } else if (k + ks < p->k_end) {
            in.ahead = (ptrdiff_t)(ks * PSC_LANES * size) - (ptrdiff_t)(panel * stride);
        }
        if (rows < COPY_FROM_ROWS) {
            pull_group(scratch, rows, ks, &in, dtype, true);
            continue;
        }
        copy_group(near, &in, ks, dtype);
        in.w = near;
        in.panel_stride = ks * PSC_LANES;
        pull_group(scratch, rows, ks, &in, PSC_DTYPE_F32, false);
    }
    if (rest) {
        for (size_t r = 0; r < rows; r++) {
            const float *u = p->u + (row + r) * p->ldu + whole * PSC_LANES;
            for (size_t i = 0; i < rest; i++) ends[r * PSC_LANES + i] = u[i];
        }
        pull_input in = {.u = ends,
            .ldu = PSC_LANES,
            .w = (const char *)p->w + (whole * p->k + k) * PSC_LANES * size,
            .panel_stride = 0,
            .n = 1};
        pull_group(scratch, rows, ks, &in, dtype, false);
    }
    fold_chunk(p->y + row * p->ldy + k, p->ldy, scratch, rows, ks);
}

ALWAYS_INLINE void pullback(const psc_pullback *p, const psc_dtype dtype) {
    for (size_t row = 0, rows; row < p->rows; row += rows) {
        rows = least(MAX_ROWS, p->rows - row);
        size_t widest = rows < COPY_FROM_ROWS ? STREAM_PAIRS / rows / 8 * 8 : COPY_KS;
        for (size_t k = p->k_begin, ks; k < p->k_end; k += ks) {
            ks = least(widest, p->k_end - k);
            pull_chunk(p, row, rows, k, ks, dtype);
        }
    }
}

void psc_pullback_f32__neon(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_F32);
}

void psc_pullback_f16__neon(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_F16);
}

void psc_pullback_bf16__neon(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_BF16);
}
