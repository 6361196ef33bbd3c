/* The report of the plugin `logits`: values, and a summary with the largest shares as bars. */
#include "logits.h"
#include "top.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_SHOWN 4 /* targets with bars in the summary */

/* --- sentences ------------------------------------------------------------------------------- */

/* 4129 as "4,129". */
static const char *with_commas(int64_t number, char out[32]) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRId64, number);
    int at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* The text's last bytes up to a row's end, cut at a word or else at a character. Control characters
 * become blanks. */
static void text_before(const logits_run *run, const psc_row *row, char *out, size_t size) {
    uint64_t bytes = 0;
    const char *text = run->host->text(run->context, &bytes);
    out[0] = '\0';
    if (!text || row->end > bytes || row->end == 0) return;
    const uint64_t most = 40;
    uint64_t begin = row->end > most ? row->end - most : 0;
    const char *space = begin ? memchr(text + begin, ' ', (size_t)(row->end - begin) / 2) : NULL;
    if (space) begin = (uint64_t)(space + 1 - text);
    while (begin < row->end && ((unsigned char)text[begin] & 0xc0) == 0x80) begin++;
    size_t n = 0;
    const char *dots = begin ? "\u2026" : "";
    n = (size_t)snprintf(out, size, "\"%s", dots);
    for (uint64_t i = begin; i < row->end && n + 2 < size; i++)
        out[n++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
    out[n++] = '"';
    out[n] = '\0';
}

static const psc_row *row_of(const logits_run *run, int32_t slot) {
    int32_t n = 0;
    return &run->host->rows(run->context, &n)[run->targets.rows.index[slot]];
}

static int expectation(logits_run *run, const logits_row_note *note) {
    char place[96];
    const psc_row *row = row_of(run, note->slot);
    text_before(run, row, place, sizeof place);
    char sentence[512];
    snprintf(sentence, sizeof sentence,
        "After %s%s(position %d) the model expects %s (p = %.3g, logit %.4g).",
        place[0] ? place : run->host->token_text(run->context, row->token), " ", (int)row->position,
        run->host->token_text(run->context, note->top), exp((double)note->top_logit - note->log_z),
        (double)note->top_logit);
    return run->host->summary_text(run->context, sentence);
}

/* "' C' (top:1)": the id's text and the label, if the label alone does not show the text. */
static void target_name(const logits_run *run, int32_t t, int32_t slot, char *out, size_t size) {
    const psc_target *target = &run->targets.targets[t];
    const int32_t id = run->targets.ids[2 * ((int64_t)t * run->targets.rows.n + slot)];
    if (target->kind == PSC_TARGET_TOP || target->kind == PSC_TARGET_NEXT)
        snprintf(out, size, "%s (%s)", run->host->token_text(run->context, id), target->label);
    else
        snprintf(out, size, "%s", target->label);
}

static int target_sentence(logits_state *state, int32_t t, int32_t slot) {
    const logits_run *run = &state->run;
    const int64_t at = (int64_t)t * run->targets.rows.n + slot;
    const logits_level *level = &run->levels[state->finest];
    const int contrast = run->targets.targets[t].kind == PSC_TARGET_CONTRAST;
    char name[200], count[32], sentence[640], probability[48] = "";
    target_name(run, t, slot, name, sizeof name);
    for (int i = 0; i < 2 && !contrast && !state->centered; i++)
        if (run->notes[i].slot == slot)
            snprintf(probability, sizeof probability, " (p = %.3g)",
                exp((double)run->values[at] - run->notes[i].log_z));
    snprintf(sentence, sizeof sentence,
        "%s at position %d has %s%s %.4f%s = constant %.4f + shares of %s components %.4f; sum "
        "|share| is %.4g.",
        name, (int)row_of(run, slot)->position, state->centered && !contrast ? "centered " : "",
        contrast ? "logit difference" : "logit", (double)run->values[at], probability,
        (double)run->constant[at], with_commas(level->width, count), level->sum[at],
        level->sum_abs[at]);
    return run->host->summary_text(run->context, sentence);
}

/* --- bars ------------------------------------------------------------------------------------ */

static int level_bars(logits_state *state, int id, int32_t t, int32_t slot) {
    logits_run *run = &state->run;
    const logits_level *level = &run->levels[id];
    const int64_t at = (int64_t)t * run->targets.rows.n + slot;
    const float *shares = level->shares + at * level->width;
    const uint64_t most = (uint64_t)state->top;
    psc_top_list top = {run->host->run_alloc(run->context, most * sizeof *top.at), state->top, 0};
    const char **labels = run->host->run_alloc(run->context, most * sizeof *labels);
    double *values = run->host->run_alloc(run->context, most * sizeof *values);
    if (!top.at || !labels || !values) return -1;
    psc_top_f32(&top, level->width, shares, PSC_TOP_ABSOLUTE);
    double covered = 0.0, covered_abs = 0.0;
    for (int32_t i = 0; i < top.n; i++) {
        labels[i] = state->labels[id][top.at[i].index];
        values[i] = (double)shares[top.at[i].index];
        covered += values[i];
        covered_abs += fabs(values[i]);
    }
    char name[200], count[32], title[512];
    target_name(run, t, slot, name, sizeof name);
    snprintf(title, sizeof title,
        "Shares of %s by %s: the largest %d of %s (together %.4f of %.4f; %.0f %% of sum |share|)",
        name, logits_level_names[id], (int)top.n, with_commas(level->width, count), covered,
        level->sum[at], level->sum_abs[at] > 0 ? 100.0 * covered_abs / level->sum_abs[at] : 100.0);
    return run->host->summary_bars(run->context, title, "nats", top.n, labels, values);
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
    char sentence[512], count[32];
    if (level->failed == 0) return 0;
    snprintf(sentence, sizeof sentence,
        "NOT COMPLETE: %s sums at level %s do not close. The worst is %.200s at position %d: error "
        "%.3g against a bound of %.3g. Do not trust these shares.",
        with_commas(level->failed, count), logits_level_names[id],
        run->targets.targets[at / n_rows].label, (int)row_of(run, (int32_t)(at % n_rows))->position,
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
        with_commas(run->checked, count), run->checked == 1 ? "sum" : "sums", worst, LOGITS_BOUND);
    return run->host->summary_text(run->context, sentence);
}

static int target_summary(logits_state *state, int32_t t) {
    logits_run *run = &state->run;
    const int32_t slot = psc_target_last(&run->targets, t);
    if (slot < 0)
        return run->host->summary_text(
            run->context, "next: the requested rows have no next token, so there are no shares.");
    if (target_sentence(state, t, slot)) return -1;
    for (int i = 0; i < LEVEL_COUNT && state->top > 0; i++)
        if (run->levels[i].asked && level_bars(state, i, t, slot)) return -1;
    return 0;
}

/* Whether the summary shows a target at this row. */
static int note_is_shown(const logits_run *run, int i, int32_t n_shown) {
    const int32_t slot = run->notes[i].slot;
    if (slot < 0 || (i == 1 && slot == run->notes[0].slot)) return 0;
    for (int32_t t = 0; t < n_shown; t++)
        if (psc_target_last(&run->targets, t) == slot) return 1;
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
            "rows=last with the target next: the last position has no next token, so the summary "
            "shows the one before it."))
        return -1;
    const int32_t shown = run->targets.n < MAX_SHOWN ? run->targets.n : MAX_SHOWN;
    for (int i = 1; i >= 0; i--) /* the earlier row first */
        if (note_is_shown(run, i, shown) && expectation(run, &run->notes[i])) return -1;
    for (int32_t t = 0; t < shown; t++)
        if (target_summary(state, t)) return -1;
    char sentence[128];
    snprintf(sentence, sizeof sentence, "%d more targets are in the arrays.",
        (int)(run->targets.n - shown));
    if (shown < run->targets.n && host->summary_text(run->context, sentence)) return -1;
    if (completeness_sentence(state)) return -1;
    return host->summary_text(run->context,
        "Shares are not ablation effects: they show which components wrote the logit.");
}
