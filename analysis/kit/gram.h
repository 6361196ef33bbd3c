/* Gram matrices of the heads' output maps, for norms of writes that are never computed.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: psc_output_gram runs on the callbacks' thread; psc_output_norm is pure.
 * Ownership: the matrices live with the instance (life_alloc). */
#ifndef ANALYSIS_GRAM_H
#define ANALYSIS_GRAM_H

#include "common.h"

/* In run_begin or later: W_O,h^T W_O,h of every head, [L, H, D, D]; null after an error. */
double *psc_output_gram(psc_context *context, const psc_host *host);
/* The same of one layer, into out [H, D, D]. */
int psc_output_gram_layer(psc_context *context, const psc_host *host, int32_t layer, double *out);
/* |W_O,h v| of a head's matrix [D, D] and v [D]. */
double psc_output_norm(const double *gram, const float *v, int64_t size);

/* The same of n <= 16 vectors v + i stride; lanes [D, 16] is scratch. A vector's bits depend on it
 * alone, and may differ from psc_output_norm's last ones. */
void psc_output_norms(const double *gram, const float *v, int64_t stride, int64_t n, int64_t size,
    double *lanes, double out[16]);

#endif
