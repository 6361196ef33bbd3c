/* The results of one text: the loss of each chosen token, and the tokens that are hardest. */
#include "loss.h"
#include "top.h"

#include <math.h>
#include <stdio.h>

/* The array [rows] of a measure. */
static int put_array(loss_state *s, const char *name, const double *values) {
    static const char *const axes[] = {"rows"};
    double *out = s->host->array(s->context, name, PSC_F64, 1, axes);
    if (!out) return -1;
    for (int32_t r = 0; r < s->rows.n; r++) out[r] = values[s->rows.index[r]];
    return 0;
}

/* The tokens with the largest losses, or with the largest differences of either sign. */
static int put_hardest(loss_state *s) {
    const double *x = s->change ? s->change : s->loss;
    psc_ranked entries[LOSS_MOST];
    psc_top_list top = {entries, s->top, 0};
    char names[LOSS_MOST][PSC_ROW_NAME];
    const char *labels[LOSS_MOST];
    double values[LOSS_MOST];
    for (int32_t i = 0; i < s->rows.n_all; i++)
        if (s->is_scored[i]) psc_top_offer(&top, s->change ? fabs(x[i]) : x[i], i);
    for (int32_t k = 0; k < top.n; k++) {
        const int32_t i = (int32_t)top.at[k].index;
        labels[k] = psc_row_name(s->context, s->host, &s->all[i], names[k]);
        values[k] = x[i];
    }
    if (top.n == 0) return 0;
    return s->host->summary_bars(s->context, s->change ? "Largest differences" : "Largest losses",
        "nats", top.n, labels, values);
}

int loss_report_run(loss_state *s) {
    loss_totals totals = {{0}, {0}};
    for (int32_t begin = 0, end; begin < s->rows.n_all; begin = end) {
        end = loss_sequence_end(s, begin);
        loss_totals_window(s, begin, end, &totals);
    }
    if (psc_rows_axis(s->context, s->host, "rows", &s->rows) || put_array(s, "loss", s->loss) ||
        (s->change && put_array(s, "difference", s->change)))
        return -1;
    return loss_figures(s, &totals) || put_hardest(s);
}
