#!/usr/bin/env python3
"""Fits the polynomial of simd/tanh_frame.h and prints simd/tanh_coefficients.h.

    |x| < NEAR:   tanh x = x + x^3 Q(x^2)                    Q from (tanh(x)/x - 1)/x^2
    else:         tanh x = +-(1 - 2/(exp(2|x|) + 1))

From NEAR on the subtrahend is less than 0.38, so that the errors of exp and of the division count
less than half. fit_erf.py has the method.

    python3 tools/fit_tanh.py | diff - simd/tanh_coefficients.h

Needs mpmath.
"""
try:
    from mpmath import mpf, sqrt, tanh
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from fit_erf import array, f32, fit, literal

NEAR, LIMIT = mpf("0.75"), mpf(10)  # tanh is 1 in f32 from 9.02 on
N_NEAR = 6


def main():
    near = fit(lambda t: (tanh(sqrt(t)) / sqrt(t) - 1) / t, lambda t: t * sqrt(t) / tanh(sqrt(t)),
               mpf(0), NEAR**2, N_NEAR)
    print("""/* The coefficients of tanh, printed by tools/fit_tanh.py, which defines them.
 * Private to simd/: tanh_reference.h and tanh_frame.h.
 * Threads: constants.
 * Ownership: nothing is kept. */
#ifndef TANH_COEFFICIENTS_H
#define TANH_COEFFICIENTS_H
""")
    print(f"#define TANH_N_NEAR {N_NEAR}")
    print(f"#define TANH_NEAR {literal(f32(NEAR))}")
    print(f"#define TANH_LIMIT {literal(LIMIT)}\n")
    print("/* Q, lowest first. */")
    array("tanh_near", "TANH_N_NEAR", near)
    print("\n#endif")


if __name__ == "__main__":
    main()
