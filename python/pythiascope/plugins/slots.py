"""What an accumulator's function declares, and the host's accumulators behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .host import Accumulator, Host

Extent = Union[int, str]
Shape = Union[Extent, Sequence[Extent]]
Declarations = Union[str, Iterable[str], Mapping[str, Shape]]
Tops = Mapping[str, Union[int, tuple[int, Shape]]]

# Extents by the model's own words, and the axes that results have for them.
EXTENTS = {
    "n_heads": "heads",
    "d_head": "d_head",
    "d_mlp": "neurons",
    "d_model": "d_model",
    "d_vocab": "tokens",
}


class Declared(NamedTuple):
    """One named accumulation: its kind, the axes of its slots, the entries of a top list."""

    name: str
    kind: str
    shape: tuple[Extent, ...]
    k: int


def _shape(given: Shape, name: str) -> tuple[Extent, ...]:
    shape = (given,) if isinstance(given, (int, str)) else tuple(given)
    for extent in shape:
        known = extent in EXTENTS if isinstance(extent, str) else extent > 0
        if not known:
            raise InputError(
                f"{name}: {extent!r} is not an extent; use a positive number, {', '.join(EXTENTS)}"
            )
    return shape


def declared_names(kind: str, given: Declarations) -> list[Declared]:
    """The declarations of one kind: a name, several, or names with their axes."""
    if isinstance(given, str):
        return [Declared(given, kind, (), 0)]
    if isinstance(given, Mapping):
        return [Declared(n, kind, _shape(shape, n), 0) for n, shape in given.items()]
    return [Declared(name, kind, (), 0) for name in given]


def declared_tops(given: Tops) -> list[Declared]:
    """The declarations of top lists: names with k, or with (k, axes)."""
    out = []
    for name, value in given.items():
        k, shape = value if isinstance(value, tuple) else (value, ())
        if k < 1:
            raise InputError(f"{name}: a top list keeps at least 1 entry, not {k}")
        out.append(Declared(name, "top", _shape(shape, name), k))
    return out


class Slots:
    """The accumulators of one declaration in one session: a mean has two."""

    def __init__(self, host: Host, declared: Declared, lead: tuple[int, ...]) -> None:
        model = host.model._asdict()
        extents = (model[e] if isinstance(e, str) else e for e in declared.shape)
        self.shape: tuple[int, ...] = tuple(extents)
        self.declared, self.each = declared, int(np.prod(self.shape, dtype=np.int64))
        name, full = declared.name, (*lead, *self.shape)
        kind = "sum" if declared.kind == "mean" else declared.kind
        self.main = host.accumulator(name, kind, full, declared.k)
        self.rows: Accumulator | None = None
        if declared.kind == "mean":
            self.rows = host.accumulator(f"{name}.rows", "count", full)
        # Of each slot, a value that is no larger than the k-th of its list.
        self.limit: npt.NDArray[np.float64] | None = None


class Work:
    """What a session's calls of the function gather: the accumulators, and partials of the run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots: dict[str, Slots] = {}
        self.partials: list[tuple[Accumulator, int, npt.NDArray[Any]]] = []
        self._offers: list[tuple[Slots, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = []

    def forget(self) -> None:
        """Drops what a run gathered that did not reach the host."""
        self.partials.clear()
        self._offers.clear()

    def offer(
        self,
        slots: Slots,
        site: int,
        values: npt.NDArray[np.float64],
        index: npt.NDArray[Any],
    ) -> None:
        """Keeps the k largest values [rows, slots] of each slot that may enter its list."""
        if not len(values):
            return
        begin, k = site * slots.each, slots.declared.k
        if slots.limit is None:
            slots.limit = np.full(slots.main.n, -np.inf)
        limit = slots.limit[begin : begin + slots.each]
        open_ = np.flatnonzero(values.max(axis=0) >= limit)
        if not open_.size:
            return
        chosen = values[:, open_]
        order = np.argsort(-chosen, axis=0, kind="stable")[:k]
        best = np.take_along_axis(chosen, order, axis=0)
        where = best >= limit[open_]
        slot = np.broadcast_to(begin + open_, best.shape)[where]
        self._offers.append((slots, slot, best[where], index[order][where]))

    def flush(self, host: Host) -> None:
        """Gives the host what the run gathered."""
        for accumulator, begin, partial in self.partials:
            accumulator.add(partial, begin)
        rows = np.ascontiguousarray(host.rows)
        for slots, slot, value, index in self._offers:
            add = slots.main._add_top_at
            for s, v, i in zip(slot.tolist(), value.tolist(), index.tolist()):
                add(s, v, rows, i)
            self._raise_limit(slots, np.unique(slot))
        self.forget()

    @staticmethod
    def _raise_limit(slots: Slots, changed: npt.NDArray[Any]) -> None:
        assert slots.limit is not None
        for slot in changed.tolist():
            entries = slots.main.top(slot)
            if len(entries) == slots.declared.k:
                slots.limit[slot] = entries[-1].value
