#!/usr/bin/env python3
"""Golden sets of sampling strategies, in float64 by a full sort: for test_draw and test_sampling.

    tests/tools/make_sampling_golden.py      writes tests/golden/sampling/

sets: logits, strategies (T, k, p, min-p) and their distributions, with ties and edge cases.
parallel_f32, parallel_f32_corpus: arrays of the plugin sampling.
"""
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
TOKENS = [3, 41, 7, 19, 60]
DOCUMENTS = [[(i * i + 7 * d * i + 3 * d) % 80 for i in range(12 + 2 * d)] for d in range(6)]
OPTIONS = (0.6, 5, 0.8, 0.1)  # T, k, p, min-p of the plugin's tests
VOCABULARY = 61


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def drawn_from(z, temperature, k, p, min_p):
    """The distribution [V] that a strategy draws from; 0 for tokens outside the kept set."""
    order = np.argsort(-z, kind="stable")
    if temperature == 0:
        order = order[:1]
        return np.eye(len(z))[order[0]]
    scaled = z / temperature
    if k > 0:
        order = order[:k]
    if 0 < p < 1:
        mass = np.cumsum(softmax(scaled[order]))
        order = order[: np.searchsorted(mass, p, side="left") + 1]
    if min_p > 0:
        q = softmax(scaled[order])
        order = order[q >= min_p * q[0]]
    out = np.zeros(len(z))
    out[order] = softmax(scaled[order])
    return out


def sets():
    rng = np.random.default_rng(3)
    spread = np.float32(rng.normal(size=VOCABULARY) * 2)
    tied = np.float32(rng.integers(-2, 3, VOCABULARY))  # many equal logits, at the top too
    flat = np.zeros(VOCABULARY, np.float32)
    hidden = spread.copy()
    hidden[::3] = -np.inf
    steep = np.float32(rng.normal(size=VOCABULARY) * 60)
    strategies = [(0, 0, 0, 0), (0, 7, 0.5, 0.5), (1, 0, 0, 0), (0.5, 0, 0, 0), (3, 0, 0, 0),
                  (1, 1, 0, 0), (1, 5, 0, 0), (1, VOCABULARY, 0, 0), (1, 100000, 0, 0),
                  (1, 0, 1, 0), (1, 0, 0.3, 0), (1, 0, 0.95, 0), (1, 0, 1e-9, 0), (0.7, 0, 0.6, 0),
                  (1, 0, 0, 1), (1, 0, 0, 0.1), (2, 0, 0, 0.3), (1, 0, 0, 1e-9),
                  (0.8, 20, 0.9, 0.05), (1.5, 10, 0.5, 0), (1, 12, 0, 0.2), (1, 0, 0.85, 0.15)]
    cases = [(z, s) for z in (spread, tied, flat, hidden, steep) for s in strategies
             if not (z is flat and s[2] in (0.3, 0.6, 0.85, 0.5))]  # whole multiples of 1/V round
    out = {"logits": np.stack([z for z, _ in cases]),
           "strategies": np.array([s for _, s in cases], np.float64),
           "drawn": np.stack([drawn_from(z.astype(np.float64), *s) for z, s in cases])}
    out["drawn"] = out["drawn"].astype(np.float32)
    save("sets", out)


def row_figures(z):
    """size, mass, kl [S]; same_set, overlap, agreement [S, S] of one row's logits."""
    t, k, p, m = OPTIONS
    full = softmax(z)
    qs = [drawn_from(z, *s) for s in
          ((0, 0, 0, 0), (t, 0, 0, 0), (1, k, 0, 0), (1, 0, p, 0), (1, 0, 0, m), OPTIONS)]
    kept = [q > 0 for q in qs]
    kl = [float((q[q > 0] * np.log(q[q > 0] / full[q > 0])).sum()) for q in qs]
    return {"size": np.array([x.sum() for x in kept], np.float64),
            "mass": np.array([full[x].sum() for x in kept]), "kl": np.array(kl),
            "same_set": np.array([[np.array_equal(a, b) for b in kept] for a in kept], np.float64),
            "overlap": np.array([[np.minimum(a, b).sum() for b in qs] for a in qs]),
            "agreement": np.array([[a @ b for b in qs] for a in qs])}


def stacked(rows):
    return {"sampling." + key: np.stack([r[key] for r in rows]) for key in rows[0]}


def plugin(name):
    model = Model(str(GOLDEN / "parity" / name))
    logits = model.forward(TOKENS, keep=False)["hook_logits"]
    save(name, stacked([row_figures(z) for z in logits]))
    rows = [(r, row_figures(z)) for tokens in DOCUMENTS
            for r, z in enumerate(model.forward(tokens, keep=False)["hook_logits"])]
    means = []
    for scope in (0, 1):
        chosen = [f for r, f in rows if r >= scope]
        mean = {key: np.mean([f[key] for f in chosen], 0) for key in chosen[0]}
        bins = np.array([np.searchsorted([1, 10, 100, 1000], f["size"]) for f in chosen])
        mean["size_bins"] = np.stack([(bins == b).mean(0) for b in range(5)], -1)
        means.append(mean)
    save(name + "_corpus", stacked(means))


def save(name, arrays):
    path = GOLDEN / "sampling" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, str(path))
    path.chmod(0o644)


if __name__ == "__main__":
    sets()
    plugin("parallel_f32")
