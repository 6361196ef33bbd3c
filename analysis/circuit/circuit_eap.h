/* What edge attribution patching keeps: gradients, differences of writes, what receivers read.
 * Private to analysis/circuit/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; rows and senders side by side.
 * Ownership: circuit_state.eap owns the memory. */
#ifndef CIRCUIT_EAP_H
#define CIRCUIT_EAP_H

#include "circuit.h"

enum {
    EAP_LANES = 16,     /* senders of a panel */
    EAP_MOST_RUNS = 16, /* whose gradients one call of the host computes */
    /* Layers whose receivers are multiplied together. The senders' panels come from memory: products of
     * more receivers read them less often. */
    EAP_LAYERS = 6,
    EAP_MOST_GROUPS = 2 * EAP_LAYERS + 1
};

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

/* Receivers first..first+n-1, which share what they read and its LayerNorm; at: the first one's place
 * in a row of `read`. */
typedef struct eap_group {
    int32_t first, n, at;
} eap_group;

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

    /* receivers whose products are computed together */
    eap_group groups[EAP_MOST_GROUPS];
    int32_t n_groups, n_reads, most_reads; /* vectors of a row, without ones; room for */
    int32_t taken;                         /* the one being taken, of the last group; */
    const float *gamma;                    /* null: the gradient has it */
    const float *pulled;                   /* [rows, N] its gradient at LN's output */
    float *scale;                          /* [EAP_MOST_GROUPS, rows_together] */
    float *read;          /* [rows, most_reads, N] of each group w, LN's normalized value; ones */
    double *mean, *along; /* [rows, most_reads] mean w, (n . w)/N */
    float *products;      /* [most_reads, 16 all_panels] */
    float *u, *y;         /* [rows, D + 32], [rows, N] scratch */
    float *ones, *zeros;  /* [N] */
} eap;

/* --- circuit_eap_products.c: the block's rows --- */

/* Receivers first..first+n-1, which read `resid` [rows of the run, N], have their turn. */
void circuit_begin_group(eap *e, int32_t first, int32_t n, const float *resid);
/* Takes the gradient at LN's output, pulled [rows, N], of receiver first + i; gamma [N]: LN's, or null
 * where the gradient has it. */
void circuit_take(eap *e, int32_t i, const float *pulled, const float *gamma);
/* Adds the scores of all groups since the last call, over the block's rows. */
void circuit_add_products(eap *e);

#endif
