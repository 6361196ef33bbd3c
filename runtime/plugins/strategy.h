/* The tokens that a sampling strategy keeps.
 * Private to runtime/ and tests/.
 * Threads: pure.
 * Ownership: the caller owns the arrays. */
#ifndef STRATEGY_H
#define STRATEGY_H

#include "kernels.h"
#include "psc_plugin.h"

#include <stdbool.h>

/* PSC_ERROR_INPUT for negative or NaN values, an infinite temperature, top_p or min_p above 1. */
psc_status psc_strategy_check(const psc_strategy *strategy, psc_error *error);

/* The kept ids of z [n], ascending, and exp((z - max z)/T) of each; both arrays have room for n.
 * Returns how many, or -1 when z has a NaN or no finite largest. The strategy must be checked. */
int32_t psc_strategy_keep(const psc_kernels *kernels, const psc_strategy *strategy, const float *z,
    int32_t n, int32_t *ids, double *weights);

/* The shortest prefix of the order of z [n] whose weights [n] (null: 1 each) reach target; all if
 * none does. The logits are numbers below infinity, the weights at least 0. scratch [n]. */
void psc_strategy_prefix(const psc_kernels *kernels, psc_kept_prefix *out, const float *z,
    int32_t n, const double *weights, double target, int32_t *scratch);

/* The id of the largest of z [n], ties to the lower; -1 when z has a NaN or no finite largest. */
int32_t psc_strategy_greedy(const float *z, int32_t n);

#endif
