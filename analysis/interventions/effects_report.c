/* The arrays of `effects` and its part of the summary: a sentence and bars for the last rows. */
#include "effects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 4 };

int effects_arrays(effects_state *s) {
    static const char *const by_target[] = {"targets", "rows"};
    static const char *const by_row[] = {"rows"}, *const by_rank[] = {"rows", "ranks"};
    const psc_host *host = s->host;
    psc_context *c = s->context;
    if (psc_rows_axis(c, host, "rows", &s->rows) || psc_targets_results(&s->targets, "rows") ||
        psc_count_axis(c, host, "ranks", 1, s->top))
        return -1;
    s->dz = host->array(c, "dz", PSC_F64, 2, by_target);
    s->dlog_p = host->array(c, "dlog_p", PSC_F64, 2, by_target);
    s->frozen_ln = host->array(c, "frozen_ln", PSC_F64, 2, by_target);
    s->recomputed = host->array(c, "recomputed_ln", PSC_F64, 2, by_target);
    s->kl = host->array(c, "kl", PSC_F64, 1, by_row);
    s->dlog_z = host->array(c, "dlog_z", PSC_F64, 1, by_row);
    s->top_before = psc_token_ids_array(c, host, "top_before", 2, by_rank);
    s->top_after = psc_token_ids_array(c, host, "top_after", 2, by_rank);
    s->p_before = host->array(c, "top_p_before", PSC_F32, 2, by_rank);
    s->p_after = host->array(c, "top_p_after", PSC_F32, 2, by_rank);
    const int complete = s->dz && s->dlog_p && s->frozen_ln && s->recomputed && s->kl &&
                         s->dlog_z && s->top_before && s->top_after && s->p_before && s->p_after;
    return complete ? 0 : -1;
}

/* "' a' 0.412, ' the' 0.101" for the first few tokens. */
static void list_top(
    const effects_state *s, const int32_t *ids, const float *p, char *out, size_t size) {
    char figure[PSC_FIGURE];
    size_t used = 0;
    out[0] = 0;
    for (int32_t i = 0; i < s->top && i < 5 && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s %s", i ? ", " : "",
            s->host->token_text(s->context, ids[i]), psc_probability(figure, (double)p[i]));
}

static int say_row(const effects_state *s, int32_t slot) {
    char text[1024], before[400], after[400], place[PSC_ROW_NAME];
    int32_t n = 0;
    const psc_row *row = &s->host->rows(s->context, &n)[s->rows.index[slot]];
    const int32_t *was = s->top_before + slot * s->top, *is = s->top_after + slot * s->top;
    list_top(s, was, s->p_before + slot * s->top, before, sizeof before);
    list_top(s, is, s->p_after + slot * s->top, after, sizeof after);
    snprintf(text, sizeof text,
        "At %s: KL(base || changed) %.4g nats, dlogZ %+.4g, the top token %s",
        psc_row_name(s->context, s->host, row, place), s->kl[slot], s->dlog_z[slot],
        was[0] == is[0] ? "stays" : "changes");
    if (s->host->summary_text(s->context, text)) return -1;
    snprintf(text, sizeof text, "before: %s", before);
    if (s->host->summary_text(s->context, text)) return -1;
    snprintf(text, sizeof text, "after:  %s", after);
    return s->host->summary_text(s->context, text);
}

/* Shows the real change of a target's logit beside its predictions. */
static int show_target(const effects_state *s, int32_t t, int32_t slot) {
    static const char *const labels[] = {
        "dz, the real change", "frozen_ln predicted", "recomputed_ln predicted", "dlog p"};
    const int64_t at = (int64_t)t * s->rows.n + slot;
    const double values[] = {s->dz[at], s->frozen_ln[at], s->recomputed[at], s->dlog_p[at]};
    const char *shown[4];
    double numbers[4];
    char title[320], place[PSC_ROW_NAME], name[PSC_TARGET_NAME];
    psc_target_rows before = s->targets; /* with the ids that the unchanged run had */
    before.ids = s->base.ids;
    int32_t n = 0;
    if (s->base.ids[2 * at] < 0) return 0;
    for (int i = 0; i < 4; i++) {
        if (isnan(values[i])) continue;
        shown[n] = labels[i];
        numbers[n++] = values[i];
    }
    snprintf(title, sizeof title, "%.160s at %s", psc_target_name(&before, t, slot, name),
        psc_row_name(s->context, s->host, psc_chosen_row(&s->targets, slot), place));
    if (s->host->summary_bars(s->context, title, "nats", n, shown, numbers)) return -1;
    return effects_say_source(s, t, slot);
}

static int say_prediction(const effects_state *s) {
    char text[400];
    const char *why = effects_no_prediction(s);
    if (!why) return 0;
    snprintf(text, sizeof text, "frozen_ln and recomputed_ln do not apply: %s%s%s%s", why,
        s->edits.outside ? " (" : "", s->edits.outside ? s->edits.outside : "",
        s->edits.outside ? ")" : "");
    return s->host->value_text(s->context, "no_prediction", why) ||
           s->host->summary_text(s->context, text);
}

static int say_rest(const effects_state *s, int32_t first) {
    char text[320], place[PSC_ROW_NAME];
    double sum = 0.0;
    int32_t worst = 0, n = 0, changed = 0;
    for (int32_t r = 0; r < s->rows.n; r++) {
        sum += s->kl[r];
        if (s->kl[r] > s->kl[worst]) worst = r;
        changed += s->top_before[r * (int64_t)s->top] != s->top_after[r * (int64_t)s->top];
    }
    const psc_row *rows = s->host->rows(s->context, &n);
    if (s->host->value_number(s->context, "kl_mean", sum / s->rows.n) ||
        s->host->value_number(s->context, "top_changed", changed))
        return -1;
    if (first == 0) return 0;
    snprintf(text, sizeof text,
        "all %s rows: mean KL %.4g nats, the largest %.4g at %s; the top token changes at %s "
        "rows",
        PSC_COMMAS(s->rows.n), sum / s->rows.n, s->kl[worst],
        psc_row_name(s->context, s->host, &rows[s->rows.index[worst]], place), PSC_COMMAS(changed));
    return s->host->summary_text(s->context, text);
}

int effects_report(effects_state *s) {
    const int32_t first = s->rows.n > MAX_SHOWN ? s->rows.n - MAX_SHOWN : 0;
    if (s->edits.first == INT32_MAX && s->host->summary_text(s->context, "no edit changed any row"))
        return -1;
    if (say_rest(s, first) || say_prediction(s)) return -1;
    for (int32_t slot = first; slot < s->rows.n; slot++) {
        if (say_row(s, slot)) return -1;
        for (int32_t t = 0; t < s->targets.n; t++)
            if (show_target(s, t, slot)) return -1;
    }
    return 0;
}
