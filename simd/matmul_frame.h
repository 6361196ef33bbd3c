/* The frame of the matmul kernels, y[rows, out] = x[rows, k] W[out, k]^T + bias, equal to
 * matmul_reference.c to the bit: lanes are outputs, so a lane's chain is the reference's chain.
 * Private to simd/: matmul_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      few rows:         up to STREAM_MOST. W is streamed once, two or four panels at a time. They
 *                        are far apart, each at the start of a stretch, so that memory sees two or
 *                        four long streams; rows after STREAM_ROWS reuse a k-block from L1.
 *      many rows:        for NEAR_TERMS of k, for GROUP_PANELS panels; for NEAR_ROWS rows, whose y
 *                        stays in cache, for each k-block a tile of NEAR_TILE_ROWS rows by
 *                        NEAR_TILE_REGISTERS registers at a time. The first tile widens the
 *                        weights into reading order; they stay in L2 for the others. */
#ifndef MATMUL_FRAME_H
#define MATMUL_FRAME_H

#include "kernel_names.h"
#include "tile_rows.h"

#include <assert.h>

/* For more rows, weights are widened once for all rows, NEAR_TERMS terms at a time: a row of y is
 * loaded once per group. A tile's weights are read from L2 once per NEAR_ROWS rows. Groups of more
 * panels would read x less often, but measured slower. */
#define GROUP_PANELS PSC_NAME(matmul_group)
#define NEAR_TERMS (8 * PSC_K_BLOCK)
#define NEAR_ROWS (48 / NEAR_TILE_ROWS * NEAR_TILE_ROWS)
_Static_assert(GROUP_PANELS *PANEL_REGISTERS % NEAR_TILE_REGISTERS == 0, "tiles fill a group");
/* How far ahead to prefetch a streamed panel: a little, to bridge gaps between the hardware's own
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

/* Adds a tile's block sums [rows][width] to y and writes them to blocks, for the n valid outputs
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

static inline const void *weights_at(const psc_matmul *m, size_t panel, size_t k, psc_dtype dtype) {
    size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    return (const char *)m->w + (panel * m->k + k) * PSC_LANES * size;
}

/* --- few rows: STREAM_ROWS per tile, which spans two panels for more than one row --- */

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

/* All rows by `panels` panels, `gap` panels apart. The first rows load a k-block; later rows
 * prefetch the next where both blocks of both panels fit into L1, so not for f32. */
ALWAYS_INLINE void stream_panels(
    const psc_matmul *m, size_t panel, size_t gap, const int panels, const psc_dtype dtype) {
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
#if STREAM_ROWS > 3
            if (rows == 4) stream_tile(m, &b, row, panel, gap, 4, panels, ahead, dtype);
            if (rows == 5) stream_tile(m, &b, row, panel, gap, 5, panels, ahead, dtype);
            if (rows == 6) stream_tile(m, &b, row, panel, gap, 6, panels, ahead, dtype);
            if (rows == 7) stream_tile(m, &b, row, panel, gap, 7, panels, ahead, dtype);
            if (rows == 8) stream_tile(m, &b, row, panel, gap, 8, panels, ahead, dtype);
            if (rows == 9) stream_tile(m, &b, row, panel, gap, 9, panels, ahead, dtype);
            if (rows == 10) stream_tile(m, &b, row, panel, gap, 10, panels, ahead, dtype);
            if (rows == 11) stream_tile(m, &b, row, panel, gap, 11, panels, ahead, dtype);
            if (rows == 12) stream_tile(m, &b, row, panel, gap, 12, panels, ahead, dtype);
#endif
            ahead = dtype == PSC_DTYPE_F32 ? 0 : b.terms * PSC_LANES * sizeof(uint16_t);
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

/* --- many rows --- */

/* Some panels' weights of some k-blocks, widened: in tile t of registers*VEC outputs, term k is at
 * wide + (t * terms + k) * registers*VEC. */
typedef struct near_group {
    size_t panel, panels;
    size_t first, terms; /* of k */
    float *wide;         /* [GROUP_PANELS * NEAR_TERMS * 16] */
    psc_dtype dtype;
} near_group;

/* Separate functions: inlined, the caller's many variables would take up registers. */
static __attribute__((noinline)) void near_rows(const near_input *in, size_t rows) {
    near_strip(*in, rows, NEAR_TILE_REGISTERS);
}

static __attribute__((noinline)) void near_panel_rows(const near_input *in, size_t rows) {
    near_strip(*in, rows, PANEL_REGISTERS);
}

ALWAYS_INLINE void first_tile(const near_input *in, const int registers, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) near_tile(in, NEAR_TILE_ROWS, registers, true, PSC_DTYPE_F32);
    if (dtype == PSC_DTYPE_F16) near_tile(in, NEAR_TILE_ROWS, registers, true, PSC_DTYPE_F16);
    if (dtype == PSC_DTYPE_BF16) near_tile(in, NEAR_TILE_ROWS, registers, true, PSC_DTYPE_BF16);
}

static __attribute__((noinline)) void first_rows(const near_input *in, psc_dtype dtype) {
    first_tile(in, NEAR_TILE_REGISTERS, dtype);
}

static __attribute__((noinline)) void first_panel_rows(const near_input *in, psc_dtype dtype) {
    first_tile(in, PANEL_REGISTERS, dtype);
}

/* Where a group's register v begins in its panel. */
static const void *packed_at(const psc_matmul *m, const near_group *g, size_t v, size_t k) {
    const size_t size = g->dtype == PSC_DTYPE_F32 ? 4 : 2;
    const char *panel = weights_at(m, g->panel + v / PANEL_REGISTERS, k, g->dtype);
    return panel + v % PANEL_REGISTERS * VEC * size;
}

/* All rows of a tile's outputs. The first tile of the matmul's rows widens the weights between its
 * multiply-adds, which also hide the wait for memory. */
ALWAYS_INLINE void near_outputs(
    near_input in, size_t rows, bool first, psc_dtype dtype, const int registers) {
    if (first) {
        if (registers == NEAR_TILE_REGISTERS) {
            first_rows(&in, dtype);
        } else {
            first_panel_rows(&in, dtype);
        }
        in.x += NEAR_TILE_ROWS * in.ldx;
        in.y += NEAR_TILE_ROWS * in.ldy;
        rows -= NEAR_TILE_ROWS;
    }
    if (registers == NEAR_TILE_REGISTERS) {
        near_rows(&in, rows);
    } else {
        near_panel_rows(&in, rows);
    }
}

/* Up to NEAR_ROWS rows of one k-block of a group. For a partial group of outputs, or if the caller
 * wants blocks, the tiles' sums go through close_tile. */
ALWAYS_INLINE void near_block(const psc_matmul *m, const block_position *b, const near_group *g,
    size_t row, size_t rows, const int registers) {
    _Alignas(64) float sums[NEAR_ROWS * NEAR_TILE_REGISTERS * VEC];
    const size_t width = (size_t)registers * VEC, outputs = g->panel * PSC_LANES;
    const size_t end = least(m->out, outputs + g->panels * PSC_LANES);
    const bool plain = m->y && !m->blocks && outputs + g->panels * PSC_LANES <= m->out;
    near_input in = {.x = m->x + row * m->ldx + b->first,
        .ldx = m->ldx,
        .w = g->wide + (b->first - g->first) * width,
        .n = b->terms,
        .ldy = plain ? m->ldy : width,
        .add = plain && b->index > 0};
    for (size_t output = outputs; output < end; output += width, in.w += g->terms * width) {
        in.y = plain ? m->y + row * m->ldy + output : sums;
        in.bias = plain && b->last && m->bias ? m->bias + output : NULL;
        for (size_t v = 0; row == 0 && v < (size_t)registers; v++)
            in.packed[v] = packed_at(m, g, (output - outputs) / VEC + v, b->first);
        near_outputs(in, rows, row == 0, g->dtype, registers);
        if (!plain) close_tile(m, b, sums, width, row, rows, output);
    }
}

static void near_blocks(
    const psc_matmul *m, const block_position *b, const near_group *g, size_t row, size_t rows) {
    if (g->panels == GROUP_PANELS) {
        near_block(m, b, g, row, rows, NEAR_TILE_REGISTERS);
    } else {
        near_block(m, b, g, row, rows, PANEL_REGISTERS);
    }
}

/* Prefetches the first k-block of the next group, a part at each step of the last rows. Fetched
 * earlier, it would be evicted from L2 by the rows of x. A tile fetches the block after its own. */
typedef struct near_ahead {
    const char *from;            /* null: no prefetch */
    size_t bytes, done, step;    /* of each panel */
    size_t panels, panel_stride; /* in bytes */
} near_ahead;

static void fetch_ahead(near_ahead *a) {
    size_t end = least(a->done + a->step, a->bytes);
    for (; a->from && a->done < end; a->done += 64) {
        for (size_t p = 0; p < a->panels; p++) {
            __builtin_prefetch(a->from + p * a->panel_stride + a->done, 0, 2);
        }
    }
}

/* All rows of one group: NEAR_ROWS rows go through its k-blocks one by one while their y is in
 * cache. */
static void group_rows(const psc_matmul *m, const near_group *g, near_ahead *ahead) {
    const size_t first_block = g->first / m->k_block;
    const size_t blocks = (g->terms + m->k_block - 1) / m->k_block;
    ahead->step = (ahead->bytes / blocks + 64) / 64 * 64;
    for (size_t row = 0, rows; row < m->rows; row += rows) {
        rows = least(NEAR_ROWS, m->rows - row);
        for (size_t r = row; m->y && r < row + rows; r++) {
            const float *y = m->y + r * m->ldy + g->panel * PSC_LANES;
            for (size_t p = 0; p < g->panels; p++) __builtin_prefetch(y + p * PSC_LANES);
        }
        for (size_t i = 0; i < blocks; i++) {
            block_position b = block_at(m, first_block + i);
            if (row + NEAR_ROWS >= m->rows) fetch_ahead(ahead);
            near_blocks(m, &b, g, row, rows);
        }
    }
}

/* Terms of a group: whole k-blocks, spread evenly over the fewest groups. */
static size_t group_terms(const psc_matmul *m) {
    size_t blocks = (m->k + m->k_block - 1) / m->k_block, most = NEAR_TERMS / m->k_block;
    size_t groups = (blocks + most - 1) / most;
    return (blocks + groups - 1) / groups * m->k_block;
}

#define WIDE_FLOATS (GROUP_PANELS * NEAR_TERMS * PSC_LANES)
_Static_assert(WIDE_FLOATS * sizeof(float) <= PSC_KERNEL_ROOM, "a group's weights fit the room");

ALWAYS_INLINE void many_rows(const psc_matmul *m, size_t end, const psc_dtype dtype) {
    assert(m->rows >= NEAR_TILE_ROWS); /* the first tile */
    float *wide = m->room;
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2, group = group_terms(m);
    for (size_t first = 0, terms; first < m->k; first += terms) {
        terms = least(group, m->k - first);
        for (size_t p = m->panel_begin, panels; p < end; p += panels) {
            panels = least(GROUP_PANELS, end - p);
            near_group g = {p, panels, first, terms, wide, dtype};
            near_ahead ahead = {.bytes = least(m->k_block, terms) * PSC_LANES * size,
                .panel_stride = m->k * PSC_LANES * size};
            if (p + panels < end) {
                ahead.from = weights_at(m, p + panels, first, dtype);
                ahead.panels = least(GROUP_PANELS, end - p - panels);
            } else if (first + terms < m->k) {
                ahead.from = weights_at(m, m->panel_begin, first + terms, dtype);
                ahead.bytes = least(m->k_block, m->k - first - terms) * PSC_LANES * size;
                ahead.panels = least(GROUP_PANELS, end - m->panel_begin);
            }
            group_rows(m, &g, &ahead);
        }
    }
}

/* Runs the kernel again with room from the stack. */
static __attribute__((noinline)) void with_room(const psc_matmul *m, psc_matmul_f32_fn kernel) {
    _Alignas(64) float room[WIDE_FLOATS];
    psc_matmul own = *m;
    own.room = room;
    kernel(&own);
}

ALWAYS_INLINE void matmul(const psc_matmul *m, const psc_dtype dtype, psc_matmul_f32_fn kernel) {
    assert(m->k > 0 && m->k_block > 0);
    size_t end = least(m->panel_end, (m->out + PSC_LANES - 1) / PSC_LANES);
    if (m->rows == 0) return;
    if (m->rows > STREAM_MOST(dtype) && m->k_block <= NEAR_TERMS) {
        if (m->room)
            many_rows(m, end, dtype);
        else
            with_room(m, kernel);
        return;
    }
    psc_matmul part = *m;
    for (size_t row = 0; row < m->rows; row += part.rows) {
        part.rows = least(STREAM_MOST(dtype), m->rows - row);
        few_rows(&part, end, dtype);
        part.x += part.rows * m->ldx;
        if (part.y) part.y += part.rows * m->ldy;
        if (part.blocks) part.blocks += part.rows * m->ld_row;
    }
}

void PSC_NAME(matmul_f32)(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F32, PSC_NAME(matmul_f32));
}

void PSC_NAME(matmul_f16)(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F16, PSC_NAME(matmul_f16));
}

void PSC_NAME(matmul_bf16)(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_BF16, PSC_NAME(matmul_bf16));
}

#endif
