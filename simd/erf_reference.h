/* erf in scalar C. |x| < 0.8: x + x P(x^2). Else +-(1 - q^2), q = sqrt(erfc |x|) = ROOT + m,
 * m = s R(s), s = |x| - CENTER, 1 - q^2 = 1 - ROOT^2 - m (m + 2 ROOT). tools/fit_erf.py says why.
 * Private to simd/: elementwise_reference.c.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef ERF_REFERENCE_H
#define ERF_REFERENCE_H

#include "erf_coefficients.h"
#include "polynomial_reference.h"

static inline float erf_reference(float x) {
    const float size = fabsf(x);
    if (size < ERF_NEAR) return fmaf(polynomial(erf_near, ERF_N_NEAR, x * x), x, x);
    const float s = (ERF_LIMIT < size ? ERF_LIMIT : size) - ERF_CENTER; /* a NaN passes through */
    const float m = polynomial(erf_far, ERF_N_FAR, s) * s;
    return copysignf(fmaf(-m, m + ERF_TWICE_ROOT, ERF_AT_CENTER), x);
}

#endif
