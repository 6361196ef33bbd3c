#!/usr/bin/env python3
"""Golden arrays of the plugin partition, in float64 and by brute force: builds every changed
residual and sends it through the final LayerNorm and the unembedding again.

    tests/tools/make_partition_golden.py        writes tests/golden/partition/*.safetensors

The models are those of the parity tests and the embedded one. The options and targets must equal
those of tests/analysis/test_partition.c.
"""
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from make_ln_mlp_golden import P, TOKENS, target_ids

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
EDGES = [0, 1, 10, 100, 1000]


class Unembedding:
    def __init__(self, model):
        self.gamma = model.weights["final_layer_norm.weight"]
        self.W, self.eps = model.weights[model.unembed], model.config["eps"]
        self.b = self.W @ model.weights["final_layer_norm.bias"]

    def sigma(self, x):
        return np.sqrt((P(x) ** 2).mean() + self.eps)

    def logits(self, x, sigma=None):
        return self.W @ (self.gamma * P(x) / (sigma or self.sigma(x))) + self.b


def log_softmax(z):
    return z - log_z(z)


def log_z(z):
    return np.log(np.exp(z - z.max()).sum()) + z.max()


def ranking(z):
    return np.argsort(-z, kind="stable")


def split(order):
    """The ids of each rank bin."""
    ends = EDGES[1:] + [len(order)]
    return [order[a:max(a, b)] for a, b in zip(EDGES, ends)]


def mean(x):
    return x.mean() if len(x) else np.nan


def before_figures(z):
    p, order = np.exp(log_softmax(z)), ranking(z)
    return {"log_z": log_z(z), "log_z_gap": log_z(z) - z.max(),
            "margin": p[order[0]] - p[order[1]],
            "top_share": [p[order[0]], p[order[:10]].sum()],
            "mass": [p[ids].sum() for ids in split(order)]}


def change_figures(before, after, b, ids):
    """before, after: logits [V]; ids [targets, 2]."""
    dz, logp, logq = after - before, log_softmax(before), log_softmax(after)
    p, bins = np.exp(logp), split(ranking(before))
    dlogz, shifts = log_z(after) - log_z(before), [0.0, dz.mean(), p @ dz]
    direct = before - b
    constant = np.ptp(dz) < 1e-13
    beta, alpha = np.polyfit(direct, dz, 1)
    r2 = np.nan if constant else np.corrcoef(direct, dz)[0, 1] ** 2
    out = {"dlogz": dlogz, "mean_dz": shifts[1], "expected_dz": shifts[2],
           "first_order_error": p @ (logp - logq),  # the divergence by its definition
           "half_variance": p @ (dz - shifts[2]) ** 2 / 2,
           "fit_alpha": alpha, "fit_beta": beta, "fit_r2": r2,
           "constant_z_error": [dlogz - s for s in shifts],
           "bin_dz": [[mean(dz[i]) - s for i in bins] for s in shifts],
           "bin_abs_dz": [[mean(np.abs(dz[i] - s)) for i in bins] for s in shifts],
           "bin_p_dz": [(p * dz)[i].sum() for i in bins],
           "reordered": [int((ranking(before)[:k] != ranking(after)[:k]).any()) for k in (1, 10)]}
    gauged, logs = np.full((3, len(ids)), np.nan), np.full(len(ids), np.nan)
    for t, (a, c) in enumerate(ids):
        if c >= 0:
            gauged[:, t] = dz[a] - dz[c]
            logs[t] = (logq - logp)[a] - (logq - logp)[c]
        elif a >= 0:
            gauged[:, t] = [dz[a] - s for s in shifts]
            logs[t] = (logq - logp)[a]
    return out | {"dz": gauged, "dlogp": logs}


def components(model, run, level):
    """(label, write [T, N]) in order of writing."""
    c, parts = model.config, [("embed", run["hook_embed"])]
    for l in range(c["n_layers"]):
        name = f"layers.{l}.attention.dense"
        W = model.weights[name + ".weight"].reshape(c["d_model"], c["n_heads"], c["d_head"])
        heads = np.einsum("thd,nhd->htn", run[f"blocks.{l}.attn.hook_z"], W)
        bias = model.weights.get(name + ".bias", np.zeros(c["d_model"]))
        if "layer" in level:
            parts.append((f"{l}_attn_out", run[f"blocks.{l}.hook_attn_out"]))
        if "head" in level:
            parts += [(f"L{l}H{h}", write) for h, write in enumerate(heads)]
            parts.append((f"{l}_attn_bias", np.broadcast_to(bias, heads[0].shape)))
        parts.append((f"{l}_mlp_out", run[f"blocks.{l}.hook_mlp_out"]))
    return parts


def ablate(model, label, alpha):
    """The logits of the run with a component multiplied by alpha at every row."""
    if label == "embed":
        point, change = "hook_embed", lambda x: alpha * x
    elif label.startswith("L"):
        layer, head = map(int, label[1:].split("H"))
        point = f"blocks.{layer}.attn.hook_result"

        def change(x):
            x[:, head] *= alpha
            return x
    else:
        layer, what = label.split("_", 1)
        bias = model.weights.get(f"layers.{layer}.attention.dense.bias", 0.0)
        point = f"blocks.{layer}.hook_" + {"attn_bias": "attn_out"}.get(what, what)
        change = (lambda x: x + (alpha - 1) * bias) if what == "attn_bias" else lambda x: alpha * x
    return model.forward(TOKENS, {point: change}, keep=False)["hook_logits"]


def ablation_figures(model, run, parts, alphas, rows, ids):
    """The figures of each row, as row_figures gives them."""
    b, z = Unembedding(model).b, run["hook_logits"]
    after = [ablate(model, label, alpha) for alpha in alphas for label, _ in parts]
    return [([before_figures(z[r])], [change_figures(z[r], a[r], b, ids[:, r]) for a in after])
            for r in rows]


def row_figures(model, run, parts, alphas, row, ids):
    out = Unembedding(model)
    L = model.config["n_layers"]
    states = [run[f"blocks.{l}.hook_resid_pre"][row] for l in range(L)]
    x = run[f"blocks.{L - 1}.hook_resid_post"][row]
    lenses = [out.logits(s) for s in states + [x]]
    z = lenses[-1]
    changes = list(zip(lenses, lenses[1:])) + [(z, lens) for lens in lenses[:-1]]
    for frozen in (True, False):
        for alpha in alphas:
            for _, write in parts:
                left = x - (1 - alpha) * write[row]
                changes.append((z, out.logits(left, out.sigma(x) if frozen else None)))
    before = [before_figures(lens) for lens in lenses]
    after = [change_figures(a, b, out.b, ids) for a, b in changes]
    return before, after


def stacked(rows, axis_first):
    """rows: per row a list (lenses or changes) of figures -> name: array. The row axis follows the
    list's; the leading axes (gauges, targets) precede both."""
    out = {}
    for name in rows[0][0]:
        value = np.array([[np.asarray(f[name], float) for f in row] for row in rows])
        value = np.swapaxes(value, 0, 1)  # [list, rows, ...]
        for _ in range(axis_first.get(name, 0)):
            value = np.moveaxis(value, 2 + axis_first[name] - 1, 0)
        out[name] = value
    return out


def make(name, folder, rows, level, alphas, chosen=None, ablation=False):
    model = Model(str(folder))
    run = model.forward(TOKENS)
    parts = [p for p in components(model, run, level) if not chosen or p[0] in chosen]
    ids = target_ids(run["hook_logits"])
    if ablation:
        figures = ablation_figures(model, run, parts, alphas, rows, ids)
    else:
        figures = [row_figures(model, run, parts, alphas, r, ids[:, r]) for r in rows]
    arrays = stacked([f[0] for f in figures], {})
    first = {"constant_z_error": 1, "bin_dz": 1, "bin_abs_dz": 1, "dz": 2, "dlogp": 1}
    arrays |= stacked([f[1] for f in figures], first)
    arrays["target_ids"] = ids[:, rows]
    whole = ("reordered", "target_ids")
    kept = {"partition." + k: np.ascontiguousarray(v, np.int32 if k in whole else np.float32)
            for k, v in arrays.items()}
    path = GOLDEN / "partition" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(kept, str(path))
    path.chmod(0o644)


def main():
    parity = GOLDEN / "parity"
    make("parallel_f32", parity / "parallel_f32", [2, 3, 4], ["layer", "head"], [0, 0.5])
    make("sequential_f32", parity / "sequential_f32", [3, 4], ["layer"], [0, 1])
    make("tied_f32", parity / "tied_f32", [3, 4], ["head"], [0])
    make("odd_sizes", parity / "odd_sizes", [3, 4], ["layer"], [0.25])
    make("ablation", parity / "sequential_f32", [1, 2], ["layer", "head"], [0, 0.5],
         ablation=True)
    make("embedded", HERE.parent.parent / "models" / "books-5m", [3, 4], ["layer", "head"], [0],
         ["embed", "L1H3", "2_attn_out", "3_attn_bias", "3_mlp_out"])


if __name__ == "__main__":
    main()
