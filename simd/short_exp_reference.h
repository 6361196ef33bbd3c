/* exp in f64 for sums over the vocabulary: coefficients, and the definition in scalar C.
 * Private to simd/: vocabulary_reference.c and vocabulary_frame.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef SHORT_EXP_REFERENCE_H
#define SHORT_EXP_REFERENCE_H

#include "kernels.h"

#include <math.h>
#include <string.h>

/* e^s on |s| <= ln 2/2, interpolated at Chebyshev's nodes, highest first:
 * relative error 3.4e-16. */
enum { PSC_SHORT_EXP_TERMS = 11 };
static const double psc_short_exp_coefficients[PSC_SHORT_EXP_TERMS] = {0x1.28a2ca617b969p-22,
    0x1.72fafebdaf273p-19, 0x1.a019a6611cad5p-16, 0x1.a01978b8b3d18p-13, 0x1.6c16c17f46982p-10,
    0x1.1111112ddae8bp-7, 0x1.55555555520a4p-5, 0x1.555555554b736p-3, 0x1.0000000000005p-1,
    0x1.000000000001ep+0, 0x1.0000000000000p+0};

/* Infinite above 709; below -708 that of -708. A double in 2^52..2^53 holds an integer in its low
 * bits, so adding `integers` rounds to one, and those bits serve as an exponent. */
static inline double short_exp_of(double x) {
    const double integers = 0x1.8p52 + 1023.0;
    if (709.0 < x) return (double)INFINITY;
    x = -708.0 > x ? -708.0 : x;
    const double at = fma(x, 0x1.71547652b82fep+0, integers), q = at - integers;
    double s = fma(q, -0x1.62e42fefa3000p-1, x), y = psc_short_exp_coefficients[0], scale;
    s = fma(q, -0x1.3de6af278ece6p-42, s);
    for (int k = 1; k < PSC_SHORT_EXP_TERMS; k++) y = fma(y, s, psc_short_exp_coefficients[k]);
    uint64_t bits;
    memcpy(&bits, &at, sizeof bits);
    bits <<= 52;
    memcpy(&scale, &bits, sizeof scale);
    return y * scale;
}

#endif
