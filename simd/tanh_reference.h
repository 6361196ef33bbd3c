/* tanh in scalar C. |x| < 0.75: |x| + |x|^3 Q(x^2). Else 1 - 2/(exp(2|x|) + 1). The sign is x's.
 * tools/fit_tanh.py says why.
 * Private to simd/: elementwise_reference.c, after sleef.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TANH_REFERENCE_H
#define TANH_REFERENCE_H

#include "polynomial_reference.h"
#include "tanh_coefficients.h"

static inline float tanh_reference(float x) {
    const float size = fabsf(x), square = x * x;
    float y;
    if (size < TANH_NEAR) {
        y = fmaf(size * square, polynomial(tanh_near, TANH_N_NEAR, square), size);
    } else {
        const float some = TANH_LIMIT < size ? TANH_LIMIT : size; /* a NaN passes through */
        y = 1.0f - 2.0f / (Sleef_finz_expf1_u10purecfma(some + some) + 1.0f);
    }
    return copysignf(y, x);
}

#endif
