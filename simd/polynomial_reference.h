/* A polynomial in scalar C: a chain of fma from the highest coefficient (Horner).
 * Private to simd/: erf_reference.h and tanh_reference.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef POLYNOMIAL_REFERENCE_H
#define POLYNOMIAL_REFERENCE_H

#include <math.h>

static inline float polynomial(const float *coefficients, int n, float x) {
    float y = coefficients[n - 1];
    for (int k = n - 2; k >= 0; k--) y = fmaf(y, x, coefficients[k]);
    return y;
}

#endif
