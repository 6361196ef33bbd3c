#!/usr/bin/env python3
"""The Python package against TransformerLens 3 and 4 and nnsight, and against the C pass under it.

    bench/python_cost.py --build BUILD --rivals FOLDER [--shapes 160m,410m] [--dtype f16] [--json]

On random models of Pythia's shapes, 128 and 512 tokens:
  cache    run_with_cache of everything. "default": what a tool keeps when asked for all; "every":
           also each head's attn.hook_result. nnsight keeps inputs and outputs of modules
  call     model(text) against bench_worker's passes: all rows' logits, and the last row's
  hook     a Python function at every hook_resid_post that does nothing, against the plain call
  memory   peak memory of a new process that opens the model and keeps everything once. "run": of
           that pass alone, weights included, without what opening the model took
  import   importing the package and opening the embedded model, after `import numpy`

Contenders are processes that take turns, the waiting ones are stopped. A ratio divides the turns of
one round; figures are medians with quartiles. "cpu" is the same ratio of processor time. The rivals
read the same files and compute in float32. Before timing, the arrays of all are compared.
install_rivals.sh makes the folder of rivals.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None
from figures import spread
from python_figures import CALLS, LENS, MINE, PASS, fastest, ratios, rivals
from turns import HERE, ROOT, Contender, environment, model_folder, python, take

ROWS, KINDS = (128, 512), ("default", "every")
BRIDGE, NNSIGHT = "TransformerLens 4.3", "nnsight"
TOOLS = {LENS: "lens", BRIDGE: "bridge", NNSIGHT: "nnsight"}
TOKENIZER = ROOT / "tests" / "golden" / "tokenizer" / "gpt-neox-20b.tokenizer.json"
CLOSE = 2e-3  # of the greatest value of an array: float32 on random models of these sizes
STARTS = """
import sys, time
import numpy
start = time.perf_counter()
import pythiascope
imported = time.perf_counter()
model = pythiascope.Model()
print(imported - start, time.perf_counter() - start)
"""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--rivals", type=pathlib.Path, default=ROOT / "build" / "rivals")
    p.add_argument(
        "--cache", type=pathlib.Path, help="folder of generated models; default: BUILD/models"
    )
    p.add_argument("--shapes", default="160m,410m")
    p.add_argument("--dtype", default="f16", help="of the files; default: f16, as Pythia's are")
    p.add_argument("--parts", default="cache,call,hook,memory,import")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--json", action="store_true", help="print one JSON object per line")
    a = p.parse_args()
    a.cache = a.cache or a.build / "models"
    a.parts, a.shapes = a.parts.split(","), [s for s in a.shapes.split(",") if s]
    return a


# --- contenders -----------------------------------------------------------------------------------


def with_tokenizer(a, shape, work):
    """The model's folder with a tokenizer, for texts."""
    folder = pathlib.Path(work) / shape
    folder.mkdir()
    for file in model_folder(a, shape, a.dtype).iterdir():
        (folder / file.name).symlink_to(file.resolve())
    if not (folder / TOKENIZER.name).exists():
        (folder / "tokenizer.json").symlink_to(TOKENIZER)
    return folder


def tool(a, name, folder):
    """A process of caches.py. TransformerLens 4 and nnsight have an environment of their own."""
    interpreter = a.rivals / "bridge" / "bin" / "python" if name in (BRIDGE, NNSIGHT) else python(a)
    return Contender(
        name,
        [
            interpreter,
            HERE / "rivals" / "caches.py",
            folder,
            a.threads,
            TOOLS.get(name, "pythiascope"),
        ],
        0,
        environment(a),
    )


def line(a, what, **fields):
    """A JSON line, or a sentence of the table."""
    if a.json:
        print(json.dumps({"bench": "python", "what": what, **fields}), flush=True)


# --- caches ---------------------------------------------------------------------------------------


def compare(contenders, kinds, n=24):
    """Compares the arrays that each rival keeps with ours; returns {rival: common arrays}."""
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for kind in kinds:
            files = {}
            for c in contenders:
                if kind == "every" and c.name == NNSIGHT:
                    continue
                path = pathlib.Path(work) / f"{c.name.replace(' ', '')}.npz"
                c.text(f"write {n} {kind} {path}")
                files[c.name] = np.load(path)
            ours = files.pop(MINE)
            for name, theirs in files.items():
                common = [key for key in ours.files if key in theirs.files]
                for key in common:
                    x, y = ours[key], theirs[key]
                    seen = y > -1e30  # not masked; one of them masks by -inf, another by its least
                    assert x.shape == y.shape, (name, key, x.shape, y.shape)
                    gap = np.abs(x[seen] - y[seen]).max() / np.abs(y[seen]).max()
                    assert gap < CLOSE, (name, key, gap)
                found[f"{name}, {kind}"] = [len(common), len(ours.files), len(theirs.files)]
    return found


def cache_rounds(a, opened, worker, n, kind):
    """{contender: [[wall, cpu], ...]}: pythiascope after the C pass and before each rival."""
    ours, *rivals = [c for c in opened if kind == "default" or c.name != NNSIGHT]
    found = {c.name: [] for c in (worker, ours, *rivals)}
    for r in range(a.rounds + 1):
        turns = [(worker, f"rows {n} plain")]
        turns += [(c, f"cache {n} {kind}") for c in (ours, *rivals)]
        for contender, question in turns:
            taken = take(contender, question)
            if r:
                found[contender.name].append(taken)
    return found


def report_caches(a, shape, n, kind, found):
    x = {
        "wall": {name: [t[0] for t in turns] for name, turns in found.items()},
        "cpu": {name: [t[1] for t in turns] for name, turns in found.items()},
    }
    line(a, "cache", shape=shape, rows=n, kind=kind, **x)
    if a.json:
        return
    times = {name: 1e3 * statistics.median(t) for name, t in x["wall"].items()}
    print(
        f"{shape}, {n} tokens, {kind}: pythiascope {times[MINE]:.0f} ms, "
        f"{spread(ratios(x, MINE, PASS))} of its pass; the fastest rival is {fastest(x)}",
        flush=True,
    )
    for name in rivals(x["wall"]):
        print(
            f"    {name}: {times[name]:.0f} ms, {spread(ratios(x, name))} times as long; "
            f"cpu {spread(ratios(x, name, MINE, 'cpu'))}",
            flush=True,
        )


def measure_caches(a, shape, folder, worker):
    with (
        tool(a, MINE, folder) as ours,
        tool(a, LENS, folder) as lens,
        tool(a, BRIDGE, folder) as bridge,
        tool(a, NNSIGHT, folder) as nnsight,
    ):
        opened = [ours, lens, bridge, nnsight]
        common = compare(opened, KINDS)
        about = {c.name: c.text("about") for c in opened}
        line(a, "contenders", shape=shape, about=about, common=common)
        if not a.json:
            for text in about.values():
                print(f"    {text}")
            print(
                "    the same arrays, common of ours and theirs: "
                + "; ".join(
                    f"{name} {common[name][0]} of {common[name][1]} and {common[name][2]}"
                    for name in common
                ),
                flush=True,
            )
        for n, kind in itertools.product(ROWS, KINDS):
            found = cache_rounds(a, opened, worker, n, kind)
            report_caches(a, shape, n, kind, found)


# --- calls and hooks ------------------------------------------------------------------------------


def pairs(first, question, second, other, rounds):
    """[(wall ratio, cpu ratio)] of second to first, each between two turns of first."""
    found, before = [], None
    take(second, other)
    take(first, question)
    before = take(first, question)
    for _ in range(rounds):
        middle, after = take(second, other), take(first, question)
        found.append([2 * m / (x + y) for m, x, y in zip(middle, before, after)])
        before = after
    return found


def show_pairs(a, what, shape, n, found, bound):
    walls, cpus = ([f[i] for f in found] for i in (0, 1))
    line(a, what, shape=shape, rows=n, ratios=walls, cpu_ratios=cpus, bound=bound)
    if not a.json:
        print(
            f"{shape}, {n} tokens: {what} {spread(walls, 3)}, cpu {spread(cpus, 3)}; aim {bound}",
            flush=True,
        )


def measure_calls(a, shape, folder, worker):
    with tool(a, MINE, folder) as ours:
        for n in ROWS:
            wanted = (
                [
                    (CALLS[0], worker, f"rows {n} plain", f"text {n} all"),
                    (CALLS[1], worker, f"prefill {n}", f"text {n} last"),
                ]
                if "call" in a.parts
                else []
            )
            if "hook" in a.parts:
                wanted.append((CALLS[2], ours, f"plain {n}", f"hook {n}"))
            for what, first, question, other in wanted:
                show_pairs(
                    a, what, shape, n, pairs(first, question, ours, other, 3 * a.rounds), 1.02
                )


# --- memory and start -----------------------------------------------------------------------------


def measure_memory(a, shape, folder):
    for n, kind in itertools.product(ROWS, KINDS):
        found = {}
        for name in (MINE, LENS, BRIDGE, NNSIGHT):
            if kind == "every" and name == NNSIGHT:
                continue
            with tool(a, name, folder) as c:
                found[name] = [int(x) for x in c.text(f"memory {n} {kind}").split()]
        line(a, "memory", shape=shape, rows=n, kind=kind, bytes=found)
        if not a.json:
            ours = found.pop(MINE)
            print(
                f"{shape}, {n} tokens, {kind}: peak memory {ours[0] / 1e9:.2f} GB, run "
                f"{ours[1] / 1e9:.2f}; "
                + "; ".join(
                    f"{ours[0] / x[0]:.2f} of {name}'s {x[0] / 1e9:.2f}, run "
                    f"{ours[1] / x[1]:.2f} of {x[1] / 1e9:.2f}"
                    for name, x in found.items()
                ),
                flush=True,
            )


def measure_start(a):
    """The first two starts fill the system's and the package's caches."""
    found, whole, bare = [], [], []
    env = os.environ | environment(a)
    for r in range(3 * a.rounds + 2):
        times = []
        for code in (STARTS, "import numpy"):
            start = time.perf_counter()
            done = subprocess.run(
                [python(a), "-c", code], env=env, check=True, text=True, stdout=subprocess.PIPE
            )
            times.append(time.perf_counter() - start)
            if code == STARTS:
                inside = [float(x) for x in done.stdout.split()]
        if r >= 2:
            found.append(inside)
            whole.append(times[0])
            bare.append(times[1])
    line(
        a,
        "start",
        imported=[f[0] for f in found],
        opened=[f[1] for f in found],
        whole=whole,
        numpy=bare,
        bound=0.06,
    )
    if not a.json:
        ms = [1e3 * f[1] for f in found]
        print(
            f"import and open after numpy: {spread(ms, 1)} ms, least {min(ms):.1f}, "
            f"of which import "
            f"{spread([1e3 * f[0] for f in found], 1)}; processes differ by "
            f"{1e3 * (statistics.median(whole) - statistics.median(bare)):.1f} ms, least "
            f"{1e3 * (min(whole) - min(bare)):.1f}; aim 60 ms",
            flush=True,
        )


# --- all ------------------------------------------------------------------------------------------


def main():
    a = arguments()
    if "import" in a.parts:
        measure_start(a)
    with tempfile.TemporaryDirectory() as work:
        for shape in a.shapes:
            folder = with_tokenizer(a, shape, work)
            if "memory" in a.parts:
                measure_memory(a, shape, folder)
            with Contender(PASS, [a.build / "bench" / "bench_worker", folder, a.threads]) as worker:
                if "cache" in a.parts:
                    measure_caches(a, shape, folder, worker)
                if {"call", "hook"} & set(a.parts):
                    measure_calls(a, shape, folder, worker)


if __name__ == "__main__":
    sys.exit(main())
