/* The normal distribution.
 *
 *   Phi(x) = 1/2 + phi(x) sum_k x^(2k+1) / (1 3 5 ... (2k+1)),   phi(x) = exp(-x^2/2) / sqrt(2 pi)
 *
 * All terms have the sign of x (Marsaglia, Evaluating the Normal Distribution, 2004). The quantile
 * is Newton's iteration from 0: Phi is convex below 0, so it descends to the root. */
#include "normal.h"

#include <math.h>

#define FAR 8.3 /* 1 - Phi is below the last place of 1 from here on */
#define LN2 0.69314718055994530942
#define LN2_HIGH 0x1.62e42fefp-1 /* k LN2_HIGH is exact */
#define LN2_LOW 7.440617110012397e-11
#define INVERSE_ROOT_2_PI 0.39894228040143267794

/* exp(-y) for 0 <= y < 64: 2^-k exp(-r), y = k ln 2 + r, by the series of exp. */
static double exp_minus(double y) {
    const int k = (int)(y / LN2 + 0.5);
    const double r = (y - k * LN2_HIGH) - k * LN2_LOW;
    double sum = 1.0;
    for (int i = 20; i > 0; i--) sum = 1.0 - r / i * sum;
    return ldexp(sum, -k);
}

static double density(double x) {
    return INVERSE_ROOT_2_PI * exp_minus(0.5 * x * x);
}

double psc_normal_cdf(double x) {
    double sum = x, term = x;
    if (x <= -FAR) return 0.0;
    if (x >= FAR) return 1.0;
    for (int k = 3; term != 0.0; k += 2) {
        const double before = sum;
        term *= x * x / k;
        sum += term;
        if (sum == before) break;
    }
    return 0.5 + density(x) * sum;
}

double psc_normal_quantile(double p) {
    if (p > 0.5) return -psc_normal_quantile(1.0 - p);
    double x = 0.0;
    for (int i = 0; i < 64; i++) {
        const double next = x - (psc_normal_cdf(x) - p) / density(x);
        if (!(next < x)) break;
        x = next < -FAR ? -FAR : next;
    }
    return x;
}
