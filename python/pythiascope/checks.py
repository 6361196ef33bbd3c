"""Checks of what users give, before ctypes would cut it to size."""

from __future__ import annotations

import operator
import os
from typing import Any

from .errors import InputError

__all__ = ["pair", "path_text", "whole", "yes_or_no"]


def whole(what: str, value: Any, low: int, high: int) -> int:
    """A whole number in low..high, as an int.

    Raises:
        InputError: It is something else.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if not low <= number <= high:
        raise InputError(f"{what} is {value!r}; pass a whole number from {low} to {high}")
    return number


def path_text(what: str, value: Any) -> str:
    """A path as a text.

    Raises:
        InputError: It is something else.
    """
    text = os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else "\0"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        text = "\0"
    if "\0" in text or not text:
        raise InputError(f"{what} is {value!r}; pass a path")
    return text


def pair(what: str, value: Any) -> tuple[int, int]:
    """A pair of whole numbers (A, B) with 1 <= A <= B.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"{what} is {value!r}; pass (A, B) with 1 <= A <= B")
    first = whole(what, value[0], 1, (1 << 31) - 1)
    return first, whole(what, value[1], first, (1 << 31) - 1)


def yes_or_no(what: str, value: Any) -> bool:
    """True or False.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(value, bool):
        raise InputError(f"{what} is {value!r}; pass True or False")
    return value
