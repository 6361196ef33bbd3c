#!/usr/bin/env python3
"""Golden arrays of the plugin edges, in float64: the dot product of every edge's write.

    tests/tools/make_edges_golden.py          writes tests/golden/edges/

All edges of one target's rows, ranked by share; the parts they carry, writer by writer.
"""
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from make_attention_golden import writers

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
TOKENS = [3, 41, 7, 3, 60, 7, 3]
TARGETS = [[5, None], [7, 9]]
TOP = 12


def P(x):
    return x - x.mean(-1, keepdims=True)


def all_edges(model, run, target, row):
    """[(layer, head, source, weight, norm, share, carried)]"""
    c, rows = model.config, []
    table = model.weights[model.unembed]
    a, b = target
    bar = table[a] - (table[b] if b is not None else 0)
    u = P(model.weights["final_layer_norm.weight"] * bar)
    sigma_f = run["ln_final.hook_scale"][row, 0]
    for l in range(c["n_layers"]):
        name = f"layers.{l}."
        fused = model.weights[name + "attention.query_key_value.weight"].reshape(
            c["n_heads"], 3, c["d_head"], c["d_model"])
        bias = model.weights.get(name + "attention.query_key_value.bias",
                                 np.zeros(3 * c["d_model"])).reshape(c["n_heads"], 3, c["d_head"])
        out = model.weights[name + "attention.dense.weight"].reshape(
            c["d_model"], c["n_heads"], c["d_head"])
        gamma, beta = (model.weights[name + "input_layernorm." + w] for w in ("weight", "bias"))
        parts, sigma = writers(model, run, l), run[f"blocks.{l}.ln1.hook_scale"]
        pattern = run[f"blocks.{l}.attn.hook_pattern"]
        for h in range(c["n_heads"]):
            for j in range(row + 1):
                def to_logit(v):  # the contribution of a value of this edge to the target
                    return pattern[h, row, j] * (out[:, h] @ v) @ u / sigma_f

                value = run[f"blocks.{l}.attn.hook_v"][j, h]
                carried = [to_logit(fused[h, 2] @ (gamma * P(x[j]) / sigma[j])) for x in parts]
                carried += [0.0] * (1 + (c["n_layers"] - 1) * (c["n_heads"] + 2) - len(carried))
                carried += [to_logit(fused[h, 2] @ beta), to_logit(bias[h, 2])]
                share = to_logit(value)
                assert abs(share - sum(carried)) < 1e-12
                write = pattern[h, row, j] * np.linalg.norm(out[:, h] @ value)
                rows.append((l, h, j, pattern[h, row, j], write, share, carried))
    return rows


def main():
    (GOLDEN / "edges").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32"):
        model = Model(str(GOLDEN / "parity" / name))
        run = model.forward(TOKENS)
        out = {}
        for by, column in (("share", 5), ("norm", 4), ("weight", 3)):
            kept = {"layer": 0, "head": 1, "source": 2, "weight": 3, "norm": 4, "share": 5,
                    "carried": 6}
            tables = {k: [] for k in kept}
            sums = []
            for target in TARGETS:
                edges = [all_edges(model, run, target, row) for row in (5, 6)]
                best = [sorted(e, key=lambda x: -abs(x[column]))[:TOP] for e in edges]
                for key, at in kept.items():
                    tables[key].append([[e[at] for e in row] for row in best])
                sums.append([sum(e[5] for e in row) for row in edges])
            out.update({f"{by}:{k}": np.array(v, np.float32) for k, v in tables.items()
                        if by == "share" or k != "carried"})
            out[by + ":share_of_all"] = np.array(sums, np.float32)
        save_file(out, GOLDEN / "edges" / f"{name}.safetensors")
        print(name, {k: v.shape for k, v in out.items()})


if __name__ == "__main__":
    main()
