#!/usr/bin/env python3
"""Golden edits of latents, shares of latents and graphs with latents, in float64.

    tests/tools/make_latents_golden.py          writes tests/golden/latents/

The dictionaries are those of tests/golden/sae, the prompts those of tests/golden/interventions. The
float64 latents are compared with the libraries' first. Of a case: `ids`, and the logits of the run
in which only these latents change. Of a dictionary: its shares of two targets. Of a graph (its
text is make_graph_golden's): the largest flows and their links, forwards, as in that script.
"""

import pathlib

try:
    import numpy as np
    from safetensors.numpy import load_file, save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

import make_graph_golden as graph
from dictionary_float64 import Dictionary
from gptneox_float64 import Model

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
ROWS = [3, 7, 8]
# Equal to tests/analysis/test_latents.c: name -> (plugin, dictionary, alpha, rows)
CASES = {
    "zero_standard": ("ablate", "standard", 0, (0, 8)),
    "zero_mlp": ("ablate", "standard_mlp", 0, (2, 6)),
    "zero_layer_norm": ("ablate", "layer_norm", 0, (0, 8)),
    "zero_z": ("ablate", "hook_z", 0, (0, 8)),
    "zero_topk": ("ablate", "topk_rescaled", 0, (0, 8)),
    "zero_gated": ("ablate", "gated", 0, (0, 8)),
    "zero_groupmax": ("ablate", "sparsify_groupmax/layers.0.attention", 0, (0, 8)),
    "zero_transcoder": ("ablate", "transcoder", 0, (0, 8)),
    "scale_jumprelu": ("scale", "jumprelu", 3, (2, 8)),
    "scale_skip": ("scale", "sparsify_skip/layers.1.mlp", -1.5, (0, 8)),
    "steer_topk": ("steer", "sparsify_topk/layers.1", 2.5, (7, 8)),
    "steer_constant": ("steer", "constant_norm", 2, (0, 8)),
}
SHARES = ["standard", "layer_norm", "hook_z", "topk", "topk_rescaled", "gated", "skip_transcoder"]
TARGETS = [(5, -1), (7, 9)]


def same_as_libraries():
    for path in sorted((GOLDEN / "sae").glob("*.safetensors")):
        want, folder = load_file(path), GOLDEN / "sae" / path.stem
        if path.stem.startswith("sparsify"):
            top, layer = path.stem.split(".", 1)
            folder = GOLDEN / "sae" / top / layer
        d = Dictionary(folder)
        x = want["x"].astype(np.float64)
        f, gain, constant, skip = d.parts(x)
        out = gain * (f @ d.w["W_dec"]) + constant + skip
        for got, name in ((f, "acts"), (out, "out")):
            worst = np.abs(got - want[name]).max()
            assert worst < 2e-5, (path.stem, name, worst)


def edited(model, tokens, base, case):
    plugin, name, alpha, (first, last) = case
    d = Dictionary(GOLDEN / "sae" / name)
    f, gain, _ = d.encode(d.value(base, model.weights, d.hook))
    count = (f[first : last + 1] > 0).sum(0)
    ids = sorted(np.argsort(-count, kind="stable")[:2])
    if plugin == "steer":
        change = np.full((len(tokens), 2), float(alpha))
    else:
        assert count[ids].min() >= 1, case
        change = (alpha - 1) * f[:, ids]
    add = gain * (change @ d.w["W_dec"][ids])

    def edit(x):
        x[first : last + 1] += add[first : last + 1].reshape(x[first : last + 1].shape)
        return x

    run = model.forward(tokens, {d.out: edit})
    assert np.abs(run["hook_logits"] - base["hook_logits"]).max() > 1e-3, case
    return {"ids": np.array(ids, np.int32), "logits": run["hook_logits"][ROWS].astype(np.float32)}


def shares(model, base, name):
    """latents [targets, T, F], parts [targets, T, 4]: all latents, b_dec, skip, error."""
    d = Dictionary(GOLDEN / "sae" / name)
    w = model.weights
    f, gain, constant, skip = d.parts(d.value(base, w, d.hook))
    y = d.value(base, w, d.out)
    out = gain * (f @ d.w["W_dec"]) + constant + skip
    latents, parts = [], []
    for a, b in TARGETS:
        t = w[model.unembed][a] - (w[model.unembed][b] if b >= 0 else 0)
        u = w["final_layer_norm.weight"] * t
        u = (u - u.mean()) / base["ln_final.hook_scale"]
        if d.out.endswith("hook_z"):
            u = u @ w[f"layers.{d.layer}.attention.dense.weight"]
        one = gain * f * (u @ d.w["W_dec"].T)
        latents.append(one)
        parts.append([one.sum(1)] + [(v * u).sum(1) for v in (constant, skip + 0 * y, y - out)])
    return {
        "latents": np.array(latents),
        "parts": np.ascontiguousarray(np.array(parts).transpose(0, 2, 1)),
    }


# --- graphs ------------------------------------------------------------------------------------


class Replaced(graph.Frozen):
    """The frozen network in which transcoders stand for the MLPs of their layers."""

    def __init__(self, folder, dictionaries):
        super().__init__(folder)
        self.d = {d.layer: d for d in dictionaries}
        self.x = {n: d.value(self.run, self.w, d.hook) for n, d in self.d.items()}
        self.f = {n: d.encode(self.x[n])[0] for n, d in self.d.items()}

    def mlp(self, layer, x, which=slice(None)):
        """which: all, a slice of neurons or latents, or "skip"."""
        if layer not in self.d:
            return super().mlp(layer, x, which)
        d, name = self.d[layer], f"layers.{layer}.post_attention_layernorm.weight"
        y = self.w[name] * graph.P(x) / self.of(layer, "ln2.hook_scale")
        skip = y @ d.w["W_skip"].T if "W_skip" in d.w else 0
        if isinstance(which, str):
            return skip
        active = self.f[layer][:, which] > 0
        out = (active * (y @ d.w["W_enc"][:, which])) @ d.w["W_dec"][which]
        return out + skip if which == slice(None) else out


def replaced_nodes(f):
    """The nodes of level head; in a replaced layer latents, b_dec, the error and the skip path."""
    out = [n for n in graph.nodes_of(f, "head") if n[0] != "mlp" or n[1] not in f.d]
    for layer, d in f.d.items():
        acts, _, constant, skip = d.parts(f.x[layer])
        skip = skip + np.zeros_like(constant)
        error = f.of(layer, "hook_mlp_out") - acts @ d.w["W_dec"] - constant - skip
        for j in range(len(graph.TOKENS)):
            writes = [("latent", i, acts[j, i] * d.w["W_dec"][i]) for i in np.nonzero(acts[j])[0]]
            writes += [("mlp_bias", 0, constant[j]), ("mlp_error", 0, error[j])]
            writes += [("mlp_skip", 0, skip[j])] if "W_skip" in d.w else []
            for kind, i, vector in writes:
                x = np.zeros_like(constant)
                x[j] = vector
                out.append((kind, layer, i, j, x))
    return out


def replaced_link(f, source, target):
    kind, layer, index, row, _ = target
    if kind not in ("latent", "mlp_skip", "mlp_error"):
        return graph.link(f, source, target)
    attention = source[0] in ("head", "attn_bias")
    same = source[1] == layer and attention and not f.c["parallel"]
    if kind == "mlp_error" or not (source[1] < layer or same):
        return 0.0
    only = np.zeros_like(source[4])
    which = "skip" if kind == "mlp_skip" else slice(index, index + 1)
    only[row] = f.mlp(layer, source[4], which)[row]
    return graph.flow(f, (kind, layer, index, row, only))


def graphs(name, dictionaries):
    """{flow, which, links} of the logit and the 59 largest nodes."""
    f = Replaced(str(GOLDEN / "parity" / name), dictionaries)
    nodes = replaced_nodes(f)
    flows = np.array([graph.flow(f, n) for n in nodes])
    order = sorted(range(len(nodes)), key=lambda i: -abs(flows[i]))[:59]
    kept = [("logit", -1, 0, len(graph.TOKENS) - 1, None)] + [nodes[i] for i in order]
    kinds = graph.KINDS | {"latent": 7, "mlp_error": 8, "mlp_skip": 9}
    links = [[0.0 if s[0] == "logit" else replaced_link(f, s, t) for t in kept] for s in kept]
    for i in order[:5]:  # a node's outflow is its flow, to check this script
        out = f.logit(nodes[i][4]) + sum(replaced_link(f, nodes[i], t) for t in nodes)
        assert abs(out - flows[i]) < 1e-9, (nodes[i][:4], out, flows[i])
    return {
        "flow": np.array([f.run["hook_logits"][-1, graph.TARGET], *flows[order]], np.float32),
        "which": np.array([[kinds[n[0]], *n[1:4]] for n in kept], np.int32),
        "links": np.array(links, np.float32),
        "flow_of_all": np.array([np.abs(flows).sum()], np.float32),
    }


GRAPHS = {
    "one": ["skip_transcoder"],
    "both": ["transcoder", "sparsify_skip/layers.1.mlp"],
    "jump": ["sparsify_transcoder/layers.0.mlp", "jumprelu_transcoder"],
}


def main():
    same_as_libraries()
    (GOLDEN / "latents").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32"):
        tokens = load_file(GOLDEN / "interventions" / f"{name}.safetensors")["tokens"].tolist()
        model = Model(str(GOLDEN / "parity" / name))
        base = model.forward(tokens)
        out = {}
        for case, how in CASES.items():
            made = edited(model, tokens, base, how)
            out |= {f"{case}/{key}": value for key, value in made.items()}
        for dictionary in SHARES:
            made = shares(model, base, dictionary)
            out |= {f"{dictionary}/{key}": v.astype(np.float32) for key, v in made.items()}
        for case, folders in GRAPHS.items():
            made = graphs(name, [Dictionary(GOLDEN / "sae" / folder) for folder in folders])
            out |= {f"{case}/{key}": v for key, v in made.items()}
        save_file(out, GOLDEN / "latents" / f"{name}.safetensors")
        print(name, len(out), "arrays")


if __name__ == "__main__":
    main()
