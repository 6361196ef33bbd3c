/* The state of the plugin `gradient`, which its files share.
 * Private to analysis/gradient/.
 * Threads: the thread of the plugin's callbacks.
 * Ownership: memory of the run (run_alloc), except for the mean embedding (life_alloc). */
#ifndef GRADIENT_H
#define GRADIENT_H

#include "common.h"

enum {
    GRADIENT_MOST = 1000, /* tokens listed */
    GRADIENT_FIRST_STEPS = 8,
    GRADIENT_DOUBLINGS = 18 /* most numbers of steps that are tried: 8 to 2^20 */
};

typedef enum gradient_baseline { BASELINE_ZERO, BASELINE_MEAN, BASELINE_TOKEN } gradient_baseline;

/* One target at one row, and what is known of its path integral. */
typedef struct gradient_job {
    psc_target_metric metric;
    int64_t at;            /* place in [targets, target_rows] */
    double value, base;    /* m(x), m(x0) */
    double *ends, *inside; /* [T] sums of g . (x - x0): (x0 + x)/2, and between them */
    int32_t steps;         /* of the trapezoid rule */
    double total;          /* sum over tokens of the integrated gradients */
    int done;              /* within the bound */
} gradient_job;

typedef struct gradient_state {
    psc_context *context;
    const psc_host *host;
    psc_filter choice; /* rows of the metric */
    int32_t metric, baseline, token, steps, top;
    double error;
    int64_t n; /* d_model */

    float *mean; /* [N] of the vocabulary; null until needed */

    /* this run */
    psc_row_set rows;
    psc_target_rows targets;
    const psc_row *run_rows;
    int32_t n_rows;
    int embed;       /* handle of hook_embed */
    const float *x;  /* [T, N] */
    const float *x0; /* [N] */
    gradient_job *jobs;
    psc_metric *metrics; /* [jobs or variants of a call] */
    int32_t n_jobs;

    double *norm, *times_input, *integrated;           /* [targets, target_rows, rows] */
    double *value, *base, *input_gap, *integrated_gap; /* [targets, target_rows] */
    int32_t *steps_taken;
    double *path_gap; /* [targets, target_rows, n_doublings] the gap with each of path_steps */
    int32_t path_steps[GRADIENT_DOUBLINGS], n_doublings; /* what may be tried: 8, 16, ... */
} gradient_state;

/* --- gradient_integrated.c --- */
/* g . (x - x0) of a row, in f64. */
double gradient_along(const gradient_state *s, const float *g, int32_t row);
/* m(x0), and the integrated gradients. */
int gradient_integrate(gradient_state *s);
/* --- gradient_report.c --- */
/* Prints the tokens with the largest attributions. */
int gradient_report(const gradient_state *s);

#endif
