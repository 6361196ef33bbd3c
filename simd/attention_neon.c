/* Attention of one head on NEON, equal to attention_reference.c to the bit. Scores and values use
 * the matmul's tile. Lanes of the scores are keys: keys past a row's own are computed and not
 * written. The values' chains run over keys, so a tile takes only the keys that all its rows see
 * (n_keys ascends: those of its first row) and each row goes on by itself. */
#include "kernel_names.h"
#include "tile_neon.h"

#define STREAM_AHEAD 1024

/* The panels that a tile of `rows` rows takes side by side. */
static size_t tile_panels(size_t rows, size_t left) {
    if (rows == 1 && left >= 4) return 4;
    return rows <= 3 && left >= 2 ? 2 : 1;
}

static void f32_tile(float *sums, const tile_input *in, size_t rows, size_t panels) {
    if (panels == 4) {
        tile(sums, in, 1, 4, PSC_DTYPE_F32, false, STREAM_AHEAD);
    } else if (panels == 1) {
        tile_rows(sums, in, rows, PSC_DTYPE_F32);
    } else if (rows == 3) {
        tile(sums, in, 3, 2, PSC_DTYPE_F32, false, STREAM_AHEAD);
    } else if (rows == 2) {
        tile(sums, in, 2, 2, PSC_DTYPE_F32, false, STREAM_AHEAD);
    } else {
        tile(sums, in, 1, 2, PSC_DTYPE_F32, false, STREAM_AHEAD);
    }
}

/* Goes on with the chains of one row. */
static void f32_resume(float *sums, const tile_input *in, size_t panels) {
    if (panels == 4) {
        tile(sums, in, 1, 4, PSC_DTYPE_F32, true, STREAM_AHEAD);
    } else if (panels == 2) {
        tile(sums, in, 1, 2, PSC_DTYPE_F32, true, STREAM_AHEAD);
    } else {
        tile(sums, in, 1, 1, PSC_DTYPE_F32, true, STREAM_AHEAD);
    }
}

/* The scores of rows row..row+rows-1. */
static void score_rows(const psc_attention *a, size_t row, size_t rows) {
    _Alignas(64) float sums[TILE_ROWS * 2 * PSC_LANES];
    size_t most = (size_t)a->n_keys[row + rows - 1];
    size_t n_panels = (most + PSC_LANES - 1) / PSC_LANES;
    float32x4_t scale = vdupq_n_f32(a->scale);
    for (size_t p = 0, panels; p < n_panels; p += panels) {
        panels = tile_panels(rows, n_panels - p);
        tile_input in = {.x = a->x + row * a->ldx,
            .ldx = a->ldx,
            .w = a->cache + p * PSC_LANES * a->d_head,
            .panel_stride = PSC_LANES * a->d_head,
            .n = a->d_head,
            .ahead = (const char *)(a->cache + least(p + 1, n_panels - 1) * PSC_LANES * a->d_head),
            .ahead_step = PSC_LANES * sizeof(float)};
        f32_tile(sums, &in, rows, panels);
        for (size_t r = 0; r < rows; r++) {
            size_t seen = (size_t)a->n_keys[row + r], first = p * PSC_LANES;
            size_t n = seen <= first ? 0 : least(panels * PSC_LANES, seen - first);
            float *y = a->y + (row + r) * a->ldy + first;
            for (size_t i = 0; i < n; i += 4) {
                float32x4_t sum = vld1q_f32(sums + r * panels * PSC_LANES + i);
                store_some(y + i, vmulq_f32(sum, scale), n - i);
            }
        }
    }
}

void psc_attention_scores__neon(const psc_attention *a) {
    for (size_t row = 0, rows; row < a->rows; row += rows) {
        rows = tile_height(a->rows - row);
        score_rows(a, row, rows);
    }
}

/* The block sums of one tile over keys first..first+127: the common keys together, then each row.
 */
static void value_block(const psc_attention *a, float *sums, size_t row, size_t rows, size_t panel,
    size_t panels, size_t first) {
    size_t common = (size_t)a->n_keys[row];
    size_t shared = common <= first ? 0 : least(PSC_K_BLOCK, common - first);
    tile_input in = {.x = a->x + row * a->ldx + first,
        .ldx = a->ldx,
        .w = a->cache + (panel * a->key_capacity + first) * PSC_LANES,
        .panel_stride = PSC_LANES * a->key_capacity,
        .n = shared};
    in.ahead = in.w;
    f32_tile(sums, &in, rows, panels);
    in.n = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t seen = (size_t)a->n_keys[row + r], done = first + shared;
        size_t end = least(seen, first + PSC_K_BLOCK);
        if (end <= done) continue;
        in.x = a->x + (row + r) * a->ldx + done;
        in.w = a->cache + (panel * a->key_capacity + done) * PSC_LANES;
        in.n = end - done;
        f32_resume(sums + r * panels * PSC_LANES, &in, panels);
    }
}

/* z of rows row..row+rows-1, for the d's of `panels` panels. */
static void value_rows(
    const psc_attention *a, size_t row, size_t rows, size_t panel, size_t panels) {
    _Alignas(64) float sums[TILE_ROWS * 2 * PSC_LANES];
    size_t width = panels * PSC_LANES, d = panel * PSC_LANES;
    size_t n = least(width, a->d_head - d), most = (size_t)a->n_keys[row + rows - 1];
    for (size_t first = 0; first < most; first += PSC_K_BLOCK) {
        value_block(a, sums, row, rows, panel, panels, first);
        for (size_t r = 0; r < rows; r++) {
            /* A block that a row does not see adds nothing, not even +0. */
            if ((size_t)a->n_keys[row + r] <= first) continue;
            float *y = a->y + (row + r) * a->ldy + d;
            for (size_t i = 0; i < n; i += 4) {
                float32x4_t total = vld1q_f32(sums + r * width + i);
                if (first) total = vaddq_f32(load_some(y + i, n - i), total);
                store_some(y + i, total, n - i);
            }
        }
    }
}

void psc_attention_values__neon(const psc_attention *a) {
    size_t n_panels = (a->d_head + PSC_LANES - 1) / PSC_LANES;
    for (size_t row = 0, rows; row < a->rows; row += rows) {
        rows = tile_height(a->rows - row);
        for (size_t p = 0, panels; p < n_panels; p += panels) {
            panels = tile_panels(rows, n_panels - p);
            value_rows(a, row, rows, p, panels);
        }
    }
}
