#!/usr/bin/env python3
"""Scores of continuations: pythiascope in lm-evaluation-harness against transformers in it.

    PYTHONPATH=python bench/score_cost.py --blimp FOLDER [--model DIR ...] [--per 20] [--turns 3]

Both get the requests that the harness makes of BLiMP's task (lm_eval's delimiter, no context), the
first N pairs of each file, in one process on the same threads. First every sum is compared; then
they take turns. transformers runs in float32 at the fastest of several batch sizes. A ratio divides
one turn of it by the turn of pythiascope before it: of time, and of processor time of all threads,
which other load on the machine changes less.

Needs lm_eval, transformers, torch and accelerate (pip install "lm_eval[hf]").
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import time
from types import SimpleNamespace

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCHES = (16, 64, 256)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--blimp", type=pathlib.Path, required=True, help="folder of its .jsonl files")
    p.add_argument("--model", action="append", help="folder; default: models/books-5m")
    p.add_argument("--per", type=int, default=20, help="pairs of each file")
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    return p.parse_args()


def requests_of(folder, per):
    out = []
    for path in sorted(folder.glob("[!.]*.jsonl")):
        with open(path, encoding="utf-8") as file:
            for line in [json.loads(text) for text in file][:per]:
                for key in ("sentence_good", "sentence_bad"):
                    out.append(SimpleNamespace(args=("", " " + line[key])))
    return out


def timed(lm, requests):
    wall, cpu = time.perf_counter(), time.process_time()
    with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):
        scores = lm.loglikelihood(requests, disable_tqdm=True)
    return time.perf_counter() - wall, time.process_time() - cpu, scores


def measure(folder, given):
    import torch
    from lm_eval.models.huggingface import HFLM
    from pythiascope.harness import HarnessLM

    torch.set_num_threads(given.threads)
    requests = requests_of(given.blimp, given.per)
    ours = HarnessLM(folder, threads=given.threads)
    theirs = {}
    for batch in BATCHES:
        theirs[batch] = HFLM(
            pretrained=folder, tokenizer=folder, device="cpu", dtype="float32", batch_size=batch
        )
    few = requests[:: max(1, len(requests) // 256)]
    speed = {batch: min(timed(lm, few)[1] for _ in range(2)) for batch, lm in theirs.items()}
    best = min(speed, key=speed.get)
    rows = []
    for _ in range(given.turns):
        rows.append((timed(ours, requests), timed(theirs[best], requests)))
    (_, _, mine), (_, _, other) = rows[0]
    worst = max(abs(a[0] - b[0]) for a, b in zip(mine, other))
    judged = sum(
        (mine[i][0] >= mine[i + 1][0]) != (other[i][0] >= other[i + 1][0])
        for i in range(0, len(mine), 2)
    )
    print(
        f"{pathlib.Path(folder).name}: {len(requests)} continuations, {given.threads} threads; "
        f"transformers at batch {best}; largest difference {worst:.1e} nats, "
        f"{judged} pairs judged otherwise"
    )
    for what, i in (("time", 0), ("processor time", 1)):
        ratios = [b[i] / a[i] for a, b in rows]
        print(
            f"  {what}: pythiascope {min(a[i] for a, _ in rows):.2f} s, transformers "
            f"{min(b[i] for _, b in rows):.2f} s, ratio {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )


def main():
    given = arguments()
    for folder in given.model or [str(ROOT / "models" / "books-5m")]:
        measure(folder, given)


if __name__ == "__main__":
    main()
