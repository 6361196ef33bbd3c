"""Targets and contrasts as users give them, and as the library takes them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any, Union

import numpy as np

from ..errors import InputError

#: What to explain: a text of one token, an id, "next", or "top:K".
Target = Union[str, int]
Targets = Union[Target, Sequence[Target]]
Contrast = tuple[Target, Target]
Contrasts = Union[Contrast, Sequence[Contrast]]


def listed(given: Targets | None) -> list[Any]:
    """One target, several or none, as a list."""
    if given is None:
        return []
    if getattr(given, "ndim", 0) == 1:  # an array or a tensor of ids
        return list(np.asarray(given))
    return list(given) if isinstance(given, (list, tuple)) else [given]


def target_text(target: Any) -> str:
    """A target as the library takes it; InputError for what is none."""
    if isinstance(target, str) and "\0" not in target:
        return target
    if not isinstance(target, (str, bool, np.bool_)):
        try:
            return f"#{index(target)}"  # also of an array or tensor with one id
        except TypeError:
            pass
    raise InputError(f'a target is a text of one token, an id, "next" or "top:K", not {target!r}')


def contrasts_of(given: Any) -> list[tuple[Any, Any]]:
    """One pair of tokens, several or none, as a list; InputError for anything else."""
    if given is None:
        return []
    listed_pairs = isinstance(given, (list, tuple)) and bool(given)
    single = listed_pairs and (isinstance(given[0], str) or hasattr(given[0], "__index__"))
    pairs = [given] if single else given
    if not listed_pairs or any(
        not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs
    ):
        raise InputError(f"contrast={given!r} is not a pair of tokens, or a list of pairs")
    return [tuple(pair) for pair in pairs]
