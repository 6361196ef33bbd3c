/* `mlp` over documents, for every neuron:
 *
 *   moments of a (pre) and of g = a Phi(a) (post)
 *   fires: rows with a > 0; dead: none; silent: max |g| < 0.01
 *   histogram of a: `bins` equal bins from -8 to 8, the first and the last unbounded
 *   histogram of the gate: ten equal bins, with edges where the gate of a is j/10
 *
 * and for every layer the moments, over rows, of the participation ratio and of the fraction of
 * neurons that fire. Each neuron has one thread and its rows in order, so a sequence's sums depend
 * on neither threads nor chunks. Counts are integers by kernels; the gate's bins come from how
 * often a is above each edge. */
#include "mlp.h"

#include <math.h>
#include <stdio.h>

enum { GATE_BINS = 10, BOUNDS = GATE_BINS }; /* bounds: the gate's inner edges, then 0 */
#define EDGE 8.0                             /* of the histogram of a */
/* Rows and neurons that pass through the statistics at once, so that they are in cache. */
enum { BLOCK_ROWS = 16, BLOCK = 256 };

/* Where the gates of both forms are j/10, j = 1..9. In f64, because four of Phi^-1's would be
 * smaller after rounding to f32. */
static const double gate_edges[][GATE_BINS - 1] = {
    [PSC_GELU_ERF] = {-1.2815515655446004, -0.8416212335729142, -0.5244005127080408,
        -0.2533471031357998, 0.0, 0.2533471031357998, 0.5244005127080408, 0.8416212335729142,
        1.2815515655446004},
    [PSC_GELU_TANH] = {-1.2825668734587856, -0.84203528854559678, -0.52451279047035442,
        -0.25336035044040974, 0.0, 0.25336035044040974, 0.52451279047035442, 0.84203528854559678,
        1.2825668734587856},
};

/* The largest float below an edge: a float reaches the edge if it is above that. */
static float below(double edge) {
    const float near = (float)edge;
    return (double)near < edge ? near : nextafterf(near, -INFINITY);
}

/* --- events ---------------------------------------------------------------------------------- */

typedef struct neuron_job {
    mlp_state *s;
    const psc_event *event;
    psc_moments *moments;
    int counts; /* count fires and bins too */
} neuron_job;

/* Whether a chosen row is the last one of its sequence and population. */
static int ends_place(const mlp_state *s, int32_t row) {
    const int32_t next = s->rows.slot[row] + 1;
    return next == s->rows.n || s->sequences.place[s->rows.index[next]] != s->sequences.place[row];
}

/* Rows first..last-1 of the event, of one population, of neurons k..k+n-1. */
static void take_block(const neuron_job *job, int64_t first, int64_t last, int64_t k, int64_t n) {
    const mlp_state *s = job->s;
    const psc_event *event = job->event;
    const size_t rows = (size_t)(last - first), stride = (size_t)event->tensor.stride[0];
    const int64_t at = event->layer * (int64_t)s->n_neurons + k;
    const float *a = psc_view_row(&event->tensor, first) + k;
    const int32_t place = s->sequences.place[event->rows[first].index];
    psc_moments_add_rows(job->moments, place, 0, at, n, a, event->tensor.stride[0], last - first);
    if (ends_place(s, event->rows[last - 1].index))
        psc_moments_close(job->moments, place, 0, at, n);
    if (!job->counts) return;
    s->reductions->count_columns(s->above + event->layer * (int64_t)s->n_neurons * BOUNDS + k,
        (size_t)s->n_neurons, a, stride, rows, (size_t)n, s->bounds, BOUNDS);
    if (s->bins > 0)
        s->reductions->bin_columns(s->pre_counts + at * s->bins, a, stride, rows, (size_t)n,
            (float)(s->bins / (2.0 * EDGE)), 0.5f * (float)s->bins, (size_t)s->bins);
}

/* Whether row i of the event was chosen and adds to the same population as row `first`. */
static int continues(const neuron_job *job, int64_t first, int64_t i) {
    const mlp_state *s = job->s;
    const psc_row *rows = job->event->rows;
    return s->rows.slot[rows[i].index] >= 0 &&
           s->sequences.place[rows[i].index] == s->sequences.place[rows[first].index];
}

static void take_neurons(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const neuron_job *job = payload;
    const int64_t n_rows = job->event->n_rows;
    (void)thread;
    for (int64_t k = begin; k < end; k += BLOCK)
        for (int64_t first = 0, last; first < n_rows; first = last) {
            last = first + 1;
            if (!continues(job, first, first)) continue;
            while (last < n_rows && last - first < BLOCK_ROWS && continues(job, first, last))
                last++;
            take_block(job, first, last, k, end - k < BLOCK ? end - k : BLOCK);
        }
}

static double *row_values(const mlp_state *s, const psc_event *event, int64_t i) {
    return s->row_values + (event->rows[i].index * (int64_t)s->n_layers + event->layer) * 2;
}

static void firing_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const neuron_job *job = payload;
    const mlp_state *s = job->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t counts[2];
        s->reductions->count_from(
            counts, psc_view_row(&job->event->tensor, i), (size_t)s->n_neurons, 0.0f);
        row_values(s, job->event, i)[0] = (double)counts[0] / s->n_neurons;
    }
}

static int on_pre(const psc_event *event, void *payload) {
    mlp_state *s = payload;
    neuron_job job = {s, event, &s->pre_moments, 1};
    s->host->parallel_for(s->context, s->n_neurons, take_neurons, &job);
    s->host->parallel_for(s->context, event->n_rows, firing_rows, &job);
    return 0;
}

static void participation_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const neuron_job *job = payload;
    const mlp_state *s = job->s;
    const double *norm = s->write_norm + (int64_t)job->event->layer * s->n_neurons;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        row_values(s, job->event, i)[1] = psc_participation(
            s->reductions, s->n_neurons, norm, psc_view_row(&job->event->tensor, i));
}

static int on_post(const psc_event *event, void *payload) {
    mlp_state *s = payload;
    neuron_job job = {s, event, &s->post_moments, 0};
    s->host->parallel_for(s->context, s->n_neurons, take_neurons, &job);
    s->host->parallel_for(s->context, event->n_rows, participation_rows, &job);
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int64_t all_neurons(const mlp_state *s) {
    return (int64_t)s->n_layers * s->n_neurons;
}

int mlp_corpus_open(mlp_state *s) {
    const psc_host *host = s->host;
    const int64_t n = all_neurons(s);
    if (psc_moments_open(&s->pre_moments, s->context, host, "pre", 1, n) ||
        psc_moments_open(&s->post_moments, s->context, host, "post", 1, n) ||
        psc_moments_open(&s->row_moments, s->context, host, "rows", 1, 2 * (int64_t)s->n_layers))
        return -1;
    s->fires_handle = host->accumulator(s->context, "fires", PSC_ACCUMULATE_COUNT, n, 0);
    s->gate_handle =
        host->accumulator(s->context, "gate_counts", PSC_ACCUMULATE_COUNT, n * GATE_BINS, 0);
    s->pre_handle =
        host->accumulator(s->context, "pre_counts", PSC_ACCUMULATE_COUNT, n * s->bins, 0);
    return s->fires_handle < 0 || s->gate_handle < 0 || s->pre_handle < 0 ? -1 : 0;
}

int mlp_corpus_begin(mlp_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)all_neurons(s);
    int32_t n_rows = 0;
    host->rows(s->context, &n_rows);
    if (psc_rows_resolve(s->context, host, "rows", &s->rows_choice, 0, &s->rows) ||
        psc_sequences_find(s->context, host, &s->sequences) || psc_moments_begin(&s->pre_moments) ||
        psc_moments_begin(&s->post_moments) || psc_moments_begin(&s->row_moments))
        return -1;
    const uint64_t most = s->bins > GATE_BINS ? (uint64_t)s->bins : GATE_BINS;
    s->above = host->run_alloc(s->context, n * BOUNDS * sizeof *s->above);
    s->pre_counts = host->run_alloc(s->context, n * (uint64_t)s->bins * sizeof *s->pre_counts + 1);
    s->partial = host->run_alloc(s->context, (uint64_t)s->n_neurons * most * sizeof(double));
    s->row_values = host->run_alloc(
        s->context, (uint64_t)n_rows * (uint64_t)s->n_layers * 2 * sizeof(double) + 1);
    if (!s->above || !s->pre_counts || !s->partial || !s->row_values) return -1;
    const double *edges = gate_edges[host->model(s->context)->gelu];
    for (int i = 0; i < GATE_BINS - 1; i++) s->bounds[i] = below(edges[i]);
    s->bounds[BOUNDS - 1] = 0.0f;
    const psc_filter *rows = &s->rows.filter;
    return host->observe(s->context, PSC_HOOK_MLP_PRE, rows, on_pre, s) ||
           host->observe(s->context, PSC_HOOK_MLP_POST, rows, on_post, s);
}

/* Adds one layer's counts: a neuron fires above the last bound; a gate is in bin j if it reaches
 * edge j but not j + 1. */
static int add_counts(mlp_state *s, int64_t layer) {
    const psc_host *host = s->host;
    const int64_t m = s->n_neurons, first = layer * m;
    const int32_t *above = s->above + first * BOUNDS, *pre = s->pre_counts + first * s->bins;
    double *out = s->partial;
    for (int64_t k = 0; k < m; k++) out[k] = (double)above[(BOUNDS - 1) * m + k];
    if (host->accumulate(s->context, s->fires_handle, first, m, out)) return -1;
    for (int64_t k = 0; k < m; k++)
        for (int j = 0; j < GATE_BINS; j++) {
            const int32_t reached = j > 0 ? above[(j - 1) * m + k] : s->rows.n;
            const int32_t passed = j + 1 < GATE_BINS ? above[j * m + k] : 0;
            out[k * GATE_BINS + j] = (double)(reached - passed);
        }
    if (host->accumulate(s->context, s->gate_handle, first * GATE_BINS, m * GATE_BINS, out))
        return -1;
    for (int64_t i = 0; i < m * s->bins; i++) out[i] = (double)pre[i];
    return host->accumulate(s->context, s->pre_handle, first * s->bins, m * s->bins, out);
}

int mlp_corpus_end(mlp_state *s) {
    const int64_t values = 2 * (int64_t)s->n_layers;
    for (int32_t i = 0; i < s->rows.n; i++) {
        const int64_t row = s->rows.index[i];
        const int32_t place = s->sequences.place[row];
        psc_moments_count(&s->pre_moments, place, 0);
        psc_moments_count(&s->post_moments, place, 0);
        psc_moments_count(&s->row_moments, place, 0);
        psc_moments_add_f64(&s->row_moments, place, 0, 0, values, s->row_values + row * values);
        if (ends_place(s, (int32_t)row)) psc_moments_close(&s->row_moments, place, 0, 0, values);
    }
    for (int64_t l = 0; l < s->n_layers; l++)
        if (add_counts(s, l)) return -1;
    return psc_moments_end(&s->pre_moments) || psc_moments_end(&s->post_moments) ||
           psc_moments_end(&s->row_moments);
}

/* --- the report ------------------------------------------------------------------------------ */

static int number_axis(mlp_state *s, const char *name, int32_t n) {
    return psc_count_axis(s->context, s->host, name, 0, n);
}

/* Lower edges of the histograms' bins; the first bin has none (its -inf is written as null). */
static int edges(mlp_state *s) {
    int status = 0;
    for (int32_t i = 0; !status && i < s->bins; i++)
        status = s->host->append_number(
            s->context, "pre_bin_from", i ? -EDGE + 2.0 * EDGE * i / s->bins : (double)NAN);
    for (int32_t i = 0; !status && i < GATE_BINS; i++)
        status = s->host->append_number(s->context, "gate_bin_from", i / (double)GATE_BINS);
    return status;
}

/* An accumulator of counts as an array [layers, neurons(, axis)]. */
static double *count_array(
    mlp_state *s, const char *name, int handle, int64_t n, const char *axis) {
    const char *const axes[] = {"layers", "neurons", axis};
    double *out = s->host->array(s->context, name, PSC_F64, axis ? 3 : 2, axes);
    return out && !s->host->accumulated(s->context, handle, 0, n, out) ? out : NULL;
}

typedef struct verdict {
    double tokens;
    int64_t dead, silent;
} verdict;

/* dead and silent [layers, neurons]: 1 for a neuron that is so over all rows, else 0. */
static int judge(mlp_state *s, const double *fires, verdict *v) {
    static const char *const axes[] = {"layers", "neurons"};
    const int64_t n = all_neurons(s);
    double *table = s->host->run_alloc(s->context, 4 * (uint64_t)n * sizeof *table);
    int32_t *dead = s->host->array(s->context, "dead", PSC_I32, 2, axes);
    int32_t *silent = s->host->array(s->context, "silent", PSC_I32, 2, axes);
    if (!table || !dead || !silent ||
        s->host->accumulated(s->context, s->post_moments.low, 0, 2 * n, table) ||
        s->host->accumulated(s->context, s->post_moments.high, 0, 2 * n, table + 2 * n))
        return -1;
    for (int64_t l = 0, i = 0; l < s->n_layers; l++) {
        int64_t layer_dead = 0, layer_silent = 0;
        for (int64_t k = 0; k < s->n_neurons; k++, i++) {
            const double low = fmin(table[i], table[n + i]);
            const double high = fmax(table[2 * n + i], table[3 * n + i]);
            dead[i] = fires[i] == 0.0;
            silent[i] = fmax(high, -low) < 0.01;
            layer_dead += dead[i];
            layer_silent += silent[i];
        }
        v->dead += layer_dead;
        v->silent += layer_silent;
        if (s->host->append_number(s->context, "dead_neurons", (double)layer_dead) ||
            s->host->append_number(s->context, "silent_neurons", (double)layer_silent))
            return -1;
    }
    return 0;
}

static int corpus_summary(mlp_state *s, const verdict *v, const double *fires) {
    enum { MOST = 12 };
    const int32_t n = s->n_layers < MOST ? s->n_layers : MOST;
    char names[MOST][32], sentence[240];
    const char *labels[MOST];
    double rates[MOST], sum = 0.0;
    for (int64_t i = 0; i < all_neurons(s); i++) sum += fires[i];
    for (int32_t i = 0; i < n; i++) {
        const int64_t l = n > 1 ? (int64_t)i * (s->n_layers - 1) / (n - 1) : 0;
        double layer = 0.0;
        for (int64_t k = 0; k < s->n_neurons; k++) layer += fires[l * s->n_neurons + k];
        snprintf(names[i], sizeof names[i], "layer %lld", (long long)l);
        labels[i] = names[i];
        rates[i] = 100.0 * layer / (v->tokens * s->n_neurons);
    }
    const double neurons = (double)all_neurons(s);
    snprintf(sentence, sizeof sentence,
        "On average a neuron fires (a > 0) at %.1f %% of %s. Of %s neurons, %s are "
        "dead (they never fired in %s) and %s are silent (|g| never reached 0.01).",
        100.0 * sum / (v->tokens * neurons), PSC_MANY(v->tokens, "token"), PSC_COMMAS(neurons),
        PSC_COMMAS(v->dead), PSC_MANY(v->tokens, "token"), PSC_COMMAS(v->silent));
    return s->host->summary_text(s->context, sentence) ||
           s->host->summary_bars(s->context, "neurons that fire", "%", n, labels, rates);
}

int mlp_corpus_report(mlp_state *s) {
    static const char *const neurons[] = {"layers", "neurons"};
    static const char *const rows[] = {"layers", "row_quantities"};
    static const char *const quantities[] = {"firing_fraction", "participation"};
    const int64_t n = all_neurons(s);
    verdict v = {0};
    if (psc_moments_total(&s->pre_moments, 0, &v.tokens) ||
        psc_populations_axis(s->context, s->host) || number_axis(s, "layers", s->n_layers) ||
        number_axis(s, "neurons", s->n_neurons) || number_axis(s, "gate_bins", GATE_BINS) ||
        number_axis(s, "pre_bins", s->bins) || edges(s) ||
        s->host->axis_labels(s->context, "row_quantities", 2, quantities) ||
        s->host->value_number(s->context, "tokens", v.tokens) ||
        psc_moments_counts(&s->pre_moments, "rows_counted", 0, NULL) ||
        psc_moments_report(&s->pre_moments, "pre", 0, n, 2, neurons) ||
        psc_moments_report(&s->post_moments, "post", 0, n, 2, neurons) ||
        psc_moments_report(&s->row_moments, "row", 0, 2 * (int64_t)s->n_layers, 2, rows))
        return -1;
    const double *fires = count_array(s, "fires", s->fires_handle, n, NULL);
    if (!fires || !count_array(s, "gate_histogram", s->gate_handle, n * GATE_BINS, "gate_bins"))
        return -1;
    if (s->bins > 0 && !count_array(s, "pre_histogram", s->pre_handle, n * s->bins, "pre_bins"))
        return -1;
    if (judge(s, fires, &v)) return -1;
    if (v.tokens > 0) return corpus_summary(s, &v, fires);
    return s->host->summary_text(s->context, "The corpus has no rows.");
}
