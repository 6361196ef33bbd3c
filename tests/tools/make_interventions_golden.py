#!/usr/bin/env python3
"""Makes tests/golden/interventions: the changes that edits of a run cause, on a parallel and a
sequential small random model.

    make_interventions_golden.py        writes MODEL.safetensors, MODEL_values.safetensors and
                                        MODEL_means.safetensors, random means of every layer

For each case: the logits of TransformerLens's run_with_hooks at three rows, and in float64 (numpy,
gptneox_float64) at every row dz, dlog p, KL and the prediction of the direct path. The cases must
equal those of tests/analysis/test_interventions.c. TransformerLens is checked against float64
before writing.
"""
import os
import sys

try:
    import numpy as np
    import torch
    from safetensors.torch import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

import gptneox_float64
import make_parity_golden as parity

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "interventions")
ROWS = [3, 7, 8]          # rows whose logits are kept
N_TOKENS, N_SHORT = 9, 6  # of the prompt and the first source; of the second source
CONTRAST = (7, 9)


def rows_of(begin, end):
    return slice(begin, end + 1)


ALL, LAST = slice(None), slice(-1, None)


def put(rows, value, unit=None):
    """x[rows] (of one head or neuron) = value for those rows; value is rows x ... or one vector."""
    def edit(x):
        at = (rows,) if unit is None else (rows,) + unit
        if callable(value):
            x[at] = value(x[at])
        else:
            full = np.broadcast_to(value, x.shape[:1] + np.shape(x[(0,) + (unit or ())]))
            x[at] = full[rows]
        return x
    return edit


def head(h):
    return (h,)


def scores(heads, rows, change):
    """change(row of keys) for [H, T, T] scores or pattern."""
    def edit(x):
        for h in range(x.shape[0]):
            for j in range(x.shape[1])[rows]:
                if heads is None or h in heads:
                    x[h, j, : j + 1] = change(x[h, j, : j + 1].copy(), h, j)
        return x
    return edit


def cut(begin, end):
    def change(row, h, j):
        row[begin : end + 1] = -np.inf
        return row
    return change


def cases(seen, values, layers, heads):
    """name -> [(hook, edit)], in the order of the plugins. seen: the runs base, one, two."""
    base, one, two = seen["base"], seen["one"], seen["two"]
    mod = np.arange(N_TOKENS) % N_SHORT
    z, mlp, resid = (lambda l: f"blocks.{l}.attn.hook_z"), (lambda l: f"blocks.{l}.hook_mlp_out"), (
        lambda l: f"blocks.{l}.hook_resid_pre")
    attn = lambda l: f"blocks.{l}.hook_attn_out"
    score = lambda l: f"blocks.{l}.attn.hook_attn_scores"
    zero_head = (z(0), put(ALL, 0.0, (1,)))
    cases = {
        "zero_head": [zero_head],
        "zero_mlp": [(mlp(1), put(ALL, 0.0))],
        "zero_neuron": [("blocks.0.mlp.hook_post", put(rows_of(2, 6), 0.0, (5,)))],
        "zero_embed": [("hook_embed", put(rows_of(4, 4), 0.0))],
        "zero_many": [(z(l), put(LAST, 0.0, (0,))) for l in range(layers)] +
                     [(attn(0), put(LAST, 0.0))],
        "mean_head": [(z(0), put(ALL, base[z(0)].mean(0)[1], (1,)))],
        "mean_mlp": [(mlp(1), put(rows_of(3, 8), base[mlp(1)].mean(0)))],
        "resample": [(z(1), put(ALL, two[z(1)][mod][:, 0], (0,))),
                     (mlp(0), put(ALL, two[mlp(0)][mod]))],
        "scale_filtered": [(z(1), put(ALL, lambda x: 0.25 * x, (1,)))],
        "scale_resid": [(resid(1), put(rows_of(5, 5), lambda x: 1.5 * x))],
        "scale_scores": [(score(0), scores([1], ALL, lambda row, h, j: 2 * row))],
        "scale_pre": [("blocks.0.mlp.hook_pre", put(ALL, lambda x: 0.5 * x))],
        "scale_ln1": [("blocks.1.ln1.hook_scale", put(ALL, lambda x: 1.25 * x))],
        "steer_file": [(resid(1), put(rows_of(2, 8), lambda x: x - 1.5 * values["vector"]))],
        "steer_change": [(mlp(0), put(ALL, lambda x: x + 2 * (one[mlp(0)][-1] - two[mlp(0)][-1])))],
        "steer_means": [(z(1), put(ALL, lambda x: x + (one[z(1)].mean(0) - two[z(1)].mean(0))[1],
                                   (1,)))],
        "mean_file": [(z(0), put(ALL, values[z(0)].mean(0)[1], (1,))),
                      (mlp(1), put(ALL, values[mlp(1)]))],
        "knockout": [(score(0), scores([1], rows_of(5, 8), cut(1, 3))),
                     (score(1), scores([0], rows_of(5, 8), cut(1, 3)))],
        "knockout_last": [(score(l), scores(None, LAST, cut(2, 2))) for l in range(layers)],
        "patch_head": [(z(0), put(ALL, one[z(0)][:, 1], (1,)))],
        "patch_resid": [(resid(1), put(rows_of(3, 3), one[resid(1)]))],
        "patch_pattern": [(f"blocks.1.attn.hook_pattern",
                           lambda x: one["blocks.1.attn.hook_pattern"].copy())],
        "patch_q": [("blocks.1.attn.hook_q", put(ALL, one["blocks.1.attn.hook_q"][:, 1], (1,)))],
        "combined": [zero_head,
                     (score(1), scores([0], rows_of(4, 8), cut(0, 1))),
                     (mlp(1), put(rows_of(2, 6), one[mlp(1)])),
                     (resid(1), put(ALL, lambda x: x + 0.5 * values["vector"]))],
    }
    return cases


# put() addresses a head or neuron of every chosen row: x[rows, unit].

def merged(edits):
    """{hook: all edits of it in order}."""
    out = {}
    for name, edit in edits:
        before = out.get(name)
        out[name] = edit if before is None else (lambda x, f=before, g=edit: g(f(x)))
    return out


# --- predictions, float64 ----------------------------------------------------------------------

INSIDE = ("ln1.hook_scale", "attn.hook_q", "attn.hook_attn_scores", "attn.hook_pattern")
OUTSIDE = ("mlp.hook_pre",)


def change_of_writes(model, edits, base):
    """D [T, N], or None if the direct path predicts nothing; and the changed run."""
    c, w = model.config, model.weights
    kept = {}

    def keep(name, edit):
        def both(x):
            after = edit(x.copy())
            kept[name] = (x, after.copy())
            return after
        return both
    run = model.forward_tokens(edits={n: keep(n, e) for n, e in edits.items()})
    D = np.zeros_like(base["hook_embed"])
    inside = {n for n in edits if n.endswith(INSIDE)}
    if any(n.endswith(OUTSIDE) for n in edits):
        return None, run
    if inside:
        layer = {int(n.split(".")[1]) for n in inside}
        if len(layer) > 1 or any(depth(n) < depth(next(iter(inside))) for n in edits):
            return None, run
    for name, (before, after) in kept.items():
        layer = name.split(".")[1] if name.startswith("blocks.") else None
        if name in inside:
            before, after = base[f"blocks.{layer}.attn.hook_z"], run[f"blocks.{layer}.attn.hook_z"]
        if name in inside or name.endswith("hook_z"):
            flat = (after - before).reshape(len(D), -1)
            D += flat @ w[f"layers.{layer}.attention.dense.weight"].T
        elif name.endswith("hook_post"):
            D += (after - before) @ w[f"layers.{layer}.mlp.dense_4h_to_h.weight"].T
        else:
            D += after - before
    return D, run


def depth(name):
    if name == "hook_embed":
        return 0
    layer = int(name.split(".")[1])
    return 2 * layer + (not name.endswith("hook_resid_pre"))


def log_softmax(z):
    m = z.max(-1, keepdims=True)
    return z - m - np.log(np.exp(z - m).sum(-1, keepdims=True))


def figures(model, tokens, edits, base):
    D, run = change_of_writes(model, edits, base)
    c, w = model.config, model.weights
    z, z2 = base["hook_logits"], run["hook_logits"]
    log_p, log_p2 = log_softmax(z), log_softmax(z2)
    out = {"kl": (np.exp(log_p) * (log_p - log_p2)).sum(-1)}
    x = base[f"blocks.{c['n_layers'] - 1}.hook_resid_post"]
    gamma, U = w["final_layer_norm.weight"], w[model.unembed]
    ids = np.full((4, len(tokens), 2), -1)      # #5, #7 - #9, next, top:1 of the base run
    ids[0, :, 0] = 5
    ids[1] = CONTRAST
    ids[2, :-1, 0] = tokens[1:]
    ids[3, :, 0] = z.argmax(-1)
    for name in ("dz", "dlog_p", "frozen_ln", "recomputed_ln"):
        out[name] = np.full(ids.shape[:2], np.nan)
    for t in range(4):
        for j in range(len(tokens)):
            a, b = ids[t, j]
            if a < 0:
                continue
            direction = U[a] - (U[b] if b >= 0 else 0)
            out["dz"][t, j] = z2[j, a] - z[j, a] - (z2[j, b] - z[j, b] if b >= 0 else 0)
            if b < 0:
                out["dlog_p"][t, j] = log_p2[j, a] - log_p[j, a]
            if D is None:
                continue

            def numerator(v):
                return direction @ (gamma * (v - v.mean()))

            def sigma(v):
                return np.sqrt(v.var() + c["eps"])
            out["frozen_ln"][t, j] = numerator(D[j]) / sigma(x[j])
            out["recomputed_ln"][t, j] = (numerator(x[j] + D[j]) / sigma(x[j] + D[j]) -
                                          numerator(x[j]) / sigma(x[j]))
    return out, run


# --- the files ---------------------------------------------------------------------------------

def make(name, seed):
    folder = os.path.join(parity.OUT, name)
    model = gptneox_float64.Model(folder)
    c = model.config
    lens = parity.open_lens(parity.open_transformers(folder), c)
    rng = np.random.default_rng(seed)
    tokens, one = (rng.integers(0, c["d_vocab"], N_TOKENS).tolist() for _ in range(2))
    two = rng.integers(0, c["d_vocab"], N_SHORT).tolist()
    model.forward_tokens = lambda edits=None: model.forward(tokens, edits)

    exact = {"base": model.forward(tokens), "one": model.forward(one), "two": model.forward(two)}
    seen = {k: {n: v.numpy() for n, v in parity.lens_run(lens, t).items()}
            for k, t in (("base", tokens), ("one", one), ("two", two))}
    values = {"vector": 0.4 * rng.standard_normal(c["d_model"]),
              "blocks.0.attn.hook_z": rng.standard_normal((4, c["n_heads"], c["d_head"])) / 3,
              "blocks.1.hook_mlp_out": rng.standard_normal(c["d_model"]) / 3}
    values = {k: v.astype(np.float32) for k, v in values.items()}
    wide = {k: v.astype(np.float64) for k, v in values.items()}
    out = {"tokens": parity.tensor(tokens, np.int32), "one": parity.tensor(one, np.int32),
           "two": parity.tensor(two, np.int32)}
    by_lens = cases(seen, values, c["n_layers"], c["n_heads"])
    by_numpy = cases(exact, wide, c["n_layers"], c["n_heads"])
    for case in by_lens:
        got = parity.lens_run(lens, tokens, merged(by_lens[case]))["hook_logits"]
        numbers, run = figures(model, tokens, merged(by_numpy[case]), exact["base"])
        parity.check(f"{name} {case}", got, run["hook_logits"])
        assert np.abs(run["hook_logits"] - exact["base"]["hook_logits"]).max() > 1e-3, case
        out[case + "/logits"] = got[ROWS].contiguous()
        for key, value in numbers.items():
            out[f"{case}/{key}"] = parity.tensor(value, np.float64)
    save_file(out, os.path.join(OUT, f"{name}.safetensors"))
    values["bad"] = np.array([1.0, np.nan], np.float32).repeat(c["d_model"] // 2)
    save_file({k: torch.from_numpy(v) for k, v in values.items()},
              os.path.join(OUT, f"{name}_values.safetensors"))
    print(name, len(by_lens), "cases")


def save_means(name, seed):
    c = gptneox_float64.Model(os.path.join(parity.OUT, name)).config
    rng = np.random.default_rng(seed)
    shapes = {"attn.hook_z": (c["n_heads"], c["d_head"]), "hook_mlp_out": (c["d_model"],),
              "hook_resid_pre": (c["d_model"],)}
    save_file({f"blocks.{layer}.{point}": torch.from_numpy(
                   rng.standard_normal(shape).astype(np.float32) / 3)
               for layer in range(c["n_layers"]) for point, shape in shapes.items()},
              os.path.join(OUT, f"{name}_means.safetensors"))


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.makedirs(OUT, exist_ok=True)
    for seed, name in enumerate(("parallel_f32", "sequential_f32")):
        make(name, 40 + seed)
        save_means(name, 50 + seed)


if __name__ == "__main__":
    sys.exit(main())
