/* The frame of the matmul kernels, y[rows, out] = x[rows, k] W[out, k]^T + bias, equal to
 * matmul_reference.c to the bit: lanes are outputs, so a lane's chain is the reference's chain.
 * Private to simd/: matmul_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      few rows (1..8):  W is streamed once, by two or four panels at a time. They lie far apart,
 *                        each the beginning of a stretch, so that memory sees two or four long
 *                        streams; rows beyond three meet a k-block again while L1 has it.
 *      more rows:        for ROW_CHUNK rows, for each k-block (the rows' terms are copied together
 *                        and stay in L2), for each TILE_PANELS panels (whose k-block is widened and
 *                        stays in L1), a tile of TILE_ROWS rows at a time. The totals of earlier
 *                        blocks wait in y. */
#ifndef MATMUL_FRAME_H
#define MATMUL_FRAME_H

#include "kernel_names.h"
#include "tile_rows.h"

#include <assert.h>

/* Most rows at a time, whole tiles. */
#define ROW_CHUNK (144 / TILE_ROWS * TILE_ROWS)
#define FEW_ROWS 8
/* From this many row tiles on, rows are copied and narrow weights widened once for all of them. */
#define NEAR_FROM_TILES 3
/* How far a streamed panel is prefetched: a little, to bridge the gaps between the processor's own
 * prefetches. At 2 KiB both fetch the same lines, and two cores read a tenth less. */
#define STREAM_AHEAD 512

/* One k-block of one call. */
typedef struct block_position {
    size_t index, first, terms;
    bool last;
} block_position;

static block_position block_at(const psc_matmul *m, size_t index) {
    size_t first = index * m->k_block;
    size_t terms = least(m->k_block, m->k - first);
    return (block_position){index, first, terms, first + terms == m->k};
}

/* Adds a tile's block sums [rows][width] into y and writes them to blocks, for the n valid outputs
 * from `output` on. */
static void close_tile(const psc_matmul *m, const block_position *b, const float *sums,
    size_t width, size_t row, size_t rows, size_t output) {
    size_t n = least(width, m->out - output);
    for (size_t r = 0; r < rows; r++, sums += width) {
        float *blocks = NULL, *y = NULL;
        if (m->blocks) {
            blocks = m->blocks + (row + r) * m->ld_row + b->index * m->ld_block + output;
        }
        if (m->y) y = m->y + (row + r) * m->ldy + output;
        for (size_t i = 0; i < n; i += VEC) {
            vec total = vec_load(sums + i);
            if (blocks) store_some(blocks + i, total, n - i);
            if (!y) continue;
            if (b->index) total = vec_add(load_some(y + i, n - i), total);
            if (b->last && m->bias) total = vec_add(total, load_some(m->bias + output + i, n - i));
            store_some(y + i, total, n - i);
        }
    }
}

/* The same where only whole panels' totals are wanted. */
ALWAYS_INLINE void add_tile(float *y, size_t ldy, const float *bias, bool add, const float *sums,
    size_t rows, const int panels, size_t output) {
    for (size_t r = 0; r < rows; r++, y += ldy) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * panels; v++, sums += VEC) {
            vec total = vec_load(sums);
            if (add) total = vec_add(vec_load(y + v * VEC), total);
            if (bias) total = vec_add(total, vec_load(bias + output + (size_t)v * VEC));
            vec_store(y + v * VEC, total);
        }
    }
}

static inline const void *weights_at(const psc_matmul *m, size_t panel, size_t k, psc_dtype dtype) {
    size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    return (const char *)m->w + (panel * m->k + k) * PSC_LANES * size;
}

/* --- few rows --- */

/* Rows of one tile where there are more than one, by two panels. */
#define STREAM_ROWS 3

/* One k-block of `rows` rows by `panels` panels, `gap` panels apart. */
ALWAYS_INLINE void stream_tile(const psc_matmul *m, const block_position *b, size_t row,
    size_t panel, size_t gap, const int rows, const int panels, size_t ahead,
    const psc_dtype dtype) {
    _Alignas(64) float sums[STREAM_ROWS * TILE_MAX_PANELS * PSC_LANES];
    tile_input in = {.x = m->x + row * m->ldx + b->first,
        .ldx = m->ldx,
        .w = weights_at(m, panel, b->first, dtype),
        .panel_stride = gap * m->k * PSC_LANES,
        .n = b->terms};
    tile(sums, &in, rows, panels, dtype, false, ahead);
    for (int r = 0; r < rows; r++) {
        for (int p = 0; p < panels; p++) {
            close_tile(m, b, sums + (r * panels + p) * PSC_LANES, PSC_LANES, row + (size_t)r, 1,
                (panel + (size_t)p * gap) * PSC_LANES);
        }
    }
}

/* All rows by `panels` panels, `gap` panels apart. The first rows bring a k-block, further ones the
 * next. */
ALWAYS_INLINE void stream_panels(
    const psc_matmul *m, size_t panel, size_t gap, const int panels, const psc_dtype dtype) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    for (size_t i = 0, done = 0; done < m->k; i++) {
        block_position b = block_at(m, i);
        size_t ahead = STREAM_AHEAD;
        done += b.terms;
        for (size_t row = 0, rows; row < m->rows; row += rows) {
            size_t tiles = (m->rows - row + STREAM_ROWS - 1) / STREAM_ROWS;
            rows = (m->rows - row + tiles - 1) / tiles;
            if (rows == 1) stream_tile(m, &b, row, panel, gap, 1, panels, ahead, dtype);
            if (rows == 2) stream_tile(m, &b, row, panel, gap, 2, panels, ahead, dtype);
            if (rows == 3) stream_tile(m, &b, row, panel, gap, 3, panels, ahead, dtype);
            ahead = b.terms * PSC_LANES * size;
        }
    }
}

ALWAYS_INLINE void stream_one_row(
    const psc_matmul *m, size_t panel, size_t gap, const int panels, const psc_dtype dtype) {
    for (size_t i = 0, done = 0; done < m->k; i++) {
        block_position b = block_at(m, i);
        done += b.terms;
        stream_tile(m, &b, 0, panel, gap, 1, panels, STREAM_AHEAD, dtype);
    }
}

ALWAYS_INLINE void few_rows(const psc_matmul *m, size_t end, const psc_dtype dtype) {
    const size_t panels = m->rows == 1 ? 4 : 2, gap = (end - m->panel_begin) / panels;
    size_t p = m->panel_begin;
    for (; p < m->panel_begin + gap; p++) {
        if (m->rows == 1) {
            stream_one_row(m, p, gap, 4, dtype);
        } else {
            stream_panels(m, p, gap, 2, dtype);
        }
    }
    for (p += (panels - 1) * gap; p < end; p++) stream_panels(m, p, 1, 1, dtype);
}

/* --- more rows --- */

/* The row tiles of one k-block by `panels` panels: x of row r of the chunk at in->x + r*ldx. ahead,
 * bytes of it, is what is read next: the tiles fetch it by turns. */
ALWAYS_INLINE void row_tiles(const psc_matmul *m, const block_position *b, size_t row, size_t end,
    size_t panel, const int panels, tile_input in, const char *ahead, size_t bytes,
    const psc_dtype dtype) {
    _Alignas(64) float sums[TILE_ROWS * TILE_PANELS * PSC_LANES];
    const float *x = in.x;
    const size_t output = panel * PSC_LANES, width = (size_t)panels * PSC_LANES;
    const bool plain = m->y && !m->blocks && output + width <= m->out;
    size_t tiles = (end - row + TILE_ROWS - 1) / TILE_ROWS, done = 0;
    size_t share = (bytes + tiles * 64 - 1) / (tiles * 64) * 64;
    for (size_t rows; row < end; row += rows) {
        rows = tile_height(end - row);
        in.x = x;
        x += rows * in.ldx;
        for (size_t stop = least(done + share, bytes); done < stop; done += 64) {
            __builtin_prefetch(ahead + done);
        }
        float *y = plain ? m->y + row * m->ldy + output : NULL;
        for (size_t r = 0; plain && r < rows; r++) __builtin_prefetch(y + r * m->ldy);
        tile_rows(sums, &in, rows, panels, dtype);
        if (plain) {
            add_tile(y, m->ldy, b->last ? m->bias : NULL, b->index > 0, sums, rows, panels, output);
        } else {
            close_tile(m, b, sums, width, row, rows, output);
        }
    }
}

/* Few tiles: rows and weights are read where they lie. */
ALWAYS_INLINE void tiles_in_place(const psc_matmul *m, const block_position *b, size_t row,
    size_t row_end, size_t end, const psc_dtype dtype) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    for (size_t p = m->panel_begin; p < end; p++) {
        tile_input in = {.x = m->x + row * m->ldx + b->first,
            .ldx = m->ldx,
            .w = weights_at(m, p, b->first, dtype),
            .n = b->terms};
        size_t bytes = p + 1 < end ? b->terms * PSC_LANES * size : 0;
        row_tiles(
            m, b, row, row_end, p, 1, in, weights_at(m, p + 1, b->first, dtype), bytes, dtype);
    }
}

/* A row tile's own loops do not know what type the weights had: one copy for all three. */
static void near_tiles(const psc_matmul *m, const block_position *b, size_t row, size_t end,
    size_t panel, size_t panels, const tile_input *from, const char *ahead, size_t bytes) {
    tile_input in = *from;
    in.ldx = NEAR_LD;
#if TILE_PANELS > 1
    if (panels == TILE_PANELS) {
        row_tiles(m, b, row, end, panel, TILE_PANELS, in, ahead, bytes, PSC_DTYPE_F32);
        return;
    }
#endif
    (void)panels;
    row_tiles(m, b, row, end, panel, 1, in, ahead, bytes, PSC_DTYPE_F32);
}

/* Many tiles: rows are copied together, narrow weights widened, once for all of them. */
ALWAYS_INLINE void tiles_near(const psc_matmul *m, const block_position *b, size_t row,
    size_t row_end, size_t end, float *near_x, const psc_dtype dtype) {
    _Alignas(64) float wide[TILE_PANELS * PSC_K_BLOCK * PSC_LANES];
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    size_t stride = m->k * PSC_LANES, floats = b->terms * PSC_LANES;
    copy_near(near_x, m->x + row * m->ldx + b->first, m->ldx, row_end - row, b->terms);
    for (size_t p = m->panel_begin, panels; p < end; p += panels) {
        panels = least(TILE_PANELS, end - p);
        tile_input in = {.x = near_x,
            .w = weights_at(m, p, b->first, dtype),
            .panel_stride = stride,
            .n = b->terms};
        for (size_t i = 0; dtype != PSC_DTYPE_F32 && i < panels; i++) {
            for (size_t at = 0; at < floats; at += PSC_LANES) {
                UNROLL for (size_t v = 0; v < PSC_LANES; v += VEC) {
                    vec weights = load_weights(in.w, i * stride + at + v, dtype);
                    vec_store(wide + i * floats + at + v, weights);
                }
            }
        }
        if (dtype != PSC_DTYPE_F32) {
            in.w = wide;
            in.panel_stride = floats;
        }
        const char *ahead = weights_at(m, p + panels, b->first, dtype);
        size_t bytes = p + panels < end ? floats * size : 0;
        near_tiles(m, b, row, row_end, p, panels, &in, ahead, bytes);
    }
}

ALWAYS_INLINE void many_rows(const psc_matmul *m, size_t end, const psc_dtype dtype) {
    _Alignas(64) float near_x[ROW_CHUNK * NEAR_LD];
    size_t n_blocks = (m->k + m->k_block - 1) / m->k_block;
    size_t chunks = (m->rows + ROW_CHUNK - 1) / ROW_CHUNK;
    size_t chunk = ((m->rows + chunks - 1) / chunks + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    for (size_t row = 0; row < m->rows; row += chunk) {
        size_t row_end = least(m->rows, row + chunk);
        bool near = m->k_block <= PSC_K_BLOCK && row_end - row > (NEAR_FROM_TILES - 1) * TILE_ROWS;
        for (size_t i = 0; i < n_blocks; i++) {
            block_position b = block_at(m, i);
            if (near)
                tiles_near(m, &b, row, row_end, end, near_x, dtype);
            else
                tiles_in_place(m, &b, row, row_end, end, dtype);
        }
    }
}

ALWAYS_INLINE void matmul(const psc_matmul *m, const psc_dtype dtype) {
    assert(m->k > 0 && m->k_block > 0);
    size_t end = least(m->panel_end, (m->out + PSC_LANES - 1) / PSC_LANES);
    if (m->rows == 0) return;
    if (m->rows <= FEW_ROWS) {
        few_rows(m, end, dtype);
    } else {
        many_rows(m, end, dtype);
    }
}

void PSC_NAME(matmul_f32)(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F32);
}

void PSC_NAME(matmul_f16)(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F16);
}

void PSC_NAME(matmul_bf16)(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_BF16);
}

#endif
