"""The Python package in docs/benchmarks.md: its aims and its table, from python_cost.py's lines."""

import statistics

from figures import spread, table

MINE, PASS, LENS = "pythiascope", "C pass", "TransformerLens 3.9"
CALLS = (
    "model(text), relative to the C pass",
    "model(text, logits='last'), relative to the C pass",
    "a hook that does nothing at every hook_resid_post, relative to none",
)
COMMAND = "bench/run.sh --parts python"


def lines(sections, what):
    """[line] of all shapes."""
    return [
        x
        for key, found in sections.items()
        if key.startswith("python/")
        for x in found
        if x["what"] == what
    ]


def case(x):
    return f"{x['shape']} {x['rows']}" + (f" {x['kind']}" if "kind" in x else "")


def rivals(times):
    return [name for name in times if name not in (MINE, PASS)]


def fastest(x):
    """The rival with the least median time."""
    return min(rivals(x["wall"]), key=lambda name: statistics.median(x["wall"][name]))


def ratios(x, name, over=MINE, clock="wall"):
    return [a / b for a, b in zip(x[clock][name], x[clock][over])]


def aims(sections):
    """As aims.py's: (number, what, bound, {case: figures}, command)."""
    caches, memory = lines(sections, "cache"), lines(sections, "memory")
    starts = lines(sections, "start")
    found = [
        (
            "8",
            "run_with_cache of everything in Python: times as fast as TransformerLens 3.9",
            3,
            {case(x): ratios(x, LENS) for x in caches},
            COMMAND,
        ),
        (
            "8",
            "the same, times as fast as the fastest of TransformerLens 3.9, 4.3 and nnsight",
            2,
            {f"{case(x)} ({fastest(x)})": ratios(x, fastest(x)) for x in caches},
            COMMAND,
        ),
        (
            "8",
            "the process's peak memory then, relative to TransformerLens 3.9's",
            -0.7,
            {case(x): [x["bytes"][MINE][0] / x["bytes"][LENS][0]] for x in memory},
            COMMAND,
        ),
    ]
    for what in CALLS:
        found.append(
            ("8", what, -1.02, {case(x): x["ratios"] for x in lines(sections, what)}, COMMAND)
        )
    found.append(
        (
            "8",
            "import and opening the embedded model after `import numpy`, ms",
            -60,
            {"start": [1e3 * s for x in starts for s in x["opened"]]} if starts else {},
            COMMAND,
        )
    )
    return found


def section(results):
    """A row per shape, length and kind, or None."""
    caches = lines(results["sections"], "cache")
    if not caches:
        return None
    memory = {case(x): x["bytes"] for x in lines(results["sections"], "memory")}
    names = [LENS, *(n for n in rivals(caches[0]["wall"]) if n != LENS)]
    rows = []
    for x in caches:
        bytes_ = memory.get(case(x), {})
        row = [
            case(x),
            f"{1e3 * statistics.median(x['wall'][MINE]):.0f} ms",
            spread(ratios(x, MINE, PASS)),
        ]
        for name in names:
            if name not in x["wall"]:
                row.append("")
                continue
            processor = statistics.median(ratios(x, name, MINE, "cpu"))
            cell = f"{spread(ratios(x, name))}; cpu {processor:.2f}"
            if name in bytes_ and MINE in bytes_:
                peak, run = (bytes_[MINE][i] / bytes_[name][i] for i in (0, 1))
                cell += f"; our memory {peak:.2f} of its, of the pass alone {run:.2f}"
            row.append(cell)
        rows.append(row)
    return table(
        [
            "shape, tokens, what is kept",
            "pythiascope",
            "relative to its pass in C",
            *(f"{name}, relative to pythiascope" for name in names),
        ],
        rows,
    )
