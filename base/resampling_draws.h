/* The random draws of resampling: functions of a seed, a draw's number and the number of examples.
 * Private to base/, bench/ and tests/.
 * Threads: reentrant.
 * Ownership: none. */
#ifndef RESAMPLING_DRAWS_H
#define RESAMPLING_DRAWS_H

#include <stdint.h>

/* How many times draw `draw` of n of n examples with replacement has each: counts [n]. */
void psc_draw_counts(int32_t n, double *counts, uint64_t seed, int64_t draw);
/* Signs +1 or -1, each with probability 1/2: signs [n]. */
void psc_draw_signs(int32_t n, double *signs, uint64_t seed, int64_t draw);

#endif
