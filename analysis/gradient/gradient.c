/* The plugin `gradient`: how a prediction depends on each token's embedding.
 *
 *   g_j = dm/dx_j [N], x_j the embedding of token j, m a logit, a contrast or log p at a row
 *   norm = |g_j|
 *   times_input = g_j . (x_j - x0);  input_gap = m(x) - m(x0) - sum_j times_input
 *   integrated = (x_j - x0) . (integral of g_j over the straight path from x0 to x)
 *
 * The baseline x0 is one vector for all tokens: zero, the vocabulary's mean embedding, or a
 * token's. Sums are striped f64 sums over N, then ascending over tokens. */
#include "gradient.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const metrics[] = {"logit", "log_prob", NULL};
static const char *const baselines[] = {"zero", "mean", "token", NULL};
static const psc_option_description gradient_options[] = {
    {"target_rows", "last", "rows whose prediction is attributed, each alone", PSC_OPTION_ROWS,
        offsetof(gradient_state, choice), 0, 0, NULL},
    {"metric", "logit", "logit or log_prob of each target", PSC_OPTION_WORD,
        offsetof(gradient_state, metric), 0, 0, metrics},
    {"baseline", "zero",
        "what an embedding is compared with; mean: the vocabulary's mean; token: that of `token`",
        PSC_OPTION_WORD, offsetof(gradient_state, baseline), 0, 0, baselines},
    {"token", "0", "the id of baseline=token", PSC_OPTION_COUNT, offsetof(gradient_state, token), 0,
        INT32_MAX, NULL},
    {"error", "0.01", "bound of the integrated gradients' gap, as a part of m(x) - m(baseline)",
        PSC_OPTION_NUMBER, offsetof(gradient_state, error), 0, 1e9, NULL},
    {"steps", "256", "most steps of the path; 0: no integrated gradients", PSC_OPTION_COUNT,
        offsetof(gradient_state, steps), 0, 1 << 20, NULL},
    {"top", "10", "tokens listed per target", PSC_OPTION_COUNT, offsetof(gradient_state, top), 1,
        GRADIENT_MOST, NULL},
    {0},
};

static int gradient_open(psc_context *context, const psc_host *host, void **state) {
    gradient_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n = model->d_model;
    if (s->token != 0 && s->baseline != BASELINE_TOKEN)
        return host->fail(context, "token= is of baseline=token; give that, or leave token= out");
    if (s->steps == 0 && s->error != 0.01)
        return host->fail(context,
            "error= bounds integrated gradients, and steps=0 makes none; leave one of them out");
    if (s->token < model->d_vocab) return 0;
    return host->fail(context, "token=%d does not exist; the model's ids are 0 to %d",
        (int)s->token, (int)model->d_vocab - 1);
}

/* --- the baseline ---------------------------------------------------------------------------- */

/* The mean row of the embedding, in f64 over ascending ids. */
static int find_mean(gradient_state *s) {
    const psc_host *host = s->host;
    const int32_t n_vocab = host->model(s->context)->d_vocab;
    double *sum = host->run_alloc(s->context, (uint64_t)s->n * sizeof *sum);
    float *row = host->run_alloc(s->context, (uint64_t)s->n * sizeof *row);
    float *mean = host->life_alloc(s->context, (uint64_t)s->n * sizeof *mean);
    if (!sum || !row || !mean) return -1;
    for (int32_t t = 0; t < n_vocab; t++) {
        if (host->embedding(s->context, t, row)) return -1;
        for (int64_t i = 0; i < s->n; i++) sum[i] += (double)row[i];
    }
    for (int64_t i = 0; i < s->n; i++) mean[i] = (float)(sum[i] / n_vocab);
    s->mean = mean;
    return 0;
}

static int find_baseline(gradient_state *s) {
    float *x0 = s->host->run_alloc(s->context, (uint64_t)s->n * sizeof *x0);
    s->x0 = x0;
    if (!x0 || (s->baseline == BASELINE_MEAN && !s->mean && find_mean(s))) return -1;
    if (s->baseline == BASELINE_MEAN) s->x0 = s->mean;
    return s->baseline == BASELINE_TOKEN ? s->host->embedding(s->context, s->token, x0) : 0;
}

/* --- the run --------------------------------------------------------------------------------- */

/* The numbers of steps that may be tried, and what the path leaves with each. */
static int make_path_arrays(gradient_state *s) {
    static const char *const axes[] = {"targets", "target_rows", "path_steps"};
    const psc_host *host = s->host;
    int32_t n = s->steps < GRADIENT_FIRST_STEPS ? s->steps : GRADIENT_FIRST_STEPS;
    s->n_doublings = 0;
    s->path_steps[s->n_doublings++] = n;
    for (; n <= s->steps / 2; n *= 2) s->path_steps[s->n_doublings++] = 2 * n;
    if (host->axis_numbers(s->context, "path_steps", s->n_doublings, s->path_steps)) return -1;
    s->steps_taken = host->array(s->context, "steps", PSC_I32, 2, axes);
    s->path_gap = host->array(s->context, "path_gap", PSC_F64, 3, axes);
    return s->steps_taken && s->path_gap ? 0 : -1;
}

static int make_arrays(gradient_state *s) {
    static const char *const axes[] = {"targets", "target_rows", "rows"};
    const psc_host *host = s->host;
    struct {
        double **to;
        const char *name;
        int32_t n_axes;
    } arrays[] = {{&s->norm, "norm", 3}, {&s->times_input, "times_input", 3},
        {&s->integrated, "integrated", 3}, {&s->value, "value", 2}, {&s->base, "baseline_value", 2},
        {&s->input_gap, "input_gap", 2}, {&s->integrated_gap, "integrated_gap", 2}};
    if (psc_targets_results(&s->targets, "target_rows") ||
        psc_count_axis(s->context, host, "rows", 0, s->n_rows))
        return -1;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i].to = NULL;
        if (s->steps == 0 && strncmp(arrays[i].name, "integrated", 10) == 0) continue;
        *arrays[i].to = host->array(s->context, arrays[i].name, PSC_F64, arrays[i].n_axes, axes);
        if (!*arrays[i].to) return -1;
    }
    return s->steps > 0 ? make_path_arrays(s) : 0;
}

static int gradient_run_begin(psc_context *context, void *state) {
    gradient_state *s = state;
    const psc_host *host = s->host;
    s->run_rows = host->rows(context, &s->n_rows);
    if (s->run_rows[s->n_rows - 1].sequence != s->run_rows[0].sequence)
        return host->fail(context, "gradient needs a single sequence; run one sequence at a time");
    if (psc_rows_resolve(context, host, "target_rows", &s->choice, 1, &s->rows) ||
        psc_targets_begin(context, host, &s->rows, &s->targets) ||
        psc_rows_axis(context, host, "target_rows", &s->rows) || make_arrays(s) || find_baseline(s))
        return -1;
    s->embed = host->retain(context, PSC_HOOK_EMBED, NULL);
    return s->embed < 0 ? -1 : host->prepare_gradients(context, s->rows.n, s->rows.index);
}

/* A job for each target and row; with target_rows=last each target has its own last row only. */
static int make_jobs(gradient_state *s) {
    const psc_host *host = s->host;
    const int64_t most = (int64_t)s->targets.n * s->rows.n, rows = s->n_rows;
    s->jobs = host->run_alloc(s->context, (uint64_t)most * sizeof *s->jobs + 1);
    s->metrics = host->run_alloc(s->context, (uint64_t)most * sizeof *s->metrics + 1);
    double *sums = host->run_alloc(s->context, 2 * (uint64_t)(most * rows) * sizeof *sums + 1);
    if (!s->jobs || !s->metrics || !sums) return -1;
    s->n_jobs = 0;
    for (int32_t t = 0; t < s->targets.n; t++)
        for (int32_t r = 0; r < s->rows.n; r++) {
            if (s->targets.ids[2 * ((int64_t)t * s->rows.n + r)] < 0 ||
                (s->choice.rows == PSC_ROWS_LAST && r != psc_target_last(&s->targets, t)))
                continue;
            gradient_job *job = &s->jobs[s->n_jobs];
            job->at = (int64_t)t * s->rows.n + r;
            job->ends = sums + 2 * s->n_jobs * rows;
            job->inside = job->ends + rows;
            psc_target_metric_set(&job->metric, &s->targets, t, r, s->metric, &job->value);
            s->metrics[s->n_jobs++] = job->metric.metric;
        }
    return 0;
}

/* The gradient at the embedding itself. */
static int on_gradient(int32_t variant, const psc_event *event, void *payload) {
    gradient_state *s = payload;
    gradient_job *job = &s->jobs[variant];
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *g = psc_view_row(&event->tensor, r);
        const double along = gradient_along(s, g, r);
        s->norm[job->at * s->n_rows + r] = sqrt(psc_dot_striped(s->n, g, g));
        s->times_input[job->at * s->n_rows + r] = along;
        job->ends[r] = 0.5 * along;
    }
    return 0;
}

static int gradient_run_end(psc_context *context, void *state, int status) {
    static const int32_t points[] = {PSC_HOOK_EMBED};
    gradient_state *s = state;
    psc_event kept;
    if (status) return 0;
    if (psc_targets_required(&s->targets) || s->host->fetch(context, s->embed, -1, &kept) ||
        make_jobs(s))
        return -1;
    s->x = kept.tensor.data;
    if (s->host->gradients(context, s->n_jobs, NULL, s->metrics, 1, points, on_gradient, s) ||
        gradient_integrate(s))
        return -1;
    for (int32_t j = 0; j < s->n_jobs; j++) {
        const gradient_job *job = &s->jobs[j];
        double sum = 0.0;
        for (int32_t r = 0; r < s->n_rows; r++) sum += s->times_input[job->at * s->n_rows + r];
        s->value[job->at] = job->value;
        s->base[job->at] = job->base;
        s->input_gap[job->at] = job->value - job->base - sum;
    }
    return 0;
}

static int gradient_reports(psc_context *context, void *state) {
    (void)context;
    return gradient_report(state);
}

const psc_plugin *psc_builtin_gradient(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "gradient",
        .summary = "how a prediction depends on each token: gradients, gradient times input and "
                   "integrated gradients, with what they leave unexplained",
        .options = gradient_options,
        .corpus = PSC_CORPUS_NO,
        .open = gradient_open,
        .run_begin = gradient_run_begin,
        .run_end = gradient_run_end,
        .report = gradient_reports,
        .points = "hook_embed hook_logits",
    };
    return &plugin;
}
