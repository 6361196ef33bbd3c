/* The plugin `sweep`: how a prediction changes when each place of the model, in turn, is ablated or
 * patched with its value on another prompt.
 *
 *   over=heads [L, H], heads_by_pos [L, H, T], resid_pre, attn_out, mlp_out [L, T], edges [H, T, T]
 *   do=zero: the value is 0; mean: its mean over the text; patch: its value in the source run at
 *   the row that this one is aligned with; cut: the edge's score is -inf, so that the row's other
 *   edges take its weight effect = metric after minus before, at each target's own last row
 *   (sweep_variants.c) normalized = effect / (the source's metric - before), of patches: 0
 *   unchanged, 1 the source
 *
 * In a set of examples every array has a first axis, `examples`: each sequence of the run is one,
 * with its own target and source prompt, and its values have the bits that it has alone.
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

#define SWEEP_MOST_BYTES 4e9 /* of the arrays of a run */

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

/* The rows whose logits are kept: the last, and the one before it if a target is `next`. */
static int choose_rows(sweep_state *s) {
    const psc_filter last = {.struct_size = sizeof last, .rows = PSC_ROWS_LAST};
    return psc_rows_resolve(s->context, s->host, "rows", &last, s->metric != SWEEP_KL, &s->chosen);
}

static int on_base_logits(const psc_event *event, void *payload) {
    const sweep_state *s = payload;
    sweep_keep_logits(s, &s->chosen, event, s->base);
    return 0;
}

/* --- the arrays ------------------------------------------------------------------------------ */

static const char *const axes_of[][6] = {{"examples", "targets", "layers", "heads"},
    {"examples", "targets", "layers", "heads", "rows"}, {"examples", "targets", "layers", "rows"},
    {"examples", "targets", "layers", "rows"}, {"examples", "targets", "layers", "rows"},
    {"examples", "targets", "heads", "rows", "keys"}};
static const int n_axes_of[] = {4, 5, 4, 4, 4, 5};

/* The axes of an array: without examples for one sequence, without targets for kl. */
static int axes_for(const sweep_state *s, const char *out[6]) {
    int n = 0;
    for (int i = 0; i < n_axes_of[s->over]; i++) {
        if ((i == 0 && !s->is_set) || (i == 1 && s->metric == SWEEP_KL)) continue;
        out[n++] = axes_of[s->over][i];
    }
    return n;
}

/* [parts, targets]: an array in a set, else memory for a list. */
static double *values_of(const sweep_state *s, const char *name) {
    static const char *const axes[] = {"examples", "targets"};
    if (s->is_set && s->metric != SWEEP_KL)
        return s->host->array(s->context, name, PSC_F64, 2, axes);
    const uint64_t n = (uint64_t)s->rows.n_parts * (uint64_t)s->n_targets;
    return s->host->run_alloc(s->context, n * sizeof(double));
}

/* In a set each example's own rows and keys have the numbers 0, 1, ...; shorter ones end in NaN. */
static int make_axes(sweep_state *s) {
    const psc_host *host = s->host;
    const int32_t n = s->rows.longest, examples = s->rows.n_parts;
    const uint64_t most = (uint64_t)(n > examples ? n : examples);
    int32_t *numbers = host->run_alloc(s->context, most * sizeof *numbers);
    if (!numbers) return -1;
    for (int32_t i = 0; i < n; i++) numbers[i] = s->is_set ? i : s->run_rows[i].position;
    if (psc_count_axis(s->context, host, "layers", 0, s->n_layers) ||
        psc_count_axis(s->context, host, "heads", 0, s->n_heads) ||
        psc_count_axis(s->context, host, "rows", 0, n) ||
        host->axis_numbers(s->context, "keys", n, numbers))
        return -1;
    if (!s->is_set)
        return psc_rows_axis(s->context, host, "last", &s->chosen) ||
               (s->metric != SWEEP_KL && psc_targets_results(&s->targets, "last"));
    for (int32_t i = 0; i < examples; i++)
        numbers[i] = (int32_t)host->example(s->context, s->rows.parts[i].sequence);
    return host->axis_numbers(s->context, "examples", examples, numbers) ||
           (s->metric != SWEEP_KL &&
               psc_targets_axis(s->context, host, s->targets.targets, s->targets.n));
}

static int check_size(const sweep_state *s) {
    const double arrays = sweep_normalizes(s) ? 2 : 1;
    const double bytes = arrays * s->rows.n_parts * s->n_targets * (double)s->n_cells * 8;
    if (bytes <= SWEEP_MOST_BYTES) return 0;
    return s->host->fail(s->context,
        "the effects of %d sequences, %d targets and %d rows need %.1f GB; the most is %.0f GB: "
        "run fewer or shorter sequences, or fewer targets",
        (int)s->rows.n_parts, (int)s->n_targets, (int)s->rows.longest, bytes / 1e9,
        SWEEP_MOST_BYTES / 1e9);
}

static int make_arrays(sweep_state *s) {
    const int64_t layers = s->n_layers, heads = s->n_heads, rows = s->rows.longest;
    const int64_t cells[] = {layers * heads, layers * heads * rows, layers * rows, layers * rows,
        layers * rows, heads * rows * rows};
    const psc_host *host = s->host;
    const char *axes[6];
    const int n_axes = axes_for(s, axes);
    s->n_cells = cells[s->over];
    s->n_targets = s->metric == SWEEP_KL ? 1 : s->targets.n;
    s->source_value = s->normalized = NULL;
    if (check_size(s) || make_axes(s)) return -1;
    s->effect = host->array(s->context, "effect", PSC_F64, n_axes, axes);
    s->base_value = values_of(s, "base");
    if (!s->effect || !s->base_value || !sweep_normalizes(s))
        return s->effect && s->base_value ? 0 : -1;
    s->normalized = host->array(s->context, "normalized", PSC_F64, n_axes, axes);
    s->source_value = values_of(s, "source");
    return s->normalized && s->source_value ? 0 : -1;
}

/* target_ids [examples, targets, ids], of the row at which a target's effect is measured. */
static int keep_target_ids(const sweep_state *s) {
    static const char *const axes[] = {"examples", "targets", "ids"}, *const pair[] = {"a", "b"};
    if (s->metric == SWEEP_KL) return 0;
    if (s->host->axis_labels(s->context, "ids", 2, pair)) return -1;
    int32_t *out = psc_token_ids_array(s->context, s->host, "target_ids", 3, axes);
    for (int32_t i = 0; out && i < s->rows.n_parts; i++)
        for (int32_t t = 0; t < s->n_targets; t++, out += 2) {
            const int32_t slot = sweep_slot(s, &s->rows.parts[i], t);
            if (slot < 0) continue;
            memcpy(out, s->targets.ids + 2 * ((int64_t)t * s->chosen.n + slot), 2 * sizeof *out);
        }
    return out ? 0 : -1;
}

/* --- the run --------------------------------------------------------------------------------- */

/* Several sequences are the examples of a set. */
static int check_run(sweep_state *s) {
    const psc_host *host = s->host;
    s->run_rows = host->rows(s->context, &s->rows.n);
    const int32_t n_parts = sweep_count_parts(s->run_rows, s->rows.n);
    s->rows.parts = host->run_alloc(s->context, (uint64_t)n_parts * sizeof *s->rows.parts);
    if (!s->rows.parts || choose_rows(s)) return -1;
    sweep_find_parts(s, &s->chosen, s->run_rows, s->rows.n, &s->rows);
    s->is_set = host->example(s->context, s->run_rows[0].sequence) >= 0;
    if (n_parts > 1 && !s->is_set)
        return host->fail(s->context,
            "sweep needs a single sequence, or a set of examples; run one sequence at a time");
    for (int32_t i = 0; s->over == SWEEP_EDGES && i < n_parts; i++)
        if (s->rows.parts[i].position != 0)
            return host->fail(
                s->context, "over=edges needs a whole sequence; run the text from position 0");
    return 0;
}

static int begin_changed(sweep_state *s) {
    const psc_host *host = s->host;
    if (check_run(s)) return -1;
    if (s->what == SWEEP_PATCH && sweep_begin_patches(s)) return -1;
    const uint64_t n = (uint64_t)s->chosen.n, n_vocab = (uint64_t)s->n_vocab;
    s->base = host->run_alloc(s->context, n * n_vocab * sizeof *s->base);
    s->base_lse = host->run_alloc(s->context, n * sizeof *s->base_lse);
    if (!s->base || !s->base_lse || psc_targets_begin(s->context, host, &s->chosen, &s->targets) ||
        make_arrays(s))
        return -1;
    if (s->metric == SWEEP_KL) {
        s->p = host->run_alloc(s->context, (uint64_t)s->rows.n_parts * n_vocab * sizeof *s->p);
        if (!s->p) return -1;
    }
    if (s->what == SWEEP_MEAN && sweep_retain(s)) return -1;
    return host->observe(s->context, PSC_HOOK_LOGITS, &s->chosen.filter, on_base_logits, s) ||
           host->prepare_variants(s->context);
}

static int sweep_run_begin(psc_context *context, void *state) {
    sweep_state *s = state;
    const int phase = s->host->phase(context);
    s->source.retained = -1;
    if (phase == PSC_PHASE_BASE) return 0;
    if (phase != PSC_PHASE_SOURCE) return begin_changed(s);
    s->source.rows.n = 0; /* discards an earlier source */
    return s->what == SWEEP_PATCH ? choose_rows(s) || sweep_begin_source(s) : 0;
}

static int sweep_run_end(psc_context *context, void *state, int status) {
    sweep_state *s = state;
    const int phase = s->host->phase(context);
    if (status || phase == PSC_PHASE_BASE) return 0;
    if (phase == PSC_PHASE_SOURCE) return s->what == SWEEP_PATCH ? sweep_keep_source(s) : 0;
    if (sweep_compute(s)) return -1;
    return s->is_set ? keep_target_ids(s) : 0;
}

static int sweep_report(psc_context *context, void *state) {
    const sweep_state *s = state;
    const int phase = s->host->phase(context);
    if (phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE || s->is_set) return 0;
    return sweep_summary(s);
}

static int sweep_takes_source(psc_context *context, const void *state) {
    const sweep_state *s = state;
    (void)context;
    return s->what == SWEEP_PATCH;
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
        .takes_source = sweep_takes_source,
    };
    return &plugin;
}
