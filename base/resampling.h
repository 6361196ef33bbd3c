/* Statistics of quantities over examples by resampling: intervals of a mean, and a test of it.
 * Private to base/, runtime/, bench/ and tests/.
 * Threads: one at a time; the team shares the work. No bit depends on the threads.
 * Ownership: the caller owns all arrays.
 *
 * Of the n present values v of one quantity, with their mean m = sum v / n:
 *
 *   se          sqrt(sum (v - m)^2 / (n (n - 1)))
 *   bootstrap   m_d = sum c_di v_i / n for draws d = 0..draws-1 of n examples with replacement,
 *               c_di the number of times that i is drawn (Efron, Bootstrap methods, 1979)
 *   percentile  the quantiles (1 - level)/2 and (1 + level)/2 of m_d, linear between its order
 *               statistics
 *   BCa         the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of m_d for z = the two
 *               normal quantiles; Phi(z0) = (#(m_d < m) + #(m_d <= m)) / (2 draws);
 *               a = sum (v - m)^3 / (6 (sum (v - m)^2)^1.5), the jackknife's for a mean
 *               (Efron, Better bootstrap confidence intervals, 1987)
 *   p           two-sided, of the hypothesis that v and -v are equally likely: the share of sign
 *               vectors s with |sum s_i v_i| >= |sum v_i| (Fisher, The Design of Experiments,
 *               1935). All 2^n of them where that is at most `draws`, else (1 + count) / (1 +
 *               draws) of random ones. A difference of n 2^-52 sum |v| is rounding, and counts as
 *               equal.
 *
 * A value that is not finite is missing. Quantities with the same n have the same draws: draw d is
 * a function of the seed, d and n (SplitMix64 steps over seed, d and position). So the statistics
 * of a quantity depend on its own present values, the seed, the draws and the level, and on nothing
 * else. */
#ifndef RESAMPLING_H
#define RESAMPLING_H

#include <stdint.h>

#include "psc_error.h"
#include "team.h"

enum { PSC_MOST_DRAWS = 100000 };

typedef struct psc_resampling {
    uint64_t seed;
    int32_t draws; /* 1 to PSC_MOST_DRAWS */
    double level;  /* of the intervals; above 0, at most 0.999999 */
} psc_resampling;
#define PSC_RESAMPLING_INIT                                                                        \
    { 0, 10000, 0.95 }

/* Arrays [n_quantities]; those that are null are not wanted. NaN where a statistic is not defined:
 * all of them but n without a value; se and the intervals of a single value; BCa where all values
 * are equal, where no draw's mean or every draw's lies below m, or where 1 - a (z0 + z) <= 0. */
typedef struct psc_resampled {
    int64_t *n; /* present values */
    double *mean, *se;
    double *low, *high; /* BCa */
    double *low_percentile, *high_percentile;
    double *p; /* 1 of values that are all 0 */
} psc_resampled;

/* examples [n_examples]: each one's values, [n_quantities]; so a group is a shorter list. team may
 * be null. Memory beside the arrays: 12 bytes per quantity, and of each thread 512 (n_examples +
 * draws), 256 KB of tables, and the masks of draws: about n_examples draws / 2 bytes, at most
 * 16 MB. PSC_ERROR_INPUT for options out of range. */
psc_status psc_resample(const psc_resampled *out, int64_t n_quantities, int32_t n_examples,
    const double *const *examples, const psc_resampling *how, psc_team *team, psc_error *error);

#endif
