"""Labelled prompts for ``directions``: read, split into training and held-out ones, run.

The order of the prompts does not matter. They are sorted by a hash of the seed and the text:
h = mix(FNV-1a(text) ^ mix(seed)), held out if h / 2^64 < held_out, as the program's verb does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._c import structures as c
from ..errors import InputError, IOFailure
from ..runtime.tokens import Tokens, encode, utf8

if TYPE_CHECKING:
    from ..runtime.opened import OpenModel
    from ..runtime.session import Session

_WORD = (1 << 64) - 1
_MOST_BYTES, _MOST_LABEL, _MOST_CLASSES = 16 << 20, 200, 256


def _mix(h: int) -> int:
    """The last step of MurmurHash3."""
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & _WORD
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & _WORD
    return h ^ h >> 33


def _fnv(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & _WORD
    return h


class Classed(NamedTuple):
    """A prompt in the order of the runs."""

    held: int
    of_class: int
    hash: int
    text: bytes
    tokens: Tokens


class Classes(NamedTuple):
    """Labels in the order of their bytes, and all prompts in the order of the runs."""

    labels: list[str]
    hash: str
    prompts: list[Classed]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(one.tokens) for one in self.prompts)

    def run(self, session: Session, batch: int) -> None:
        """Runs of PSC_PHASE_SOURCE, source 2 c + held, at most ``batch`` prompts each."""
        first = 0
        while first < len(self.prompts):
            head, last = self.prompts[first], first
            while last < len(self.prompts) and last - first < batch:
                if self.prompts[last][:2] != head[:2]:
                    break
                last += 1
            inputs = [one.tokens for one in self.prompts[first:last]]
            source = 2 * head.of_class + head.held
            session.run(inputs, bos=head.tokens.bos, phase=c.PSC_PHASE_SOURCE, source=source)
            first = last


def take_classes(
    model: OpenModel,
    prompts: Mapping[str, Iterable[str]] | str | os.PathLike[str],
    held_out: float,
    seed: int,
    bos: bool,
) -> Classes:
    """Reads, splits, sorts and tokenizes the prompts.

    Raises:
        InputError: Fewer than two labels, a label or a text that does not fit.
    """
    found = _of_mapping(prompts) if isinstance(prompts, Mapping) else read_labelled(prompts)
    labels = sorted({label for label, _ in found}, key=str.encode)
    if not 2 <= len(labels) <= _MOST_CLASSES:
        raise InputError(
            f"directions: the prompts have {len(labels)} labels; 2 to {_MOST_CLASSES} are needed"
        )
    number = {label: i for i, label in enumerate(labels)}
    total, listed = 0, []
    for label, text in found:
        raw = utf8(text)
        total += _mix(_fnv(label.encode() + b"\0" + raw))
        h = _mix(_fnv(raw) ^ _mix(seed))
        held = int((h >> 11) * 2.0**-53 < held_out)
        listed.append((held, number[label], h, raw, text))
    listed.sort(key=lambda one: one[:4])
    made = [Classed(*one[:4], _tokens(model, one[4], bos)) for one in listed]
    return Classes(labels, f"{total & _WORD:016x}", made)


def _tokens(model: OpenModel, text: str, bos: bool) -> Tokens:
    tokens = encode(model, text, bos)
    if not 0 < len(tokens) <= model.info.n_ctx:
        raise InputError(
            f"directions: the prompt {text[:60]!r} has {len(tokens)} tokens; the model takes 1 to "
            f"{model.info.n_ctx}"
        )
    return tokens


def _label(where: str, label: Any) -> str:
    if isinstance(label, bool):
        label = "true" if label else "false"
    elif isinstance(label, int):
        label = str(label)
    if not isinstance(label, str) or not 0 < len(utf8(label)) <= _MOST_LABEL or "\n" in label:
        raise InputError(
            f"{where}: the label {label!r} is not a text of 1 to {_MOST_LABEL} bytes without a "
            "line break"
        )
    return label


def _of_mapping(prompts: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    found = []
    for label, texts in prompts.items():
        if isinstance(texts, str) or not isinstance(texts, (Sequence, set, frozenset)):
            raise InputError(f"directions: the prompts of {label!r} are not a list of texts")
        name = _label("directions", label)
        found += [(name, text) for text in texts]
    return found


def read_labelled(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Labels and texts of a JSONL file with an object {"text": S, "label": L} in each line."""
    path = os.fspath(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{path} is not a regular file")
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise IOFailure(f"cannot open {path}: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise InputError(f"{path} is longer than 16 MiB; split it")
    found = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            one = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON: {error}") from None
        if not isinstance(one, dict) or not isinstance(one.get("text"), str) or "label" not in one:
            raise InputError(f'{where}: each line must be an object {{"text": S, "label": L}}')
        found.append((_label(where, one["label"]), one["text"]))
    return found
