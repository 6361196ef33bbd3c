/* What the summary of `logits` says about a row: the ten likeliest tokens, and each target's rank,
 * probability and sum.
 *
 *   rank = 1 + |{v: z_v > z_a, or z_v = z_a and v < a}|, p = exp(z_a - log sum_v exp z_v) */
#include "logits.h"
#include "top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- a run ----------------------------------------------------------------------------------- */

int logits_notes_begin(logits_run *run) {
    const psc_target_rows *targets = &run->targets;
    run->notes[0].slot = targets->rows.n - 1;
    run->notes[1].slot = -1;
    for (int32_t t = 0; t < targets->n; t++)
        if (targets->targets[t].kind == PSC_TARGET_NEXT)
            run->notes[1].slot = psc_target_last(targets, t);
    const uint64_t n = 2 * (uint64_t)targets->n;
    for (int i = 0; i < 2; i++) {
        run->notes[i].ranks = run->host->run_alloc(run->context, n * sizeof(int32_t) + 1);
        run->notes[i].p = run->host->run_alloc(run->context, n * sizeof(double) + 1);
        if (!run->notes[i].ranks || !run->notes[i].p) return -1;
    }
    return 0;
}

static int32_t rank_of(int32_t id, int32_t n, const float *z) {
    int32_t rank = 1;
    for (int32_t v = 0; v < n; v++) rank += z[v] > z[id] || (v < id && z[v] == z[id]);
    return rank;
}

static void take_note(logits_run *run, logits_row_note *note, const float *z) {
    const int32_t n = run->model->d_vocab;
    const double log_z = run->host->log_sum_exp(run->context, n, z);
    psc_ranked entries[LOGITS_LIKELIEST];
    psc_top_list top = {entries, LOGITS_LIKELIEST, 0};
    psc_top_f32(&top, n, z, PSC_TOP_LARGEST);
    note->n_likely = top.n;
    for (int32_t i = 0; i < top.n; i++) {
        note->likely[i] = (int32_t)top.at[i].index;
        note->likely_p[i] = exp(top.at[i].key - log_z);
    }
    for (int64_t i = 0; i < 2 * (int64_t)run->targets.n; i++) {
        const int64_t at = (i / 2) * run->targets.rows.n + note->slot;
        const int32_t id = run->targets.ids[2 * at + i % 2];
        note->ranks[i] = id < 0 ? 0 : rank_of(id, n, z);
        note->p[i] = id < 0 ? NAN : exp((double)z[id] - log_z);
    }
}

void logits_notes_take(logits_run *run, int32_t slot, const float *logits) {
    for (int i = 0; i < 2; i++)
        if (run->notes[i].ranks && run->notes[i].slot == slot)
            take_note(run, &run->notes[i], logits);
}

/* --- sentences ------------------------------------------------------------------------------- */

/* One byte, at most four characters; returns their number. Nothing ends the text. */
static size_t put_byte(char *out, char byte) {
    static const char marks[] = "\t\n\r", letters[] = "tnr";
    const unsigned char c = (unsigned char)byte;
    const char *mark = c ? strchr(marks, c) : NULL;
    char shown[5] = {byte};
    if (mark)
        snprintf(shown, sizeof shown, "\\%c", letters[mark - marks]);
    else if (c < 0x20 || c == 0x7f)
        snprintf(shown, sizeof shown, "\\x%02x", c);
    const size_t n = strlen(shown);
    memcpy(out, shown, n); // NOLINT(bugprone-not-null-terminated-result): nothing ends the text
    return n;
}

/* The text's last bytes up to a row's end, cut at a word or else at a character, and a blank.
 * Control characters are shown as in names of tokens: \n, \x1b. */
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
    size_t n = (size_t)snprintf(out, size, "\"%s", begin ? "\u2026" : "");
    for (uint64_t i = begin; i < row->end && n + 7 < size; i++) n += put_byte(out + n, text[i]);
    memcpy(out + n, "\" ", 3);
}

static int likeliest(logits_run *run, const logits_row_note *note) {
    char text[200], place[PSC_ROW_NAME], sentence[1024], p[PSC_FIGURE];
    const psc_row *row = psc_chosen_row(&run->targets, note->slot);
    text_before(run, row, text, sizeof text);
    const char *name = psc_row_name(run->context, run->host, row, place);
    size_t used = (size_t)snprintf(sentence, sizeof sentence,
        "The likeliest tokens after %s%s%s%s and their p: ", text, text[0] ? "(" : "", name,
        text[0] ? ")" : "");
    for (int32_t i = 0; i < note->n_likely && used < sizeof sentence; i++)
        used += (size_t)snprintf(sentence + used, sizeof sentence - used, "%s%.60s %s",
            i ? ", " : "", run->host->token_text(run->context, note->likely[i]),
            psc_probability(p, note->likely_p[i]));
    if (used + 1 < sizeof sentence) memcpy(sentence + used, ".", 2);
    return run->host->summary_text(run->context, sentence);
}

/* Whether the summary shows a target at this row. */
static int is_shown(const logits_run *run, int i, int32_t n_shown) {
    const int32_t slot = run->notes[i].slot;
    if (slot < 0 || (i == 1 && slot == run->notes[0].slot)) return 0;
    for (int32_t t = 0; t < n_shown; t++)
        if (psc_target_last(&run->targets, t) == slot) return 1;
    return 0;
}

int logits_notes_say(logits_run *run, int32_t n_shown) {
    for (int i = 1; i >= 0; i--) /* the earlier row first */
        if (is_shown(run, i, n_shown) && likeliest(run, &run->notes[i])) return -1;
    return 0;
}

/* "rank 3, p = 0.0412, "; of a contrast each token's: "ranks 3 and 1, p = 0.0412 and 0.2, ". */
static void rank_text(const logits_run *run, int32_t t, int32_t slot, char *out, size_t size) {
    const logits_row_note *note = NULL;
    out[0] = 0;
    for (int i = 0; i < 2; i++)
        if (run->notes[i].slot == slot) note = &run->notes[i];
    if (!note) return;
    const int32_t *ranks = note->ranks + 2 * (int64_t)t;
    const double *p = note->p + 2 * (int64_t)t;
    char a[32], b[32];
    if (ranks[1] > 0)
        snprintf(out, size, "ranks %s and %s, p = %.3g and %.3g, ", psc_commas(ranks[0], a),
            psc_commas(ranks[1], b), p[0], p[1]);
    else
        snprintf(out, size, "rank %s, p = %.3g, ", psc_commas(ranks[0], a), p[0]);
}

/* The sums are those of the coarsest level, whose bars come first. */
int logits_target_say(logits_state *state, int32_t t, int32_t slot) {
    const logits_run *run = &state->run;
    const int64_t at = (int64_t)t * run->targets.rows.n + slot;
    const logits_level *level = run->levels;
    while (!level->asked) level++;
    const int contrast = run->targets.ids[2 * at + 1] >= 0;
    char count[32], sentence[768], ranks[128], place[PSC_ROW_NAME], name[PSC_TARGET_NAME];
    rank_text(run, t, slot, ranks, sizeof ranks);
    snprintf(sentence, sizeof sentence,
        "%.160s at %s: %s%s%s %.4f = constant %.4f + %.4f from %s shares (direct logit attribution); "
        "sum |share| is %.4g.",
        psc_target_name(&run->targets, t, slot, name),
        psc_row_name(run->context, run->host, psc_chosen_row(&run->targets, slot), place), ranks,
        state->centered && !contrast ? "centered " : "", contrast ? "logit difference" : "logit",
        (double)run->values[at], (double)run->constant[at], level->sum[at],
        psc_commas((double)level->width, count), level->sum_abs[at]);
    return run->host->summary_text(run->context, sentence);
}
