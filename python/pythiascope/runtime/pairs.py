"""Sets of pairs: psc_pairs.h. A set stands in place of a text in every method over a text."""

from __future__ import annotations

import ctypes
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

from .._c import structures as c
from .._c.library import call, library
from .._c.paths import path_bytes
from ..checks import whole
from ..errors import InputError, IOFailure
from .opened import OpenModel

__all__ = ["OpenPairs", "Pairs"]

_ALIGNS = ("equal", "end", "start", "spans")
_FULL_PASS = 512  # rows that fill a pass
_MOST_CACHE = 1 << 30  # bytes of keys and values, unless one sequence has more
_MOST_BYTES = 16 << 20  # of a file


class Pairs:
    """Prompts with a target, and perhaps a second prompt each, analyzed as one set.

        pairs = pythiascope.Pairs("pronouns.jsonl")
        result = model.effects(pairs, interventions=patch("L1H0"))
        result["dz.over_examples"].sel(over_examples="mean")

    docs/pairs.md says what a pair has and what the arrays are. The corrupt prompts are the source.

    Args:
        pairs: The path of a file of JSON lines, or a list of dicts: clean, corrupt, target,
            contrast, id, group, spans.
        align: How the prompts of a pair are aligned: "equal" (they are equally long), "end",
            "start" or "spans".
        batch: Pairs per pass; 0: as many as fill one. Results do not depend on it.
        draws: Draws of the bootstrap and of the test; 0: none.
        seed: Of these draws, below 2^63.

    Raises:
        InputError: An argument does not fit; a run refuses a pair by its line.
        IOFailure: The file cannot be read.
    """

    def __init__(
        self,
        pairs: Union[str, os.PathLike[str], Sequence[Mapping[str, Any]]],
        *,
        align: Literal["equal", "end", "start", "spans"] = "equal",
        batch: int = 0,
        draws: int = 10000,
        seed: int = 0,
    ) -> None:
        if align not in _ALIGNS:
            raise InputError(f"align={align!r} is none of equal, end, start and spans")
        self.align: str = align
        self.batch = whole("batch", batch, 0, 4096)
        self.draws = whole("draws", draws, 0, 100000)
        self.seed = whole("seed", seed, 0, (1 << 63) - 1)
        if isinstance(pairs, (str, os.PathLike)):
            self.name, self.text = os.fspath(pairs), _read(pairs)
        elif isinstance(pairs, (list, tuple)):
            self.name, self.text = "pairs", _lines(pairs)
        else:
            raise InputError(f"pairs is neither a path nor a list of dicts: {type(pairs).__name__}")

    def __repr__(self) -> str:
        return f"<Pairs {self.name} align={self.align}>"


def _read(path: Union[str, os.PathLike[str]]) -> bytes:
    path_bytes(path)
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise IOFailure(f"cannot read {os.fspath(path)}: {error.strerror}") from None
    if len(text) > _MOST_BYTES:
        raise InputError(f"{os.fspath(path)} is larger than {_MOST_BYTES >> 20} MiB; split it")
    return text


def _lines(pairs: Sequence[Mapping[str, Any]]) -> bytes:
    import json

    lines = []
    for i, pair in enumerate(pairs):
        if not isinstance(pair, Mapping):
            raise InputError(f"pair {i} is a {type(pair).__name__}, not a dict")
        try:
            lines.append(json.dumps(dict(pair), default=_plain))
        except (TypeError, ValueError) as error:
            raise InputError(f"pair {i} cannot be written as JSON: {error}") from None
    return "\n".join(lines).encode()


def _plain(value: Any) -> Any:
    """NumPy's ids and arrays of ids as JSON has them."""
    return value.tolist() if hasattr(value, "tolist") else operator.index(value)


class OpenPairs:
    """A set that was read for a model: a psc_pairs, closed at the end of a `with`."""

    def __init__(self, model: OpenModel, pairs: Pairs, bos: bool) -> None:
        self._model, self.pairs = model, pairs
        self.pointer = ctypes.c_void_p()
        options = c.psc_pairs_options(align=_ALIGNS.index(pairs.align), bos=int(bos))
        call(
            "psc_pairs_read",
            ctypes.byref(self.pointer),
            model.pointer,
            pairs.text,
            len(pairs.text),
            os.fsencode(pairs.name),
            ctypes.byref(options),
        )

    def __enter__(self) -> OpenPairs:
        return self

    def __exit__(self, *_: object) -> None:
        library().psc_pairs_close(ctypes.byref(self.pointer))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return int(library().psc_pairs_longest(self.pointer))

    @property
    def batch(self) -> int:
        """Pairs per pass."""
        info, count = self._model.info, int(library().psc_pairs_count(self.pointer))
        each = 8 * info.n_layers * info.d_model * self.longest
        wanted = self.pairs.batch or _FULL_PASS // self.longest
        return max(1, min(wanted, count, _MOST_CACHE // each))

    @property
    def options(self) -> c.psc_pairs_run_options:
        """How statistics are drawn."""
        return c.psc_pairs_run_options(draws=self.pairs.draws or -1, seed=self.pairs.seed)
