"""Results as pages, in notebooks, and read from folders."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import pythiascope
from program import TEXT, run_program
from pythiascope import InputError, IOFailure, Model, Result, ablate, read_folder
from pythiascope.errors import Unsupported
from pythiascope.results import result_page
from pythiascope.results.result_html import result_html

HOSTILE = 'a <script>alert("x")</script> & so\ton'


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


@pytest.fixture(scope="module")
def result(model: Model) -> Result:
    result = model.lens(TEXT, rows="all")
    try:
        result.to_html()
    except Unsupported:
        pytest.skip("the library was built without the page")
    return result


def data_of(page: str) -> dict[str, object]:
    """The data block of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


# --- pages ---------------------------------------------------------------------------------------


def test_the_page_is_the_programs(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "theirs.html"
    arguments = ("analyze", "--text", TEXT, "--plugin", "lens:rows=all", "--threads", "1")
    run_program(*arguments, "--html", str(path))
    theirs = path.read_text(encoding="utf-8")
    command = data_of(theirs)["command"]
    assert isinstance(command, str)
    assert result.to_html(command=command) == theirs


def test_a_page_in_a_file(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert result.to_html(path) == path
    assert path.read_text(encoding="utf-8") == result.to_html()
    assert result.to_html(str(path), command="mine") == path
    assert data_of(path.read_text(encoding="utf-8"))["command"] == "mine"
    with pytest.raises(IOFailure, match="No such file"):
        result.to_html(tmp_path / "no such place" / "page.html")


def runs_of(page: str) -> list[dict[str, object]]:
    runs = data_of(page)["runs"]
    assert isinstance(runs, list)
    return runs


def test_two_results_on_a_page(model: Model, result: Result) -> None:
    changed = model.lens(TEXT, rows="all", interventions=ablate("L0H1"))
    page = changed.to_html(beside=result, label="changed", beside_label="plain")
    assert [run["label"] for run in runs_of(page)] == ["changed", "plain"]
    page = changed.to_html(beside=result)
    assert [run["label"] for run in runs_of(page)] == ["this result", "the result beside it"]
    assert [run["label"] for run in runs_of(changed.to_html())] == [""]


def test_fewer_bytes(model: Model) -> None:
    result = model.logits("the sea and " * 40, rows="all", level="head+neuron")
    small, large = result.to_html(page_bytes=50_000), result.to_html()
    assert len(small) < len(large)
    assert len(str(data_of(small)["notes"])) > 0


# --- notebooks -----------------------------------------------------------------------------------


def test_a_notebook_shows_the_page_in_a_frame(model: Model, result: Result) -> None:
    shown = result._repr_html_()
    frame = re.search(r"<iframe [^>]*? srcdoc=(['\"])(.*?)\1></iframe>", shown, re.DOTALL)
    assert frame
    assert html.unescape(frame[2]) == result.to_html(page_bytes=result_page.NOTEBOOK_BYTES)
    assert 'sandbox="allow-scripts allow-downloads"' in frame[0]
    outside = shown.replace(frame[0], "")
    assert html.escape(str(result)) in outside
    assert "<script" not in outside
    assert not re.search(r"(href|src|on\w+)=", outside)
    noted = model.spans("Hello there")._repr_html_()
    assert noted.startswith("<p><i>")
    assert "&lt;|endoftext|&gt; in front of the text; it was added" in noted


def test_hostile_texts_stay_texts(model: Model, result: Result) -> None:
    shown = model.lens(HOSTILE, rows="all")._repr_html_()
    assert shown.count("</iframe>") == 1
    assert "<script>alert" not in html.unescape(shown)


def test_a_long_text_is_cut(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_page, "MOST_TEXT", 100)
    outside = re.sub(r"srcdoc=.*", "", result._repr_html_(), flags=re.DOTALL)
    assert "… print(result) shows all of it" in outside
    assert len(outside) < 1000


def test_without_the_page_a_notebook_shows_a_small_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise Unsupported("no page")

    monkeypatch.setattr(Result, "to_html", refuse)
    page = model.lens(HOSTILE, rows="all")._repr_html_()
    assert "<script" not in page
    assert "<iframe" not in page
    assert "&lt;" in page
    assert len(page) < 30_000
    assert not re.search(r"(href|src)=", page)
    assert "lens.top_probs" in page
    assert page.count("<div") == page.count("</div>")
    noted = result_html(model.spans("Hello there"))
    assert "&lt;|endoftext|&gt; in front of the text; it was added" in noted
    assert "spans.xml" in noted
    long = model.lens("the sea and " * 120)
    assert f"and {len(long.tokens) - 256} more" in result_html(long)


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_is_read_again(model: Model, tmp_path: Path) -> None:
    before = model.analyze(TEXT, ["logits:rows=all", "lens:rows=all"], target=["next", " Oz"])
    read = read_folder(before.save(tmp_path / "first"))
    assert str(read) == str(before)
    assert read.to_dict() == before.to_dict()
    assert read.run == before.run
    assert read.tokens == before.tokens
    assert read.vocabulary == before.vocabulary != {}
    assert list(read.sections) == list(before.sections)
    for name, array in before.arrays.items():
        assert np.array_equal(read[name].values, array.values, equal_nan=array.dtype.kind == "f")
        assert read[name].dims == array.dims
        assert read[name].token_ids == array.token_ids
    again = read.save(tmp_path / "second")
    for name in ("results.json", "tensors.safetensors"):
        assert (again / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_a_read_result_lives_alone(tmp_path: Path) -> None:
    with Model(threads=1) as model:
        folder = model.lens(TEXT, rows="all").save(tmp_path / "out")
    array = read_folder(str(folder))["top_ids"]
    for path in folder.iterdir():
        path.unlink()
    assert array.values.shape == array.shape
    assert read_folder_fails(folder, IOFailure) == f"cannot open {folder}/results.json"


def read_folder_fails(folder: Path, kind: type[Exception]) -> str:
    """The sentence, up to a colon."""
    with pytest.raises(kind) as caught:
        read_folder(folder)
    return str(caught.value).split(":")[0]


def test_a_folder_of_the_program(tmp_path: Path) -> None:
    run_program("analyze", "--text", TEXT, "--plugin", "graph", "--out", str(tmp_path / "out"))
    read = read_folder(tmp_path / "out")
    assert read.files == {}
    files = read.main.values["files"]
    assert isinstance(files, list)
    assert "graph.json" in files
    assert len(read["link_weight"].values) > 0


def test_a_bad_folder(result: Result, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "out")
    (folder / "results.json").write_text("{}", encoding="utf-8")
    assert "is not a results.json" in read_folder_fails(folder, InputError)
