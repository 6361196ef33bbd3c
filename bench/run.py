#!/usr/bin/env python3
"""Measures pythiascope, its rivals and the machine's limits in one run, on random models of
Pythia's shapes; writes a JSON file and, without --no-docs, docs/benchmarks.md with its plot.

Every contender is a process that has loaded its model. The contenders take turns, one measurement
each, round after round; a signal stops the waiting ones. The machine's limit is measured again
before and after each turn. Figures are ratios of the turns of one round: medians and quartiles over
rounds. The first round warms up and is discarded. Each part is written when it is complete; --keep
resumes an interrupted run.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import extras
import report
from turns import (HERE, ROOT, SHAPES, SIZE, VOCAB, gguf_file, model_folder, ours, parameters, python,
                   rival)

STEPS = {"70m": 8, "160m": 4, "410m": 2, "1.4b": 2}  # tokens of one turn of decoding
CONTEXT = 128
LENS_NEURONS = ("70m", "160m")  # shapes whose materialized neurons take an acceptable time
PARTS = ("speed", "shares", *extras.PARTS)
TASKS = {"prefill 128": 0.2, "prefill 512": 0.5, "decode": 0.3}  # shares of the time


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--shapes", help=f"default: {','.join(SHAPES)}")
    p.add_argument("--dtypes", help="default: f32,f16,bf16; bf16 only for 70m and 160m")
    p.add_argument("--parts", help=f"of {','.join(PARTS)}; default: speed,shares")
    p.add_argument("--all", action="store_true", help="all parts: everything in docs/benchmarks.md")
    p.add_argument("--quick", action="store_true",
                   help="70m and 160m in f16, few rounds, under five minutes; no docs")
    p.add_argument("--without", default="", help="contenders to omit: llama, pytorch, lens")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--budget", type=float, help="seconds of measuring per shape and type, at "
                   "least three rounds; default: 50")
    p.add_argument("--memory", type=float, default=16.0,
                   help="GB of models loaded at once; above it rivals are measured one by one")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--rivals", type=pathlib.Path, default=ROOT / "build" / "rivals",
                   help="the environment made by install_rivals.sh")
    p.add_argument("--cache", type=pathlib.Path, help="folder of generated models; default: BUILD/models")
    p.add_argument("--out", type=pathlib.Path, default=HERE / "results" / "last.json")
    p.add_argument("--keep", action="store_true", help="resume --out: skip the parts it has")
    p.add_argument("--no-docs", action="store_true", help="do not write docs/")
    p.add_argument("--docs-only", action="store_true", help="write docs/ from --out; measure nothing")
    a = p.parse_args()
    a.shapes = a.shapes or ("70m,160m" if a.quick else ",".join(SHAPES))
    a.dtypes = a.dtypes or ("f16" if a.quick else "f32,f16,bf16")
    a.budget = a.budget or (15.0 if a.quick else 50.0)
    a.no_docs = a.no_docs or a.quick
    a.cache = a.cache or a.build / "models"
    a.parts = list(PARTS) if a.all else (a.parts or "speed,shares").split(",")
    a.shapes = [s for s in a.shapes.split(",") if s]
    a.dtypes = [d for d in a.dtypes.split(",") if d]
    a.without = a.without.split(",")
    unknown = [x for given, known in ((a.shapes, SHAPES), (a.dtypes, SIZE), (a.parts, PARTS),
                                      (a.without, ("", "llama", "pytorch", "lens")))
               for x in given if x not in known]
    if unknown:
        p.error(f"unknown shape, type, part or contender: {', '.join(unknown)}")
    return a


# --- speed ---------------------------------------------------------------------------------------

def speed_rivals(a, shape, dtype):
    found = []
    if "llama" not in a.without:
        found.append(rival(a, "llama.py", "llama.cpp", shape, dtype, gguf_file(a, shape, dtype)))
    if "pytorch" not in a.without:
        folder = model_folder(a, shape, dtype)
        found.append(rival(a, "pytorch.py", "PyTorch f32", shape, "f32", folder))
        if dtype != "f32" and shape == "70m" and not a.quick:
            found.append(rival(a, "pytorch.py", f"PyTorch {dtype}", shape, dtype, folder))
    return found


def work(shape, task, dtype):
    """Operations of a prefill that ends in one row's logits, or bytes that a decoded token reads."""
    layers, n, _ = SHAPES[shape]
    if task == "decode":
        keys = CONTEXT + STEPS[shape] / 2
        return (12 * layers * n * n + VOCAB * n) * SIZE[dtype] + 2 * keys * n * layers * 4
    rows = int(task.split()[1])
    # In the last layer the rows before the last need only K and V.
    layer_rows = (layers - 1) * rows + 1
    matmuls = 2 * n * n * (12 * layer_rows + 2 * (rows - 1)) + 2 * VOCAB * n
    attention = 4 * n * ((layers - 1) * rows * (rows + 1) / 2 + rows)
    return matmuls + attention


class Turns:
    """Takes turns at one task. The machine's limit is measured between turns, so each measurement
    serves the turn before and the turn after it."""

    def __init__(self, mine, shape, task):
        self.mine, self.kind = mine, "bandwidth" if task == "decode" else "peak"
        self.question = f"decode {CONTEXT} {STEPS[shape]}" if task == "decode" else task
        self.limit = mine.ask(self.kind)

    def take(self, contender):
        """[name, seconds per pass or token, limit before, limit after]"""
        before, seconds = self.limit, contender.ask(self.question)
        self.limit = self.mine.ask(self.kind)
        return [contender.name, seconds, before, self.limit]

    def round(self, rivals):
        """pythiascope before each rival."""
        found = []
        for r in rivals or [None]:
            found += [self.take(self.mine)] + ([self.take(r)] if r else [])
        return found


def rounds_within(budget, one_round, least=3, most=41):
    return max(least, min(most, int(budget / max(one_round, 1e-6))))


def agreement(contenders):
    """Each contender's highest logits after the prompt, compared with pythiascope's."""
    answers = {}
    for c in contenders:
        words = c.text(f"logits {CONTEXT}").split()
        answers[c.name] = {int(i): float(v) for i, v in zip(words[::2], words[1::2])}
    mine = answers["pythiascope"]
    found = {}
    for name, values in answers.items():
        common = [i for i in values if i in mine]
        found[name] = {"same_top": next(iter(values)) == next(iter(mine)),
                       "common_of_five": len(common),
                       "largest_difference": max((abs(values[i] - mine[i]) for i in common),
                                                 default=None)}
    return found


def measure_speed(a, shape, dtype, rivals):
    """One group of contenders that fit into memory together."""
    contenders = [ours(a, shape, dtype)] + rivals
    opened = []
    try:
        for c in contenders:
            opened.append(c.__enter__())
        mine = opened[0]
        result = {"contenders": {c.name: c.text("about") for c in opened},
                  "agreement": agreement(opened), "tasks": {}}
        for task, part in TASKS.items():
            turns = Turns(mine, shape, task)
            turns.round(opened[1:])
            start = time.perf_counter()
            rounds = [turns.round(opened[1:])]
            n = rounds_within(part * a.budget, time.perf_counter() - start)
            while len(rounds) < n:
                rounds.append(turns.round(opened[1:]))
            result["tasks"][task] = {"work": work(shape, task, dtype), "rounds": rounds}
            print(f"  {task}: {n} rounds of {', '.join(c.name for c in opened)}", flush=True)
        return result
    finally:
        for c in opened:
            c.__exit__()


def speed(a, shape, dtype):
    """Groups: all contenders together, or pythiascope with one rival each."""
    rivals = speed_rivals(a, shape, dtype)
    total = parameters(shape) * SIZE[dtype] + sum(r.bytes for r in rivals)
    groups = [rivals] if total <= a.memory * 1e9 or len(rivals) < 2 else [[r] for r in rivals]
    measured = [measure_speed(a, shape, dtype, group) for group in groups]
    return {"groups": measured, "inside": inside(a, shape, dtype)}


def inside(a, shape, dtype):
    """bench_pass's shares, with the limit measured between kernels: {rows: {pass, matmuls}}."""
    repetitions = {"70m": 15, "160m": 9, "410m": 4, "1.4b": 1}[shape]
    lines = extras.json_lines([a.build / "bench" / "bench_pass", model_folder(a, shape, dtype),
                               "--json", "--only", "prefill", "--threads", a.threads,
                               "--repetitions", repetitions])
    return {str(x["rows"]): {"pass": x["pass_shares"], "matmuls": x["matmul_shares"]} for x in lines}


# --- the decomposition ---------------------------------------------------------------------------

def share_cases(a, shape):
    """[(contender, its cases)]; a plain pass of the same contender precedes each case."""
    found = [(ours(a, shape, "f16"), ["one", "ten", "next", "empty", "first"])]
    folder = model_folder(a, shape, "f16")
    if "pytorch" not in a.without:
        found.append((rival(a, "pytorch.py", "PyTorch f32", shape, "f32", folder),
                      ["one", "ten", "next"]))
    if "lens" not in a.without:
        found.append((rival(a, "lens.py", "TransformerLens", shape, "f32", folder),
                      ["heads", "projected"]))
    return found


def measure_shares(a, shape):
    cases = share_cases(a, shape)
    opened = []
    try:
        for c, _ in cases:
            opened.append(c.__enter__())

        def turns(contender, wanted):
            """Each case between two plain passes; a first run between two first runs."""
            found, plain = {}, contender.ask(f"rows {CONTEXT} plain")
            for case in wanted:
                like = "fresh" if case == "first" else "plain"
                before = contender.ask(f"rows {CONTEXT} {like}") if case == "first" else plain
                seconds = contender.ask(f"rows {CONTEXT} {case}")
                plain = contender.ask(f"rows {CONTEXT} {like}")
                found[case] = {"plain": 0.5 * (before + plain), "seconds": seconds}
            return found

        def one_round():
            return {c.name: turns(c, wanted) for c, wanted in cases}

        start = time.perf_counter()
        one_round()
        n = rounds_within(a.budget, time.perf_counter() - start, 2 if shape == "410m" else 3)
        rounds = [one_round() for _ in range(n)]
        print(f"  decomposition: {n} rounds of {', '.join(c.name for c in opened)}", flush=True)
        # pythiascope alone needs a small part of that time for its turns.
        mine, wanted = cases[0]
        for _ in range(10 if shape == "410m" else 20):
            rounds.append({mine.name: turns(mine, wanted)})
        if shape in LENS_NEURONS and not a.quick and "lens" not in a.without:
            for _ in range(2 if shape == "70m" else 1):
                rounds.append({"TransformerLens": turns(opened[-1], ["neurons"])})
        about = {c.name: c.text("about") for c in opened}
        return {"contenders": about, "rounds": rounds}
    finally:
        for c in opened:
            c.__exit__()


# --- all -----------------------------------------------------------------------------------------

def machine():
    found = {"system": f"{platform.system()}, {platform.machine()}", "cores": os.cpu_count(),
             "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M")}
    try:
        lines = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
        pairs = dict(line.split(":", 1) for line in lines.splitlines() if ":" in line)
        for key in ("Model name", "CPU family", "Model", "Hypervisor vendor", "L1d cache",
                    "L2 cache", "L3 cache"):
            if key in pairs:
                found[key] = pairs[key].strip()
    except (OSError, subprocess.CalledProcessError):
        found["Model name"] = platform.processor()
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                         capture_output=True, text=True, check=False)
    found["revision"] = git.stdout.strip()
    return found


def sections(a):
    """(name, function) of everything to measure."""
    for shape in a.shapes:
        if "speed" in a.parts:
            for dtype in a.dtypes:
                if dtype != "bf16" or shape in ("70m", "160m"):
                    yield f"speed/{shape}/{dtype}", lambda s=shape, d=dtype: speed(a, s, d)
        if "shares" in a.parts and shape != "1.4b":
            yield f"shares/{shape}", lambda s=shape: measure_shares(a, s)
    yield from extras.sections(a)


def main():
    a = arguments()
    results = {"machine": machine(), "sections": {}, "parts": {}}
    failed = []
    if (a.keep or a.docs_only) and a.out.exists():
        kept = json.loads(a.out.read_text())
        results = kept if a.docs_only else {**results, **{k: kept[k] for k in ("sections", "parts")}}
    if not a.docs_only:
        for program in (a.build / "bench" / "bench_worker", python(a)):
            if not program.exists():
                sys.exit(f"{program} is missing: build pythiascope in Release, run "
                         "bench/install_rivals.sh, or name the folders with --build and --rivals")
        a.out.parent.mkdir(parents=True, exist_ok=True)
        for name, function in sections(a):
            if name in results["sections"]:
                continue
            print(name, flush=True)
            started = time.perf_counter()
            try:
                results["sections"][name] = function()
            except (RuntimeError, OSError, ValueError, subprocess.CalledProcessError) as error:
                print(f"  {name} failed: {error}", flush=True)
                failed.append(name)
                continue
            minutes = (time.perf_counter() - started) / 60
            results["parts"][name] = {"minutes": minutes,
                                      "revision": results["machine"]["revision"]}
            print(f"  {minutes:.1f} minutes", flush=True)
            a.out.write_text(report.compact(results))
    print(report.text(results))
    if not a.no_docs:
        # With the rivals' interpreter, which has matplotlib.
        subprocess.run([python(a), HERE / "report.py", a.out, ROOT / "docs"], check=True)
    if failed:
        sys.exit("failed: " + ", ".join(failed) + "; run the same command with --keep to resume")


main()
