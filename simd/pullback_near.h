/* The pull-back of more than a few rows: a matrix product that keeps the lanes apart.
 * Private to simd/: pullback_frame.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 *      for up to NEAR_KS k's and MOST_PANELS panels, a block,
 *       for GROUP_ROWS rows,
 *        for NEAR_PANELS panels, four k's, each register of the sixteen lanes and PULL_ROWS rows
 *                                one tile: PULL_ROWS x 4 accumulators over the panels
 *
 * The tiles of a block's first rows widen its weights between their multiply-adds and leave them in L2
 * for the other rows, whose tiles fetch the next block. A tile reads near[panel][k], one stream, and
 * the rows of u in place. More rows of u, often a power of two apart, would evict each other from L1;
 * panels of w would do so in L2. */
#ifndef PULLBACK_NEAR_H
#define PULLBACK_NEAR_H

#define NEAR_KS 64
#define NEAR_PANELS 64
#define NEAR_FLOATS (NEAR_KS * NEAR_PANELS * PSC_LANES)
/* Panels of a block: all, unless `out` is the MLP's or the vocabulary. Then the accumulators of 128 rows
 * are kept, for fewer k's. */
#define MOST_PANELS (2 * NEAR_PANELS)
#define GROUP_ROWS 6
#define ACC_FLOATS (64 * NEAR_KS * PSC_LANES)
#define TILE_KS 4
/* k's whose sums are folded at once. */
#define FOLD_KS (FOLD_WIDTH > TILE_KS ? FOLD_WIDTH : TILE_KS)
/* Panels between the tile of the first rows and what it fetches. */
#define FIRST_AHEAD 12

/* --- the tile --- */

/* What a tile reads and writes: one register of the lanes of n panels. */
typedef struct pull_tile_input {
    float *acc; /* [rows][ks][16], row stride ld */
    size_t ld;
    const float *u; /* [rows], row stride ldu */
    size_t ldu;
    float *near;   /* [n][TILE_KS][VEC] */
    const char *w; /* packed weights, panels `stride` bytes apart; null: near has them */
    size_t stride;
    size_t at[TILE_KS]; /* the first element of each k in a panel of w */
    size_t n;
} pull_tile_input;

/* One panel. If packed, its weights come from w and go to near too. */
ALWAYS_INLINE void pull_step(vec sums[PULL_ROWS][TILE_KS], const float *u, size_t ldu, float *near,
    const char *w, const size_t at[TILE_KS], const int rows, const bool packed,
    const psc_dtype dtype) {
    vec inputs[PULL_ROWS];
    UNROLL for (int r = 0; r < rows; r++) inputs[r] = vec_load(u + (size_t)r * ldu);
    UNROLL for (int k = 0; k < TILE_KS; k++) {
        vec weights = packed ? load_weights(w, at[k], dtype) : vec_load(near + k * VEC);
        if (packed) vec_store(near + k * VEC, weights);
        UNROLL for (int r = 0; r < rows; r++) ACCUMULATE(sums[r][k], weights, inputs[r]);
    }
    KEEP_ORDER();
}

/* The chains over n panels, from +0 if these are the first. */
ALWAYS_INLINE void pull_tile(const pull_tile_input *t, const int rows, const bool first,
    const bool packed, const psc_dtype dtype) {
    const size_t ld = t->ld, ldu = t->ldu;
    const size_t at[TILE_KS] = {t->at[0], t->at[1], t->at[2], t->at[3]};
    const char *w = t->w;
    const float *u = t->u;
    float *near = t->near, *acc = t->acc;
    vec sums[PULL_ROWS][TILE_KS];
    size_t n = t->n;
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int k = 0; k < TILE_KS; k++) {
            sums[r][k] = first ? vec_zero() : vec_load(acc + r * ld + k * PSC_LANES);
        }
    }
    for (; !packed && n >= 4; n -= 4, u += 4 * PSC_LANES, near += 4 * TILE_KS * VEC) {
        UNROLL for (int i = 0; i < 4; i++) {
            pull_step(
                sums, u + i * PSC_LANES, ldu, near + i * TILE_KS * VEC, w, at, rows, packed, dtype);
        }
    }
    for (; n > 0; n--, u += PSC_LANES, near += TILE_KS * VEC) {
        if (packed) {
            const char *ahead = n > FIRST_AHEAD ? w + FIRST_AHEAD * t->stride : w;
            __builtin_prefetch(ahead + at[0] * (dtype == PSC_DTYPE_F32 ? 4 : 2));
            __builtin_prefetch(ahead + at[2] * (dtype == PSC_DTYPE_F32 ? 4 : 2));
        }
        pull_step(sums, u, ldu, near, w, at, rows, packed, dtype);
        if (packed) w += t->stride;
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int k = 0; k < TILE_KS; k++) {
            vec_store(acc + r * ld + k * PSC_LANES, sums[r][k]);
        }
    }
}

ALWAYS_INLINE void pull_rows(const pull_tile_input *t, const size_t rows, const bool first,
    const bool packed, const psc_dtype dtype) {
#define HEIGHT(h)                                                                                  \
    case h:                                                                                        \
        if (first)                                                                                 \
            pull_tile(t, h, true, packed, dtype);                                                  \
        else                                                                                       \
            pull_tile(t, h, false, packed, dtype);                                                 \
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

/* One function for all dtypes: widened weights have none. */
static __attribute__((noinline)) void pull_near(const pull_tile_input *t, size_t rows, bool first) {
    pull_rows(t, rows, first, false, PSC_DTYPE_F32);
}

static __attribute__((noinline)) void pull_packed(
    const pull_tile_input *t, size_t rows, bool first, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) pull_rows(t, rows, first, true, PSC_DTYPE_F32);
    if (dtype == PSC_DTYPE_F16) pull_rows(t, rows, first, true, PSC_DTYPE_F16);
    if (dtype == PSC_DTYPE_BF16) pull_rows(t, rows, first, true, PSC_DTYPE_BF16);
}

/* The tile with its weights where they are. */
static inline void pull_any(const pull_tile_input *t, size_t rows, bool first, psc_dtype dtype) {
    if (t->w)
        pull_packed(t, rows, first, dtype);
    else
        pull_near(t, rows, first);
}

/* The largest part when n is split into the fewest equal parts of at most `most`. */
static inline size_t even_part(size_t n, size_t most) {
    size_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

/* --- a block of weights --- */

/* Packed weights that are fetched into L2, some lines at a time. */
typedef struct pull_fetch {
    const char *w;
    size_t stride, panels; /* bytes between panels, panels to go */
    size_t line, lines;    /* within a panel */
    size_t some;
} pull_fetch;

static inline void fetch_some(pull_fetch *f) {
    for (size_t i = 0; i < f->some && f->panels > 0; i++) {
        __builtin_prefetch(f->w + f->line * 64, 0, 2);
        if (++f->line < f->lines) continue;
        f->line = 0;
        f->w += f->stride;
        f->panels--;
    }
}

typedef struct pull_block {
    const psc_pullback *p;
    psc_dtype dtype;
    size_t size, stride;  /* bytes of a weight and between panels */
    size_t k, ks, padded; /* k's k..k+ks-1; padded to a multiple of FOLD_KS */
    size_t panel, n;      /* panels panel..panel+n-1 */
    bool last;            /* these are the last ones */
    float *near;          /* [part][register][k / TILE_KS][panel of the part][TILE_KS][VEC] */
    pull_fetch next;      /* the next block's weights */
} pull_block;

/* Panels at..at+n-1 of the block, for a group of rows; packed: near has no weights yet. u is read in
 * place, but for the last, partial panel, which comes from ends[rows][16]. */
static void pull_part(pull_block *b, float *acc, const float *ends, size_t row, size_t rows,
    size_t at, size_t n, bool packed) {
    const psc_pullback *p = b->p;
    const size_t panel = b->panel + at, whole = least(n, p->out / PSC_LANES - panel);
    const bool fold = b->last && at + n == b->n, once = fold && panel == 0;
    const size_t width = once ? FOLD_KS : b->padded; /* k's in acc */
    const char *w = weights_at(p, panel, b->k, b->dtype);
    for (size_t k = 0; k < b->padded; k += TILE_KS) {
        const size_t column = once ? k % FOLD_KS : k;
        pull_tile_input t = {.ld = width * PSC_LANES, .stride = b->stride};
        for (size_t i = 0; i < TILE_KS; i++) t.at[i] = least(k + i, b->ks - 1) * PSC_LANES;
        fetch_some(&b->next);
        for (size_t v = 0; v < PANEL_REGISTERS; v++) {
            float *near =
                b->near + (at * b->padded + (v * b->padded + k) * n / PANEL_REGISTERS) * PSC_LANES;
            for (size_t r = 0, height; r < rows; r += height) {
                height = even_part(rows - r, PULL_ROWS);
                t.acc = acc + r * t.ld + column * PSC_LANES + v * VEC;
                t.w = packed && r == 0 ? w + v * VEC * b->size : NULL;
                t.near = near;
                t.u = p->u + (row + r) * p->ldu + panel * PSC_LANES + v * VEC;
                t.ldu = p->ldu;
                t.n = whole;
                if (whole > 0) pull_any(&t, height, panel == 0, b->dtype);
                if (whole == n) continue;
                t.u = ends + r * PSC_LANES + v * VEC;
                t.ldu = PSC_LANES;
                t.near += whole * TILE_KS * VEC;
                if (t.w) t.w += whole * b->stride;
                t.n = 1;
                pull_any(&t, height, panel + whole == 0, b->dtype);
            }
        }
        const size_t done = k + TILE_KS;
        if (!fold || done % FOLD_KS) continue;
        fold_rows(p->y + row * p->ldy + b->k + done - FOLD_KS, p->ldy,
            acc + (column + TILE_KS - FOLD_KS) * PSC_LANES, width, rows,
            least(FOLD_KS, b->ks - (done - FOLD_KS)));
    }
}

/* Rows row..row+rows-1 of the call, whose accumulators are acc, a group at a time. */
static void pull_block_rows(pull_block *b, float *acc, size_t row, size_t rows, bool keep) {
    _Alignas(64) float ends[GROUP_ROWS * PSC_LANES];
    const psc_pullback *p = b->p;
    const size_t part = even_part(b->n, NEAR_PANELS);
    for (size_t r = 0, some; r < rows; r += some) {
        float *sums = acc + (keep ? r * b->padded * PSC_LANES : 0);
        some = least(GROUP_ROWS, rows - r);
        if (p->out % PSC_LANES) copy_ends(ends, p, row + r, some);
        for (size_t at = 0; at < b->n; at += part)
            pull_part(b, sums, ends, row + r, some, at, least(part, b->n - at), r == 0);
    }
}

_Static_assert((NEAR_FLOATS + ACC_FLOATS) * sizeof(float) <= PSC_KERNEL_ROOM, "they fit the room");

/* What follows a block of the call's rows: n panels from `panel` on, ks k's from k on. */
static pull_fetch fetch_of(
    const pull_block *b, size_t rows, size_t k, size_t ks, size_t panel, size_t n) {
    const size_t parts = (b->n + NEAR_PANELS - 1) / NEAR_PANELS;
    const size_t calls = (rows + GROUP_ROWS - 1) / GROUP_ROWS * parts * (b->padded / TILE_KS);
    pull_fetch f = {.w = weights_at(b->p, panel, k, b->dtype),
        .stride = b->stride,
        .panels = n,
        .lines = ks * PSC_LANES * b->size / 64};
    f.some = (f.lines * n + calls - 1) / calls;
    return f;
}

static void pull_many(const psc_pullback *p, const psc_dtype dtype) {
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    const size_t panels = (p->out + PSC_LANES - 1) / PSC_LANES;
    const size_t most = even_part(panels, MOST_PANELS);
    const bool keep = most < panels;
    const size_t most_ks = least(NEAR_KS, NEAR_FLOATS / PSC_LANES / most / PSC_LANES * PSC_LANES);
    const size_t most_rows = keep ? even_part(p->rows, ACC_FLOATS / PSC_LANES / most_ks) : p->rows;
    pull_block b = {.p = p, .dtype = dtype, .size = size, .stride = p->k * PSC_LANES * size};
    b.near = p->room;
    for (size_t row = 0, rows; row < p->rows; row += rows) {
        rows = least(most_rows, p->rows - row);
        for (b.k = p->k_begin; b.k < p->k_end; b.k += b.ks) {
            b.ks = least(most_ks, p->k_end - b.k);
            b.padded = (b.ks + FOLD_KS - 1) / FOLD_KS * FOLD_KS;
            for (b.panel = 0; b.panel < panels; b.panel += b.n) {
                const size_t end = b.panel + (b.n = least(most, panels - b.panel));
                const size_t next = b.k + b.ks;
                b.last = end == panels;
                b.next = b.last ? (pull_fetch){0}
                                : fetch_of(&b, rows, b.k, b.ks, end, least(most, panels - end));
                if (b.last && next < p->k_end)
                    b.next = fetch_of(&b, rows, next, least(most_ks, p->k_end - next), 0, most);
                pull_block_rows(&b, b.near + NEAR_FLOATS, row, rows, keep);
            }
        }
    }
}

#endif
