/* A lens's figures, for blocks of rows with all of their sites.
 *
 *   item (row, site)  x = gamma (h - mean h)/sigma + beta  [N];  z = W_U x  [V]
 *   d = z - max z, e = exp d, S = sum e:  log Z = max z + log S,  H = log S - sum e d / S
 *   kl          KL(f || p) = sum f (d_f - d) - log S_f + log S,  f: the same row's final_post
 *   kl_reverse  KL(p || f) = sum p (d - d_f) - log S + log S_f
 *
 * Every sum over the vocabulary is f64, striped by v mod 16; e is the f32 exponential of the
 * forward pass. One call of W_U serves a block, so the matrix is read once for block_rows rows. */
#include "lens.h"

#include <math.h>
#include <string.h>

enum { ITEMS = 48, PIECE = 1024, LANES = 16 };

int lens_figures_open(lens_state *s) {
    const psc_host *host = s->host;
    s->block_rows = s->n_sites < ITEMS ? ITEMS / s->n_sites : 1;
    const uint64_t rows = (uint64_t)s->block_rows, items = rows * (uint64_t)s->n_sites;
    const uint64_t n = (uint64_t)s->n_dims, vocabulary = (uint64_t)s->n_vocab;
    s->x = host->life_alloc(s->context, items * n * sizeof(float));
    s->moved = host->life_alloc(s->context, items * n * sizeof(float));
    s->z = host->life_alloc(s->context, items * vocabulary * sizeof(float));
    s->final_exp = host->life_alloc(s->context, rows * vocabulary * sizeof(float));
    s->final_sum = host->life_alloc(s->context, rows * sizeof(double));
    s->final_max = host->life_alloc(s->context, rows * sizeof(float));
    return s->x && s->moved && s->z && s->final_exp && s->final_sum && s->final_max ? 0 : -1;
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

/* --- sums over the vocabulary ---------------------------------------------------------------- */

static float largest(const float *z, int64_t n) {
    float lanes[LANES], most = -INFINITY;
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) lanes[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] = z[i + j] > lanes[j] ? z[i + j] : lanes[j];
    for (; i < n; i++) lanes[0] = z[i] > lanes[0] ? z[i] : lanes[0];
    for (int j = 0; j < LANES; j++) most = lanes[j] > most ? lanes[j] : most;
    return most;
}

/* lanes[i mod 16] += a; n counts from a multiple of 16. */
static void add(double lanes[LANES], int64_t n, const float *a) {
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t width = n - i < LANES ? n - i : LANES;
        if (width == LANES)
            for (int j = 0; j < LANES; j++) lanes[j] += (double)a[i + j];
        else
            for (int64_t j = 0; j < width; j++) lanes[j] += (double)a[i + j];
    }
}

static void add_product(double lanes[LANES], int64_t n, const float *a, const float *b) {
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t width = n - i < LANES ? n - i : LANES;
        if (width == LANES)
            for (int j = 0; j < LANES; j++) lanes[j] += (double)a[i + j] * (double)b[i + j];
        else
            for (int64_t j = 0; j < width; j++) lanes[j] += (double)a[i + j] * (double)b[i + j];
    }
}

/* The final site's exponentials and their sum, for comparison with every site of the row. */
static void final_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    const lens_state *s = b->s;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const float *z = s->z + ((r + 1) * s->n_sites - 1) * (int64_t)s->n_vocab;
        float *e = s->final_exp + r * s->n_vocab;
        const float most = largest(z, s->n_vocab);
        double sum[LANES] = {0};
        for (int64_t v = 0; v < s->n_vocab; v++) e[v] = z[v] - most;
        s->host->exp(s->context, s->n_vocab, e, e);
        add(sum, s->n_vocab, e);
        s->final_max[r] = most;
        s->final_sum[r] = psc_fold16(sum);
    }
}

typedef struct item_sums {
    double sum, own, other, reverse; /* sum e, sum e d, sum e_f (d_f - d), sum e (d - d_f) */
    float most;
} item_sums;

static item_sums sum_item(const lens_state *s, const float *z, int64_t row) {
    const float *final_z = s->z + ((row + 1) * s->n_sites - 1) * (int64_t)s->n_vocab;
    const float *final_exp = s->final_exp + row * s->n_vocab;
    double sum[LANES] = {0}, own[LANES] = {0}, other[LANES] = {0}, reverse[LANES] = {0};
    float d[PIECE], e[PIECE], gap[PIECE];
    const float most = largest(z, s->n_vocab);
    for (int64_t v = 0; v < s->n_vocab; v += PIECE) {
        const int64_t n = s->n_vocab - v < PIECE ? s->n_vocab - v : PIECE;
        for (int64_t i = 0; i < n; i++) d[i] = z[v + i] - most;
        for (int64_t i = 0; i < n; i++) gap[i] = d[i] - (final_z[v + i] - s->final_max[row]);
        s->host->exp(s->context, n, e, d);
        add(sum, n, e);
        add_product(own, n, e, d);
        add_product(other, n, final_exp + v, gap);
        add_product(reverse, n, e, gap);
    }
    const item_sums out = {
        psc_fold16(sum), psc_fold16(own), -psc_fold16(other), psc_fold16(reverse), most};
    return out;
}

/* --- top tokens and targets ------------------------------------------------------------------ */

static void top_tokens(
    const lens_state *s, const float *z, const item_sums *sums, int32_t *ids, float *probs) {
    psc_ranked entries[LENS_MOST];
    psc_top_list top = {entries, s->top, 0};
    psc_top_f32(&top, s->n_vocab, z, PSC_TOP_LARGEST);
    for (int32_t i = 0; i < s->top; i++) ids[i] = i < top.n ? (int32_t)top.at[i].index : -1;
    for (int32_t i = 0; i < top.n; i++) probs[i] = z[ids[i]] - sums->most;
    s->host->exp(s->context, top.n, probs, probs);
    for (int32_t i = 0; i < top.n; i++) probs[i] = (float)((double)probs[i] / sums->sum);
}

/* 1 + the number of tokens before this one; ties to the lower id. */
static int32_t rank_of(const float *z, int32_t n, int32_t id) {
    int32_t before = 0;
    for (int32_t v = 0; v < id; v++) before += z[v] >= z[id];
    for (int32_t v = id; v < n; v++) before += z[v] > z[id];
    return before + 1;
}

static void target_figures(
    const lens_state *s, const float *z, double log_z, int32_t site, int64_t row) {
    const lens_tables *tables = &s->tables;
    for (int64_t t = 0; t < s->n_targets; t++) {
        const int32_t *ids = s->ids + 2 * (t * s->rows.n + row);
        const int64_t at = (t * s->n_sites + site) * s->rows.n + row;
        tables->logit[at] = tables->log_prob[at] = NAN;
        tables->rank[at] = -1;
        if (ids[0] < 0) continue;
        tables->logit[at] = (double)z[ids[0]] - (ids[1] >= 0 ? (double)z[ids[1]] : 0.0);
        tables->log_prob[at] = tables->logit[at] - (ids[1] >= 0 ? 0.0 : log_z);
        if (ids[1] < 0) tables->rank[at] = rank_of(z, s->n_vocab, ids[0]);
    }
}

static void item_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    const lens_state *s = b->s;
    const lens_tables *tables = &s->tables;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int32_t site = (int32_t)(item % s->n_sites);
        const int64_t in_block = item / s->n_sites, row = b->first + in_block;
        const int64_t at = (int64_t)site * s->rows.n + row;
        const float *z = s->z + item * s->n_vocab;
        const item_sums sums = sum_item(s, z, in_block);
        double logs[2] = {sums.sum, s->final_sum[in_block]};
        s->host->log(s->context, 2, logs, logs);
        tables->log_z[at] = (double)sums.most + logs[0];
        tables->entropy[at] = logs[0] - sums.own / sums.sum;
        tables->kl[at] = sums.other / s->final_sum[in_block] - logs[1] + logs[0];
        tables->kl_reverse[at] = sums.reverse / sums.sum - logs[0] + logs[1];
        top_tokens(s, z, &sums, tables->top_ids + at * s->top, tables->top_probs + at * s->top);
        target_figures(s, z, tables->log_z[at], site, row);
    }
}

int lens_figures_compute(lens_state *s) {
    const psc_host *host = s->host;
    for (int32_t first = 0; first < s->rows.n; first += s->block_rows) {
        block b = {s, first, s->rows.n - first};
        if (b.n_rows > s->block_rows) b.n_rows = s->block_rows;
        const int64_t items = (int64_t)b.n_rows * s->n_sites;
        host->parallel_for(s->context, items, normalize_items, &b);
        if (host->apply(s->context, PSC_W_U, -1, s->z, s->x, items)) return -1;
        host->parallel_for(s->context, b.n_rows, final_rows, &b);
        host->parallel_for(s->context, items, item_rows, &b);
        host->progress(s->context, (double)(first + b.n_rows) / s->rows.n);
        if (host->cancelled(s->context)) return host->fail(s->context, "the run was cancelled");
    }
    return 0;
}
