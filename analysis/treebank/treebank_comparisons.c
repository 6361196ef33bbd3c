/* Trees that the literature proposes, as comparisons. [a, b] is split before the token t in a+1..b
 * with the largest distance d_t between the rows of t - 1 and t, ties to the smaller t:
 *
 *   attention JS, Hellinger     the layer's heads' patterns, mean over heads; key 0 left out and the
 *                               others scaled to sum 1
 *   residual cosine, L2         1 - cos, |x - y| of the layer's hook_resid_post
 *   prediction JS, Hellinger    the next token's probabilities
 *   surprisal, entropy          -log p(t) at t - 1; the entropy of the prediction at t - 1
 *   mutual attention            instead of d_t, the split with the largest mean of A over the pairs
 *                               inside the left and inside the right part
 *
 *   JS = H((p + q)/2) - (H(p) + H(q))/2,  Hellinger^2 = 1 - sum sqrt(p q) */
#include "treebank.h"

#include <stdio.h>
#include <string.h>

enum { ATTENTION_JS, ATTENTION_HELLINGER, RESIDUAL_COSINE, RESIDUAL_L2, MUTUAL, N_OF_LAYER };
enum { PREDICTION_JS, PREDICTION_HELLINGER, SURPRISAL, ENTROPY, N_OF_MODEL };

int32_t treebank_comparisons_count(const treebank_state *s) {
    return s->host->model(s->context)->n_layers * N_OF_LAYER + N_OF_MODEL;
}

int treebank_comparisons_make(treebank_state *s) {
    const uint64_t n = (uint64_t)s->host->model(s->context)->n_layers * TREEBANK_SIMILAR;
    treebank_comparisons *x = &s->comparisons;
    x->similar_ud = s->host->life_alloc(s->context, n * sizeof *x->similar_ud);
    x->similar_need = s->host->life_alloc(s->context, n * sizeof *x->similar_need);
    return x->similar_ud && x->similar_need ? 0 : -1;
}

void treebank_comparisons_name(const treebank_state *s, int32_t i, char *out, size_t size) {
    static const char *const of_layer[] = {
        "attn JS", "attn Hellinger", "resid cosine", "resid L2", "mutual"};
    static const char *const of_model[] = {"pred JS", "pred Hellinger", "surprisal", "entropy"};
    const int32_t layers = s->host->model(s->context)->n_layers;
    if (i < layers * N_OF_LAYER)
        snprintf(out, size, "%s %d", of_layer[i % N_OF_LAYER], (int)(i / N_OF_LAYER));
    else
        snprintf(out, size, "%s", of_model[i - layers * N_OF_LAYER]);
}

int treebank_comparisons_begin(treebank_state *s, int32_t longest) {
    const psc_host *host = s->host;
    const psc_filter all = PSC_FILTER_INIT;
    treebank_comparisons *x = &s->comparisons;
    const uint64_t vocab = (uint64_t)host->model(s->context)->d_vocab, rows = (uint64_t)longest;
    const uint64_t most = (vocab > rows ? vocab : rows) + 1;
    x->pattern = host->retain(s->context, PSC_HOOK_PATTERN, &all);
    x->residual = x->pattern < 0 ? -1 : host->retain(s->context, PSC_HOOK_RESID_POST, &all);
    if (x->residual < 0 || psc_divergence_begin(s->context, host, &x->predictions)) return -1;
    x->distance = host->run_alloc(s->context, (rows + 1) * sizeof *x->distance);
    x->mean = host->run_alloc(s->context, most * sizeof *x->mean);
    x->log = host->run_alloc(s->context, most * sizeof *x->log);
    x->p = host->run_alloc(s->context, most * sizeof *x->p);
    x->q = host->run_alloc(s->context, most * sizeof *x->q);
    x->sum =
        host->run_alloc(s->context, (uint64_t)host->model(s->context)->d_model * sizeof *x->sum);
    return x->sum && x->distance && x->mean && x->log && x->p && x->q ? 0 : -1;
}

int treebank_comparisons_open(treebank_state *s, const treebank_case *c) {
    return psc_divergence_open(&s->comparisons.predictions, c->rows[0].index, c->n_tokens + 1);
}

/* --- distances ------------------------------------------------------------------------------- */

static double entropy(treebank_state *s, int64_t n, const double *p) {
    treebank_comparisons *x = &s->comparisons;
    double sum = 0.0;
    s->host->log(s->context, n, x->log, p);
    for (int64_t i = 0; i < n; i++)
        if (p[i] > 0.0) sum -= p[i] * x->log[i];
    return sum;
}

static double jensen_shannon(treebank_state *s, int64_t n, const double *p, const double *q) {
    treebank_comparisons *x = &s->comparisons;
    for (int64_t i = 0; i < n; i++) x->mean[i] = 0.5 * (p[i] + q[i]);
    return entropy(s, n, x->mean) - 0.5 * (entropy(s, n, p) + entropy(s, n, q));
}

static double hellinger(int64_t n, const double *p, const double *q) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += sqrt(p[i] * q[i]);
    return 1.0 - sum; /* its root has the same order */
}

/* A row's pattern over keys 1..n, scaled to sum 1; 0 past the row itself. */
static void take_pattern(
    const psc_event *e, int64_t row, int64_t head, int32_t position, int32_t n, double *out) {
    const float *a = e->tensor.data + row * e->tensor.stride[0] + head * e->tensor.stride[1];
    double sum = 0.0;
    for (int32_t j = 1; j <= n; j++) sum += out[j - 1] = j <= position ? (double)a[j] : 0.0;
    for (int32_t j = 1; j <= n && sum > 0.0; j++) out[j - 1] /= sum;
}

/* Between the patterns of positions k - 1 and k, mean over heads. */
static double of_patterns(
    treebank_state *s, const treebank_case *c, const psc_event *e, int32_t k, int kind) {
    treebank_comparisons *x = &s->comparisons;
    const int64_t heads = e->tensor.shape[1], row = c->rows[0].index;
    double sum = 0.0;
    for (int64_t h = 0; h < heads; h++) {
        take_pattern(e, row + k - 1, h, k - 1, k, x->p);
        take_pattern(e, row + k, h, k, k, x->q);
        sum += kind == ATTENTION_JS ? jensen_shannon(s, k, x->p, x->q) : hellinger(k, x->p, x->q);
    }
    return sum / (double)heads;
}

static double of_residuals(const treebank_case *c, const psc_event *e, int32_t k, int kind) {
    const float *x = psc_view_row(&e->tensor, c->rows[0].index + k - 1);
    const float *y = psc_view_row(&e->tensor, c->rows[0].index + k);
    const int64_t n = e->tensor.shape[1];
    const double xx = psc_dot_striped(n, x, x), yy = psc_dot_striped(n, y, y);
    const double xy = psc_dot_striped(n, x, y);
    return kind == RESIDUAL_COSINE ? 1.0 - xy / sqrt(xx * yy) : sqrt(xx + yy - 2.0 * xy);
}

static double of_predictions(treebank_state *s, const treebank_case *c, int32_t k, int kind) {
    psc_divergence *d = &s->comparisons.predictions;
    const int64_t n = d->n_vocab;
    const double *before = d->p + (int64_t)(k - 1) * n, *here = before + n;
    if (kind == PREDICTION_JS) return jensen_shannon(s, n, before, here);
    if (kind == PREDICTION_HELLINGER) return hellinger(n, before, here);
    if (kind == ENTROPY) return entropy(s, n, before);
    const float *logits = psc_view_row(&d->logits, c->rows[k - 1].index);
    return d->lse[k - 1] - (double)logits[c->rows[k].token];
}

static int fill_distances(treebank_state *s, const treebank_case *c, int32_t i) {
    treebank_comparisons *x = &s->comparisons;
    const int32_t layers = s->host->model(s->context)->n_layers;
    const int32_t layer = i / N_OF_LAYER, kind = i % N_OF_LAYER;
    psc_event e;
    if (i >= layers * N_OF_LAYER) {
        for (int32_t t = 1; t < c->n_tokens; t++)
            x->distance[t] = of_predictions(s, c, t + 1, i - layers * N_OF_LAYER);
        return 0;
    }
    const int attention = kind == ATTENTION_JS || kind == ATTENTION_HELLINGER;
    if (s->host->fetch(s->context, attention ? x->pattern : x->residual, layer, &e)) return -1;
    for (int32_t t = 1; t < c->n_tokens; t++)
        x->distance[t] =
            attention ? of_patterns(s, c, &e, t + 1, kind) : of_residuals(c, &e, t + 1, kind);
    return 0;
}

/* --- trees ----------------------------------------------------------------------------------- */

/* The mean of A over the pairs inside tokens begin..split and inside split+1..end. */
static double inside(const double *sums, int32_t begin, int32_t split, int32_t end) {
    const int64_t left = split - begin + 1, right = end - split;
    const double *upper = sums + psc_triangle(split + 1), *lower = sums + psc_triangle(end + 1);
    const double sum = (upper[split + 1] - upper[begin]) + (lower[end + 1] - lower[split + 1]);
    return 2.0 * sum / (double)(left * (left - 1) + right * (right - 1));
}

typedef struct split_rule {
    const double *distance; /* before each token, or: */
    const double *sums;     /* of the patterns */
} split_rule;

static int32_t split_at(int32_t begin, int32_t end, void *payload) {
    const split_rule *rule = payload;
    double most = 0.0;
    int32_t best = begin;
    for (int32_t split = begin; split < end && end - begin > 1; split++) {
        const double value =
            rule->sums ? inside(rule->sums, begin, split, end) : rule->distance[split + 1];
        if (split > begin && !(value > most)) continue;
        most = value;
        best = split;
    }
    return best;
}

int32_t treebank_comparisons_spans(
    treebank_state *s, const treebank_case *c, int32_t i, psc_span *out) {
    const int32_t layers = s->host->model(s->context)->n_layers;
    const int mutual = i < layers * N_OF_LAYER && i % N_OF_LAYER == MUTUAL;
    split_rule rule = {s->comparisons.distance, NULL};
    if (mutual) rule.sums = psc_reads_sums(&s->patterns, c->sequence, i / N_OF_LAYER);
    if (!mutual && fill_distances(s, c, i)) return -1;
    if (c->n_tokens < 2) return 0;
    return treebank_project_spans(c, treebank_split(c->n_tokens, split_at, &rule, out), out);
}
