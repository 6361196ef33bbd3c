"""Scores: those of transformers, of the program, and of the logits; refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import run_program
from pythiascope import InputError, Model, StateError, ablate, patch, scale, steer

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "score" / "examples.jsonl"
LINES: list[dict[str, Any]] = [
    json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()
]


def requests_of(line: dict[str, Any]) -> list[tuple[str, str]]:
    if "text" in line:
        at = line["text"].rindex(" ")
        return [(line["text"][:at], line["text"][at:])]
    prefix = line.get("prefix", "")
    return [(prefix, choice) for choice in line.get("choices") or (line["good"], line["bad"])]


ALL = [request for line in LINES for request in requests_of(line)]


def test_the_sums_are_those_of_transformers(model: Model) -> None:
    scores = model.score(ALL)
    sums = [value for line in LINES for value in line["sums"]]
    assert np.abs(np.array([s.sum for s in scores]) - sums).max() < 1e-4
    assert [len(s.ids) for s in scores] == [n for line in LINES for n in line["tokens"]]
    assert [s.n_greedy for s in scores] == [n for line in LINES for n in line["greedy"]]
    assert [s.bytes for s in scores] == [len(text.encode()) for _, text in ALL]
    for s in scores:
        total = 0.0
        for value in s.log_p:  # in the order of the tokens
            total += float(value)
        assert s.sum == total
        assert s.is_greedy == (s.n_greedy == len(s.ids))


def test_the_program_has_the_same_bits(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    run_program("score", str(GOLDEN), "--examples", str(out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v for line in lines for v in line["sums"]] == [s.sum for s in model.score(ALL)]


def test_interventions_are_those_of_the_program(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    edits = ("--ablate", "L1H0", "--scale", "0_mlp_out:alpha=0.5")
    run_program("score", str(GOLDEN), "--examples", str(out), *edits)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    changes = [ablate("L1H0"), scale("0_mlp_out", alpha=0.5)]
    plain, changed = model.score(ALL), model.score(ALL, interventions=changes)
    assert [v for line in lines for v in line["sums"]] == [s.sum for s in changed]
    assert all(a.sum != b.sum for a, b in zip(plain, changed))
    assert model.score(ALL[3:4], interventions=changes)[0].sum == changed[3].sum
    assert [s.sum for s in model.score(ALL)] == [s.sum for s in plain]  # nothing is left behind


def test_interventions_that_scores_refuse(model: Model) -> None:
    pair = [("the old", " man")]
    for edit in (patch("L0H0", source="a"), steer("embed", plus="a", minus="b")):
        with pytest.raises(InputError, match="which score lacks"):
            model.score(pair, interventions=edit)
    with pytest.raises(StateError, match="edits last rows only"):
        model.score(pair, interventions=ablate("L1H0", rows="last"))
    with pytest.raises(InputError):
        model.score(pair, interventions=3)  # type: ignore[arg-type]
    assert model.score(pair)[0].sum < 0


def test_a_score_depends_on_its_request_alone(model: Model) -> None:
    together = model.score(ALL)
    backwards = model.score(ALL[::-1])[::-1]
    for i, request in enumerate(ALL):
        alone = model.score([request])[0]
        for other in (together[i], backwards[i]):
            assert alone.sum == other.sum and alone.n_greedy == other.n_greedy
            assert (alone.log_p == other.log_p).all() and (alone.ids == other.ids).all()


def test_ids(model: Model) -> None:
    prefix, text = "The old man", " sat by the fire"
    ids = model.to_tokens(prefix + text)[0]
    first = len(model.to_tokens(prefix)[0])
    by_ids = model.score([(ids[:first], ids[first:]), ([], ids)])
    by_text = model.score([(prefix, text), ("", prefix + text)])
    for a, b in zip(by_ids, by_text):
        assert a.sum == b.sum and (a.ids == b.ids).all() and a.bytes == 0
    losses = model(prefix + text, "loss", prepend_bos=True, loss_per_token=True)  # type: ignore[call-overload]
    assert np.allclose(by_text[1].log_p, -losses[0], atol=1e-12)


def test_where_a_continuation_begins(model: Model) -> None:
    spaced = model.score([("the old ", "man"), ("the old", " man")])
    assert spaced[0].sum == spaced[1].sum
    assert spaced[0].bytes == 3 and spaced[1].bytes == 4
    straddling = model.score([("a caf", "e and")])[0]
    assert model.to_string(straddling.ids) == "fe and"
    bos = model.score([("the old", " man")], prepend_bos=True)[0]
    assert bos.sum != spaced[1].sum and (bos.ids == spaced[1].ids).all()
    assert model.score([]) == []


def test_refusals(model: Model, bare_folder: str) -> None:
    for request, why in (
        (("a", ""), "continuation of request 0 is empty"),
        (([1], []), "continuation of request 0 is empty"),
        ((["a"], "b"), "two texts or two lists"),
        (("a", [1]), "two texts or two lists"),
        (([1.5], [1]), "two texts or two lists"),
        (([[1]], [1]), "two texts or two lists"),
        (([[1], [1, 2]], [1]), "two texts or two lists"),
        (([1, -1], [1]), "two texts or two lists"),
        ("abc", "not a pair"),
        ("ab", "not a pair"),
        ((None, "a"), "two texts or two lists"),
        (3, "not a pair"),
        (("a", " b" * 600), "context takes 512"),
        (([1], [5000]), "outside 0..4095"),
    ):
        with pytest.raises(InputError, match=why):
            model.score([request])  # type: ignore[list-item]
    for requests in (None, 3):
        with pytest.raises(InputError, match="not a list of pairs"):
            model.score(requests)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="request 0 is not a pair"):
        model.score("ab")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="prepend_bos"):
        model.score([("a", "b")], prepend_bos=1)  # type: ignore[arg-type]
    hooks = model.hooks([("hook_embed", lambda x, hook: None)])
    with hooks, pytest.raises(StateError, match="takes no hooks"):
        model.score([("a", " b")])
    with Model(bare_folder) as bare:
        assert bare.score([([1, 2], [3])])[0].sum < 0
        with pytest.raises(InputError):
            bare.score([("a", " b")])


def test_an_interrupt_leaves_the_model_usable(child: Any) -> None:
    code = """
import _thread, threading, time
import pythiascope
model = pythiascope.Model(threads=1)
requests = [("one " * 200 + str(i), " two" * 100) for i in range(2000)]
threading.Timer(1.0, _thread.interrupt_main).start()
begin = time.time()
try:
    model.score(requests)
    raise SystemExit("not interrupted")
except KeyboardInterrupt:
    pass
print(model.score([("the old", " man")])[0].sum < 0)
"""
    assert child(code).strip() == "True"
