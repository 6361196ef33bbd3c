/* The latents' shares of a logit, for the plugin `sae` (shares=yes).
 * Private to analysis/sae/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: memory of the run (run_alloc); the plugin owns the dictionary. */
#ifndef SAE_SHARES_H
#define SAE_SHARES_H

#include "common.h"

/* One write into the stream that the dictionary does not explain. */
typedef struct sae_write {
    int32_t point, layer; /* psc_point; -1: no layer, and PSC_POINT_COUNT: the bias of attention */
} sae_write;

typedef struct sae_shares {
    /* set by the plugin */
    psc_context *context;
    const psc_host *host;
    int handle;
    const psc_dictionary *dictionary;
    int32_t top; /* latents listed */

    /* of a run */
    psc_target_rows targets;
    psc_directions directions;
    sae_write *writes; /* [n_writes] in the order of the layers */
    int32_t n_writes;
    int input, output, embed, attn, mlp; /* retained; -1: not needed */
    float *sigma;                        /* [rows] of the final LN */
    double *values;                      /* [targets, rows] the model's own */
    int64_t width;                       /* of the out point */
    float *x, *w, *y; /* [rows, d_in], [rows, d_out] of the in and out points; decoded */
    const float *v;   /* [directions, d_out] at the out point */
    float *v_skip;    /* [directions, d_in] W_skip^T v; null without */
    float *vectors;   /* rows of the decoder that are read together */
    double *shares, *constant,
        *error;            /* arrays: [targets, rows, components], [targets, rows] twice */
    double *top_shares;    /* [targets, rows, top] */
    int32_t *top_ids;      /* the same */
    float *top_values;     /* the same */
    double *sum, *sum_abs; /* [targets, rows] over single latents */
    double worst;          /* of error / (1 + sum |share|) */
} sae_shares;

/* In open: fails if the dictionary's out point is not in the stream or written to it. */
int sae_shares_check(const sae_shares *s);
/* In run_begin: retains what the shares need at these rows. */
int sae_shares_begin(sae_shares *s, const psc_row_set *rows);
/* In run_end: computes the shares; their arrays have the axis "rows", which the plugin made. */
int sae_shares_end(sae_shares *s);
/* In report: values and summary. */
int sae_shares_report(const sae_shares *s);

#endif
