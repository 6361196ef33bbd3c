/* The final fold of a striped sum in scalar C: sixteen lanes to one, lanes +8, +4, +2, +1.
 * Private to simd/: the scalar reference, and overlays that finish a row with it.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef STRIPE_REFERENCE_H
#define STRIPE_REFERENCE_H

#include "kernels.h"

static inline float fold_lanes(float lanes[PSC_LANES]) {
    for (int half = PSC_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

static inline double fold_lanes_f64(double lanes[PSC_LANES]) {
    for (int half = PSC_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

#endif
