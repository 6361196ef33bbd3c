/* What the attention's means over documents say: the heads that stand out by each of four
 * statistics, without each window's position 0, to which nearly all heads attend. */
#include "attention.h"

#include <stdio.h>

static const struct {
    attention_stat stat;
    const char *title;
} shown[] = {
    {STAT_INDUCTION,
        "mean attention to the token after an earlier copy of the row's token (induction)"},
    {STAT_PREVIOUS, "mean attention to the previous token"},
    {STAT_SAME, "mean attention to earlier copies of the row's token"},
    {STAT_FIRST, "mean attention to the window's first token"},
};

static int show(attention_state *s, const double *means, attention_stat stat, const char *title) {
    psc_ranked entries[ATTENTION_MOST];
    psc_top_list top = {entries, s->top, 0};
    const char *labels[ATTENTION_MOST];
    double values[ATTENTION_MOST];
    for (int64_t cell = 0; cell < s->n_cells; cell++)
        if (means[cell * STAT_COUNT + stat] > 0.0) /* NaN: no row had it */
            psc_top_offer(&top, means[cell * STAT_COUNT + stat], cell);
    if (top.n == 0) return 0;
    for (int32_t i = 0; i < top.n; i++) {
        const int32_t cell = (int32_t)top.at[i].index;
        labels[i] =
            s->host->label(s->context, PSC_COMPONENT_HEAD, cell / s->n_heads, cell % s->n_heads);
        values[i] = top.at[i].key;
    }
    return s->host->summary_bars(s->context, title, "", top.n, labels, values);
}

int attention_summary_documents(attention_state *s, const double *means, double n_rows) {
    char sentence[160];
    snprintf(sentence, sizeof sentence, "Means over %s, without each window's position 0.",
        PSC_MANY(n_rows, "row"));
    if (s->host->summary_text(s->context, sentence)) return -1;
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (show(s, means, shown[i].stat, shown[i].title)) return -1;
    return 0;
}
