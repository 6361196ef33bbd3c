#!/usr/bin/env python3
"""Golden arrays of the plugin logits, in float64 and by brute force: builds every component as a
vector, centers it, and multiplies it with the direction. The remainder of the logit, z - constant -
sum, is the component `edit`; without edits it is asserted to be zero.

    tests/tools/make_logits_golden.py            writes tests/golden/logits/*.safetensors
    tests/tools/make_logits_golden.py sources    only the arrays of the level source

The models are those of the parity tests, and large_eps (eps 1e-2, embeddings of scale 0.05), which
is made again if its folder is missing. The edits must equal those of tests/analysis/test_logits.c.
"""
import pathlib
import subprocess
import sys

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
TOKENS = [3, 41, 7, 19, 60, 2]
# As the test adds them: #5, top:2 (two ranks), next, #7 - #9
TARGETS = [("id", 5), ("top", 0), ("top", 1), ("next", None), ("contrast", (7, 9))]
LARGE_EPS = ["--layers", "2", "--d-model", "24", "--heads", "3", "--d-mlp", "40", "--vocab", "64",
             "--context", "32", "--eps", "1e-2", "--embed-scale", "0.05", "--dtype", "f16",
             "--seed", "5"]


def P(x):
    return x - x.mean(-1, keepdims=True)


def pattern(n):
    """The vector that the edits add; exact in f32."""
    return np.array([((7 * i) % 5 - 2) / 8 for i in range(n)])


def zero_head(head):
    def edit(x):
        x[:, head] = 0
        return x
    return edit


def double_head(head):
    def edit(x):
        x[head] *= 2
        return x
    return edit


def edits_of(c, sources=False):
    v, w = pattern(c["d_model"]), pattern(c["d_vocab"])

    def first_neuron(x):
        x[:, 0] = 1
        return x

    edits = {
        "hook_embed": lambda x: x + v / 2,
        "blocks.0.attn.hook_z": zero_head(0),
        "blocks.0.attn.hook_result": zero_head(1),
        "blocks.0.hook_attn_out": lambda x: x + v / 2,
        "blocks.0.hook_mlp_out": lambda x: 2 * x,
        "blocks.0.hook_resid_post": lambda x: x - v / 4,
        "blocks.1.hook_resid_pre": lambda x: x + v,
        "blocks.1.mlp.hook_post": first_neuron,
        "ln_final.hook_scale": lambda x: x * 1.25,
        "ln_final.hook_normalized": lambda x: x + v,
        "hook_logits": lambda x: x + 4 * w,
    }
    if not c["parallel"]:
        edits["blocks.1.hook_resid_mid"] = lambda x: x + 2 * v
    if sources:  # edits of the inputs of sources, upstream of z
        edits["blocks.1.attn.hook_v"] = zero_head(1)
        edits["blocks.1.attn.hook_pattern"] = double_head(0)
    return edits


def target_ids(logits):
    rows = logits.shape[0]
    ids = np.full((len(TARGETS), rows, 2), -1, np.int32)
    for t, (kind, what) in enumerate(TARGETS):
        for r in range(rows):
            if kind == "id":
                ids[t, r, 0] = what
            elif kind == "top":
                ids[t, r, 0] = np.argsort(-logits[r], kind="stable")[what]
            elif kind == "contrast":
                ids[t, r] = what
            elif r + 1 < rows:
                ids[t, r, 0] = TOKENS[r + 1]
    return ids


def components(model, run, level):
    """[(label, [T, N])]: every writer into the residual stream, as one vector per row."""
    c, rows = model.config, run["hook_embed"].shape[0]
    out = [("embed", run["hook_embed"])]
    zero = np.zeros(c["d_model"])
    for l in range(c["n_layers"]):
        at, names = f"blocks.{l}.", f"layers.{l}."
        if level == "layer":
            out += [(f"{l}_attn_out", run[at + "hook_attn_out"])]
        else:
            W = model.weights[names + "attention.dense.weight"]
            W = W.reshape(c["d_model"], c["n_heads"], c["d_head"])
            for h in range(c["n_heads"]):
                if level == "source":
                    pattern, v = run[at + "attn.hook_pattern"][h], run[at + "attn.hook_v"][:, h]
                    out += [(f"L{l}H{h}@{j}", np.outer(pattern[:, j], v[j] @ W[:, h].T))
                            for j in range(rows)]
                    continue
                out += [(f"L{l}H{h}", run[at + "attn.hook_z"][:, h] @ W[:, h].T)]
            bias = model.weights.get(names + "attention.dense.bias", zero)
            out += [(f"{l}_attn_bias", np.tile(bias, (rows, 1)))]
        if level != "neuron":
            out += [(f"{l}_mlp_out", run[at + "hook_mlp_out"])]
            continue
        W = model.weights[names + "mlp.dense_4h_to_h.weight"]
        for k in range(c["d_mlp"]):
            out += [(f"L{l}N{k}", run[at + "mlp.hook_post"][:, k:k + 1] * W[:, k])]
        bias = model.weights[names + "mlp.dense_4h_to_h.bias"]
        out += [(f"{l}_mlp_bias", np.tile(bias, (rows, 1)))]
    return out


LEVELS = (("layer", ".layer"), ("head", ".head"), ("neuron", ""))


def arrays(model, run, edited, centered, levels=LEVELS):
    logits, table = run["hook_logits"], model.weights[model.unembed]
    gamma = model.weights["final_layer_norm.weight"]
    beta = model.weights["final_layer_norm.bias"]
    ids, sigma = target_ids(logits), run["ln_final.hook_scale"][:, 0]
    shape = ids.shape[:2]
    u = np.full(shape + (model.config["d_model"],), np.nan)
    out = {"values": np.full(shape, np.nan), "constant": np.full(shape, np.nan)}
    for t, r in np.ndindex(shape):
        a, b = ids[t, r]
        if a < 0:
            continue
        row = table[a] - (table[b] if b >= 0 else table.mean(0) if centered else 0)
        u[t, r] = P(gamma * row)
        out["constant"][t, r] = row @ beta
        out["values"][t, r] = logits[r, a] - (
            logits[r, b] if b >= 0 else logits[r].mean() if centered else 0)
    for level, suffix in levels:
        vectors = np.stack([v for _, v in components(model, run, level)], 1)  # [T, C, N]
        shares = np.einsum("qtn,tcn->qtc", u, P(vectors)) / sigma[None, :, None]
        left = out["values"] - out["constant"] - shares.sum(-1)
        if edited:
            shares = np.concatenate([shares, left[..., None]], -1)
        else:
            assert np.nanmax(np.abs(left)) < 1e-11
        out["contributions" + suffix] = shares
        out["sum_abs_share" + suffix] = np.abs(shares).sum(-1)
    out = {name: value.astype(np.float32) for name, value in out.items()}
    return {**out, "sigma": sigma.astype(np.float32), "target_ids": ids}


def make(folder, edited=False, centered=False):
    model = Model(str(folder))
    run = model.forward(TOKENS, edits_of(model.config) if edited else {})
    suffix = ("_edited" if edited else "") + ("_centered" if centered else "")
    save_file(arrays(model, run, edited, centered),
              str(GOLDEN / "logits" / f"{folder.name}{suffix}.safetensors"))


def make_sources(folder, edited=False):
    """Like make, for the level source only."""
    model = Model(str(folder))
    run = model.forward(TOKENS, edits_of(model.config, True) if edited else {})
    name = folder.name + ("_edited" if edited else "") + "_sources.safetensors"
    save_file(arrays(model, run, edited, False, (("source", ""),)), str(GOLDEN / "logits" / name))


def main():
    large_eps = GOLDEN / "logits" / "large_eps"
    if not large_eps.exists():
        subprocess.run([sys.executable, str(ROOT / "tools" / "make_model.py"), str(large_eps),
                        *LARGE_EPS], check=True)
    parity = GOLDEN / "parity"
    make_sources(parity / "odd_sizes")
    make_sources(parity / "no_attention_bias")
    make_sources(parity / "sequential_f32", edited=True)
    if sys.argv[1:] == ["sources"]:
        return
    for name in ("parallel_f32", "sequential_f32", "tied_f32", "odd_sizes", "no_attention_bias"):
        make(parity / name)
    make(large_eps)
    make(parity / "odd_sizes", centered=True)
    make(parity / "sequential_f32", edited=True)
    make(parity / "tied_f32", edited=True)
    make(parity / "tied_f32", edited=True, centered=True)


if __name__ == "__main__":
    main()
