/* Statistics over documents, by accumulators: moments of many quantities, sums and counts of rows.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; adding and closing also in parallel_for, on disjoint quantities.
 * Ownership: a run's tables live with the run (run_alloc); callers free nothing. */
#ifndef ANALYSIS_MOMENTS_H
#define ANALYSIS_MOMENTS_H

#include "common.h"

#include <math.h>

/* A run's rows by sequence. Position 0 of a window is counted separately, because it is the
 * attention sink. */
typedef struct psc_sequences {
    int32_t n;            /* sequences of the run */
    const int32_t *place; /* [rows] by psc_row.index: 2 * sequence, + 1 from position 1 on */
} psc_sequences;

/* Quantities [groups, n]; the rows of a group are counted together. Each row adds to one of two
 * populations, position 0 and the others; each sequence's partial is a sum in row order. */
typedef struct psc_moments {
    psc_context *context;
    const psc_host *host;
    const psc_reductions *kernels;
    int64_t groups, n;
    int counts, sums, squares, low, high; /* handles: [2, groups], [2, groups, n] */
    double *count;                        /* run: [2, groups] */
    double *sum, *square, *least, *most;  /* run: [2, groups, n] of the sequences that are open */
    _Atomic int failed;                   /* a partial could not be added */
} psc_moments;

/* In run_begin. */
int psc_sequences_find(psc_context *context, const psc_host *host, psc_sequences *out);

/* In open: accumulators name.count, name.sum, name.squares, name.min, name.max. */
int psc_moments_open(psc_moments *m, psc_context *context, const psc_host *host, const char *name,
    int64_t groups, int64_t n);
/* In run_begin. */
int psc_moments_begin(psc_moments *m);
/* Adds a row at `place` (psc_sequences): values of quantities begin..begin+n-1 of a group. The
 * caller adds the rows of a sequence in ascending order. */
void psc_moments_add(
    psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n, const float *values);
/* The same of n_rows rows of one place, `stride` floats apart. */
void psc_moments_add_rows(psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n,
    const float *values, int64_t stride, int64_t n_rows);
void psc_moments_add_f64(
    psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n, const double *values);
/* Ends the sequence of `place` for these quantities: the host gets the partial of its population.
 * The caller closes each place that it added to before it adds to another sequence. */
void psc_moments_close(psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n);
/* Counts the row for the group; once per row. */
void psc_moments_count(psc_moments *m, int32_t place, int64_t group);
/* In run_end, with all places closed; nonzero if a partial failed. */
int psc_moments_end(psc_moments *m);

/* The mean of n values; NaN when n is 0. */
static inline double psc_mean(double sum, double n) {
    return n > 0.0 ? sum / n : (double)NAN;
}
/* The variance Q/n - (S/n)^2 of n values; the sums S of values and Q of squares are accumulators'
 * totals. It is 0 if it does not exceed psc_variance_error: the grid of 2^-40 and the sums'
 * rounding then hide whether the values vary. NaN if n is 0. longest: the most values of one
 * partial, the model's n_ctx. */
double psc_variance(double n, double longest, double sum, double squares);
/* A bound on the error of Q/n - (S/n)^2. */
double psc_variance_error(double n, double longest, double sum, double squares);
/* The correlation of a and b from n and the five sums, right within 2e-4 and in -1..1; NaN unless
 * each variance exceeds 10,000 times its error. */
double psc_correlation(double n, double longest, const double a[2], const double b[2], double ab);

/* In report. The axis "populations": "all", "without position 0". */
int psc_populations_axis(psc_context *context, const psc_host *host);
/* Arrays [populations, axes...] in f64: prefix_mean, prefix_variance, prefix_min, prefix_max of
 * quantities begin..begin+n-1 of every group. axes: the groups' axis first, if it has a name. */
int psc_moments_report(psc_moments *m, const char *prefix, int64_t begin, int64_t n, int32_t n_axes,
    const char *const *axes);
/* Array [populations, axes...] of the rows counted in each group. */
int psc_moments_counts(psc_moments *m, const char *name, int32_t n_axes, const char *const *axes);
/* Rows counted in a group, both populations together. */
int psc_moments_total(const psc_moments *m, int64_t group, double *out);

/* The bin of a value among n equal bins from low to high: bin i begins at low + (high - low) i/n,
 * in f64, and the outer bins are open. A value just below an edge is in the bin below it. */
static inline int32_t psc_bin_of(double value, double low, double high, int32_t n) {
    const double at = (value - low) * (n / (high - low));
    int32_t bin = !(at > 0.0) ? 0 : at >= n ? n - 1 : (int32_t)at;
    if (at - bin > 1e-6 && at - bin < 1.0 - 1e-6) return bin;
    if (bin > 0 && value < low + (high - low) * bin / n) return bin - 1; /* at was rounded up */
    return bin + 1 < n && value >= low + (high - low) * (bin + 1) / n ? bin + 1 : bin;
}

/* Sums and counts of rows in two scopes: 0 all rows, 1 rows after position 0. The plugin orders the
 * slots of both scopes. */
typedef struct psc_tally {
    psc_context *context;
    const psc_host *host;
    int64_t n_sums, n_counts; /* of both scopes */
    int sums, counts;         /* handles */
} psc_tally;

/* Adds chosen row `slot` to a scope's sums and counts. */
typedef void (*psc_tally_fn)(void *payload, int32_t slot, int scope, double *sums, double *counts);

/* In open: accumulators "sums" and "counts". */
int psc_tally_open(
    psc_tally *t, psc_context *context, const psc_host *host, int64_t n_sums, int64_t n_counts);
/* In run_end: each sequence is summed in f64 in row order and added once. */
int psc_tally_rows(const psc_tally *t, const psc_row_set *rows, psc_tally_fn add, void *payload);
/* In report: the totals, and the axis "scopes"; they live with the run. */
int psc_tally_totals(const psc_tally *t, const double **sums, const double **counts);

#endif
