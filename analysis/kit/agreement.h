/* Agreement of structures: span F1, AUROC, Spearman's rank correlation, bootstrap intervals.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: pure functions.
 * Ownership: the caller owns all arrays, the scratch too; nothing here allocates. */
#ifndef ANALYSIS_AGREEMENT_H
#define ANALYSIS_AGREEMENT_H

#include <stdint.h>

/* --- spans ----------------------------------------------------------------------------------- */

typedef struct psc_span {
    int32_t begin, end; /* both included */
} psc_span;

/* Sorts spans by (begin, end) and drops repeated ones; returns how many remain. */
int32_t psc_spans_unique(int32_t n, psc_span *spans);
/* The spans that two unique lists share. */
int32_t psc_spans_shared(int32_t n_a, const psc_span *a, int32_t n_b, const psc_span *b);

/* Counts of one sentence or of a corpus. */
typedef struct psc_span_counts {
    int64_t shared, found, gold;
} psc_span_counts;

/* 2 shared / (found + gold); NaN when both are 0. */
double psc_span_f1(const psc_span_counts *counts);
/* shared / gold; NaN without gold spans. */
double psc_span_recall(const psc_span_counts *counts);

/* --- ranks ----------------------------------------------------------------------------------- */

typedef struct psc_rank_entry {
    double value;
    int64_t index;
} psc_rank_entry;

/* No number may be NaN. ranks [n], from 1, of x [n]; equal values share the mean of their ranks. */
void psc_ranks(int64_t n, const double *x, double *ranks, psc_rank_entry *scratch);
/* P(a positive's score > a negative's) + half of P(equal); NaN without one of each kind.
 * ranks and scratch: [n] for the call's use. */
double psc_auroc(int64_t n, const double *score, const uint8_t *positive, double *ranks,
    psc_rank_entry *scratch);
/* Pearson's correlation of the ranks; NaN where one side is constant. ranks: [2 n]. */
double psc_spearman(
    int64_t n, const double *x, const double *y, double *ranks, psc_rank_entry *scratch);

/* --- chance ---------------------------------------------------------------------------------- */

/* Per sentence, the two parts of a rate: sum numerator / sum denominator over the corpus. */
typedef struct psc_rate {
    double numerator, denominator;
} psc_rate;

/* A span F1 as a rate: 2 shared / (found + gold). */
static inline psc_rate psc_span_rate(const psc_span_counts *c) {
    return (psc_rate){2.0 * (double)c->shared, (double)(c->found + c->gold)};
}

typedef struct psc_interval {
    double value, low, high; /* of all sentences; the quantiles .025 and .975 of the draws */
} psc_interval;

/* The rate of a [n], minus that of b [n] unless b is null, with its 95 % interval: `draws` samples
 * of n sentences with replacement, the same sentences for a and b. scratch: [draws]. A draw whose
 * denominator is 0 is dropped; without any, and for
 * fewer than two sentences, the interval is NaN. */
psc_interval psc_bootstrap(
    int32_t n, const psc_rate *a, const psc_rate *b, int32_t draws, uint64_t seed, double *scratch);

#endif
