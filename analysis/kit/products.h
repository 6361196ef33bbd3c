/* Products of matrices of doubles, by the host's add_products: A^T B of matrices in panels.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; a product uses the whole team. psc_panels_put also in
 * parallel_for, on distinct rows.
 * Ownership: panels live with the run (run_alloc). */
#ifndef ANALYSIS_PRODUCTS_H
#define ANALYSIS_PRODUCTS_H

#include "common.h"

enum { PSC_TILE = 16, PSC_PANEL_ROWS = 128 };

/* Rows in panels x[panel][tile][PSC_PANEL_ROWS][PSC_TILE], padded with zeros. */
typedef struct psc_panels {
    psc_context *context;
    const psc_host *host;
    double *x;
    int64_t n_rows, n_columns; /* padded to PSC_PANEL_ROWS and PSC_TILE */
} psc_panels;

/* n rounded up to PSC_TILE. */
static inline int64_t psc_tiles_up(int64_t n) {
    return (n + PSC_TILE - 1) / PSC_TILE * PSC_TILE;
}

int psc_panels_make(
    psc_panels *out, psc_context *context, const psc_host *host, int64_t n_rows, int64_t n_columns);
/* Writes the first n columns of a row. */
void psc_panels_put(psc_panels *p, int64_t row, const double *x, int64_t n);
/* out[i stride + j] += sum_t a[t, i] b[t, j]: one chain of fused steps over ascending t per number,
 * for all i and j of the padded columns. upper: only the tiles that contain a j >= i. Returns
 * nonzero after an error. */
int psc_panels_product(
    double *out, int64_t stride, const psc_panels *a, const psc_panels *b, int upper);

/* In f64, striped by i mod 16. */
double psc_dot_f64(int64_t n, const double *a, const double *b);
/* x minus its mean. */
void psc_center_f64(double *x, int64_t n);

#endif
