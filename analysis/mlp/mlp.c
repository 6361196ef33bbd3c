/* The plugin `mlp`: gates and neurons.
 *
 *   a_k = LN2(x) . w_in,k + b_k, gate Phi(a) = (1 + erf(a/sqrt 2))/2, g = a Phi(a)
 *   pre, gate, post [L, rows, M]; fires [L, M]: rows with a > 0
 *   participation [L, rows] = (sum_k w)^2 / sum_k w^2, w = |g_k| |P(r_k)|, r_k a column of W_out
 *   what neurons do for a target, and ReLU's error: mlp_shares.c; the feature span: mlp_span.c
 *
 * This file holds the options, the subscriptions and what each event adds. The gate is computed
 * from a, as the forward pass computes it, never from g/a. */
#include "mlp.h"

#include <stddef.h>
#include <string.h>

/* arrays=auto keeps pre, gate and post up to this size. */
#define AUTO_BYTES ((uint64_t)256 << 20)

static const char *const kinds[] = {"auto", "all", "none", NULL};
static const psc_option_description mlp_options[] = {
    {"rows", "all", "rows of gates, firing and participation", PSC_OPTION_ROWS,
        offsetof(mlp_state, rows_choice), 0, 0, NULL},
    {"target_rows", "last", "rows of shares and ReLU's error", PSC_OPTION_ROWS,
        offsetof(mlp_state, target_choice), 0, 0, NULL},
    {"top", "10", "neurons listed per target and row", PSC_OPTION_COUNT, offsetof(mlp_state, top),
        1, 1000, NULL},
    {"arrays", "auto", "keep pre, gate and post; auto: up to 256 MiB", PSC_OPTION_WORD,
        offsetof(mlp_state, arrays), 0, 0, kinds},
    {"centered", "no", "subtract the vocabulary's mean from each target", PSC_OPTION_YES_NO,
        offsetof(mlp_state, centered), 0, 0, NULL},
    {"bins", "32", "over a corpus: bins of the histogram of a, from -8 to 8", PSC_OPTION_COUNT,
        offsetof(mlp_state, bins), 0, 1000, NULL},
    {"span", "0", "detectors of a row's feature span (0: none)", PSC_OPTION_COUNT,
        offsetof(mlp_state, span), 0, MLP_MOST_SPAN, NULL},
    {"span_seed", "1", "seed of the random detectors beside it", PSC_OPTION_COUNT,
        offsetof(mlp_state, span_seed), 0, INT32_MAX, NULL},
    {0},
};

static int mlp_open(psc_context *context, const psc_host *host, void **state) {
    mlp_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_dims = model->d_model;
    s->n_neurons = model->d_mlp;
    s->corpus = host->accumulating(context);
    s->reductions = host->reductions(context);
    if (!s->reductions) return -1;
    if (s->corpus && s->span)
        return host->fail(context, "span=%d: a corpus has no feature span; use analyze", s->span);
    return s->corpus ? mlp_corpus_open(s) : 0;
}

/* --- events ---------------------------------------------------------------------------------- */

typedef struct layer_job {
    mlp_state *s;
    const psc_event *event;
    float *out; /* [event rows, M] of a result, or null */
} layer_job;

/* The place of an event's rows in [L, rows, M]; they are contiguous there. */
static float *place_of(const mlp_state *s, const psc_event *event, float *array) {
    const int64_t row = s->rows.slot[event->rows[0].index];
    return array ? array + (event->layer * (int64_t)s->rows.n + row) * s->n_neurons : NULL;
}

static void copy_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const layer_job *job = payload;
    const int64_t m = job->s->n_neurons;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        memcpy(job->out + i * m, psc_view_row(&job->event->tensor, i), (size_t)m * sizeof(float));
}

static void gate_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const layer_job *job = payload;
    const mlp_state *s = job->s;
    const int64_t m = s->n_neurons;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *a = psc_view_row(&job->event->tensor, i);
        psc_gates(s->context, s->host, m, a, job->out + i * m);
    }
}

static void count_neurons(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const layer_job *job = payload;
    int32_t *fires = job->s->fires + (int64_t)job->event->layer * job->s->n_neurons;
    (void)thread;
    for (int64_t i = 0; i < job->event->n_rows; i++) {
        const float *a = psc_view_row(&job->event->tensor, i);
        for (int64_t k = begin; k < end; k++) fires[k] += a[k] > 0.0f;
    }
}

static int on_pre(const psc_event *event, void *payload) {
    mlp_state *s = payload;
    const psc_host *host = s->host;
    layer_job job = {s, event, place_of(s, event, s->pre)};
    host->parallel_for(s->context, s->n_neurons, count_neurons, &job);
    if (s->pre) host->parallel_for(s->context, event->n_rows, copy_rows, &job);
    job.out = place_of(s, event, s->gate);
    if (s->gate) host->parallel_for(s->context, event->n_rows, gate_rows, &job);
    if (s->span) mlp_span_take(s, event);
    return 0;
}

static void participation_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const layer_job *job = payload;
    const mlp_state *s = job->s;
    const double *norm = s->write_norm + (int64_t)job->event->layer * s->n_neurons;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = s->rows.slot[job->event->rows[i].index];
        const float *g = psc_view_row(&job->event->tensor, i);
        s->participation[job->event->layer * (int64_t)s->rows.n + row] =
            psc_participation(s->reductions, s->n_neurons, norm, g);
    }
}

static int on_post(const psc_event *event, void *payload) {
    mlp_state *s = payload;
    layer_job job = {s, event, place_of(s, event, s->post)};
    s->host->parallel_for(s->context, event->n_rows, participation_rows, &job);
    if (s->post) s->host->parallel_for(s->context, event->n_rows, copy_rows, &job);
    return 0;
}

static int on_write(const psc_event *event, void *payload) {
    mlp_state *s = payload;
    for (int64_t i = 0; i < event->n_rows; i++) {
        const int64_t row = s->target_rows.slot[event->rows[i].index];
        const float *write = psc_view_row(&event->tensor, i);
        if (row < 0) continue;
        s->write2[event->layer * (int64_t)s->target_rows.n + row] =
            psc_dot_striped(s->n_dims, write, write);
    }
    return 0;
}

static int on_scale(const psc_event *event, void *payload) {
    mlp_state *s = payload;
    psc_rows_take(&s->target_rows, event, s->sigma);
    return 0;
}

/* --- the run --------------------------------------------------------------------------------- */

static int neuron_results(mlp_state *s) {
    const psc_host *host = s->host;
    if (psc_count_axis(s->context, host, "layers", 0, s->n_layers) ||
        psc_count_axis(s->context, host, "neurons", 0, s->n_neurons) ||
        psc_rows_axis(s->context, host, "rows", &s->rows) ||
        psc_rows_axis(s->context, host, "target_rows", &s->target_rows))
        return -1;
    static const char *const cube[] = {"layers", "rows", "neurons"};
    static const char *const neurons[] = {"layers", "neurons"};
    const uint64_t bytes =
        3 * sizeof(float) * (uint64_t)s->n_layers * (uint64_t)s->rows.n * (uint64_t)s->n_neurons;
    const int keep =
        s->arrays == MLP_ARRAYS_ALL || (s->arrays == MLP_ARRAYS_AUTO && bytes <= AUTO_BYTES);
    s->pre = keep ? host->array(s->context, "pre", PSC_F32, 3, cube) : NULL;
    s->gate = keep ? host->array(s->context, "gate", PSC_F32, 3, cube) : NULL;
    s->post = keep ? host->array(s->context, "post", PSC_F32, 3, cube) : NULL;
    if (keep && (!s->pre || !s->gate || !s->post)) return -1;
    s->fires = host->array(s->context, "fires", PSC_I32, 2, neurons);
    s->participation = host->array(s->context, "participation", PSC_F64, 2, cube);
    if (!s->fires || !s->participation) return -1;
    memset(s->fires, 0, (size_t)s->n_layers * (size_t)s->n_neurons * sizeof *s->fires);
    return host->value_text(s->context, "arrays_kept", keep ? "all" : "none") ||
           host->value_number(s->context, "rows_counted", s->rows.n);
}

static int norm_writes(mlp_state *s) {
    if (s->write_norm) return 0;
    const uint64_t count = (uint64_t)s->n_layers * (uint64_t)s->n_neurons;
    double *norm = s->host->life_alloc(s->context, count * sizeof *norm);
    if (!norm) return -1;
    for (int32_t l = 0; l < s->n_layers; l++)
        if (s->host->column_norms(s->context, PSC_W_OUT, l, 1, norm + (int64_t)l * s->n_neurons))
            return -1;
    s->write_norm = norm;
    return 0;
}

static int mlp_run_begin(psc_context *context, void *state) {
    mlp_state *s = state;
    const psc_host *host = s->host;
    if (s->corpus) return norm_writes(s) ? -1 : mlp_corpus_begin(s);
    if (psc_rows_resolve(context, host, "rows", &s->rows_choice, 0, &s->rows) ||
        psc_rows_resolve(context, host, "target_rows", &s->target_choice, 1, &s->target_rows) ||
        psc_targets_begin(context, host, &s->target_rows, &s->targets) || neuron_results(s) ||
        norm_writes(s))
        return -1;
    const uint64_t n_rows = (uint64_t)s->target_rows.n;
    s->sigma = host->run_alloc(context, n_rows * sizeof(float));
    s->write2 = host->run_alloc(context, (uint64_t)s->n_layers * n_rows * sizeof(double));
    if (!s->sigma || !s->write2) return -1;
    const psc_filter *rows = &s->rows.filter, *targets = &s->target_rows.filter;
    s->kept_pre = host->retain(context, PSC_HOOK_MLP_PRE, targets);
    s->kept_post = s->kept_pre < 0 ? -1 : host->retain(context, PSC_HOOK_MLP_POST, targets);
    if (s->kept_post < 0 || (s->span && mlp_span_begin(s))) return -1;
    return host->observe(context, PSC_HOOK_MLP_PRE, rows, on_pre, s) ||
           host->observe(context, PSC_HOOK_MLP_POST, rows, on_post, s) ||
           host->observe(context, PSC_HOOK_MLP_OUT, targets, on_write, s) ||
           host->observe(context, PSC_HOOK_LN_FINAL_SCALE, targets, on_scale, s);
}

static int mlp_run_end(psc_context *context, void *state, int status) {
    mlp_state *s = state;
    (void)context;
    if (status) return 0;
    if (s->corpus) return mlp_corpus_end(s);
    return mlp_shares_compute(s) || (s->span && mlp_span_compute(s)) ? -1 : 0;
}

static int mlp_report(psc_context *context, void *state) {
    mlp_state *s = state;
    (void)context;
    return s->corpus ? mlp_corpus_report(s) : mlp_summary(s);
}

const psc_plugin *psc_builtin_mlp(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "mlp",
        .summary = "gates and neurons: pre-activations, gates, which neurons fire, which write "
                   "the target's logit, and the error that ReLU would make",
        .options = mlp_options,
        .corpus = PSC_CORPUS_YES,
        .open = mlp_open,
        .run_begin = mlp_run_begin,
        .run_end = mlp_run_end,
        .report = mlp_report,
        .points = "ln2.hook_scale ln2.hook_normalized mlp.hook_pre mlp.hook_post hook_mlp_out "
                  "ln_final.hook_scale hook_logits",
    };
    return &plugin;
}
