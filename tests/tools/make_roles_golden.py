#!/usr/bin/env python3
"""Golden arrays of the plugin roles, in float64: builds every map as a matrix and every stack.

    tests/tools/make_roles_golden.py          writes tests/golden/roles/
"""
import pathlib

try:
    import numpy as np
    from safetensors.numpy import save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

from gptneox_float64 import Model

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "golden"
TOKENS = [3, 41, 7, 3, 60, 7, 3, 12, 5]
DIMENSION = 3


def P(x):
    return x - x.mean(-1, keepdims=True)


def head_maps(model, layer):
    """W_K, W_V [H, D, N] and W_O [H, N, D]."""
    c, name = model.config, f"layers.{layer}."
    fused = model.weights[name + "attention.query_key_value.weight"].reshape(
        c["n_heads"], 3, c["d_head"], c["d_model"])
    out = model.weights[name + "attention.dense.weight"].reshape(
        c["d_model"], c["n_heads"], c["d_head"])
    return fused[:, 1], fused[:, 2], out.transpose(1, 0, 2)


def leading(rows):
    """The leading right singular directions and their share of the squared norm."""
    _, s, v = np.linalg.svd(np.array(rows), full_matrices=False)
    n = min(DIMENSION, int((s > 1e-6 * s[0]).sum()))
    return v[:n], (s[:n]**2).sum() / (s**2).sum()


def turn_back(model, x, position):
    """The inverse of the rotation at a position, as a matrix from the model's own rotate."""
    size = model.config["d_head"]
    units = np.zeros((position + 1, size, size))
    units[position] = np.eye(size)
    matrix = model.rotate(units)[position].T  # column i: unit i rotated
    return matrix.T @ x


def compute(model, target):
    c, run = model.config, model.forward(TOKENS)
    L, H, T, N = c["n_layers"], c["n_heads"], len(TOKENS), c["d_model"]
    table = model.weights[model.unembed]
    gamma_f, beta_f = (model.weights["final_layer_norm." + w] for w in ("weight", "bias"))
    x = [run[f"blocks.{l}.hook_resid_pre"] for l in range(L)]
    x.append(run[f"blocks.{L - 1}.hook_resid_post"])
    ids = TOKENS[1:] + [None] if target is None else [target] * T
    predictor, attractor, influencer, onward = (np.full((L + 1, T), np.nan) for _ in range(4))
    for l in range(L + 1):
        for j in range(T):
            if ids[j] is None:
                continue
            y = P(x[l][j]) / np.sqrt((P(x[l][j])**2).mean() + c["eps"]) * gamma_f + beta_f
            z = table @ y
            predictor[l, j] = z[ids[j]] - z.mean()

    def influence(l, reader, j):
        _, W_V, W_O = head_maps(model, reader)
        gamma = model.weights[f"layers.{reader}.input_layernorm.weight"]
        sigma = run[f"blocks.{reader}.ln1.hook_scale"][j]
        A = run[f"blocks.{reader}.attn.hook_pattern"]
        return sum(A[h, k, j] * np.linalg.norm(W_O[h] @ W_V[h] @ (gamma * P(x[l][j]) / sigma))
                   for h in range(H) for k in range(j + 1, T))

    for l in range(L):
        A = run[f"blocks.{l}.attn.hook_pattern"]
        for j in range(T - 1):
            attractor[l, j] = A[:, j + 1:, j].sum() / (H * (T - 1 - j))
            influencer[l, j] = influence(l, l, j)
            onward[l, j] = sum(influence(l, reader, j) for reader in range(l, L))
    roles = np.stack([predictor, attractor, influencer], -1)  # [L+1, T, 3]
    out = {"predictor": predictor, "attractor": attractor, "influencer": influencer,
           "influencer_onward": onward}
    statistics = {k: np.full((2, L + 1, 3), np.nan) for k in ("mean", "deviation", "largest")}
    largest_row = np.full((2, L + 1, 3), -1, np.int32)
    marks = np.zeros((L + 1, T), np.int32)
    for p in range(2):
        for l in range(L + 1):
            for r in range(3):
                values = roles[l, p:, r]
                if np.isnan(values).all():
                    continue
                mean, deviation = np.nanmean(values), np.nanstd(values)
                for key, value in zip(statistics, (mean, deviation, np.nanmax(values))):
                    statistics[key][p, l, r] = value
                largest_row[p, l, r] = p + np.nanargmax(values)
                if p == 1:
                    marks[l] |= (roles[l, :, r] > mean + deviation).astype(np.int32) << r
    out.update(statistics, largest_row=largest_row, map=marks)

    cosines, captured = np.full((2, L, 3, DIMENSION), np.nan), np.zeros((2, L, 3))
    mean_row = table.mean(0)
    known = sorted({i for i in ids if i is not None})
    predicts = leading([P(gamma_f * (table[i] - mean_row)) for i in known])
    for l in range(L):
        W_K, W_V, W_O = head_maps(model, l)
        gamma = model.weights[f"layers.{l}.input_layernorm.weight"]
        A, q = run[f"blocks.{l}.attn.hook_pattern"], run[f"blocks.{l}.attn.hook_rot_q"]
        influences = leading(np.concatenate(
            [P(W_O[h] @ W_V[h] * gamma) for h in range(H)]))
        for p in range(2):
            rows = []
            for j in range(p, T - 1):
                for h in range(H):
                    read = sum(A[h, k, j] * q[k, h] for k in range(j + 1, T))
                    rows.append(P(gamma * (W_K[h].T @ turn_back(model, read, j))))
            attracts = leading(rows)
            bases = [predicts, attracts, influences]
            captured[p, l] = [b[1] for b in bases]
            for i, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
                s = np.linalg.svd(bases[a][0] @ bases[b][0].T, compute_uv=False)
                cosines[p, l, i, :len(s)] = s
    out.update(cosines=cosines, captured=captured)
    return out


def main():
    (GOLDEN / "roles").mkdir(exist_ok=True)
    for name, target in (("parallel_f32", None), ("sequential_f32", 5), ("rotary_full", None)):
        out = compute(Model(str(GOLDEN / "parity" / name)), target)
        out = {"roles." + k: np.ascontiguousarray(v, v.dtype if v.dtype == np.int32 else np.float32)
               for k, v in out.items()}
        save_file(out, GOLDEN / "roles" / f"{name}.safetensors")
        print(name, {k: v.shape for k, v in out.items()})


if __name__ == "__main__":
    main()
