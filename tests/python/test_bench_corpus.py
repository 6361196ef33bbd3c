"""The corpus part of bench/run.sh: floors, tables and aims belong together."""

from __future__ import annotations

import importlib
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
from typing import Any

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
SHAPES = {"160m": (12, 768, 3072, 50304), "410m": (24, 1024, 4096, 50304)}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("corpus_figures")


def cost_line(plugin: str, multiples: list[float], floor: float) -> dict[str, Any]:
    return {
        "bench": "corpus", "plugin": plugin, "rows": 512, "threads": 2, "pass_operations": 179.3e6,
        "operations": (floor - 1) * 179.3e6, "reads": 1000.0, "weights": 512.0, "floor": floor,
        "multiples": multiples, "processor_multiples": multiples, "before_first": 0.25,
    }  # fmt: skip


def turn_line(case: str, ours: float, theirs: dict[str, float]) -> dict[str, Any]:
    times = {"pythiascope": [ours] * 3, **{name: [t] * 3 for name, t in theirs.items()}}
    return {
        "bench": "corpus rivals", "shape": "160m", "case": case, "rows": 512, "wall": times,
        "cpu": times, "gaps": {"PyTorch f32": 1e-6, "PyTorch bf16": 0.05},
    }  # fmt: skip


def results(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {"sections": {"corpus/160m": lines}}


def test_a_ratio_is_the_rivals_time_over_ours_and_the_fastest_rival_counts(
    figures: types.ModuleType,
) -> None:
    line = turn_line("mlp", 0.5, {"PyTorch f32": 2.0, "PyTorch bf16": 1.5})
    assert figures.ratios(line, "PyTorch f32") == [4.0] * 3
    assert figures.fastest(line) == "PyTorch bf16"
    found = {what: cases for _, what, _, cases, _ in figures.aims(results([line])["sections"])}
    assert found["other statistics over a corpus: times as fast as PyTorch"] == {
        "160m mlp (PyTorch bf16)": [3.0] * 3
    }


def test_multiples_are_compared_with_passes_and_lens_with_its_floor(
    figures: types.ModuleType,
) -> None:
    lines = [cost_line("ln", [1.05, 1.0, 1.1], 1.0), cost_line("lens", [7.2, 7.26, 7.3], 6.6)]
    aims = {what: (bound, cases) for _, what, bound, cases, _ in figures.aims(
        results(lines)["sections"])}  # fmt: skip
    assert aims["a window with `ln`, in plain passes"] == (-1.06, {"160m": [1.05, 1.0, 1.1]})
    bound, cases = aims["a window with `lens`, of its floor"]
    assert bound == -1.15 and math.isclose(cases["160m"][1], 1.1)


def test_the_tables_have_every_line_and_say_when_figures_differ(
    figures: types.ModuleType,
) -> None:
    lines = [
        cost_line("unobserved", [0.93], 0.93),
        cost_line("logits:level=head", [1.2, 1.3, 1.4], 1.08),
        turn_line("ln", 0.512, {"PyTorch f32": 1.024}),
        turn_line("lens", 1.0, {"PyTorch f32": 2.0, "PyTorch bf16": 1.5}),
    ]
    text = figures.section(results(lines))
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()
            if row.startswith("| 160m")]  # fmt: skip
    assert rows[0][1] == "nothing observed" and rows[1][1] == "`logits:level=head`"
    assert rows[1][2:8] == ["14.3", "4", "1.08", "1.30 (1.25-1.35)", "1.30", "1.20"]
    assert rows[2][2:4] == ["1.00", "another figure: off by 0.05"]
    assert rows[2][4].startswith("2.00 (2.00-2.00); cpu 2.00")
    assert rows[3][3].startswith("1.50") and len(rows) == 4
    assert figures.section({"sections": {}}) is None


def test_every_case_has_a_rival_and_a_plugin(figures: types.ModuleType) -> None:
    rivals = (BENCH / "rivals" / "window_statistics.py").read_text(encoding="utf-8")
    for case, (title, question, _) in figures.CASES.items():
        assert f'"{case}": ' in rivals and "`" in title
        assert question.split()[0] in ("window", "text", "loss")


def test_a_missing_package_is_said_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(BENCH / "corpus_rivals.py")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "needs the package numpy; pip install numpy" in done.stderr


@pytest.mark.parametrize("shape", SHAPES)
def test_the_floors_are_the_products_of_the_page(shape: str) -> None:
    """bench/corpus_floor.h, compiled alone, against the sums of docs/performance.md."""
    layers, n, mlp, vocab = SHAPES[shape]
    pass_ = layers * (8 * n * n + 4 * n * mlp + 2 * n * 513)
    one = 2 * n * vocab
    floors = compiled_floors(layers, n, mlp, vocab)
    assert floors["pass"] == pass_
    assert floors["lens"] == (layers + 1) * one
    assert floors["partition"] == (2 * layers + 1) * one
    assert floors["sampling"] == floors["loss"] == floors["logits"] == one
    assert floors["logits:level=head"] == 2 * n * n * layers
    assert floors["logits:level=neuron"] == 2 * (n * n + n * mlp) * layers
    assert floors["edges:rows=all"] == layers * (2 * n * n + n * 513 + 2 * n * 64)
    assert floors["unobserved"] == -(4 * n * n + 4 * n * mlp + 2 * n * 513)
    assert floors["ln"] == floors["mlp"] == floors["attention"] == floors["means"] == 0


def compiled_floors(layers: int, n: int, mlp: int, vocab: int) -> dict[str, float]:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    plugins = (
        "lens", "partition", "sampling", "loss", "logits", "logits:level=head",
        "logits:level=neuron", "edges:rows=all", "unobserved", "ln", "mlp", "attention", "means",
    )  # fmt: skip
    source = f"""
#include "corpus_floor.h"
#include <stdio.h>
int main(void) {{
    const psc_model_info m = {{.n_layers = {layers}, .d_model = {n}, .d_mlp = {mlp},
        .d_vocab = {vocab}, .n_heads = {n // 64}, .d_head = 64}};
    const char *plugins[] = {{{", ".join(f'"{p}"' for p in plugins)}}};
    printf("pass %.0f\\n", corpus_pass_operations(&m, 512));
    for (size_t i = 0; i < sizeof plugins / sizeof *plugins; i++)
        printf("%s %.0f\\n", plugins[i], corpus_products(&m, plugins[i], 512).operations);
}}
"""
    with tempfile.TemporaryDirectory() as work:
        file = pathlib.Path(work) / "floors.c"
        file.write_text(source, encoding="ascii")
        program = file.with_suffix("")
        subprocess.run(
            [compiler, "-std=c11", "-I", BENCH, "-I", BENCH.parent / "include" / "pythiascope",
             file, "-o", program],
            check=True,
        )  # fmt: skip
        text = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: float(x) for name, x in (line.split() for line in text.splitlines())}


def test_a_line_names_weights_without_their_path_and_counts_them_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    lines = [cost_line("ln", [1.0], 1.0), {"model": "/a/160m-f16", "weights": "mapped from /a/b"}]
    said = tmp_path / "lines.jsonl"
    said.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = importlib.import_module("extras").json_lines(["cat", said])
    assert found == [lines[0], {"model": "160m-f16", "weights": "mapped"}]
