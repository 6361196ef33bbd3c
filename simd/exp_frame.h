/* exp over the vectors of every ISA: the operations of SLEEF's Sleef_finz_expf*_u10 (Boost Software
 * License, Naoki Shibata and contributors) in line, with their bits for every float. With
 * q = rint(x / ln 2) and s = x - q ln 2 in two steps: exp x = 2^q (1 + (s + s^2 p(s))).
 * Private to simd/: elementwise_frame.h and row_frame.h, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef EXP_FRAME_H
#define EXP_FRAME_H

/* p, highest first. */
static const float exp_coefficients[6] = {
    0.000198527617612853646278381f,
    0.00139304355252534151077271f,
    0.00833336077630519866943359f,
    0.0416664853692054748535156f,
    0.166666671633720397949219f,
    0.5f,
};

/* x[v] <- exp(x[v]) of n registers. A float of 2^23..2^24 holds an integer in its low bits: to add
 * INTEGERS rounds to one, and its bits are then an exponent. 2^q = 2^(q/2) 2^(q - q/2), as q may
 * lie outside of the exponents, and only the last of the products rounds.
 * Below -104 exp is 0, above 100 it is infinite. A NaN stays, as vec_greater and vec_smaller then
 * take their second argument. */
ALWAYS_INLINE void vec_exp(vec *x, const int n) {
    const vec integers = vec_set(0x1.8p23f + 254.0f);
    vec y[OVERLAP], s[OVERLAP], at[OVERLAP];
    UNROLL for (int v = 0; v < n; v++) {
        x[v] = vec_smaller(vec_set(100.0f), vec_greater(vec_set(-104.0f), x[v]));
        at[v] = vec_add(vec_mul(x[v], vec_set(1.442695040888963407359924681f)), integers);
        const vec q = vec_sub(at[v], integers);
        s[v] = vec_fma(q, vec_set(-0.693145751953125f), x[v]);
        s[v] = vec_fma(q, vec_set(-1.428606765330187045e-06f), s[v]);
        y[v] = vec_set(exp_coefficients[0]);
    }
    UNROLL for (int k = 1; k < 6; k++) {
        UNROLL for (int v = 0; v < n; v++) {
            y[v] = vec_fma(y[v], s[v], vec_set(exp_coefficients[k]));
        }
    }
    UNROLL for (int v = 0; v < n; v++) {
        /* 1.5 * 2^23 + 127 + q/2 */
        const vec half = vec_fma(at[v], vec_set(0.5f), vec_set(0x1.8p22f));
        y[v] = vec_add(vec_fma(vec_mul(s[v], s[v]), y[v], s[v]), vec_set(1.0f));
        x[v] = vec_mul(vec_mul(y[v], vec_powers(half)), vec_powers(vec_sub_bits(at[v], half)));
    }
}

#endif
