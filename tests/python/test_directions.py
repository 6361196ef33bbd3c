"""Directions: the editor against NumPy in hooks, what is fitted against the program's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythiascope
from neox import read_tensors
from program import TEXT, check_same, run_program
from pythiascope import InputError, Model, PluginError, direction

PLACE = "blocks.1.hook_resid_pre"
SKY = [f"the {x} {y} and the {z}" for x in ("red", "old") for y in ("sun", "moon") for z in
       ("star", "light", "morning")]  # fmt: skip
SEA = [f"a {x} {y} by the {z}" for x in ("small", "new") for y in ("boat", "ship") for z in
       ("shore", "sail", "harbour")]  # fmt: skip


def edited(model: Model, change: Callable[[Any], Any]) -> Any:
    """Logits of the text with a change of PLACE by hand."""
    return model.run_with_hooks(TEXT, fwd_hooks=[(PLACE, lambda x, hook: change(x))])


def changed(model: Model, intervention: Any) -> Any:
    """The same logits by the editor."""
    return model.analyze(TEXT, capture="hook_logits", interventions=intervention)["hook_logits"]


def test_out_set_and_add_are_those_of_numpy(model: Model) -> None:
    vectors = np.random.default_rng(5).standard_normal((3, model.cfg.d_model)).astype(np.float32)
    basis = np.linalg.qr(vectors.T.astype(np.float64))[0].T
    value = np.array([1.0, -2.0, 0.5])
    signs = np.sign((basis * vectors).sum(-1))

    def out(x: Any) -> Any:
        return (x - (x @ basis.T) @ basis).astype(np.float32)

    def put(x: Any) -> Any:
        return (x + (value * signs - x @ basis.T) @ basis).astype(np.float32)

    def add(x: Any) -> Any:
        return x + np.float32(0.5) * vectors[1]

    for change, by_hand in (
        (direction(PLACE, vector=vectors), out),
        (direction(PLACE, vector=vectors.T, vectors="columns"), out),
        (direction(PLACE, vector=vectors, do="set", value=value), put),
        (direction(PLACE, vector=vectors, index=[1], do="add", alpha=0.5), add),
    ):
        got, want = np.asarray(changed(model, change)), np.asarray(edited(model, by_hand))
        assert np.abs(got - want.reshape(got.shape)).max() < 2e-4, change


def test_named_and_sets(model: Model) -> None:
    row = np.asarray(model.W_in[0][:, 3])
    named = changed(model, direction(PLACE, along=["L0N3.in"]))
    given = changed(model, direction(PLACE, vector=row))
    assert np.array_equal(np.asarray(named), np.asarray(given))
    one = direction(PLACE, plus=SKY[:2], minus=SEA[:2], pca=1)
    assert one.prompts == {"plus": SKY[:2], "minus": SEA[:2]}
    kl = model.effects(TEXT, interventions=one)["kl"]
    source = {"source": [*SKY[:2], *SEA[:2]]}
    numbered = direction(PLACE, plus=1, minus=3)
    assert kl[0] > 0
    assert model.effects(TEXT, interventions=numbered, **source)["kl"][0] > 0


def test_what_the_program_fits(model: Model, tmp_path: Path) -> None:
    lines = [{"text": t, "label": x} for x, texts in (("sky", SKY), ("sea", SEA)) for t in texts]
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    given = {"at": "blocks.*.hook_resid_post", "rows": "all", "of": "mean"}
    here = model.directions({"sky": SKY, "sea": SEA}, **given, save=tmp_path / "here")
    options = ("--rows", "all", "--of", "mean", "--save", str(tmp_path / "there"))
    at = ("--at", "blocks.*.hook_resid_post")
    run_program("directions", str(path), *at, *options)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    plain = model.directions(path, **given, batch=7, held_out=0.5, seed=3)
    options = (*options[:4], "--held-out", "0.5", "--seed", "3", "--batch", "7")
    check_same(plain, tmp_path, "directions", str(path), *at, *options)
    assert here["accuracy"].shape == (model.cfg.n_layers,)


def test_a_file_is_read_as_it_is(model: Model, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    model.directions({"sky": SKY, "sea": SEA}, at=PLACE, save=file, held_out=0)
    vector = read_tensors(file)["mean_difference"]
    by_file = changed(model, direction(PLACE, file=file))
    assert np.array_equal(
        np.asarray(by_file), np.asarray(changed(model, direction(PLACE, vector=vector)))
    )
    bytes_ = file.read_bytes().replace(model.hash.encode(), b"0" * 32)
    file.write_bytes(bytes_)
    with pytest.raises(PluginError, match="was made with the model 0000"):
        changed(model, direction(PLACE, file=file))


Call = Callable[[Model], Any]
TWO = {"sky": SKY, "sea": SEA}
BAD: list[tuple[Call, str]] = [
    (lambda m: direction(PLACE, "L0N3.in", vector=[1.0]), "give along, a vector, a file, or the"),
    (lambda m: direction(PLACE, "L0N3.in", source=TEXT), "source= needs do='swap'"),
    (lambda m: direction(PLACE, "L0N3.in", do="x"), "do='x' is not"),
    (lambda m: direction(PLACE, vector=["x"]), "direction: the vector has values of type <U1"),
    (lambda m: direction(PLACE, vector=[np.nan]), "direction: the vector is empty or has a number"),
    (lambda m: direction(PLACE, vector=[1.0], value=[1j]), "value=[1j] is not a number or a list"),
    (lambda m: direction(PLACE, vector=[1.0], index=0.5), "index=0.5 is not a number or a list"),
    (lambda m: direction(PLACE, along=[1j]), "along=[1j] is not"),
    (lambda m: direction("x", "L0N3.in"), "at='x' is not a place"),
    (lambda m: m.directions({"sky": SKY}, at="embed"), "the prompts have 1 labels"),
    (lambda m: m.directions({"sky": "a", "sea": SEA}, at="embed"), "are not a list of texts"),
    (lambda m: m.directions({"a\nb": SKY, "sea": SEA}, at="embed"), "the label 'a\\nb' is not"),
    (lambda m: m.directions({"sky": [1], "sea": SEA}, at="embed"), "1 is a int; pass a text"),
    (lambda m: m.directions({"sky": [""], "sea": SEA}, at="embed"), "has 0 tokens"),
    (lambda m: m.directions(TWO, at="embed", held_out=1), "held_out=1 is not a number of 0"),
    (lambda m: m.directions(TWO, at="embed", seed=-1), "seed is -1"),
    (lambda m: m.directions(5, at="embed"), "prompts is 5; pass a path"),
    (lambda m: m.directions("/nowhere", at="embed"), "cannot open /nowhere"),
    (lambda m: m.directions(TWO), "at= is missing"),
    (lambda m: m.directions(TWO, at="L0N3"), "is one number"),
]


@pytest.mark.parametrize(("call", "sentence"), BAD)
def test_one_sentence(model: Model, call: Call, sentence: str) -> None:
    with pytest.raises(pythiascope.PythiascopeError) as caught:
        call(model)
    assert sentence in str(caught.value)


def test_a_wrong_line_is_named(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for line, sentence in (
        ("{", "line 2: not JSON"),
        ('{"text": "a"}', "line 2: each line must be an object"),
        ('{"text": "a", "label": 1.5}', "line 2: the label 1.5 is not a text"),
    ):
        path.write_text('{"text": "b", "label": true}\n' + line)
        with pytest.raises(InputError, match=sentence):
            model.directions(path, at="embed")
