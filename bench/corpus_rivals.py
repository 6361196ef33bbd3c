#!/usr/bin/env python3
"""Statistics over a corpus: pythiascope's plugins against PyTorch, one window of tokens at a time.

    bench/corpus_rivals.py --build BUILD --rivals FOLDER [--shapes 160m] [--cases ln,lens] [--json]

Before timing, a rival's figures of a window are compared with pythiascope's: each array may
differ by TOLERANCE of its greatest value. Then both take turns, the waiting one is stopped; a
ratio divides a rival's turn by pythiascope's just before it. "cpu" is the same ratio of processor
time of all threads, which other load on the machine changes less. PyTorch computes in float32. Its
bfloat16 takes part if its pass is faster on this machine, and is timed where its figures pass the
comparison. install_rivals.sh makes the folder of rivals.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

try:
    import numpy as np
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None
from corpus_figures import CASES, fastest, ratios, rivals
from figures import MINE, spread
from turns import HERE, ROOT, SHAPES, Contender, environment, model_folder, ours, python, take

TYPES = {"PyTorch f32": "f32", "PyTorch bf16": "bf16"}
PERIOD = 97  # of the tokens compared: some repeat, so that all statistics exist
TOLERANCE = 2e-3
MOST, LEAST = 9, 3  # turns of a case
DIFFERENT = 3  # exit code


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--rivals", type=pathlib.Path, default=ROOT / "build" / "rivals")
    p.add_argument(
        "--cache", type=pathlib.Path, help="folder of generated models; default: BUILD/models"
    )
    p.add_argument("--shapes", default="160m")
    p.add_argument("--cases", default=",".join(CASES), help="default: all")
    p.add_argument("--rows", type=int, default=512, help="tokens of the window")
    p.add_argument(
        "--seconds", type=float, default=12.0, help=f"of turns per case, at least {LEAST} turns"
    )
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--check-only", action="store_true", help="compare, but do not time")
    p.add_argument("--json", action="store_true", help="print one JSON object per line")
    a = p.parse_args()
    a.cache = a.cache or a.build / "models"
    a.shapes, a.cases = a.shapes.split(","), a.cases.split(",")
    unknown = [x for x in a.cases if x not in CASES] + [x for x in a.shapes if x not in SHAPES]
    if unknown:
        p.error(f"unknown case or shape: {', '.join(unknown)}")
    return a


def plugin_of(case, shape):
    """(question, plugin with options) of pythiascope."""
    layers, _, heads = SHAPES[shape]
    question, _, plugin = CASES[case][1].partition(" ")
    labels = "+".join(f"L{layers // 2}H{h}" for h in range(heads))
    return question, plugin.format(heads=labels)


# --- the same figures? ----------------------------------------------------------------------------


def prompt(n, vocab, period):
    """As window_statistics.py's tokens."""
    tokens = [0] + [2654435761 * (i + 1) % 2**32 % vocab for i in range(1, n)]
    return [tokens[t % period] for t in range(n)]


def our_figures(model, question, plugin, ids, work):
    """{array: figures} of one window as the only document, by the package."""
    if question == "loss":
        return {"loss": np.array(model(np.array([ids]), return_type="loss"))}
    if plugin == "means":
        folder = pathlib.Path(work) / "means"
        model.corpus([ids], [f"means:save={folder}"], window=len(ids), progress=False)
        from safetensors.numpy import load_file

        return load_file(folder / "params.safetensors")
    if question == "text":
        result = model.analyze(np.array(ids), [plugin], target="next")
    else:
        result = model.corpus([ids], [plugin], window=len(ids), progress=False)
    return {name: a.values for name, a in result.sections[plugin.split(":")[0]].arrays.items()}


def gap(name, x, y):
    """The largest difference of our x and their y, of y's greatest value; of token ids and counts
    the share that differs, because a rounding may move one. Axes of ours that theirs does not have
    are populations, scopes or targets: the first is compared."""
    while x.ndim > y.ndim:
        x = x[0]
    if name.endswith("_ids"):
        return (x != y).mean()
    if name == "fires" or name.endswith("_histogram"):
        return np.abs(x - y).sum() / y.sum()
    x = x[tuple(slice(n) for n in y.shape)].astype(np.float64)
    if not (np.isnan(x) == np.isnan(y)).all():
        return np.inf
    return np.nanmax(np.abs(x - y)) / max(np.nanmax(np.abs(y)), 1e-30)


def compare(ours_of, contender, case, n):
    """The largest gap of all arrays that the rival has, and its name."""
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "figures.npz"
        contender.text(f"write {case} {n} {PERIOD} {path}")
        found = {name: gap(name, ours_of[name], y) for name, y in np.load(path).items()}
    name = max(found, key=found.get)
    if os.environ.get("BENCH_DEBUG"):
        print(case, {k: f"{v:.1e}" for k, v in found.items()}, file=sys.stderr)
    return found[name], name


def all_figures(a, shape, folder):
    """{case: {array: figures}}; the model is closed again."""
    os.environ["PYTHIASCOPE_LIBRARY"] = str((a.build / "libpythiascope.so").resolve())
    sys.path.insert(0, str(ROOT / "python"))
    import pythiascope

    found = {}
    with (
        pythiascope.Model(folder, threads=a.threads) as model,
        tempfile.TemporaryDirectory() as work,
    ):
        ids = prompt(a.rows, model.cfg.d_vocab, PERIOD)
        for case in a.cases:
            found[case] = our_figures(model, *plugin_of(case, shape), ids, work)
    return found


# --- turns ----------------------------------------------------------------------------------------


def measure(a, case, question, mine, opened):
    """{clock: {contender: seconds}}: pythiascope before each round of rivals. The comparison has
    warmed up the rivals."""
    names = (MINE, *(c.name for c in opened))
    found = {clock: {name: [] for name in names} for clock in ("wall", "cpu")}
    take(mine, question)
    n, done, start = LEAST, 0, time.perf_counter()
    while done < n:
        turns = [take(mine, question), *(take(c, f"run {case} {a.rows}") for c in opened)]
        for name, (wall, cpu) in zip(names, turns):
            found["wall"][name].append(wall)
            found["cpu"][name].append(cpu)
        done += 1
        if done == 1:
            n = max(LEAST, min(MOST, int(a.seconds / (time.perf_counter() - start))))
    return found


def faster(contenders, rows):
    """PyTorch in float32, and in bfloat16 where its pass is faster: medians of three turns."""
    times = {
        c.name: statistics.median(take(c, f"run plain {rows}")[0] for _ in range(3))
        for c in contenders
    }
    base = contenders[0]
    return [c for c in contenders if c is base or times[c.name] < times[base.name]], times


def show(a, x):
    if a.json:
        print(json.dumps({"bench": "corpus rivals", **x}), flush=True)
        return
    gaps = "; ".join(f"{name} differs by {gap:.1e}" for name, gap in x["gaps"].items())
    print(f"{x['shape']} {x['case']}: {gaps}", flush=True)
    if "wall" in x:
        print(
            f"    pythiascope {1e3 * statistics.median(x['wall'][MINE]) / x['rows']:.3f} ms per "
            f"token; the fastest rival is {fastest(x)}",
            flush=True,
        )
        for name in rivals(x):
            print(
                f"    {name}: {spread(ratios(x, name))} times as long; cpu "
                f"{spread(ratios(x, name, 'cpu'))}",
                flush=True,
            )


def measure_case(a, shape, case, figures, contenders, mine, package):
    """Compares, then times the rivals with the same figures."""
    question, plugin = plugin_of(case, shape)
    found = {c: compare(figures[case], c, case, a.rows) for c in contenders}
    x = {
        "shape": shape,
        "case": case,
        "rows": a.rows,
        "threads": a.threads,
        "gaps": {c.name: gap for c, (gap, _) in found.items()},
        "arrays": {c.name: name for c, (_, name) in found.items()},
    }
    close = [c for c, (gap, _) in found.items() if gap < TOLERANCE]
    if close and not a.check_only:
        asked = f"{question} {a.rows} {plugin}".strip()
        x |= measure(a, case, asked, package if question == "loss" else mine, close)
    show(a, x)
    return contenders[0] in close


def measure_shape(a, shape):
    """True if PyTorch in float32 has pythiascope's figures in all cases."""
    folder = model_folder(a, shape, "f16")
    figures = all_figures(a, shape, folder)
    script, env = HERE / "rivals" / "window_statistics.py", environment(a)
    torch = [
        Contender(name, [python(a), script, folder, kind, a.threads], 0, env)
        for name, kind in TYPES.items()
    ]
    package = Contender(
        MINE, [python(a), HERE / "rivals" / "caches.py", folder, a.threads, MINE], 0, env
    )
    with ours(a, shape, "f16") as mine, package, torch[0], torch[1]:
        contenders, times = faster(torch, a.rows)
        about = {c.name: c.text("about") for c in (mine, *torch)}
        if a.json:
            print(
                json.dumps(
                    {
                        "bench": "corpus rivals",
                        "shape": shape,
                        "about": about,
                        "plain_seconds": times,
                    }
                ),
                flush=True,
            )
        else:
            print("\n".join(about.values()), flush=True)
        same = [
            measure_case(a, shape, case, figures, contenders, mine, package) for case in a.cases
        ]
    return all(same)


def main():
    a = arguments()
    same = [measure_shape(a, shape) for shape in a.shapes]
    if not all(same):
        print("figures of PyTorch in float32 differ from pythiascope's", file=sys.stderr)
        sys.exit(DIFFERENT)


if __name__ == "__main__":
    main()
