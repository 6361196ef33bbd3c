/* Plugin `logits`: every component's share of the targets' logits.
 *
 *   z_t = sum_c (u_t . c)/sigma_f + b_t   over embed, heads, neurons, biases (or coarser sums)
 *   contributions [targets, rows, components], values and constant [targets, rows]
 *
 * Targets whose ids are known before the run are computed as the events arrive, without retained
 * tensors. Each weight is pulled back once for a fixed target, whatever the number of runs. The id
 * of a rank (top:K) is known only with the logits; run_end computes its shares from retained
 * tensors. */
#include "logits.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define MAX_BARS 200

static const psc_point PART_POINTS[PART_COUNT] = {PSC_HOOK_EMBED, PSC_HOOK_ATTN_OUT, PSC_HOOK_Z,
    PSC_HOOK_PATTERN, PSC_HOOK_MLP_OUT, PSC_HOOK_MLP_POST};

/* --- options --------------------------------------------------------------------------------- */

static const psc_option_description logits_options[] = {
    {"level", "auto",
        "components, one or more levels; source: heads split by the position that they read; "
        "auto: head+neuron, over a corpus head; the finest level is the array contributions",
        PSC_OPTION_WORDS, offsetof(logits_state, levels), 0, 0, logits_level_names},
    {"rows", "auto", "rows of the shares; auto: last, over a corpus all", PSC_OPTION_ROWS,
        offsetof(logits_state, choice), 0, 0, NULL},
    {"centered", "no", "subtract the vocabulary's mean from each logit", PSC_OPTION_YES_NO,
        offsetof(logits_state, centered), 0, 0, NULL},
    {"top", "12", "bars in the summary", PSC_OPTION_COUNT, offsetof(logits_state, top), 0, MAX_BARS,
        NULL},
    {0},
};

static int choose_levels(logits_state *state, psc_context *context) {
    const uint32_t automatic = 1u << LEVEL_COUNT; /* the word "auto", after the levels */
    if (state->levels == automatic)
        state->levels = 1u << LEVEL_HEAD | (state->corpus ? 0 : 1u << LEVEL_NEURON);
    if (state->levels & automatic)
        return state->host->fail(context,
            "level=auto cannot be combined with other levels: give auto alone, or name the levels");
    for (int i = 0; i < LEVEL_COUNT; i++) {
        state->asked[i] = (int)(state->levels >> i & 1);
        if (state->asked[i]) state->finest = (logits_level_id)i;
    }
    if (state->corpus && state->asked[LEVEL_SOURCE])
        return state->host->fail(context,
            "level=source has one component per position of a text; over a corpus use level=head");
    return 0;
}

static int logits_open(psc_context *context, const psc_host *host, void **out) {
    logits_state *state = *out = host->life_alloc(context, sizeof *state);
    if (!state || host->options(context, state)) return -1;
    state->host = host;
    state->corpus = host->accumulating(context);
    if (choose_levels(state, context)) return -1;
    return state->corpus ? logits_corpus_open(state, context) : 0;
}

/* --- events ---------------------------------------------------------------------------------- */

static logits_state *state_of(logits_run *run) {
    return (logits_state *)((char *)run - offsetof(logits_state, run));
}

/* Makes the run's arrays, or over documents the scratch that replaces them; once per run. */
static int make_tables(logits_run *run) {
    logits_state *state = state_of(run);
    if (run->ready) return 0;
    return state->corpus ? logits_corpus_tables(state) : logits_arrays(state);
}

static int part_event(logits_run *run, logits_part part, const psc_event *event) {
    if (make_tables(run)) return -1;
    return logits_part_shares(run, &run->live, part, event->layer, event);
}

static int on_embed(const psc_event *event, void *payload) {
    return part_event(payload, PART_EMBED, event);
}

static int on_attn_out(const psc_event *event, void *payload) {
    return part_event(payload, PART_ATTN_OUT, event);
}

static int on_z(const psc_event *event, void *payload) {
    return part_event(payload, PART_HEADS, event);
}

static int on_pattern(const psc_event *event, void *payload) {
    return part_event(payload, PART_SOURCES, event);
}

static int on_mlp_out(const psc_event *event, void *payload) {
    return part_event(payload, PART_MLP_OUT, event);
}

static int on_post(const psc_event *event, void *payload) {
    return part_event(payload, PART_NEURONS, event);
}

static const psc_event_fn PART_CALLBACKS[PART_COUNT] = {
    on_embed, on_attn_out, on_z, on_pattern, on_mlp_out, on_post};

static int on_scale(const psc_event *event, void *payload) {
    logits_run *run = payload;
    if (make_tables(run)) return -1;
    psc_rows_take(&run->targets.rows, event, run->sigma);
    if (run->has_live) logits_finish_rows(run, &run->live, event->rows, event->n_rows);
    return 0;
}

static int on_normalized(const psc_event *event, void *payload) {
    logits_run *run = payload;
    return make_tables(run) ? -1 : logits_own_take(run, event);
}

/* The model's own logits of the targets, after every edit. */
static int on_logits(const psc_event *event, void *payload) {
    logits_run *run = payload;
    const int centered = state_of(run)->centered;
    const psc_target_rows *targets = &run->targets;
    if (make_tables(run)) return -1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = targets->rows.slot[event->rows[r].index];
        const float *z = event->tensor.data + r * event->tensor.stride[0];
        if (slot < 0) continue;
        logits_notes_take(run, slot, z);
        const int64_t n_vocab = run->model->d_vocab;
        const double mean = centered ? psc_sum_striped(n_vocab, z) / (double)n_vocab : 0.0;
        for (int32_t t = 0; t < targets->n; t++) {
            const int64_t at = (int64_t)t * targets->rows.n + slot;
            const int32_t a = targets->ids[2 * at], b = targets->ids[2 * at + 1];
            if (a < 0) continue;
            run->values[at] = (float)((double)z[a] - (b >= 0 ? (double)z[b] : mean));
        }
    }
    return logits_edits_logits(run, event, centered);
}

/* --- a run ----------------------------------------------------------------------------------- */

static int level_wants(const logits_run *run, logits_part part) {
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (run->levels[i].asked && logits_level_has(i, part)) return 1;
    return 0;
}

static int subscribe(logits_run *run) {
    const psc_host *host = run->host;
    const psc_filter *filter = &run->targets.rows.filter;
    psc_filter of_logits = *filter;
    for (int part = 0; part < PART_COUNT; part++) {
        run->handles[part] = -1;
        if (!level_wants(run, part)) continue;
        if (run->has_live &&
            host->observe(run->context, PART_POINTS[part], filter, PART_CALLBACKS[part], run))
            return -1;
        if (!run->has_late) continue;
        run->handles[part] = host->retain(run->context, PART_POINTS[part], filter);
        if (run->handles[part] < 0) return -1;
    }
    if (host->observe(run->context, PSC_HOOK_LN_FINAL_SCALE, filter, on_scale, run)) return -1;
    if (logits_own_may(state_of(run))) {
        of_logits.edited_only = 1;
        if (host->observe(run->context, PSC_HOOK_LN_FINAL_NORMALIZED, filter, on_normalized, run))
            return -1;
    }
    if (host->observe(run->context, PSC_HOOK_LOGITS, &of_logits, on_logits, run)) return -1;
    return logits_edits_observe(run);
}

static int logits_run_begin(psc_context *context, void *payload) {
    logits_state *state = payload;
    logits_run *run = &state->run;
    psc_row_set rows;
    memset(run, 0, sizeof *run);
    run->context = context;
    run->host = state->host;
    run->model = run->host->model(context);
    run->tables = &state->tables;
    if (psc_rows_resolve(context, run->host, "rows", &state->choice, 1, &rows)) return -1;
    /* Subscribes to the logits before on_logits does, so that on_logits finds the ids. */
    if (psc_targets_begin(context, run->host, &rows, &run->targets)) return -1;
    for (int i = 0; i < LEVEL_COUNT; i++) run->levels[i].asked = state->asked[i];
    state->labels[LEVEL_SOURCE] = NULL; /* their number depends on this text's positions */
    if (state->asked[LEVEL_SOURCE] && logits_sources_begin(run)) return -1;
    logits_count_components(run);
    for (int32_t t = 0; t < run->targets.n; t++) {
        if (run->targets.targets[t].kind == PSC_TARGET_TOP)
            run->has_late = 1;
        else
            run->has_live = 1;
    }
    if (state->corpus ? logits_corpus_begin(state) : logits_notes_begin(run)) return -1;
    if (logits_pass_begin(run, &run->live, &run->targets, state->centered)) return -1;
    return subscribe(run);
}

/* Shares of the ranks, from the retained tensors. */
static int late_shares(logits_state *state) {
    logits_run *run = &state->run;
    psc_target_rows ranks = run->targets;
    const uint64_t count = 2 * (uint64_t)ranks.n * (uint64_t)ranks.rows.n;
    ranks.ids = run->host->run_alloc(run->context, (count + 1) * sizeof(int32_t));
    if (!ranks.ids) return -1;
    for (uint64_t i = 0; i < count; i++) {
        const int64_t t = (int64_t)(i / 2) / ranks.rows.n;
        const int top = ranks.targets[t].kind == PSC_TARGET_TOP;
        ranks.ids[i] = top ? run->targets.ids[i] : -1;
    }
    if (logits_pass_begin(run, &run->late, &ranks, state->centered)) return -1;
    psc_event event;
    memset(&event, 0, sizeof event);
    for (int part = 0; part < PART_COUNT; part++) {
        const int32_t layers = part == PART_EMBED ? 1 : run->model->n_layers;
        for (int32_t l = 0; run->handles[part] >= 0 && l < layers; l++) {
            const int32_t layer = part == PART_EMBED ? -1 : l;
            if (run->host->fetch(run->context, run->handles[part], layer, &event)) return -1;
            if (logits_part_shares(run, &run->late, part, layer, &event)) return -1;
            run->host->progress(run->context, (part + (l + 1.0) / layers) / PART_COUNT);
            if (run->host->cancelled(run->context)) return run->host->fail(run->context, "stopped");
        }
    }
    int32_t n_rows = 0;
    const psc_row *rows = run->host->rows(run->context, &n_rows);
    logits_finish_rows(run, &run->late, rows, n_rows);
    return 0;
}

/* If a target is absent at a row (next at the last row), its shares are NaN. */
static void fill_absent(logits_run *run) {
    const int64_t count = (int64_t)run->targets.n * run->targets.rows.n;
    for (int64_t at = 0; at < count; at++) {
        if (run->live.directions.which[at] >= 0) continue;
        if (run->has_late && run->late.directions.which[at] >= 0) continue;
        for (int i = 0; i < LEVEL_COUNT; i++) {
            const logits_level *level = &run->levels[i];
            for (int64_t c = 0; level->asked && c < level->width; c++)
                level->shares[at * level->width + c] = NAN;
        }
    }
}

static int finish_pass(logits_state *state, logits_pass *pass) {
    logits_run *run = &state->run;
    const int64_t count = (int64_t)run->targets.n * run->targets.rows.n;
    for (int64_t at = 0; at < count; at++) {
        const int32_t d = pass->directions.which[at];
        if (d >= 0) run->constant[at] = (float)pass->directions.constant[d];
    }
    if (run->with_edit && logits_edits_finish(run, pass, state->centered)) return -1;
    logits_check(run, pass);
    return 0;
}

static int logits_run_end(psc_context *context, void *payload, int status) {
    logits_state *state = payload;
    (void)context;
    if (status) return 0;
    if (make_tables(&state->run)) return -1;
    if (state->run.has_late && late_shares(state)) return -1;
    fill_absent(&state->run);
    if (state->run.has_live && finish_pass(state, &state->run.live)) return -1;
    if (state->run.has_late && finish_pass(state, &state->run.late)) return -1;
    return state->corpus ? logits_corpus_end(state) : 0;
}

static int logits_write_report(psc_context *context, void *payload) {
    logits_state *state = payload;
    (void)context;
    return state->corpus ? logits_corpus_report(state) : logits_report(state);
}

static const psc_plugin PLUGIN = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof(psc_plugin),
    .name = "logits",
    .summary = "every component's share of the targets' logits",
    .options = logits_options,
    .corpus = PSC_CORPUS_YES,
    .open = logits_open,
    .run_begin = logits_run_begin,
    .run_end = logits_run_end,
    .report = logits_write_report,
    .points =
        "hook_embed attn.hook_v attn.hook_pattern attn.hook_z hook_attn_out mlp.hook_post "
        "hook_mlp_out ln_final.hook_scale "
        "hook_logits; where edited also hook_resid_pre hook_resid_mid hook_resid_post "
        "attn.hook_result ln_final.hook_normalized; over a corpus ln_final.hook_normalized, and "
        "hook_logits only for top:K, centered=yes and where edited",
};

const psc_plugin *psc_builtin_logits(void) {
    return &PLUGIN;
}
