#!/usr/bin/env python3
"""Golden logits of runs in which some edges carry another prompt's values, in float64.

    tests/tools/make_circuit_golden.py          writes tests/golden/circuit/

Each receiver (a head's q, k or v, an MLP, the logits) reads a sum of its own: what each sender
writes in the current run, or, of patched edges, what it wrote on the other prompt. The same is done
by hand with TransformerLens (use_split_qkv_input, use_attn_result, use_hook_mlp_in), and must agree
within 2e-4.

scores: the change of z[TARGET] at the last row when one edge alone is patched. eap and eap_ig: the
first order of it, by autograd in float64 through TransformerLens as the published code does (with
STEPS inputs between); eap_ig_activations: with STEPS values of one node at a time, as there (the
heads of a layer are one node). curve and rest: z of the first SIZES edges by |score|, and of all
others. greedy: z of the first SIZES edges from the logits. paths: path patching with frozen heads
and MLPs computed again, in two runs.
"""
import itertools
import math
import pathlib

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from make_parity_golden import open_lens, open_transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
TOKENS = [3, 17, 5, 79, 0, 41, 8, 60, 12, 12]
OTHER = [3, 17, 44, 79, 1, 41, 9, 60, 30, 12]
SHARES = (0, 13, 77, 154, 243, 256)  # of 256 edges, so many are patched
TARGET, STEPS, SIZES = 5, 3, (1, 2, 5, 10, 20, 50)
MODELS = ("parallel_f32", "sequential_f32", "old_f16", "odd_sizes")


def n_readable(config, layer, mid):
    """Senders that a receiver of a layer reads: embed, then per layer the heads and the MLP."""
    return 1 + layer * (config["n_heads"] + 1) + (config["n_heads"] if mid else 0)


def receivers(config):
    """(layer, kind, head) in the order of psc_edges.h; kind is q, k, v, mlp or logits."""
    for layer in range(config["n_layers"]):
        for kind in "qkv":
            for head in range(config["n_heads"]):
                yield layer, kind, head
        yield layer, "mlp", -1
    yield config["n_layers"], "logits", -1


def draw(config, share, seed):
    """{receiver: [senders] bool}, by the generator that the test has."""
    state, out = seed, {}
    for receiver in receivers(config):
        mid = not config["parallel"] and receiver[1] == "mlp"
        marks = []
        for _ in range(n_readable(config, receiver[0], mid)):
            state = (state * 1664525 + 1013904223) % 2**32
            marks.append((state >> 16 & 255) < share)
        out[receiver] = np.array(marks)
    return out


class Patched:
    """One run; other: the senders' writes and biases of a run of the other prompt."""

    def __init__(self, model, tokens, patched=None, other=None):
        self.model, self.patched, self.other = model, patched, other
        self.bias = np.zeros(model.config["d_model"])  # b_O of the layers so far
        self.writes = [model.weights["embed_in.weight"][np.asarray(tokens)]]

    def read(self, receiver):
        values = self.writes
        if self.patched is not None:
            values = [o if p else w for w, o, p in
                      zip(self.writes, self.other, self.patched[receiver])]
        return sum(values) + self.bias

    def norm(self, name, x):
        return self.model.layer_norm(name, "", x, lambda _, value: value)

    def heads(self, layer):
        c, m = self.model.config, self.model
        size, name = c["d_head"], f"layers.{layer}."
        out = {}
        for i, kind in enumerate("qkv"):
            x = [self.norm(name + "input_layernorm", self.read((layer, kind, h)))
                 for h in range(c["n_heads"])]
            y = [m.linear(name + "attention.query_key_value", v).reshape(len(v), -1, 3 * size)
                 [:, h, i * size:(i + 1) * size] for h, v in enumerate(x)]
            out[kind] = np.stack(y, 1)
        q, k = m.rotate(out["q"]), m.rotate(out["k"])
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(size)
        scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
        e = np.exp(scores - scores.max(-1, keepdims=True))
        z = np.einsum("hqk,khd->qhd", e / e.sum(-1, keepdims=True), out["v"])
        by_head = m.weights[name + "attention.dense.weight"].reshape(c["d_model"], -1, size)
        return np.einsum("qhd,nhd->hqn", z, by_head)

    def run(self):
        c, m = self.model.config, self.model

        def mlp(layer):
            x = self.norm(f"layers.{layer}.post_attention_layernorm",
                          self.read((layer, "mlp", -1)))
            return m.mlp(layer, x, lambda _, value: value)

        for layer in range(c["n_layers"]):
            heads = self.heads(layer)
            bias = m.weights.get(f"layers.{layer}.attention.dense.bias", 0.0)
            if c["parallel"]:
                write = mlp(layer)
                self.writes += [*heads, write]
                self.bias = self.bias + bias
            else:
                self.writes += [*heads]
                self.bias = self.bias + bias
                self.writes.append(mlp(layer))
        x = self.norm("final_layer_norm", self.read((c["n_layers"], "logits", -1)))
        return x @ m.weights[m.unembed].T


class Frozen(Patched):
    """What a path patch gives its receivers: heads write what they wrote, the sender what it wrote
    on the other prompt, MLPs what they compute from these."""

    def __init__(self, model, sender, base, other):
        super().__init__(model, TOKENS)
        self.values = list(base)
        self.values[sender] = other[sender]
        a_layer = model.config["n_heads"] + 1
        self.live = {u for u in range(a_layer, len(base), a_layer) if u != sender}
        self.inputs = {}

    def read(self, receiver):
        self.inputs[receiver] = sum(w if u in self.live else self.values[u]
                                    for u, w in enumerate(self.writes)) + self.bias
        return self.inputs[receiver]


class Given(Patched):
    """One run in which some receivers read given values."""

    def __init__(self, model, inputs):
        super().__init__(model, TOKENS)
        self.inputs = inputs

    def read(self, receiver):
        return self.inputs[receiver] if receiver in self.inputs else super().read(receiver)


def paths(model, other):
    """z[TARGET] at the last row when a path through MLPs is patched, in the order of the test."""
    base = Patched(model, TOKENS)
    base.run()
    a_layer, end = model.config["n_heads"] + 1, model.config["n_layers"]
    head, values = (lambda layer, h: 1 + layer * a_layer + h), []
    for sender, receivers_ in (
            (0, [(end, "logits", -1)]), (0, [(1, "k", 1)]), (head(0, 1), [(end, "logits", -1)]),
            (head(0, 1), [(1, "mlp", -1)]), (head(0, 1), [(1, "q", 0)]),
            (head(0, a_layer - 1), [(end, "logits", -1)]), (0, [(1, "v", 0), (1, "q", 1)]),
            (0, [(0, "q", 1)]), (head(1, 0), [(end, "logits", -1)])):
        frozen = Frozen(model, sender, base.writes, other.writes)
        frozen.run()
        given = Given(model, {r: frozen.inputs[r] for r in receivers_})
        values.append(given.run()[-1, TARGET])
    return np.array(values)


def by_hand(lens, patched, config):
    """The same with TransformerLens's hooks, in float32."""
    lens.cfg.use_split_qkv_input = lens.cfg.use_attn_result = lens.cfg.use_hook_mlp_in = True
    lens.set_use_split_qkv_input(True)
    lens.set_use_attn_result(True)
    lens.set_use_hook_mlp_in(True)
    heads = config["n_heads"]

    def names():
        yield "hook_embed", None
        for layer in range(config["n_layers"]):
            for head in range(heads):
                yield f"blocks.{layer}.attn.hook_result", head
            yield f"blocks.{layer}.hook_mlp_out", None

    points = list(names())
    wanted = {name for name, _ in points}
    _, cache = lens.run_with_cache(torch.tensor([OTHER]), names_filter=lambda n: n in wanted)
    now = {}

    def difference(receiver):
        total = 0
        for (name, head), p in zip(points, patched[receiver]):
            if p:
                other, current = cache[name], now[name]
                total = total + (other - current if head is None else
                                 other[:, :, head] - current[:, :, head])
        return total

    def keep(value, hook):
        now[hook.name] = value.clone()

    def add_heads(layer, kind):
        def edit(value, hook):
            for h in range(heads):
                value[:, :, h] = value[:, :, h] + difference((layer, kind, h))
            return value
        return edit

    def add(receiver):
        return lambda value, hook: value + difference(receiver)

    hooks = [(name, keep) for name in wanted]
    for layer in range(config["n_layers"]):
        hooks += [(f"blocks.{layer}.hook_{kind}_input", add_heads(layer, kind)) for kind in "qkv"]
        hooks.append((f"blocks.{layer}.hook_mlp_in", add((layer, "mlp", -1))))
    last = config["n_layers"] - 1
    hooks.append((f"blocks.{last}.hook_resid_post", add((config["n_layers"], "logits", -1))))
    with torch.no_grad():
        return lens.run_with_hooks(torch.tensor([TOKENS]), fwd_hooks=hooks)[0].numpy()


def constant(what, values):
    """What do=zero and do=mean write in place of values [..., rows, N]."""
    mean = values.mean(-2, keepdims=True)
    return 0 * values + (mean if what == "mean" else 0 * mean)


def attributions(lens, config, steps, nodes=("hook_embed",), what=None):
    """score(u -> v) = sum of (o_u - c_u) times the mean gradient at v's input, over the runs in
    which one of the nodes has values between those of the prompts."""
    layers = config["n_layers"]
    lens.set_use_split_qkv_input(True)
    lens.set_use_attn_result(True)
    lens.set_use_hook_mlp_in(True)
    writes, inputs, values = [], {}, []
    for tokens in (TOKENS, OTHER):
        _, cache = lens.run_with_cache(torch.tensor([tokens]))
        values.append({node: cache[node] for node in nodes})
        writes.append([cache["hook_embed"][0]])
        for layer in range(layers):
            writes[-1] += list(cache[f"blocks.{layer}.attn.hook_result"][0].transpose(0, 1))
            writes[-1].append(cache[f"blocks.{layer}.hook_mlp_out"][0])
    if what:
        writes[1] = [constant(what, w) for w in writes[0]]
        values[1] = {node: constant(what, v) for node, v in values[0].items()}
    change = torch.stack(writes[1]) - torch.stack(writes[0])
    points = [f"blocks.{i}.hook_{k}_input" for i in range(layers) for k in "qkv"]
    points += [f"blocks.{i}.hook_mlp_in" for i in range(layers)]
    points.append(f"blocks.{layers - 1}.hook_resid_post")

    def keep(value, hook):
        value.retain_grad()
        inputs[hook.name] = value

    total = 0
    for node, step in itertools.product(nodes, range(1, steps + 1)):
        own, other = values[0][node], values[1][node]
        between = (other + step / steps * (own - other)).detach().requires_grad_()
        inputs.clear()
        lens.reset_hooks()
        edits = [(node, lambda value, hook, x=between: x)]
        with torch.enable_grad(), lens.hooks(edits + [(name, keep) for name in points]):
            lens(torch.tensor([TOKENS]))[0, -1, TARGET].backward()
        scores = []
        for layer, kind, head in receivers(config):
            name = (points[-1] if kind == "logits" else f"blocks.{layer}.hook_mlp_in"
                    if kind == "mlp" else f"blocks.{layer}.hook_{kind}_input")
            gradient = inputs[name].grad
            if gradient is None:  # the node that is set hides this input
                gradient = torch.zeros_like(inputs[name])
            gradient = gradient[0, :, head] if kind in "qkv" else gradient[0]
            n = n_readable(config, layer, kind == "mlp" and not config["parallel"])
            scores.append(torch.einsum("urn,rn->u", change[:n], gradient))
        total = total + torch.cat(scores).detach().numpy() / steps / len(nodes)
    return total


def greedy(config, scores):
    """Edges (receiver, sender) from the logits: the largest of those that lead to the circuit."""
    heads, order, found = config["n_heads"], [], {}
    candidates = {k: abs(v) for k, v in scores.items() if k[0][1] == "logits"}
    while candidates:
        best = max(candidates, key=candidates.get)
        del candidates[best]
        order.append(best)
        sender = best[1]
        if sender == 0 or sender in found:
            continue
        found[sender] = True
        layer, i = divmod(sender - 1, heads + 1)
        for key, value in scores.items():
            kind = [(layer, "mlp", -1)] if i == heads else [(layer, k, i) for k in "qkv"]
            if key[0] in kind:
                candidates[key] = abs(value)
    return order


def circuits(model, other):
    """The arrays of the plugin circuit, by one run per edge and per set."""
    config = model.config
    sizes = draw(config, 0, 1)

    def value(kept=None, patched=None):
        marks = {r: np.full(len(m), kept is not None) for r, m in sizes.items()}
        for receiver, sender in kept if kept is not None else patched:
            marks[receiver][sender] = kept is None
        return Patched(model, TOKENS, marks, other.writes).run()[-1, TARGET]

    base = value(patched=[])
    scores = {(r, u): value(patched=[(r, u)]) - base
              for r in receivers(config) for u in range(len(sizes[r]))}
    ranked = sorted(scores, key=lambda e: -abs(scores[e]))
    steps = greedy(config, scores)
    return {"scores": np.array(list(scores.values())),
            "curve": np.array([value(kept=ranked[:n]) for n in SIZES]),
            "rest": np.array([value(patched=ranked[:n]) for n in SIZES]),
            "greedy": np.array([value(kept=steps[:n]) for n in SIZES])}


def main():
    (GOLDEN / "circuit").mkdir(exist_ok=True)
    for name in MODELS:
        folder = str(GOLDEN / "parity" / name)
        model = Model(folder)
        other = Patched(model, OTHER)
        other_logits = other.run()
        np.testing.assert_allclose(other_logits, model.forward(OTHER)["hook_logits"], atol=1e-9)
        lens = open_lens(open_transformers(folder), model.config)
        logits, worst = [], 0.0
        for i, share in enumerate(SHARES):
            patched = draw(model.config, share, 7 + i)
            logits.append(Patched(model, TOKENS, patched, other.writes).run())
            worst = max(worst, np.abs(by_hand(lens, patched, model.config) - logits[-1]).max())
        print(f"{name}: TransformerLens by hand differs by {worst:.2g}")
        assert worst < 2e-4
        np.testing.assert_allclose(logits[-1], other_logits, atol=1e-9)
        arrays = circuits(model, other) if name.endswith("_f32") else {}
        if arrays:
            lens = open_lens(open_transformers(folder), model.config).to(torch.float64)
            arrays["paths"] = paths(model, other)
            arrays["eap"] = attributions(lens, model.config, 1)
            for what in ("zero", "mean"):
                base = Patched(model, TOKENS)
                base.run()
                base.writes = [constant(what, w) for w in base.writes]
                found = circuits(model, base)
                arrays[f"scores_{what}"], arrays[f"curve_{what}"] = found["scores"], found["curve"]
                arrays[f"eap_{what}"] = attributions(lens, model.config, 1, what=what)
                arrays[f"eap_ig_{what}"] = attributions(lens, model.config, STEPS, what=what)
            arrays["eap_ig"] = attributions(lens, model.config, STEPS)
            nodes = [f"blocks.{layer}.{name}" for layer in range(model.config["n_layers"])
                     for name in ("attn.hook_result", "hook_mlp_out")]
            arrays["eap_ig_activations"] = attributions(
                lens, model.config, STEPS, ["hook_embed", *nodes])
        save_file({"logits": np.array(logits), **arrays},
                  GOLDEN / "circuit" / f"{name}.safetensors")


if __name__ == "__main__":
    main()
