/* What a sampling strategy keeps of a distribution.
 * Private to runtime/ and tests/.
 * Threads: pure.
 * Ownership: the caller's arrays. */
#ifndef STRATEGY_H
#define STRATEGY_H

#include "kernels.h"
#include "psc_plugin.h"

#include <stdbool.h>

/* Refuses what no strategy is: negative or NaN values, top_p or min_p above 1. */
psc_status psc_strategy_check(const psc_strategy *strategy, psc_error *error);

/* The kept ids of z [n], ascending, and exp((z - max z)/T) of each; n entries of room. Returns how
 * many. z has no NaN, its largest is finite; the strategy has been checked. */
int32_t psc_strategy_keep(const psc_kernels *kernels, const psc_strategy *strategy, const float *z,
    int32_t n, int32_t *ids, double *weights);

/* The id of the largest of z [n], the lower on a tie; -1 when a NaN or nothing finite leads. */
int32_t psc_strategy_greedy(const float *z, int32_t n);

#endif
