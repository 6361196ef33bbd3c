/* A lens's figures, for blocks of rows with all of their sites.
 *
 *   item (row, site)  x = gamma (h - mean h)/sigma + beta  [N];  z = W_U x  [V], a tile at a time
 *   e = exp(z - m) with the tile's greatest logit m, in f32: sums of e, e (z - m), e_f (z - f),
 *   e (z - f), f: the same row's final_post
 *   all tiles, w = exp(m - max m):  S = sum w e;  log Z = max m + log S;  H = log S - sum e d / S
 *   kl          KL(f || p) = log Z - log Z_f - sum e_f (z - f)/S_f
 *   kl_reverse  KL(p || f) = sum e (z - f)/S - (log Z - log Z_f)
 *
 * Sums are f64; tiles are added in ascending order. A tile of all items stays in cache for its
 * sums, the top tokens and the ranks. The targets' logits, which ranks need, are computed first, by
 * the same kernel. Top tokens and counts do not depend on the order of the tiles. */
#include "lens.h"

#include <math.h>
#include <string.h>

enum { ITEMS = 240, PANEL = 16, SITES = 32 };

static int open_part(lens_state *s, lens_part *part, uint64_t items) {
    const psc_host *host = s->host;
    const uint64_t top = (uint64_t)s->top;
    part->z = host->life_alloc(s->context, items * LENS_TILE * sizeof(float));
    part->final_exp = host->life_alloc(s->context, LENS_TILE * sizeof(float));
    part->ids = host->life_alloc(s->context, LENS_TILE * sizeof *part->ids);
    part->entries = host->life_alloc(s->context, items * top * sizeof *part->entries);
    part->top = host->life_alloc(s->context, items * sizeof *part->top);
    return part->z && part->final_exp && part->ids && part->entries && part->top ? 0 : -1;
}

int lens_figures_open(lens_state *s) {
    const psc_host *host = s->host;
    s->block_rows = s->n_sites < ITEMS ? ITEMS / s->n_sites : 1;
    s->n_tiles = (s->n_vocab + LENS_TILE - 1) / LENS_TILE;
    s->reductions = host->reductions(s->context);
    const uint64_t items = (uint64_t)s->block_rows * (uint64_t)s->n_sites, n = (uint64_t)s->n_dims;
    s->x = host->life_alloc(s->context, items * n * sizeof(float));
    if (s->weight) s->moved = host->life_alloc(s->context, items * n * sizeof(float));
    s->parts = host->life_alloc(s->context, LENS_PARTS * sizeof *s->parts);
    s->tiles = host->life_alloc(s->context, items * (uint64_t)s->n_tiles * sizeof *s->tiles);
    const uint64_t weights = 2 * (uint64_t)s->block_rows * (uint64_t)s->n_tiles;
    s->weights = host->life_alloc(s->context, weights * sizeof *s->weights);
    if (!s->reductions || !s->weights || !s->x || (s->weight && !s->moved) || !s->parts ||
        !s->tiles)
        return -1;
    for (int i = 0; i < LENS_PARTS; i++)
        if (open_part(s, &s->parts[i], items)) return -1;
    return 0;
}

int lens_figures_begin(lens_state *s) {
    const uint64_t items = (uint64_t)s->block_rows * (uint64_t)s->n_sites;
    const uint64_t count = items * (uint64_t)s->n_targets;
    s->own = s->host->run_alloc(s->context, 2 * count * sizeof *s->own + 1);
    int64_t *before = s->host->run_alloc(s->context, LENS_PARTS * count * sizeof *before + 1);
    s->failed = s->host->run_alloc(s->context, count + 1);
    if (!s->own || !before || !s->failed) return -1;
    for (uint64_t i = 0; i < LENS_PARTS; i++) s->parts[i].before = before + i * count;
    return 0;
}

typedef struct block {
    lens_state *s;
    int32_t first, n_rows;
} block;

/* --- normalized residuals -------------------------------------------------------------------- */

static double sigma_of(const lens_state *s, const float *h, double *mean) {
    *mean = psc_sum_striped(s->n_dims, h) / s->n_dims;
    return sqrt(psc_dot_centered(s->n_dims, h, *mean, h, *mean) / s->n_dims + s->eps);
}

static void normalize_items(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    const lens_state *s = b->s;
    const int64_t n = s->n_dims;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int32_t site = (int32_t)(item % s->n_sites);
        const int64_t row = b->first + item / s->n_sites;
        const float *h = s->residual[(int64_t)site * s->rows.n + row];
        double mean = 0.0, unused = 0.0;
        if (s->weight && site < s->n_layers) {
            lens_affine_apply(s, site, s->moved + item * n, h);
            h = s->moved + item * n;
        }
        double sigma = sigma_of(s, h, &mean);
        if (s->sigma_final && site < s->n_layers)
            sigma = sigma_of(s, s->residual[(int64_t)s->n_layers * s->rows.n + row], &unused);
        s->tables.sigma[(int64_t)site * s->rows.n + row] = (float)sigma;
        float *x = s->x + item * n;
        for (int64_t i = 0; i < n; i++)
            x[i] =
                (float)(((double)h[i] - mean) / sigma * (double)s->gamma[i] + (double)s->beta[i]);
    }
}

/* --- the targets' logits --------------------------------------------------------------------- */

static const int32_t *ids_of(const lens_state *s, int64_t target, int64_t row) {
    return s->ids + 2 * (target * s->rows.n + row);
}

/* The targets' logits at all sites of each row, from the panels that hold them. */
static void target_logits(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    lens_state *s = b->s;
    (void)thread;
    for (int64_t k = begin; k < end; k++) {
        const int64_t row = k / s->n_targets, t = k % s->n_targets;
        const int32_t *ids = ids_of(s, t, b->first + row);
        for (int i = 0; i < 2; i++) {
            float z[SITES * PANEL];
            const int64_t from = ids[i] / PANEL * PANEL;
            const int64_t to = from + PANEL < s->n_vocab ? from + PANEL : s->n_vocab;
            for (int64_t site = 0; ids[i] >= 0 && site < s->n_sites; site += SITES) {
                const int64_t left = s->n_sites - site, n = left < SITES ? left : SITES;
                const int64_t item = row * s->n_sites + site;
                if (s->host->apply_outputs(
                        s->context, PSC_W_U, -1, z, s->x + item * s->n_dims, n, from, to)) {
                    s->failed[k] = 1;
                    return;
                }
                for (int64_t j = 0; j < n; j++)
                    s->own[2 * ((item + j) * s->n_targets + t) + i] =
                        z[j * (to - from) + ids[i] - from];
            }
        }
    }
}

/* --- one tile of one item -------------------------------------------------------------------- */

/* Offers the tile's logits, from `first` on, that can enter the item's list. */
static void offer(const lens_state *s, lens_part *part, int64_t item, const float *z, size_t n,
    double most, int64_t first) {
    psc_top_list *top = &part->top[item];
    const int full = top->n == top->k;
    const double bound = full ? top->at[top->k - 1].key : -INFINITY;
    size_t count = 0;
    if (most < bound) return;
    s->reductions->indices_within(part->ids, &count, z, n, (float)bound, INFINITY);
    for (size_t i = 0; i < count; i++)
        psc_top_offer(top, (double)z[part->ids[i]], first + part->ids[i]);
}

/* Counts the tile's tokens that rank before each target: larger, or equal with a lower id. */
static void count_before(const lens_state *s, const lens_part *part, int64_t item, int64_t row,
    const float *z, int64_t n, int64_t first) {
    for (int64_t t = 0; t < s->n_targets; t++) {
        const int32_t *ids = ids_of(s, t, row);
        const int64_t at = item * s->n_targets + t, lower = ids[0] - first;
        int64_t counts[2];
        if (ids[0] < 0 || ids[1] >= 0) continue;
        const float own = s->own[2 * at];
        const int64_t begin = lower < 0 ? 0 : lower < n ? lower : n;
        s->reductions->count_from(counts, z, (size_t)begin, own);
        part->before[at] += counts[0] + counts[1];
        s->reductions->count_from(counts, z + begin, (size_t)(n - begin), own);
        part->before[at] += counts[0];
    }
}

/* All sites of a row in one tile; z [sites, n]. */
static void tile_row(const block *b, lens_part *part, int64_t tile, int64_t row, int64_t n) {
    const lens_state *s = b->s;
    const float *z = part->z + row * s->n_sites * n, *final = z + s->n_layers * n;
    const float most = psc_logits_most(s->reductions, (size_t)n, final);
    for (int64_t v = 0; v < n; v++) part->final_exp[v] = final[v] - most;
    s->host->exp(s->context, n, part->final_exp, part->final_exp);
    for (int64_t site = 0; site < s->n_sites; site++, z += n) {
        const int64_t item = row * s->n_sites + site, first = tile * LENS_TILE;
        lens_tile *out = &s->tiles[item * s->n_tiles + tile];
        const float own = psc_logits_most(s->reductions, (size_t)n, z);
        out->most = (double)own;
        s->reductions->divergence_sums(out->sums, z, own, final, part->final_exp, (size_t)n);
        offer(s, part, item, z, (size_t)n, out->most, first);
        count_before(s, part, item, b->first + row, z, n, first);
    }
}

/* Parts begin..end-1 of the tiles, on one thread. */
static void tile_parts(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    lens_state *s = b->s;
    lens_part *part = &s->parts[begin];
    const int64_t items = (int64_t)b->n_rows * s->n_sites;
    (void)thread;
    part->used = 1;
    for (int64_t i = 0; i < items; i++)
        part->top[i] = (psc_top_list){part->entries + i * s->top, s->top, 0};
    memset(part->before, 0, (size_t)(items * s->n_targets) * sizeof *part->before);
    const int64_t last = end * s->n_tiles / LENS_PARTS;
    for (int64_t tile = begin * s->n_tiles / LENS_PARTS; tile < last; tile++) {
        const int64_t from = tile * LENS_TILE, left = s->n_vocab - from;
        const int64_t n = left < LENS_TILE ? left : LENS_TILE;
        part->failed = part->failed || s->host->apply_outputs(s->context, PSC_W_U, -1, part->z,
                                           s->x, items, from, from + n);
        if (part->failed) return;
        for (int64_t row = 0; row < b->n_rows; row++) tile_row(b, part, tile, row, n);
    }
}

/* --- all tiles of one item ------------------------------------------------------------------- */

typedef struct item_sums {
    double most, sum, log_z, log_sum;
    double own, other, reverse; /* sums of e d, e_f (z - f), e (z - f) */
} item_sums;

/* w [tiles]: scratch; of_final: the weights of e_f's tiles, w itself for the final site. */
static item_sums add_tiles(
    const lens_state *s, const lens_tile *tiles, double *w, const double *of_final) {
    item_sums out = {.most = -INFINITY};
    for (int32_t i = 0; i < s->n_tiles; i++)
        out.most = tiles[i].most > out.most ? tiles[i].most : out.most;
    for (int32_t i = 0; i < s->n_tiles; i++) w[i] = tiles[i].most - out.most;
    s->reductions->exp_f64(w, w, (size_t)s->n_tiles);
    for (int32_t i = 0; i < s->n_tiles; i++) {
        const double *sums = tiles[i].sums;
        out.sum += w[i] * sums[0];
        out.own += w[i] * (sums[1] + (tiles[i].most - out.most) * sums[0]);
        out.other += of_final[i] * sums[2];
        out.reverse += w[i] * sums[3];
    }
    s->host->log(s->context, 1, &out.log_sum, &out.sum);
    out.log_z = out.most + out.log_sum;
    return out;
}

static void top_tokens(
    const lens_state *s, int64_t item, const item_sums *sums, int32_t *ids, float *probs) {
    psc_ranked entries[LENS_MOST];
    psc_top_list top = {entries, s->top, 0};
    for (int p = 0; p < LENS_PARTS; p++) {
        const psc_top_list *some = s->parts[p].used ? &s->parts[p].top[item] : NULL;
        for (int32_t i = 0; some && i < some->n; i++)
            psc_top_offer(&top, some->at[i].key, some->at[i].index);
    }
    for (int32_t i = 0; i < s->top; i++) ids[i] = i < top.n ? (int32_t)top.at[i].index : -1;
    for (int32_t i = 0; i < top.n; i++) probs[i] = (float)top.at[i].key - (float)sums->most;
    s->host->exp(s->context, top.n, probs, probs);
    for (int32_t i = 0; i < top.n; i++) probs[i] = (float)((double)probs[i] / sums->sum);
}

static void target_figures(
    const lens_state *s, int64_t item, double log_z, int32_t site, int64_t row) {
    const lens_tables *tables = &s->tables;
    for (int64_t t = 0; t < s->n_targets; t++) {
        const int32_t *ids = ids_of(s, t, row);
        const int64_t at = (t * s->n_sites + site) * s->rows.n + row;
        const int64_t in_block = item * s->n_targets + t;
        const float *own = s->own + 2 * in_block;
        tables->logit[at] = tables->log_prob[at] = NAN;
        tables->rank[at] = -1;
        if (ids[0] < 0) continue;
        tables->logit[at] = (double)own[0] - (ids[1] >= 0 ? (double)own[1] : 0.0);
        tables->log_prob[at] = tables->logit[at] - (ids[1] >= 0 ? 0.0 : log_z);
        int64_t rank = ids[1] < 0 ? 1 : -1;
        for (int p = 0; p < LENS_PARTS && rank > 0; p++)
            if (s->parts[p].used) rank += s->parts[p].before[in_block];
        tables->rank[at] = (int32_t)rank;
    }
}

static void rows_figures(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    const lens_state *s = b->s;
    const lens_tables *tables = &s->tables;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const int64_t row = b->first + r, last = r * s->n_sites + s->n_layers;
        double *w = s->weights + 2 * r * s->n_tiles, *of_final = w + s->n_tiles;
        const item_sums final = add_tiles(s, s->tiles + last * s->n_tiles, of_final, of_final);
        for (int32_t site = 0; site < s->n_sites; site++) {
            const int64_t item = r * s->n_sites + site, at = (int64_t)site * s->rows.n + row;
            const item_sums sums = add_tiles(s, s->tiles + item * s->n_tiles, w, of_final);
            const double gap = sums.log_z - final.log_z;
            tables->log_z[at] = sums.log_z;
            tables->entropy[at] = sums.log_sum - sums.own / sums.sum;
            tables->kl[at] = gap - sums.other / final.sum;
            tables->kl_reverse[at] = sums.reverse / sums.sum - gap;
            top_tokens(
                s, item, &sums, tables->top_ids + at * s->top, tables->top_probs + at * s->top);
            target_figures(s, item, sums.log_z, site, row);
        }
    }
}

/* Nonzero after an error, which the host has set. */
static int compute_block(block *b) {
    lens_state *s = b->s;
    const psc_host *host = s->host;
    for (int p = 0; p < LENS_PARTS; p++) s->parts[p].used = s->parts[p].failed = 0;
    host->parallel_for(s->context, (int64_t)b->n_rows * s->n_sites, normalize_items, b);
    host->parallel_for(s->context, (int64_t)b->n_rows * s->n_targets, target_logits, b);
    for (int64_t k = 0; k < (int64_t)b->n_rows * s->n_targets; k++)
        if (s->failed[k]) return -1;
    host->parallel_for(s->context, LENS_PARTS, tile_parts, b);
    for (int p = 0; p < LENS_PARTS; p++)
        if (s->parts[p].failed) return -1;
    host->parallel_for(s->context, b->n_rows, rows_figures, b);
    return 0;
}

int lens_figures_compute(lens_state *s) {
    const psc_host *host = s->host;
    for (int32_t first = 0; first < s->rows.n; first += s->block_rows) {
        block b = {s, first, s->rows.n - first};
        if (b.n_rows > s->block_rows) b.n_rows = s->block_rows;
        if (compute_block(&b)) return -1;
        host->progress(s->context, (double)(first + b.n_rows) / s->rows.n);
        if (host->cancelled(s->context)) return host->fail(s->context, "the run was cancelled");
    }
    return 0;
}
