/* erf over the vectors of every ISA, without branches; erf_reference.h is the same in scalar C.
 * Private to simd/: elementwise_frame.h, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef ERF_FRAME_H
#define ERF_FRAME_H

#include "erf_coefficients.h"

/* x[v] <- erf(x[v]) for n registers. */
ALWAYS_INLINE void vec_erf(vec *x, const int n) {
    vec near[OVERLAP], far[OVERLAP], square[OVERLAP], s[OVERLAP];
    UNROLL for (int v = 0; v < n; v++) {
        square[v] = vec_mul(x[v], x[v]);
        near[v] = vec_set(erf_near[ERF_N_NEAR - 1]);
    }
    UNROLL for (int k = ERF_N_NEAR - 2; k >= 0; k--) {
        UNROLL for (int v = 0; v < n; v++) {
            near[v] = vec_fma(near[v], square[v], vec_set(erf_near[k]));
        }
    }
    UNROLL for (int v = 0; v < n; v++) {
        near[v] = vec_fma(near[v], x[v], x[v]);
        s[v] = vec_sub(vec_smaller(vec_set(ERF_LIMIT), vec_abs(x[v])), vec_set(ERF_CENTER));
        far[v] = vec_set(erf_far[ERF_N_FAR - 1]);
    }
    UNROLL for (int k = ERF_N_FAR - 2; k >= 0; k--) {
        UNROLL for (int v = 0; v < n; v++) far[v] = vec_fma(far[v], s[v], vec_set(erf_far[k]));
    }
    UNROLL for (int v = 0; v < n; v++) {
        const vec m = vec_mul(far[v], s[v]), sum = vec_add(m, vec_set(ERF_TWICE_ROOT));
        const vec size = vec_fnma(m, sum, vec_set(ERF_AT_CENTER));
        const vec in_far = vec_with_sign(size, x[v]);
        x[v] = vec_where_less(vec_abs(x[v]), vec_set(ERF_NEAR), near[v], in_far);
    }
}

#endif
