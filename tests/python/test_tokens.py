"""Texts to ids and back."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythiascope
from pythiascope import InputError, Model
from pythiascope.runtime.opened import embedded_folder

TEXT = "Die Sonne — the sun — rose over 東京 🌅."


def test_ids_are_those_of_the_program(model: Model) -> None:
    ids = model.to_tokens("The sun rose over the hill.")
    assert ids.dtype == np.int64
    assert ids.shape[0] == 1
    assert model.to_string(ids) == ["The sun rose over the hill."]
    assert model.to_string(ids[0]) == "The sun rose over the hill."


def test_a_ragged_batch_is_padded_and_the_padding_is_understood(model: Model) -> None:
    texts = ["The sun", "The sun rose over the hill"]
    ids = model.to_tokens(texts)
    assert ids.shape == (2, len(model.to_str_tokens(texts[1])))
    assert (ids[0, 2:] == -1).all() and (ids[1] >= 0).all()
    assert model.to_string(ids) == texts
    assert (model.to_tokens(ids) == ids).all()
    assert model.to_str_tokens(ids)[0] == ["The", " sun"]


def test_str_tokens(model: Model) -> None:
    assert model.to_str_tokens("The sun rose") == ["The", " sun", " rose"]
    assert model.to_str_tokens(["The sun", "A"]) == [["The", " sun"], ["A"]]
    ids = model.to_tokens("The sun rose")[0]
    assert model.to_str_tokens(ids) == ["The", " sun", " rose"]
    assert model.to_str_tokens(list(ids)) == ["The", " sun", " rose"]


def test_ranges_tile_the_bytes_of_the_text(model: Model) -> None:
    raw = TEXT.encode()
    ids, ranges = model.tokens_with_ranges(TEXT)
    assert (ids == model.to_tokens(TEXT)[0]).all()
    assert ranges[0, 0] == 0 and ranges[-1, 1] == len(raw)
    assert (ranges[1:, 0] == ranges[:-1, 1]).all()
    for i, (begin, end) in zip(ids, ranges):
        assert raw[begin:end].decode("utf-8", "replace") == model.to_single_str_token(i)
    assert model.to_string(ids) == TEXT


def test_bos(model: Model) -> None:
    bos = model.cfg.bos_id
    ids = model.to_tokens("The sun", prepend_bos=True)
    assert ids[0, 0] == bos
    assert (ids[0, 1:] == model.to_tokens("The sun")[0]).all()
    assert (model.to_tokens([5, 6], prepend_bos=True) == [[bos, 5, 6]]).all()
    _, ranges = model.tokens_with_ranges("The sun", prepend_bos=True)
    assert ranges.tolist() == [[0, 0], [0, 3], [3, 7]]


def test_single_tokens(model: Model) -> None:
    sun = model.to_single_token(" sun")
    assert model.to_single_str_token(sun) == " sun"
    assert model.to_string(sun) == " sun"
    assert model.get_token_position(" sun", "The sun, the sun") == 1
    assert model.get_token_position(sun, "The sun, the sun", mode="last") == 4
    with pytest.raises(InputError, match="tokens"):
        model.to_single_token(" sun rose")
    with pytest.raises(InputError, match="0 tokens"):
        model.to_single_token("")
    with pytest.raises(InputError, match="does not stand"):
        model.get_token_position(" moon", "The sun")


def test_a_text_with_zero_bytes_and_broken_ids(model: Model) -> None:
    text = "a\0b"
    assert model.to_string(model.to_tokens(text)[0]) == text
    assert "\ufffd" in model.to_string([int(model.to_tokens("🌅")[0, 0])])


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        [],
        [[]],
        ["The", ""],
        [-1, -1],
        [1, -1, 2],
        [-2],
        [1, 1 << 40],
        [1 << 31],
        [1.5],
        [True, False],
        np.zeros((2, 2, 2), int),
        np.zeros((0, 3), int),
        np.array(["a"]),
        [[1], [1.5]],
        [None],
        None,
        {"a": 1},
        b"bytes",
        "\ud800",
        [[1, 2], object()],
    ],
    ids=lambda wrong: ascii(wrong)[:20],
)
def test_wrong_inputs_are_one_sentence(model: Model, wrong: object) -> None:
    with pytest.raises(InputError) as caught:
        model.to_tokens(wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        model(wrong)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [(5, "(int 5)"), (None, "(NoneType None)"), ([1.5, 2.5], "(float 1.5)")],
)
def test_a_wrong_input_is_shown(model: Model, wrong: Any, shown: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"the input has no ids or texts {shown}; pass")):
        model(wrong)
    with pytest.raises(InputError, match=re.escape("ndarray of float64 [2]")):
        model(np.array([1.5, 2.5]))


def test_wrong_tokens_of_to_string(model: Model) -> None:
    with pytest.raises(InputError, match="whole-number"):
        model.to_string([1.5])
    with pytest.raises(InputError, match="outside"):
        model.to_string([-5])
    with pytest.raises(InputError):
        model.to_string([1 << 40])


def test_a_model_without_a_tokenizer_takes_ids(bare_folder: str) -> None:
    with pythiascope.Model() as full, pythiascope.Model(bare_folder) as bare:
        assert not bare.has_tokenizer and full.has_tokenizer
        ids = full.to_tokens("The sun rose")
        assert (bare(ids) == full("The sun rose")).all()
        with pytest.raises(InputError, match="tokenizer"):
            bare("The sun rose")
        with pytest.raises(InputError, match="tokenizer"):
            bare.to_string(ids)
        assert bare.to_str_tokens([1, 2]) == ["#1", "#2"]
        assert (bare.generate(ids, 5) == full.generate(ids, 5)).all()


def test_a_beginning_token_outside_the_vocabulary_is_not_replaced(tmp_path: Path) -> None:
    folder = embedded_folder()
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(os.path.join(folder, name))
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["bos_token_id"] = 99999
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with Model(str(tmp_path)) as outside:
        for given in ("The sun", [5, 6]):
            with pytest.raises(InputError, match="beginning"):
                outside(given, prepend_bos=True)
