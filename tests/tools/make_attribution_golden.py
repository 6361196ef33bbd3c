#!/usr/bin/env python3
"""Golden values of the plugins gradient and attribution, in float64 by PyTorch's autograd.

    tests/tools/make_attribution_golden.py          writes tests/golden/attribution/

NAME.safetensors holds, for two targets each:
  OVER-DO-METRIC        estimates, the change times the gradient of the unchanged run
  exact-neurons-DO      effects of runs with one neuron changed
  end-OVER-DO           estimates by the gradient of the changed run, [targets, cells]; cells by layer,
                        rows (the last first) and units
  tl_OVER               attribution patching by hand in TransformerLens (float32), of the first target
  saliency_BASELINE, times_input_BASELINE, integrated_BASELINE [targets, rows]; value_BASELINE
                        [targets]: m(baseline). STEPS steps of the trapezoid rule
Captum's IntegratedGradients, where it is installed, must agree with the last.
"""
import pathlib

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

import gptneox_float64
from make_gradient_golden import Model
from make_parity_golden import open_lens, open_transformers
from make_sweep_golden import SOURCE, TARGETS, TOKENS, log_softmax, put

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
STEPS = 32
BASELINES = ("zero", "mean", "token")
POINTS = {"heads": "attn.hook_z", "heads_by_pos": "attn.hook_z", "neurons": "mlp.hook_post",
          "resid_pre": "hook_resid_pre", "attn_out": "hook_attn_out", "mlp_out": "hook_mlp_out",
          "edges": "attn.hook_pattern"}
CASES = [("heads", "zero", "logit"), ("heads", "mean", "log_prob"), ("heads", "patch", "logit"),
         ("heads_by_pos", "patch", "logit"), ("heads_by_pos", "mean", "logit"),
         ("neurons", "zero", "logit"), ("neurons", "mean", "log_prob"), ("neurons", "patch", "logit"),
         ("resid_pre", "zero", "logit"), ("resid_pre", "patch", "logit"),
         ("attn_out", "mean", "log_prob"), ("mlp_out", "patch", "logit"),
         ("edges", "zero", "logit"), ("edges", "patch", "log_prob"), ("heads", "patch", "kl"),
         ("heads_by_pos", "zero", "kl"), ("mlp_out", "mean", "kl")]
ENDS = [("heads", "mean"), ("neurons", "patch"), ("resid_pre", "zero"), ("mlp_out", "patch")]


def metric(z, kind, target, source=None):
    """source: the logits of the source prompt's last row, for kl."""
    if kind == "kl":
        log_p = source.detach().log_softmax(-1)
        return (log_p.exp() * (log_p - z.log_softmax(-1))).sum()
    a, b = target
    if b is not None:
        return z[a] - z[b]
    return z.log_softmax(-1)[a] if kind == "log_prob" else z[a]


class Attribution:
    def __init__(self, folder):
        self.model = Model(folder)
        self.source = self.model.forward(SOURCE)
        self.layers = self.model.config["n_layers"]

    def run(self, kind, target):
        """{hook: value}, whose grad is the metric's at the last row."""
        out = self.model.forward(TOKENS)
        source = self.source["hook_logits"][-1]
        metric(out["hook_logits"][-1], kind, target, source).backward()
        return out

    def estimate(self, out, over, what, layer):
        """One layer's estimates, without the sum over a unit's rows."""
        name = f"blocks.{layer}.{POINTS[over]}"
        clean, gradient = out[name].detach(), out[name].grad
        changed = torch.zeros_like(clean)
        if what == "patch":
            changed = self.source[name].detach()
        if what == "mean":
            changed = clean.mean(0, keepdim=True).expand_as(clean)
        product = (changed - clean) * gradient
        if over == "edges":
            future = torch.ones_like(product[0], dtype=torch.bool).triu(1)
            return product.masked_fill(future, torch.nan)
        return product

    def estimates(self, over, what, kind):
        per_target = []
        for target in TARGETS if kind != "kl" else [None]:  # kl has none
            out = self.run(kind, target)
            parts = [self.estimate(out, over, what, layer) for layer in range(self.layers)]
            products = torch.stack(parts)
            if over == "heads":
                products = products.sum((1, 3))
            elif over == "heads_by_pos":
                products = products.sum(3).movedim(1, 2)
            elif over == "neurons":
                products = products.sum(1)
            elif over != "edges":
                products = products.sum(2)
            per_target.append(products)
        return torch.stack(per_target).numpy()


def change_at(tensor, source, what, at):
    """tensor with the values at [rows, units] changed."""
    changed = tensor.clone()
    new = {"zero": torch.zeros_like(tensor), "mean": tensor.mean(0, keepdim=True).expand_as(tensor),
           "patch": source}[what]
    changed[at] = new[at]
    return changed


def ends(a, over, what):
    """The change times the gradient of each changed run."""
    rows, clean = len(TOKENS), a.model.forward(TOKENS)
    found = []
    for layer in range(a.layers):
        name = f"blocks.{layer}.{POINTS[over]}"
        v, source = clean[name].detach(), a.source[name].detach()
        units = range(v.shape[1]) if over in ("heads", "neurons") else [slice(None)]
        places = [slice(None)] if over in ("heads", "neurons") else reversed(range(rows))
        for at in [(row, unit) for row in places for unit in units]:
            changed = change_at(v, source, what, at)
            per_target = []
            for target in TARGETS:
                out = a.model.forward(TOKENS, edit={name: lambda _, changed=changed: changed.clone()})
                metric(out["hook_logits"][-1], "logit", target).backward()
                per_target.append(((changed - v) * out[name].grad)[at].sum().item())
            found.append(per_target)
    return np.array(found).T


def exact_neurons(folder, what):
    model = gptneox_float64.Model(folder)
    base, source = model.forward(TOKENS), model.forward(SOURCE)
    c = model.config

    def values(z):
        return [z[a] - (z[b] if b is not None else 0) for a, b in TARGETS]

    effects = []
    for layer in range(c["n_layers"]):
        point = f"blocks.{layer}.mlp.hook_post"
        for neuron in range(base[point].shape[1]):
            change = put(np.s_[:, neuron], what)
            edit = {point: lambda x, change=change, point=point: change(x, source[point])}
            after = model.forward(TOKENS, edit, keep=False)["hook_logits"][-1]
            effects.append(np.subtract(values(after), values(base["hook_logits"][-1])))
    return np.moveaxis(np.array(effects).reshape(c["n_layers"], -1, len(TARGETS)), -1, 0)


def by_hand(folder, config):
    """Attribution patching with TransformerLens's cache and backward hooks."""
    lens = open_lens(open_transformers(folder), config)
    lens.cfg.use_attn_result = False
    with torch.no_grad():
        _, source = lens.run_with_cache(torch.tensor(SOURCE)[None])
    clean, gradient = {}, {}

    def keep_value(value, hook):
        clean[hook.name] = value.detach()

    def keep_gradient(value, hook):
        gradient[hook.name] = value.detach()

    with lens.hooks(fwd_hooks=[(lambda name: True, keep_value)],
                    bwd_hooks=[(lambda name: True, keep_gradient)]):
        lens(torch.tensor(TOKENS)[None])[0, -1, 5].backward()

    def of(point):
        names = [f"blocks.{layer}.{point}" for layer in range(config["n_layers"])]
        return torch.stack([((source[n] - clean[n]) * gradient[n])[0].sum(-1) for n in names])

    return {"tl_heads_by_pos": of("attn.hook_z").movedim(1, 2), "tl_mlp_out": of("hook_mlp_out"),
            "tl_resid_pre": of("hook_resid_pre")}


class Path:
    """The metric as a function of the embeddings."""

    def __init__(self, folder):
        self.model = Model(folder)
        self.embedding = self.model.weights["embed_in.weight"]
        self.x = self.embedding[TOKENS]

    def baseline(self, name):
        x0 = {"zero": torch.zeros_like(self.x[0]), "mean": self.embedding.mean(0),
              "token": self.embedding[9]}[name]
        return x0.expand_as(self.x)

    def value(self, x, target):
        weights = dict(self.model.weights)
        self.model.weights["embed_in.weight"] = x
        out = self.model.forward(range(len(TOKENS)))
        self.model.weights = weights
        return metric(out["hook_logits"][-1], "logit", target), out["hook_embed"]

    def gradient(self, x, target):
        value, embed = self.value(x, target)
        value.backward()
        return value.item(), embed.grad

    def integrated(self, x0, target):
        points = [self.gradient(x0 + k / STEPS * (self.x - x0), target) for k in range(STEPS + 1)]
        weights = np.ones(STEPS + 1)
        weights[[0, -1]] = 0.5
        mean = sum(w * g for w, (_, g) in zip(weights, points)) / STEPS
        return points[0][0], points[-1][1], ((self.x - x0) * mean).sum(-1)

    def check_captum(self, x0, target, integrated):
        try:
            from captum.attr import IntegratedGradients
        except ModuleNotFoundError:
            print("  captum is not installed: not compared")
            return

        def forward(batch):  # [B, T N]
            rows = batch.reshape(-1, *self.x.shape)
            return torch.stack([self.through(x, target) for x in rows])

        attribution = IntegratedGradients(forward).attribute(
            self.x.reshape(1, -1), x0.reshape(1, -1), n_steps=STEPS + 1, internal_batch_size=1,
            method="riemann_trapezoid")
        # Captum's weights of n points are 1/n and 1/(2n): they add up to (n - 1)/n.
        found = attribution.reshape(self.x.shape).sum(-1) * (STEPS + 1) / STEPS
        assert torch.allclose(found, integrated, rtol=1e-6, atol=1e-9), (found, integrated)

    def through(self, x, target):
        """As value, where x has a graph of its own."""
        weights = dict(self.model.weights)
        self.model.weights["embed_in.weight"] = x
        out = self.model.forward(range(len(TOKENS)))
        self.model.weights = weights
        return metric(out["hook_logits"][-1], "logit", target)


def paths(folder):
    p, out = Path(folder), {}
    for name in BASELINES:
        x0 = p.baseline(name)
        values, saliency, times_input, integrated = [], [], [], []
        for target in TARGETS:
            value, gradient, path = p.integrated(x0, target)
            p.check_captum(x0, target, path)
            values.append(value)
            saliency.append(gradient.norm(dim=-1).numpy())
            times_input.append((gradient * (p.x - x0)).sum(-1).numpy())
            integrated.append(path.detach().numpy())
        out |= {f"value_{name}": np.array(values), f"saliency_{name}": np.stack(saliency),
                f"times_input_{name}": np.stack(times_input),
                f"integrated_{name}": np.stack(integrated)}
    return out


def main():
    torch.manual_seed(0)
    (GOLDEN / "attribution").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32"):
        folder = str(GOLDEN / "parity" / name)
        a = Attribution(folder)
        arrays = {"-".join(case): a.estimates(*case) for case in CASES}
        if name == "parallel_f32":
            arrays |= {f"exact-neurons-{what}": exact_neurons(folder, what)
                       for what in ("zero", "mean", "patch")}
            arrays |= {f"end-{over}-{what}": ends(a, over, what) for over, what in ENDS}
            arrays |= {k: v.numpy() for k, v in by_hand(folder, a.model.config).items()}
        arrays |= paths(folder)
        arrays = {k: np.ascontiguousarray(v, dtype=np.float64) for k, v in arrays.items()}
        save_file(arrays, str(GOLDEN / "attribution" / f"{name}.safetensors"))
        print(name, len(arrays), "arrays")


if __name__ == "__main__":
    main()
