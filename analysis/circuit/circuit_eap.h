/* What edge attribution patching keeps: gradients, differences of writes, what receivers read.
 * Private to analysis/circuit/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; rows and senders side by side.
 * Ownership: circuit_state.eap owns the memory. */
#ifndef CIRCUIT_EAP_H
#define CIRCUIT_EAP_H

#include "circuit.h"

enum { EAP_MOST_RUNS = 16 }; /* whose gradients one call of the host computes */

/* Gradients of one run, [rows, N] each, and the residuals where receivers read it. */
typedef struct eap_run {
    float *heads[3];    /* [L, rows, N] at q, k, v */
    float *mlp, *final; /* [L, rows, N], [rows, N] at the MLPs' LN2, the final LN: normalized
                            values, gamma in */
    const float *const *resid_pre, *const *resid_mid; /* as psc_writes has them */
    float *pre, *mid; /* [L + 1, rows, N], [L, rows, N]: those of a run with a change */
    const float **own_pre, **own_mid; /* [L + 1], [L] pointers to these */
    float *input; /* [rows of the run, N] what a node writes in a run with another value of it */
} eap_run;

typedef struct eap {
    circuit_state *s;
    eap_run runs[EAP_MOST_RUNS];
    int32_t runs_together; /* those that have memory */
    eap_run run;           /* the one whose scores are being added */
    int64_t all;           /* rows of the run times N */
    double weight;         /* of a run's scores */

    /* a block of rows */
    int32_t begin, rows, rows_together;
    int64_t all_panels; /* of the senders */
    float *panels;      /* [rows, all_panels, N, 16] their differences, lane = sender mod 16 */
    float *dz, *writes; /* [rows, N] of z, or of one write; [rows, H, N] of a layer's heads */
    int32_t sender, n_senders; /* those that are being packed, */
    const float *packed;       /* [rows, n_senders, N] */

    /* receivers that share what they read and its LayerNorm */
    int32_t first, n;
    int32_t taken;        /* the one being taken, of n; */
    const float *gamma;   /* null: the gradient has it */
    const float *pulled;  /* [rows, N] its gradient at LN's output */
    float *scale;         /* [rows] */
    float *read;          /* [rows, 3H + 3, N] w of each, LN's normalized value, ones */
    double *mean, *along; /* [rows, 3H + 1] mean w, (n . w)/N */
    float *products;      /* [3H + 3, 16 all_panels] */
    float *u, *y;         /* [rows, D + 32], [rows, N] scratch */
    float *ones, *zeros;  /* [N] */
} eap;

#endif
