/* The frame of the attention kernels of one head, equal to attention_reference.c to the bit. Scores
 * and values use the matmul's tile, rows copied together.
 * Private to simd/: attention_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 * Lanes of the scores are keys: keys past a row's own are computed and not written. The values'
 * chains run over keys, so a tile takes only the keys that all its rows see (n_keys ascends: those
 * of its first row) and each row goes on by itself. */
#ifndef ATTENTION_FRAME_H
#define ATTENTION_FRAME_H

#include "kernel_names.h"
#include "tile_rows.h"

/* Rows whose inputs are copied together at a time, and terms of one copy. */
#define NEAR_ROWS (48 / TILE_ROWS * TILE_ROWS)

/* --- scores --- */

/* Key panels p..p+panels-1 for the rows row..row+rows-1. */
static void write_scores(
    const psc_attention *a, const float *sums, size_t row, size_t rows, size_t p, size_t panels) {
    const vec scale = vec_set(a->scale);
    const size_t first = p * PSC_LANES, width = panels * PSC_LANES;
    for (size_t r = 0; r < rows; r++, sums += width) {
        size_t seen = (size_t)a->n_keys[row + r];
        size_t n = seen <= first ? 0 : least(width, seen - first);
        float *y = a->y + (row + r) * a->ldy + first;
        for (size_t i = 0; i < n; i += VEC) {
            store_some(y + i, vec_mul(vec_load(sums + i), scale), n - i);
        }
    }
}

/* One row: up to four panels side by side. Nothing is prefetched here: the processor does it better
 * (matmul_frame.h). */
static void score_row(const psc_attention *a, size_t row) {
    _Alignas(64) float sums[4 * PSC_LANES];
    size_t n_panels = ((size_t)a->n_keys[row] + PSC_LANES - 1) / PSC_LANES;
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
        write_scores(a, sums, row, 1, p, panels);
    }
}

/* Rows row..end-1: each key panel, while it is near, against all row tiles that see it. */
static void score_rows(const psc_attention *a, size_t row, size_t end) {
    _Alignas(64) float sums[TILE_ROWS * TILE_PANELS * PSC_LANES];
    _Alignas(64) float near[NEAR_ROWS * NEAR_LD];
    const bool copied = a->d_head <= PSC_K_BLOCK;
    size_t n_panels = ((size_t)a->n_keys[end - 1] + PSC_LANES - 1) / PSC_LANES;
    if (copied) copy_near(near, a->x + row * a->ldx, a->ldx, end - row, a->d_head);
    tile_input in = {.ldx = NEAR_LD, .panel_stride = PSC_LANES * a->d_head, .n = a->d_head};
    for (size_t p = 0, panels; p < n_panels; p += panels) {
        panels = copied ? least(TILE_PANELS, n_panels - p) : 1;
        in.w = a->cache + p * in.panel_stride;
        for (size_t r = row, rows; r < end; r += rows) {
            rows = tile_height(end - r, TILE_ROWS);
            if ((size_t)a->n_keys[r + rows - 1] <= p * PSC_LANES) continue;
            in.x = near + (r - row) * NEAR_LD;
            if (!copied) {
                tile_input far = in;
                far.x = a->x + r * a->ldx;
                far.ldx = a->ldx;
                tile_rows(sums, &far, rows, 1, PSC_DTYPE_F32);
            } else if (panels == TILE_PANELS) {
                tile_rows(sums, &in, rows, TILE_PANELS, PSC_DTYPE_F32);
            } else {
                tile_rows(sums, &in, rows, 1, PSC_DTYPE_F32);
            }
            write_scores(a, sums, r, rows, p, panels);
        }
    }
}

void PSC_NAME(attention_scores)(const psc_attention *a) {
    for (size_t row = 0, end; row < a->rows; row = end) {
        end = least(a->rows, row + NEAR_ROWS);
        if (end - row == 1) {
            score_row(a, row);
        } else {
            score_rows(a, row, end);
        }
    }
}

/* --- values --- */

/* Goes on with the chains of one row, four panels or one. */
static void resume_row(float *sums, const tile_input *in, size_t panels) {
    if (panels == 4) {
        tile(sums, in, 1, 4, PSC_DTYPE_F32, true, 0);
    } else {
        tile(sums, in, 1, 1, PSC_DTYPE_F32, true, 0);
    }
}

/* Adds a row's block sum to z; the first is the total. */
static void add_values(float *y, const float *sums, size_t n, bool add) {
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

/* The block of keys first..first+127 of one row tile, whose copied rows start at near. */
static void value_tile(const psc_attention *a, const float *near, size_t row, size_t rows,
    size_t panel, size_t first) {
    _Alignas(64) float sums[TILE_ROWS * PSC_LANES];
    size_t common = (size_t)a->n_keys[row], d = panel * PSC_LANES;
    size_t shared = common <= first ? 0 : least(PSC_K_BLOCK, common - first);
    tile_input in = {.x = near,
        .ldx = NEAR_LD,
        .w = a->cache + (panel * a->key_capacity + first) * PSC_LANES,
        .n = shared};
    tile_rows(sums, &in, rows, 1, PSC_DTYPE_F32);
    for (size_t r = 0; r < rows; r++) {
        size_t seen = (size_t)a->n_keys[row + r], done = first + shared;
        size_t end = least(seen, first + PSC_K_BLOCK);
        /* A block that a row does not see adds nothing, not even +0. */
        if (seen <= first) continue;
        if (end > done) {
            tile_input rest = {.x = near + r * NEAR_LD + shared,
                .ldx = NEAR_LD,
                .w = a->cache + (panel * a->key_capacity + done) * PSC_LANES,
                .n = end - done};
            tile(sums + r * PSC_LANES, &rest, 1, 1, PSC_DTYPE_F32, true, 0);
        }
        add_values(a->y + (row + r) * a->ldy + d, sums + r * PSC_LANES,
            least(PSC_LANES, a->d_head - d), first > 0);
    }
}

/* Rows row..end-1: the pattern of one block of keys is copied together, then each panel of it,
 * while it is near, runs against all row tiles. */
static void value_rows(const psc_attention *a, size_t row, size_t end) {
    _Alignas(64) float near[NEAR_ROWS * NEAR_LD];
    size_t n_panels = (a->d_head + PSC_LANES - 1) / PSC_LANES, most = (size_t)a->n_keys[end - 1];
    for (size_t first = 0; first < most; first += PSC_K_BLOCK) {
        for (size_t r = row; r < end; r++) {
            size_t seen = (size_t)a->n_keys[r];
            if (seen <= first) continue;
            copy_near(near + (r - row) * NEAR_LD, a->x + r * a->ldx + first, 0, 1,
                least(PSC_K_BLOCK, seen - first));
        }
        for (size_t p = 0; p < n_panels; p++) {
            for (size_t r = row, rows; r < end; r += rows) {
                rows = tile_height(end - r, TILE_ROWS);
                if ((size_t)a->n_keys[r + rows - 1] <= first) continue;
                value_tile(a, near + (r - row) * NEAR_LD, r, rows, p, first);
            }
        }
    }
}

void PSC_NAME(attention_values)(const psc_attention *a) {
    for (size_t row = 0, end; row < a->rows; row = end) {
        end = least(a->rows, row + NEAR_ROWS);
        if (end - row == 1) {
            value_row(a, row);
        } else {
            value_rows(a, row, end);
        }
    }
}

#endif
