"""pythiascope's aims and whether a bench run met them: the first table of docs/benchmarks.md.

An aim is (number, what, bound, {case: figures}, command). A positive bound is a minimum, a negative
one a maximum, for the median of each case's figures."""
import corpus_figures
import python_figures
from figures import LLAMA, MINE, TORCH, Task, quartiles, share_ratios, spread, table

PREFILL_SHAPES, TYPES = ("160m", "410m"), ("f32", "f16")
LLAMA_SHARE, MY_SHARE = 0.53, 0.80  # MY_SHARE of the peak suffices if llama.cpp exceeds LLAMA_SHARE
SHARES = {"one": {"70m": 1.05, "160m": 1.03, "410m": 1.03},
          "ten": {"70m": 1.15, "160m": 1.10, "410m": 1.10},
          "next": {"70m": 1.6, "160m": 1.6, "410m": 1.6}}
SPEED, DECOMPOSITION = "bench/run.sh --parts speed", "bench/run.sh --parts shares"


def median(values):
    return quartiles(values)[1]


def cases(sections, kind, shapes=None, types=None):
    """[(name, section)] of one kind in the run."""
    found = []
    for key, section in sections.items():
        first, *rest = key.split("/")
        if first == kind and (not shapes or rest[0] in shapes) and (not types or rest[1] in types):
            found.append((" ".join(rest) or "all", section))
    return found


def inside(sections, part):
    return {name: s["inside"]["512"][part]
            for name, s in cases(sections, "speed", PREFILL_SHAPES, TYPES) if "512" in s["inside"]}


def against(sections, task, rival, shapes):
    found = {}
    for name, s in cases(sections, "speed", shapes, TYPES):
        t = Task(s, task)
        if t.ratios(rival):
            found[name] = t.ratios(rival)
    return found


def excused(sections):
    """The cases with llama.cpp near the peak, where a share of the peak replaces the ratio."""
    found = []
    for name, s in cases(sections, "speed", PREFILL_SHAPES, TYPES):
        t = Task(s, "prefill 512")
        if t.ratios(LLAMA) and median(t.shares(LLAMA)) > LLAMA_SHARE \
                and median(t.shares(MINE)) >= MY_SHARE:
            found.append(name)
    return found


def speed_aims(sections):
    decode = {name: Task(s, "decode").shares(MINE)
              for name, s in cases(sections, "speed", None, TYPES)}
    return [
        ("1", "prefill of 512 tokens: share of the peak of fused multiply-adds, matmuls", 0.85,
         inside(sections, "matmuls"), SPEED),
        ("1", "the same, the whole pass", 0.75, inside(sections, "pass"), SPEED),
        ("1", f"times as fast as llama.cpp, or {MY_SHARE:.0%} of the peak where llama.cpp is above "
         f"{LLAMA_SHARE:.0%}", 1.5, against(sections, "prefill 512", LLAMA, PREFILL_SHAPES),
         SPEED),
        ("1", "times as fast as PyTorch in f32", 1.2,
         against(sections, "prefill 512", TORCH, PREFILL_SHAPES), SPEED),
        ("2", "decoding: share of the read bandwidth", 0.90, decode, SPEED),
        ("2", "times as fast as llama.cpp", 1.25, against(sections, "decode", LLAMA, None),
         SPEED),
        ("2", "times as fast as PyTorch in f32", 2.5, against(sections, "decode", TORCH, None),
         SPEED)]


def share_aims(sections):
    found = []
    for case, title in (("one", "decomposition of 128 positions, relative to the plain pass: one target"),
                        ("ten", "the same, ten targets"),
                        ("next", "the same, the next token at each position")):
        for bound in sorted(set(SHARES[case].values())):
            shapes = [s for s, b in SHARES[case].items() if b == bound]
            figures = {n: share_ratios(s, MINE, case)
                       for n, s in cases(sections, "shares", shapes)}
            found.append(("3", title, -bound, figures, DECOMPOSITION))
    figures = {n: share_ratios(s, MINE, "empty") for n, s in cases(sections, "shares")}
    found.append(("4", "an empty callback at every hook point, relative to the plain pass", -1.1, figures,
                  DECOMPOSITION))
    return found


def other_aims(sections):
    def lines(kind, value):
        return {name: [x for line in found for x in value(line)]
                for name, found in cases(sections, kind)}

    return [
        ("4", "instructions with unused hooks, relative to a build without hooks", -1.001,
         lines("hooks", lambda x: [x["ratio"]]), "bench/hooks_cost.sh"),
        ("5", "peak memory of 512 tokens and the full decomposition, MiB beyond weights, KV cache and "
         "arrays", -64, lines("memory", lambda x: [x["beyond_the_terms_mib"]]), "bench/memory.sh"),
        ("5", "second start to the first token, relative to PyTorch's", -0.3,
         lines("start", lambda x: x["ratios"]), "bench/start.py build/release/pythiascope"),
        ("7", "logits' error against float64, relative to PyTorch's in f32, median of 100 prompts", -1.1,
         lines("accuracy", lambda x: [x["ratio"]]), "bench/accuracy.py"),
        ("", "decoding beside two busy processes, relative to its fair share", 0.5,
         lines("busy", lambda x: [x["of_fair_share"]]), "bench_pass MODEL --only busy"),
        ("", "patching every place: times as fast as TransformerLens", None,
         {f"{name} {x['over']}": [t / p for p, t in zip(x["pythiascope"], x["transformer_lens"])]
          for name, found in cases(sections, "sweep") for x in found}, "bench/sweep.py")]


def row(number, what, bound, figures, command, by_other_means):
    """One aim as a row of the table. A negative bound is a maximum."""
    shown, met = [], []
    digits = 2 if bound is None else len(f"{abs(bound):g}".partition(".")[2]) + 1
    for name, values in figures.items():
        middle = median(values)
        holds = bound is None or name in by_other_means or (
            middle >= bound if bound > 0 else middle <= -bound)
        met.append(holds)
        text = f"{name} {spread(values, digits) if len(values) > 1 else f'{middle:.{digits}f}'}"
        shown.append(text if holds else f"**{text}**")
    limit = "" if bound is None else f"at least {bound:g}" if bound > 0 else f"at most {-bound:g}"
    state = "not measured" if not met else "" if bound is None else "met" if all(met) else \
        f"**short** in {met.count(False)} of {len(met)}"
    return [number, what, limit, state, "; ".join(shown), f"`{command}`"]


def section(results):
    """The table; figures that fall short are bold."""
    s = results["sections"]
    rows = []
    for aim in speed_aims(s) + share_aims(s) + other_aims(s):
        rows.append(row(*aim, excused(s) if "llama.cpp, or" in aim[1] else ()))
    rows.insert(-3, ["6", "logits, hook tensors and plugins' arrays equal to the bit for every way to run",
                     "exactly", "tested", "instruction sets, threads, chunks, batches, observers, "
                     "packings", "`ctest -R test_bits`"])
    rows += [row(*aim, ()) for aim in python_figures.aims(s) + corpus_figures.aims(s)]
    head = ["aim", "what", "bound", "state", "figures: median (quartiles)", "measured by"]
    return table(head, rows)
