/* Agreement of structures.
 *
 *   F1 = 2 |A and B| / (|A| + |B|)
 *   AUROC = (sum of the positives' ranks - n1 (n1 + 1) / 2) / (n1 n0), ties at their mean rank
 *   Spearman = Pearson's correlation of mean ranks
 *   bootstrap: sentences drawn with replacement; quantile q is entry floor(q (draws - 1) + 1/2) */
#include "agreement.h"
#include "cuts.h"

#include <math.h>
#include <stdlib.h>

/* --- spans ----------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const psc_span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

int32_t psc_spans_unique(int32_t n, psc_span *spans) {
    int32_t kept = 0;
    if (n > 1) qsort(spans, (size_t)n, sizeof *spans, by_place);
    for (int32_t i = 0; i < n; i++)
        if (kept == 0 || by_place(&spans[kept - 1], &spans[i]) != 0) spans[kept++] = spans[i];
    return kept;
}

int32_t psc_spans_shared(int32_t n_a, const psc_span *a, int32_t n_b, const psc_span *b) {
    int32_t i = 0, j = 0, shared = 0;
    while (i < n_a && j < n_b) {
        const int order = by_place(&a[i], &b[j]);
        shared += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return shared;
}

double psc_span_f1(const psc_span_counts *c) {
    return c->found + c->gold > 0 ? 2.0 * (double)c->shared / (double)(c->found + c->gold) : NAN;
}

double psc_span_recall(const psc_span_counts *c) {
    return c->gold > 0 ? (double)c->shared / (double)c->gold : NAN;
}

/* --- ranks ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    const psc_rank_entry *x = a, *y = b;
    if (x->value < y->value || x->value > y->value) return x->value < y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

void psc_ranks(int64_t n, const double *x, double *ranks, psc_rank_entry *scratch) {
    for (int64_t i = 0; i < n; i++) scratch[i] = (psc_rank_entry){x[i], i};
    if (n > 1) qsort(scratch, (size_t)n, sizeof *scratch, by_value);
    for (int64_t first = 0, end = 0; first < n; first = end) {
        while (end < n && scratch[end].value == scratch[first].value) end++;
        for (int64_t i = first; i < end; i++)
            ranks[scratch[i].index] = 0.5 * (double)(first + 1 + end);
    }
}

double psc_auroc(int64_t n, const double *score, const uint8_t *positive, double *ranks,
    psc_rank_entry *scratch) {
    double sum = 0.0;
    int64_t n1 = 0;
    psc_ranks(n, score, ranks, scratch);
    for (int64_t i = 0; i < n; i++) {
        if (!positive[i]) continue;
        sum += ranks[i];
        n1++;
    }
    if (n1 == 0 || n1 == n) return NAN;
    return (sum - 0.5 * (double)n1 * (double)(n1 + 1)) / ((double)n1 * (double)(n - n1));
}

double psc_spearman(
    int64_t n, const double *x, const double *y, double *ranks, psc_rank_entry *scratch) {
    const double mean = 0.5 * (double)(n + 1);
    double xy = 0.0, xx = 0.0, yy = 0.0;
    psc_ranks(n, x, ranks, scratch);
    psc_ranks(n, y, ranks + n, scratch);
    for (int64_t i = 0; i < n; i++) {
        const double dx = ranks[i] - mean, dy = ranks[n + i] - mean;
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    return xx > 0.0 && yy > 0.0 ? xy / sqrt(xx * yy) : NAN;
}

/* --- chance ---------------------------------------------------------------------------------- */

static double rate_of(const psc_rate *sum) {
    return sum->denominator > 0.0 ? sum->numerator / sum->denominator : NAN;
}

static void add_rate(psc_rate *sum, const psc_rate *part) {
    sum->numerator += part->numerator;
    sum->denominator += part->denominator;
}

/* The difference of one sample: n sentences drawn, or each once when state is null. */
static double sample(int32_t n, const psc_rate *a, const psc_rate *b, uint64_t *state) {
    psc_rate sum_a = {0}, sum_b = {0};
    for (int32_t i = 0; i < n; i++) {
        const int32_t k = state ? psc_tree_random_below(state, n) : i;
        add_rate(&sum_a, &a[k]);
        if (b) add_rate(&sum_b, &b[k]);
    }
    return b ? rate_of(&sum_a) - rate_of(&sum_b) : rate_of(&sum_a);
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

psc_interval psc_bootstrap(int32_t n, const psc_rate *a, const psc_rate *b, int32_t draws,
    uint64_t seed, double *scratch) {
    psc_interval out = {sample(n, a, b, NULL), NAN, NAN};
    int32_t kept = 0;
    if (n < 2) return out;
    for (int32_t d = 0; d < draws; d++) {
        scratch[kept] = sample(n, a, b, &seed);
        kept += !isnan(scratch[kept]);
    }
    if (kept == 0) return out;
    qsort(scratch, (size_t)kept, sizeof *scratch, by_number);
    out.low = scratch[(int32_t)(0.025 * (kept - 1) + 0.5)];
    out.high = scratch[(int32_t)(0.975 * (kept - 1) + 0.5)];
    return out;
}
