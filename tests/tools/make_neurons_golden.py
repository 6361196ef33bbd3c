#!/usr/bin/env python3
"""Golden arrays of the plugin neurons, in float64, from full matrices.

    tests/tools/make_neurons_golden.py          writes tests/golden/neurons/

One run for the weights, geometry and bounds; a corpus of four documents for the contexts.
"""
import math
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model, gate

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
TOKENS = [3, 41, 7, 3, 60, 7, 3, 12, 5]
DOCUMENTS = [[3, 41, 7, 3, 60], [9], [3, 41, 7, 3, 60, 7, 3, 12], [70, 2, 33]]
LISTED = [(1, 5), (0, 47), (1, 0)]
TARGET, TOP, CONTEXTS = 5, 4, 3


def P(x):
    return x - x.mean(-1, keepdims=True)


def gelu(a, config):
    return a * gate(a, config["activation"])


def detectors(model, l):
    """D [M, N], c [M], R [M, N] centered, and W_out, b_out unchanged."""
    name = f"layers.{l}."
    gamma, beta = (model.weights[name + "post_attention_layernorm." + w]
                   for w in ("weight", "bias"))
    w_in, b_in = (model.weights[name + "mlp.dense_h_to_4h." + w] for w in ("weight", "bias"))
    w_out, b_out = (model.weights[name + "mlp.dense_4h_to_h." + w] for w in ("weight", "bias"))
    return P(w_in * gamma), b_in + w_in @ beta, P(w_out.T), w_out, b_out


def ranked(x):
    """[sides, top] indices and values, without NaN."""
    known = np.flatnonzero(~np.isnan(x))
    index, value = np.full((2, TOP), -1, np.int32), np.full((2, TOP), np.nan)
    for side, sign in enumerate((-1, 1)):
        best = sorted(known, key=lambda i: (sign * x[i], i))[:TOP]
        index[side, :len(best)], value[side, :len(best)] = best, x[best]
    return index, value


def listed(model):
    c = model.config
    L, H, M = c["n_layers"], c["n_heads"], c["d_mlp"]
    u = P(model.weights[model.unembed] * model.weights["final_layer_norm.weight"])
    embed = model.weights["embed_in.weight"]
    lists = {"excited_by_token": [], "excited_by_neuron": [], "promotes": []}
    gains, offsets = [], []
    for l, k in LISTED:
        D, c_k, R, _, _ = detectors(model, l)
        lists["excited_by_token"].append(ranked(embed @ D[k]))
        lists["promotes"].append(ranked(u @ R[k]))
        offsets.append(c_k[k])
        sources, gain = np.full(L * M, np.nan), np.full(L * H, np.nan)
        for m in range(L):
            if m < l:
                sources[m * M:(m + 1) * M] = detectors(model, m)[3].T @ D[k]
            if m < l + (not c["parallel"]):
                out = model.weights[f"layers.{m}.attention.dense.weight"].reshape(
                    c["d_model"], H, c["d_head"])
                gain[m * H:(m + 1) * H] = np.linalg.norm(np.einsum("nhd,n->hd", out, D[k]), axis=1)
        lists["excited_by_neuron"].append(ranked(sources))
        gains.append(gain)
    out = {"head_gain": np.array(gains), "offset": np.array(offsets)}
    for name, rows in lists.items():
        out[name] = np.array([r[0] for r in rows])
        out[name + "_value"] = np.array([r[1] for r in rows])
    return out


def entropy(model):
    c = model.config
    N = c["d_model"]
    u = P(model.weights[model.unembed] * model.weights["final_layer_norm.weight"])
    complement = np.linalg.svd(np.ones((1, N)))[2][1:]  # a basis of 1's complement
    V0 = np.linalg.svd(u @ complement.T)[2][-math.ceil(N / 64):] @ complement
    writes = [detectors(model, l)[2] for l in range(c["n_layers"])]
    norm = np.array([np.linalg.norm(R, axis=1) for R in writes])
    rho = np.array([np.linalg.norm(R @ V0.T, axis=1) for R in writes]) / norm
    unit = u / np.linalg.norm(u, axis=1, keepdims=True)
    variance = [np.var(unit @ writes[l][k] / norm[l, k]) for l, k in LISTED]
    return {"rho": rho, "write_norm": norm, "cosine_variance": np.array(variance)}


def geometry(model, run):
    c = model.config
    N, M = c["d_model"], c["d_mlp"]
    out = {k: [] for k in ("interference", "coherence", "active_rank", "output_bounds",
                           "tightness")}
    u = P(model.weights[model.unembed][TARGET] * model.weights["final_layer_norm.weight"])
    around = np.linspace(-0.76, -0.74, 200001)
    least, at = gelu(around, c).min(), around[gelu(around, c).argmin()]
    for l in range(c["n_layers"]):
        D, offset, _, w_out, b_out = detectors(model, l)
        norm = np.linalg.norm(D, axis=1)
        d = D / norm[:, None]
        G = np.abs(d @ d.T) - np.eye(M)
        out["interference"].append((G**2).sum(1))
        out["coherence"].append(G.max())
        s = np.linalg.svd(d[run[f"blocks.{l}.mlp.hook_pre"][-1] > 0], compute_uv=False)
        p = s[s > 1e-9] / s.sum()
        out["active_rank"].append(np.exp(-(p * np.log(p)).sum()))
        kappa = u @ w_out
        low, high = offset - math.sqrt(N) * norm, offset + math.sqrt(N) * norm
        top = np.maximum(gelu(low, c), gelu(high, c))
        bottom = np.where((low < at) & (high > at), least,
                          np.minimum(gelu(low, c), gelu(high, c)))
        box = [u @ b_out + np.where(kappa > 0, kappa * a, kappa * b).sum()
               for a, b in ((bottom, top), (top, bottom))]
        linear = math.sqrt(N) / 2 * np.linalg.norm(kappa @ D)

        def excess(w):
            spread = np.linalg.norm(np.sqrt(w)[:, None] * D, 2)
            return 0.5 * (w @ np.abs(offset) + math.sqrt(N) * spread * math.sqrt(w.sum()))

        middle = u @ b_out + kappa @ offset / 2
        joint = [middle - linear - excess(np.maximum(-kappa, 0)),
                 middle + linear + excess(np.maximum(kappa, 0))]
        seen = run[f"blocks.{l}.hook_mlp_out"] @ u
        bounds = np.array([box, joint, [seen.min(), seen.max()]])
        assert box[0] <= seen.min() and seen.max() <= box[1]
        assert joint[0] <= seen.min() and seen.max() <= joint[1]
        width = bounds[:, 1] - bounds[:, 0]
        out["output_bounds"].append(bounds)
        out["tightness"].append(width[2] / width[:2])
    return {k: np.array(v) for k, v in out.items()}


def firing(pre, post):
    """pre, post [L, rows, M]"""
    fires, most = (pre > 0).sum(1).astype(np.float64), np.abs(post).max(1)
    return {"fires": fires, "largest_activation": most, "dead": (fires == 0).astype(np.int32),
            "silent": (most < 0.01).astype(np.int32)}


def stack(runs, L, point):
    return np.array([np.concatenate([r[f"blocks.{l}.mlp.hook_{point}"] for r in runs])
                     for l in range(L)])


def contexts(pre):
    L, _, M = pre.shape
    where = [(d, j) for d, document in enumerate(DOCUMENTS) for j in range(len(document))]
    value, document, position = (np.zeros((L, M, CONTEXTS)) for _ in range(3))
    for l in range(L):
        for k in range(M):
            # documents share a beginning: values equal in f32 tie, the earlier one first
            best = sorted(range(len(where)), key=lambda i: (-round(pre[l, i, k], 5), i))[:CONTEXTS]
            value[l, k] = pre[l, best, k]
            document[l, k], position[l, k] = np.array([where[i] for i in best]).T
    return {"context_value": value, "context_document": document,
            "context_position": position.astype(np.int32)}


def main():
    (GOLDEN / "neurons").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32", "gelu_fast"):
        model = Model(str(GOLDEN / "parity" / name))
        L, run = model.config["n_layers"], model.forward(TOKENS)
        out = {**listed(model), **entropy(model), **geometry(model, run),
               **firing(stack([run], L, "pre"), stack([run], L, "post"))}
        out = {"neurons." + k: v for k, v in out.items()}
        runs = [model.forward(d) for d in DOCUMENTS]
        over = {**firing(stack(runs, L, "pre"), stack(runs, L, "post")),
                **contexts(stack(runs, L, "pre"))}
        out.update({"corpus:neurons." + k: v for k, v in over.items()})
        save_file({k: np.ascontiguousarray(v, np.int32 if v.dtype == np.int32 else np.float32)
                   for k, v in out.items()}, GOLDEN / "neurons" / f"{name}.safetensors")
        print(name, {k: v.shape for k, v in out.items()})


if __name__ == "__main__":
    main()
