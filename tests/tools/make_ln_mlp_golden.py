#!/usr/bin/env python3
"""Golden arrays of the plugins ln and mlp, in float64 and by brute force: builds every component,
subtracts it from the final residual, and computes LayerNorm again.

    tests/tools/make_ln_mlp_golden.py        writes tests/golden/ln_mlp/*.safetensors

The models are those of the parity tests. The edits must equal those of
tests/support/ln_mlp_fixture.h.
"""
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model, gate

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
TOKENS = [3, 41, 7, 19, 60]
# (kind, ids or rank), as the test adds them: #5, top:2 (two ranks), next, #7 - #9
TARGETS = [("id", 5), ("top", 0), ("top", 1), ("next", None), ("contrast", (7, 9))]
TOP = 6


def P(x):
    return x - x.mean(-1, keepdims=True)


def pattern(n):
    """The vector that the edits add; exact in f32."""
    return np.array([((7 * i) % 5 - 2) / 8 for i in range(n)])


def make_edits(c):
    v = pattern(c["d_model"])
    added = []  # (point, what it added [T, N])

    def record(name, change):
        def edit(x):
            y = change(x.copy())
            added.append((name, (y - x).sum(1) if "result" in name else y - x))
            return y
        return edit

    def zero_head(x):
        x[:, 1] = 0
        return x

    def first_neuron(x):
        x[:, 0] = 1
        return x

    changes = {
        "blocks.0.attn.hook_result": zero_head,
        "blocks.0.hook_attn_out": lambda x: x + v / 2,
        "blocks.0.hook_mlp_out": lambda x: 2 * x,
        "blocks.0.hook_resid_post": lambda x: x - v / 4,
        "blocks.1.hook_resid_pre": lambda x: x + v,
        "blocks.1.mlp.hook_post": first_neuron,
    }
    if not c["parallel"]:
        changes["blocks.1.hook_resid_mid"] = lambda x: x + 2 * v
    return {name: record(name, f) for name, f in changes.items()}, added


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


def directions(model, ids, centered):
    """u [targets, rows, N], NaN where a target is absent."""
    table = model.weights[model.unembed]
    mean = table.mean(0)
    u = np.full(ids.shape[:2] + (table.shape[1],), np.nan)
    for t, r in np.ndindex(ids.shape[:2]):
        a, b = ids[t, r]
        if a >= 0:
            row = table[a] - table[b] if b >= 0 else table[a] - (mean if centered else 0)
            u[t, r] = P(model.weights["final_layer_norm.weight"] * row)
    return u


def effects(x, u, parts, eps):
    """frozen, recomputed, error [targets, rows, parts] of vectors parts [C, T, N]."""
    def logit(y):
        return (u * P(y)).sum(-1) / np.sqrt((P(y) ** 2).mean(-1) + eps)
    scale = np.sqrt((P(x) ** 2).mean(-1) + eps)
    frozen = np.stack([-(u * P(c)).sum(-1) / scale for c in parts], -1)
    again = np.stack([logit(x - c) - logit(x) for c in parts], -1)
    return frozen, again, again - frozen


def layer_norm_arrays(model, run, added, u):
    c, out = model.config, {}
    layers, parallel = c["n_layers"], c["parallel"]
    inputs, scales, edits = [], [], []  # one per site; the additions of edits so far
    total = np.zeros_like(run["hook_embed"])
    by_name = dict(added)
    for l in range(layers):
        at = f"blocks.{l}."
        total = total + by_name.get(at + "hook_resid_pre", 0)
        inputs += [run[at + "hook_resid_pre"]]
        edits += [total]
        total = total + by_name.get(at + "hook_resid_mid", 0)
        inputs += [run[at + ("hook_resid_pre" if parallel else "hook_resid_mid")]]
        edits += [total]
        total = total + by_name.get(at + "hook_resid_post", 0)
        scales += [run[at + "ln1.hook_scale"], run[at + "ln2.hook_scale"]]
    inputs += [run[f"blocks.{layers - 1}.hook_resid_post"]]
    edits += [total]
    scales += [run["ln_final.hook_scale"]]
    out["mean"] = np.stack([x.mean(-1) for x in inputs])
    out["norm"] = np.stack([np.linalg.norm(P(x), axis=-1) for x in inputs])
    out["scale"] = np.stack([s[:, 0] for s in scales])

    writers = [run["hook_embed"]]
    for l in range(layers):
        writers += [run[f"blocks.{l}.hook_attn_out"], run[f"blocks.{l}.hook_mlp_out"]]
    if added:
        writers += [total]
    shares, fraction = [], []
    for site, x in enumerate(inputs):
        seen = 2 * layers + 1 if site == 2 * layers else site + 1
        if parallel and site % 2:
            seen = site
        block = [P(w) if i < seen else 0 * w for i, w in enumerate(writers[:2 * layers + 1])]
        if added:
            block += [P(edits[site])]
        G = np.einsum("atn,btn->tab", np.stack(block), np.stack(block))
        assert np.allclose(G.sum((1, 2)), (P(x) ** 2).sum(-1), rtol=1e-11)
        norm2 = (P(x) ** 2).sum(-1)[:, None]
        shares.append(G.sum(-1) / norm2)
        fraction.append(1 - np.einsum("taa->t", G) / norm2[:, 0])
    out["coupling"], out["shares"] = G, np.stack(shares)
    out["coupling_fraction"] = np.stack(fraction)

    parts = [run["hook_embed"]]
    for l in range(layers):
        name = f"layers.{l}.attention.dense"
        W = model.weights[name + ".weight"].reshape(c["d_model"], c["n_heads"], c["d_head"])
        heads = np.einsum("thd,nhd->htn", run[f"blocks.{l}.attn.hook_z"], W)
        bias = model.weights.get(name + ".bias", np.zeros(c["d_model"]))
        parts += list(heads) + [np.broadcast_to(bias, heads[0].shape)]
        parts += [run[f"blocks.{l}.hook_mlp_out"]]
    if added:
        parts += [sum(a for name, a in added
                      if "resid" in name or "result" in name or "attn_out" in name)]
    x = inputs[-1]
    assert np.allclose(P(sum(parts)), P(x), atol=1e-11)
    names = ("frozen_ln", "recomputed_ln", "freeze_error")
    out |= dict(zip(names, effects(x, u, parts, c["eps"])))
    out |= {n + ".layer": v for n, v in zip(names, effects(x, u, writers, c["eps"]))}
    out["numerator"] = (u * P(x)).sum(-1)
    return {"ln." + name: value for name, value in out.items()}


def ratio(w):
    return w.sum(-1) ** 2 / (w ** 2).sum(-1)


def mlp_arrays(model, run, u):
    layers, out = model.config["n_layers"], {}
    sigma = run["ln_final.hook_scale"][:, 0]
    gates, posts, pres, shares, missed_at, relu = [], [], [], [], [], []
    out["participation"] = []
    for l in range(layers):
        a, g = run[f"blocks.{l}.mlp.hook_pre"], run[f"blocks.{l}.mlp.hook_post"]
        W = model.weights[f"layers.{l}.mlp.dense_4h_to_h.weight"]  # [N, M]
        pres.append(a)
        posts.append(g)
        gates.append(gate(a, model.config["activation"]))
        out["participation"].append(ratio(np.abs(g) * np.linalg.norm(W - W.mean(0), axis=0)))
        shares.append(np.einsum("tm,nm,qtn->qtm", g, W, u) / sigma[:, None])
        # the ReLU-gated sum against the GELU one, not the closed form that the plugin uses
        error = (g - np.maximum(a, 0)) @ W.T
        write = run[f"blocks.{l}.hook_mlp_out"]
        relu.append(np.linalg.norm(error, axis=-1) / np.linalg.norm(write, axis=-1))
        missed_at.append((u * error).sum(-1) / sigma)
    shares = np.stack(shares, 1)  # [targets, L, T, M]
    out["pre"], out["gate"], out["post"] = np.stack(pres), np.stack(gates), np.stack(posts)
    out["fires"] = (out["pre"] > 0).sum(1).astype(np.int32)
    out["participation"] = np.stack(out["participation"])
    out["share_participation"] = ratio(np.abs(shares))
    out["relu_error"] = np.stack(relu)
    out["relu_error_target"] = np.stack(missed_at, 1)
    flat = shares.transpose(0, 2, 1, 3).reshape(shares.shape[0], shares.shape[2], -1)
    order = np.argsort(-np.abs(flat), -1, kind="stable")[..., :TOP]
    out["top_share"] = np.take_along_axis(flat, order, -1)
    out["top_layer"], out["top_neuron"] = np.divmod(order.astype(np.int32), shares.shape[-1])
    there = ~np.isnan(out["top_share"])
    rows = np.arange(shares.shape[2])[None, :, None]
    for name in ("pre", "gate"):
        value = out[name][out["top_layer"], rows, out["top_neuron"]]
        out["top_" + name] = np.where(there, value, np.nan)
    for name in ("top_layer", "top_neuron"):
        out[name] = np.where(there, out[name], -1)
    return {"mlp." + name: value for name, value in out.items()}


def small(name, value):
    """The arrays for the file: activations as f32, the others unchanged."""
    f32 = name in ("mlp.gate", "ln.scale", "mlp.top_pre", "mlp.top_gate")
    kind = np.int32 if value.dtype.kind == "i" else np.float32 if f32 else np.float64
    return np.ascontiguousarray(value, dtype=kind)


def make(name, edited=False, centered=False, mlp=True):
    model = Model(str(GOLDEN / "parity" / name))
    edits, added = make_edits(model.config) if edited else ({}, [])
    run = model.forward(TOKENS, edits)
    ids = target_ids(run["hook_logits"])
    u = directions(model, ids, centered)
    arrays = {"ln.target_ids": ids, **layer_norm_arrays(model, run, added, u)}
    if mlp:
        arrays |= mlp_arrays(model, run, u)
    suffix = ("_edited" if edited else "") + ("_centered" if centered else "")
    path = GOLDEN / "ln_mlp" / f"{name}{suffix}.safetensors"
    path.parent.mkdir(exist_ok=True)
    # pre and post are hook points, in the parity tests' files; freeze_error is a difference
    left_out = ("mlp.pre", "mlp.post", "ln.freeze_error", "ln.freeze_error.layer")
    kept = {k: small(k, v) for k, v in arrays.items() if k not in left_out}
    save_file(kept, str(path))
    path.chmod(0o644)


def main():
    make("parallel_f32")
    make("sequential_f32")
    make("tied_f32")
    make("gelu_fast")
    make("odd_sizes", centered=True, mlp=False)
    make("parallel_f32", edited=True, mlp=False)
    make("sequential_f32", edited=True, mlp=False)


if __name__ == "__main__":
    main()
