#!/usr/bin/env python3
"""The statistics of a corpus in PyTorch: window_statistics.py MODEL_FOLDER DTYPE THREADS

What pythiascope's plugins gather over one window of tokens, as a user of PyTorch would write it:
one pass of transformers' model without gradients, forward hooks that reduce each tensor where it
comes by and keep no activations that are not needed later, batched matrix products, and the
reductions over the vocabulary compiled by torch.compile, a block of rows at a time. The pass leaves
out the unembedding where no logits are needed.

  run CASE N           seconds of a window of N tokens with a case of CASES, or "plain"
  write CASE N P F     saves the figures of N tokens with the period P into F (npz); how many
  about                a line of text

Figures have the names and the last axes of pythiascope's arrays over a corpus (docs/corpus.md), for
the population of all rows. DTYPE is the type of the matrices; figures are reduced in float32."""

import contextlib
import sys

import numpy as np
import torch
import transformers
from torch.nn import functional

from contender import clock, prompt, serve
from vocabulary_statistics import lens, loss, partition, sampling, top_tokens


class Window:
    """A model and the tokens of one window. T rows, N = d_model, H heads, M neurons, V tokens."""

    def __init__(self, folder, kind):
        self.models = {
            form: transformers.GPTNeoXForCausalLM.from_pretrained(
                folder, dtype=kind, attn_implementation=form
            ).eval()
            for form in ("sdpa", "eager")
        }  # only the eager form has patterns
        self.base = self.models["sdpa"].gpt_neox
        config = self.models["sdpa"].config
        self.kind, self.vocab, self.eps = kind, config.vocab_size, config.layer_norm_eps
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.d_model = config.hidden_size
        self.unembedding = self.models["sdpa"].get_output_embeddings().weight  # [V, N]
        self.gamma, self.beta = (
            p.float() for p in (self.base.final_layer_norm.weight, self.base.final_layer_norm.bias)
        )
        self.constant = self.unembedding.float() @ self.beta  # [V] b_t
        self.ids = self.next = torch.zeros(0, dtype=torch.long)

    def take(self, n, period):
        """n tokens of the bench, the first `period` of them again and again; 0: all different."""
        tokens = prompt(n, self.vocab)
        tokens[0] = 0
        self.ids = torch.tensor([tokens[t % period if period else t] for t in range(n)])
        self.next = self.ids[1:]

    def following(self):
        """The next token of each row; the last row's is any."""
        return torch.cat([self.next, self.next.new_zeros(1)])

    def hooked(self, base, name, reduce):
        """Calls reduce(layer, tensor [T, ...] in float32) at a point of TransformerLens's name."""
        found = []
        for i, layer in enumerate(base.layers):
            module, side = {
                "hook_resid_pre": (layer.input_layernorm, "input"),
                "hook_attn_out": (layer.attention.dense, "output"),
                "hook_mlp_out": (layer.mlp, "output"),
                "attn.hook_z": (layer.attention.dense, "input"),
                "attn.hook_pattern": (layer.attention, "weights"),
                "mlp.hook_pre": (layer.mlp.dense_h_to_4h, "output"),
                "mlp.hook_post": (layer.mlp.dense_4h_to_h, "input"),
            }[name]

            def hook(_, inputs, output, i=i, side=side):
                value = inputs[0] if side == "input" else output[1] if side == "weights" else output
                reduce(i, value[0].float())

            found.append(module.register_forward_hook(hook))
        return found

    def run(self, attention="sdpa", **points):
        """The pass with reductions at points; returns the final residual [T, N]."""
        base, last = self.models[attention].gpt_neox, []
        hooks = [
            base.final_layer_norm.register_forward_pre_hook(
                lambda _, inputs: last.append(inputs[0][0].float())
            )
        ]
        with contextlib.ExitStack() as stack:
            for name, reduce in points.items():
                hooks += self.hooked(base, name, reduce)
            for hook in hooks:
                stack.callback(hook.remove)
            base(self.ids[None], use_cache=False)
        return last[0]

    def sigma(self, x):
        return (x.var(-1, unbiased=False, keepdim=True) + self.eps).sqrt()

    def normalized(self, x):
        return functional.layer_norm(x, (self.d_model,), self.gamma, self.beta, self.eps)

    def unembed(self, x):
        """[..., N] -> logits [..., V] in float32."""
        return functional.linear(x.to(self.kind), self.unembedding).float()


def moments(found, name, values):
    """values [rows, ...]: mean, variance and range over rows."""
    variance, mean = torch.var_mean(values, 0, correction=0)
    low, high = torch.aminmax(values, dim=0)
    found |= {
        f"{name}_mean": mean,
        f"{name}_variance": variance,
        f"{name}_min": low,
        f"{name}_max": high,
    }


def stacked(parts):
    """[{name: array}] of the layers -> {name: [layers, ...]}"""
    return {name: torch.stack([p[name] for p in parts]) for name in parts[0]}


# --- the residual stream, heads and neurons -------------------------------------------------------


def means(w):
    """Means of hook points without position 0."""
    found = {}

    def point(name):
        def reduce(layer, x):
            shape = (w.heads, -1) if name == "attn.hook_z" else (-1,)
            found[f"blocks.{layer}.{name}"] = x[1:].mean(0).view(shape)

        return reduce

    names = ("attn.hook_z", "hook_attn_out", "hook_mlp_out", "mlp.hook_post", "hook_resid_pre")
    w.run(**{name: point(name) for name in names})
    return found


def ln(w):
    """Mean, |P(x)|, scale and coupling fraction at every LayerNorm."""
    sites, diagonal = [], torch.zeros(len(w.ids))

    def residual(x):
        variance, mean = torch.var_mean(x, -1, correction=0)
        square = variance * w.d_model
        coupling = 1 - diagonal / square
        return torch.stack([mean, square.sqrt(), (variance + w.eps).sqrt(), coupling], -1)

    def write(_, x):
        diagonal.add_(x.var(-1, correction=0), alpha=w.d_model)

    def pre(layer, x):
        if layer == 0:
            write(0, x)
        sites.extend([residual(x)] * 2)  # parallel blocks: ln1 and ln2 see the same residual

    last = w.run(hook_resid_pre=pre, hook_attn_out=write, hook_mlp_out=write)
    found = {}
    moments(found, "site", torch.stack([*sites, residual(last)], 1))
    return found


# 32 bins of a from -8 to 8, the outer ones open
EDGES = torch.arange(-15, 16) / 2
# Where the gate Phi(a) is a tenth, two tenths, ...
GATES = torch.distributions.Normal(0.0, 1.0).icdf(torch.arange(1, 10) / 10)


def mlp(w):
    """Moments of a and g, firing, histograms of a and of the gate, and the rows' participation."""
    norms = [layer.mlp.dense_4h_to_h.weight.float() for layer in w.base.layers]
    norms = [(r - r.mean(0)).norm(dim=0) for r in norms]  # |P(r_k)|
    parts, fraction = [{} for _ in range(w.layers)], []

    def histogram(bins, n):
        offset = torch.arange(bins.shape[1]) * n
        return torch.bincount((bins + offset).flatten(), minlength=n * bins.shape[1]).view(-1, n)

    def pre(layer, a):
        fires = a > 0
        moments(parts[layer], "pre", a)
        for name, edges in (("pre_histogram", EDGES), ("gate_histogram", GATES)):
            bins = torch.bucketize(a, edges, right=True)
            parts[layer][name] = histogram(bins, len(edges) + 1)
        parts[layer]["fires"] = fires.sum(0)
        fraction.append(fires.float().mean(1))

    def post(layer, g):
        moments(parts[layer], "post", g)
        size = g.abs()
        shared = (size @ norms[layer]).square() / (size.square() @ norms[layer].square())
        moments(parts[layer], "row", torch.stack([fraction.pop(), shared], -1))

    w.run(**{"mlp.hook_pre": pre, "mlp.hook_post": post})
    return stacked(parts)


def attention(w):
    """Eight statistics of every row of every head's pattern, and their means over rows."""
    n = len(w.ids)
    at = torch.arange(n, dtype=torch.float32)
    # Earlier rows with the same token, and the rows after them, as lists of pairs
    k, j = (w.ids[:, None] == w.ids[None]).tril(-1).nonzero(as_tuple=True)
    has = torch.zeros(n, dtype=torch.bool).index_fill_(0, k, True)
    found = []

    def reduce(_, a):
        mean, square = (a @ torch.stack([at, at * at], -1)).unbind(-1)
        after = a[:, k, j + 1]
        zero = torch.zeros(a.shape[:2])
        rows = [
            torch.special.entr(a).sum(-1),
            at - mean,
            a[:, :, 0],
            a.diagonal(0, 1, 2),
            functional.pad(a.diagonal(-1, 1, 2), (1, 0), value=torch.nan),
            zero.index_add(1, k, a[:, k, j]),
            square - mean * mean,
            zero.index_add(1, k, after * (after >= 0.01)).masked_fill(~has, torch.nan),
        ]
        found.append(torch.stack(rows, -1).nanmean(1))

    w.run("eager", **{"attn.hook_pattern": reduce})
    return {"means": torch.stack(found)}


def shares(w, neurons):
    """Direct logit attribution of each row's next token: the direction of each row is pulled back
    through W_O, and through W_out for neurons; moments over rows."""
    target = w.unembedding[w.next].float()
    u = target * w.gamma
    u -= u.mean(-1, keepdim=True)
    rows, parts = len(u), []

    def dot(x):
        return (x[:rows] * u).sum(-1, keepdim=True)

    def embed(layer, x):
        if layer == 0:
            parts.append(dot(x))

    def z(layer, x):
        dense = w.base.layers[layer].attention.dense
        back = functional.linear(u.to(w.kind), dense.weight.T).float()
        parts.append((x[:rows] * back).view(rows, w.heads, -1).sum(-1))
        parts.append(u @ dense.bias.float()[:, None])

    def post(layer, x):
        down = w.base.layers[layer].mlp.dense_4h_to_h
        back = functional.linear(u.to(w.kind), down.weight.T).float()
        parts.append(back.mul_(x[:rows]))
        parts.append(u @ down.bias.float()[:, None])

    def mlp_out(_, x):
        parts.append(dot(x))

    late = {"mlp.hook_post": post} if neurons else {"hook_mlp_out": mlp_out}
    last = w.run(**{"hook_resid_pre": embed, "attn.hook_z": z, **late})
    scale = 1 / w.sigma(last[:rows])
    found, of = {}, [{} for _ in parts]
    for part, of_part in zip(parts, of):
        moments(of_part, "share", part.mul_(scale))
    for name in of[0]:
        found[name] = torch.cat([p[name] for p in of])
    moments(found, "logit", (w.normalized(last[:rows]) * target).sum(-1))
    return found


CASES = {
    "means": means,
    "ln": ln,
    "mlp": mlp,
    "attention": attention,
    "head": lambda w: shares(w, False),
    "neuron": lambda w: shares(w, True),
    "loss": loss,
    "top": top_tokens,
    "lens": lens,
    "sampling": sampling,
    "partition": lambda w: partition(w, None),
    "heads": lambda w: partition(w, w.layers // 2),
    "plain": lambda w: w.run(),
}


def main():
    folder, dtype, threads = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    torch.set_grad_enabled(False)
    window = Window(folder, {"f32": torch.float32, "bf16": torch.bfloat16}[dtype])

    @torch.inference_mode()
    def run(case, n):
        if len(window.ids) != n or len(window.ids.unique()) != n:
            window.take(n, 0)
        return clock(lambda: CASES[case](window))

    @torch.inference_mode()
    def write(case, n, period, path):
        window.take(n, period)
        found = CASES[case](window)
        np.savez(path, **{name: value.double().numpy() for name, value in found.items()})
        return str(len(found))

    serve(
        {
            "run": run,
            "write": write,
            "about": lambda: (
                f"torch {torch.__version__}, transformers {transformers.__version__}, "
                f"matrices in {dtype}, {torch.get_num_threads()} threads"
            ),
        }
    )


main()
