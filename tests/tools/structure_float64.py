"""Trees of minimal cuts in float64 with numpy: the reference of the plugin spans.

Written from the formulas, independent of the runtime. Arrays over rows and keys are [row, key].
  reads    R^l_kj = sum_h A^{l,h}_kj |W_O,h v_j|, or sum_h A^{l,h}_kj (weight)
  cut      c(s) = sum of R over k in s+1..b, j in a..s, over (tokens of s+1..b) (tokens of a..s)^power
  tree     brackets in pre-order: (begin, end, split, strength, margin); units, both ends included
"""
try:
    import numpy as np
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

LEVELS = ("0", "1", "2", "3", "1+2")


def reads(model, out, layer, weight=False):
    """R [T, T] of one layer; out is what Model.forward returned for a sequence with BOS in row 0."""
    c, at = model.config, f"blocks.{layer}.attn."
    pattern = out[at + "hook_pattern"]
    if weight:
        return pattern.sum(0)
    by_head = model.weights[f"layers.{layer}.attention.dense.weight"].reshape(
        c["d_model"], c["n_heads"], c["d_head"])
    size = np.linalg.norm(np.einsum("nhd,jhd->hjn", by_head, out[at + "hook_v"]), axis=-1)
    return np.einsum("hkj,hj->kj", pattern, size)


def level_reads(model, out, level, weight=False):
    """The sum over a level's layers, "1+2"; row and key 0 are left out."""
    total = sum(reads(model, out, int(layer), weight) for layer in level.split("+"))
    return total[1:, 1:]


def unit_reads(R, begin):
    """R over tokens -> R over units; unit u holds tokens begin[u]..begin[u+1]-1."""
    starts = np.asarray(begin[:-1])
    return np.add.reduceat(np.add.reduceat(R, starts, 0), starts, 1)


def cuts(R, sizes, a, b, power):
    """c(s) of every s in a..b-1."""
    block, n = R[a:b + 1, a:b + 1], b - a
    right = np.cumsum(sizes[a:b + 1][::-1])[::-1][1:]
    left = np.cumsum(sizes[a:b + 1])[:-1]
    mass = np.array([block[s + 1:, :s + 1].sum() for s in range(n)])
    return mass / (right * left**power)


def tree(R, sizes, power):
    """Brackets in pre-order; strength is the least c, margin (next c - least c) / least c."""
    sizes, brackets = np.asarray(sizes, float), []

    def split(a, b):
        if a == b:
            return
        c = cuts(R, sizes, a, b, power)
        s = int(np.argmin(c))
        rest = np.delete(c, s)
        margin = (rest.min() - c[s]) / c[s] if len(rest) and c[s] > 0 else np.inf
        brackets.append((a, b, a + s, c[s], margin))
        split(a, a + s)
        split(a + s + 1, b)

    split(0, len(sizes) - 1)
    return brackets


def closure(model, out):
    """[layers, T - 1]: -mean over heads and k > t of A_k,t-1 at t - 1; 0 at the last row; without BOS."""
    rows = []
    for layer in range(model.config["n_layers"]):
        pattern = out[f"blocks.{layer}.attn.hook_pattern"].mean(0)
        later = [pattern[t + 2:, t] for t in range(1, len(pattern))]
        rows.append([-x.mean() if len(x) else 0.0 for x in later])
    return np.array(rows)


def character_class(c):
    return "space" if c.isspace() else "letter" if c.isalpha() else "digit" if c.isdigit() else "other"


def word_begins(pieces):
    """The first token of every word, and the number of tokens; pieces are the tokens' texts (ASCII)."""
    begin = [i for i, piece in enumerate(pieces)
             if i == 0 or piece[0] in " \n"
             or character_class(piece[0]) != character_class(pieces[i - 1][-1])]
    return begin + [len(pieces)]
