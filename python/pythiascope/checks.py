"""Checks of what users give, before ctypes would cut it to size."""

from __future__ import annotations

import operator
from typing import Any

from .errors import InputError

__all__ = ["whole"]


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
