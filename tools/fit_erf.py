#!/usr/bin/env python3
"""Fits the polynomials of simd/erf_frame.h and prints simd/erf_coefficients.h.

    |x| < NEAR:   erf x = x + x P(x^2)                              P from erf(x)/x - 1
    else:         erf x = +-(1 - q^2), q = sqrt(erfc |x|) = ROOT + s R(s), s = |x| - CENTER,
                  1 - q^2 = 1 - ROOT^2 - m (m + 2 ROOT), m = s R(s)

The root of erfc is smoother than erfc itself. Its far end is squared, so it tolerates larger
errors. The value rounded before the last step is small where q is near ROOT; CENTER is the float
near 1.02 at which both ROOT and 1 - ROOT^2 are nearly floats. Least squares over Chebyshev points,
weighted by the effect of the polynomial's error on erf; each coefficient is rounded to f32, lowest
first, and the others are fitted again.

    python3 tools/fit_erf.py | diff - simd/erf_coefficients.h

Needs mpmath.
"""
import struct

try:
    from mpmath import cos, erf, erfc, lu_solve, matrix, mp, mpf, pi, sqrt
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

mp.dps = 50
NEAR, LIMIT = mpf("0.8"), mpf(4)  # erf is 1 in f32 from 3.92 on
N_NEAR, N_FAR = 7, 11


def f32(value):
    return mpf(struct.unpack("f", struct.pack("f", float(value)))[0])


def literal(value):
    mantissa, exponent = float(value).hex().split("p")
    digits = mantissa.rstrip("0").rstrip(".")
    return f"{digits}p{int(exponent)}f"


def fit(f, weight, low, high, n, first=()):
    """Coefficients of the polynomial closest to f on low..high, in f32; the first may be given."""
    nodes = [mpf(2 * k + 1) / (8 * n) * pi for k in range(4 * n)]
    points = [(low + high) / 2 + (high - low) / 2 * cos(node) for node in nodes]
    values = [f(x) for x in points]
    weights = [weight(x) ** 2 for x in points]
    moments = [sum(w * x**e for w, x in zip(weights, points)) for e in range(2 * n)]
    c = list(first)
    while len(c) < n:
        free = range(len(c), n)
        rest = [y - sum(a * x**k for k, a in enumerate(c)) for x, y in zip(points, values)]
        left = matrix([[moments[i + j] for j in free] for i in free])
        right = matrix([sum(w * x**i * r for w, x, r in zip(weights, points, rest)) for i in free])
        c.append(f32(lu_solve(left, right)[0]))
    return c


def root(x):
    return sqrt(erfc(x))


def find_center():
    """(CENTER, ROOT, 1 - ROOT^2), the best of 3000 floats from 1.02 on."""

    def candidate(i):
        x = mpf(i) / 2**23
        k = f32(root(x))
        miss = max(abs(root(x) - k), abs(1 - k * k - f32(1 - k * k)))
        return miss, x, k

    start = int(mpf("1.02") * 2**23)
    _, center, k = min(candidate(i) for i in range(start, start + 3000))
    return center, k, f32(1 - k * k)


def array(name, size, values):
    lines = "".join(f"    {literal(v)},\n" for v in values)
    print(f"static const float {name}[{size}] = {{\n{lines}}};")


def main():
    center, k, rest = find_center()
    two = 2 / sqrt(pi)
    near = fit(lambda t: erf(sqrt(t)) / sqrt(t) - 1, lambda t: sqrt(t) / erf(sqrt(t)),
               mpf(0), NEAR**2, N_NEAR, [f32(two - 1)])
    far = fit(lambda s: (root(center + s) - k) / s, lambda s: s * root(center + s),
              NEAR - center, LIMIT - center, N_FAR)
    print("""/* The coefficients of erf, printed by tools/fit_erf.py, which defines them.
 * Private to simd/: erf_reference.h and erf_frame.h.
 * Threads: constants.
 * Ownership: nothing is kept. */
#ifndef ERF_COEFFICIENTS_H
#define ERF_COEFFICIENTS_H
""")
    print(f"#define ERF_N_NEAR {N_NEAR}\n#define ERF_N_FAR {N_FAR}")
    print(f"#define ERF_NEAR {literal(f32(NEAR))}")
    print(f"#define ERF_LIMIT {literal(LIMIT)}")
    print(f"#define ERF_CENTER {literal(center)}")
    print(f"#define ERF_TWICE_ROOT {literal(2 * k)}")
    print(f"#define ERF_AT_CENTER {literal(rest)} /* 1 - ROOT^2 */\n")
    print("/* P and R, lowest first. */")
    array("erf_near", "ERF_N_NEAR", near)
    array("erf_far", "ERF_N_FAR", far)
    print("\n#endif")


if __name__ == "__main__":
    main()
