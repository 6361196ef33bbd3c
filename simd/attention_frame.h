/* The frame of the attention kernels of one head, equal to attention_reference.c to the bit.
 * Private to simd/: attention_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      one row:    up to four panels side by side.
 *      more rows:  TILE_PANELS panels, while they are in cache, against tiles of TILE_ROWS rows; q,
 *                  pattern, keys and values are read in place.
 *
 * Lanes of the scores are keys: keys past a row's own are computed but not written. The chains of
 * the values run over keys. A tile takes the keys that all its rows see (n_keys ascends: those of
 * its first row); the chains of its later rows continue one by one. */
#ifndef ATTENTION_FRAME_H
#define ATTENTION_FRAME_H

#include "kernel_names.h"
#include "tile_rows.h"

/* Rows per pass over a panel while it is in cache; differs from NEAR_ROWS of the matmul. */
#define PASS_ROWS (24 / TILE_ROWS * TILE_ROWS)
#define TILE_REGISTERS (PANEL_REGISTERS * TILE_PANELS)

/* Calls step(..., height, panels) for a tile's rows; each height is a separate kernel. */
#define FOR_HEIGHT(n, step, ...)                                                                   \
    case n:                                                                                        \
        step(__VA_ARGS__, n, panels);                                                              \
        break;
#if TILE_ROWS > 6
#define FOR_TALLER(...)                                                                            \
    FOR_HEIGHT(6, __VA_ARGS__)                                                                     \
    FOR_HEIGHT(7, __VA_ARGS__)                                                                     \
    FOR_HEIGHT(8, __VA_ARGS__)                                                                     \
    FOR_HEIGHT(9, __VA_ARGS__)                                                                     \
    FOR_HEIGHT(10, __VA_ARGS__)                                                                    \
    FOR_HEIGHT(11, __VA_ARGS__)                                                                    \
    FOR_HEIGHT(12, __VA_ARGS__)
#elif TILE_ROWS > 5
#define FOR_TALLER(...) FOR_HEIGHT(6, __VA_ARGS__)
#else
#define FOR_TALLER(...)
#endif
#define FOR_HEIGHTS(rows, ...)                                                                     \
    switch (rows) {                                                                                \
        FOR_HEIGHT(1, __VA_ARGS__)                                                                 \
        FOR_HEIGHT(2, __VA_ARGS__)                                                                 \
        FOR_HEIGHT(3, __VA_ARGS__)                                                                 \
        FOR_HEIGHT(4, __VA_ARGS__)                                                                 \
        FOR_HEIGHT(5, __VA_ARGS__)                                                                 \
        FOR_TALLER(__VA_ARGS__)                                                                    \
    default:                                                                                       \
        break;                                                                                     \
    }

/* --- scores --- */

/* One row: up to four panels side by side, without prefetches: the hardware prefetcher does better
 * here (matmul_frame.h). */
static void score_row(const psc_attention *a, size_t row) {
    _Alignas(64) float sums[4 * PSC_LANES];
    const vec scale = vec_set(a->scale);
    const size_t seen = (size_t)a->n_keys[row], n_panels = (seen + PSC_LANES - 1) / PSC_LANES;
    tile_input in = {.x = a->x + row * a->ldx,
        .ldx = a->ldx,
        .panel_stride = PSC_LANES * a->d_head,
        .n = a->d_head};
    for (size_t p = 0, panels; p < n_panels; p += panels) {
        in.w = a->cache + p * in.panel_stride;
        panels = n_panels - p >= 4 ? 4 : 1;
        if (panels == 4) {
            tile(sums, &in, 1, 4, PSC_DTYPE_F32, false, 0);
        } else {
            tile(sums, &in, 1, 1, PSC_DTYPE_F32, false, 0);
        }
        const size_t first = p * PSC_LANES, n = least(panels * PSC_LANES, seen - first);
        float *y = a->y + row * a->ldy + first;
        for (size_t i = 0; i < n; i += VEC) {
            store_some(y + i, vec_mul(vec_load(sums + i), scale), n - i);
        }
    }
}

/* Writes the scores of a tile on the diagonal, `width` keys from `key` on: per row those it
 * sees. */
static __attribute__((noinline)) void write_seen(const psc_attention *a, const float *scores,
    size_t row, size_t rows, size_t key, size_t width) {
    for (size_t r = 0; r < rows; r++, scores += width) {
        const size_t seen = (size_t)a->n_keys[row + r];
        const size_t n = seen <= key ? 0 : least(width, seen - key);
        float *y = a->y + (row + r) * a->ldy + key;
        for (size_t i = 0; i < n; i += VEC) store_some(y + i, vec_load(scores + i), n - i);
    }
}

/* The scores of a tile of rows from `row` on for the key panels from `key` on. */
ALWAYS_INLINE void score_tile(
    const psc_attention *a, size_t row, size_t key, const int rows, const int panels) {
    vec acc[TILE_ROWS][TILE_REGISTERS];
    const int registers = PANEL_REGISTERS * panels;
    const vec scale = vec_set(a->scale);
    const tile_input in = {.x = a->x + row * a->ldx,
        .ldx = a->ldx,
        .w = a->cache + key * a->d_head,
        .panel_stride = PSC_LANES * a->d_head,
        .n = a->d_head};
    float *y = a->y + row * a->ldy + key;

    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) acc[r][v] = vec_zero();
    }
    panel_chain(acc, &in, rows, panels);
    if ((size_t)a->n_keys[row] >= key + (size_t)panels * PSC_LANES) {
        UNROLL for (int r = 0; r < rows; r++, y += a->ldy) {
            UNROLL for (int v = 0; v < registers; v++) {
                vec_store(y + v * VEC, vec_mul(acc[r][v], scale));
            }
        }
        return;
    }
    _Alignas(64) float scores[TILE_ROWS * TILE_REGISTERS * VEC];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) {
            vec_store(scores + (r * registers + v) * VEC, vec_mul(acc[r][v], scale));
        }
    }
    write_seen(a, scores, row, (size_t)rows, key, (size_t)registers * VEC);
}

/* The scores of rows row..end-1 for some panels of keys. */
ALWAYS_INLINE void score_strip(
    const psc_attention *a, size_t row, size_t end, size_t key, const int panels) {
    for (size_t rows; row < end; row += rows) {
        rows = tile_height(end - row, TILE_ROWS);
        if ((size_t)a->n_keys[row + rows - 1] <= key) continue;
        FOR_HEIGHTS(rows, score_tile, a, row, key)
    }
}

static void score_rows(const psc_attention *a, size_t row, size_t end) {
    const size_t seen = (size_t)a->n_keys[end - 1], wide = TILE_PANELS * PSC_LANES;
    size_t key = 0;
    for (; TILE_PANELS > 1 && key + wide <= seen; key += wide)
        score_strip(a, row, end, key, TILE_PANELS);
    for (; key < seen; key += PSC_LANES) score_strip(a, row, end, key, 1);
}

void PSC_NAME(attention_scores)(const psc_attention *a) {
    for (size_t row = 0, end; row < a->rows; row = end) {
        end = least(a->rows, row + PASS_ROWS);
        if (end - row == 1) {
            score_row(a, row);
        } else {
            score_rows(a, row, end);
        }
    }
}

/* --- values --- */

/* Continues the chains of one row over four panels or one. */
static void resume_row(float *sums, const tile_input *in, size_t panels) {
    if (panels == 4) {
        tile(sums, in, 1, 4, PSC_DTYPE_F32, true, 0);
    } else {
        tile(sums, in, 1, 1, PSC_DTYPE_F32, true, 0);
    }
}

/* Adds a row's block sum to z; the first block sum is the total. */
static __attribute__((noinline)) void add_values(float *y, const float *sums, size_t n, bool add) {
    for (size_t i = 0; i < n; i += VEC) {
        vec total = vec_load(sums + i);
        if (add) total = vec_add(load_some(y + i, n - i), total);
        store_some(y + i, total, n - i);
    }
}

/* One row: panels side by side, block after block of keys. */
static void value_row(const psc_attention *a, size_t row) {
    _Alignas(64) float sums[4 * PSC_LANES];
    size_t n_panels = (a->d_head + PSC_LANES - 1) / PSC_LANES, seen = (size_t)a->n_keys[row];
    for (size_t p = 0, panels; p < n_panels; p += panels) {
        panels = n_panels - p >= 4 ? 4 : 1;
        size_t d = p * PSC_LANES, n = least(panels * PSC_LANES, a->d_head - d);
        for (size_t first = 0; first < seen; first += PSC_K_BLOCK) {
            tile_input in = {.x = a->x + row * a->ldx + first,
                .ldx = a->ldx,
                .w = a->cache + (p * a->key_capacity + first) * PSC_LANES,
                .panel_stride = PSC_LANES * a->key_capacity,
                .n = least(PSC_K_BLOCK, seen - first)};
            for (size_t i = 0; i < panels * PSC_LANES; i += VEC) vec_store(sums + i, vec_zero());
            resume_row(sums, &in, panels);
            add_values(a->y + row * a->ldy + d, sums, n, first > 0);
        }
    }
}

/* A tile of rows from `row` on, the key block from `block` on and the panels of z from d on. Every
 * row sees some keys of the block. */
ALWAYS_INLINE void value_tile(
    const psc_attention *a, size_t row, size_t block, size_t d, const int rows, const int panels) {
    vec acc[TILE_ROWS][TILE_REGISTERS];
    const int registers = PANEL_REGISTERS * panels;
    const size_t common = (size_t)a->n_keys[row] - block;
    const tile_input in = {.x = a->x + row * a->ldx + block,
        .ldx = a->ldx,
        .w = a->cache + d * a->key_capacity + block * PSC_LANES,
        .panel_stride = PSC_LANES * a->key_capacity,
        .n = least(PSC_K_BLOCK, common)};
    float *y = a->y + row * a->ldy + d;

    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) acc[r][v] = vec_zero();
    }
    panel_chain(acc, &in, rows, panels);
    UNROLL for (int r = 1; r < rows; r++) {
        const size_t seen = least(PSC_K_BLOCK, (size_t)a->n_keys[row + (size_t)r] - block);
        for (size_t key = in.n; key < seen; key++) {
            const float *w = (const float *)in.w + key * PSC_LANES;
            const vec pattern = vec_set(in.x[(size_t)r * in.ldx + key]);
            UNROLL for (int v = 0; v < registers; v++) {
                const float *at = w + (size_t)(v / PANEL_REGISTERS) * in.panel_stride;
                acc[r][v] = vec_fma(pattern, vec_load(at + v % PANEL_REGISTERS * VEC), acc[r][v]);
            }
        }
    }
    if (d + (size_t)panels * PSC_LANES <= a->d_head) {
        UNROLL for (int r = 0; r < rows; r++, y += a->ldy) {
            UNROLL for (int v = 0; v < registers; v++) {
                if (block) acc[r][v] = vec_add(vec_load(y + v * VEC), acc[r][v]);
                vec_store(y + v * VEC, acc[r][v]);
            }
        }
        return;
    }
    _Alignas(64) float sums[TILE_ROWS * TILE_REGISTERS * VEC];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) {
            vec_store(sums + (r * registers + v) * VEC, acc[r][v]);
        }
    }
    for (int r = 0; r < rows; r++, y += a->ldy) {
        add_values(y, sums + r * registers * VEC, a->d_head - d, block > 0);
    }
}

/* Rows row..end-1, each of which sees some keys of the block, for some panels of z. */
ALWAYS_INLINE void value_strip(
    const psc_attention *a, size_t row, size_t end, size_t block, size_t d, const int panels) {
    for (size_t rows; row < end; row += rows) {
        rows = tile_height(end - row, TILE_ROWS);
        FOR_HEIGHTS(rows, value_tile, a, row, block, d)
    }
}

static void value_rows(const psc_attention *a, size_t row, size_t end) {
    const size_t wide = TILE_PANELS * PSC_LANES;
    for (size_t block = 0; block < (size_t)a->n_keys[end - 1]; block += PSC_K_BLOCK) {
        size_t d = 0;
        /* A block that a row does not see adds nothing to it, not even +0. */
        while ((size_t)a->n_keys[row] <= block) row++;
        for (; TILE_PANELS > 1 && d + wide <= a->d_head; d += wide)
            value_strip(a, row, end, block, d, TILE_PANELS);
        for (; d < a->d_head; d += PSC_LANES) value_strip(a, row, end, block, d, 1);
    }
}

void PSC_NAME(attention_values)(const psc_attention *a) {
    for (size_t row = 0, end; row < a->rows; row = end) {
        end = least(a->rows, row + PASS_ROWS);
        if (end - row == 1) {
            value_row(a, row);
        } else {
            value_rows(a, row, end);
        }
    }
}

#endif
