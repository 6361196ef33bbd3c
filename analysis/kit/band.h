/* Symmetric matrices of doubles reduced to a band, the first of two steps to their eigenvalues.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; the products use the whole team.
 * Ownership: the scratch lives with the run (run_alloc) and serves any number of matrices. */
#ifndef ANALYSIS_BAND_H
#define ANALYSIS_BAND_H

#include "products.h"

/* A band has PSC_TILE subdiagonals: x[j][i - j] = A[i, j] for i - j in 0..PSC_TILE, as LAPACK's
 * lower bands by columns. */
enum { PSC_BAND = PSC_TILE + 1 };

typedef struct psc_band {
    psc_context *context;
    const psc_host *host;
    const psc_reductions *reductions;
    int64_t n, padded;
    double *a;            /* [tiles, padded, PSC_TILE] the matrix, by tiles of columns */
    double *v, *w;        /* [padded, PSC_TILE] reflectors, A V and what becomes of it */
    double *left, *right; /* [tiles, 2 PSC_TILE, PSC_TILE] factors of the update, transposed */
    int64_t first;        /* row of the present step */
} psc_band;

int psc_band_make(psc_band *b, psc_context *context, const psc_host *host, int64_t n);
/* out [n, PSC_BAND]: a band with the eigenvalues of a [n, n], of which the upper triangle is
 * read, row stride `stride`. */
void psc_band_reduce(double *out, psc_band *b, const double *a, int64_t stride);

#endif
