/* Why a head looks there: one row's scores split by the writers of the residual.
 *
 *   s_kj = rot_k(q_k) . rot_j(k_j)/sqrt(D),  k_j = W_K LN1(x_j) + b_K,  x_j = sum of writers c
 *   LN1(x) = gamma P(x)/sigma + beta, sigma held
 *   key side, by the adjoint: v_j = rot_j^-1(rot_k(q_k)) [D], w_j = W_K^T v_j [N],
 *     g_j = P(gamma w_j)/(sigma_j sqrt(D));  share of c = g_j . c_j, of a head z . (W_O^T g_j),
 *     of beta w_j . beta/sqrt(D), of b_K v_j . b_K/sqrt(D)
 *   query side: each writer of x_k made, q^c = W_Q (gamma P(c)/sigma_k) [D], share rot_k(q^c) .
 *     rot_j(k_j)/sqrt(D); a pair: rot_k(q^c) . rot_j(k^c')/sqrt(D)
 *   unrotated: the same without rot; rotary: the rest
 *
 * Weights are applied in f32 by the host; sums over shares are f64 in a fixed order. */
#include "attention.h"

#include <math.h>
#include <string.h>

/* --- retained tensors ------------------------------------------------------------------------- */

/* Retains a tensor of the reader's layer and head, from first_row on. */
static int retain(attention_state *s, split_tensor what, psc_point point, int32_t first_row) {
    attention_split *p = &s->split;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &p->layer;
    filter.n_layers = 1;
    filter.rows = PSC_ROWS_RANGE;
    filter.row_begin = first_row;
    filter.row_end = p->n_keys;
    filter.heads = &p->head;
    filter.n_heads = what != SPLIT_SCALE;
    p->handles[what] = s->host->retain(s->context, point, &filter);
    return p->handles[what] < 0 ? -1 : 0;
}

int attention_split_begin(attention_state *s) {
    attention_split *p = &s->split;
    const psc_host *host = s->host;
    psc_row_set row;
    int32_t n_rows = 0;
    if (!psc_whole_sequence(s->context, host, "reader needs", &n_rows)) return -1;
    if (psc_rows_resolve(s->context, host, "row", &p->row, 0, &row)) return -1;
    if (row.n != 1) return host->fail(s->context, "row= must name one row: last or a position");
    p->reader = row.index[0];
    p->n_keys = s->rows[p->reader].position + 1;
    if (p->partner >= p->n_keys)
        return host->fail(s->context, "key=%d is after row %d; pass a key up to that row",
            (int)p->partner, (int)p->n_keys - 1);
    const int32_t k = p->n_keys - 1;
    p->n_writers = psc_writers_count(host->model(s->context), p->layer);
    p->n_components = p->n_writers + 2;
    p->root = 1.0f / sqrtf((float)host->model(s->context)->d_head);
    return psc_writers_begin(s->context, host, p->layer, p->n_keys, &p->writers) ||
           retain(s, SPLIT_SCALE, PSC_HOOK_LN1_SCALE, 0) || retain(s, SPLIT_Q, PSC_HOOK_Q, k) ||
           retain(s, SPLIT_ROT_Q, PSC_HOOK_ROT_Q, k) || retain(s, SPLIT_K, PSC_HOOK_K, 0) ||
           retain(s, SPLIT_ROT_K, PSC_HOOK_ROT_K, 0) ||
           retain(s, SPLIT_PATTERN, PSC_HOOK_PATTERN, k);
}

/* Row i of a retained tensor. */
static const float *kept_row(const attention_state *s, split_tensor what, int32_t i) {
    const psc_view *t = &s->split.kept[what].tensor;
    return t->data + i * t->stride[0];
}

/* The shares of a component and part, [keys]. */
static double *share_at(const attention_state *s, double *table, int64_t component, int part) {
    return table + (component * SPLIT_PARTS + part) * s->split.n_keys;
}

/* --- the key side ---------------------------------------------------------------------------- */

/* Rows 0..n_keys-1 of each table are the rotated keys, rows n_keys..2 n_keys-1 the unrotated. */
typedef struct key_side {
    attention_state *s;
    int64_t n, width; /* N, H*D */
    float *v;         /* [2 keys, H*D], 0 outside the head */
    float *w, *g;     /* [2 keys, N] */
    int32_t *rows;    /* [2 keys] */
} key_side;

static int make_directions(key_side *d) {
    attention_state *s = d->s;
    const attention_split *p = &s->split;
    const psc_host *host = s->host;
    const int64_t size = host->model(s->context)->d_head, at = p->head * size;
    for (int32_t i = 0; i < 2 * p->n_keys; i++) {
        const int turned = i < p->n_keys;
        float *v = d->v + i * d->width + at;
        d->rows[i] = turned ? i : i - p->n_keys;
        memcpy(v, kept_row(s, turned ? SPLIT_ROT_Q : SPLIT_Q, 0), (size_t)size * sizeof *v);
        if (turned && host->rotate(s->context, i, 1, v)) return -1;
    }
    if (host->pullback(s->context, PSC_W_K, p->layer, d->w, d->v, 2 * p->n_keys)) return -1;
    for (int32_t i = 0; i < 2 * p->n_keys; i++) {
        const float *w = d->w + i * d->n;
        float *g = d->g + i * d->n;
        const double sigma = (double)*kept_row(s, SPLIT_SCALE, d->rows[i]);
        for (int64_t c = 0; c < d->n; c++) g[c] = p->gamma[c] * w[c];
        const double mean = psc_sum_striped(d->n, g) / (double)d->n;
        for (int64_t c = 0; c < d->n; c++)
            g[c] = (float)(((double)g[c] - mean) * (double)p->root / sigma);
    }
    return 0;
}

/* Transposes [2 keys, components] into [components, parts, keys]. */
static void put_shares(const attention_state *s, const double *shares) {
    const attention_split *p = &s->split;
    for (int64_t c = 0; c < p->n_components; c++)
        for (int32_t j = 0; j < p->n_keys; j++) {
            const double turned = shares[j * p->n_components + c];
            const double plain = shares[(p->n_keys + j) * p->n_components + c];
            share_at(s, p->key, c, SPLIT_UNROTATED)[j] = plain;
            share_at(s, p->key, c, SPLIT_ROTARY)[j] = turned - plain;
        }
}

static int split_keys(attention_state *s) {
    attention_split *p = &s->split;
    const psc_host *host = s->host;
    const psc_model_info *model = host->model(s->context);
    const uint64_t rows = 2 * (uint64_t)p->n_keys;
    key_side d = {.s = s, .n = model->d_model, .width = (int64_t)model->n_heads * model->d_head};
    const uint64_t n = (uint64_t)d.n, width = (uint64_t)d.width;
    d.v = host->run_alloc(s->context, rows * width * sizeof(float));
    d.w = host->run_alloc(s->context, rows * n * sizeof(float));
    d.g = host->run_alloc(s->context, rows * n * sizeof(float));
    d.rows = host->run_alloc(s->context, rows * sizeof *d.rows);
    double *shares = host->run_alloc(s->context, rows * (uint64_t)p->n_components * sizeof *shares);
    const float *bias = host->bias(s->context, PSC_W_K, p->layer);
    if (!bias || !d.v || !d.w || !d.g || !d.rows || !shares || make_directions(&d) ||
        psc_writers_shares(
            &p->writers, p->layer, (int32_t)rows, d.rows, d.g, shares, p->n_components))
        return -1;
    const int64_t at = (int64_t)p->head * model->d_head;
    for (int64_t i = 0; i < (int64_t)rows; i++) {
        double *constants = shares + i * p->n_components + p->n_writers;
        constants[0] = (double)p->root * psc_dot_striped(d.n, d.w + i * d.n, p->beta);
        constants[1] =
            (double)p->root * psc_dot_striped(model->d_head, d.v + i * d.width + at, bias + at);
    }
    put_shares(s, shares);
    return 0;
}

/* --- the query side and a pair --------------------------------------------------------------- */

/* Every writer of row i as the reader reads it: gamma P(c)/sigma_i [writers + 1, N], beta last. */
static int make_writers(attention_state *s, int32_t i, float *out) {
    const attention_split *p = &s->split;
    const int64_t n = s->host->model(s->context)->d_model;
    if (psc_writers_make(&p->writers, p->layer, i, out)) return -1;
    const double sigma = (double)*kept_row(s, SPLIT_SCALE, i);
    for (int64_t c = 0; c < p->n_writers; c++) {
        float *x = out + c * n;
        const double mean = psc_sum_striped(n, x) / (double)n;
        for (int64_t d = 0; d < n; d++)
            x[d] = (float)(((double)x[d] - mean) / sigma * (double)p->gamma[d]);
    }
    memcpy(out + p->n_writers * n, p->beta, (size_t)n * sizeof *out);
    return 0;
}

/* Each component's part of q or k of row i: plain and rotated, [components, D] each. */
static int project(attention_state *s, psc_matrix matrix, int32_t i, float *plain, float *rotated) {
    const attention_split *p = &s->split;
    const psc_host *host = s->host;
    const psc_model_info *model = host->model(s->context);
    const int64_t size = model->d_head, width = s->n_heads * size, at = p->head * size;
    const uint64_t rows = (uint64_t)p->n_writers + 1;
    float *x = host->run_alloc(s->context, rows * (uint64_t)model->d_model * sizeof(float));
    float *y = host->run_alloc(s->context, rows * (uint64_t)width * sizeof(float));
    const float *bias = host->bias(s->context, matrix, p->layer);
    if (!x || !y || !bias || make_writers(s, i, x) ||
        host->apply(s->context, matrix, p->layer, y, x, (int64_t)rows))
        return -1;
    for (int64_t c = 0; c < p->n_components; c++) {
        const float *from = (c < p->n_components - 1 ? y + c * width : bias) + at;
        memcpy(plain + c * size, from, (size_t)size * sizeof *plain);
        memcpy(rotated + c * size, from, (size_t)size * sizeof *plain);
        if (host->rotate(s->context, i, 0, rotated + c * size)) return -1;
    }
    return 0;
}

/* The score of two vectors without rotation, and the change by rotation. */
static void product(const attention_state *s, const float *const a[2], const float *const b[2],
    double *plain, double *rotary) {
    const int64_t size = s->host->model(s->context)->d_head;
    const double root = (double)s->split.root;
    *plain = root * psc_dot_striped(size, a[0], b[0]);
    *rotary = root * psc_dot_striped(size, a[1], b[1]) - *plain;
}

static int split_query(attention_state *s) {
    attention_split *p = &s->split;
    const psc_host *host = s->host;
    const int64_t size = host->model(s->context)->d_head;
    const uint64_t bytes = (uint64_t)(p->n_components * size) * sizeof(float);
    float *q[2] = {host->run_alloc(s->context, bytes), host->run_alloc(s->context, bytes)};
    float *k[2] = {host->run_alloc(s->context, bytes), host->run_alloc(s->context, bytes)};
    if (!q[0] || !q[1] || !k[0] || !k[1] || project(s, PSC_W_Q, p->reader, q[0], q[1])) return -1;
    for (int64_t c = 0; c < p->n_components; c++)
        for (int32_t j = 0; j < p->n_keys; j++) {
            const float *const a[2] = {q[0] + c * size, q[1] + c * size};
            const float *const b[2] = {kept_row(s, SPLIT_K, j), kept_row(s, SPLIT_ROT_K, j)};
            product(s, a, b, share_at(s, p->query, c, SPLIT_UNROTATED) + j,
                share_at(s, p->query, c, SPLIT_ROTARY) + j);
        }
    if (!p->pair) return 0;
    if (project(s, PSC_W_K, p->partner, k[0], k[1])) return -1;
    for (int64_t c = 0; c < p->n_components; c++)
        for (int64_t d = 0; d < p->n_components; d++) {
            const float *const a[2] = {q[0] + c * size, q[1] + c * size};
            const float *const b[2] = {k[0] + d * size, k[1] + d * size};
            double *out = p->pair + (c * p->n_components + d) * SPLIT_PARTS;
            product(s, a, b, &out[SPLIT_UNROTATED], &out[SPLIT_ROTARY]);
        }
    return 0;
}

int attention_split_end(attention_state *s) {
    attention_split *p = &s->split;
    const psc_host *host = s->host;
    if (psc_edits_refused(s->context, host, "reader= cannot split the scores of an edited run"))
        return -1;
    for (int i = 0; i < SPLIT_TENSORS; i++)
        if (host->fetch(s->context, p->handles[i], p->layer, &p->kept[i])) return -1;
    const uint64_t shares = (uint64_t)p->n_components * SPLIT_PARTS * sizeof(double);
    p->key = host->run_alloc(s->context, shares * (uint64_t)p->n_keys);
    p->query = host->run_alloc(s->context, shares * (uint64_t)p->n_keys);
    p->pair = NULL;
    if (p->partner >= 0) p->pair = host->run_alloc(s->context, shares * (uint64_t)p->n_components);
    if (!p->key || !p->query || (p->partner >= 0 && !p->pair) ||
        host->ln_parameters(s->context, PSC_LN1, p->layer, &p->gamma, &p->beta) || split_keys(s) ||
        split_query(s))
        return -1;
    return attention_split_arrays(s);
}
