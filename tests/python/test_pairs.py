"""Sets of pairs: the program's results, a list in place of a file, and refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import check_same
from pythiascope import InputError, IOFailure, Model, Pairs, PluginError, ablate, patch

ROOT = Path(__file__).resolve().parents[2]
SET = ROOT / "models" / "pairs" / "pronouns.jsonl"
LINES: list[dict[str, Any]] = [json.loads(line) for line in SET.read_text().splitlines()]


@pytest.mark.parametrize("batch", [0, 5])
def test_the_program_has_the_same_files(model: Model, tmp_path: Path, batch: int) -> None:
    pairs = Pairs(str(SET), draws=100, batch=batch)
    result = model.analyze(pairs, ["lens"], interventions=patch("L1H0"))
    options = ["--pairs", str(SET), "--draws", "100", "--patch", "L1H0"]
    options += ["--batch", str(batch)] if batch else []
    check_same(result, tmp_path, "analyze", *options, "--plugin", "effects", "--plugin", "lens")


def test_a_sweep_is_the_programs(model: Model, tmp_path: Path) -> None:
    result = model.sweep(Pairs(SET, draws=0), do="patch")
    check_same(result, tmp_path, "sweep", "--pairs", str(SET), "--do", "patch", "--draws", "0")


def test_a_list_is_a_file(model: Model) -> None:
    ids = [{**line, "clean": np.array(model.to_tokens(line["clean"])[0])} for line in LINES]
    ids = [{**line, "corrupt": model.to_tokens(line["corrupt"])[0]} for line in ids]
    one = model.logits(Pairs(SET, draws=50), level="head")
    for given in (Pairs(LINES, draws=50), Pairs(ids, draws=50, batch=1)):
        other = model.logits(given, level="head")
        for name in ("contributions", "contributions.over_examples", "contributions.by_group"):
            assert np.asarray(one[name]).tobytes() == np.asarray(other[name]).tobytes(), name


def test_statistics_by_hand(model: Model) -> None:
    result = model.effects(Pairs(SET, draws=500), interventions=ablate("L0H3"))
    values = np.asarray(result["dz"])[:, 0, 0]
    of = {k: float(result["dz.over_examples"].sel(over_examples=k)[0, 0]) for k in ("mean", "se")}
    assert of["mean"] == pytest.approx(values.mean(), abs=1e-12)
    assert of["se"] == pytest.approx(values.std(ddof=1) / np.sqrt(len(values)), rel=1e-12)
    groups = result["dz.by_group"]
    she = values[[line["group"] == "she" for line in LINES]]
    assert float(groups.sel(groups="she", over_examples="mean")[0, 0]) == pytest.approx(she.mean())
    assert list(groups.sel(over_examples="n").shape) == [2, 1, 1]


def test_alignment_names_rows(model: Model) -> None:
    pairs = [{"clean": [1, 2, 3], "target": 4}, {"clean": [5, 6], "target": 7, "contrast": 8}]
    end = model.lens(Pairs(pairs, draws=0), rows="all")
    start = model.lens(Pairs(pairs, align="start", draws=0), rows="all")
    assert np.isnan(end["entropy"].sel(rows="-3")[1]).all()
    assert np.isnan(start["entropy"].sel(rows="2")[1]).all()
    assert np.array_equal(end["entropy"].sel(rows="-1")[1], start["entropy"].sel(rows="1")[1])


def test_the_other_targets(model: Model) -> None:
    result = model.logits(Pairs(LINES[:2], draws=0), target=["example", "next"], rows="all")
    assert result["values"].shape[1] == 2


def refused(model: Model, pairs: Any, words: str, **arguments: Any) -> None:
    with pytest.raises(InputError, match=words):
        model.logits(Pairs(pairs, **arguments), level="head")


def test_refusals(model: Model, tmp_path: Path) -> None:
    refused(model, [], "no pairs")
    refused(model, [{"clean": "a b", "target": " c d"}], "pairs:1: target ' c d' is 2 tokens")
    refused(model, [{"clean": "a", "target": 1}, {"clean": "a", "goal": 1}], 'pairs:2: .*"goal"')
    refused(model, [LINES[0], LINES[0]], 'pairs:2: the id "glass-Alice"')
    refused(model, LINES, "has no .spans.", align="spans")
    refused(model, 3, "neither a path nor a list")
    refused(model, [3], "pair 0 is a int")
    refused(model, [{"clean": {1, 2}, "target": 1}], "pair 0 cannot be written")
    refused(model, LINES, "align='middle'", align="middle")
    refused(model, LINES, "draws", draws=-1)
    refused(model, LINES, "batch", batch=1.5)
    refused(model, LINES, "seed", seed=1 << 63)  # the program's --seed ends there, too
    assert Pairs(LINES, seed=(1 << 63) - 1).seed == (1 << 63) - 1
    with pytest.raises(IOFailure, match="missing"):
        Pairs(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="0 character"):
        Pairs("a\0b")


def test_what_does_not_go_with_a_set(model: Model) -> None:
    pairs = Pairs(LINES[:2])
    with pytest.raises(InputError, match="methods of plugins only"):
        model.run_with_cache(pairs)
    with pytest.raises(InputError, match="its own source"):
        model.sweep(pairs, do="patch", source="the other")
    with pytest.raises(InputError, match="capture="):
        model.analyze(pairs, ["logits"], capture="hook_embed")
    with pytest.raises(PluginError, match=r"pairs:1: .*source"):
        model.sweep(Pairs([{"clean": "a b", "target": 1}]), do="patch")


def test_an_exception_in_a_plugin_comes_out(model: Model) -> None:
    from pythiascope import Host, Plugin

    class Broken(Plugin):
        def run_end(self, host: Host) -> None:
            raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        model.analyze(Pairs(LINES[:3], draws=0), [Broken()])


def test_repr() -> None:
    assert repr(Pairs(LINES, align="end")) == "<Pairs pairs align=end>"
    assert os.fspath(SET) in repr(Pairs(SET))
