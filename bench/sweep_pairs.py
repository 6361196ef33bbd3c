#!/usr/bin/env python3
"""Patching every head over a set of pairs: the plugin sweep against a loop of TransformerLens.

    RIVALS/bin/python bench/sweep_pairs.py MODEL_FOLDER --build BUILD [--pairs 8] [--count 12]

Both patch heads' z on all rows from the pair's other prompt and measure the logit difference of the
pair's two targets at the last row. pythiascope patches all heads of all pairs. TransformerLens
patches COUNT heads of each pair, spread evenly (its time per head is the same for all). Prints
processor seconds of all threads per head, models open. The pairs are those of bench_pairs_cost.
install_rivals.sh makes the folder RIVALS.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import time

try:
    import pandas
    import torch
    from transformer_lens import patching
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "rivals"))
from lens import open_lens  # noqa: E402


def token(position, n_vocab):
    return 2654435761 * (position + 1) % 2**32 % n_vocab


def pair(i, tokens, differ, n_vocab):
    """The prompts and the two targets of bench/pairs_cost.c's pair i."""
    clean = [token(i * tokens + t, n_vocab) for t in range(tokens)]
    corrupt = list(clean)
    corrupt[differ] = token(i * tokens + differ + 7777, n_vocab)
    return torch.tensor([clean]), torch.tensor([corrupt]), [token(99999 + 2 * i + k, n_vocab)
                                                            for k in (0, 1)]


def theirs(lens, a):
    """Processor seconds per head of TransformerLens's loop over the pairs."""
    layers, heads = lens.cfg.n_layers, lens.cfg.n_heads
    places = [(i // heads, i % heads) for i in range(layers * heads)]
    chosen = [places[i * len(places) // a.count] for i in range(a.count)]
    table = pandas.DataFrame(chosen, columns=("layer", "head"))
    start = time.process_time()
    for i in range(a.pairs):
        clean, corrupt, (x, y) = pair(i, a.tokens, a.differ, lens.cfg.d_vocab)
        _, cache = lens.run_with_cache(corrupt)
        patching.generic_activation_patch(
            lens, clean, cache, lambda z, x=x, y=y: z[0, -1, x] - z[0, -1, y],
            patching.layer_head_vector_patch_setter, "z", index_df=table)
    return (time.process_time() - start) / (a.pairs * a.count)


def ours(a, n_heads):
    text = subprocess.run(
        [a.build / "bench" / "bench_pairs_cost", a.model, "--pairs", str(a.pairs), "--tokens",
         str(a.tokens), "--differ", str(a.differ), "--threads", str(a.threads), "--rounds", "1",
         "--sweep", "over=heads,do=patch"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"set ([\d.]+) s", text)[1]) / (a.pairs * n_heads)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--pairs", type=int, default=8)
    p.add_argument("--tokens", type=int, default=20)
    p.add_argument("--differ", type=int, default=5)
    p.add_argument("--count", type=int, default=12)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    ratios = []
    with torch.inference_mode():
        lens = open_lens(a.model)
        n_heads = lens.cfg.n_layers * lens.cfg.n_heads
        for _ in range(a.rounds):
            slow, fast = theirs(lens, a), ours(a, n_heads)
            ratios.append(slow / fast)
            print(f"{a.pairs} pairs of {a.tokens} tokens, per head: TransformerLens "
                  f"{1e3 * slow:.1f} ms, pythiascope {1e3 * fast:.1f} ms, {ratios[-1]:.1f} times",
                  flush=True)
    print(f"median {sorted(ratios)[len(ratios) // 2]:.1f} times")


main()
