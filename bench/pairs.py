#!/usr/bin/env python3
"""Patching every head over a set of pairs: the plugin sweep against a loop of TransformerLens.

    RIVALS/bin/python bench/pairs.py MODEL_FOLDER --build BUILD [--pairs 8] [--tokens 20]

Both patch each head's z on all rows from the pair's other prompt and measure the logit difference of
the pair's two targets at the last row. The pairs are those of bench_pairs_cost, and so are the times:
processor time of all threads, models open. install_rivals.sh makes the folder RIVALS.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import time

import torch
from transformer_lens import patching

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


def loop(lens, n, tokens, differ):
    """Processor seconds of TransformerLens over n pairs."""
    start = time.process_time()
    for i in range(n):
        clean, corrupt, (a, b) = pair(i, tokens, differ, lens.cfg.d_vocab)
        _, cache = lens.run_with_cache(corrupt)
        patching.get_act_patch_attn_head_out_all_pos(
            lens, clean, cache, lambda z, a=a, b=b: z[0, -1, a] - z[0, -1, b])
    return time.process_time() - start


def ours(a):
    text = subprocess.run(
        [a.build / "bench" / "bench_pairs_cost", a.model, "--pairs", str(a.pairs), "--tokens",
         str(a.tokens), "--differ", str(a.differ), "--threads", str(a.threads), "--rounds", "1",
         "--sweep", "over=heads,do=patch"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"set ([\d.]+) s", text)[1])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--pairs", type=int, default=8)
    p.add_argument("--tokens", type=int, default=20)
    p.add_argument("--differ", type=int, default=5)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    ratios = []
    with torch.inference_mode():
        lens = open_lens(a.model)
        for _ in range(a.rounds):
            theirs, mine = loop(lens, a.pairs, a.tokens, a.differ), ours(a)
            ratios.append(theirs / mine)
            print(f"{a.pairs} pairs of {a.tokens} tokens, over=heads: TransformerLens {theirs:.1f} s, "
                  f"pythiascope {mine:.1f} s, {ratios[-1]:.1f} times", flush=True)
    print(f"median {sorted(ratios)[len(ratios) // 2]:.1f} times, {min(ratios):.1f} to "
          f"{max(ratios):.1f}")


main()
