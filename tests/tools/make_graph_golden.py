#!/usr/bin/env python3
"""Golden flows of the plugin graph, in float64 and by brute force: builds the frozen linear network
forwards as a table of every node's write; links are the derivatives times the writes.

    tests/tools/make_graph_golden.py          writes tests/golden/graph/

Each writer's vector is sent through the frozen network separately; nothing is pulled back.
"""
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
TOKENS = [3, 41, 7, 3, 60]
TARGET = 5
KINDS = {"logit": 0, "embed": 1, "head": 2, "attn_bias": 3, "mlp": 4, "neuron": 5, "mlp_bias": 6}


def P(x):
    return x - x.mean(-1, keepdims=True)


class Frozen:
    """The network with sigma, patterns and gates of one run."""

    def __init__(self, folder):
        self.model = Model(folder)
        self.run = self.model.forward(TOKENS)
        self.c, self.w = self.model.config, self.model.weights

    def of(self, layer, name):
        return self.run[f"blocks.{layer}.{name}"]

    def value(self, l, h, x):
        """W_O,h W_V,h (gamma1 P(x)/sigma1), x [T, N] -> [T, N] by source."""
        name, size = f"layers.{l}.", self.c["d_head"]
        fused = self.w[name + "attention.query_key_value.weight"].reshape(
            self.c["n_heads"], 3, size, self.c["d_model"])[h, 2]
        out = self.w[name + "attention.dense.weight"].reshape(-1, self.c["n_heads"], size)[:, h]
        y = self.w[name + "input_layernorm.weight"] * P(x) / self.of(l, "ln1.hook_scale")
        return y @ fused.T @ out.T

    def head(self, l, h, x):
        return self.of(l, "attn.hook_pattern")[h] @ self.value(l, h, x)

    def mlp(self, l, x, neurons=slice(None)):
        name = f"layers.{l}."
        y = self.w[name + "post_attention_layernorm.weight"] * P(x) / self.of(l, "ln2.hook_scale")
        a = y @ self.w[name + "mlp.dense_h_to_4h.weight"][neurons].T
        gates = gate(self.of(l, "mlp.hook_pre"), self.model.config["activation"])[:, neurons]
        return (a * gates) @ self.w[name + "mlp.dense_4h_to_h.weight"][:, neurons].T

    def logit(self, x):
        u = P(self.w["final_layer_norm.weight"] * self.w[self.model.unembed][TARGET])
        return x[-1] @ u / self.run["ln_final.hook_scale"][-1, 0]

    def rest(self, x, layer, attention_done):
        """The target's logit of a residual x [T, N] at the input of `layer` (or, sequential, after
        its attention), through all frozen paths."""
        for l in range(layer, self.c["n_layers"]):
            heads = range(self.c["n_heads"])
            done = attention_done and l == layer
            attn = 0 if done else sum(self.head(l, h, x) for h in heads)
            if self.c["parallel"]:
                x = x + attn + self.mlp(l, x)
            else:
                x = x + attn
                x = x + self.mlp(l, x)
        return self.logit(x)


def nodes_of(f, level):
    """[(kind, layer, index, row, write [T, N])]"""
    c, out, rows = f.c, [], len(TOKENS)

    def at(row, vector):
        x = np.zeros((rows, c["d_model"]))
        x[row] = vector
        return x

    for j in range(rows):
        out.append(("embed", -1, 0, j, at(j, f.run["hook_embed"][j])))
    for l in range(c["n_layers"]):
        zero = np.zeros(c["d_model"])
        b_o = f.w.get(f"layers.{l}.attention.dense.bias", zero)
        b_out = f.w[f"layers.{l}.mlp.dense_4h_to_h.bias"]
        w_out = f.w[f"layers.{l}.mlp.dense_4h_to_h.weight"]
        for j in range(rows):
            out += [("head", l, h, j, at(j, f.of(l, "attn.hook_result")[j, h]))
                    for h in range(c["n_heads"])]
            out.append(("attn_bias", l, 0, j, at(j, b_o)))
            if level == "head":
                out.append(("mlp", l, 0, j, at(j, f.of(l, "hook_mlp_out")[j])))
                continue
            post = f.of(l, "mlp.hook_post")[j]
            out += [("neuron", l, i, j, at(j, post[i] * w_out[:, i])) for i in range(c["d_mlp"])]
            out.append(("mlp_bias", l, 0, j, at(j, b_out)))
    return out


def flow(f, node):
    kind, layer, _, _, x = node
    if kind == "embed":
        return f.rest(x, 0, False)
    if kind in ("head", "attn_bias") and not f.c["parallel"]:
        return f.rest(x, layer, True)
    return f.rest(x, layer + 1, False)


def link(f, source, target):
    """The part of the source's write that the reader passes on, sent to the logit."""
    kind, layer, index, row, _ = target
    if kind == "logit":
        return f.logit(source[4])
    if kind in ("embed", "attn_bias", "mlp_bias"):
        return 0.0
    same = source[1] == layer and not f.c["parallel"] and kind != "head" and source[0] in (
        "head", "attn_bias")
    if not (source[1] < layer or same):
        return 0.0
    if kind == "head":
        passed = f.head(layer, index, source[4])
    else:
        passed = f.mlp(layer, source[4], slice(None) if kind == "mlp" else slice(index, index + 1))
    only = np.zeros_like(passed)
    only[row] = passed[row]
    return flow(f, (kind, layer, index, row, only))


def main():
    (GOLDEN / "graph").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32", "gelu_fast"):
        f = Frozen(str(GOLDEN / "parity" / name))
        out = {}
        for level in ("head", "neuron"):
            z = f.run["hook_logits"][-1, TARGET]
            nodes = nodes_of(f, level)
            flows = np.array([flow(f, n) for n in nodes])
            order = sorted(range(len(nodes)), key=lambda i: -abs(flows[i]))[:39]
            kept = [("logit", -1, 0, len(TOKENS) - 1, None)] + [nodes[i] for i in order]
            out[level + ":flow"] = np.concatenate([[z], flows[order]])
            out[level + ":which"] = np.array([[KINDS[n[0]], n[1], n[2], n[3]] for n in kept])
            out[level + ":links"] = np.array(
                [[0.0 if s[0] == "logit" else link(f, s, t) for t in kept] for s in kept])
            readers = [i for i, n in enumerate(nodes) if n[0] in ("head", "mlp")]
            some = readers[len(readers) // 2]  # all flow of one node, to check this tool
            out_sum = sum(link(f, nodes[some], t) for t in nodes) + f.logit(nodes[some][4])
            assert abs(out_sum - flows[some]) < 1e-9, (out_sum, flows[some])
        save_file({k: np.ascontiguousarray(v, np.int32 if "which" in k else np.float32)
                   for k, v in out.items()}, GOLDEN / "graph" / f"{name}.safetensors")
        print(name, {k: v.shape for k, v in out.items()})


if __name__ == "__main__":
    main()
