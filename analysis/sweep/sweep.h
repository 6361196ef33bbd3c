/* The state of the plugin `sweep`, which its files share.
 * Private to analysis/sweep/.
 * Threads: the thread of the plugin's callbacks.
 * Ownership: memory of the run (run_alloc), except for the source's values (life_alloc). */
#ifndef SWEEP_H
#define SWEEP_H

#include "common.h"
#include "top.h"

enum { SWEEP_MOST = 1000 }; /* effects listed */

typedef enum sweep_over {
    SWEEP_HEADS,        /* [L, H] */
    SWEEP_HEADS_BY_POS, /* [L, H, T] */
    SWEEP_RESID_PRE,    /* [L, T] */
    SWEEP_ATTN_OUT,
    SWEEP_MLP_OUT,
    SWEEP_EDGES /* [H, T, T] of one layer */
} sweep_over;

typedef enum sweep_do { SWEEP_ZERO, SWEEP_MEAN, SWEEP_PATCH, SWEEP_CUT } sweep_do;
typedef enum sweep_metric { SWEEP_LOGIT, SWEEP_LOG_PROB, SWEEP_KL } sweep_metric;

typedef struct sweep_state {
    psc_context *context;
    const psc_host *host;
    int32_t over, what, metric, layer, top;
    int32_t n_layers, n_heads, d_head, d_model, n_vocab;
    psc_point point;

    /* the source run's tensor: [layers swept][rows, width] */
    const float *source;
    int32_t source_rows;
    uint64_t source_floats; /* the size of `source` */
    float *source_logits;   /* [2, V] of the rows below; null unless patched values are compared */
    int retained; /* handle of the source's or, for the mean, this run's tensor; -1: none */

    /* this run */
    psc_row_set rows; /* the last row, or for `next` the one before it, or both */
    psc_target_rows targets;
    int32_t n_rows, n_targets;
    const psc_row *run_rows;
    float *base; /* [rows, V] logits of those rows, unchanged */
    float *p;    /* [V] probabilities of the last row */
    float *mean; /* [L, width] */
    double base_lse[2];
    double *base_value;   /* [targets] */
    double *source_value; /* [targets], or null: the metric on the source prompt */
    double *effect;       /* the array */
    double *normalized;   /* effect / (source - base), or null */
    int64_t n_cells;      /* of the array, per target */
    int64_t *cells;       /* [variants of a call] the cell of each one's effect */
} sweep_state;

/* Computes every variant into effect (sweep_variants.c). */
int sweep_compute(sweep_state *s);
/* Whether effects are compared with the source's own value: patches of a metric per target. */
static inline int sweep_normalizes(const sweep_state *s) {
    return s->what == SWEEP_PATCH && s->metric != SWEEP_KL;
}
/* Prints the largest effects (sweep_summary.c). */
int sweep_summary(const sweep_state *s);
/* Floats of one row of the swept tensor. */
int64_t sweep_width(const sweep_state *s);
/* The number of layers whose tensor is kept: all, or one for edges. */
int32_t sweep_layers_kept(const sweep_state *s);

#endif
