"""Texts, tokens and ids.

A Tokens object is one sequence as the C library takes it. Users see ids: int64 arrays [batch, pos],
padded on the right with -1 where sequences differ in length.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from .._c.library import call, library, take_text
from ..checks import yes_or_no
from ..errors import InputError
from .opened import OpenModel
from .pairs import Pairs

__all__ = [
    "Input",
    "Tokens",
    "bytes_of",
    "decode",
    "encode",
    "padded",
    "sequences_of",
    "text_of",
    "utf8",
]

# psc_token
TOKEN = np.dtype([("id", "<i4"), ("start", "<u4"), ("end", "<u4")])

Ids = npt.NDArray[np.int64]
# One sequence: a text, ids, or Tokens. A batch: a list of such, or ids [batch, pos].
Input = Union[
    str,
    "Tokens",
    Pairs,
    Sequence[str],
    Sequence[int],
    Sequence[Sequence[int]],
    npt.NDArray[Any],
]


class Tokens:
    """One sequence of tokens.

    Attributes:
        rows: [n] of psc_token: id, and the byte range [start, end) in text.
        text: The UTF-8 text that the ranges refer to; None for ids.
        bos: Whether the beginning-of-text token was put in front.
    """

    __slots__ = ("bos", "rows", "text")

    def __init__(
        self, rows: npt.NDArray[np.void], text: bytes | None = None, bos: bool = False
    ) -> None:
        self.rows = rows
        self.text = text
        self.bos = bos

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> Ids:
        """The ids, [n]."""
        return self.rows["id"].astype(np.int64)

    @property
    def ranges(self) -> Ids:
        """The byte ranges [start, end) in the text, [n, 2]; 0, 0 without a text."""
        return np.stack([self.rows["start"], self.rows["end"]], axis=1).astype(np.int64)

    @classmethod
    def of_ids(cls, ids: Iterable[int]) -> Tokens:
        """Tokens without a text from ids, [n]."""
        array = np.asarray(ids)
        rows = np.zeros(len(array), TOKEN)
        rows["id"] = array
        return cls(rows)


def encode(model: OpenModel, text: str, bos: bool = False) -> Tokens:
    """Tokenizes a text; bos puts the beginning-of-text token in front.

    Raises:
        InputError: The model has no tokenizer, or the text holds a lone surrogate.
    """
    raw = utf8(text)
    pointer, n = ctypes.c_void_p(), ctypes.c_int32()
    call(
        "psc_model_encode",
        ctypes.byref(pointer),
        ctypes.byref(n),
        model.pointer,
        raw,
        len(raw),
        bos,
    )
    rows = np.frombuffer(take_text(pointer, n.value * TOKEN.itemsize), TOKEN)
    return Tokens(rows, raw, bos)


def utf8(text: str) -> bytes:
    """A text in UTF-8.

    Raises:
        InputError: It is not a text, or holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise InputError(f"{text!r} is a {type(text).__name__}; pass a text")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text has a lone surrogate at character {error.start}; it has no UTF-8 form: "
            "decode the bytes with errors='replace'"
        ) from None


def c_text(text: str) -> bytes:
    """A text as the C library takes it, up to a 0 byte.

    Raises:
        InputError: It is not a text, or has no such form.
    """
    raw = utf8(text)
    if b"\0" in raw:
        raise InputError(f"{text!r} contains a 0 character; leave it out")
    return raw


def decode(model: OpenModel, ids: npt.NDArray[Any]) -> str:
    """The text of ids [n]; broken UTF-8 becomes U+FFFD, and -1 (padding) is left out.

    Raises:
        InputError: An id is outside the vocabulary, or the model has no tokenizer.
    """
    wanted = ids[ids != -1]
    _check_range(model, wanted)
    wanted = np.ascontiguousarray(wanted, np.int32)
    pointer, size = ctypes.c_void_p(), ctypes.c_size_t()
    call(
        "psc_model_decode",
        ctypes.byref(pointer),
        ctypes.byref(size),
        model.pointer,
        wanted.ctypes.data,
        len(wanted),
    )
    return take_text(pointer, size.value).decode()


def bytes_of(model: OpenModel, token: int) -> bytes | None:
    """A token's own bytes, perhaps part of a character; None for an id without a text."""
    size = ctypes.c_size_t()
    address = library().psc_model_token_bytes(model.pointer, token, ctypes.byref(size))
    return ctypes.string_at(address, size.value) if address else None


def text_of(model: OpenModel, token: int) -> str:
    """A token's text; part of a character becomes U+FFFD. #ID for an id without a text."""
    raw = bytes_of(model, token)
    return f"#{token}" if raw is None else raw.decode("utf-8", "replace")


def sequences_of(model: OpenModel, given: Input, bos: bool = False) -> tuple[list[Tokens], bool]:
    """The sequences that a user means, and whether they are a batch.

    Args:
        model: The model that tokenizes texts and has the ids.
        given: A text, ids [pos] or Tokens; or a list of those, or ids [batch, pos], -1: padding.
        bos: Put the beginning-of-text token in front of each.

    Raises:
        InputError: It is none of these, is empty, or has ids outside the vocabulary.
    """
    yes_or_no("prepend_bos", bos)
    if isinstance(given, Pairs):
        raise InputError("a set of pairs goes with the methods of plugins only; pass a text or ids")
    if isinstance(given, str):
        return [_one(model, given, bos)], False
    if isinstance(given, Tokens):
        return [given], False
    if isinstance(given, (list, tuple)):
        if not given:
            raise InputError("the input is an empty list; pass a text, ids, or a list of those")
        if isinstance(given[0], (int, np.integer)) and not isinstance(given[0], bool):
            return [_one(model, given, bos)], False
        return [_one(model, item, bos) for item in given], True
    if isinstance(given, (bytes, bytearray, memoryview)):
        return [_one(model, given, bos)], False
    array = np.asarray(given)
    if array.ndim == 2 and array.shape[0] > 0:
        return [_one(model, row, bos) for row in array], True
    return [_one(model, given if array.ndim == 0 else array, bos)], False


def _one(model: OpenModel, given: Any, bos: bool) -> Tokens:
    if isinstance(given, Tokens):
        return given
    if isinstance(given, str):
        tokens = encode(model, given, bos)
        if len(tokens) == 0:
            raise InputError("the text is empty; pass at least one token")
        return tokens
    ids = _ids(model, given)
    if bos:
        if model.bos < 0:
            raise InputError("the model has no beginning-of-text token; leave prepend_bos off")
        ids = np.concatenate([np.array([model.bos]), ids])
    tokens = Tokens.of_ids(ids)
    tokens.bos = bos
    return tokens


def _ids(model: OpenModel, given: Any) -> npt.NDArray[Any]:
    """Checked ids [n] without the padding on their right."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        raise InputError(f"the input is {type(given).__name__}; decode it to a str")
    try:
        ids = np.asarray(given)
    except ValueError:
        ids = np.zeros((), object)
    if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
        kind = type(given).__name__
        what = f"{kind} {given!r}" if ids.ndim == 0 else f"{kind} of {ids.dtype} {list(ids.shape)}"
        raise InputError(
            f"the input has no ids or texts ({_short(what)}); pass a text, whole-number ids [pos] "
            "or [batch, pos], or a list of those"
        )
    n = len(ids)
    while n > 0 and ids[n - 1] == -1:
        n -= 1
    ids = ids[:n]
    if n == 0:
        raise InputError("a sequence is empty; pass at least one token")
    _check_range(model, ids)
    return ids


def _short(what: str) -> str:
    return what if len(what) <= 60 else f"{what[:57]}..."


def _check_range(model: OpenModel, ids: npt.NDArray[Any]) -> None:
    wrong = np.flatnonzero((ids < 0) | (ids >= model.info.d_vocab))
    if wrong.size:
        raise InputError(
            f"id {ids[wrong[0]]} at position {wrong[0]} is outside 0..{model.info.d_vocab - 1}, "
            "the model's vocabulary"
        )


def padded(sequences: Sequence[Tokens]) -> Ids:
    """The ids of sequences, [batch, pos], with -1 on the right of the shorter ones."""
    longest = max(len(tokens) for tokens in sequences)
    out = np.full((len(sequences), longest), -1, np.int64)
    for row, tokens in zip(out, sequences):
        row[: len(tokens)] = tokens.rows["id"]
    return out
