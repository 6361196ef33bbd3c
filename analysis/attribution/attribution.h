/* The state of the plugin `attribution`, which its files share.
 * Private to analysis/attribution/.
 * Threads: the thread of the plugin's callbacks.
 * Ownership: memory of the run (run_alloc), except for the source's values (life_alloc). */
#ifndef ATTRIBUTION_H
#define ATTRIBUTION_H

#include "common.h"

enum { ATTRIBUTION_MOST = 1000, ATTRIBUTION_NAME = 2 * PSC_ROW_NAME + 32 };

typedef enum attribution_over {
    OVER_HEADS,        /* [L, H] */
    OVER_HEADS_BY_POS, /* [L, H, T] */
    OVER_NEURONS,      /* [L, M] */
    OVER_RESID_PRE,    /* [L, T] */
    OVER_ATTN_OUT,
    OVER_MLP_OUT,
    OVER_EDGES /* [L, H, T, T] */
} attribution_over;

typedef enum attribution_do { DO_ZERO, DO_MEAN, DO_PATCH, DO_SET_MEAN } attribution_do;
typedef enum attribution_kind {
    ATTRIBUTION_LOGIT,
    ATTRIBUTION_LOG_PROB,
    ATTRIBUTION_KL
} attribution_kind;

/* A cell: one place that is changed. Indices that do not apply are -1. */
typedef struct attribution_cell {
    int32_t layer, unit; /* a head or neuron */
    int32_t row, key;    /* row -1: all rows */
} attribution_cell;

/* A cell whose exact effect is computed. */
typedef struct attribution_checked {
    int64_t cell;
    attribution_cell place;
} attribution_checked;

/* Which checked cells a statistic is over. */
enum { SET_LARGEST, SET_RANDOM, N_SETS };

/* How estimates agree with exact effects, over a set. */
typedef struct attribution_agreement {
    int32_t n, wrong_sign, small; /* small: of a large effect little is estimated */
    double bias, error;           /* mean and root of the mean square of estimate - exact */
    double correlation, spearman;
} attribution_agreement;

typedef struct attribution_state {
    psc_context *context;
    const psc_host *host;
    int32_t over, what, metric, exact, sample, seed, top;
    int32_t n_layers, n_heads;
    psc_point point;
    int64_t width;   /* floats of a row of the changed tensor; of edges H * T, in a run */
    int64_t group;   /* floats of a unit in it */
    int32_t n_units; /* width / group: heads, neurons, 1; of edges H */

    /* the source run's tensor: [L][source_rows, width] */
    float *source;
    psc_kept source_memory;
    int32_t source_rows, source_first; /* the first one's position */
    int handle;                        /* of the tensor in this run */
    int64_t n_vocab;
    float *other, *p; /* [V] of kl: the source's last logits, their softmax */
    double other_lse;
    int has_other;
    const char *means;   /* a file of means for do=mean, "": the mean over the text */
    const float **given; /* [L] of [width]: those of the file; null: none */
    double *set_sums;    /* [L, width] of do=set_mean, over rows of a set's source prompts */
    int64_t set_rows;    /* 0: none, or the latest has failed */

    /* this run */
    int32_t *source_of; /* [rows] the source's row; -1: none. Null: the same row */
    float *patched;     /* [L][rows, width] what rows take: source, or its rows in this order */
    const psc_row *run_rows;
    int32_t n_rows;
    psc_row_set rows; /* of the metric: the last row, for `next` the one before it, or both */
    psc_target_rows targets;
    int logits;              /* handle */
    int32_t n_targets;       /* of the arrays: those of the run; 1 of kl */
    psc_target_metric *jobs; /* [targets]; target -1: it has no row */
    psc_metric *metrics;     /* [n_jobs] of those that have one */
    int32_t *of_job, n_jobs; /* their targets */
    double *value;           /* [targets] m before, also an array */
    float *mean, *zero;      /* [L, width]; [width] */
    int64_t n_cells;         /* per target */
    double *estimate;        /* [targets, cells] the array */

    attribution_checked *checked; /* [n_checked] in the order of layers */
    int32_t n_checked;
    int64_t n_places;           /* cells with an estimate, of which the random ones are drawn */
    int32_t *sampled, *largest; /* [checked]; [targets, checked] 1-based rank, 0: not among them */
    double *exact_effect, *estimated; /* [targets, checked] */
    double *end; /* [targets, checked] by the gradient of the changed run; NaN: not a case */
    attribution_agreement *agreement; /* [targets, sets] */
} attribution_state;

/* --- attribution_cells.c --- */
/* How many a target has. */
int64_t attribution_cells(const attribution_state *s);
attribution_cell attribution_place(const attribution_state *s, int64_t cell);
/* "L3H5 @7 ' city'", into out [ATTRIBUTION_NAME]. */
void attribution_name(const attribution_state *s, const attribution_cell *c, char *out);

/* --- attribution_source.c --- */
/* Before the source run: takes the memory for its values, and refuses what the changed run could
 * not take after it. */
int attribution_reserve_source(attribution_state *s);
/* After the source run. */
int attribution_keep_source(attribution_state *s);
/* After a source run of a whole set: adds its rows to set_sums. */
int attribution_add_set(attribution_state *s);
/* In run_begin: which row takes which; refuses what cannot be aligned. */
int attribution_align(attribution_state *s);
/* In run_end: sets patched. */
int attribution_fetch_source(attribution_state *s);

/* --- attribution_metric.c --- */
/* In the source run: keeps its prediction, for kl. */
int attribution_observe_source(attribution_state *s);
/* In run_begin, when targets are known: n_targets; refuses kl without a source. */
int attribution_open_metric(attribution_state *s);
/* The place of a target's row in s->rows; -1: it has none. */
int32_t attribution_slot(const attribution_state *s, int32_t target);
/* Sets jobs[target], at this row. */
void attribution_set_metric(attribution_state *s, int32_t target, int32_t slot);
/* The metric of logits [V]. */
double attribution_metric(const attribution_state *s, int32_t target, const float *z);

/* --- attribution_estimate.c --- */
/* The value that row r of a layer is changed to, [width]. */
const float *attribution_changed(const attribution_state *s, int32_t layer, int32_t r);
/* estimate, of all targets and cells. */
int attribution_estimate(attribution_state *s);

/* The same sum for one cell, of a layer's values v [T, width] and a gradient there. */
double attribution_sum(const attribution_state *s, const attribution_cell *cell, const float *v,
    const psc_view *gradient);

/* --- attribution_exact.c --- */
/* The change of one cell. neuron [T, M]: memory for the values of a changed neuron's layer. */
int attribution_change(
    const attribution_state *s, psc_change *out, const attribution_cell *cell, float *neuron);
/* Chooses cells and computes their effects. */
int attribution_exact(attribution_state *s);

/* --- attribution_agreement.c --- */
/* Where an estimate fails. */
typedef enum attribution_fault {
    FAULT_NONE,
    FAULT_SIGN, /* the wrong sign */
    FAULT_SMALL /* little is estimated of a large effect */
} attribution_fault;
/* The largest |exact| of a target. */
double attribution_largest(const attribution_state *s, int32_t target);
/* The fault of a checked cell; largest is the target's. */
attribution_fault attribution_fault_of(
    const attribution_state *s, int32_t target, int32_t checked, double largest);
int attribution_compare(attribution_state *s);

/* --- attribution_ends.c --- */
enum { ATTRIBUTION_CASES = 5 };
/* The checked cells of a fault with the largest effects, at least a hundredth of the largest; into
 * out [ATTRIBUTION_CASES]. Returns how many. */
int32_t attribution_cases(
    const attribution_state *s, int32_t target, attribution_fault fault, int32_t *out);
/* cell_end of these cells. */
int attribution_ends(attribution_state *s);

/* --- attribution_report.c --- */
int attribution_report(const attribution_state *s);

#endif
