#!/usr/bin/env python3
"""Golden arrays of the plugin attention: statistics and splits in float64, detectors by
TransformerLens.

    tests/tools/make_attention_golden.py          writes tests/golden/attention/

The splits build every writer, normalize it with the row's own sigma and project it; nothing is
pulled back. Two prompts: one text, and one token followed by two copies of four tokens.
"""
import pathlib

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from transformer_lens.head_detector import detect_head
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model
from make_parity_golden import open_lens, open_transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
TEXT = [3, 41, 7, 3, 60, 7, 3]
COPIES = [0, 9, 55, 23, 70, 9, 55, 23, 70]
HEAD, ROW, KEY = 1, 5, 3  # of the last layer


def statistics(pattern, tokens):
    """pattern [L, H, T, T] -> [L, H, T, 6]"""
    rows = len(tokens)
    out = np.full(pattern.shape[:3] + (6,), np.nan)
    for k in range(rows):
        a = pattern[:, :, k, :k + 1]
        safe = np.where(a > 0, a, 1)
        out[..., k, 0] = -(a * np.log(safe)).sum(-1)
        out[..., k, 1] = (a * (k - np.arange(k + 1))).sum(-1)
        out[..., k, 2], out[..., k, 3] = a[..., 0], a[..., k]
        if k > 0:
            out[..., k, 4] = a[..., k - 1]
        out[..., k, 5] = sum((a[..., j] for j in range(k) if tokens[j] == tokens[k]),
                             np.zeros(a.shape[:2]))
    return out


def attracts(pattern):
    rows = pattern.shape[-1]
    out = np.full(pattern.shape[:3], np.nan)
    for j in range(rows - 1):
        out[..., j] = pattern[:, :, j + 1:, j].sum(-1) / (rows - 1 - j)
    return out


def detectors(lens, tokens):
    """TransformerLens's own detector. It takes text, so the tokens replace the tokenizer."""
    ids = torch.tensor(tokens)[None]
    lens.to_tokens = lambda *a, **k: ids
    kinds = ("induction_head", "previous_token_head", "duplicate_token_head")
    return np.stack([detect_head(lens, "x", kind).numpy() for kind in kinds], -1).astype(float)


def scores(pattern, size):
    first = pattern.shape[-1] - 2 * size
    second = np.arange(first + size, first + 2 * size)
    by = pattern[:, :, second, second - size + 1]
    later = np.arange(1, pattern.shape[-1])
    return by, np.stack([by.mean(-1), pattern[:, :, later, later - 1].mean(-1),
                         pattern[:, :, second, second - size].mean(-1)], -1)


def writers(model, run, layer):
    """[components, T, N] as the hooks give them, with separate biases."""
    c, parts = model.config, [run["hook_embed"]]
    for l in range(layer):
        parts += list(run[f"blocks.{l}.attn.hook_result"].transpose(1, 0, 2))
        bias = model.weights.get(f"layers.{l}.attention.dense.bias", np.zeros(c["d_model"]))
        parts += [np.broadcast_to(bias, parts[0].shape), run[f"blocks.{l}.hook_mlp_out"]]
    return np.stack(parts)


def split(model, run, layer, head, row):
    """Shares [components, parts, keys] on both sides, relative shares, and pairs."""
    c, name = model.config, f"layers.{layer}."
    size, keys = c["d_head"], row + 1
    fused = model.weights[name + "attention.query_key_value.weight"].reshape(
        c["n_heads"], 3, size, c["d_model"])[head]
    bias = model.weights.get(name + "attention.query_key_value.bias",
                             np.zeros(3 * c["d_model"])).reshape(c["n_heads"], 3, size)[head]
    gamma, beta = (model.weights[name + "input_layernorm." + w] for w in ("weight", "bias"))
    parts = writers(model, run, layer)
    sigma = run[f"blocks.{layer}.ln1.hook_scale"]
    x = gamma * (parts - parts.mean(-1, keepdims=True)) / sigma
    beta = np.broadcast_to(beta, x.shape[1:])[None]

    def project(which):
        y = np.concatenate([x, beta]) @ fused[which].T
        return np.concatenate([y, np.broadcast_to(bias[which], y.shape[1:])[None]])

    def rotate(y):  # [components, T, D]
        return model.rotate(y.transpose(1, 0, 2)).transpose(1, 0, 2)

    q, k = project(0), project(1)
    rq, rk = rotate(q), rotate(k)
    root = 1 / np.sqrt(size)

    def two(plain, rotated):
        return np.stack([plain * root, (rotated - plain) * root], 1)

    key = two(k[:, :keys] @ q[:, row].sum(0), rk[:, :keys] @ rq[:, row].sum(0))
    query = two(q[:, row] @ k.sum(0)[:keys].T, rq[:, row] @ rk.sum(0)[:keys].T)
    pair = np.stack([q[:, row] @ k[:, KEY].T, rq[:, row] @ rk[:, KEY].T], -1) * root
    pair[..., 1] -= pair[..., 0]
    a = run[f"blocks.{layer}.attn.hook_pattern"][head, row, :keys]
    total = run[f"blocks.{layer}.attn.hook_attn_scores"][head, row, :keys]
    for side in (key, query):
        assert np.abs(side.sum((0, 1)) - total).max() < 1e-10
    assert abs(pair.sum() - total[KEY]) < 1e-10
    out = {"pair_scores": pair}
    for label, side in (("key", key), ("query", query)):
        relative = side - (side * a).sum(-1, keepdims=True)
        assert np.abs(relative.sum((0, 1)) - np.log(a) + (a * np.log(a)).sum()).max() < 1e-10
        out[label + "_scores"], out[label + "_scores_relative"] = side, relative
    return out


def main():
    (GOLDEN / "attention").mkdir(exist_ok=True)
    for name in ("parallel_f32", "sequential_f32", "rotary_full", "rope_yarn"):
        folder = str(GOLDEN / "parity" / name)
        model = Model(folder)
        lens = open_lens(open_transformers(folder), model.config)
        layers, arrays = model.config["n_layers"], {}
        for label, tokens in (("text", TEXT), ("copies", COPIES)):
            run = model.forward(tokens)
            pattern = np.stack([run[f"blocks.{l}.attn.hook_pattern"] for l in range(layers)])
            stats = statistics(pattern, tokens)
            arrays[label + ":statistics"] = stats
            arrays[label + ":means"] = np.nanmean(stats, 2)
            arrays[label + ":means_without_first"] = stats[:, :, 1:].mean(2)
            arrays[label + ":attracts"] = attracts(pattern)
            with torch.no_grad():
                arrays[label + ":tl_detect"] = detectors(lens, tokens)
        by, three = scores(pattern, 4)
        arrays["copies:induction_by_position"], arrays["copies:scores"] = by, three
        run = model.forward(TEXT)
        for key, value in split(model, run, layers - 1, HEAD, ROW).items():
            arrays["text:" + key] = value
        save_file({k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()},
                  GOLDEN / "attention" / f"{name}.safetensors")
        print(name, sum(v.size for v in arrays.values()))


if __name__ == "__main__":
    main()
