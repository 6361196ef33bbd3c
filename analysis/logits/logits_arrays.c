/* Axes and arrays of the plugin `logits`, and the check of every sum.
 *
 *   completeness_error = |z - (constant + sum of shares)| <= 1e-5 (1 + sum |share|)
 *
 * for every target, row and level; z is the model's own logit from hook_logits. */
#include "logits.h"

#include <math.h>
#include <stdio.h>

const char *const logits_level_names[LEVEL_COUNT + 2] = {
    "layer", "head", "source", "neuron", "auto", NULL};

/* --- axes and arrays ------------------------------------------------------------------------- */

/* Returns null after setting the error. */
static const char **label_layer(
    logits_state *state, logits_level_id level, int32_t layer, const char **p) {
    const psc_host *host = state->host;
    psc_context *context = state->run.context;
    const psc_model_info *model = state->run.model;
    if (level == LEVEL_LAYER) {
        *p++ = host->label(context, PSC_COMPONENT_ATTN_OUT, layer, -1);
    } else {
        if (level == LEVEL_SOURCE) {
            if (logits_source_labels(&state->run, layer, p)) return NULL;
            p += (int64_t)model->n_heads * state->run.n_keys;
        }
        for (int32_t h = 0; level != LEVEL_SOURCE && h < model->n_heads; h++)
            *p++ = host->label(context, PSC_COMPONENT_HEAD, layer, h);
        *p++ = host->label(context, PSC_COMPONENT_ATTN_BIAS, layer, -1);
    }
    if (level != LEVEL_NEURON) {
        *p++ = host->label(context, PSC_COMPONENT_MLP_OUT, layer, -1);
        return p;
    }
    for (int32_t k = 0; k < model->d_mlp; k++)
        *p++ = host->label(context, PSC_COMPONENT_NEURON, layer, k);
    *p++ = host->label(context, PSC_COMPONENT_MLP_BIAS, layer, -1);
    return p;
}

int logits_labels(logits_state *state, logits_level_id level) {
    if (state->labels[level]) return 0;
    const uint64_t n = (uint64_t)state->run.levels[level].n + 1;
    if (n > UINT32_MAX)
        return state->host->fail(
            state->run.context, "the model has too many components; choose a coarser level");
    const char **labels = level == LEVEL_SOURCE
                              ? state->host->run_alloc(state->run.context, n * sizeof *labels)
                              : state->host->life_alloc(state->run.context, n * sizeof *labels);
    if (!labels) return -1;
    const char **p = labels;
    *p++ = state->host->label(state->run.context, PSC_COMPONENT_EMBED, -1, -1);
    for (int32_t l = 0; l < state->run.model->n_layers; l++) {
        p = label_layer(state, level, l, p);
        if (!p) return -1;
    }
    *p = state->host->label(state->run.context, PSC_COMPONENT_EDIT, -1, -1);
    /* Checked before the labels are kept: those of a failed run must not serve the next one. */
    for (uint64_t i = 0; i < n; i++)
        if (labels[i][0] == '?') return -1; /* the host has said why */
    state->labels[level] = labels;
    return 0;
}

/* "name" for the finest level, "name.layer" for a coarser one. */
static const char *suffixed(
    const logits_state *state, int level, const char *name, char *out, size_t size) {
    const int finest = level == (int)state->finest;
    snprintf(out, size, "%s%s%s", name, finest ? "" : ".", finest ? "" : logits_level_names[level]);
    return out;
}

static int level_arrays(logits_state *state, int id) {
    logits_run *run = &state->run;
    logits_level *level = &run->levels[id];
    const psc_host *host = state->host;
    char axis[64], name[64];
    const uint64_t rows = (uint64_t)run->targets.n * (uint64_t)run->targets.rows.n;
    level->width = level->n + run->with_edit;
    level->worst_at = -1;
    if ((uint64_t)level->width > (uint64_t)INT64_MAX / sizeof(float) / (rows + 1))
        return host->fail(run->context,
            "contributions of %d targets and %d rows are too large; choose fewer of them",
            run->targets.n, run->targets.rows.n);
    if (logits_labels(state, id)) return -1;
    suffixed(state, id, "components", axis, sizeof axis);
    if (host->axis_labels(run->context, axis, level->width, state->labels[id])) return -1;
    const char *const axes[3] = {"targets", "rows", axis};
    /* Unfilled, because every element is written: a share, or NaN if the target is absent. */
    level->shares = host->array(run->context,
        suffixed(state, id, "contributions", name, sizeof name), PSC_F32 | PSC_UNFILLED, 3, axes);
    level->error = host->array(run->context,
        suffixed(state, id, "completeness_error", name, sizeof name), PSC_F32, 2, axes);
    level->abs_out = host->array(
        run->context, suffixed(state, id, "sum_abs_share", name, sizeof name), PSC_F32, 2, axes);
    level->sum = host->run_alloc(run->context, (rows + 1) * sizeof(double));
    level->sum_abs = host->run_alloc(run->context, (rows + 1) * sizeof(double));
    return level->shares && level->error && level->abs_out && level->sum && level->sum_abs ? 0 : -1;
}

int logits_arrays(logits_state *state) {
    logits_run *run = &state->run;
    const psc_host *host = state->host;
    static const char *const pair[] = {"a", "b"};
    const char *const axes[3] = {"targets", "rows", "ids"};
    const char *const row_axis[1] = {"rows"};
    run->with_edit = logits_edits_expected(run);
    /* The report adds target_ids, once all ids are known. */
    if (psc_targets_axis(run->context, host, run->targets.targets, run->targets.n)) return -1;
    if (psc_rows_axis(run->context, host, "rows", &run->targets.rows)) return -1;
    if (host->axis_labels(run->context, "ids", 2, pair)) return -1;
    run->values = host->array(run->context, "values", PSC_F32, 2, axes);
    run->constant = host->array(run->context, "constant", PSC_F32, 2, axes);
    run->sigma = host->array(run->context, "sigma", PSC_F32, 1, row_axis);
    if (!run->values || !run->constant || !run->sigma) return -1;
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (run->levels[i].asked && level_arrays(state, i)) return -1;
    run->ready = 1;
    return 0;
}

/* --- the check ------------------------------------------------------------------------------- */

static void check_one(const logits_run *run, logits_level *level, int64_t at) {
    double relative = 0.0;
    const double gap = logits_gap((double)run->values[at], (double)run->constant[at],
        level->sum[at], level->sum_abs[at], &relative);
    level->error[at] = (float)gap;
    level->abs_out[at] = (float)level->sum_abs[at];
    level->failed += !(relative <= LOGITS_BOUND);
    if (level->worst_at >= 0 && !(relative > level->worst) && !isnan(relative)) return;
    if (isnan(level->worst)) return;
    level->worst = relative;
    level->worst_at = at;
}

void logits_check(logits_run *run, const logits_pass *pass) {
    const int64_t count = (int64_t)run->targets.n * run->targets.rows.n;
    for (int64_t at = 0; at < count; at++) {
        if (pass->directions.which[at] < 0) continue;
        for (int i = 0; i < LEVEL_COUNT; i++) {
            if (!run->levels[i].asked) continue;
            check_one(run, &run->levels[i], at);
            run->checked++;
        }
    }
}
