#!/usr/bin/env python3
"""Golden arrays of the plugin lens, in float64.

    tests/tools/make_lens_golden.py          writes tests/golden/lens/

Logit lens: numpy, from the residuals of gptneox_float64. Affine lens: makes a params.pt in the
layout of the tuned-lens library, converts it with tools/convert_tuned_lens.py, and runs it with
torch in float64. Corpus: means and the fitted lens over the documents that
tests/analysis/test_lens_corpus.c makes.
"""
import json
import pathlib
import sys
import tempfile

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
sys.path.insert(0, str(ROOT.parent / "tools"))
from convert_tuned_lens import convert  # noqa: E402

TOKENS = [3, 41, 7, 19, 60]
TOP = 3
RIDGE = 1e-2
DOCUMENTS = [[(i * i + 7 * d * i + 3 * d) % 80 for i in range(12 + 2 * d)] for d in range(6)]


def residuals(model, tokens):
    run = model.forward(tokens)
    layers = model.config["n_layers"]
    sites = [run[f"blocks.{l}.hook_resid_pre"] for l in range(layers)]
    return np.stack(sites + [run[f"blocks.{layers - 1}.hook_resid_post"]]), run["hook_logits"]


def unembed(model, h, final_sigma):
    """h [S, T, N] -> logits [S, T, V], sigma [S, T]."""
    centered = h - h.mean(-1, keepdims=True)
    sigma = np.sqrt((centered**2).mean(-1) + model.config["eps"])
    if final_sigma:
        sigma = np.broadcast_to(sigma[-1], sigma.shape)
    x = centered / sigma[..., None] * model.weights["final_layer_norm.weight"]
    x = x + model.weights["final_layer_norm.bias"]
    return x @ model.weights[model.unembed].T, sigma


def torch_lens(model, h, state):
    """The tuned lens by torch: h + Linear(h), LayerNorm, unembedding."""
    n = h.shape[-1]
    out = []
    for layer, x in enumerate(torch.from_numpy(h)):
        if layer < h.shape[0] - 1:
            linear = torch.nn.Linear(n, n, dtype=torch.float64)
            linear.load_state_dict({k: state[f"{layer}.{k}"].double() for k in ("weight", "bias")})
            x = x + linear(x)
        x = torch.nn.functional.layer_norm(
            x, (n,), torch.from_numpy(model.weights["final_layer_norm.weight"]),
            torch.from_numpy(model.weights["final_layer_norm.bias"]), model.config["eps"])
        out.append(x @ torch.from_numpy(model.weights[model.unembed]).T)
    return torch.stack(out).detach().numpy()


def log_softmax(z):
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def target_ids(logits, tokens):
    ids = np.full((5, len(tokens), 2), -1, np.int32)
    for r in range(len(tokens)):
        order = np.argsort(-logits[r], kind="stable")
        ids[0, r, 0], ids[1, r, 0], ids[2, r, 0] = 5, order[0], order[1]
        ids[3, r, 0] = tokens[r + 1] if r + 1 < len(tokens) else -1
        ids[4, r] = 7, 9
    return ids


def rank(z, i):
    return 1 + int((z > z[i]).sum() + (z[:i] == z[i]).sum())


def distribution(z):
    """z [S, T, V] -> entropy, kl, kl_reverse [S, T]."""
    lp = log_softmax(z)
    p, final = np.exp(lp), lp[-1]
    return {"entropy": -(p * lp).sum(-1), "kl": (np.exp(final) * (final - lp)).sum(-1),
            "kl_reverse": (p * (lp - final)).sum(-1)}


def figures(z, ids):
    lp = log_softmax(z)
    order = np.argsort(-z, -1, kind="stable")[..., :TOP]
    shape = ids.shape[:1] + z.shape[:2]
    logit, log_prob = np.full(shape, np.nan), np.full(shape, np.nan)
    ranks = np.full(shape, -1, np.int32)
    for t, s, r in np.ndindex(shape):
        a, b = ids[t, r]
        if a < 0:
            continue
        logit[t, s, r] = z[s, r, a] - (z[s, r, b] if b >= 0 else 0)
        log_prob[t, s, r] = logit[t, s, r] if b >= 0 else lp[s, r, a]
        if b < 0:
            ranks[t, s, r] = rank(z[s, r], a)
    return {"top_ids": order.astype(np.int32),
            "top_probs": np.take_along_axis(np.exp(lp), order, -1), "logit": logit,
            "log_prob": log_prob, "rank": ranks, "target_ids": ids,
            "log_z": (z - lp)[..., 0], **distribution(z)}


def save(name, arrays):
    path = GOLDEN / "lens" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({"lens." + k: np.ascontiguousarray(v, np.int32 if v.dtype.kind == "i" else np.float64)
               for k, v in arrays.items()}, str(path))
    path.chmod(0o644)


def logit_lens(name):
    model = Model(str(GOLDEN / "parity" / name))
    h, logits = residuals(model, TOKENS)
    ids = target_ids(logits, TOKENS)
    for ln in ("own", "final"):
        z, sigma = unembed(model, h, ln == "final")
        assert np.allclose(z[-1], logits, atol=1e-12)
        save(f"{name}_{ln}", figures(z, ids) | {"sigma": sigma})


def affine_lens(name):
    model = Model(str(GOLDEN / "parity" / name))
    c = model.config
    generator = torch.Generator().manual_seed(5)
    state = {}
    for layer in range(c["n_layers"]):
        scale = 0.5 / c["d_model"] ** 0.5
        state[f"{layer}.weight"] = scale * torch.randn(c["d_model"], c["d_model"], generator=generator)
        state[f"{layer}.bias"] = 0.1 * torch.randn(c["d_model"], generator=generator)
    config = {"base_model_name_or_path": name, "d_model": c["d_model"],
              "num_hidden_layers": c["n_layers"], "bias": True, "base_model_revision": None,
              "unembed_hash": None, "lens_type": "linear_tuned_lens"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        torch.save(state, folder / "params.pt")
        (folder / "config.json").write_text(json.dumps(config))
        convert(folder, GOLDEN / "lens" / f"tuned_{name}")
    h, logits = residuals(model, TOKENS)
    save(f"{name}_affine", figures(torch_lens(model, h, state), target_ids(logits, TOKENS)))


def means(z, rows, documents):
    """Means over the chosen (document, row) pairs: z is a list of [S, T, V]."""
    sums, bins, leads, next_rows = {}, np.zeros((z[0].shape[0], 5)), 0.0, 0
    log_p = np.zeros(z[0].shape[0])
    for d, r in rows:
        for key, value in distribution(z[d][:, [r]]).items():
            sums[key] = sums.get(key, 0.0) + value[:, 0]
        leads = leads + (z[d][:, r].argmax(-1) == z[d][-1, r].argmax(-1))
        if r + 1 == len(documents[d]):
            continue
        token, next_rows = documents[d][r + 1], next_rows + 1
        log_p += log_softmax(z[d][:, r])[:, token]
        for s in range(z[d].shape[0]):
            bins[s, np.searchsorted([1, 10, 100, 1000], rank(z[d][s, r], token))] += 1
    out = {"mean_" + key: value / len(rows) for key, value in sums.items()}
    return out | {"mean_log_prob": log_p / next_rows, "rank_bins": bins / next_rows,
                  "top_agreement": leads / len(rows)}


def fitted(h):
    """Ridge regression on centered rows, layer by layer; h [S, rows, N]."""
    out = {}
    y = h[-1]
    for layer, x in enumerate(h[:-1]):
        xc, dc = x - x.mean(0), (y - x) - (y - x).mean(0)
        c = xc.T @ xc
        w = np.linalg.solve(c + RIDGE * np.trace(c) / len(c) * np.eye(len(c)), xc.T @ dc).T
        out[f"{layer}.weight"], out[f"{layer}.bias"] = w, (y - x).mean(0) - w @ x.mean(0)
    return out


def corpus(name):
    model = Model(str(GOLDEN / "parity" / name))
    h = [residuals(model, tokens)[0] for tokens in DOCUMENTS]
    z = [unembed(model, x, False)[0] for x in h]
    rows = [(d, r) for d, tokens in enumerate(DOCUMENTS) for r in range(len(tokens))]
    both = [means(z, rows, DOCUMENTS), means(z, [x for x in rows if x[1] > 0], DOCUMENTS)]
    save(f"{name}_corpus", {key: np.stack([b[key] for b in both]) for key in both[0]})
    save(f"{name}_fit", fitted(np.concatenate([x[:, 1:] for x in h], 1)))


def main():
    torch.manual_seed(0)
    for name in ("parallel_f32", "sequential_f32", "odd_sizes"):
        logit_lens(name)
    affine_lens("parallel_f32")
    corpus("parallel_f32")


if __name__ == "__main__":
    main()
