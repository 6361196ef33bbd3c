/* The feature span: how much of a row the detectors that it drives most can hold.
 *
 *   d_k = P(gamma_2 * w_in,k) [N], so that a_k = d_k . P(x)/sigma_2 + constant
 *   feature_span [L, rows] = |Q^T P(x)|^2/|P(x)|^2, Q an orthonormal basis of the d_k of the `span`
 *   largest a_k; feature_span_random: of as many neurons drawn from (span_seed, layer, position)
 *   span_projection [L, rows, span] = d_k . P(x)/|d_k|, the signed length of [x]_d
 *
 * P(x)/sigma_2 is hook_normalized. The basis is made by Gram-Schmidt, each vector orthogonalized
 * twice, in f64. W_in comes from the host's product with the identity, which is exact. */
#include "mlp.h"

#include <math.h>
#include <stdio.h>

/* Rows whose bases are made together. A detector is dependent on the earlier ones if the part
 * outside their span is shorter than this fraction of it. */
enum { BLOCK = 32 };
#define DEPENDENT 1e-10

typedef struct span_work {
    mlp_state *s;
    int64_t layer, begin;     /* the first row of the block */
    float *identity, *inputs; /* [N, N], [N, M] W_in^T */
    double *detectors;        /* [M, N] d_k */
    double *basis;            /* [BLOCK, span, N] */
    const float **normalized; /* [rows] -> [N] */
    const float **scale;      /* [rows] -> sigma_2 */
    const float *gamma;       /* [N] */
} span_work;

/* --- the neurons ----------------------------------------------------------------------------- */

static int64_t place_of(const mlp_state *s, int64_t layer, int64_t row) {
    return layer * s->rows.n + row;
}

typedef struct active_job {
    mlp_state *s;
    const psc_event *event;
} active_job;

static void active_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const active_job *job = payload;
    mlp_state *s = job->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at =
            place_of(s, job->event->layer, s->rows.slot[job->event->rows[i].index]) * s->span;
        psc_top_list list = {s->span_lists + at, s->span, 0};
        psc_top_f32(&list, s->n_neurons, psc_view_row(&job->event->tensor, i), PSC_TOP_LARGEST);
        for (int32_t k = 0; k < list.n; k++) s->span_neuron[at + k] = (int32_t)list.at[k].index;
    }
}

void mlp_span_take(mlp_state *s, const psc_event *event) {
    active_job job = {s, event};
    s->host->parallel_for(s->context, event->n_rows, active_rows, &job);
}

/* One step of splitmix64. */
static uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Distinct neurons. The row's position decides them, so a batch does not. */
static void draw(const mlp_state *s, int64_t layer, int32_t position, int32_t *out) {
    uint64_t state = (uint64_t)s->span_seed;
    state = random_next(&state) ^ (uint64_t)layer;
    state = random_next(&state) ^ (uint64_t)position;
    for (int32_t n = 0; n < s->span;) {
        const int32_t k = (int32_t)(random_next(&state) % (uint64_t)s->n_neurons);
        int32_t same = 0;
        while (same < n && out[same] != k) same++;
        if (same == n) out[n++] = k;
    }
}

/* --- one row --------------------------------------------------------------------------------- */

static double dot(int64_t n, const double *a, const double *b) {
    double lanes[16] = {0};
    for (int64_t i = 0; i < n; i++) lanes[i & 15] += a[i] * b[i];
    return psc_fold16(lanes);
}

/* The share of |x|^2 in the span of the detectors; basis is scratch [span, N]. */
static double span_share(
    const span_work *w, const int32_t *neurons, const float *x, double *basis) {
    const int64_t n = w->s->n_dims;
    double inside = 0.0;
    int32_t count = 0;
    for (int32_t k = 0; k < w->s->span && neurons[k] >= 0; k++) {
        const double *d = w->detectors + neurons[k] * n;
        double *q = basis + count * n;
        for (int64_t i = 0; i < n; i++) q[i] = d[i];
        for (int32_t j = 0; j < 2 * count; j++) {
            const double *other = basis + j % count * n, part = dot(n, q, other);
            for (int64_t i = 0; i < n; i++) q[i] -= part * other[i];
        }
        const double length = sqrt(dot(n, q, q));
        if (!(length > DEPENDENT * sqrt(dot(n, d, d)))) continue;
        for (int64_t i = 0; i < n; i++) q[i] /= length;
        const double along = psc_dot_mixed(n, q, x);
        inside += along * along;
        count++;
    }
    return inside / psc_dot_striped(n, x, x);
}

static void span_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const span_work *w = payload;
    mlp_state *s = w->s;
    const int64_t n = s->n_dims;
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = w->begin + i, at = place_of(s, w->layer, row);
        const float *x = w->normalized[row];
        double *basis = w->basis + i * s->span * n;
        int32_t *drawn = s->span_random_neuron + at * s->span;
        draw(s, w->layer, rows[s->rows.index[row]].position, drawn);
        s->feature_span[at] = span_share(w, s->span_neuron + at * s->span, x, basis);
        s->feature_span_random[at] = span_share(w, drawn, x, basis);
        for (int32_t k = 0; k < s->span && s->span_neuron[at * s->span + k] >= 0; k++) {
            const double *d = w->detectors + s->span_neuron[at * s->span + k] * n;
            s->span_projection[at * s->span + k] =
                (double)*w->scale[row] * psc_dot_mixed(n, d, x) / sqrt(dot(n, d, d));
        }
    }
}

/* --- one layer ------------------------------------------------------------------------------- */

static void make_detectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const span_work *w = payload;
    const int64_t n = w->s->n_dims, m = w->s->n_neurons;
    (void)thread;
    for (int64_t k = begin; k < end; k++) {
        double *d = w->detectors + k * n, sum = 0.0;
        for (int64_t i = 0; i < n; i++)
            sum += d[i] = (double)w->gamma[i] * (double)w->inputs[i * m + k];
        for (int64_t i = 0; i < n; i++) d[i] -= sum / (double)n;
    }
}

static int span_layer(span_work *w) {
    mlp_state *s = w->s;
    const psc_host *host = s->host;
    const int32_t layer = (int32_t)w->layer;
    const float *beta = NULL;
    if (host->ln_parameters(s->context, PSC_LN2, layer, &w->gamma, &beta) ||
        host->apply(s->context, PSC_W_IN, layer, w->inputs, w->identity, s->n_dims) ||
        psc_rows_fetch(s->context, host, &s->rows, s->kept_normalized, layer, w->normalized) ||
        psc_rows_fetch(s->context, host, &s->rows, s->kept_scale, layer, w->scale))
        return -1;
    host->parallel_for(s->context, s->n_neurons, make_detectors, w);
    for (w->begin = 0; w->begin < s->rows.n; w->begin += BLOCK) {
        const int64_t left = s->rows.n - w->begin;
        host->parallel_for(s->context, left < BLOCK ? left : BLOCK, span_rows, w);
    }
    return 0;
}

/* --- the run --------------------------------------------------------------------------------- */

int mlp_span_begin(mlp_state *s) {
    static const char *const axes[] = {"layers", "rows", "span"};
    const psc_host *host = s->host;
    if (s->span > s->n_neurons)
        return host->fail(s->context, "span=%d: a layer has only %d detectors; choose fewer",
            s->span, s->n_neurons);
    const uint64_t cells = (uint64_t)s->n_layers * (uint64_t)s->rows.n * (uint64_t)s->span;
    s->span_lists = host->run_alloc(s->context, cells * sizeof *s->span_lists);
    if (!s->span_lists || psc_count_axis(s->context, host, "span", 1, s->span)) return -1;
    s->feature_span = host->array(s->context, "feature_span", PSC_F64, 2, axes);
    s->feature_span_random = host->array(s->context, "feature_span_random", PSC_F64, 2, axes);
    s->span_neuron = host->array(s->context, "span_neuron", PSC_I32, 3, axes);
    s->span_random_neuron = host->array(s->context, "span_random_neuron", PSC_I32, 3, axes);
    s->span_projection = host->array(s->context, "span_projection", PSC_F64, 3, axes);
    if (!s->feature_span || !s->feature_span_random || !s->span_neuron || !s->span_random_neuron ||
        !s->span_projection)
        return -1;
    s->kept_normalized = host->retain(s->context, PSC_HOOK_LN2_NORMALIZED, &s->rows.filter);
    if (s->kept_normalized < 0) return -1;
    s->kept_scale = host->retain(s->context, PSC_HOOK_LN2_SCALE, &s->rows.filter);
    return s->kept_scale < 0 ? -1 : 0;
}

int mlp_span_compute(mlp_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_dims, m = (uint64_t)s->n_neurons;
    const uint64_t rows = (uint64_t)s->rows.n;
    span_work w = {.s = s};
    w.identity = host->run_alloc(s->context, n * n * sizeof *w.identity);
    w.inputs = host->run_alloc(s->context, n * m * sizeof *w.inputs);
    w.detectors = host->run_alloc(s->context, n * m * sizeof *w.detectors);
    w.basis = host->run_alloc(s->context, BLOCK * (uint64_t)s->span * n * sizeof *w.basis);
    w.normalized = host->run_alloc(s->context, rows * sizeof *w.normalized + 1);
    w.scale = host->run_alloc(s->context, rows * sizeof *w.scale + 1);
    if (!w.identity || !w.inputs || !w.detectors || !w.basis || !w.normalized || !w.scale)
        return -1;
    for (uint64_t i = 0; i < n; i++) w.identity[i * n + i] = 1.0f;
    for (w.layer = 0; w.layer < s->n_layers; w.layer++)
        if (span_layer(&w)) return -1;
    return 0;
}

int mlp_span_summary(mlp_state *s) {
    double most = 0.0, random = 0.0;
    const int64_t n = (int64_t)s->n_layers * s->rows.n;
    char sentence[200];
    for (int64_t l = 0; l < s->n_layers; l++) {
        double sum = 0.0, sum_random = 0.0;
        for (int64_t r = 0; r < s->rows.n; r++) {
            sum += s->feature_span[place_of(s, l, r)];
            sum_random += s->feature_span_random[place_of(s, l, r)];
        }
        most += sum;
        random += sum_random;
        if (s->host->append_number(s->context, "mean_feature_span", sum / s->rows.n) ||
            s->host->append_number(s->context, "mean_feature_span_random", sum_random / s->rows.n))
            return -1;
    }
    snprintf(sentence, sizeof sentence,
        "The %d most active detectors of a row span %.1f %% of its centered residual; %d random "
        "ones span %.1f %%.",
        s->span, 100.0 * most / (double)n, s->span, 100.0 * random / (double)n);
    return s->host->summary_text(s->context, sentence);
}
