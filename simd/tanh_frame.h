/* tanh over the vectors of every ISA, without branches; tanh_reference.h is the same in scalar C.
 * vec_twice_exp gives E = 2 exp(2|x|), and 2/(exp(2|x|) + 1) = 4/(E + 2) to the bit.
 * Private to simd/: elementwise_frame.h, after tile_<isa>.h and exp_frame.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TANH_FRAME_H
#define TANH_FRAME_H

#include "tanh_coefficients.h"

/* x[v] <- tanh(x[v]) for n registers. */
ALWAYS_INLINE void vec_tanh(vec *x, const int n) {
    vec near[OVERLAP], far[OVERLAP], size[OVERLAP], square[OVERLAP];
    UNROLL for (int v = 0; v < n; v++) {
        size[v] = vec_abs(x[v]);
        square[v] = vec_mul(x[v], x[v]);
        near[v] = vec_set(tanh_near[TANH_N_NEAR - 1]);
        far[v] = vec_smaller(vec_set(TANH_LIMIT), size[v]);
        far[v] = vec_add(far[v], far[v]);
    }
    UNROLL for (int k = TANH_N_NEAR - 2; k >= 0; k--) {
        UNROLL for (int v = 0; v < n; v++) {
            near[v] = vec_fma(near[v], square[v], vec_set(tanh_near[k]));
        }
    }
    vec_twice_exp(far, n);
    UNROLL for (int v = 0; v < n; v++) {
        near[v] = vec_fma(vec_mul(size[v], square[v]), near[v], size[v]);
        const vec rest = vec_div(vec_set(4.0f), vec_add(far[v], vec_set(2.0f)));
        far[v] = vec_sub(vec_set(1.0f), rest);
        far[v] = vec_where_less(size[v], vec_set(TANH_NEAR), near[v], far[v]);
        x[v] = vec_with_sign(far[v], x[v]);
    }
}

#endif
