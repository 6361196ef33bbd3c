"""The shards of the plugin activations, read by the recipes of docs/plugins/activations.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from corpus_files import make_corpus
from pythiascope import InputError, Model, merge

POINTS = "blocks.*.hook_resid_post+blocks.1.attn.hook_z"


def recipes() -> list[str]:
    text = (ROOT / "docs/plugins/activations.md").read_text()
    found = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(found) == 2
    return found


def read(folder: Path) -> dict[str, Any]:
    """All rows of a folder, by the recipe for NumPy."""
    names: dict[str, Any] = {}
    exec(recipes()[0], names)
    index = json.loads((folder / "index.json").read_text())
    shards = [names["shard"](folder / one["file"]) for one in index["shards"]]
    assert sum(one["rows"] for one in index["shards"]) == index["rows"]
    return {name: np.concatenate([s[name] for s in shards]) for name in shards[0]}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "docs")


def write(model: Model, docs: Path, out: Path, options: str = "", **given: Any) -> None:
    plugin = f"activations:out={out},points={POINTS},rows=300{options}"
    model.corpus(files=docs, plugins=[plugin], window=64, progress=False, **given)


def test_values_are_the_models_own(model: Model, docs: Path, tmp_path: Path) -> None:
    write(model, docs, tmp_path / "rows")
    rows = read(tmp_path / "rows")
    first = (rows["document"] == rows["document"][0]) & (rows["position"] < 64)
    _, cache = model.run_with_cache([int(i) for i in rows["token_ids"][first]])
    for name in ("blocks.0.hook_resid_post", "blocks.3.hook_resid_post", "blocks.1.attn.hook_z"):
        want = np.asarray(cache[name])
        assert rows[name][first].tobytes() == want.reshape(rows[name][first].shape).tobytes()


def test_parts_have_the_rows_of_one_run(model: Model, docs: Path, tmp_path: Path) -> None:
    write(model, docs, tmp_path / "whole")
    states = [tmp_path / f"{i}.state" for i in (1, 2)]
    for i in (1, 2):
        write(model, docs, tmp_path / "parts", shard=(i, 2), state=states[i - 1])
    merge(states, model=model)
    whole, parts = read(tmp_path / "whole"), read(tmp_path / "parts")
    order = [np.lexsort((a["position"], a["document"])) for a in (whole, parts)]
    for name in whole:
        assert np.array_equal(whole[name][order[0]], parts[name][order[1]])


def test_f16_and_bf16_are_numpys_rounding(model: Model, docs: Path, tmp_path: Path) -> None:
    for kind in ("f32", "f16", "bf16"):
        write(model, docs, tmp_path / kind, f",dtype={kind},sample=0.2")
    exact, half, upper = (read(tmp_path / kind) for kind in ("f32", "f16", "bf16"))
    name = "blocks.2.hook_resid_post"
    assert half[name].tobytes() == exact[name].astype(np.float16).tobytes()
    bits = exact[name].view(np.uint32)
    assert np.array_equal(upper[name], (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def test_datasets_reads_the_shards(model: Model, docs: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("safetensors")
    write(model, docs, tmp_path / "books-rows", ",sample=0.05")
    script = recipes()[1] + "\nprint(dataset.num_rows, sorted(dataset.column_names)[0])\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    n = len(read(tmp_path / "books-rows")["document"])
    assert done.stdout.decode().split() == [str(n), "blocks.0.hook_resid_post"]


def test_a_folder_with_rows_is_refused(model: Model, docs: Path, tmp_path: Path) -> None:
    write(model, docs, tmp_path / "rows")
    with pytest.raises(InputError, match="has the rows of an earlier run"):
        write(model, docs, tmp_path / "rows")
