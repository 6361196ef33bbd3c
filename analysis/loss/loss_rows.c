/* The losses of a run's tokens, for blocks of rows.
 *
 *   x = gamma h + beta  [N], h = ln_final.hook_normalized;  z = W_U x  [V], a tile at a time
 *   tile      m the tile's greatest logit, e = sum exp(z - m) in f64
 *   all tiles w = exp(m - max m):  log Z = max m + log sum w e;  loss = log Z - z_t
 *
 * Tiles are added in ascending order, so a loss does not depend on threads, chunks or blocks. z has
 * the bits of hook_logits, but [rows, V] is never in memory. Where an editor changes hook_logits,
 * its rows are read instead. */
#include "loss.h"

#include <math.h>

int loss_rows_open(loss_state *s) {
    const psc_host *host = s->host;
    const uint64_t block = LOSS_BLOCK;
    s->n_tiles = (s->n_vocab + LOSS_TILE - 1) / LOSS_TILE;
    s->reductions = host->reductions(s->context);
    const uint64_t tiles = block * (uint64_t)s->n_tiles;
    s->x = host->life_alloc(s->context, block * (uint64_t)s->n_dims * sizeof *s->x);
    s->parts = host->life_alloc(s->context, LOSS_PARTS * sizeof *s->parts);
    s->tiles = host->life_alloc(s->context, tiles * sizeof *s->tiles);
    s->weights = host->life_alloc(s->context, tiles * sizeof *s->weights);
    s->target = host->life_alloc(s->context, block * sizeof *s->target);
    s->places = host->life_alloc(s->context, block * sizeof *s->places);
    if (!s->reductions || !s->x || !s->parts || !s->tiles || !s->weights || !s->target ||
        !s->places)
        return -1;
    for (int i = 0; i < LOSS_PARTS; i++) {
        loss_part *part = &s->parts[i];
        part->z = host->life_alloc(s->context, block * LOSS_TILE * sizeof *part->z);
        part->p = host->life_alloc(s->context, LOSS_TILE * sizeof *part->p);
        if (!part->z || !part->p) return -1;
    }
    return 0;
}

typedef struct block {
    loss_state *s;
    const psc_event *event;
    const int32_t *rows; /* [n] their places in the event */
    int32_t n;
} block;

/* --- tiles ----------------------------------------------------------------------------------- */

/* p: scratch. A tile of -inf has the sum 0, and a NaN makes the sum NaN. */
static loss_tile sum_tile(const loss_state *s, float *p, const float *z, size_t n) {
    const float most = psc_logits_most(s->reductions, n, z);
    double sums[2];
    s->reductions->exp_row(p, sums, z, most, n);
    return (loss_tile){(double)most, sums[0]};
}

static int64_t tile_size(const loss_state *s, int64_t from) {
    return s->n_vocab - from < LOSS_TILE ? s->n_vocab - from : LOSS_TILE;
}

/* Parts begin..end-1 of the tiles, on one thread. */
static void tile_parts(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    loss_state *s = b->s;
    loss_part *part = &s->parts[begin];
    (void)thread;
    const int64_t last = end * s->n_tiles / LOSS_PARTS;
    for (int64_t tile = begin * s->n_tiles / LOSS_PARTS; tile < last; tile++) {
        const int64_t from = tile * LOSS_TILE, n = tile_size(s, from);
        part->failed =
            s->host->apply_outputs(s->context, PSC_W_U, -1, part->z, s->x, b->n, from, from + n);
        if (part->failed) return;
        for (int32_t r = 0; r < b->n; r++) {
            const float *z = part->z + r * n;
            const int64_t id = s->all[s->places[r]].next - from;
            s->tiles[r * (int64_t)s->n_tiles + tile] = sum_tile(s, part->p, z, (size_t)n);
            if (id >= 0 && id < n) s->target[r] = z[id];
        }
    }
}

/* --- rows ------------------------------------------------------------------------------------ */

/* The loss of the token after row r of the block. */
static void end_row(loss_state *s, int64_t r) {
    const loss_tile *tiles = s->tiles + r * s->n_tiles;
    double *w = s->weights + r * s->n_tiles, most = -INFINITY, sum = 0.0;
    for (int32_t i = 0; i < s->n_tiles; i++) most = tiles[i].most > most ? tiles[i].most : most;
    for (int32_t i = 0; i < s->n_tiles; i++) w[i] = tiles[i].most - most;
    s->reductions->exp_f64(w, w, (size_t)s->n_tiles);
    for (int32_t i = 0; i < s->n_tiles; i++) sum += w[i] * tiles[i].sum;
    s->host->log(s->context, 1, &sum, &sum);
    const double loss = most + sum - (double)s->target[r];
    s->loss[s->places[r] + 1] = isnan(loss) ? (double)NAN : loss; /* one NaN on every machine */
}

static void normalize_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    const loss_state *s = b->s;
    (void)thread;
    for (int64_t r = begin; r < end; r++)
        s->reductions->ln_affine(s->x + r * s->n_dims, psc_view_row(&b->event->tensor, b->rows[r]),
            s->gamma, s->beta, (size_t)s->n_dims);
}

static void end_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++) end_row(b->s, r);
}

static int unembed_block(block *b) {
    const loss_state *s = b->s;
    const psc_host *host = s->host;
    for (int p = 0; p < LOSS_PARTS; p++) s->parts[p].failed = 0;
    host->parallel_for(s->context, b->n, normalize_rows, b);
    host->parallel_for(s->context, LOSS_PARTS, tile_parts, b);
    for (int p = 0; p < LOSS_PARTS; p++)
        if (s->parts[p].failed) return -1;
    host->parallel_for(s->context, b->n, end_rows, b);
    return 0;
}

/* Logits that an editor changed. On the callbacks' thread: such editors are rare. */
static int read_block(block *b) {
    loss_state *s = b->s;
    for (int32_t r = 0; r < b->n; r++) {
        const float *z = psc_view_row(&b->event->tensor, b->rows[r]);
        for (int64_t tile = 0; tile < s->n_tiles; tile++) {
            const int64_t from = tile * LOSS_TILE;
            s->tiles[r * (int64_t)s->n_tiles + tile] =
                sum_tile(s, s->parts[0].p, z + from, (size_t)tile_size(s, from));
        }
        s->target[r] = z[s->all[s->places[r]].next];
        end_row(s, r);
    }
    return 0;
}

/* Calls fn for blocks of the event's rows that predict a scored token. */
static int each_block(loss_state *s, const psc_event *event, int (*fn)(block *)) {
    int32_t rows[LOSS_BLOCK];
    block b = {s, event, rows, 0};
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t index = event->rows[r].index;
        if (index + 1 < s->rows.n_all && s->is_scored[index + 1]) {
            s->places[b.n] = index;
            rows[b.n++] = r;
        }
        if (b.n < LOSS_BLOCK && (r + 1 < event->n_rows || b.n == 0)) continue;
        if (fn(&b)) return -1;
        b.n = 0;
    }
    return 0;
}

int loss_on_normalized(const psc_event *event, void *payload) {
    return each_block(payload, event, unembed_block);
}

int loss_on_logits(const psc_event *event, void *payload) {
    return each_block(payload, event, read_block);
}
