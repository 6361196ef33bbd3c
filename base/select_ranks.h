/* Order statistics without sorting.
 * Private to base/ and tests/.
 * Threads: reentrant.
 * Ownership: none. */
#ifndef SELECT_RANKS_H
#define SELECT_RANKS_H

#include <stdint.h>

/* Reorders x [n], without NaN, so that x[r] is what it is in ascending order, for each of the ranks
 * [n_ranks], 0..n-1 in any order. */
void psc_select_ranks(double *x, int32_t n, const int32_t *ranks, int32_t n_ranks);

#endif
