/* Writers into a residual before a layer: embed; each earlier layer's heads, attn_bias, mlp_out.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: memory of the run; fetched tensors belong to the host. */
#ifndef WRITERS_H
#define WRITERS_H

#include "common.h"

typedef struct psc_writers {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    int handles[3]; /* hook_embed, attn.hook_z, hook_mlp_out */
} psc_writers;

/* The number of writers before a layer: 1 + layer * (H + 2). */
int64_t psc_writers_count(const psc_model_info *model, int32_t layer);
/* Their labels: embed, L0H0, ..., 0_attn_bias, 0_mlp_out, L1H0, ... Nonzero on an error. */
int psc_writers_labels(psc_context *context, const psc_host *host, int32_t layer, const char **out);
/* In run_begin: retains what the writers before `layer` wrote on positions 0..n_rows-1 of the run's
 * one whole sequence. */
int psc_writers_begin(
    psc_context *context, const psc_host *host, int32_t layer, int32_t n_rows, psc_writers *out);
/* In run_end, by the adjoint: out[i * ld + c] = g_i . c_j with j = rows[i], for the n vectors g
 * [n, N] and every writer c before `layer`; a head's is z . (W_O^T g). */
int psc_writers_shares(const psc_writers *w, int32_t layer, int32_t n, const int32_t *rows,
    const float *g, double *out, int64_t ld);
/* In run_end: every writer of row j, [count, N]. */
int psc_writers_make(const psc_writers *w, int32_t layer, int32_t row, float *out);

#endif
