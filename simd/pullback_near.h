/* The pull-back of more than a few rows: a matrix product that keeps the lanes apart.
 * Private to simd/: pullback_frame.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      for NEAR_KS k's           all panels' weights are copied and widened once, into L2
 *       for GROUP_ROWS rows,
 *        for NEAR_PANELS panels, each register of the sixteen lanes, four k's and PULL_ROWS rows
 *                                one tile: PULL_ROWS x 4 accumulators over the panels
 *
 * A tile reads near[panel][k], one stream, and the rows of u in place. More rows of u, often a power of
 * two apart, would evict each other from L1; panels of w would do so in L2. */
#ifndef PULLBACK_NEAR_H
#define PULLBACK_NEAR_H

#define NEAR_KS 64
#define NEAR_PANELS 48
#define NEAR_FLOATS (NEAR_KS * NEAR_PANELS * PSC_LANES)
/* Panels whose weights are copied before a group of rows continues: all, unless `out` is the MLP's
 * or the vocabulary. Then the accumulators of all rows are kept, for fewer k's. */
#define MOST_PANELS (2 * NEAR_PANELS)
#define GROUP_ROWS 6
#define ACC_FLOATS (24 * NEAR_KS * PSC_LANES)
#define TILE_KS 4

/* --- the tile --- */

/* One register of the lanes of one panel: u[rows][ldu], near[TILE_KS][VEC]. */
ALWAYS_INLINE void pull_step(
    vec sums[PULL_ROWS][TILE_KS], const float *u, size_t ldu, const float *near, const int rows) {
    vec inputs[PULL_ROWS];
    UNROLL for (int r = 0; r < rows; r++) inputs[r] = vec_load(u + (size_t)r * ldu);
    UNROLL for (int k = 0; k < TILE_KS; k++) {
        vec weights = vec_load(near + k * VEC);
        UNROLL for (int r = 0; r < rows; r++) ACCUMULATE(sums[r][k], weights, inputs[r]);
    }
    KEEP_ORDER();
}

/* One register of lanes of acc[rows][ks][16], row stride ld: the chains over n panels, from +0 if
 * these are the first. */
ALWAYS_INLINE void pull_tile(float *acc, size_t ld, const float *u, size_t ldu, const float *near,
    size_t n, const int rows, const bool first) {
    vec sums[PULL_ROWS][TILE_KS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int k = 0; k < TILE_KS; k++) {
            sums[r][k] = first ? vec_zero() : vec_load(acc + r * ld + k * PSC_LANES);
        }
    }
    for (; n >= 4; n -= 4, u += 4 * PSC_LANES, near += 4 * TILE_KS * VEC) {
        UNROLL for (int i = 0; i < 4; i++) {
            pull_step(sums, u + i * PSC_LANES, ldu, near + i * TILE_KS * VEC, rows);
        }
    }
    for (; n > 0; n--, u += PSC_LANES, near += TILE_KS * VEC) pull_step(sums, u, ldu, near, rows);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int k = 0; k < TILE_KS; k++) {
            vec_store(acc + r * ld + k * PSC_LANES, sums[r][k]);
        }
    }
}

static void pull_rows(float *acc, size_t ld, const float *u, size_t ldu, const float *near,
    size_t n, size_t rows, bool first) {
#define HEIGHT(h)                                                                                  \
    case h:                                                                                        \
        if (first)                                                                                 \
            pull_tile(acc, ld, u, ldu, near, n, h, true);                                          \
        else                                                                                       \
            pull_tile(acc, ld, u, ldu, near, n, h, false);                                         \
        break;
    switch (rows) {
        HEIGHT(1)
        HEIGHT(2)
        HEIGHT(3)
#if PULL_ROWS > 3
        HEIGHT(4)
        HEIGHT(5)
        HEIGHT(6)
#endif
    default:
        break;
    }
#undef HEIGHT
}

/* The largest part when n is split into the fewest equal parts of at most `most`. */
static inline size_t even_part(size_t n, size_t most) {
    size_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

/* --- copies --- */

/* near[register][k / TILE_KS][panel][TILE_KS][VEC] <- ks k's of n panels from w on; writes `padded`
 * k's. Prefetches the same k's of the next panel. */
ALWAYS_INLINE void copy_weights(float *near, const char *w, size_t stride, size_t ks, size_t padded,
    size_t n, const psc_dtype dtype) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2, step = TILE_KS * PSC_LANES;
    const size_t register_step = padded * n * VEC, k_step = n * TILE_KS * VEC;
    for (size_t p = 0; p < n; p++, w += stride) {
        float *to = near + p * TILE_KS * VEC;
        const char *from = w;
        for (size_t k = 0; k < padded; k += TILE_KS, to += k_step, from += step * size) {
            if (k + TILE_KS <= ks) {
                UNROLL for (size_t i = 0; i < step * size; i += 64) {
                    __builtin_prefetch(from + stride + i);
                }
            }
            UNROLL for (size_t i = 0; i < TILE_KS; i++) {
                UNROLL for (size_t v = 0; v < PANEL_REGISTERS; v++) {
                    vec weights = vec_zero();
                    if (k + i < ks) weights = load_weights(from, i * PSC_LANES + v * VEC, dtype);
                    vec_store(to + v * register_step + i * VEC, weights);
                }
            }
        }
    }
}

/* --- the loops --- */

/* n panels from `panel` on, ks k's (padded), of the rows of a group. u is read in place, but for the
 * last, partial panel, which comes from ends[rows][16]. */
static void pull_group(const psc_pullback *p, float *acc, const float *near, const float *ends,
    size_t row, size_t rows, size_t ks, size_t panel, size_t n) {
    const size_t ld = ks * PSC_LANES, whole = least(n, p->out / PSC_LANES - panel);
    for (size_t v = 0; v < PANEL_REGISTERS; v++) {
        const float *u = p->u + row * p->ldu + panel * PSC_LANES + v * VEC;
        for (size_t k = 0; k < ks; k += TILE_KS, near += n * TILE_KS * VEC) {
            for (size_t r = 0, height; r < rows; r += height) {
                float *sums = acc + r * ld + k * PSC_LANES + v * VEC;
                height = even_part(rows - r, PULL_ROWS);
                if (whole > 0)
                    pull_rows(sums, ld, u + r * p->ldu, p->ldu, near, whole, height, panel == 0);
                if (whole < n)
                    pull_rows(sums, ld, ends + r * PSC_LANES + v * VEC, PSC_LANES,
                        near + whole * TILE_KS * VEC, 1, height, panel + whole == 0);
            }
        }
    }
}

/* n panels from `panel` on, in parts that fit the L1 cache. */
static void pull_panels(const psc_pullback *p, float *acc, const float *near, size_t row,
    size_t rows, size_t ks, size_t panel, size_t n) {
    _Alignas(64) float ends[GROUP_ROWS * PSC_LANES];
    const size_t part = even_part(n, NEAR_PANELS);
    if (p->out % PSC_LANES) copy_ends(ends, p, row, rows);
    for (size_t at = 0, some; at < n; at += some, near += some * ks * PSC_LANES) {
        some = least(part, n - at);
        pull_group(p, acc, near, ends, row, rows, ks, panel + at, some);
    }
}

_Static_assert((NEAR_FLOATS + ACC_FLOATS) * sizeof(float) <= PSC_KERNEL_ROOM, "they fit the room");

ALWAYS_INLINE void pull_many(const psc_pullback *p, const psc_dtype dtype) {
    float *near = p->room, *acc = near + NEAR_FLOATS;
    const size_t stride = p->k * PSC_LANES * (dtype == PSC_DTYPE_F32 ? 4 : 2);
    const size_t panels = (p->out + PSC_LANES - 1) / PSC_LANES;
    const size_t block = even_part(panels, MOST_PANELS);
    const bool whole = block == panels;
    const size_t most_ks = least(NEAR_KS, NEAR_FLOATS / PSC_LANES / block / PSC_LANES * PSC_LANES);
    const size_t most_rows = whole ? p->rows : ACC_FLOATS / PSC_LANES / most_ks;
    for (size_t row = 0, rows; row < p->rows; row += rows) {
        rows = least(most_rows, p->rows - row);
        for (size_t k = p->k_begin, ks; k < p->k_end; k += ks) {
            ks = least(most_ks, p->k_end - k);
            const size_t width = FOLD_WIDTH > TILE_KS ? FOLD_WIDTH : TILE_KS;
            const size_t padded = (ks + width - 1) / width * width;
            for (size_t panel = 0, n; panel < panels; panel += n) {
                n = least(block, panels - panel);
                const size_t part = even_part(n, NEAR_PANELS);
                for (size_t at = 0; at < n; at += part) {
                    copy_weights(near + at * padded * PSC_LANES,
                        weights_at(p, panel + at, k, dtype), stride, ks, padded,
                        least(part, n - at), dtype);
                }
                for (size_t r = 0, some; r < rows; r += some) {
                    some = least(GROUP_ROWS, rows - r);
                    float *sums = acc + (whole ? 0 : r * padded * PSC_LANES);
                    pull_panels(p, sums, near, row + r, some, padded, panel, n);
                    if (panel + n < panels) continue;
                    fold_rows(p->y + (row + r) * p->ldy + k, p->ldy, sums, padded, some, ks);
                }
            }
        }
    }
}

#endif
