/* The report of the plugin `logits`: values, and a summary with the largest shares as bars. */
#include "logits.h"
#include "top.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_SHOWN 4 /* targets with bars in the summary */

/* --- bars ------------------------------------------------------------------------------------ */

/* The largest shares of a level, as bars. */
typedef struct share_list {
    int64_t n; /* that the list is chosen from */
    psc_top_list top;
} share_list;

/* Below a level that has the heads, the level of neurons lists neurons only, half as many. */
static int lists_neurons_only(const logits_state *state, int id) {
    const logits_run *run = &state->run;
    return id == LEVEL_NEURON && (run->levels[LEVEL_HEAD].asked || run->levels[LEVEL_SOURCE].asked);
}

static void offer_shares(const logits_state *state, int id, const float *shares, share_list *list) {
    const logits_level *level = &state->run.levels[id];
    if (!lists_neurons_only(state, id)) {
        psc_top_f32(&list->top, level->width, shares, PSC_TOP_ABSOLUTE);
        list->n = level->width;
        return;
    }
    const int64_t heads = logits_attention_width(&state->run, LEVEL_NEURON);
    const int64_t neurons = state->run.model->d_mlp, layer = heads + neurons + 1;
    for (int32_t l = 0; l < state->run.model->n_layers; l++)
        for (int64_t c = 1 + l * layer + heads; c < 1 + l * layer + heads + neurons; c++)
            psc_top_offer(&list->top, fabs((double)shares[c]), c);
    list->n = state->run.model->n_layers * neurons;
}

static int level_bars(logits_state *state, int id, int32_t t, int32_t slot) {
    static const char *const by[] = {
        "layer", "head and MLP", "head, position read and MLP", "neuron"};
    logits_run *run = &state->run;
    const logits_level *level = &run->levels[id];
    const int64_t at = (int64_t)t * run->targets.rows.n + slot;
    const float *shares = level->shares + at * level->width;
    const int32_t most = lists_neurons_only(state, id) ? (state->top + 1) / 2 : state->top;
    share_list list = {.top = {.k = most}};
    list.top.at = run->host->run_alloc(run->context, (uint64_t)most * sizeof *list.top.at);
    const char **labels = run->host->run_alloc(run->context, (uint64_t)most * sizeof *labels);
    double *values = run->host->run_alloc(run->context, (uint64_t)most * sizeof *values);
    if (!list.top.at || !labels || !values) return -1;
    offer_shares(state, id, shares, &list);
    double covered = 0.0, covered_abs = 0.0;
    for (int32_t i = 0; i < list.top.n; i++) {
        labels[i] = state->labels[id][list.top.at[i].index];
        values[i] = (double)shares[list.top.at[i].index];
        covered += values[i];
        covered_abs += fabs(values[i]);
    }
    char count[32], title[512], whole[40] = "", name[PSC_TARGET_NAME];
    if (!lists_neurons_only(state, id)) snprintf(whole, sizeof whole, " of %.4f", level->sum[at]);
    snprintf(title, sizeof title,
        "Shares of %.160s by %s: the largest %d of %s (together %.4f%s; %.0f %% of sum |share|)",
        psc_target_name(&run->targets, t, slot, name), by[id], (int)list.top.n,
        psc_commas((double)list.n, count), covered, whole,
        level->sum_abs[at] > 0 ? 100.0 * covered_abs / level->sum_abs[at] : 100.0);
    return run->host->summary_bars(run->context, title, "nats", list.top.n, labels, values);
}

/* --- values and summary ---------------------------------------------------------------------- */

static int completeness_values(logits_state *state) {
    logits_run *run = &state->run;
    const psc_host *host = state->host;
    double worst = 0.0;
    int64_t failed = 0;
    char name[64];
    for (int i = 0; i < LEVEL_COUNT; i++) {
        const logits_level *level = &run->levels[i];
        if (!level->asked) continue;
        snprintf(name, sizeof name, "completeness.%s", logits_level_names[i]);
        if (host->value_number(run->context, name, level->worst)) return -1;
        if (isnan(level->worst) || level->worst > worst) worst = level->worst;
        failed += level->failed;
    }
    return host->value_number(run->context, "completeness", worst) ||
                   host->value_number(run->context, "completeness_bound", LOGITS_BOUND) ||
                   host->value_number(run->context, "complete", failed == 0) ||
                   host->value_number(run->context, "sums_checked", (double)run->checked) ||
                   host->value_number(run->context, "sums_failed", (double)failed)
               ? -1
               : 0;
}

static int convention_values(logits_state *state) {
    const psc_host *host = state->host;
    psc_context *context = state->run.context;
    const int moved = state->run.targets.rows.moved;
    return host->value_text(context, "finest_level", logits_level_names[state->finest]) ||
                   host->value_text(context, "logits", state->centered ? "centred" : "raw") ||
                   host->value_text(context, "convention",
                       state->centered
                           ? "share = (u . c)/sigma_f of the logit minus the vocabulary's mean "
                             "logit (a contrast has none of it)"
                           : "share = (u . c)/sigma_f of the raw logit") ||
                   host->value_text(context, "note", "shares are not ablation effects") ||
                   host->value_number(context, "last_moved_for_next", moved)
               ? -1
               : 0;
}

/* The worst sum at a level whose sums do not close. */
static int failure_sentence(logits_state *state, int id) {
    const logits_run *run = &state->run;
    const logits_level *level = &run->levels[id];
    const int64_t n_rows = run->targets.rows.n, at = level->worst_at;
    char sentence[640], count[32], place[PSC_ROW_NAME], name[PSC_TARGET_NAME];
    if (level->failed == 0) return 0;
    snprintf(sentence, sizeof sentence,
        "NOT COMPLETE: %s sums at level %s do not close. The worst is %.200s at %s: error %.3g "
        "against a bound of %.3g. Do not trust these shares.",
        psc_commas((double)level->failed, count), logits_level_names[id],
        psc_target_name(&run->targets, at / n_rows, at % n_rows, name),
        psc_row_name(
            run->context, run->host, psc_chosen_row(&run->targets, (int32_t)(at % n_rows)), place),
        (double)level->error[at], LOGITS_BOUND * (1.0 + level->sum_abs[at]));
    return run->host->summary_text(run->context, sentence);
}

static int completeness_sentence(logits_state *state) {
    const logits_run *run = &state->run;
    double worst = 0.0;
    int64_t failed = 0;
    char sentence[256], count[32];
    for (int i = 0; i < LEVEL_COUNT; i++) {
        failed += run->levels[i].failed;
        if (run->levels[i].worst > worst) worst = run->levels[i].worst;
        if (failure_sentence(state, i)) return -1;
    }
    if (failed) return 0;
    snprintf(sentence, sizeof sentence,
        "Complete: %s %s checked; the largest error is %.1e times (1 + sum |share|), the bound is "
        "%.0e.",
        psc_commas((double)run->checked, count), run->checked == 1 ? "sum" : "sums", worst,
        LOGITS_BOUND);
    return run->host->summary_text(run->context, sentence);
}

static int target_summary(logits_state *state, int32_t t) {
    logits_run *run = &state->run;
    const int32_t slot = psc_target_last(&run->targets, t);
    if (slot < 0)
        return run->host->summary_text(
            run->context, "next: the requested rows have no next token, so there are no shares.");
    if (logits_target_say(state, t, slot)) return -1;
    for (int i = 0; i < LEVEL_COUNT && state->top > 0; i++)
        if (run->levels[i].asked && level_bars(state, i, t, slot)) return -1;
    return 0;
}

static int write_ids(logits_run *run) {
    const char *const axes[3] = {"targets", "rows", "ids"};
    int32_t *ids = psc_token_ids_array(run->context, run->host, "target_ids", 3, axes);
    if (!ids) return -1;
    memcpy(ids, run->targets.ids,
        2 * (size_t)run->targets.n * (size_t)run->targets.rows.n * sizeof *ids);
    return 0;
}

int logits_report(logits_state *state) {
    logits_run *run = &state->run;
    const psc_host *host = state->host;
    if (write_ids(run) || convention_values(state) || completeness_values(state)) return -1;
    if (run->targets.rows.moved &&
        host->summary_text(run->context,
            "rows=last with the target next: the last row has no next token, so the summary shows "
            "the one before it."))
        return -1;
    const int32_t shown = run->targets.n < MAX_SHOWN ? run->targets.n : MAX_SHOWN;
    if (logits_notes_say(run, shown)) return -1;
    for (int32_t t = 0; t < shown; t++)
        if (target_summary(state, t)) return -1;
    char sentence[128];
    snprintf(sentence, sizeof sentence, "%d more targets are in the arrays.",
        (int)(run->targets.n - shown));
    if (shown < run->targets.n && host->summary_text(run->context, sentence)) return -1;
    if (completeness_sentence(state)) return -1;
    return host->summary_text(run->context,
        "A share is direct logit attribution: what a component wrote into the logit, not what its "
        "ablation would change.");
}
