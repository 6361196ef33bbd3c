#!/usr/bin/env python3
"""Makes tests/golden/directions: edits along directions, and what `directions` fits, on a parallel
and a sequential small random model.

    make_directions_golden.py        writes MODEL.safetensors and MODEL_values.safetensors

Edits are as in make_interventions_golden.py: logits of TransformerLens's run_with_hooks, figures in
float64. The cases must equal those of tests/analysis/test_directions.c. A projection is made from
numpy's QR, components from its SVD, the ridge from its least squares on stacked rows.
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
import make_interventions_golden as edits
import make_parity_golden as parity
from make_interventions_golden import ALL, put, rows_of

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "directions")
LENGTHS = {"one": 9, "two": 6, "three": 7, "four": 5}  # of the source prompts
N_FIT, N_HELD, MOST = 40, 16, 8  # prompts that are fitted, and held out; tokens of the longest


# --- edits -----------------------------------------------------------------------------------------

def basis(*vectors):
    """Orthonormal rows, each with the sign of its vector."""
    q, r = np.linalg.qr(np.atleast_2d(np.array(vectors, np.float64)).T)
    return (q * np.sign(np.diag(r))).T


def out(b):
    return lambda x: x - (x @ b.T) @ b


def set_to(b, value):
    return lambda x: x + (np.asarray(value) - x @ b.T) @ b


def swap(b, source):
    return lambda x: x + ((source - x) @ b.T) @ b


def flat(edit):
    """The edit of [T, H, D] as [T, H D]."""
    return lambda x: edit(x.reshape(len(x), -1)).reshape(x.shape)


def folded(gamma, w):
    v = gamma * w
    return v - v.mean(-1, keepdims=True)


def parts(model):
    """The weights that along= names, in float64."""
    w, c = model.weights, model.config

    def qkv(layer, head, which):
        d = c["d_head"]
        rows = w[f"layers.{layer}.attention.query_key_value.weight"]
        return rows.reshape(c["n_heads"], 3, d, -1)[head, which]
    d = c["d_head"]
    return {
        "L0N5.in": w["layers.0.mlp.dense_h_to_4h.weight"][5],
        "L1N7.out": w["layers.1.mlp.dense_4h_to_h.weight"][:, 7],
        "L1H1.O": w["layers.1.attention.dense.weight"][:, d : 2 * d].T,
        "L1H1.Q": qkv(1, 1, 0),
        "U": w[model.unembed],
        "E": w["embed_in.weight"],
        "ln2.0": w["layers.0.post_attention_layernorm.weight"],
        "ln1.1": w["layers.1.input_layernorm.weight"],
        "final": w["final_layer_norm.weight"],
    }


def cases(seen, values, part):
    resid, z = "blocks.1.hook_resid_pre", "blocks.1.attn.hook_z"
    mlp = "blocks.0.hook_mlp_out"
    vector, three = basis(values["vector"]), basis(*values["basis"])
    two = basis(*values["basis"][[0, 2]])
    columns, heads = basis(*values["rotation"].T), basis(*values["heads"])
    named = basis(part["L0N5.in"], part["L1N7.out"], part["U"][5] - part["U"][9])
    through = basis(folded(part["ln2.0"], part["L0N5.in"]), folded(part["final"], part["U"][7]),
                    *folded(part["ln1.1"], part["L1H1.Q"]))
    last = {n: seen[n][mlp].mean(0) for n in LENGTHS}
    pairs = np.array([seen[a][resid][-1] - seen[b][resid][-1] for a, b in
                      (("one", "three"), ("two", "four"))], np.float64)
    components = np.linalg.svd(pairs, full_matrices=False)[2]
    return {
        "out_vector": [(resid, put(rows_of(2, 8), out(vector)))],
        "out_basis": [("blocks.0.hook_resid_post", put(ALL, out(three)))],
        "out_named": [(f"blocks.{l}.hook_resid_pre", put(ALL, out(named))) for l in range(2)],
        "out_folded": [(resid, put(ALL, out(through)))],
        "out_writes": [("blocks.1.hook_resid_post", put(ALL, out(basis(*part["L1H1.O"]))))],
        "out_embed": [("hook_embed", put(ALL, out(basis(part["E"][3]))))],
        "out_head": [("blocks.0.attn.hook_z", put(ALL, out(basis(values["heads"][1])), (1,)))],
        "out_z": [("blocks.0.attn.hook_z", put(ALL, flat(out(basis(values["z"].ravel())))))],
        "set_vector": [(mlp, put(rows_of(1, 6), set_to(vector, [1.5])))],
        "set_two": [(resid, put(ALL, set_to(two, [1.0, -0.5])))],
        "set_mean": [(resid, put(ALL, set_to(three, three @ values[resid])))],
        "add_vector": [(resid, put(ALL, lambda x: x - 2 * values["vector"]))],
        "add_post": [("blocks.0.mlp.hook_post", put(ALL, lambda x: x + 0.5 * values["post"][1]))],
        "swap_columns": [(resid, put(ALL, swap(columns, seen["one"][resid])))],
        "swap_heads": [(z, put(ALL, swap(heads, seen["one"][z][:, 1]), (1,)))],
        "out_means": [(mlp, put(ALL, out(basis(last["one"] - last["two"]))))],
        "out_components": [(resid, put(ALL, out(components)))],
        "set_component": [(resid, put(ALL, set_to(signed(components[:1], pairs), [2.0])))],
    }


def signed(components, pairs):
    return components * np.sign((components @ pairs.T).sum(-1, keepdims=True))


def rows_edit(case_edits):
    """put() hands a swap only the rows that it changes; all rows here."""
    return edits.merged(case_edits)


# --- what directions fits --------------------------------------------------------------------------

def ridge(x, y, penalty):
    """Weights and bias of least squares with a penalty, from stacked rows."""
    n, width = x.shape
    mean, target = x.mean(0), y.mean()
    a = np.vstack([x - mean, np.sqrt(penalty) * np.eye(width)])
    w = np.linalg.lstsq(a, np.concatenate([y - target, np.zeros(width)]), rcond=None)[0]
    return w, target - w @ mean


def fit(prefix, out, x, label, held_x, held_label, n_classes):
    n = len(x)
    means = np.array([x[label == k].mean(0) for k in range(n_classes)])
    which = [1] if n_classes == 2 else range(n_classes)
    difference = np.array([means[k] - x[label != k].mean(0) for k in which])
    centered = x - x.mean(0)
    scale = centered.std(0).mean()
    probe = [ridge(x, (label == k).astype(float), 0.01 * n * scale**2) for k in which]
    weights, bias = np.array([w for w, _ in probe]), np.array([b for _, b in probe])
    s, v = np.linalg.svd(centered, full_matrices=False)[1:]
    signs = np.sign(v[np.arange(len(v)), np.abs(v).argmax(1)])
    score = held_x @ weights.T + bias
    guess = (score[:, 0] > 0.5).astype(int) if n_classes == 2 else score.argmax(1)
    near = ((held_x[:, None] - means) ** 2).sum(-1).argmin(1)
    numbers = {
        "means": means, "mean_difference": difference, "probe": weights, "probe_bias": bias,
        "components": (v * signs[:, None])[:4], "explained_variance": (s**2 / (n - 1))[:4],
        "accuracy": np.array([(guess == held_label).mean(), (near == held_label).mean()]),
        "mean": x.mean(0),
    }
    for key, value in numbers.items():
        out[f"{prefix}/{key}"] = parity.tensor(np.ascontiguousarray(value), np.float64)


def fits(model, rng, out):
    """Prompts whose last tokens hint at their class, so that there is something to find."""
    c = model.config
    count = N_FIT + N_HELD
    tokens, label = np.full((count, MOST), -1), np.arange(count) % 3
    runs = []
    for i in range(count):
        n = 3 + i % (MOST - 2)
        ids = rng.integers(0, c["d_vocab"], n)
        ids[-1] = 10 * label[i] + rng.integers(0, 14)
        tokens[i, :n] = ids
        runs.append(model.forward(ids.tolist()))
    out["fit/tokens"] = parity.tensor(tokens, np.int32)
    out["fit/label"] = parity.tensor(label, np.int32)
    point, z = "blocks.1.hook_resid_post", "blocks.0.attn.hook_z"
    last = np.array([r[point][-1] for r in runs])
    mean = np.array([r[z][:, 1].mean(0) for r in runs])
    two = label < 2
    a, b = slice(0, N_FIT), slice(N_FIT, None)
    fit("fit/two", out, last[a][two[a]], label[a][two[a]], last[b][two[b]], label[b][two[b]], 2)
    fit("fit/three", out, mean[a], label[a], mean[b], label[b], 3)
    each = [(r[point], label[i]) for i, r in enumerate(runs)]
    rows = [np.concatenate([x for x, _ in part]) for part in (each[a], each[b])]
    of = [np.concatenate([np.full(len(x), k) for x, k in part]) for part in (each[a], each[b])]
    fit("fit/all", out, rows[0], of[0], rows[1], of[1], 3)


# --- the files -------------------------------------------------------------------------------------

def make(name, seed):
    folder = os.path.join(parity.OUT, name)
    model = gptneox_float64.Model(folder)
    c = model.config
    lens = parity.open_lens(parity.open_transformers(folder), c)
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, c["d_vocab"], edits.N_TOKENS).tolist()
    sources = {k: rng.integers(0, c["d_vocab"], n).tolist() for k, n in LENGTHS.items()}
    model.forward_tokens = lambda changes=None, edits=None: model.forward(tokens, changes or edits)
    base = model.forward(tokens)
    exact = {k: model.forward(t) for k, t in sources.items()}
    seen = {k: {n: v.numpy() for n, v in parity.lens_run(lens, t).items()}
            for k, t in sources.items()}
    normal = rng.standard_normal
    values = {"vector": 0.4 * normal(c["d_model"]), "basis": normal((3, c["d_model"])),
              "rotation": normal((c["d_model"], 2)), "heads": normal((2, c["d_head"])),
              "z": normal((c["n_heads"], c["d_head"])), "post": normal((2, c["d_mlp"])),
              "blocks.1.hook_resid_pre": normal(c["d_model"])}
    values = {k: v.astype(np.float32) for k, v in values.items()}
    wide = {k: v.astype(np.float64) for k, v in values.items()}
    out = {"tokens": parity.tensor(tokens, np.int32)}
    out.update({k: parity.tensor(v, np.int32) for k, v in sources.items()})
    part = parts(model)
    by_lens, by_numpy = cases(seen, wide, part), cases(exact, wide, part)
    for case in by_lens:
        got = parity.lens_run(lens, tokens, rows_edit(by_lens[case]))["hook_logits"]
        numbers, run = edits.figures(model, tokens, rows_edit(by_numpy[case]), base)
        parity.check(f"{name} {case}", got, run["hook_logits"])
        assert np.abs(run["hook_logits"] - base["hook_logits"]).max() > 1e-3, case
        out[case + "/logits"] = got[edits.ROWS].contiguous()
        for key, value in numbers.items():
            out[f"{case}/{key}"] = parity.tensor(value, np.float64)
    if name.startswith("parallel"):
        fits(model, rng, out)
    save_file(out, os.path.join(OUT, f"{name}.safetensors"))
    values["bad"] = np.array([1.0, np.nan], np.float32).repeat(c["d_model"] // 2)
    values["dependent"] = np.stack([values["vector"], -2 * values["vector"]])
    values["zero"] = np.zeros(c["d_model"], np.float32)
    save_file({k: torch.from_numpy(v) for k, v in values.items()},
              os.path.join(OUT, f"{name}_values.safetensors"))
    print(name, len(by_lens), "cases")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.makedirs(OUT, exist_ok=True)
    for seed, name in enumerate(("parallel_f32", "sequential_f32")):
        make(name, 60 + seed)


if __name__ == "__main__":
    sys.exit(main())
