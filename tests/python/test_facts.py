"""What results say besides arrays: resolved targets, the command, the time; drawn tokens' facts."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pythiascope
from program import TEXT, program_path, run_program
from pythiascope import InputError, Model, PluginError

GIANT = "There was once a giant named Grumbold. Nobody in the village had ever seen Grumb"


def test_targets_are_resolved(model: Model) -> None:
    (target,) = model.logits(GIANT, level="head").targets
    assert (target.name, target.row, target.minus) == ("top:1", 22, None)
    assert (target.token.text, target.token.rank) == ("old", 1)
    assert target.token.p == pytest.approx(0.99117, abs=1e-5)
    probs = np.exp(np.float64(model(GIANT))[0, -1])
    assert target.token.p == pytest.approx(probs[target.token.id] / probs.sum(), rel=1e-9)


def test_contrasts_and_rows(model: Model) -> None:
    result = model.logits(TEXT, target="next", contrast=("#5", "#7"), rows="all", level="layer")
    rows = len(result.tokens)
    assert [t.row for t in result.targets] == sorted(2 * list(range(rows)))[:-1]
    (contrast,) = (t for t in result.targets if t.row == 0 and t.minus)
    assert contrast.minus is not None
    assert (contrast.token.id, contrast.minus.id) == (5, 7)
    (following,) = (t for t in result.targets if t.row == 0 and not t.minus)
    assert following.name == "next" and following.token.id == result.tokens[1].id
    assert model.attention(TEXT).targets == []


def test_command_and_time_of_a_folder(model: Model, tmp_path: Path) -> None:
    ours = model.ln(TEXT)
    assert ours.command is None and ours.time is None
    run_program("analyze", "--text", TEXT, "--plugin", "ln", "--time", "--out", f"{tmp_path}/out")
    read = pythiascope.read_folder(tmp_path / "out")
    assert read.command == f"pythiascope analyze --text '{TEXT}' --plugin ln"
    assert read.time is not None
    assert read.time.seconds > 0 and read.time.tokens_per_second > 0
    assert read.time.peak_memory_bytes > 1 << 20
    assert read.to_dict()["command"] == read.command


def test_a_time_without_tokens(tmp_path: Path) -> None:
    run_program("weights", "--what", "frames", "--time", "--out", f"{tmp_path}/out")
    time = pythiascope.read_folder(tmp_path / "out").time
    assert time is not None and math.isnan(time.tokens_per_second)


def test_drawn_tokens_have_rank_and_probability(model: Model) -> None:
    import json

    text = "Once upon a time"
    steps = list(model.generate_steps(text, 5, temperature=1.0, seed=3))
    arguments = ("--text", text, "--n", "5", "--temperature", "1", "--seed", "3", "--json")
    printed = run_program("generate", *arguments).splitlines()[-1]
    theirs = json.loads(printed)["generation"]["tokens"]
    drawn = [s for s in steps if s.id >= 0]
    assert [(s.id, s.rank, s.p, s.logit) for s in drawn] == [
        (t["id"], t["rank"], t["p"], t["logit"]) for t in theirs
    ]
    assert steps[-1].id == -1 and steps[-1].rank == 0 and math.isnan(steps[-1].p)


def test_steps_have_the_results_of_plugins(model: Model) -> None:
    import json

    given = ("--text", "Once upon a time", "--n", "3", "--plugin", "lens", "--json")
    lines = [json.loads(line) for line in run_program("generate", *given).splitlines()]
    steps = list(model.generate_steps("Once upon a time", 3, plugins=["lens"]))
    assert len(lines) == len(steps) == 4
    for line, step in zip(lines, steps[:3]):
        assert step.result is not None
        ours = step.result.to_dict()
        assert ours["plugins"] == line["plugins"]
        assert [t["text"] for t in ours["tokens"]] == [t["text"] for t in line["tokens"]]
        assert [t["start"] for t in ours["tokens"]] == [t["start"] for t in line["tokens"]]
    assert steps[3].result is None
    (first, *_) = model.generate_steps("The sun", 1, plugins=["spans"], target="next")
    assert first.result is not None and first.result.tokens[0].text == "<|endoftext|>"
    with pytest.raises(InputError, match="is not a list of plugins"):
        model.generate_steps("The sun", 1, plugins=5)


def test_errors_name_what_the_user_gave(model: Model) -> None:
    with pytest.raises(InputError, match="patch: source is None; pass a text or ids"):
        pythiascope.patch("L0H3", None)  # type: ignore[arg-type]
    short = pythiascope.steer("blocks.1.hook_resid_pre", np.ones(7))
    with pytest.raises(PluginError, match="plugin steer: the given vector has 7 numbers") as caught:
        model.logits(TEXT, interventions=short)
    assert "safetensors" not in str(caught.value)


def test_python_m_is_the_program() -> None:
    environment = {**os.environ, "PYTHIASCOPE_LIBRARY": str(program_path().parent / _library())}
    command = [sys.executable, "-m", "pythiascope", "--version"]
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == run_program("--version")
    command[-1] = "no-such-verb"
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 2 and b"no-such-verb" in done.stderr


def _library() -> str:
    from pythiascope._c.library import library_path

    return Path(library_path()).name
