"""Python values as the texts that plugins' options take.

True -> "yes"   0.5 -> "0.5"   ["head", "neuron"] -> "head+neuron"
rows: -1 -> "last"   3 -> "3"   range(2, 6), slice(2, 6), (2, 5) -> "2-5"
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

import numpy as np

from .._c import structures as c
from ..errors import InputError
from .tables import Option, Table

Rows = Union[Literal["auto", "all", "last"], str, int, range, slice, "tuple[int, int]"]
Layers = Union[Literal["none", "all", "auto"], str, int, range, slice, "tuple[int, int]"]
Heads = Union[Literal["all"], str, int, range, slice, "tuple[int, int]"]
Words = Union[str, Sequence[str]]
Text = Union[str, int, "os.PathLike[str]"]
OptionValue = Union[
    str, bool, int, float, range, slice, "tuple[int, int]", Sequence[str], "os.PathLike[str]"
]

_RANGED = {c.PSC_OPTION_ROWS, c.PSC_OPTION_LAYER, c.PSC_OPTION_LAYERS, c.PSC_OPTION_HEADS}
_NAMES = {
    c.PSC_OPTION_ROWS: ("auto", "all", "last"),
    c.PSC_OPTION_LAYERS: ("none", "all", "auto"),
    c.PSC_OPTION_HEADS: ("all",),
    c.PSC_OPTION_LAYER: (),
}


def option_text(plugin: str, option: Option, value: Any) -> str:
    """The value as the option's text; InputError names the option and what it takes."""
    text = _convert(option, value)
    if text is None or "\0" in text or not _has_bytes(text):
        raise InputError(f"{plugin}: {option.key}={value!r} is not {option.takes}")
    return text


def default_of(option: Option) -> Any:
    """The option's default as a Python value, for signatures."""
    text = option.default
    if option.kind == c.PSC_OPTION_YES_NO:
        return text == "yes"
    if option.kind in (c.PSC_OPTION_COUNT, c.PSC_OPTION_LAYER):
        return int(text)
    if option.kind == c.PSC_OPTION_NUMBER:
        return float(text)
    return text


def _has_bytes(text: str) -> bool:
    """Whether a text has a UTF-8 form; a path's bytes that are not UTF-8 count, too."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def option_texts(table: Table, values: Mapping[str, Any]) -> dict[str, str]:
    """The texts of options by key; those whose value is None are left out."""
    given = {key: value for key, value in values.items() if value is not None}
    return {key: option_text(table.name, table.option(key), v) for key, v in given.items()}


def _convert(option: Option, value: Any) -> str | None:
    kind = option.kind
    if kind == c.PSC_OPTION_YES_NO:
        if isinstance(value, (bool, np.bool_)):
            return "yes" if value else "no"
        return value if isinstance(value, str) and value in ("yes", "no") else None
    if kind == c.PSC_OPTION_WORD:
        return value if isinstance(value, str) and value in option.words else None
    if kind == c.PSC_OPTION_WORDS:
        return _words(option, value)
    if kind in (c.PSC_OPTION_COUNT, c.PSC_OPTION_NUMBER):
        return _number(option, value)
    if kind in _RANGED:
        return _range(kind, value)
    return _free(value, "/" if option.key == "levels" else "+")


def positions_text(what: str, value: Any) -> str:
    """Positions as "all", "A" or "A-B"; InputError for anything else."""
    text = _range(c.PSC_OPTION_HEADS, value)
    if text is None:
        raise InputError(f'{what}={value!r} is not "all", a position, or a range of positions')
    return text


def _words(option: Option, value: Any) -> str | None:
    words = value.split("+") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple, set, frozenset)) or not words:
        return None
    if isinstance(words, (set, frozenset)):
        words = [word for word in option.words if word in words] if words else None
    return "+".join(words) if words and all(word in option.words for word in words) else None


def _number(option: Option, value: Any) -> str | None:
    whole = option.kind == c.PSC_OPTION_COUNT
    text = value if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    try:
        number = (int if whole else float)(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if number != value and text is None:  # 1.5 for a whole number
        return None
    if not math.isfinite(number) or not option.low <= number <= option.high:
        return None
    return text if text is not None else repr(number)


def _index(value: Any) -> int | None:
    """A whole number of Python's or NumPy's; None for anything else."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _range(kind: int, value: Any) -> str | None:
    if isinstance(value, str):
        return value if value in _NAMES[kind] or _is_range_text(value, kind) else None
    one = _index(value)
    if one is not None:
        return "last" if one == -1 and kind == c.PSC_OPTION_ROWS else _between(one, one)
    if kind == c.PSC_OPTION_LAYER:
        return None
    if isinstance(value, slice) and value == slice(None):
        return "all"
    if isinstance(value, (range, slice)):
        first, stop = _index(value.start or 0), _index(value.stop)
        if value.step not in (None, 1) or stop is None:
            return None
        return _between(first, stop - 1)
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return _between(_index(value[0]), _index(value[1]))
    return None


def _between(first: int | None, last: int | None) -> str | None:
    if first is None or last is None or not 0 <= first <= last < 2**31 - 1:
        return None
    return str(first) if first == last else f"{first}-{last}"


def _is_range_text(text: str, kind: int) -> bool:
    first, dash, last = text.partition("-")
    if dash and kind == c.PSC_OPTION_LAYER:
        return False
    numbers = (first, last) if dash else (first,)
    return all(n.isascii() and n.isdigit() for n in numbers)


def _free(value: Any, between: str = "+") -> str | None:
    """A free text. Numbers, positions and lists are written as on the command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (range, slice)) or (
        isinstance(value, tuple) and len(value) == 2 and _index(value[0]) is not None
    ):
        return _range(c.PSC_OPTION_ROWS, value)
    if _index(value) is not None:
        return str(_index(value))
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)) and value:
        parts = [_free(one) for one in value]
        return between.join(p for p in parts if p is not None) if None not in parts else None
    return None
