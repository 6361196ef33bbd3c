/* The normal distribution in f64, from +, -, *, / alone: the same bits on every machine.
 * Private to base/ and tests/.
 * Threads: reentrant.
 * Ownership: none. */
#ifndef NORMAL_H
#define NORMAL_H

/* Phi(x), the probability of a value below x; an absolute error of at most 1e-15. */
double psc_normal_cdf(double x);
/* The x with Phi(x) = p, for 0 < p < 1. Within 1e-9 relative for p of 1e-7 to 1 - 1e-7. */
double psc_normal_quantile(double p);

#endif
