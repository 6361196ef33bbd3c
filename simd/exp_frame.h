/* exp over the vectors of every ISA: the operations of SLEEF's Sleef_finz_expf*_u10 and
 * Sleef_finz_expd*_u10 (Boost Software License, Naoki Shibata and contributors), inlined with equal
 * bits. With q = rint(x / ln 2) and s = x - q ln 2 in two steps: exp x = 2^q (1 + (s + s^2 p(s))).
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

/* y[v] = e^s = 1 + s + s^2 p(s) for n registers, x = q ln 2 + s, at[v] = q + integers. A float in
 * 2^23..2^24 holds an integer in its low bits. Adding `integers` therefore rounds to an integer,
 * and the low bits of the sum serve as an exponent. */
ALWAYS_INLINE void exp_series(vec *y, vec *at, const vec *x, const vec integers, const int n) {
    vec s[OVERLAP];
    UNROLL for (int v = 0; v < n; v++) {
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
        y[v] = vec_add(vec_fma(vec_mul(s[v], s[v]), y[v], s[v]), vec_set(1.0f));
    }
}

/* x[v] <- exp(x[v]) for n registers. 2^q = 2^(q/2) 2^(q - q/2), as q may exceed the exponent range;
 * only the last product rounds. Below -104 exp is 0, above 100 it is infinite. A NaN passes
 * through: vec_greater and vec_smaller then return their second argument. */
ALWAYS_INLINE void vec_exp(vec *x, const int n) {
    vec y[OVERLAP], at[OVERLAP];
    UNROLL for (int v = 0; v < n; v++) {
        x[v] = vec_smaller(vec_set(100.0f), vec_greater(vec_set(-104.0f), x[v]));
    }
    exp_series(y, at, x, vec_set(0x1.8p23f + 254.0f), n);
    UNROLL for (int v = 0; v < n; v++) {
        /* 1.5 * 2^23 + 127 + q/2 */
        const vec half = vec_fma(at[v], vec_set(0.5f), vec_set(0x1.8p22f));
        x[v] = vec_mul(vec_mul(y[v], vec_powers(half)), vec_powers(vec_sub_bits(at[v], half)));
    }
}

/* x[v] <- 2 exp(x[v]), twice vec_exp to the bit, for -86 <= x <= 20, where every factor is a normal
 * float: 2^(q+1) is one product, and no range check is needed. A NaN passes through. The constant
 * added is even, as above, because rint rounds ties to the even q. */
ALWAYS_INLINE void vec_twice_exp(vec *x, const int n) {
    vec y[OVERLAP], at[OVERLAP];
    exp_series(y, at, x, vec_set(0x1.8p23f + 128.0f), n);
    UNROLL for (int v = 0; v < n; v++) x[v] = vec_mul(y[v], vec_powers(at[v]));
}

/* The same in doubles, with 2^52 in place of 2^23, for x up to 709. p has degree 12 here; its last
 * coefficients are 1/2, 1 and 1, the others (highest first) are summed in pairs. */
static const double exp_coefficients_f64[10] = {
    0x1.1e0c670afff06p-29,
    0x1.af6c36f75740cp-26,
    0x1.27e5d38a23654p-22,
    0x1.71ddef633fb47p-19,
    0x1.a01a0127f883ap-16,
    0x1.a01a01b4421fdp-13,
    0x1.6c16c16c3396bp-10,
    0x1.111111110e7a5p-7,
    0x1.55555555554f9p-5,
    0x1.555555555555ep-3,
};

ALWAYS_INLINE vec64 exp_pair(vec64 s, const int pair) {
    return vec64_fma(vec64_set(exp_coefficients_f64[2 * pair]), s,
        vec64_set(exp_coefficients_f64[2 * pair + 1]));
}

ALWAYS_INLINE void vec64_exp(vec64 *x, const int n) {
    const vec64 integers = vec64_set(0x1.8p52 + 2046.0), one = vec64_set(1.0);
    vec64 y[OVERLAP_F64], s[OVERLAP_F64], at[OVERLAP_F64];
    UNROLL for (int v = 0; v < n; v++) {
        x[v] = vec64_greater(vec64_set(-1000.0), x[v]);
        at[v] = vec64_add(vec64_mul(x[v], vec64_set(0x1.71547652b82fep+0)), integers);
        const vec64 q = vec64_sub(at[v], integers);
        s[v] = vec64_fma(q, vec64_set(-0x1.62e42fefa3000p-1), x[v]);
        s[v] = vec64_fma(q, vec64_set(-0x1.3de6af278ece6p-42), s[v]);
    }
    UNROLL for (int v = 0; v < n; v++) {
        const vec64 s2 = vec64_mul(s[v], s[v]), s4 = vec64_mul(s2, s2), s8 = vec64_mul(s4, s4);
        const vec64 high = vec64_fma(s2, exp_pair(s[v], 1), exp_pair(s[v], 2));
        const vec64 low = vec64_fma(s2, exp_pair(s[v], 3), exp_pair(s[v], 4));
        y[v] = vec64_fma(s8, exp_pair(s[v], 0), vec64_fma(s4, high, low));
        y[v] = vec64_fma(s[v], y[v], vec64_set(0.5));
        y[v] = vec64_fma(s[v], vec64_fma(s[v], y[v], one), one);
    }
    UNROLL for (int v = 0; v < n; v++) {
        const vec64 half = vec64_fma(at[v], vec64_set(0.5), vec64_set(0x1.8p51));
        y[v] = vec64_mul(y[v], vec64_powers(half));
        x[v] = vec64_mul(y[v], vec64_powers(vec64_sub_bits(at[v], half)));
    }
}

#endif
