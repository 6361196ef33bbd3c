/* The printed summary of `partition` for the last row of a run: log Z, the changes that move it
 * most, how often holding it fixed fails, and how proportional the changes are. */
#include "partition_arrays.h"
#include "top.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_BARS = 8 };
enum { DLOGZ = 0, FIRST_ORDER = 3, R2 = 7 }; /* indices in partition_arrays.scalars */

static double scalar(const partition_state *s, int which, int64_t change) {
    return s->arrays->scalars[which][change * s->rows.n + s->rows.n - 1];
}

static int base_sentence(partition_state *s) {
    const partition_before *before = &s->before[s->n_lenses - 1];
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    char sentence[480], place[PSC_ROW_NAME];
    snprintf(sentence, sizeof sentence,
        "At %s log Z = %.3f, %.3f above the largest logit, that of %.80s. The top token "
        "has %.1f %% of Z, the top ten %.1f %%; p1 - p2 = %.3f.",
        psc_row_name(s->context, s->host, &rows[s->rows.index[s->rows.n - 1]], place),
        before->log_z, before->shifted_log_z, s->host->token_text(s->context, before->order[0]),
        100.0 * before->top_share[0], 100.0 * before->top_share[1], before->margin);
    return s->host->summary_text(s->context, sentence);
}

/* The changes of one kind with the largest |dlogZ|. */
static int kind_bars(partition_state *s, int32_t kind, const char *title) {
    const char *labels[MOST_BARS];
    double values[MOST_BARS];
    psc_ranked entries[MOST_BARS];
    psc_top_list top = {entries, MOST_BARS, 0};
    for (int32_t i = s->first[kind]; i < s->n_changes && s->changes[i].kind == kind; i++)
        psc_top_offer(&top, fabs(scalar(s, DLOGZ, i)), i);
    for (int32_t i = 0; i < top.n; i++) {
        values[i] = scalar(s, DLOGZ, top.at[i].index);
        labels[i] = s->changes[top.at[i].index].label;
    }
    return top.n ? s->host->summary_bars(s->context, title, "nats", top.n, labels, values) : 0;
}

static int error_sentence(partition_state *s) {
    int over[3] = {0}, top = 0;
    const int64_t n = s->n_changes, rows = s->rows.n;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t g = 0; g < 2; g++)
            over[g] +=
                fabs(s->arrays->constant_z_error[(g * n + i) * rows + rows - 1]) > PARTITION_FAR;
        over[2] += fabs(scalar(s, FIRST_ORDER, i)) > PARTITION_FAR;
        top += s->arrays->reordered[2 * (i * rows + rows - 1)];
    }
    char sentence[320];
    snprintf(sentence, sizeof sentence,
        "Of %d changes, holding log Z fixed errs by more than %.1f nat in %d (raw logits) or %d "
        "(minus the vocabulary's mean); the first order sum p dz errs in %d. %d change the top "
        "token.",
        (int)n, PARTITION_FAR, over[0], over[1], over[2], top);
    return s->host->summary_text(s->context, sentence);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int fit_sentence(partition_state *s) {
    double *r2 = s->host->run_alloc(s->context, (uint64_t)s->n_changes * sizeof *r2 + 1);
    int32_t n = 0;
    if (!r2) return -1;
    for (int32_t i = 0; i < s->n_changes; i++)
        if (!isnan(scalar(s, R2, i))) r2[n++] = scalar(s, R2, i);
    if (n == 0) return 0;
    qsort(r2, (size_t)n, sizeof *r2, by_value);
    char sentence[240];
    snprintf(sentence, sizeof sentence,
        "dz = alpha + beta (z - b) explains from %.0f to %.0f %% of a change's variance over the "
        "vocabulary, %.0f %% at the median; proportional logits would give 100 %%.",
        100.0 * r2[0], 100.0 * r2[n - 1], 100.0 * r2[n / 2]);
    return s->host->summary_text(s->context, sentence);
}

int partition_summary(partition_state *s) {
    if (partition_arrays_targets(s)) return -1;
    if (s->rows.n < 1) return 0;
    return base_sentence(s) ||
                   kind_bars(s, PARTITION_STEP, "dlogZ from one layer's lens to the next") ||
                   kind_bars(s, PARTITION_RECOMPUTED, "dlogZ without a component, recomputed_ln") ||
                   kind_bars(s, PARTITION_ABLATION, "dlogZ without a component, ablation") ||
                   (!s->asked[PARTITION_RECOMPUTED] &&
                       kind_bars(s, PARTITION_FROZEN, "dlogZ without a component, frozen_ln")) ||
                   (s->n_changes && (error_sentence(s) || fit_sentence(s)))
               ? -1
               : 0;
}
