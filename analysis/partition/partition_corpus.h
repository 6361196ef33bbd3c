/* The totals of `partition` over documents: the slots of a change and of a lens.
 * Private to partition_corpus*.c and partition_verdict.c.
 * Threads: as a plugin's callbacks.
 * Ownership: tables live with the instance. */
#ifndef ANALYSIS_PARTITION_CORPUS_H
#define ANALYSIS_PARTITION_CORPUS_H

#include "moments.h"
#include "partition_arrays.h"

#include <math.h>

/* Groups of tokens: the rank bins, and the text's own next token. */
enum { NEXT_GROUP = PARTITION_BINS, GROUPS };
/* Sums of a gauge and group over the cases in which the group has a token. d is the group's mean
 * dz, e the error of constant Z, both in the gauge. */
enum { ABS_D, SUM_D, SUM_DD, SUM_E, SUM_EE, SUM_ED, MOMENTS }; /* squares follow their sums */
/* Sums of a change. */
enum {
    SUM_MOMENTS = 0,                                 /* [gauges, groups, moments] */
    SUM_ABS_E = PARTITION_GAUGES * GROUPS * MOMENTS, /* [gauges] */
    SUM_SIGNED_E = SUM_ABS_E + PARTITION_GAUGES,     /* [gauges] */
    SUM_HALF_VARIANCE = SUM_SIGNED_E + PARTITION_GAUGES,
    SUM_ALPHA,
    SUM_BETA,
    SUM_R2,
    SUMS
};
/* Classes of the margin p1 - p2 before the change: below 0.1, 0.3, 0.7, and above. */
enum { MARGINS = 4 };
/* Counts of a margin: cases, those in which |e| > PARTITION_FAR by gauge, and the reordered. */
enum {
    COUNT_CASES,
    COUNT_FAR,
    COUNT_REORDERED = COUNT_FAR + PARTITION_GAUGES,
    MARGIN_COUNTS = COUNT_REORDERED + 2
};
/* Bins of beta from -2 to 2, plus one below and one above; of r2 from 0 to 1. */
enum { BETA_BINS = 162, R2_BINS = 50 };
#define BETA_WIDTH 0.025
#define R2_WIDTH 0.02
/* Counts of a change. */
enum {
    COUNT_MARGINS = 0, /* [margins, margin counts] */
    COUNT_GROUPS = MARGINS * MARGIN_COUNTS,
    COUNT_FITS = COUNT_GROUPS + GROUPS,
    COUNT_BETA,
    COUNT_R2 = COUNT_BETA + BETA_BINS,
    COUNTS = COUNT_R2 + R2_BINS
};
/* Sums of a lens. */
enum {
    LENS_LOG_Z,
    LENS_LOG_Z2, /* squares follow their sums */
    LENS_GAP,
    LENS_GAP2,
    LENS_MARGIN,
    LENS_TOP,
    LENS_MASS = LENS_TOP + 2,
    LENS_SUMS = LENS_MASS + PARTITION_BINS
};

struct partition_corpus {
    int sums, counts, lenses, rows; /* handles */
    double *sum;                    /* [changes, SUMS] of the sequence, then the totals */
    double *count;                  /* [changes, COUNTS] */
    double *lens;                   /* [lenses, LENS_SUMS] */
    double n_rows;
};

/* Totals of one change, or of several added together. */
typedef struct partition_totals {
    const double *sum, *count; /* [SUMS], [COUNTS] */
    double longest;            /* the most cases in one rounded sum */
} partition_totals;

static inline double partition_divide(double sum, double n) {
    return n > 0.0 ? sum / n : (double)NAN;
}

/* The number of cases, and the share of them with |e| > PARTITION_FAR or reordered (what: COUNT_*),
 * in one margin class or in all (margin MARGINS). */
double partition_cases(partition_totals t, int margin);
double partition_share(partition_totals t, int what, int margin);
double partition_mean_abs_dz(partition_totals t, int gauge, int group);
/* Of d and e over cases; NaN if one of them does not vary (psc_correlation). */
double partition_correlation(partition_totals t, int gauge, int group);
/* Of log Z (what: LENS_LOG_Z) or its gap over rows; 0 if it does not vary. */
double partition_deviation(const partition_state *s, const double *lens, int what);
/* Interpolates linearly within the histogram's bin. */
double partition_quantile(const double *histogram, int n, double low, double width, double q);
double partition_beta_quantile(partition_totals t, double q);
double partition_r2_quantile(partition_totals t, double q);

#endif
