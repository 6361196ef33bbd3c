/* The plugin `attribution`: the effect of changing each place of the model, estimated for all of
 * them by one gradient, with the exact effect of some beside it.
 *
 *   estimate = sum over the place's values of (v' - v) dm/dv, the gradient of the unchanged run
 *   v' = 0, the mean over the text's rows or of a file, or the value in the source run at the same
 *        row
 *   m = a target's logit, contrast or log p at its own last row, or the divergence from the source
 *       prompt's prediction (attribution_metric.c)
 *
 * A head is changed at hook_z, a neuron at mlp.hook_post, an edge at hook_pattern. */
#include "attribution.h"

#include <stddef.h>

static const char *const over[] = {
    "heads", "heads_by_pos", "neurons", "resid_pre", "attn_out", "mlp_out", "edges", NULL};
static const char *const what[] = {"zero", "mean", "patch", "set_mean", NULL};
static const char *const metrics[] = {"logit", "log_prob", "kl", NULL};
static const psc_option_description attribution_options[] = {
    {"over", "heads", "places whose effect is estimated", PSC_OPTION_WORD,
        offsetof(attribution_state, over), 0, 0, over},
    {"do", "zero",
        "the change; mean: the mean over the text; patch: the value on the source prompt; "
        "set_mean: the mean over all source prompts of a set of pairs",
        PSC_OPTION_WORD, offsetof(attribution_state, what), 0, 0, what},
    {"means", "",
        "of do=mean: a file of means over a corpus (plugin means), in place of the text's own",
        PSC_OPTION_TEXT, offsetof(attribution_state, means), 0, 0, NULL},
    {"metric", "logit", "logit or log_prob of each target; kl (source || this)", PSC_OPTION_WORD,
        offsetof(attribution_state, metric), 0, 0, metrics},
    {"exact", "20", "places of the largest estimates whose exact effect is computed",
        PSC_OPTION_COUNT, offsetof(attribution_state, exact), 0, ATTRIBUTION_MOST, NULL},
    {"sample", "60", "random places whose exact effect is computed", PSC_OPTION_COUNT,
        offsetof(attribution_state, sample), 0, 10000, NULL},
    {"seed", "1", "of the random places", PSC_OPTION_COUNT, offsetof(attribution_state, seed), 0,
        INT32_MAX, NULL},
    {"top", "10", "estimates listed per target", PSC_OPTION_COUNT, offsetof(attribution_state, top),
        1, ATTRIBUTION_MOST, NULL},
    {0},
};

/* Which tensor of the file of means has a row of the changed one. */
static int read_means(attribution_state *s) {
    static const char *const points[] = {"attn.hook_z", "attn.hook_z", "mlp.hook_post",
        "hook_resid_pre", "hook_attn_out", "hook_mlp_out"};
    if (!*s->means) return 0;
    if (s->what != DO_MEAN)
        return s->host->fail(
            s->context, "means= is of do=mean, not of do=%s; leave one of them out", what[s->what]);
    s->given = s->host->life_alloc(s->context, (uint64_t)s->n_layers * sizeof *s->given);
    if (!s->given) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        s->given[l] = psc_read_mean(s->context, s->host, s->means, points[s->over], l, s->width);
        if (!s->given[l]) return -1;
    }
    return 0;
}

static int attribution_open(psc_context *context, const psc_host *host, void **state) {
    static const psc_point points[] = {PSC_HOOK_Z, PSC_HOOK_Z, PSC_HOOK_MLP_POST,
        PSC_HOOK_RESID_PRE, PSC_HOOK_ATTN_OUT, PSC_HOOK_MLP_OUT, PSC_HOOK_PATTERN};
    attribution_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_heads = model->n_heads;
    s->n_vocab = model->d_vocab;
    s->point = points[s->over];
    s->width = s->over == OVER_NEURONS ? model->d_mlp : model->d_model;
    s->group = s->over == OVER_NEURONS        ? 1
               : s->over <= OVER_HEADS_BY_POS ? model->d_head
                                              : model->d_model;
    s->n_units = (int32_t)(s->width / s->group);
    if (s->sample == 0 && s->seed != 1)
        return host->fail(context,
            "seed= is of the random places, and sample=0 draws none; leave one of them out");
    if (s->over == OVER_EDGES && (s->what == DO_MEAN || s->what == DO_SET_MEAN))
        return host->fail(context,
            "do=%s does not work with over=edges, because edges have no mean; use do=zero or patch",
            what[s->what]);
    return read_means(s) || (s->what == DO_SET_MEAN && host->whole_set(context)) ? -1 : 0;
}

/* --- the run ---------------------------------------------------------------------------------- */

static int check_run(attribution_state *s) {
    const psc_host *host = s->host;
    s->run_rows = host->rows(s->context, &s->n_rows);
    if (s->run_rows[s->n_rows - 1].sequence != s->run_rows[0].sequence)
        return host->fail(
            s->context, "attribution needs a single sequence; run one sequence at a time");
    if (s->over != OVER_EDGES) return 0;
    if (s->run_rows[0].position != 0)
        return host->fail(
            s->context, "over=edges needs a whole sequence; run the text from position 0");
    s->width = (int64_t)s->n_heads * s->n_rows;
    s->n_units = s->n_heads;
    return 0;
}

/* Makes the arrays over all cells. */
static int make_arrays(attribution_state *s) {
    static const char *const axes[][5] = {{"targets", "layers", "heads"},
        {"targets", "layers", "heads", "rows"}, {"targets", "layers", "neurons"},
        {"targets", "layers", "rows"}, {"targets", "layers", "rows"}, {"targets", "layers", "rows"},
        {"targets", "layers", "heads", "rows", "keys"}};
    static const int32_t n_axes[] = {3, 4, 3, 3, 3, 3, 5};
    const int64_t rows = s->n_rows, layers = s->n_layers;
    const psc_host *host = s->host;
    static const char *const kl[] = {"kl"};
    if ((s->metric == ATTRIBUTION_KL ? host->axis_labels(s->context, "targets", 1, kl)
                                     : psc_targets_results(&s->targets, "target_rows")) ||
        psc_count_axis(s->context, host, "layers", 0, layers) ||
        psc_count_axis(s->context, host, "heads", 0, s->n_heads) ||
        (s->over == OVER_NEURONS && psc_count_axis(s->context, host, "neurons", 0, s->n_units)) ||
        psc_count_axis(s->context, host, "rows", 0, rows) ||
        psc_count_axis(s->context, host, "keys", 0, rows))
        return -1;
    s->n_cells = attribution_cells(s);
    s->estimate = host->array(s->context, "estimate", PSC_F64, n_axes[s->over], axes[s->over]);
    s->value = host->array(s->context, "value", PSC_F64, 1, axes[0]);
    return s->estimate && s->value ? 0 : -1;
}

/* A source prompt of a whole set. */
static int begin_set(attribution_state *s) {
    if (s->host->source(s->context) == PSC_SOURCE_SET) s->set_rows = 0;
    if (check_run(s) == 0) s->handle = s->host->retain(s->context, s->point, NULL);
    if (s->handle < 0) s->set_rows = 0;
    return s->handle < 0 ? -1 : 0;
}

static int attribution_run_begin(psc_context *context, void *state) {
    const psc_filter last = {.struct_size = sizeof last, .rows = PSC_ROWS_LAST};
    attribution_state *s = state;
    const psc_host *host = s->host;
    const int phase = host->phase(context);
    s->handle = -1;
    if (phase == PSC_PHASE_BASE) return 0;
    if (phase == PSC_PHASE_SOURCE && host->source(context) >= PSC_SOURCE_SET) return begin_set(s);
    if (phase == PSC_PHASE_SOURCE) s->source_rows = 0; /* an earlier source is gone */
    if (phase == PSC_PHASE_SOURCE && host->source(context) == 0 && attribution_observe_source(s))
        return -1;
    if (phase == PSC_PHASE_SOURCE && s->what != DO_PATCH) return 0;
    if (check_run(s) || (phase == PSC_PHASE_SOURCE && attribution_reserve_source(s))) return -1;
    s->handle = host->retain(context, s->point, NULL);
    if (s->handle < 0 || phase == PSC_PHASE_SOURCE) return s->handle < 0 ? -1 : 0;
    if (attribution_align(s) || psc_rows_resolve(context, host, "rows", &last, 1, &s->rows) ||
        psc_targets_begin(context, host, &s->rows, &s->targets) || attribution_open_metric(s) ||
        psc_rows_axis(context, host, "target_rows", &s->rows) || make_arrays(s))
        return -1;
    s->logits = host->retain(context, PSC_HOOK_LOGITS, &s->rows.filter);
    if (s->logits < 0 || (s->exact + s->sample > 0 && host->prepare_variants(context))) return -1;
    return host->prepare_gradients(context, s->rows.n, s->rows.index); /* leaves variants room */
}

/* The metric of each target at its own last row, and its value. */
static int make_jobs(attribution_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_targets;
    s->jobs = host->run_alloc(s->context, n * sizeof *s->jobs);
    s->metrics = host->run_alloc(s->context, n * sizeof *s->metrics);
    s->of_job = host->run_alloc(s->context, n * sizeof *s->of_job);
    const float **z = host->run_alloc(s->context, (uint64_t)s->rows.n * sizeof *z);
    if (!s->jobs || !s->metrics || !s->of_job || !z ||
        psc_rows_fetch(s->context, host, &s->rows, s->logits, -1, z))
        return -1;
    s->n_jobs = 0;
    for (int32_t t = 0; t < s->n_targets; t++) {
        const int32_t slot = attribution_slot(s, t);
        s->jobs[t].target = -1;
        if (slot < 0) continue;
        attribution_set_metric(s, t, slot);
        s->value[t] = attribution_metric(s, t, z[slot]);
        s->of_job[s->n_jobs] = t;
        s->metrics[s->n_jobs++] = s->jobs[t].metric;
    }
    return 0;
}

static int attribution_run_end(psc_context *context, void *state, int status) {
    attribution_state *s = state;
    const int phase = s->host->phase(context);
    if (status && phase == PSC_PHASE_SOURCE && s->host->source(context) >= PSC_SOURCE_SET)
        s->set_rows = 0;
    if (status || phase == PSC_PHASE_BASE) return 0;
    if (phase == PSC_PHASE_SOURCE && s->host->source(context) >= PSC_SOURCE_SET)
        return attribution_add_set(s);
    if (phase == PSC_PHASE_SOURCE) return s->what == DO_PATCH ? attribution_keep_source(s) : 0;
    if ((s->metric != ATTRIBUTION_KL && psc_targets_required(&s->targets)) || make_jobs(s) ||
        attribution_fetch_source(s) || attribution_estimate(s))
        return -1;
    s->n_checked = 0;
    if (s->exact + s->sample == 0) return 0;
    return attribution_exact(s) || attribution_compare(s) || attribution_ends(s);
}

static int attribution_reports(psc_context *context, void *state) {
    const attribution_state *s = state;
    const int phase = s->host->phase(context);
    return phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE ? 0 : attribution_report(s);
}

static int attribution_takes_source(psc_context *context, const void *state) {
    const attribution_state *s = state;
    (void)context;
    return s->what == DO_PATCH || s->metric == ATTRIBUTION_KL;
}

const psc_plugin *psc_builtin_attribution(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "attribution",
        .summary = "attribution patching: the effect of changing each place, estimated by one "
                   "gradient, with the exact effect of some places beside it",
        .options = attribution_options,
        .corpus = PSC_CORPUS_NO,
        .open = attribution_open,
        .run_begin = attribution_run_begin,
        .run_end = attribution_run_end,
        .report = attribution_reports,
        .points = "attn.hook_z mlp.hook_post hook_resid_pre hook_attn_out hook_mlp_out "
                  "attn.hook_pattern hook_logits",
        .phases = 1,
        .takes_source = attribution_takes_source,
    };
    return &plugin;
}
