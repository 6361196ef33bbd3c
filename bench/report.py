"""Tables, JSON and plot of a bench run (bench/run.py): report.py RESULTS.json DOCS_FOLDER

Every figure is a median with quartiles."""
import json
import math
import pathlib
import sys

import aims
import corpus_figures
import python_figures
from figures import (LENS, LLAMA, MINE, TORCH, Task, quartiles, share_ratios, spread, table, tokens)

MARKER = "<!-- What follows is written by bench/run.sh. -->"
CONTEXT = 128

CASES = {"one": "one target", "first": "one target, a session's first run", "ten": "ten targets",
         "next": "next token at each position",
         "empty": "no decomposition, an empty callback at every point"}
LENS_CASES = {"heads": "one target, heads only: `logit_attrs(stack_head_results)`",
              "projected": "one target: `get_full_resid_decomposition(project_output_onto)`",
              "neurons": "one target: and `logit_attrs(stack_neuron_results)`"}


def names_of(sections):
    found = []
    for s in sections.values():
        for g in s["groups"]:
            found += [n for n in g["contenders"] if n != MINE and n not in found]
    return found


def speed_table(sections, task):
    rivals = names_of(sections)
    limit = "read bandwidth, GB/s" if task == "decode" else "peak, GFLOP/s"
    head = ["model", "weights", limit, "pythiascope, tokens/s", "of the limit"]
    head += ["of the limit inside", "matmuls alone"] if task != "decode" else []
    for name in rivals:
        head += [f"{name}, tokens/s", "times as fast"]
    rows = []
    for key, section in sections.items():
        _, shape, dtype = key.split("/")
        t = Task(section, task)
        row = [shape, dtype, spread([x * 1e-9 for x in t.limits()], 0), spread(t.rates(MINE), 1),
               spread(t.shares(MINE))]
        if task != "decode":
            inside = section["inside"].get(task.split()[1], {})
            row += [spread(inside.get(part, [])) for part in ("pass", "matmuls")]
        for name in rivals:
            row += [spread(t.rates(name), 1), spread(t.ratios(name))]
        rows.append(row)
    return table(head, rows)


# --- the decomposition ---------------------------------------------------------------------------

def share_times(section, name, case, which="seconds"):
    return [1e3 * r[name][case][which] for r in section["rounds"] if case in r.get(name, {})]


def shares_table(sections):
    rows = []
    for key, section in sections.items():
        shape = key.split("/")[1]
        for case, title in CASES.items():
            ratios = share_ratios(section, MINE, case)
            if not ratios:
                continue
            rows.append([shape, title, spread(share_times(section, MINE, case, "plain"), 1),
                         spread(share_times(section, MINE, case), 1),
                         spread(ratios, 3),
                         spread(share_times(section, TORCH, case), 0),
                         spread(share_ratios(section, TORCH, case))])
    head = ["model", "what", "plain pass, ms", "with it, ms", "ratio", "PyTorch adjoint, ms",
            "its ratio"]
    return table(head, rows)


def lens_table(sections):
    rows = []
    for key, section in sections.items():
        for case, title in LENS_CASES.items():
            times = share_times(section, LENS, case)
            if not times:
                continue
            mine = quartiles(share_times(section, MINE, "one"))[1]
            rows.append([key.split("/")[1], title,
                         spread(share_times(section, LENS, case, "plain"), 0), spread(times, 0),
                         spread(share_ratios(section, LENS, case), 1),
                         f"{quartiles(times)[1] / mine:.0f}"])
    return table(["model", "what", "plain pass, ms", "with it, ms", "ratio",
                  "times pythiascope's one target"], rows)


# --- the page ------------------------------------------------------------------------------------

def agreement_table(sections):
    rows = []
    for key, section in sections.items():
        _, shape, dtype = key.split("/")
        for group in section["groups"]:
            for name, found in group["agreement"].items():
                if name != MINE:
                    rows.append([shape, dtype, name, "yes" if found["same_top"] else "**no**",
                                 f"{found['common_of_five']} of 5",
                                 f"{found['largest_difference']:.2g}"])
    return table(["model", "weights", "contender", "same top token", "common top-5",
                  "largest difference"], rows)


def versions(results):
    found = []
    for key, section in results["sections"].items():
        if key.startswith("python/"):
            groups = [{"contenders": x["about"]} for x in section if "about" in x]
        elif key.startswith(("speed/", "shares/")):
            groups = [section] if "rounds" in section else section["groups"]
        else:
            continue
        for about in groups:
            found += [text for text in about["contenders"].values() if text not in found]
    return "\n".join(f"- {text}" for text in found)


def text(results):
    speeds = {k: v for k, v in results["sections"].items() if k.startswith("speed/")}
    shares = {k: v for k, v in results["sections"].items() if k.startswith("shares/")}
    m, parts = results["machine"], results["parts"]
    others = sorted({p["revision"] for p in parts.values()} - {m["revision"]})
    out = ["## The run", f"{m['date']}, revision {m['revision']}. " + ", ".join(
        f"{key} {m[key]}" for key in m if key not in ("date", "revision")) + "."]
    out += ["Minutes per part: " + ", ".join(
        f"{name} {p['minutes']:.1f}" + (f" (revision {p['revision']})" if p["revision"] in others
                                        else "") for name, p in parts.items()) + "."]
    out += ["### Aims", aims.section(results)]
    for task in ("prefill 512", "prefill 128", "decode"):
        if speeds:
            title = f"Decoding after {CONTEXT} tokens" if task == "decode" else \
                f"Prefill of {tokens(task)} tokens"
            out += [f"### {title}", speed_table(speeds, task)]
    if shares:
        out += [f"### The decomposition over all {CONTEXT} positions (f16 weights)",
                shares_table(shares)]
        if any(LENS in r for s in shares.values() for r in s["rounds"]):
            out += ["### TransformerLens (f32 weights)", lens_table(shares)]
    package = python_figures.section(results)
    if package:
        out += ["### The Python package (files in f16)", package]
    over_corpus = corpus_figures.section(results)
    if over_corpus:
        out += ["### A corpus (f16 files, one window of 512 tokens)", over_corpus]
    if speeds:
        out += ["### The same model?", agreement_table(speeds)]
    out += ["### Versions", versions(results)]
    return "\n\n".join(out) + "\n"


def compact(results):
    def short(x):
        if isinstance(x, float):
            return float(f"{x:.5g}")
        if isinstance(x, dict):
            return {k: short(v) for k, v in x.items()}
        return [short(v) for v in x] if isinstance(x, list) else x
    return json.dumps(short(results), separators=(",", ":")) + "\n"


def bars(axis, groups, series, title, line=None, log=False):
    """groups: labels; series: {name: (medians, lower, upper)}."""
    width = 0.8 / max(1, len(series))
    for i, (name, (middle, low, high)) in enumerate(series.items()):
        at = [g + (i - (len(series) - 1) / 2) * width for g in range(len(groups))]
        error = [[m - l for m, l in zip(middle, low)], [h - m for m, h in zip(middle, high)]]
        axis.bar(at, middle, width, label=name, yerr=error, error_kw={"lw": 0.8})
    if line:
        axis.axhline(line, color="0.4", lw=0.8, ls="--")
    axis.set_xticks(range(len(groups)), groups)
    axis.set_title(title, fontsize=9)
    if log:
        axis.set_yscale("log")
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7, frameon=False)


def series_of(sections, names, value):
    """{name: (medians, lower, upper)} over sections; 0 for a missing one."""
    found = {}
    for name in names:
        triples = [quartiles(value(section, name)) for section in sections]
        triples = [(0.0, 0.0, 0.0) if math.isnan(t[1]) else t for t in triples]
        if any(t[1] for t in triples):
            found[name] = tuple([t[i] for t in triples] for i in (1, 0, 2))
    return found


def plot(results, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    speeds = {k: v for k, v in results["sections"].items()
              if k.startswith("speed/") and k.endswith(("f16", "f32")) and "bf16" not in k}
    shares = {k: v for k, v in results["sections"].items() if k.startswith("shares/")}
    labels = [" ".join(k.split("/")[1:]) for k in speeds]
    figure, axes = pyplot.subplots(3, 1, figsize=(7.5, 8.5), layout="constrained")
    # PyTorch always decodes from f32 weights, so its bytes differ.
    for axis, task, names, title in (
            (axes[0], "prefill 512", (MINE, LLAMA, TORCH),
             "prefill of 512 tokens, share of the peak of fused multiply-adds"),
            (axes[1], "decode", (MINE, LLAMA), "decoding, share of the read bandwidth")):
        bars(axis, labels, series_of(speeds.values(), names,
                                     lambda s, n, t=task: Task(s, t).shares(n)), title, 1.0)
    cases = {"pythiascope, one target": (MINE, "one"), "pythiascope, ten": (MINE, "ten"),
             "pythiascope, next": (MINE, "next"), "adjoint in PyTorch, one": (TORCH, "one"),
             "TransformerLens, heads": (LENS, "heads"),
             "TransformerLens, projected": (LENS, "projected"),
             "TransformerLens, neurons": (LENS, "neurons")}
    bars(axes[2], [k.split("/")[1] for k in shares],
         series_of(shares.values(), cases, lambda s, n: share_ratios(s, *cases[n])),
         "decomposition of 128 positions: time relative to the plain pass", 1.0, log=True)
    figure.savefig(path, dpi=90)


def write_docs(results, folder):
    page = folder / "benchmarks.md"
    introduction = page.read_text().split(MARKER)[0]
    picture = "\n![shares of the machine's limits, and overheads](benchmarks.png)\n\n"
    page.write_text(introduction + MARKER + "\n\n" + text(results) + picture.rstrip("\n") + "\n")
    (folder / "benchmarks.json").write_text(compact(results))
    plot(results, folder / "benchmarks.png")


if __name__ == "__main__":
    write_docs(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))
