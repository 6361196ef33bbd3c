"""Arguments that once were taken in silence, or failed without a sentence."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pythiascope
from pythiascope import InputError, Model, Plugin, StateError

TEXT = "The sun rose"
Call = Callable[[Model], object]

CALLS: list[tuple[Call, str]] = [
    (lambda m: m(bytearray(b"x")), "the input is bytearray; decode it to a str"),
    (lambda m: m([b"x"]), "the input is bytes; decode it to a str"),
    (lambda m: m(TEXT, prepend_bos=1), "prepend_bos is 1; pass True or False"),
    (lambda m: m.generate(TEXT, 1, prepend_bos=None), "prepend_bos is None; pass True"),
    (lambda m: m.to_single_str_token(1.5), "the token is 1.5; pass a whole number from 0 to 4095"),
    (lambda m: m.get_token_position(1.5, [1]), "the token is 1.5; pass a whole number"),
    (lambda m: m.run_with_cache(TEXT, stop_at_layer=1.5), "stop_at_layer is 1.5; pass a whole"),
    (lambda m: m.generate(TEXT, 1, temperature="1"), "temperature is '1'; pass a number"),
    (lambda m: m.generate(TEXT, 1, stop=[b"a"]), "stop is [b'a']; pass a text or a list of texts"),
    (lambda m: m.corpus([TEXT], ["ln"], field="a\0b"), "field is 'a\\x00b'; pass the name of a"),
    (lambda m: m.corpus([TEXT], ["ln"], field=None), "field is None; pass the name of a field"),
    (lambda m: m.corpus([TEXT], ["ln"], bos="no"), "bos is 'no'; pass True or False"),
    (lambda m: m.corpus([TEXT], ["ln"], strict="no"), "strict is 'no'; pass True or False"),
    (lambda m: m.analyze(TEXT, ["logits:level=head\0x"]), "'head\\x00x' contains a 0 character"),
    (lambda m: m.plugin("./a.so\0x"), "'./a.so\\x00x' is not a path: it has a 0 character"),
    (lambda m: m.plugin(None), "a path is a str or a pathlib.Path, not NoneType"),
    (lambda m: Model(m.folder + "\0x"), "is not a path: it has a 0 character"),
    (lambda m: Model(5), "a path is a str or a pathlib.Path, not int"),
    (lambda m: Model("\ud800"), "is not a path: it has a lone surrogate"),
    (lambda m: pythiascope.steer("embed", [1j]), "steer: the vector has values of type complex128"),
    (lambda m: pythiascope.steer("embed", ["x"]), "steer: the vector has values of type <U1"),
    (lambda m: m.ln(TEXT).to_html(beside="x"), "beside is 'x'; pass a Result"),
    (lambda m: m.ln(TEXT).to_html(label=5), "5 is a int; pass a text"),
    (lambda m: m.ln(TEXT).to_html(command="a\0b"), "contains a 0 character"),
    (lambda m: m.ln(TEXT).to_html(page_bytes=-1), "page_bytes is -1; pass a whole number"),
    (lambda m: m.ln(TEXT).to_html(page_bytes="x"), "page_bytes is 'x'; pass a whole number"),
    (lambda m: m.ln(TEXT).to_html("a\0b"), "is not a path: it has a 0 character"),
    (lambda m: pythiascope.read_folder(5), "a path is a str or a pathlib.Path, not int"),
    (lambda m: Model(isa=5), "5 is a int; pass a text"),
]


@pytest.mark.parametrize(("call", "sentence"), CALLS)
def test_one_sentence(model: Model, call: Call, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        call(model)
    assert sentence in str(caught.value)


def test_a_folder_with_a_0_character_is_not_cut_there(model: Model, tmp_path: Path) -> None:
    result = model.logits(TEXT)
    for name in ("out\0x", "out\ud800"):
        with pytest.raises(InputError, match="is not a path"):
            result.save(str(tmp_path / name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_results_cannot_be_copied(model: Model, act: Callable[[Any], object]) -> None:
    result = model.logits(TEXT)
    with pytest.raises(StateError, match="results cannot be pickled or copied; take"):
        act(result._reader)
    if act is not copy.copy:
        with pytest.raises(StateError, match="results cannot be pickled or copied; take"):
            act(result)
    assert act(result["contributions"]) is not None


@pytest.mark.parametrize("entries", [1 << 27, range(-(1 << 40), 0), 10**30])
def test_an_axis_without_end(model: Model, entries: Any) -> None:
    class Long(Plugin):
        """An axis that would fill the memory."""

        def report(self, host: pythiascope.Host) -> None:
            host.axis("long", entries)

    with pytest.raises(InputError, match="axis long has more than 67108864 entries; make it"):
        model.analyze(TEXT, [Long()])


def test_axes_of_ranges(model: Model) -> None:
    class Ranges(Plugin):
        """Axes of whole numbers."""

        def report(self, host: pythiascope.Host) -> None:
            host.axis("down", range(5, -5, -3))
            host.axis("far", range(-(2**31), 2**31, 2**31 - 1))
            host.array("x", ["down", "far"])

    found = model.analyze(TEXT, [Ranges()])["x"].coords
    assert list(found["down"]) == [5, 2, -1, -4]
    assert list(found["far"]) == [-(2**31), -1, 2**31 - 2]


def test_a_bar_without_stderr(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert model.corpus([TEXT], ["ln"], progress=True).sections


@pytest.mark.parametrize("at", ["open", "run_begin", "run_end", "report"])
def test_a_model_that_a_plugin_closes_finishes_its_run(at: str) -> None:
    opened = Model(threads=1)
    kind = type("Closer", (Plugin,), {"__doc__": "x", at: lambda self, host: opened.close()})
    assert opened.analyze(TEXT, [kind()]).sections
    with pytest.raises(StateError, match="this model is closed"):
        opened(TEXT)
