/* The second step from a band (band.h) to eigenvalues: LAPACK's.
 * Private to analysis/ and tests/; kit/ itself does not link LAPACK.
 * Threads: pure functions; may be called in parallel_for.
 * Ownership: nothing is kept. */
#ifndef ANALYSIS_BAND_VALUES_H
#define ANALYSIS_BAND_VALUES_H

#include "band.h"

#include <lapacke.h>

/* The eigenvalues of a band [n, PSC_BAND], ascending, into values [n]. The band is overwritten;
 * spare [n]. Returns LAPACK's status. */
static inline int psc_band_values(double *values, double *band, double *spare, int64_t n) {
    const lapack_int size = (lapack_int)n, below = size > PSC_TILE ? PSC_TILE : size - 1;
    const lapack_int info = LAPACKE_dsbtrd(
        LAPACK_COL_MAJOR, 'N', 'L', size, below, band, PSC_BAND, values, spare, NULL, 1);
    return info != 0 || n == 1 ? (int)info : (int)LAPACKE_dsterf(size, values, spare);
}

#endif
