#!/usr/bin/env python3
"""Golden intervals and tests of means, by SciPy.

    tests/tools/make_resampling_golden.py          writes tests/golden/resampling/

The draws are those of base/resampling_draws.c, written here with NumPy. scipy.stats.bootstrap
makes the percentile and BCa intervals of the means of these draws. scipy.stats.permutation_test
makes p where it takes all sign vectors; elsewhere p counts the vectors of our signs. A column of
`values` is a quantity, a row an example; NaN is a missing value.
"""

import pathlib
import warnings

try:
    import numpy as np
    from safetensors.numpy import save_file
    from scipy import stats
    from scipy.stats._resampling import BootstrapResult
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "resampling"
SEED, DRAWS, LEVEL = 42, 2000, 0.95
COUNTS, SIGNS = 1, 2
NAMES = ("mean", "se", "low", "high", "low_percentile", "high_percentile", "p")


def mix(z):
    z = np.asarray(z, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def words(stream, n):
    keys = mix(mix(mix(np.uint64(SEED)) + np.uint64(stream)) + np.arange(DRAWS, dtype=np.uint64))
    return mix(keys[:, None] + np.arange(n, dtype=np.uint64)[None, :])


def indices(n):
    half = words(COUNTS, (n + 1) // 2)
    low, high = half & np.uint64(0xFFFFFFFF), half >> np.uint64(32)
    both = np.stack([low, high], axis=-1).reshape(DRAWS, -1)[:, :n]
    return (both * np.uint64(n) >> np.uint64(32)).astype(np.int64)


def signs(n):
    bits = words(SIGNS, (n + 63) // 64)[:, :, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    return 1.0 - 2.0 * bits.reshape(DRAWS, -1)[:, :n].astype(float)


def mean(v, axis=-1):
    """The sum in ascending order, so that equal means are equal to the bit."""
    return np.take(np.cumsum(v, axis=axis), -1, axis=axis) / v.shape[axis]


def interval(v, method):
    counts = np.stack([np.bincount(row, minlength=len(v)) for row in indices(len(v))])
    given = BootstrapResult(None, mean(counts * v), None)
    found = stats.bootstrap(
        (v,), mean, n_resamples=0, confidence_level=LEVEL, method=method, bootstrap_result=given
    )
    return found.confidence_interval


def p_value(v):
    if 2 ** len(v) <= DRAWS:
        return stats.permutation_test(
            (v,), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
    far = abs(signs(len(v)) @ v) >= abs(v.sum()) - len(v) * 2.0**-52 * abs(v).sum()
    return (1 + far.sum()) / (1 + DRAWS)


def statistics(v):
    out = dict.fromkeys(NAMES, np.nan)
    if len(v) > 0:
        out["mean"] = v.mean()
        out["p"] = p_value(v) if len(v) > 1 else 1.0
    if len(v) > 1:
        out["se"] = v.std(ddof=1) / np.sqrt(len(v))
        out["low_percentile"], out["high_percentile"] = interval(v, "percentile")
        out["low"], out["high"] = interval(v, "BCa")
    return out


def columns(n):
    """Symmetric, skewed, far from 0, of two values, with missing values, constant."""
    draw = np.random.default_rng(7)

    def missing(v, present):
        v = v.copy()
        v[draw.permutation(n)[present:]] = np.nan
        return v

    normal = draw.normal(size=n)
    return [
        normal,
        np.exp(1.5 * draw.normal(size=n)),
        5 + draw.normal(size=n),
        (draw.random(n) < 0.3).astype(float),
        missing(normal, 20),
        missing(normal + 0.4, 10),
        missing(np.exp(normal), 9),
        missing(normal, 2),
        missing(normal, 1),
        missing(normal, 0),
        np.full(n, 0.25),
        np.zeros(n),
        1e-9 * normal,
        1e9 * (normal + 0.2),
        np.where(np.arange(n) == 3, 40.0, 0.0),
        np.round(normal),
        missing(normal, 20) + 1,
        -np.exp(draw.normal(size=n)),
        missing(draw.normal(size=n), 10),
    ]


def main():
    values = np.stack(columns(69), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [statistics(v[~np.isnan(v)]) for v in values.T]
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    arrays["values"] = values
    GOLDEN.mkdir(exist_ok=True)
    save_file(arrays, GOLDEN / "resampling.safetensors")
    for key, array in arrays.items():
        if key != "values":
            print(key, array)


main()
