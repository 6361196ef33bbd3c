/* The pull-back of many rows: sixteen matrix products, one per lane, whose sums are added as a fold adds.
 * Private to simd/: pullback_frame.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      for WIDTH k's,
 *       for the even lanes, then the odd ones: their weights, widened and turned: near[lane][panel][k]
 *        for CHUNK_ROWS rows,
 *         for each lane, a near tile (tile_rows.h) of rows x k's over the panels
 *         ((0 + 8) + (4 + 12)) + ((2 + 10) + (6 + 14)); of odd lanes, each one more; even + odd
 *
 * Of few panels the sums of a near tile would be most of the work; pull_quads adds them in registers.
 * Rows of u are split by lanes (split_lanes), so that a chain reads them in order. Turned weights stay
 * in L2; those of all lanes if they fit. */
#ifndef PULLBACK_LANES_H
#define PULLBACK_LANES_H

#include "tile_rows.h"

#define WIDTH (NEAR_TILE_REGISTERS * VEC)
#define CHUNK_ROWS (48 / NEAR_TILE_ROWS * NEAR_TILE_ROWS)
/* Turned weights are 384 KiB on AVX-512: all lanes of 128 panels or half of them of 256. A lane's are
 * 16 floats longer, or all would share the same cache sets. */
#define LANES_FLOATS (PSC_LANES * (128 * WIDTH + PSC_LANES))
/* Panels from those that are turned to those that are fetched; from the last ones on, the next k's. */
#define TURN_AHEAD 4
#define SUMS_FLOATS (4 * CHUNK_ROWS * WIDTH)
_Static_assert(PSC_PULL_KS % WIDTH == 0, "parts of a product have no narrower tiles");
/* Rows that the kernel splits itself. Of few panels it takes less time for fewer rows, too. */
#define SPLIT_FLOATS (64 * 256)
#define FEW_PANELS 16
#define FEW_PANELS_ROWS 8
_Static_assert((LANES_FLOATS + SUMS_FLOATS + SPLIT_FLOATS) * sizeof(float) <= PSC_KERNEL_ROOM,
    "weights, sums and rows fit the room");

/* The order in which a fold's additions take the lanes; also a lane's place in it. */
static const unsigned char lane_order[PSC_LANES] = {
    0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};

enum { EVEN_LANES = 1, ODD_LANES = 2, ALL_LANES = 3 };

typedef struct lanes_input {
    const psc_pullback *p;
    const float *x; /* rows of u split by lanes, row stride ldx */
    size_t ldx, panels;
    float *near, *sums; /* [lanes][slab], [4][CHUNK_ROWS][width] */
    size_t width, slab;
} lanes_input;

/* Separate functions: inlined, the caller's many variables would take up registers. */
static __attribute__((noinline)) void lane_rows(const near_input *in, size_t rows) {
    near_strip(*in, rows, NEAR_TILE_REGISTERS);
}

static __attribute__((noinline)) void lane_panel_rows(const near_input *in, size_t rows) {
    near_strip(*in, rows, PANEL_REGISTERS);
}

/* One lane's weights of VEC k's in a register: the even or the odd lanes of a[VEC] to their places. */
ALWAYS_INLINE void store_half(float *to, size_t slab, const vec a[VEC], int r, const int odd) {
    vec turned[VEC / 2];
    half_turn(turned, a, odd);
    UNROLL for (int i = 0; i < VEC / 2; i++)
        vec_store(to + lane_order[r * VEC + 2 * i + odd] * slab, turned[i]);
}

/* near[lane's place - the first one's][panel][width] = weights of k's k..k+width-1; those past k_end are
 * copies of the last. */
ALWAYS_INLINE void turn_weights(
    const lanes_input *in, size_t k, const int lanes, const psc_dtype dtype) {
    const psc_pullback *p = in->p;
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    float *first = in->near - (lanes == ODD_LANES ? PSC_LANES / 2 * in->slab : 0);
    for (size_t panel = 0; panel < in->panels; panel++) {
        const char *w = weights_at(p, panel, 0, dtype);
        const char *ahead = panel + TURN_AHEAD < in->panels
                                ? weights_at(p, panel + TURN_AHEAD, k, dtype)
                                : w + (k + in->width) * PSC_LANES * size;
        for (size_t byte = 0; byte < in->width * PSC_LANES * size; byte += 64)
            __builtin_prefetch(ahead + byte);
        for (size_t v = 0; v < in->width; v += VEC) {
            float *to = first + panel * in->width + v;
            UNROLL for (int r = 0; r < PANEL_REGISTERS; r++) {
                vec a[VEC];
                UNROLL for (int i = 0; i < VEC; i++) {
                    const size_t at = least(k + v + (size_t)i, p->k_end - 1);
                    a[i] = load_weights(w, at * PSC_LANES + (size_t)r * VEC, dtype);
                }
                if (lanes & EVEN_LANES) store_half(to, in->slab, a, r, 0);
                if (lanes & ODD_LANES) store_half(to, in->slab, a, r, 1);
            }
        }
    }
}

/* The chains of eight lanes whose weights begin at w, from rows row..row+rows-1, added to four sums. */
static void half_chains(const lanes_input *in, float *w, size_t row, size_t rows, bool odd) {
    const float *x = in->x + row * in->ldx;
    near_input tile = {.ldx = in->ldx, .n = in->panels, .ldy = in->width};
    for (size_t i = 0; i < PSC_LANES / 2; i++) {
        tile.x = x + lane_order[i + (odd ? PSC_LANES / 2 : 0)] * in->panels;
        tile.w = w + i * in->slab;
        tile.y = in->sums + i / 2 * CHUNK_ROWS * in->width;
        tile.add = i % 2 == 1;
        if (in->width == WIDTH)
            lane_rows(&tile, rows);
        else
            lane_panel_rows(&tile, rows);
    }
}

/* y = the four sums, added in pairs; of odd lanes, y + them. */
static void end_half(const lanes_input *in, size_t k, size_t row, size_t rows, bool odd) {
    const size_t some = CHUNK_ROWS * in->width, n = least(in->width, in->p->k_end - k);
    for (size_t r = 0; r < rows; r++) {
        float *y = in->p->y + (row + r) * in->p->ldy + k;
        const float *s = in->sums + r * in->width;
        for (size_t i = 0; i < n; i += VEC, s += VEC) {
            const vec low = vec_add(vec_load(s), vec_load(s + some));
            vec sum = vec_add(low, vec_add(vec_load(s + 2 * some), vec_load(s + 3 * some)));
            if (odd) sum = vec_add(load_some(y + i, n - i), sum);
            store_some(y + i, sum, n - i);
        }
    }
}

/* y of the k's from k on, at most width of them. */
ALWAYS_INLINE void pull_width(const lanes_input *in, size_t k, bool all, const psc_dtype dtype) {
    const size_t n_rows = in->p->rows;
    if (all) turn_weights(in, k, ALL_LANES, dtype);
    for (int odd = 0; odd < 2; odd++) {
        if (!all && !odd) turn_weights(in, k, EVEN_LANES, dtype);
        if (!all && odd) turn_weights(in, k, ODD_LANES, dtype);
        float *w = in->near + (all && odd ? PSC_LANES / 2 * in->slab : 0);
        for (size_t row = 0, rows; row < n_rows; row += rows) {
            rows = least(CHUNK_ROWS, n_rows - row);
            half_chains(in, w, row, rows, odd);
            end_half(in, k, row, rows, odd);
        }
    }
}

/* --- few panels: the lanes' short chains, four lanes at a time, are added in registers --- */

#define QUAD_WIDTH (2 * VEC)

/* y [rows][QUAD_WIDTH] = (0 + 1) + (2 + 3) of the chains of four lanes. */
ALWAYS_INLINE void quad_tile(
    const near_input *in, const float *const x[4], size_t slab, const int rows) {
    vec sums[3][QUAD_ROWS][2];
    UNROLL for (int lane = 0; lane < 4; lane++) {
        vec(*acc)[2] = sums[lane == 2 ? 1 : lane ? 2 : 0], (*first)[2] = sums[lane / 2];
        const float *w = in->w + (size_t)lane * slab, *from = x[lane];
        UNROLL for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = vec_zero();
        for (size_t n = in->n; n > 0; n--, w += QUAD_WIDTH, from++) {
            const vec low = vec_load(w), high = vec_load(w + VEC);
            UNROLL for (int r = 0; r < rows; r++) {
                const vec value = vec_set(from[(size_t)r * in->ldx]);
                ACCUMULATE(acc[r][0], value, low);
                ACCUMULATE(acc[r][1], value, high);
            }
            KEEP_ORDER();
        }
        if (lane % 2 == 0) continue;
        UNROLL for (int i = 0; i < 2 * rows; i++) first[i / 2][i % 2] =
            vec_add(first[i / 2][i % 2], acc[i / 2][i % 2]);
    }
    UNROLL for (int i = 0; i < 2 * rows; i++)
        vec_store(in->y + (size_t)(i / 2) * QUAD_WIDTH + i % 2 * VEC,
            vec_add(sums[0][i / 2][i % 2], sums[1][i / 2][i % 2]));
}

static __attribute__((noinline)) void quad_rows(
    near_input in, const float *const lanes[4], size_t slab, size_t rows) {
    const float *x[4] = {lanes[0], lanes[1], lanes[2], lanes[3]};
    for (size_t some; rows > 0; rows -= some, in.y += some * QUAD_WIDTH) {
        some = least(QUAD_ROWS, rows);
        if (some == QUAD_ROWS) quad_tile(&in, x, slab, QUAD_ROWS);
        for (size_t r = 0; some < QUAD_ROWS && r < some; r++) {
            near_input one = in;
            const float *own[4] = {
                x[0] + r * in.ldx, x[1] + r * in.ldx, x[2] + r * in.ldx, x[3] + r * in.ldx};
            one.y += r * QUAD_WIDTH;
            quad_tile(&one, own, slab, 1);
        }
        UNROLL for (int i = 0; i < 4; i++) x[i] += some * in.ldx;
    }
}

/* y of at most QUAD_WIDTH k's from k on. */
ALWAYS_INLINE void pull_quads(const lanes_input *in, size_t k, const psc_dtype dtype) {
    const psc_pullback *p = in->p;
    const size_t part = CHUNK_ROWS * QUAD_WIDTH, n = least(QUAD_WIDTH, p->k_end - k);
    turn_weights(in, k, ALL_LANES, dtype);
    for (size_t row = 0, rows; row < p->rows; row += rows) {
        rows = least(CHUNK_ROWS, p->rows - row);
        for (size_t quad = 0; quad < 4; quad++) {
            const float *x[4];
            for (size_t i = 0; i < 4; i++)
                x[i] = in->x + row * in->ldx + lane_order[4 * quad + i] * in->panels;
            quad_rows((near_input){.w = in->near + 4 * quad * in->slab,
                          .ldx = in->ldx,
                          .n = in->panels,
                          .y = in->sums + quad * part},
                x, in->slab, rows);
        }
        for (size_t r = 0; r < rows; r++) {
            const float *s = in->sums + r * QUAD_WIDTH;
            float *y = p->y + (row + r) * p->ldy + k;
            for (size_t i = 0; i < n; i += VEC, s += VEC) {
                const vec even = vec_add(vec_load(s), vec_load(s + part));
                const vec odd = vec_add(vec_load(s + 2 * part), vec_load(s + 3 * part));
                store_some(y + i, vec_add(even, odd), n - i);
            }
        }
    }
}

void PSC_NAME(split_lanes)(float *y, const float *u, size_t out) {
    const size_t panels = (out + PSC_LANES - 1) / PSC_LANES;
    for (size_t panel = 0; panel < panels; panel += VEC) {
        UNROLL for (int r = 0; r < PANEL_REGISTERS; r++) {
            vec a[VEC], turned[VEC / 2];
            UNROLL for (int i = 0; i < VEC; i++) {
                const size_t at = (panel + (size_t)i) * PSC_LANES + (size_t)r * VEC;
                a[i] = at < out ? load_some(u + at, out - at) : vec_zero();
            }
            UNROLL for (int odd = 0; odd < 2; odd++) {
                half_turn(turned, a, odd);
                UNROLL for (int i = 0; i < VEC / 2; i++)
                    store_some(y + (size_t)(r * VEC + 2 * i + odd) * panels + panel, turned[i],
                        panels - panel);
            }
        }
    }
}

/* Whether the weights of half of the lanes fit. */
static inline bool has_lanes(const psc_pullback *p) {
    const size_t panels = (p->out + PSC_LANES - 1) / PSC_LANES;
    const size_t least_rows = panels <= FEW_PANELS ? FEW_PANELS_ROWS : PSC_SPLIT_ROWS;
    if (p->rows < least_rows || PSC_LANES / 2 * (panels * WIDTH + PSC_LANES) > LANES_FLOATS)
        return false;
    return p->split || p->rows * panels * PSC_LANES <= SPLIT_FLOATS;
}

ALWAYS_INLINE void pull_lanes(const psc_pullback *p, const psc_dtype dtype) {
    const size_t panels = (p->out + PSC_LANES - 1) / PSC_LANES;
    float *room = p->room, *split = room + LANES_FLOATS + SUMS_FLOATS;
    lanes_input in = {.p = p,
        .x = p->split ? p->split : split,
        .ldx = p->split ? p->ld_split : panels * PSC_LANES,
        .panels = panels,
        .near = room,
        .sums = room + LANES_FLOATS};
    for (size_t r = 0; !p->split && r < p->rows; r++)
        PSC_NAME(split_lanes)(split + r * in.ldx, p->u + r * p->ldu, p->out);
    if (panels <= FEW_PANELS) {
        in.width = QUAD_WIDTH;
        in.slab = panels * QUAD_WIDTH + PSC_LANES;
        for (size_t k = p->k_begin; k < p->k_end; k += QUAD_WIDTH) pull_quads(&in, k, dtype);
        return;
    }
    for (size_t k = p->k_begin; k < p->k_end; k += in.width) {
        in.width = p->k_end - k >= WIDTH ? WIDTH : PSC_LANES;
        in.slab = panels * in.width + PSC_LANES;
        pull_width(&in, k, PSC_LANES * in.slab <= LANES_FLOATS, dtype);
    }
}

#endif
