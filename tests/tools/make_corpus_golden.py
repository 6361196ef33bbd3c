#!/usr/bin/env python3
"""Golden statistics over documents of the plugins ln, mlp and logits, in float64: keeps every row
of every window and takes moments of all rows at once.

    tests/tools/make_corpus_golden.py        writes tests/golden/corpus/*.safetensors

The models are those of the parity tests; the file also holds the windows.
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
LENGTHS = [9, 1, 16, 5, 12, 7]
BINS = 8
TARGET = 5  # in addition to `next`


def P(x):
    return x - x.mean(-1, keepdims=True)


def put_moments(out, name, values, first):
    """values [rows, ...], first [rows]: the row is position 0 of its window."""
    parts = [values, values[~first]]
    out[name + "_mean"] = np.stack([v.mean(0) for v in parts])
    out[name + "_variance"] = np.stack([v.var(0) for v in parts])
    out[name + "_min"] = np.stack([v.min(0) for v in parts])
    out[name + "_max"] = np.stack([v.max(0) for v in parts])


def ln_sites(c, run):
    """[T, sites, 4]: mean, |P(x)|, scale, coupling fraction."""
    writers = [run["hook_embed"]]
    sites = []

    def site(x, scale):
        norm2 = (P(x) ** 2).sum(-1)
        own = sum((P(w) ** 2).sum(-1) for w in writers)
        sites.append(np.stack([x.mean(-1), np.sqrt(norm2), scale[..., 0], 1 - own / norm2], -1))

    for l in range(c["n_layers"]):
        at = f"blocks.{l}."
        attn, mlp = run[at + "hook_attn_out"], run[at + "hook_mlp_out"]
        site(run[at + "hook_resid_pre"], run[at + "ln1.hook_scale"])
        if c["parallel"]:
            site(run[at + "hook_resid_pre"], run[at + "ln2.hook_scale"])
            writers += [attn, mlp]
        else:
            writers.append(attn)
            site(run[at + "hook_resid_mid"], run[at + "ln2.hook_scale"])
            writers.append(mlp)
    site(run[f"blocks.{c['n_layers'] - 1}.hook_resid_post"], run["ln_final.hook_scale"])
    return np.stack(sites, 1)


def shares(model, run, ids):
    """[T, components] of level head, and `edit`: u . c / sigma, for each component as a vector."""
    c, w = model.config, model.weights
    rows = len(ids)
    parts = [run["hook_embed"][:rows]]
    for l in range(c["n_layers"]):
        result = run[f"blocks.{l}.attn.hook_result"][:rows]
        parts += [result[:, h] for h in range(c["n_heads"])]
        bias = w.get(f"layers.{l}.attention.dense.bias", np.zeros(c["d_model"]))
        parts.append(np.broadcast_to(bias, parts[0].shape))
        parts.append(run[f"blocks.{l}.hook_mlp_out"][:rows])
    u = P(w["final_layer_norm.weight"] * w[model.unembed][ids])
    sigma = run["ln_final.hook_scale"][:rows, 0]
    table = np.stack([(u * part).sum(-1) / sigma for part in parts], -1)
    return np.concatenate([table, np.zeros((rows, 1))], -1)


def mlp_statistics(out, model, runs, first):
    c = model.config
    layers = range(c["n_layers"])
    pre, post = (np.concatenate([np.stack([r[f"blocks.{l}.mlp.hook_{what}"] for l in layers], 1)
                                 for r in runs]) for what in ("pre", "post"))
    put_moments(out, "mlp.pre", pre, first)
    put_moments(out, "mlp.post", post, first)
    writes = np.stack([np.linalg.norm(P(model.weights[f"layers.{l}.mlp.dense_4h_to_h.weight"].T),
                                      axis=-1) for l in layers])
    weight = np.abs(post) * writes
    participation = weight.sum(-1) ** 2 / (weight**2).sum(-1)
    put_moments(out, "mlp.row", np.stack([(pre > 0).mean(-1), participation], -1), first)
    out["mlp.fires"] = (pre > 0).sum(0).astype(np.int32)
    out["mlp.silent"] = (np.abs(post).max(0) < 0.01).astype(np.int32)
    tenths = gate(pre, model.config["activation"]) * 10
    for name, where, n in (("gate", tenths, 10), ("pre", (pre + 8) * BINS / 16, BINS)):
        where = np.clip(np.floor(where).astype(int), 0, n - 1)
        out[f"mlp.{name}_histogram"] = np.stack([(where == i).sum(0) for i in range(n)],
                                                -1).astype(np.int32)


def make(name):
    model = Model(GOLDEN / "parity" / name)
    c = model.config
    draw = np.random.default_rng(11)
    windows = [draw.integers(0, c["d_vocab"], n).tolist() for n in LENGTHS]
    runs = [model.forward(w) for w in windows]
    first = np.concatenate([np.arange(n) == 0 for n in LENGTHS])
    out = {"tokens": np.array(sum(windows, []), np.int32), "lengths": np.array(LENGTHS, np.int32)}
    put_moments(out, "ln.site", np.concatenate([ln_sites(c, r) for r in runs]), first)
    mlp_statistics(out, model, runs, first)
    by_target = []
    for kind in ("next", "id"):
        ids = [w[1:] if kind == "next" else [TARGET] * len(w) for w in windows]
        keep = [len(i) for i in ids]
        z = np.concatenate([r["hook_logits"][np.arange(len(i)), i] for r, i in zip(runs, ids)])
        share = np.concatenate([shares(model, r, i) for r, i in zip(runs, ids) if i])
        by_target.append((np.concatenate([z[:, None], share], -1),
                          np.concatenate([np.arange(n) == 0 for n in keep])))
    kept = [{}, {}]
    for table, (values, is_first) in zip(kept, by_target):
        put_moments(table, "logits", values, is_first)
    for key in kept[0]:
        both = np.stack([kept[0][key], kept[1][key]], 1)  # [2, targets, 1 + components]
        out[key.replace("logits", "logits.logit")] = both[..., 0]
        out[key.replace("logits", "logits.share")] = both[..., 1:]
    out["logits.rows_counted"] = np.array(
        [[len(v) for v, _ in by_target], [int((~f).sum()) for _, f in by_target]], np.float64)
    (GOLDEN / "corpus").mkdir(exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()},
              GOLDEN / "corpus" / f"{name}.safetensors")


if __name__ == "__main__":
    for variant in ("parallel_f32", "sequential_f32", "gelu_fast"):
        make(variant)
