#!/usr/bin/env python3
"""The second start: from process start to the first token, against transformers, in one run.

    bench/start.py PROGRAM [--shape 410m] [--model DIR] [--rounds 5] [--json]

Without --model, makes a random f16 model of the shape (tools/make_model.py). Starts PROGRAM once so
that it caches the packed weights. Then two processes take turns: PROGRAM, which prints one token,
and this Python, which imports torch and transformers, loads the model in the file's type and
computes the same prompt. The page cache holds the files for both. Prints medians, spread, and the
ratio with and without Python's imports. Needs torch, transformers and numpy.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PROMPT = [(2654435761 * (t + 1)) % 50000 for t in range(16)]
RIVAL = """
import json, sys, time
start = time.perf_counter()
import torch, transformers
imported = time.perf_counter()
transformers.logging.set_verbosity_error()
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float16)
loaded = time.perf_counter()
with torch.no_grad():
    token = int(model(torch.tensor([json.loads(sys.argv[2])])).logits[0, -1].argmax())
print(json.dumps([imported - start, loaded - imported, time.perf_counter() - loaded, token]))
"""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("program", type=pathlib.Path)
    p.add_argument("--shape", default="410m")
    p.add_argument("--model", type=pathlib.Path, help="a folder with f16 weights")
    p.add_argument("--tokenizer", type=pathlib.Path,
                   default=pathlib.Path(__file__).parent.parent
                   / "tests/golden/tokenizer/gpt-neox-20b.tokenizer.json")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--json", action="store_true", help="print one JSON object on one line")
    return p.parse_args()


def make_model(a, folder):
    tool = pathlib.Path(__file__).parent.parent / "tools/make_model.py"
    subprocess.run([sys.executable, tool, folder, a.shape, "--dtype", "f16", "--tokenizer",
                    a.tokenizer], check=True)
    return folder


def our_start(a, model, cache):
    command = [a.program, "generate", "--model", model, "--cache-dir", cache, "--n", "1",
               "--tokens", ",".join(map(str, PROMPT))]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def rival_start(model):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RIVAL, model, json.dumps(PROMPT)], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=os.environ | {"HF_HUB_OFFLINE": "1"})
    whole = time.perf_counter() - start
    imports, load, forward, _ = json.loads(done.stdout.splitlines()[-1])
    return whole, imports, load, forward


def main():
    a = arguments()
    work = pathlib.Path(tempfile.mkdtemp(prefix="psc-start-"))
    try:
        model = a.model or make_model(a, work / "model")
        first = our_start(a, model, work / "kept")
        ours, theirs = [], []
        rival_start(model)
        for _ in range(a.rounds):
            ours.append(our_start(a, model, work / "kept"))
            theirs.append(rival_start(model))
    finally:
        shutil.rmtree(work)
    whole, imports, load, forward = (statistics.median(t[i] for t in theirs) for i in range(4))
    second = statistics.median(ours)
    inside = statistics.median(t[2] + t[3] for t in theirs)
    ratio, inner = second / whole, second / inside
    if a.json:
        print(json.dumps({"first": first, "second": ours, "transformers": theirs,
                          "ratios": [x / t[0] for x, t in zip(ours, theirs)],
                          "ratios_without_imports": [x / (t[2] + t[3])
                                                     for x, t in zip(ours, theirs)]}))
        return
    print(f"first start, packing and writing the file   {first:7.2f} s")
    print(f"second start to the first token             {second:7.3f} s "
          f"({min(ours):.3f} to {max(ours):.3f})")
    print(f"transformers: process {whole:.2f} s, of which imports {imports:.2f}, "
          f"from_pretrained {load:.2f}, first forward {forward:.2f}")
    print(f"ratio to the process {ratio:.3f}; to loading and the forward pass only {inner:.3f}")


if __name__ == "__main__":
    main()
