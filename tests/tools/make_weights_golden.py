#!/usr/bin/env python3
"""Golden figures of the plugin weights, in float64, from whole [N, N] and [V, V] matrices.

    tests/tools/make_weights_golden.py          writes tests/golden/weights/

The model `narrow` is made here: fewer tokens than dimensions, so that the frames do not span, and
one layer. Figures that TransformerLens also has are asserted here: composition scores, eigenvalues
of the full OV circuit and singular values, with fold_ln=True (gamma folded, readers centered).
Writers are centered as by center_writing_weights, which centers W_O over d_model.
"""
import pathlib
import shutil
import subprocess
import sys

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from transformer_lens import FactoredMatrix
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model, frequencies
from make_parity_golden import open_lens, open_transformers
from parity_models import MAKER

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
MODELS = ("parallel_f32", "sequential_f32", "odd_sizes", "tied_f32", "no_attention_bias",
          "rotary_full", "narrow", "rope_yarn")
NARROW = "--layers 1 --d-model 16 --heads 2 --d-mlp 8 --vocab 12 --context 8 --dtype f16 --seed 20"
GIVEN = (5, 11)
OFFSET, TOP, TRIPLES = 3, 4, 2


def centered(x):
    return x - x.mean(-1, keepdims=True)


def effective_rank(s):
    p = s / s.sum()
    p = p[p > 0]
    return np.exp(-(p * np.log(p)).sum())


def singular_values(x, n):
    s = np.linalg.svd(x, compute_uv=False)
    return np.concatenate([s, np.zeros(n - len(s))])


class Weights:
    """Q, K, V [L, H, d, N], gamma folded, rows centered; O [L, H, N, d], columns centered."""
    def __init__(self, folder):
        self.model = Model(folder)
        c, w = self.model.config, self.model.weights
        heads, d, n = c["n_heads"], c["d_head"], c["d_model"]
        self.E = w["embed_in.weight"]
        self.t_bar = w[self.model.unembed]
        self.U = centered(self.t_bar * w["final_layer_norm.weight"])
        parts, self.O, self.W_in, self.W_out = [], [], [], []
        for layer in range(c["n_layers"]):
            at = f"layers.{layer}."
            gamma = w[at + "input_layernorm.weight"]
            qkv = w[at + "attention.query_key_value.weight"].reshape(heads, 3, d, n)
            parts.append(centered(qkv * gamma))
            out = w[at + "attention.dense.weight"].reshape(n, heads, d).transpose(1, 0, 2)
            self.O.append(out - out.mean(1, keepdims=True))
            self.W_in.append(centered(w[at + "mlp.dense_h_to_4h.weight"] *
                                      w[at + "post_attention_layernorm.weight"]))
            out = w[at + "mlp.dense_4h_to_h.weight"]
            self.W_out.append(out - out.mean(0, keepdims=True))
        self.Q, self.K, self.V = np.array(parts).transpose(2, 0, 1, 3, 4)
        self.O = np.array(self.O)

    def turned_keys(self, offset):
        """K for a key `offset` positions back: the score's rotation by -offset on the d axis."""
        n, d = self.model.config["rotary_dims"], self.K.shape[2]
        frequency, scale = frequencies(self.model.config)
        turn = np.eye(d)
        for i in range(n // 2):
            angle = -offset * frequency[i]
            j = i + n // 2
            turn[[i, i, j, j], [i, j, i, j]] = np.array(
                [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]) * scale**2
        return turn @ self.K


def composition(w, offset):
    K = w.turned_keys(offset)
    QK, OV = w.Q.swapaxes(2, 3) @ K, w.O @ w.V
    layers, heads = QK.shape[:2]
    out = np.full((3, layers, heads, layers, heads), np.nan)
    norm = np.linalg.norm
    for l in range(layers):
        for h in range(heads):
            for l2 in range(l + 1, layers):
                for h2 in range(heads):
                    for kind, a in enumerate((QK[l2, h2].T, QK[l2, h2], OV[l2, h2])):
                        out[kind, l, h, l2, h2] = norm(a @ OV[l, h]) / norm(a) / norm(OV[l, h])
    return out


def eigenvalues(w):
    """The d largest of W_U W_OV W_E [V, V], by modulus, the one above the axis first."""
    OV = w.O @ w.V
    layers, heads, d = w.V.shape[:3]
    out = np.zeros((layers, heads, d), complex)
    for l in range(layers):
        for h in range(heads):
            e = np.linalg.eigvals(w.U @ OV[l, h] @ w.E.T)
            e = e[np.argsort(-np.abs(e), kind="stable")][:d]
            out[l, h] = e
    return out


def nearest(rows, direction, signs=False, without=None):
    length = np.linalg.norm(rows, axis=1)
    cosine = rows @ direction / np.where(length > 0, length, 1) / np.linalg.norm(direction)
    value = np.abs(cosine) if signs else cosine.copy()
    if without is not None:
        value[without] = -np.inf
    ids = np.argsort(-value, kind="stable")[:TOP]
    return ids, cosine[ids]


def triples(a):
    """Leading singular triples [(value, left, right)]; right's largest component is positive."""
    u, s, vt = np.linalg.svd(a)
    out = []
    for k in range(TRIPLES):
        sign = np.sign(vt[k][np.abs(vt[k]).argmax()])
        out.append((s[k], sign * u[:, k], sign * vt[k]))
    return out


def heads_golden(w, arrays):
    QK, OV = w.Q.swapaxes(2, 3) @ w.turned_keys(0), w.O @ w.V
    layers, heads = QK.shape[:2]
    sides = {"qk_query": 1, "qk_key": 2, "ov_write": 1, "ov_read": 2}
    for name, which in sides.items():
        circuit = QK if name.startswith("qk") else OV
        rows = w.U if name == "ov_write" else centered(w.E)
        found = [[[t[which] for t in triples(circuit[l, h])] for h in range(heads)]
                 for l in range(layers)]
        ids = [[[nearest(rows, x, True) for x in head] for head in layer] for layer in found]
        arrays[name] = np.array(found)
        arrays[name + "_tokens"] = np.array([[[i for i, _ in h] for h in l] for l in ids], np.int32)
        arrays[name + "_cosines"] = np.array([[[c for _, c in h] for h in l] for l in ids])
        arrays[name[:2] + "_values"] = np.array(
            [[[t[0] for t in triples(circuit[l, h])] for h in range(heads)] for l in range(layers)])


def frames_golden(w, arrays):
    n = w.E.shape[1]
    basis = np.linalg.svd(np.ones((1, n)))[2][1:]  # a basis of 1's complement
    frames = []
    for rows in (w.E, w.U @ basis.T):
        s, size = np.linalg.svd(rows, compute_uv=False), rows.shape[1]
        assert s[-1] > 1e-3 * s[0]  # the rank is clear
        frames += [s[-1]**2 if len(s) == size else 0, s[-1]**2, s[0]**2, len(s)]
    arrays["frames"] = np.array(frames)
    dual = np.linalg.pinv(w.E.T @ w.E) @ w.E.T
    pairs = [(w.E, w.t_bar), (dual.T, w.t_bar), (w.E, w.U), (dual.T, w.U)]
    arrays["dual_cosines"] = np.stack(
        [(a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
         for a, b in pairs], 1)
    arrays["dual"] = dual.T[list(GIVEN)]
    for name, rows in (("embed", w.E), ("unembed", w.U)):
        near = [nearest(rows, rows[t], without=t) for t in GIVEN]
        arrays[name + "_nearest"] = np.array([i for i, _ in near], np.int32)
        arrays[name + "_cosine"] = np.array([c for _, c in near])


def spectra_golden(w, arrays):
    n, d = w.E.shape[1], w.Q.shape[2]
    spectra = {
        "W_E": singular_values(w.E, n), "W_U": singular_values(w.U, n),
        "W_in": np.array([singular_values(x, n) for x in w.W_in]),
        "W_out": np.array([singular_values(x, n) for x in w.W_out]),
        "W_QK": np.linalg.svd(w.Q.swapaxes(2, 3) @ w.K, compute_uv=False)[..., :d],
        "W_OV": np.linalg.svd(w.O @ w.V, compute_uv=False)[..., :d]}
    for name, s in spectra.items():
        arrays["spectrum_" + name] = s
        arrays["effective_rank_" + name] = np.apply_along_axis(effective_rank, -1, s)


def check(name, got, want, limit=5e-6):
    worst = np.abs(np.asarray(got) - want).max()
    print(f"    TransformerLens {name}: {worst:.1e}")
    assert worst < limit, (name, worst)


def check_lens(folder, w, arrays):
    config = w.model.config
    lens = open_lens(open_transformers(folder), config)
    with torch.no_grad():
        for block in lens.blocks:
            block.attn.W_O -= block.attn.W_O.mean(-1, keepdim=True)
        layers, heads, d = w.V.shape[:3]
        for kind, name in enumerate("QKV" if layers > 1 else ""):
            scores = lens.all_composition_scores(name).numpy()
            want = arrays["composition"][kind]
            later = ~np.isnan(want)
            check(name + "-composition", scores[later], want[later])
        full = FactoredMatrix(lens.W_E @ lens.W_V.reshape(layers, heads, -1, d),
                              lens.W_O @ lens.W_U)
        e = full.eigenvalues.numpy()
        check("copying", (e.sum(-1) / np.abs(e).sum(-1)).real, arrays["copying"])
        check("S of W_OV", lens.OV.svd()[1].numpy(), arrays["spectrum_W_OV"])
        check("S of W_QK", lens.QK.svd()[1].numpy(), arrays["spectrum_W_QK"])


def main():
    (GOLDEN / "weights").mkdir(exist_ok=True)
    for name in MODELS:
        folder = str(GOLDEN / ("weights" if name == "narrow" else "parity") / name)
        if name == "narrow":
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, MAKER, folder] + NARROW.split(), check=True)
        print(name)
        w = Weights(folder)
        arrays = {"composition": composition(w, 0), "composition_turned": composition(w, OFFSET)}
        e = eigenvalues(w)
        arrays["moduli"] = np.abs(e)
        arrays["copying"] = e.real.sum(-1) / np.abs(e).sum(-1)
        frames_golden(w, arrays)
        spectra_golden(w, arrays)
        if name in ("parallel_f32", "odd_sizes"):
            heads_golden(w, arrays)
        check_lens(folder, w, arrays)
        if name not in (MODELS[0], "narrow"):  # files stay small
            for key in ("dual_cosines", "moduli", "qk_query", "qk_key", "ov_read", "ov_write"):
                arrays.pop(key, None)
        save_file({k: np.ascontiguousarray(v if v.dtype == np.int32 else v.astype(np.float64))
                   for k, v in arrays.items()}, GOLDEN / "weights" / f"{name}.safetensors")


if __name__ == "__main__":
    main()
