#!/usr/bin/env python3
"""Golden effects of the plugin sweep, in float64, and those of TransformerLens's patching helpers.

    tests/tools/make_sweep_golden.py          writes tests/golden/sweep/

One float64 forward pass (gptneox_float64) for every changed position. The arrays tl_* come from
transformer_lens.patching on the same prompts, in float32, minus the unpatched metric.
"""
import pathlib

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from transformer_lens import patching
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from make_parity_golden import open_lens, open_transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
TOKENS, SOURCE = [3, 41, 7, 19, 60], [3, 12, 7, 55, 60]
LAYER = 1  # the layer of the edges
TARGETS = ((5, None), (7, 9))  # an id; a contrast


def log_softmax(z):
    top = z.max()
    return z - top - np.log(np.exp(z - top).sum())


def metric(kind, z, base):
    if kind == "kl":
        p, q = log_softmax(base), log_softmax(z)
        return [(np.exp(p) * (p - q)).sum()]
    of = log_softmax(z) if kind == "log_prob" else z
    return [of[a] - (of[b] if b is not None else 0) for a, b in TARGETS]


class Sweep:
    def __init__(self, folder):
        self.model = Model(folder)
        self.base = self.model.forward(TOKENS)
        self.source = self.model.forward(SOURCE)

    def effect(self, kind, point, change):
        """change(base tensor, source tensor) -> the changed tensor."""
        before = self.base["hook_logits"][-1]
        edit = {point: lambda x: change(x, self.source[point])}
        after = self.model.forward(TOKENS, edit, keep=False)["hook_logits"][-1]
        return np.subtract(metric(kind, after, before),
                           0 if kind == "kl" else metric(kind, before, before))


def put(at, what):
    """A change of x[at]: zero, the mean over rows, or the source's value."""
    def change(x, source):
        if what == "mean":
            x[at] = np.broadcast_to(x.mean(0, keepdims=True), x.shape)[at]
        else:
            x[at] = 0 if what == "zero" else source[at]
        return x
    return change


def cut(head, row, key):
    def change(x, source):
        x[head, row, key] = -np.inf
        return x
    return change


def stack(values, shape, kind):
    array = np.array(values).reshape(*shape, -1)
    return array[..., 0] if kind == "kl" else np.moveaxis(array, -1, 0)


def sweep(s, over, what, kind):
    c, rows = s.model.config, len(TOKENS)
    layers, heads = range(c["n_layers"]), range(c["n_heads"])
    if over == "heads":
        values = [s.effect(kind, f"blocks.{l}.attn.hook_z", put(np.s_[:, h], what))
                  for l in layers for h in heads]
        return stack(values, (len(layers), len(heads)), kind)
    if over == "heads_by_pos":
        values = [s.effect(kind, f"blocks.{l}.attn.hook_z", put(np.s_[r, h], what))
                  for l in layers for h in heads for r in range(rows)]
        return stack(values, (len(layers), len(heads), rows), kind)
    if over != "edges":
        values = [s.effect(kind, f"blocks.{l}.hook_{over}", put(np.s_[r], what))
                  for l in layers for r in range(rows)]
        return stack(values, (len(layers), rows), kind)
    nothing = [np.nan] * (1 if kind == "kl" else len(TARGETS))
    values = []
    for h in heads:
        for k in range(rows):
            for j in range(rows):
                point = f"blocks.{LAYER}.attn." + (
                    "hook_attn_scores" if what == "cut" else "hook_pattern")
                change = cut(h, k, j) if what == "cut" else put(np.s_[h, k, j], what)
                possible = j <= k and not (what == "cut" and k == 0)
                values.append(s.effect(kind, point, change) if possible else nothing)
    return stack(values, (len(heads), rows, rows), kind)


CASES = [("heads", "zero", "logit"), ("heads", "mean", "log_prob"), ("heads", "patch", "kl"),
         ("heads_by_pos", "zero", "kl"), ("heads_by_pos", "patch", "logit"),
         ("resid_pre", "patch", "logit"), ("resid_pre", "mean", "kl"),
         ("attn_out", "zero", "log_prob"), ("mlp_out", "patch", "logit"),
         ("edges", "zero", "logit"), ("edges", "patch", "kl"), ("edges", "cut", "log_prob")]


def patching_helpers(folder, config):
    """TransformerLens's own effects on the metric z[5] at the last row."""
    lens = open_lens(open_transformers(folder), config)
    lens.cfg.use_attn_result = False
    tokens = torch.tensor(TOKENS)[None]
    with torch.no_grad():
        _, cache = lens.run_with_cache(torch.tensor(SOURCE)[None])
        before = lens(tokens)[0, -1, 5]

        def of(helper):
            return (helper(lens, tokens, cache, lambda z: z[0, -1, 5]) - before).numpy()

        return {
            "tl_resid_pre": of(patching.get_act_patch_resid_pre),
            "tl_mlp_out": of(patching.get_act_patch_mlp_out),
            "tl_heads_by_pos": of(patching.get_act_patch_attn_head_out_by_pos),
        }


def main():
    torch.manual_seed(0)
    (GOLDEN / "sweep").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32"):
        folder = str(GOLDEN / "parity" / name)
        s = Sweep(folder)
        arrays = {"-".join(case): sweep(s, *case) for case in CASES}
        for key, value in patching_helpers(folder, s.model.config).items():
            if key == "tl_heads_by_pos":  # [L, T, H] there
                value = value.transpose(0, 2, 1)
            ours = arrays[key[3:] + "-patch-logit"][0]
            print(name, key, np.abs(value - ours).max())
            assert np.abs(value - ours).max() < 1e-4
            arrays[key] = np.ascontiguousarray(value, np.float64)
        save_file({k: np.ascontiguousarray(v, np.float64) for k, v in arrays.items()},
                  GOLDEN / "sweep" / f"{name}.safetensors")


if __name__ == "__main__":
    main()
