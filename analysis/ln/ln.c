/* The plugin `ln`: the LayerNorm denominators.
 *
 *   P(x) = x - mean(x), sigma = sqrt(|P(x)|^2/N + eps)
 *   at every site: mean, |P(x)|, sigma [sites, rows]
 *   G_ab = P(x_a) . P(x_b) over the writers embed, attn(l), mlp(l): ln_coupling.c
 *   the effect of removing a component on the target: ln_effects.c
 *
 * This file holds the options, what is observed, and the results' axes. Means and norms are f64,
 * summed in the kit's fixed order, over the f32 residual that the forward pass normalized. */
#include "ln.h"

#include <math.h>
#include <stddef.h>

static const psc_option_description ln_options[] = {
    {"rows", "all", "rows of the site statistics", PSC_OPTION_ROWS, offsetof(ln_state, rows_choice),
        0, 0, NULL},
    {"target_rows", "last", "rows of coupling, shares and effects", PSC_OPTION_ROWS,
        offsetof(ln_state, target_choice), 0, 0, NULL},
    {"centered", "no", "targets minus the vocabulary's mean", PSC_OPTION_YES_NO,
        offsetof(ln_state, centered), 0, 0, NULL},
    {0},
};

static int ln_open(psc_context *context, const psc_host *host, void **state) {
    ln_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_heads = model->n_heads;
    s->n_dims = model->d_model;
    s->d_head = model->d_head;
    s->n_sites = 2 * s->n_layers + 1;
    s->eps = model->layer_norm_eps;
    s->corpus = host->accumulating(context);
    return s->corpus ? ln_corpus_open(s) : 0;
}

/* --- what is observed ------------------------------------------------------------------------ */

typedef struct site_job {
    ln_state *s;
    const psc_event *event;
    int32_t site, twice; /* twice: the next site reads the same residual */
} site_job;

static void site_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const site_job *job = payload;
    const ln_state *s = job->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int32_t index = job->event->rows[i].index;
        const int32_t row = s->rows.slot[index], target = s->target_rows.slot[index];
        if (row < 0 && target < 0) continue;
        const float *x = psc_view_row(&job->event->tensor, i);
        const double mean = psc_sum_striped(s->n_dims, x) / s->n_dims;
        const double norm2 = psc_dot_centered(s->n_dims, x, mean, x, mean);
        for (int64_t site = job->site; site <= job->site + job->twice; site++) {
            if (row >= 0) s->mean[site * s->rows.n + row] = mean;
            if (row >= 0) s->norm[site * s->rows.n + row] = sqrt(norm2);
            if (target >= 0) s->norm2[site * s->target_rows.n + target] = norm2;
        }
    }
}

static int on_residual(const psc_event *event, void *payload) {
    ln_state *s = payload;
    const int parallel = s->host->model(s->context)->parallel_residual;
    site_job job = {s, event, 2 * event->layer, 0};
    if (event->point == PSC_HOOK_RESID_PRE) job.twice = parallel != 0;
    if (event->point == PSC_HOOK_RESID_MID) job.site++;
    if (event->point == PSC_HOOK_RESID_POST) job.site += 2;
    s->host->parallel_for(s->context, event->n_rows, site_rows, &job);
    return 0;
}

static int on_scale(const psc_event *event, void *payload) {
    ln_state *s = payload;
    int64_t site = s->n_sites - 1;
    if (event->point == PSC_HOOK_LN1_SCALE) site = 2 * event->layer;
    if (event->point == PSC_HOOK_LN2_SCALE) site = 2 * event->layer + 1;
    psc_rows_take(&s->rows, event, s->scale + site * s->rows.n);
    return 0;
}

/* table[row] += after - before, for event rows of [parts, N]; the first edit allocates table. */
static int add_edit(ln_state *s, const psc_event *event, int64_t parts, float **table) {
    const int64_t n = s->n_dims;
    if (!*table) {
        const uint64_t bytes = (uint64_t)s->target_rows.n * (uint64_t)n * sizeof(float);
        *table = s->host->run_alloc(s->context, bytes);
        if (!*table) return -1;
    }
    for (int64_t i = 0; i < event->n_rows; i++) {
        const int32_t row = s->target_rows.slot[event->rows[i].index];
        for (int64_t part = 0; row >= 0 && part < parts; part++) {
            const float *after = psc_view_row(&event->tensor, i) + part * event->tensor.stride[1];
            const float *before = psc_view_row(&event->before, i) + part * event->before.stride[1];
            float *sum = *table + row * n;
            for (int64_t d = 0; d < n; d++) sum[d] += after[d] - before[d];
        }
    }
    return 0;
}

static int on_residual_edit(const psc_event *event, void *payload) {
    ln_state *s = payload;
    const int32_t at = event->point == PSC_HOOK_RESID_PRE   ? 0
                       : event->point == PSC_HOOK_RESID_MID ? 1
                                                            : 2;
    return add_edit(s, event, 1, &s->edits[3 * event->layer + at]);
}

static int on_attention_edit(const psc_event *event, void *payload) {
    ln_state *s = payload;
    return add_edit(s, event, 1, &s->ov_edit);
}

static void result_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const site_job *job = payload;
    const ln_state *s = job->s;
    const psc_event *event = job->event;
    const psc_view *view = event->before.data ? &event->before : &event->tensor;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = s->target_rows.slot[event->rows[i].index];
        for (int32_t h = 0; row >= 0 && h < s->n_heads; h++) {
            const float *c = psc_view_row(view, i) + h * view->stride[1];
            const double mean = psc_sum_striped(s->n_dims, c) / s->n_dims;
            s->head_norm2[(row * s->n_layers + event->layer) * s->n_heads + h] =
                psc_dot_centered(s->n_dims, c, mean, c, mean);
        }
    }
}

/* A head's write before edits is W_O,h z. Its norm is taken here, all else by the adjoint. */
static int on_result(const psc_event *event, void *payload) {
    ln_state *s = payload;
    site_job job = {s, event, 0, 0};
    s->host->parallel_for(s->context, event->n_rows, result_rows, &job);
    return event->before.data ? add_edit(s, event, s->n_heads, &s->ov_edit) : 0;
}

static int observe_sites(ln_state *s) {
    const psc_host *host = s->host;
    /* One subscription serves both choices of rows; rows that neither chose are skipped. */
    const psc_filter all = PSC_FILTER_INIT;
    const int same =
        s->rows.filter.rows == PSC_ROWS_LAST && s->target_rows.filter.rows == PSC_ROWS_LAST;
    const psc_filter filter = same ? s->rows.filter : all;
    const int32_t last = s->n_layers - 1;
    psc_filter final = filter;
    final.layers = &last;
    final.n_layers = 1;
    if (host->observe(s->context, PSC_HOOK_RESID_PRE, &filter, on_residual, s)) return -1;
    if (!host->model(s->context)->parallel_residual &&
        host->observe(s->context, PSC_HOOK_RESID_MID, &filter, on_residual, s))
        return -1;
    if (host->observe(s->context, PSC_HOOK_RESID_POST, &final, on_residual, s)) return -1;
    const psc_point scales[] = {PSC_HOOK_LN1_SCALE, PSC_HOOK_LN2_SCALE, PSC_HOOK_LN_FINAL_SCALE};
    for (int i = 0; i < 3; i++)
        if (host->observe(s->context, scales[i], &s->rows.filter, on_scale, s)) return -1;
    return 0;
}

static int observe_writers(ln_state *s) {
    const psc_host *host = s->host;
    const psc_filter *rows = &s->target_rows.filter;
    const int32_t last = s->n_layers - 1;
    psc_filter final = *rows, edited = *rows;
    final.layers = &last;
    final.n_layers = 1;
    edited.edited_only = 1;
    const int sequential = !host->model(s->context)->parallel_residual;
    const psc_point points[LN_KEPT_COUNT] = {
        PSC_HOOK_EMBED, PSC_HOOK_ATTN_OUT, PSC_HOOK_MLP_OUT, PSC_HOOK_Z, PSC_HOOK_RESID_POST};
    for (int i = 0; i < LN_KEPT_COUNT; i++) {
        s->kept[i] = host->retain(s->context, points[i], i == LN_KEPT_RESID ? &final : rows);
        if (s->kept[i] < 0) return -1;
    }
    if (host->observe(s->context, PSC_HOOK_RESULT, rows, on_result, s) ||
        host->observe(s->context, PSC_HOOK_ATTN_OUT, &edited, on_attention_edit, s) ||
        host->observe(s->context, PSC_HOOK_RESID_PRE, &edited, on_residual_edit, s) ||
        host->observe(s->context, PSC_HOOK_RESID_POST, &edited, on_residual_edit, s))
        return -1;
    return sequential ? host->observe(s->context, PSC_HOOK_RESID_MID, &edited, on_residual_edit, s)
                      : 0;
}

static int site_results(ln_state *s) {
    const psc_host *host = s->host;
    char(*names)[24] = host->run_alloc(s->context, (uint64_t)s->n_sites * sizeof *names);
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_sites * sizeof *labels);
    if (!names || !labels) return -1;
    for (int32_t i = 0; i < s->n_sites; i++) {
        ln_site_label(s, i, names[i]);
        labels[i] = names[i];
    }
    static const char *const axes[] = {"sites", "rows"};
    if (host->axis_labels(s->context, "sites", s->n_sites, labels) ||
        psc_rows_axis(s->context, host, "rows", &s->rows) ||
        psc_rows_axis(s->context, host, "target_rows", &s->target_rows))
        return -1;
    s->mean = host->array(s->context, "mean", PSC_F64, 2, axes);
    s->norm = host->array(s->context, "norm", PSC_F64, 2, axes);
    s->scale = host->array(s->context, "scale", PSC_F32, 2, axes);
    return s->mean && s->norm && s->scale ? 0 : -1;
}

static int ln_run_begin(psc_context *context, void *state) {
    ln_state *s = state;
    const psc_host *host = s->host;
    if (s->corpus) return ln_corpus_begin(s);
    if (psc_rows_resolve(context, host, "rows", &s->rows_choice, 0, &s->rows) ||
        psc_rows_resolve(context, host, "target_rows", &s->target_choice, 1, &s->target_rows) ||
        psc_targets_begin(context, host, &s->target_rows, &s->targets) || site_results(s))
        return -1;
    const uint64_t n_rows = (uint64_t)s->target_rows.n, n_layers = (uint64_t)s->n_layers;
    s->norm2 = host->run_alloc(context, (uint64_t)s->n_sites * n_rows * sizeof(double));
    s->head_norm2 =
        host->run_alloc(context, n_rows * n_layers * (uint64_t)s->n_heads * sizeof(double));
    s->edits = host->run_alloc(context, 3 * n_layers * sizeof *s->edits);
    s->ov_edit = NULL;
    if (!s->norm2 || !s->head_norm2 || !s->edits) return -1;
    return observe_sites(s) || observe_writers(s) ? -1 : 0;
}

static int ln_run_end(psc_context *context, void *state, int status) {
    ln_state *s = state;
    if (status) return 0;
    if (s->corpus) return ln_corpus_end(s);
    if (ln_coupling_compute(s)) return -1;
    s->host->progress(context, 0.5);
    return ln_effects_compute(s);
}

static int ln_report(psc_context *context, void *state) {
    ln_state *s = state;
    (void)context;
    return s->corpus ? ln_corpus_report(s) : ln_summary(s);
}

const psc_plugin *psc_builtin_ln(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "ln",
        .summary = "LayerNorm denominators: mean, norm and scale at every site, the writes that "
                   "make them, and the effect of removing a component",
        .options = ln_options,
        .corpus = PSC_CORPUS_YES,
        .open = ln_open,
        .run_begin = ln_run_begin,
        .run_end = ln_run_end,
        .report = ln_report,
        .points = "hook_resid_pre hook_resid_mid hook_resid_post ln1.hook_scale ln2.hook_scale "
                  "ln_final.hook_scale hook_embed hook_attn_out hook_mlp_out attn.hook_z "
                  "attn.hook_result hook_logits",
    };
    return &plugin;
}
