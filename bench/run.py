#!/usr/bin/env python3
"""Measures pythiascope, its rivals and the machine's limits in one run, on random models of Pythia's
shapes; writes a JSON file and, unless told not to, docs/benchmarks.md with its plot.

Every contender is a process that has loaded its model. They take turns, one measurement each, round
after round; who is not at work is stopped by a signal. Before each turn the machine's limit of that
kind is measured anew. Figures are ratios of the turns of one round: medians and quartiles over
rounds. The first round warms up and is thrown away.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
SHAPES = {"70m": (6, 512, 8), "160m": (12, 768, 12), "410m": (24, 1024, 16), "1.4b": (24, 2048, 16)}
VOCAB = 50304
SIZE = {"f32": 4, "f16": 2, "bf16": 2}
STEPS = {"70m": 16, "160m": 12, "410m": 8, "1.4b": 4}  # tokens of one turn of decoding
CONTEXT = 128
LENS_NEURONS = ("70m", "160m")  # where materialised neurons can be waited for
TASKS = ("prefill 128", "prefill 512", "decode")


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--shapes", help=f"default: {','.join(SHAPES)}")
    p.add_argument("--dtypes", help="default: f32,f16,bf16; bf16 only for 70m and 160m")
    p.add_argument("--parts", default="speed,shares",
                   help="speed: prefill and decode; shares: the decomposition. Default: both")
    p.add_argument("--quick", action="store_true",
                   help="70m and 160m in f16, few rounds, under five minutes; no docs")
    p.add_argument("--without", default="", help="contenders to leave out: llama, pytorch, lens")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--budget", type=float, help="seconds of measuring for each shape and type, at "
                   "least three rounds; default: 50")
    p.add_argument("--memory", type=float, default=16.0,
                   help="GB of models loaded at once; beyond it rivals meet pythiascope in turn")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--rivals", type=pathlib.Path, default=ROOT / "build" / "rivals",
                   help="the environment made by install_rivals.sh")
    p.add_argument("--cache", type=pathlib.Path, help="where models are kept; default: BUILD/models")
    p.add_argument("--out", type=pathlib.Path, default=HERE / "results" / "last.json")
    p.add_argument("--keep", action="store_true", help="go on with --out: skip what it has")
    p.add_argument("--no-docs", action="store_true", help="leave docs/ alone")
    p.add_argument("--docs-only", action="store_true", help="write docs/ from --out; measure nothing")
    a = p.parse_args()
    a.shapes = a.shapes or ("70m,160m" if a.quick else ",".join(SHAPES))
    a.dtypes = a.dtypes or ("f16" if a.quick else "f32,f16,bf16")
    a.budget = a.budget or (15.0 if a.quick else 50.0)
    a.no_docs = a.no_docs or a.quick
    a.cache = a.cache or a.build / "models"
    a.shapes = [s for s in a.shapes.split(",") if s]
    a.dtypes = [d for d in a.dtypes.split(",") if d]
    a.without = a.without.split(",")
    unknown = [s for s in a.shapes if s not in SHAPES] + [d for d in a.dtypes if d not in SIZE]
    if unknown:
        p.error(f"unknown shape or type: {', '.join(unknown)}")
    return a


# --- models --------------------------------------------------------------------------------------

def parameters(shape):
    layers, n, _ = SHAPES[shape]
    return 12 * layers * n * n + 2 * VOCAB * n


def model_folder(a, shape, dtype):
    folder = a.cache / f"{shape}-{dtype}"
    if not (folder / "config.json").exists() or not list(folder.glob("*.safetensors")):
        print(f"making {folder}", flush=True)
        partial = a.cache / f"{shape}-{dtype}.partial"
        subprocess.run(["rm", "-rf", partial], check=True)
        a.cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([python(a), ROOT / "tools" / "make_model.py", partial, shape,
                        "--dtype", dtype], check=True, stdout=subprocess.DEVNULL)
        partial.rename(folder)
    return folder


def gguf_file(a, shape, dtype):
    path = a.cache / f"{shape}-{dtype}.gguf"
    if not path.exists():
        print(f"making {path}", flush=True)
        subprocess.run([python(a), HERE / "rivals" / "gguf_model.py",
                        model_folder(a, shape, dtype), path], check=True)
    return path


def python(a):
    return a.rivals / "bin" / "python"


# --- contenders ----------------------------------------------------------------------------------

class Contender:
    """A process that answers a line with a line; stopped between its turns."""

    def __init__(self, name, command, bytes_loaded, env):
        self.name, self.command, self.bytes = name, [str(c) for c in command], bytes_loaded
        self.env, self.process = env, None

    def __enter__(self):
        env = {**os.environ, **self.env}
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_DEBUG") else None)
        if self.read() != "ready":
            raise RuntimeError(f"{self.name} does not start: {' '.join(self.command)}")
        self.stop()
        return self

    def __exit__(self, *_):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {' '.join(self.command)}")
        return line.strip()

    def text(self, question):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        answer = self.read()
        self.stop()
        return answer

    def ask(self, question):
        return float(self.text(question))


def ours(a, shape, dtype):
    return Contender("pythiascope", [a.build / "bench" / "bench_worker",
                                     model_folder(a, shape, dtype), a.threads],
                     parameters(shape) * SIZE[dtype], {})


def rival(a, script, name, shape, dtype, path):
    # No rival may use more threads than it is given, by whatever library.
    env = {"OMP_NUM_THREADS": str(a.threads), "MKL_NUM_THREADS": str(a.threads),
           "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    return Contender(name, [python(a), HERE / "rivals" / script, path, dtype, a.threads],
                     parameters(shape) * SIZE[dtype], env)


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


# --- speed ---------------------------------------------------------------------------------------

def work(shape, task, dtype):
    """Operations of a prefill that ends in one row's logits, or bytes that a decoded token reads."""
    layers, n, _ = SHAPES[shape]
    if task == "decode":
        keys = CONTEXT + STEPS[shape] / 2
        return (12 * layers * n * n + VOCAB * n) * SIZE[dtype] + 2 * keys * n * layers * 4
    rows = int(task.split()[1])
    # In the last layer only K and V are needed of the rows before the last.
    layer_rows = (layers - 1) * rows + 1
    matmuls = 2 * n * n * (12 * layer_rows + 2 * (rows - 1)) + 2 * VOCAB * n
    attention = 4 * n * ((layers - 1) * rows * (rows + 1) / 2 + rows)
    return matmuls + attention


def turn(limits, contender, shape, task):
    """{seconds a pass or a token, limit}: the limit is the mean of before and after."""
    kind = "bandwidth" if task == "decode" else "peak"
    question = f"decode {CONTEXT} {STEPS[shape]}" if task == "decode" else task
    before = limits.ask(kind)
    seconds = contender.ask(question)
    return {"seconds": seconds, "limit": 0.5 * (before + limits.ask(kind))}


def rounds_within(budget, one_round, least=3, most=21):
    return max(least, min(most, int(budget / max(one_round, 1e-6))))


def agreement(contenders):
    """Each contender's highest logit after the prompt, beside pythiascope's."""
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
        for task in TASKS:
            for c in opened:
                turn(mine, c, shape, task)
            start = time.perf_counter()
            first = {c.name: turn(mine, c, shape, task) for c in opened}
            share = {"prefill 128": 0.2, "prefill 512": 0.5, "decode": 0.3}[task] * a.budget
            n = rounds_within(share, time.perf_counter() - start)
            rounds = [first]
            while len(rounds) < n:
                rounds.append({c.name: turn(mine, c, shape, task) for c in opened})
            result["tasks"][task] = {"work": work(shape, task, dtype), "rounds": rounds}
            print(f"  {task}: {n} rounds of {', '.join(c.name for c in opened)}", flush=True)
        return result
    finally:
        for c in opened:
            c.__exit__()


def speed(a, shape, dtype):
    """Groups: all together, or pythiascope with each rival in turn."""
    rivals = speed_rivals(a, shape, dtype)
    total = parameters(shape) * SIZE[dtype] + sum(r.bytes for r in rivals)
    groups = [rivals] if total <= a.memory * 1e9 or len(rivals) < 2 else [[r] for r in rivals]
    measured = [measure_speed(a, shape, dtype, group) for group in groups]
    return {"groups": measured, "matmuls": matmul_shares(a, shape, dtype)}


def matmul_shares(a, shape, dtype):
    """bench_pass's own measurement of the matmuls inside a prefill of 512."""
    program = a.build / "bench" / "bench_pass"
    if not program.exists() or dtype == "bf16":
        return None
    repetitions = {"70m": 9, "160m": 7, "410m": 3, "1.4b": 1}[shape]
    run = subprocess.run([program, model_folder(a, shape, dtype), "--json", "--only", "prefill",
                          "--threads", str(a.threads), "--repetitions", str(repetitions)],
                         capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return {str(x["rows"]): x["matmul_share_of_peak"] for x in lines} or None


# --- the decomposition ---------------------------------------------------------------------------

def share_cases(a, shape):
    """[(contender, its cases)]; each case follows a plain pass of the same contender."""
    found = [(ours(a, shape, "f16"), ["one", "ten", "next", "empty"])]
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
    rounds, slow = [], []
    try:
        for c, _ in cases:
            opened.append(c.__enter__())

        def one(contender, case):
            plain = contender.ask(f"rows {CONTEXT} plain")
            return {"plain": plain, "seconds": contender.ask(f"rows {CONTEXT} {case}")}

        def one_round():
            return {c.name: {case: one(c, case) for case in wanted} for c, wanted in cases}

        start = time.perf_counter()
        one_round()
        n = rounds_within(a.budget, time.perf_counter() - start, 3 if a.quick else 4)
        rounds = [one_round() for _ in range(n)]
        print(f"  decomposition: {n} rounds of {', '.join(c.name for c in opened)}", flush=True)
        # Pythiascope alone takes its turns in a small part of that time.
        mine, wanted = cases[0]
        for _ in range(n if a.quick else 2 * n):
            rounds.append({mine.name: {case: one(mine, case) for case in wanted}})
        if shape in LENS_NEURONS and not a.quick and "lens" not in a.without:
            slow = [one(opened[-1], "neurons") for _ in range(2 if shape == "70m" else 1)]
        about = {c.name: c.text("about") for c in opened}
        if slow:
            rounds += [{"TransformerLens": {"neurons": s}} for s in slow]
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


def main():
    a = arguments()
    results = {"machine": machine(), "sections": {}}
    if (a.keep or a.docs_only) and a.out.exists():
        results["sections"] = json.loads(a.out.read_text())["sections"]
        if a.docs_only:
            results = json.loads(a.out.read_text())
    started = time.perf_counter()
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
            results["sections"][name] = function()
            a.out.write_text(report.compact(results))
        print(f"measured in {(time.perf_counter() - started) / 60:.1f} minutes: {a.out}")
    print(report.text(results))
    if not a.no_docs:
        # By the rivals' interpreter, which has matplotlib.
        subprocess.run([python(a), HERE / "report.py", a.out, ROOT / "docs"], check=True)


main()
