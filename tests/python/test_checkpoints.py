"""Training steps: their names, and results over several of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pythiascope
from program import run_program
from pythiascope import InputError, IOFailure, Model

STEPS = ("step0", "step128", "step512", "step1000", "step1400", "step4000")
TEXT = "Grumbold saw Grumb"


def test_names_in_ascending_order() -> None:
    names = pythiascope.checkpoints("books-0.5m")
    assert names == [f"books-0.5m@{step}" for step in STEPS]
    assert pythiascope.checkpoints("books-0.5m@step8") == names, "what follows @ is ignored"
    with Model(names[1]) as model:
        assert model.cfg.model_name == "books-0.5m@step128"
        assert model.cfg.n_layers == 3


def test_a_folder_of_steps(tmp_path: Path) -> None:
    for step in (10, 9, 100):
        place = tmp_path / f"step{step}"
        place.mkdir()
        (place / "config.json").write_text("{}")
    names = pythiascope.checkpoints(tmp_path)
    assert names == [f"{tmp_path}@step{step}" for step in (9, 10, 100)]


def test_a_name_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "models--EleutherAI--pythia-9m"
    for k, step in enumerate(("step3000", "step20")):
        commit = str(k) * 40
        (root / "snapshots" / commit).mkdir(parents=True)
        (root / "snapshots" / commit / "config.json").write_text("{}")
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / step).write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name in ("EleutherAI/pythia-9m", "pythia-9m", "pythia-9m@main"):
        base = name.partition("@")[0]
        assert pythiascope.checkpoints(name) == [f"{base}@step20", f"{base}@step3000"]


@pytest.mark.parametrize("steps", ["all-steps", "step0,step128"])
@pytest.mark.parametrize("name", ["books-0.5m", "pythia-9m"])
def test_a_model_is_one_checkpoint(name: str, steps: str) -> None:
    with pytest.raises(InputError, match=rf"takes one checkpoint.*checkpoints\('{name}'\)"):
        Model(f"{name}@{steps}")


def test_no_steps(tmp_path: Path) -> None:
    with pytest.raises(IOFailure, match="step0"):
        pythiascope.checkpoints(tmp_path)
    with pytest.raises((IOFailure, InputError)):
        pythiascope.checkpoints("books-5m@step0")


def test_a_result_of_the_program_over_steps(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_program(
        *("analyze", "--model", "books-0.5m@step0,step4000", "--text", TEXT, "--target", "o"),
        *("--plugin", "attention", "--capture", "blocks.2.attn.hook_pattern", "--out", str(out)),
    )
    result = pythiascope.read_folder(out)
    detected = result["attention.tl_detect"]
    assert detected.dims == ("checkpoints", "layers", "heads", "kinds")
    assert detected.coords["checkpoints"] == ("step0", "step4000")
    assert result["checkpoints.step"].values.tolist() == [0, 4000]
    pattern = result["blocks.2.attn.hook_pattern"]
    assert pattern.dims == ("checkpoints", "heads", "rows", "keys")
    assert pattern.coords["checkpoints"] == ("step0", "step4000")
    for k, name in enumerate(("books-0.5m@step0", "books-0.5m@step4000")):
        with Model(name, threads=1) as model:
            one = model.attention(TEXT)
            np.testing.assert_array_equal(detected.values[k], one["tl_detect"].values)
            _, cache = model.run_with_cache(TEXT)
            np.testing.assert_array_equal(pattern.values[k], cache["pattern", 2][0])
