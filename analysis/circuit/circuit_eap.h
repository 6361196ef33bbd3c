/* What edge attribution patching keeps: gradients, differences of writes, panels of what receivers read.
 * Private to analysis/circuit/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; rows and senders side by side.
 * Ownership: memory of the run (run_alloc). */
#ifndef CIRCUIT_EAP_H
#define CIRCUIT_EAP_H

#include "circuit.h"

/* Gradients of one run, [rows, N] each, and the residuals where receivers read it. */
typedef struct eap_run {
    float **heads[3];    /* [L] at q, k, v */
    float **mlp, *final; /* [L] at the MLPs' LN2, at the final LN: normalized values, gamma in */
    const float *const *resid_pre, *const *resid_mid; /* as psc_writes has them */
    float **own_pre, **own_mid; /* of a run with another input: resid_pre, resid_mid */
} eap_run;

typedef struct eap {
    circuit_state *s;
    eap_run run;
    double weight; /* of this run's scores */
    float *input;  /* [rows of the run, N] the embedding of such a run */
    /* a block of rows */
    int32_t begin, rows, rows_together;
    float *embed, **heads,
        **mlp;           /* [rows, N], [L] of [rows, H, N], [L] of [rows, N]: differences */
    const float **write; /* [rows, senders] each row's differences */
    float *dz;           /* [rows, N] */
    /* a group of receivers that share a LayerNorm and what they read */
    int32_t first, n, lane; /* receivers; the one being packed */
    int64_t n_panels;
    const float *gamma;        /* null: the gradient has it */
    const float *pulled;       /* [rows, N] the gradient of receiver first + lane at LN's output */
    float *normalized, *scale; /* [rows, N], [rows] */
    float *panels;             /* [rows, n_panels, N, 16] */
    float *products;           /* [senders, 16 n_panels] */
    float *u, *y;              /* [rows, padded D], [rows, N] scratch */
} eap;

#endif
