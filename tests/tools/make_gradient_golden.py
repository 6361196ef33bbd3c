#!/usr/bin/env python3
"""Makes tests/golden/gradient: the gradient of a metric at every hook point, by PyTorch's autograd
in float64, on the small models of tests/golden/parity and on the embedded model.

  make_gradient_golden.py                 all files
  make_gradient_golden.py tied_f32 long   these only

Files NAME_CASE are of runs with the edits of a case: autograd goes back through them.

A file holds tokens, the metric's terms (kinds, rows, tokens, weights, other), its value, the rows
that are kept, "<hook>_grad" with those rows (scores and pattern [H, rows, T]), and "<hook>_most",
the largest element of all rows.
"""

import math
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

HERE = os.path.dirname(os.path.abspath(__file__))
PARITY = os.path.join(HERE, "..", "golden", "parity")
OUT = os.path.join(HERE, "..", "golden", "gradient")
EMBEDDED = os.path.join(HERE, "..", "..", "models", "books-5m")
LOGIT, LOG_P, KL = 0, 1, 2
FROZEN_AT = [5, 61, 5, 70, 22, 9, 33, 2, 48]  # the other prompt of the case frozen
# Variants that differ in what the backward pass computes.
SMALL = (
    "parallel_f32",
    "sequential_f32",
    "tied_f32",
    "sequential_bf16_v5",
    "odd_sizes",
    "no_attention_bias",
    "gelu_fast",
    "rope_linear",
    "rope_yarn",
    "rotary_full",
)


class Model:
    """gptneox_float64.Model's formulas in torch, so that autograd differentiates them."""

    def __init__(self, folder):
        self.plain = gptneox_float64.Model(folder)
        self.config = self.plain.config
        self.weights = {k: torch.from_numpy(v) for k, v in self.plain.weights.items()}

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def layer_norm(self, name, site, x, hook):
        centered = x - x.mean(-1, keepdim=True)
        scale = hook(
            site + ".hook_scale", ((centered**2).mean(-1, keepdim=True) + self.config["eps"]).sqrt()
        )
        normalized = hook(site + ".hook_normalized", centered / scale)
        return normalized * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def rotate(self, x):
        n = self.config["rotary_dims"]
        if n == 0:
            return x
        frequency, scale = gptneox_float64.frequencies(self.config)
        angle = torch.from_numpy(np.arange(x.shape[0])[:, None] * frequency)
        cos, sin = scale * angle.cos()[:, None, :], scale * angle.sin()[:, None, :]
        a, b, rest = x[..., : n // 2], x[..., n // 2 : n], x[..., n:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)

    def attention(self, layer, x, hook, prefix):
        c, at = self.config, f"blocks.{layer}.attn."
        rows, heads, size = x.shape[0], c["n_heads"], c["d_head"]
        name = f"layers.{layer}.attention."
        q, k, v = (
            self.linear(name + "query_key_value", x).reshape(rows, heads, 3 * size).split(size, -1)
        )
        q, k, v = hook(at + "hook_q", q), hook(at + "hook_k", k), hook(at + "hook_v", v)
        q = hook(at + "hook_rot_q", self.rotate(q))
        k = hook(at + "hook_rot_k", self.rotate(k))
        k = torch.cat([k[:prefix].detach(), k[prefix:]])  # tokens of an earlier run are constant
        v = torch.cat([v[:prefix].detach(), v[prefix:]])
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(size)
        scores = hook(at + "hook_attn_scores", scores)
        future = torch.ones(rows, rows, dtype=torch.bool).triu(1)
        pattern = hook(at + "hook_pattern", scores.masked_fill(future, -math.inf).softmax(-1))
        z = hook(at + "hook_z", torch.einsum("hqk,khd->qhd", pattern, v))
        by_head = self.weights[name + "dense.weight"].reshape(c["d_model"], heads, size)
        result = hook(at + "hook_result", torch.einsum("qhd,nhd->qhn", z, by_head))
        out = result.sum(1) + self.weights.get(name + "dense.bias", 0.0)
        return hook(f"blocks.{layer}.hook_attn_out", out)

    def mlp(self, layer, x, hook):
        name, at = f"layers.{layer}.mlp.", f"blocks.{layer}."
        pre = hook(at + "mlp.hook_pre", self.linear(name + "dense_h_to_4h", x))
        form = "tanh" if self.config["activation"] in gptneox_float64.TANHS else "none"
        post = hook(at + "mlp.hook_post", torch.nn.functional.gelu(pre, approximate=form))
        return hook(at + "hook_mlp_out", self.linear(name + "dense_4h_to_h", post))

    def forward(self, tokens, prefix=0, edit=None):
        """tokens [T] -> {hook name: tensor} with gradients to come, and hook_logits.

        edit: {hook name: its tensor -> another}."""
        out = {}

        def hook(name, value):
            if edit and name in edit:
                value = edit[name](value)
            value = value.requires_grad_() if not value.requires_grad else value
            value.retain_grad()
            out[name] = value
            return value

        x = hook("hook_embed", self.weights["embed_in.weight"][list(tokens)])
        for layer in range(self.config["n_layers"]):
            at, name = f"blocks.{layer}.", f"layers.{layer}."
            x = hook(at + "hook_resid_pre", x.clone())
            y = self.layer_norm(name + "input_layernorm", at + "ln1", x, hook)
            attn = self.attention(layer, y, hook, prefix)
            middle = x if self.config["parallel"] else hook(at + "hook_resid_mid", x + attn)
            y = self.layer_norm(name + "post_attention_layernorm", at + "ln2", middle, hook)
            mlp = self.mlp(layer, y, hook)
            x = hook(
                at + "hook_resid_post",
                middle + mlp + attn if self.config["parallel"] else middle + mlp,
            )
        x = self.layer_norm("final_layer_norm", "ln_final", x, hook)
        hook("hook_logits", x @ self.weights[self.plain.unembed].T)
        return out


def metric(logits, terms):
    """terms: (kind, row, token, weight, other logits or None)."""
    total = torch.zeros((), dtype=torch.float64)
    for kind, row, token, weight, other in terms:
        log_q = logits[row].log_softmax(-1)
        if kind == LOGIT:
            value = logits[row][token]
        elif kind == LOG_P:
            value = log_q[token]
        else:
            log_p = torch.from_numpy(other.astype(np.float64)).log_softmax(-1)
            value = (log_p.exp() * (log_p - log_q)).sum()
        total = total + weight * value
    return total


def on(part, change):
    """An edit of a part of a tensor: part is an index, change its values -> others."""

    def edit(value):
        value = value.clone()
        value[part] = change(value[part])
        return value

    return edit


def unknown(value):
    """An edit of which only the new value is known: it counts as an added constant."""
    return value + (0.25 * value + 0.05).detach()


def unknown_keys(value):
    """The same of a pattern, which has no entries past a row's own position."""
    return unknown(value).tril()


def frozen(model, tokens, names):
    """Edits that put the values of another prompt's run at these points."""
    out = model.forward(tokens)
    return {name: lambda _, name=name: out[name].detach().clone() for name in names}


def without(rows):
    """Takes the directions [k, N] out."""
    q, _ = torch.linalg.qr(rows.T)
    return lambda x: x - x @ q @ q.T


def edits(model, case, prefix=0):
    """{hook name: edit} of a case of test_gradient_edits.c. Rows are those of all tokens."""
    own = slice(prefix, None)
    cut = lambda x: torch.full_like(x, -math.inf)  # noqa: E731
    nothing, scores, pattern = torch.zeros_like, "attn.hook_attn_scores", "attn.hook_pattern"
    w_in = model.weights["layers.0.mlp.dense_h_to_4h.weight"]
    cases = {
        "knockout": {f"blocks.0.{scores}": on((1, slice(4, 9), slice(2, 4)), cut)},
        "pattern": {
            f"blocks.0.{pattern}": on((0,), lambda x: 0.5 * x),
            f"blocks.1.{pattern}": on((1, slice(5, 9)), nothing),
        },
        "scores": {
            f"blocks.0.{scores}": lambda x: 1.5 * x,
            f"blocks.1.{scores}": lambda x: on((0, slice(3, 9), 1), cut)(-0.5 * x),
        },
        "norms": {
            "blocks.0.ln1.hook_scale": lambda x: 1.25 * x,
            "blocks.1.ln2.hook_scale": on((slice(2, 7),), lambda x: 0.75 * x),
            "ln_final.hook_scale": lambda x: 1.5 * x,
        },
        "writes": {
            "blocks.0.attn.hook_z": on((slice(None), 1), lambda x: -0.5 * x),
            "blocks.0.hook_mlp_out": on((slice(3, 6),), nothing),
            "blocks.1.hook_resid_pre": without(w_in[[5, 7]]),
            "blocks.1.mlp.hook_post": on((slice(None), 4), nothing),
        },
        "unknown": {
            "blocks.0.ln1.hook_scale": unknown,
            "blocks.1.ln2.hook_scale": unknown,
            f"blocks.0.{scores}": unknown,
            f"blocks.0.{pattern}": unknown_keys,
            f"blocks.1.{pattern}": unknown_keys,
        },
        "long": {
            f"blocks.0.{scores}": on((slice(None), slice(200, None), slice(0, 150)), cut),
            f"blocks.1.{pattern}": lambda x: 0.5 * x,
        },
        "prefix": {
            f"blocks.0.{scores}": on((slice(None), own), lambda x: 1.5 * x),
            f"blocks.1.{pattern}": on((0, own), lambda x: -0.5 * x),
            "blocks.1.ln1.hook_scale": on((own,), lambda x: 1.25 * x),
        },
    }
    if case == "frozen":
        names = [f"blocks.0.{pattern}", "blocks.1.ln1.hook_scale", f"blocks.1.{scores}"]
        return frozen(model, FROZEN_AT, [*names, "ln_final.hook_scale"])
    return cases[case]


def gradients(folder, tokens, terms, prefix=0, case=None):
    """The metric's value and {hook name: gradient}, axes as hooks have them."""
    model = Model(folder)
    out = model.forward(tokens, prefix, edits(model, case, prefix) if case else None)
    value = metric(out["hook_logits"], terms)
    value.backward()
    found = {k: np.zeros(v.shape) if v.grad is None else v.grad.numpy() for k, v in out.items()}
    for name in found:
        if name.endswith("hook_pattern"):  # a row has no pattern past its own position
            found[name] = np.tril(found[name])
    return value.item(), found


def write(name, folder, n_tokens, rows, prefix=0, points=None, case=None):
    """One file. rows: those that are kept; points: parts of names, None for all."""
    config = gptneox_float64.read_config(folder)
    random = np.random.default_rng(sum(name.encode()))
    tokens = random.integers(0, config["d_vocab"], n_tokens)
    last = n_tokens - 1
    other = random.normal(size=config["d_vocab"]).astype(np.float32)
    terms = [
        (LOGIT, last, int(tokens[0]), 1.0, None),
        (LOGIT, last, int(tokens[1]), -0.75, None),
        (LOG_P, last, int(tokens[2]), 0.5, None),
        (LOG_P, last - 3, int(tokens[3]), 1.25, None),
        (KL, last - 2, 0, 0.5, other),
    ]
    value, found = gradients(folder, tokens, terms, prefix, case)
    kept = {}
    for hook, gradient in found.items():
        if points is not None and not any(p in hook for p in points):
            continue
        by_head = hook.endswith(("hook_attn_scores", "hook_pattern"))
        kept[hook + "_most"] = torch.tensor([np.abs(gradient).max()], dtype=torch.float32)
        gradient = gradient[:, rows] if by_head else gradient[rows]
        kept[hook + "_grad"] = torch.from_numpy(gradient.astype(np.float32)).contiguous()
    kept |= {
        "tokens": torch.from_numpy(tokens.astype(np.int32)),
        "rows": torch.tensor(rows, dtype=torch.int32),
        "prefix": torch.tensor([prefix], dtype=torch.int32),
        "kinds": torch.tensor([t[0] for t in terms], dtype=torch.int32),
        "term_rows": torch.tensor([t[1] for t in terms], dtype=torch.int32),
        "term_tokens": torch.tensor([t[2] for t in terms], dtype=torch.int32),
        "weights": torch.tensor([t[3] for t in terms], dtype=torch.float64),
        "other": torch.from_numpy(other),
        "value": torch.tensor([value], dtype=torch.float64),
    }
    os.makedirs(OUT, exist_ok=True)
    save_file(kept, os.path.join(OUT, name + ".safetensors"))
    print(f"{name}: {len(found)} tensors, m = {value:.9f}")


def main():
    chosen = sys.argv[1:]
    jobs = {name: (os.path.join(PARITY, name), 9, [0, 5, 8]) for name in SMALL}
    stream = ["hook_resid_pre", "hook_q", "hook_k", "hook_v", "hook_embed"]
    jobs["long"] = (os.path.join(PARITY, "parallel_f32"), 300, [0, 127, 128, 297, 299], 0, stream)
    jobs["prefix"] = (
        os.path.join(PARITY, "sequential_f32"),
        40,
        [17, 30, 39],
        17,
        [*stream, "hook_rot_k", "hook_pattern"],
    )
    jobs["embedded"] = (
        EMBEDDED,
        24,
        [3, 22],
        0,
        ["hook_resid_pre", "attn.hook_q", "attn.hook_v", "hook_embed", "hook_z"],
    )
    keys = ["hook_embed", "hook_attn_scores", "hook_pattern", "hook_scale"]
    for model in ("parallel_f32", "sequential_f32"):
        folder = os.path.join(PARITY, model)
        for case in ("knockout", "pattern", "scores", "norms", "frozen", "unknown"):
            jobs[f"{model}_{case}"] = (folder, 9, [5, 8], 0, keys, case)
        places = ["hook_embed", "hook_z", "hook_mlp_out", "resid_pre", "hook_post"]
        jobs[f"{model}_writes"] = (folder, 9, [4, 8], 0, places, "writes")
        jobs[f"{model}_prefix"] = (folder, 40, [17, 39], 17, ["hook_embed", "hook_k"], "prefix")
    folder = os.path.join(PARITY, "parallel_f32")
    jobs["parallel_f32_long"] = (folder, 300, [0, 128, 299], 0, ["hook_embed"], "long")
    for name, arguments in jobs.items():
        if not chosen or name in chosen:
            write(name, *arguments)


if __name__ == "__main__":
    main()
