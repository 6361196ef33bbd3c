/* y[rows, out] = x[rows, k] W[out, k]^T + bias on NEON, equal to matmul_reference.c to the bit:
 * lanes are outputs, so a lane's chain is the reference's chain.
 *
 *      few rows (1..5):  W is streamed once; up to four panels side by side keep eight or more
 *                        chains in flight and prefetch ahead of themselves.
 *      more rows:        for ROW_CHUNK rows (their k-block stays in L2), for each k-block, for each
 *                        panel (its k-block stays in L1), a tile of up to 5 rows x 16 outputs at a
 *                        time. The totals of earlier blocks wait in y.
 */
#include "kernel_names.h"
#include "tile_neon.h"

#include <assert.h>

#define ROW_CHUNK 190
#define FEW_ROWS 5
/* From this many row tiles on a narrow block is widened once, into a buffer that stays in L1. */
#define WIDEN_FROM_TILES 3
#define WIDEN_TERMS 256
/* How far a streamed panel is prefetched. */
#define STREAM_AHEAD 2048

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
        for (size_t i = 0; i < n; i += 4) {
            float32x4_t total = vld1q_f32(sums + i);
            if (blocks) store_some(blocks + i, total, n - i);
            if (!y) continue;
            if (b->index) total = vaddq_f32(load_some(y + i, n - i), total);
            if (b->last && m->bias) {
                total = vaddq_f32(total, load_some(m->bias + output + i, n - i));
            }
            store_some(y + i, total, n - i);
        }
    }
}

static inline const void *weights_at(const psc_matmul *m, size_t panel, size_t k, psc_dtype dtype) {
    size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    return (const char *)m->w + (panel * m->k + k) * PSC_LANES * size;
}

/* All k-blocks of `rows` rows by `panels` panels from `panel` on. */
ALWAYS_INLINE void stream_panels(
    const psc_matmul *m, size_t panel, const int rows, const int panels, const psc_dtype dtype) {
    _Alignas(64) float sums[TILE_ROWS * 2 * PSC_LANES];
    size_t n_blocks = (m->k + m->k_block - 1) / m->k_block;
    for (size_t i = 0; i < n_blocks; i++) {
        block_position b = block_at(m, i);
        tile_input in = {.x = m->x + b.first,
            .ldx = m->ldx,
            .w = weights_at(m, panel, b.first, dtype),
            .panel_stride = m->k * PSC_LANES,
            .n = b.terms};
        tile(sums, &in, rows, panels, dtype, false, STREAM_AHEAD);
        close_tile(m, &b, sums, (size_t)panels * PSC_LANES, 0, (size_t)rows, panel * PSC_LANES);
    }
}

ALWAYS_INLINE void few_rows(const psc_matmul *m, size_t end, const psc_dtype dtype) {
    for (size_t p = m->panel_begin; p < end;) {
        if (m->rows == 1 && end - p >= 4) {
            stream_panels(m, p, 1, 4, dtype);
            p += 4;
        } else if (m->rows <= 3 && end - p >= 2) {
            if (m->rows == 1) stream_panels(m, p, 1, 2, dtype);
            if (m->rows == 2) stream_panels(m, p, 2, 2, dtype);
            if (m->rows == 3) stream_panels(m, p, 3, 2, dtype);
            p += 2;
        } else {
            if (m->rows == 1) stream_panels(m, p, 1, 1, dtype);
            if (m->rows == 2) stream_panels(m, p, 2, 1, dtype);
            if (m->rows == 3) stream_panels(m, p, 3, 1, dtype);
            if (m->rows == 4) stream_panels(m, p, 4, 1, dtype);
            if (m->rows == 5) stream_panels(m, p, 5, 1, dtype);
            p += 1;
        }
    }
}

/* The k-block b of one panel for the rows row..end-1. next is the block that comes after it. */
ALWAYS_INLINE void panel_block(const psc_matmul *m, const block_position *b, size_t panel,
    size_t row, size_t end, const void *next, const psc_dtype dtype) {
    _Alignas(64) float sums[TILE_ROWS * PSC_LANES];
    _Alignas(64) float wide[WIDEN_TERMS * PSC_LANES];
    size_t tiles = (end - row + TILE_ROWS - 1) / TILE_ROWS;
    size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    const void *w = weights_at(m, panel, b->first, dtype);
    bool widened = dtype != PSC_DTYPE_F32 && tiles >= WIDEN_FROM_TILES && b->terms <= WIDEN_TERMS;
    if (widened) {
        for (size_t i = 0; i < b->terms * PSC_LANES; i += 4) {
            vst1q_f32(wide + i, load_four(w, i, dtype));
        }
    }
    tile_input in = {.ldx = m->ldx, .w = widened ? wide : w, .n = b->terms, .ahead = next};
    /* The tiles share the fetching of the next block. */
    in.ahead_step = (PSC_LANES * size + tiles - 1) / tiles;
    while (row < end) {
        size_t rows = tile_height(end - row);
        in.x = m->x + row * m->ldx + b->first;
        if (widened) {
            tile_rows(sums, &in, rows, PSC_DTYPE_F32);
        } else {
            tile_rows(sums, &in, rows, dtype);
        }
        close_tile(m, b, sums, PSC_LANES, row, rows, panel * PSC_LANES);
        in.ahead += b->terms * in.ahead_step;
        row += rows;
    }
}

ALWAYS_INLINE void many_rows(const psc_matmul *m, size_t end, const psc_dtype dtype) {
    size_t n_blocks = (m->k + m->k_block - 1) / m->k_block;
    for (size_t row = 0; row < m->rows; row += ROW_CHUNK) {
        size_t row_end = least(m->rows, row + ROW_CHUNK);
        for (size_t i = 0; i < n_blocks; i++) {
            block_position b = block_at(m, i);
            for (size_t p = m->panel_begin; p < end; p++) {
                const void *next = weights_at(m, p + 1 < end ? p + 1 : p, b.first, dtype);
                panel_block(m, &b, p, row, row_end, next, dtype);
            }
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

void psc_matmul_f32__neon(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F32);
}

void psc_matmul_f16__neon(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F16);
}

void psc_matmul_bf16__neon(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_BF16);
}
