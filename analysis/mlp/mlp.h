/* The state of the plugin `mlp`: what its files share.
 * Private to analysis/mlp/.
 * Threads: as the plugin's callbacks; in the parallel parts each thread owns its rows or neurons.
 * Ownership: the state and write_norm live with the instance, the rest with the run. */
#ifndef ANALYSIS_MLP_H
#define ANALYSIS_MLP_H

#include "common.h"
#include "gate.h"
#include "moments.h"
#include "top.h"

typedef enum mlp_arrays { MLP_ARRAYS_AUTO, MLP_ARRAYS_ALL, MLP_ARRAYS_NONE } mlp_arrays;

/* The most detectors of a feature span. */
enum { MLP_MOST_SPAN = 64 };

typedef struct mlp_state {
    psc_context *context;
    const psc_host *host;
    psc_filter rows_choice, target_choice;
    int centered;
    int32_t top, arrays;     /* neurons listed; mlp_arrays */
    int32_t span, span_seed; /* detectors of the feature span, 0: none */
    int32_t n_layers, n_dims, n_neurons;
    double *write_norm; /* [L, M] |P(r_k)|, null before the first run */
    const psc_reductions *reductions;

    /* The run. R = target_rows.n. Arrays marked (result) are null if they were not requested. */
    psc_row_set rows, target_rows;
    psc_target_rows targets;
    psc_directions directions;
    float *pre, *gate, *post; /* (result) [L, rows, M] */
    int32_t *fires;           /* result [L, M]: rows with a > 0 */
    double *participation;    /* result [L, rows], w = |g| |P(r)| */
    float *sigma;             /* [R] of ln_final */
    double *write2;           /* [L, R] |MLP's write|^2 */
    int32_t kept_pre, kept_post;

    /* The feature span (mlp_span.c); unused if span is 0. */
    double *feature_span, *feature_span_random; /* results [L, rows] */
    int32_t *span_neuron;                       /* result [L, rows, span], largest a first */
    int32_t *span_random_neuron;                /* result [L, rows, span] */
    double *span_projection;                    /* result [L, rows, span] */
    psc_ranked *span_lists;                     /* [L, rows, span] */
    int32_t kept_normalized, kept_scale;        /* of LN2 */

    /* run_end */
    double *share_participation;     /* result [targets, L, R], w = |share| */
    double *relu_error;              /* result [L, R] |e| / |write|, e = -sum_k |a| Phi(-|a|) r_k */
    double *relu_error_target;       /* result [targets, L, R] u . e / sigma */
    psc_top_list *top_lists;         /* [targets, R] |share| of the neurons listed */
    double *top_share;               /* result [targets, R, top], NaN after the last listed */
    int32_t *top_layer, *top_neuron; /* results [targets, R, top] */
    float *top_pre, *top_gate;       /* results [targets, R, top] */

    /* Over documents (mlp_corpus.c). */
    int corpus;
    int32_t bins; /* of the histogram of a */
    psc_moments pre_moments, post_moments, row_moments;
    int fires_handle, gate_handle, pre_handle;
    psc_sequences sequences;
    float bounds[10];    /* of a, which the counts compare with */
    int32_t *above;      /* run: [L, bounds, M] rows with a above the bound */
    int32_t *pre_counts; /* run: [L, M, bins] */
    double *partial;     /* run: [M, bins] one layer's */
    double *row_values;  /* run: [rows, L, 2] firing fraction, participation */
} mlp_state;

/* Computes shares, top lists and the error of the sum gated by ReLU. */
int mlp_shares_compute(mlp_state *s);
/* The feature span: the run's arrays, an event of hook_pre, the sums, a sentence. */
int mlp_span_begin(mlp_state *s);
void mlp_span_take(mlp_state *s, const psc_event *event);
int mlp_span_compute(mlp_state *s);
int mlp_span_summary(mlp_state *s);
/* Writes the values and the printed summary. */
int mlp_summary(mlp_state *s);
/* The callbacks over documents. */
int mlp_corpus_open(mlp_state *s);
int mlp_corpus_begin(mlp_state *s);
int mlp_corpus_end(mlp_state *s);
int mlp_corpus_report(mlp_state *s);

#endif
