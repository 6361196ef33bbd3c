/* `logits` over documents: the moments of every component's share of every target, and of the logit
 * itself, over the rows that have the target. Position 0 of each window is counted separately.
 *
 *   share statistics [populations, targets, components], logit statistics [populations, targets]
 *
 * A run's tables are scratch here: run_end adds them to the sequence's sums. */
#include "logits.h"
#include "top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *level_name(
    const logits_state *state, int level, const char *name, char out[64]) {
    const int finest = level == (int)state->finest;
    snprintf(out, 64, "%s%s%s", name, finest ? "" : ".", finest ? "" : logits_level_names[level]);
    return out;
}

int logits_corpus_open(logits_state *state, psc_context *context) {
    logits_run *run = &state->run;
    char name[64];
    int32_t n_targets = 0;
    run->context = context;
    run->host = state->host;
    run->model = state->host->model(context);
    state->host->targets(context, &n_targets);
    logits_count_components(run);
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (state->asked[i] &&
            psc_moments_open(&state->share_moments[i], context, state->host,
                level_name(state, i, "shares", name), n_targets, run->levels[i].n + 1))
            return -1;
    state->failed_handle = state->host->accumulator(context, "failed", PSC_ACCUMULATE_COUNT, 1, 0);
    return state->failed_handle < 0 ? -1
                                    : psc_moments_open(&state->logit_moments, context, state->host,
                                          "logits", n_targets, 1);
}

int logits_corpus_begin(logits_state *state) {
    logits_run *run = &state->run;
    run->notes[0].slot = run->notes[1].slot = -1;
    if (psc_sequences_find(run->context, run->host, &state->sequences) ||
        psc_moments_begin(&state->logit_moments))
        return -1;
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (state->asked[i] && psc_moments_begin(&state->share_moments[i])) return -1;
    return 0;
}

/* The tables that logits_arrays makes as results, here as scratch. */
int logits_corpus_tables(logits_state *state) {
    logits_run *run = &state->run;
    const psc_host *host = run->host;
    const uint64_t rows = (uint64_t)run->targets.n * (uint64_t)run->targets.rows.n + 1;
    run->with_edit = logits_edits_expected(run);
    run->values = host->run_alloc(run->context, rows * sizeof(float));
    run->constant = host->run_alloc(run->context, rows * sizeof(float));
    run->sigma = host->run_alloc(run->context, ((uint64_t)run->targets.rows.n + 1) * sizeof(float));
    if (!run->values || !run->constant || !run->sigma) return -1;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        logits_level *level = &run->levels[i];
        if (!level->asked) continue;
        level->width = level->n + run->with_edit;
        level->worst_at = -1;
        if ((uint64_t)level->width > (uint64_t)INT64_MAX / sizeof(float) / rows)
            return host->fail(run->context,
                "the shares of %d rows are too large; choose fewer targets or a smaller batch",
                run->targets.rows.n);
        level->shares = psc_kept_alloc(&state->kept[i], run->context, host,
            rows * (uint64_t)level->width * sizeof *level->shares);
        level->error = host->run_alloc(run->context, rows * sizeof(float));
        level->abs_out = host->run_alloc(run->context, rows * sizeof(float));
        level->sum = host->run_alloc(run->context, rows * sizeof(double));
        level->sum_abs = host->run_alloc(run->context, rows * sizeof(double));
        if (!level->shares || !level->error || !level->abs_out || !level->sum || !level->sum_abs)
            return -1;
    }
    run->ready = 1;
    return 0;
}

/* The rows slot..end-1 of one place, all with target t. */
static void add_rows(logits_state *state, int32_t t, int32_t place, int32_t slot, int32_t end) {
    static const float no_edit = 0.0f;
    logits_run *run = &state->run;
    const int64_t at = (int64_t)t * run->targets.rows.n + slot;
    const int32_t n = end - slot;
    for (int32_t r = 0; r < n; r++) psc_moments_count(&state->logit_moments, place, t);
    psc_moments_add_rows(&state->logit_moments, place, t, 0, 1, run->values + at, 1, n);
    for (int i = 0; i < LEVEL_COUNT; i++) {
        const logits_level *level = &run->levels[i];
        if (!level->asked) continue;
        psc_moments *moments = &state->share_moments[i];
        for (int32_t r = 0; r < n; r++) psc_moments_count(moments, place, t);
        psc_moments_add_rows(
            moments, place, t, 0, level->width, level->shares + at * level->width, level->width, n);
        if (!run->with_edit) psc_moments_add_rows(moments, place, t, level->n, 1, &no_edit, 0, n);
    }
}

/* The partials of a place, after its last row. */
static void close_place(logits_state *state, int32_t t, int32_t place) {
    psc_moments_close(&state->logit_moments, place, t, 0, 1);
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (state->run.levels[i].asked)
            psc_moments_close(&state->share_moments[i], place, t, 0, state->share_moments[i].n);
}

/* One target's rows, in order. */
static void add_target(logits_state *state, int32_t t) {
    const psc_target_rows *targets = &state->run.targets;
    const int32_t *ids = targets->ids + 2 * (int64_t)t * targets->rows.n;
    const int32_t *place = state->sequences.place, *index = targets->rows.index;
    for (int32_t slot = 0, end; slot < targets->rows.n; slot = end) {
        for (end = slot + 1; end < targets->rows.n; end++)
            if (ids[2 * end] < 0 || place[index[end]] != place[index[slot]]) break;
        if (ids[2 * slot] >= 0) add_rows(state, t, place[index[slot]], slot, end);
        if (end == targets->rows.n || place[index[end]] != place[index[slot]])
            close_place(state, t, place[index[slot]]);
    }
}

static void add_targets(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread;
    for (int64_t t = begin; t < end; t++) add_target(payload, (int32_t)t);
}

int logits_corpus_end(logits_state *state) {
    logits_run *run = &state->run;
    double failed = 0.0;
    run->host->parallel_for(run->context, run->targets.n, add_targets, state);
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (!run->levels[i].asked) continue;
        failed += (double)run->levels[i].failed;
        if (psc_moments_end(&state->share_moments[i])) return -1;
    }
    return psc_moments_end(&state->logit_moments) ||
           run->host->accumulate(run->context, state->failed_handle, 0, 1, &failed);
}

/* --- the report ------------------------------------------------------------------------------ */

/* The largest |mean| share of a target at the finest level, over all rows. */
static int mean_bars(logits_state *state, int32_t t, double rows) {
    enum { MOST = 200 };
    logits_run *run = &state->run;
    const psc_moments *m = &state->share_moments[state->finest];
    const int64_t n = m->n, first = (int64_t)t * n, others = m->groups * n;
    double *a = run->host->run_alloc(run->context, 2 * (uint64_t)n * sizeof *a);
    psc_ranked entries[MOST];
    psc_top_list top = {entries, state->top, 0};
    const char *labels[MOST];
    double values[MOST];
    if (!a || run->host->accumulated(run->context, m->sums, first, n, a) ||
        run->host->accumulated(run->context, m->sums, others + first, n, a + n))
        return -1;
    for (int64_t i = 0; i < n; i++) a[i] += a[n + i];
    psc_top_f64(&top, n, a, PSC_TOP_ABSOLUTE);
    for (int32_t i = 0; i < top.n; i++) {
        labels[i] = state->labels[state->finest][top.at[i].index];
        values[i] = a[top.at[i].index] / rows;
    }
    char title[128];
    const psc_target *target = &run->host->targets(run->context, &(int32_t){0})[t];
    snprintf(
        title, sizeof title, "mean share of %.60s over %s", target->label, PSC_MANY(rows, "row"));
    return run->host->summary_bars(run->context, title, "nats", top.n, labels, values);
}

static int target_summary(logits_state *state, int32_t t) {
    const logits_run *run = &state->run;
    double rows = 0.0;
    char sentence[160];
    if (psc_moments_total(&state->logit_moments, t, &rows)) return -1;
    if (rows > 0) return mean_bars(state, t, rows);
    snprintf(sentence, sizeof sentence, "%.60s: no row has this target, so it has no shares.",
        run->host->targets(run->context, &(int32_t){0})[t].label);
    return run->host->summary_text(run->context, sentence);
}

int logits_corpus_report(logits_state *state) {
    logits_run *run = &state->run;
    char axis[64], name[64];
    double failed = 0.0;
    int32_t n_targets = 0;
    const psc_target *given = run->host->targets(run->context, &n_targets);
    logits_count_components(run);
    if (psc_populations_axis(run->context, run->host) ||
        psc_targets_axis(run->context, run->host, given, n_targets))
        return -1;
    const char *const targets[] = {"targets"};
    if (psc_moments_counts(&state->logit_moments, "rows_counted", 1, targets) ||
        psc_moments_report(&state->logit_moments, "logit", 0, 1, 1, targets) ||
        run->host->accumulated(run->context, state->failed_handle, 0, 1, &failed) ||
        run->host->value_number(run->context, "completeness_failures", failed))
        return -1;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (!state->asked[i]) continue;
        if (logits_labels(state, (logits_level_id)i)) return -1;
        const char *const axes[] = {"targets", level_name(state, i, "components", axis)};
        psc_moments *moments = &state->share_moments[i];
        if (run->host->axis_labels(run->context, axis, moments->n, state->labels[i]) ||
            psc_moments_report(
                moments, level_name(state, i, "share", name), 0, moments->n, 2, axes))
            return -1;
    }
    for (int32_t t = 0; t < state->logit_moments.groups && t < 4; t++)
        if (target_summary(state, t)) return -1;
    return 0;
}
