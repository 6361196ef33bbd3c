"""A corpus in docs/benchmarks.md: what its rows are, its aims and its tables, from the lines of
bench_corpus_cost and corpus_rivals.py."""

import statistics

from figures import MINE, quartiles, spread, table

# case of rivals/window_statistics.py: (title, pythiascope's question and plugin, whether matrix
# products, the pass's among them, are nearly all of it). {heads}: all heads of the middle layer.
CASES = {
    "ln": ("LayerNorm scales, norms and coupling: `ln`", "window ln", True),
    "means": ("means of five hook points: `means`", "window means", True),
    "mlp": ("neurons' moments, firing and histograms: `mlp`", "window mlp", False),
    "attention": (
        "eight statistics of each head's pattern: `attention`",
        "window attention",
        False,
    ),
    "head": (
        "attribution of the next token by head: `logits:level=head`",
        "window logits:level=head",
        True,
    ),
    "neuron": (
        "attribution of the next token by neuron: `logits:level=neuron`",
        "window logits:level=neuron",
        True,
    ),
    "loss": ('loss of the next token: `model(ids, return_type="loss")`', "loss", True),
    "top": (
        "logit lens: top 5, log p and rank of the next: `lens:rows=all,arrays=top+targets`",
        "text lens:rows=all,arrays=top+targets",
        True,
    ),
    "lens": ("logit lens: entropy, both KL, log p, rank, agreement: `lens`", "window lens", True),
    "sampling": (
        "kept sets of six strategies and their overlaps: `sampling`",
        "window sampling",
        True,
    ),
    "partition": (
        "log Z of each lens and without each layer's writes: `partition`",
        "window partition",
        True,
    ),
    "heads": (
        "log Z without each head of one layer: `partition:level=head,components=...`",
        "window partition:perturbations=frozen_ln+recomputed_ln,level=head,components={heads}",
        True,
    ),
}
# The most that a plugin may take, in passes or, for lens and partition, of its floor.
BOUNDS = {
    "ln": 1.06,
    "mlp": 1.10,
    "attention": 1.12,
    "means": 1.10,
    "edges:rows=all": 1.20,
    "logits:level=head": 1.20,
    "logits:level=neuron": 1.55,
    "sampling": 1.60,
    "loss": 1.50,
    "neurons": 1.15,
}
OF_FLOOR = {"lens": 1.15, "partition": 1.30}
LEAST, LEAST_OF_PRODUCTS = 2.0, 1.5  # times as fast as the fastest rival
COST, RIVALS = "bench_corpus_cost MODEL --threads 2", "bench/corpus_rivals.py"


def shapes_of(sections):
    """{shape: lines} of the part corpus."""
    return {
        key.split("/")[1]: found for key, found in sections.items() if key.startswith("corpus/")
    }


def costs(lines):
    """The lines of bench_corpus_cost."""
    return [x for x in lines if x["bench"] == "corpus"]


def turns(lines):
    """The lines of corpus_rivals.py that have been timed."""
    return [x for x in lines if x["bench"] == "corpus rivals" and "wall" in x]


def rivals(x):
    """Names of a line's rivals."""
    return [name for name in x["wall"] if name != MINE]


def ratios(x, name, clock="wall"):
    """A rival's time over pythiascope's just before it, turn by turn."""
    return [theirs / ours for theirs, ours in zip(x[clock][name], x[clock][MINE])]


def fastest(x):
    """The rival with the least median ratio."""
    return min(rivals(x), key=lambda name: statistics.median(ratios(x, name)))


def aims(sections):
    """As aims.py's: (number, what, bound, {case: figures}, command). Bounds in passes are those of
    pythia-160m's shape; at other shapes they grow or shrink with the floor."""
    found = []
    shapes = shapes_of(sections)
    for plugin, bound in BOUNDS.items():
        figures = {}
        for shape, lines in shapes.items():
            for x in costs(lines):
                if x["plugin"] == plugin and shape == "160m":
                    figures[shape] = x["multiples"]
        found.append(("9", f"a window with `{plugin}`, in plain passes", -bound, figures, COST))
    for plugin, bound in OF_FLOOR.items():
        figures = {
            shape: [m / x["floor"] for m in x["multiples"]]
            for shape, lines in shapes.items()
            if shape != "70m"
            for x in costs(lines)
            if x["plugin"] == plugin
        }
        found.append(("9", f"a window with `{plugin}`, of its floor", -bound, figures, COST))
    for products, bound in ((False, LEAST), (True, LEAST_OF_PRODUCTS)):
        figures = {
            f"{shape} {x['case']} ({fastest(x)})": ratios(x, fastest(x))
            for shape, lines in shapes.items()
            if shape != "70m"
            for x in turns(lines)
            if CASES[x["case"]][2] == products
        }
        what = "statistics that are mostly products of matrices" if products else "other statistics"
        found.append(
            ("9", f"{what} over a corpus: times as fast as PyTorch", bound, figures, RIVALS)
        )
    return found


def cost_table(sections):
    """A row per shape and plugin."""
    rows = []
    for shape, lines in shapes_of(sections).items():
        for x in costs(lines):
            middle = quartiles(x["multiples"])[1]
            size = 2 * x["weights"] / x["rows"] + 4 * x["reads"]
            rows.append(
                [
                    shape,
                    f"`{x['plugin']}`"
                    if ":" in x["plugin"] or x["plugin"] not in ("logits", "unobserved")
                    else {"logits": "no plugin, all logits", "unobserved": "nothing observed"}[
                        x["plugin"]
                    ],
                    f"{x['operations'] * 1e-6:.1f}",
                    f"{size * 1e-3:.0f}",
                    f"{x['floor']:.2f}",
                    spread(x["multiples"]),
                    f"{quartiles(x['processor_multiples'])[1]:.2f}",
                    f"{middle / x['floor']:.2f}",
                    f"{x['before_first']:.2f}",
                ]
            )
    return table(
        [
            "model",
            "plugin",
            "products, MFLOP per token",
            "KB read per token",
            "floor",
            "multiple of the plain pass",
            "of processor time",
            "of the floor",
            "processor seconds before the first token",
        ],
        rows,
    )


def rival_table(sections):
    """A row per shape and statistic; a column per rival."""
    shapes = shapes_of(sections)
    names = sorted({name for lines in shapes.values() for x in turns(lines) for name in rivals(x)})
    rows = []
    for shape, lines in shapes.items():
        for x in turns(lines):
            row = [
                shape,
                CASES[x["case"]][0],
                f"{1e3 * quartiles(x['wall'][MINE])[1] / x['rows']:.2f}",
            ]
            for name in names:
                if name not in x["wall"]:
                    gap = x["gaps"].get(name)
                    row.append(f"another figure: off by {gap:.1g}" if gap else "")
                    continue
                processor = quartiles(ratios(x, name, "cpu"))[1]
                row.append(
                    f"{spread(ratios(x, name))}; cpu {processor:.2f}; off by {x['gaps'][name]:.0e}"
                )
            rows.append(row)
    return table(
        [
            "model",
            "what",
            "pythiascope, ms per token",
            *(f"{name}: times as long" for name in names),
        ],
        rows,
    )


def section(results):
    """Both tables, or None."""
    shapes = shapes_of(results["sections"])
    if not shapes:
        return None
    first = next(iter(shapes.values()))
    pass_ = {
        shape: costs(lines)[0]["pass_operations"] * 1e-6
        for shape, lines in shapes.items()
        if costs(lines)
    }
    text = (
        "A pass has "
        + ", ".join(f"{size:.0f} MFLOP per token ({shape})" for shape, size in pass_.items())
        + "."
    )
    head = [x for x in first if x["bench"] == "corpus rivals" and "about" in x]
    if head:
        text += " Contenders: " + "; ".join(head[0]["about"].values()) + "."
    return "\n\n".join([text, cost_table(results["sections"]), rival_table(results["sections"])])
