/* The plugin `sweep`: how a prediction changes when each place of the model, in turn, is ablated or
 * patched with its value on another prompt.
 *
 *   over=heads [L, H], heads_by_pos [L, H, T], resid_pre, attn_out, mlp_out [L, T], edges [H, T, T]
 *   do=zero: the value is 0; mean: its mean over the text; patch: its value in the source run at
 *   the same row; cut: the edge's score is -inf, so that the row's other edges take its weight
 *   effect = metric after minus before, at each target's own last row (sweep_variants.c)
 *   normalized = effect / (the source's metric - before), of patches: 0 unchanged, 1 the source
 *
 * A head is changed at hook_z, an edge at hook_pattern (cut: at hook_attn_scores). The host runs
 * the variants: real runs with one change, from the first layer and row that it reaches. */
#include "sweep.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const over[] = {
    "heads", "heads_by_pos", "resid_pre", "attn_out", "mlp_out", "edges", NULL};
static const char *const what[] = {"zero", "mean", "patch", "cut", NULL};
static const char *const metrics[] = {"logit", "log_prob", "kl", NULL};
static const psc_option_description sweep_options[] = {
    {"over", "heads", "places that are changed in turn", PSC_OPTION_WORD,
        offsetof(sweep_state, over), 0, 0, over},
    {"do", "zero",
        "the change; mean: the mean over the text; patch: the value on the source prompt; cut: for "
        "edges, -inf as the score",
        PSC_OPTION_WORD, offsetof(sweep_state, what), 0, 0, what},
    {"metric", "logit", "logit or log_prob of each target, or kl (before || after)",
        PSC_OPTION_WORD, offsetof(sweep_state, metric), 0, 0, metrics},
    {"layer", "0", "the layer whose edges are changed", PSC_OPTION_LAYER,
        offsetof(sweep_state, layer), 0, 0, NULL},
    {"top", "10", "effects listed per target", PSC_OPTION_COUNT, offsetof(sweep_state, top), 1,
        SWEEP_MOST, NULL},
    {0},
};

static const psc_point points[] = {PSC_HOOK_Z, PSC_HOOK_Z, PSC_HOOK_RESID_PRE, PSC_HOOK_ATTN_OUT,
    PSC_HOOK_MLP_OUT, PSC_HOOK_PATTERN};

static int check_choice(sweep_state *s) {
    const psc_host *host = s->host;
    const int edges = s->over == SWEEP_EDGES;
    if (s->what == SWEEP_CUT && !edges)
        return host->fail(
            s->context, "do=cut works only with over=edges; use do=zero for heads and layers");
    if (s->what == SWEEP_MEAN && edges)
        return host->fail(s->context,
            "do=mean does not work with over=edges, because edges have no mean; use do=zero, patch "
            "or cut");
    s->point = s->what == SWEEP_CUT ? PSC_HOOK_ATTN_SCORES : points[s->over];
    return 0;
}

static int sweep_open(psc_context *context, const psc_host *host, void **state) {
    sweep_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_heads = model->n_heads;
    s->d_head = model->d_head;
    s->d_model = model->d_model;
    s->n_vocab = model->d_vocab;
    return check_choice(s);
}

/* --- the source run -------------------------------------------------------------------------- */

static int retain_point(sweep_state *s) {
    psc_filter filter = PSC_FILTER_INIT;
    if (s->over == SWEEP_EDGES) {
        filter.layers = &s->layer;
        filter.n_layers = 1;
    }
    s->retained = s->host->retain(s->context, s->point, &filter);
    return s->retained < 0 ? -1 : 0;
}

/* Keeps the source run's tensor after that run. source_rows stays 0 until the copy is complete. */
static int keep_source(sweep_state *s) {
    const int64_t width = sweep_width(s), n = s->n_rows * width;
    const int32_t n_layers = sweep_layers_kept(s);
    const uint64_t floats = (uint64_t)n_layers * (uint64_t)n;
    if (floats > s->source_floats) {
        float *source = s->host->life_alloc(s->context, floats * sizeof(float));
        if (!source) return -1;
        s->source = source;
        s->source_floats = floats;
    }
    for (int32_t l = 0; l < n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->retained, s->over == SWEEP_EDGES ? s->layer : l, &kept))
            return -1;
        memcpy((float *)s->source + l * n, kept.tensor.data, (size_t)n * sizeof(float));
    }
    s->source_rows = s->n_rows;
    return 0;
}

static void keep_logits(const sweep_state *s, const psc_event *event, float *out) {
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        if (slot < 0) continue;
        memcpy(out + (int64_t)slot * s->n_vocab, event->tensor.data + r * event->tensor.stride[0],
            (size_t)s->n_vocab * sizeof *out);
    }
}

static int on_source_logits(const psc_event *event, void *payload) {
    const sweep_state *s = payload;
    keep_logits(s, event, s->source_logits);
    return 0;
}

/* The rows whose logits are kept: the last, and the one before it if a target is `next`. */
static int choose_rows(sweep_state *s) {
    const psc_filter last = {.struct_size = sizeof last, .rows = PSC_ROWS_LAST};
    return psc_rows_resolve(s->context, s->host, "rows", &last, s->metric != SWEEP_KL, &s->rows);
}

static int begin_source(sweep_state *s) {
    if (s->what != SWEEP_PATCH) return 0;
    if (retain_point(s)) return -1;
    if (!sweep_normalizes(s)) return 0;
    if (!s->source_logits)
        s->source_logits =
            s->host->life_alloc(s->context, 2 * (uint64_t)s->n_vocab * sizeof *s->source_logits);
    if (!s->source_logits || choose_rows(s)) return -1;
    return s->host->observe(s->context, PSC_HOOK_LOGITS, &s->rows.filter, on_source_logits, s);
}

/* --- the run --------------------------------------------------------------------------------- */

static int on_base_logits(const psc_event *event, void *payload) {
    sweep_state *s = payload;
    keep_logits(s, event, s->base);
    return 0;
}

static int check_run(sweep_state *s) {
    const psc_host *host = s->host;
    s->run_rows = host->rows(s->context, &s->n_rows);
    if (s->run_rows[s->n_rows - 1].sequence != s->run_rows[0].sequence)
        return host->fail(s->context, "sweep needs a single sequence; run one sequence at a time");
    return 0;
}

/* Makes the array [targets, ...] and its axes. */
static int make_array(sweep_state *s) {
    static const char *const axes[][4] = {{"targets", "layers", "heads"},
        {"targets", "layers", "heads", "rows"}, {"targets", "layers", "rows"},
        {"targets", "layers", "rows"}, {"targets", "layers", "rows"},
        {"targets", "heads", "rows", "keys"}};
    static const int n_axes[] = {3, 4, 3, 3, 3, 4};
    const int64_t layers = s->n_layers, heads = s->n_heads, rows = s->n_rows;
    const int64_t cells[] = {layers * heads, layers * heads * rows, layers * rows, layers * rows,
        layers * rows, heads * rows * rows};
    const int with_targets = s->metric != SWEEP_KL;
    const psc_host *host = s->host;
    int32_t *positions = host->run_alloc(s->context, (uint64_t)rows * sizeof *positions);
    if (!positions) return -1;
    for (int32_t i = 0; i < s->n_rows; i++) positions[i] = s->run_rows[i].position;
    if (psc_count_axis(s->context, host, "layers", 0, layers) ||
        psc_count_axis(s->context, host, "heads", 0, heads) ||
        psc_count_axis(s->context, host, "rows", 0, rows) ||
        host->axis_numbers(s->context, "keys", rows, positions) ||
        (with_targets && psc_targets_results(&s->targets, "last")))
        return -1;
    s->n_cells = cells[s->over];
    s->n_targets = with_targets ? s->targets.n : 1;
    s->effect = host->array(s->context, "effect", PSC_F64, n_axes[s->over] - !with_targets,
        axes[s->over] + !with_targets);
    s->normalized = NULL;
    if (sweep_normalizes(s))
        s->normalized =
            host->array(s->context, "normalized", PSC_F64, n_axes[s->over], axes[s->over]);
    return s->effect && (s->normalized || !sweep_normalizes(s)) ? 0 : -1;
}

static int sweep_run_begin(psc_context *context, void *state) {
    sweep_state *s = state;
    const psc_host *host = s->host;
    const int phase = host->phase(context);
    s->retained = -1;
    if (phase == PSC_PHASE_BASE) return 0;
    if (phase == PSC_PHASE_SOURCE) s->source_rows = 0; /* discards an earlier source */
    if (check_run(s)) return -1;
    if (phase == PSC_PHASE_SOURCE) return begin_source(s);
    if (s->what == SWEEP_PATCH && s->source_rows != s->n_rows)
        return s->source_rows == 0
                   ? host->fail(context, "do=patch needs a source prompt (--source)")
                   : host->fail(context,
                         "the source prompt has %d tokens and the prompt %d; a patch needs prompts "
                         "of equal length",
                         (int)s->source_rows, (int)s->n_rows);
    if (s->run_rows[0].position != 0 && s->over == SWEEP_EDGES)
        return host->fail(
            context, "over=edges needs a whole sequence; run the text from position 0");
    if (choose_rows(s)) return -1;
    s->base =
        host->run_alloc(context, (uint64_t)s->rows.n * (uint64_t)s->n_vocab * sizeof *s->base);
    s->p = host->run_alloc(context, (uint64_t)s->n_vocab * sizeof *s->p);
    if (!s->base || !s->p || psc_targets_begin(context, host, &s->rows, &s->targets) ||
        psc_rows_axis(context, host, "last", &s->rows) || make_array(s))
        return -1;
    s->base_value = host->run_alloc(context, (uint64_t)s->n_targets * sizeof *s->base_value);
    s->source_value = NULL;
    if (sweep_normalizes(s)) {
        s->source_value =
            host->run_alloc(context, (uint64_t)s->n_targets * sizeof *s->source_value);
        if (!s->source_value) return -1;
    }
    if (!s->base_value || (s->what == SWEEP_MEAN && retain_point(s))) return -1;
    return host->observe(context, PSC_HOOK_LOGITS, &s->rows.filter, on_base_logits, s) ||
           host->prepare_variants(context);
}

static int sweep_run_end(psc_context *context, void *state, int status) {
    sweep_state *s = state;
    const int phase = s->host->phase(context);
    if (status || phase == PSC_PHASE_BASE) return 0;
    if (phase == PSC_PHASE_SOURCE) return s->what == SWEEP_PATCH ? keep_source(s) : 0;
    return sweep_compute(s);
}

static int sweep_report(psc_context *context, void *state) {
    const sweep_state *s = state;
    const int phase = s->host->phase(context);
    return phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE ? 0 : sweep_summary(s);
}

const psc_plugin *psc_builtin_sweep(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "sweep",
        .summary = "ablates or patches every head, layer and row or attention edge in turn "
                   "and measures the change of the prediction",
        .options = sweep_options,
        .corpus = PSC_CORPUS_NO,
        .open = sweep_open,
        .run_begin = sweep_run_begin,
        .run_end = sweep_run_end,
        .report = sweep_report,
        .points = "hook_resid_pre hook_attn_out hook_mlp_out attn.hook_z attn.hook_pattern "
                  "attn.hook_attn_scores hook_logits",
        .phases = 1,
    };
    return &plugin;
}
