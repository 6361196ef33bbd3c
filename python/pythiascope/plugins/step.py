"""One tensor of one window, as an accumulator's function sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, StateError
from ..hooks.names import Hook
from .host import Accumulator, Host
from .slots import Slots, Work


class Step:
    """One tensor of one window, during the call of an accumulator's function.

    Attributes:
        tensor: f32 [rows, ...] in the hook point's shape, read-only; K, the keys of scores and
            pattern, is the number of rows. Valid during the call; `.copy()` keeps it.
        rows: The window's rows: fields index, sequence, position, token, next, start, end.
        name: The hook's full name, "blocks.3.attn.hook_z".
        layer: Its layer, -1 where there is none.
        host: The rest of what a plugin may use.

    The methods take values for each row, [rows, *slots], or one value per slot, [*slots], where
    slots are the axes that the accumulator declared: none for a plain name. `where` is a mask
    [rows]: only these rows count.
    """

    def __init__(
        self,
        host: Host,
        hook: Hook,
        tensor: npt.NDArray[np.float32],
        rows: npt.NDArray[Any],
        work: Work,
        site: int,
    ) -> None:
        self.host, self.rows = host, rows
        self._tensor: npt.NDArray[np.float32] | None = tensor
        self.name, self.layer = hook.name, hook.layer
        self._work, self._site = work, site

    @property
    def tensor(self) -> npt.NDArray[np.float32]:
        """The window's tensor; StateError after the call."""
        if self._tensor is None:
            raise StateError(f"the step of {self.name} is over; copy what you need in its call")
        return self._tensor

    def _end(self) -> None:
        self._tensor = None

    def _find(self, name: str, kind: str) -> Slots:
        found = self._work.slots.get(name)
        if found is not None and found.declared.kind == kind:
            return found
        known = [n for n, s in self._work.slots.items() if s.declared.kind == kind]
        raise InputError(
            f"{self._work.name}: the {kind} '{name}' is not declared; "
            f"declared are {', '.join(known) or 'none'}"
        )

    def _values(
        self, slots: Slots, given: npt.ArrayLike, where: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """[rows, slots] of every row with its mask, or [1, slots] of the whole window."""
        values = np.asarray(given)
        n = len(self.rows)
        name, shape = slots.declared.name, slots.shape
        mask = None
        if where is not None:
            mask = np.asarray(where)
            if mask.shape != (n,) or mask.dtype != np.bool_:
                raise InputError(f"{name}: where is not a mask of {n} rows (bool)")
        if values.shape == (n, *shape):
            return values.reshape(n, slots.each), mask
        if shape == (1,) and values.shape == (n,):
            return values.reshape(n, 1), mask
        if values.shape == shape and mask is None:
            return values.reshape(1, slots.each), None
        raise InputError(
            f"{name}: the values have the shape {values.shape}; pass {(n, *shape)}"
            + (f" or {shape}" if mask is None else "")
        )

    def _add(self, slots: Slots, to: Accumulator, partial: npt.NDArray[Any]) -> None:
        self._work.partials.append((to, self._site * slots.each, partial))

    def sum(self, name: str, values: npt.ArrayLike, where: npt.ArrayLike | None = None) -> None:
        """Adds to a sum; rows are added in f64 in their order, and the totals are exact."""
        slots = self._find(name, "sum")
        self._add(slots, slots.main, _sum(*self._values(slots, values, where)))

    def mean(self, name: str, values: npt.ArrayLike, where: npt.ArrayLike | None = None) -> None:
        """Adds values of rows to a mean over all rows of the corpus."""
        slots = self._find(name, "mean")
        given, mask = self._values(slots, values, where)
        n = len(given) if mask is None else int(mask.sum())
        self._add(slots, slots.main, _sum(given, mask))
        assert slots.rows is not None
        self._add(slots, slots.rows, np.full(slots.each, n, np.float64))

    def count(
        self, name: str, values: npt.ArrayLike | None = None, where: npt.ArrayLike | None = None
    ) -> None:
        """Adds to a count: whole numbers or truth values; without values, the rows."""
        slots = self._find(name, "count")
        if values is None:
            values = np.ones((len(self.rows), *slots.shape), np.int64)
        given, mask = self._values(slots, values, where)
        chosen = given if mask is None else given[mask]
        if chosen.dtype.kind == "b":
            chosen = chosen.astype(np.int64)
        self._add(slots, slots.main, chosen.sum(axis=0).astype(np.float64))

    def min(self, name: str, values: npt.ArrayLike, where: npt.ArrayLike | None = None) -> None:
        """Keeps the least value."""
        self._extreme(name, "min", values, where, np.minimum)

    def max(self, name: str, values: npt.ArrayLike, where: npt.ArrayLike | None = None) -> None:
        """Keeps the largest value."""
        self._extreme(name, "max", values, where, np.maximum)

    def _extreme(
        self,
        name: str,
        kind: str,
        values: npt.ArrayLike,
        where: npt.ArrayLike | None,
        better: np.ufunc,
    ) -> None:
        slots = self._find(name, kind)
        given, mask = self._values(slots, values, where)
        chosen = given if mask is None else given[mask]
        if len(chosen):
            self._add(slots, slots.main, better.reduce(chosen.astype(np.float64), axis=0))

    def top(self, name: str, values: npt.ArrayLike, where: npt.ArrayLike | None = None) -> None:
        """Offers values of rows to a top list, which keeps the k largest with their rows.

        Ties go to the earlier document and position.
        """
        slots = self._find(name, "top")
        given, mask = self._values(slots, values, where)
        if len(given) != len(self.rows):
            raise InputError(f"{name}: a top list needs a value for each of {len(self.rows)} rows")
        numbers = given.astype(np.float64)
        if np.isnan(numbers).any():
            raise InputError(f"{name}: a value is NaN, which has no rank")
        kept = np.arange(len(numbers)) if mask is None else np.flatnonzero(mask)
        self._work.offer(slots, self._site, numbers[kept], self.rows["index"][kept])


def _sum(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64]:
    """The f64 sum over rows, added one after the other."""
    chosen = np.ascontiguousarray(values if mask is None else values[mask], np.float64)
    if chosen.shape[1] == 1 and len(chosen):
        # NumPy adds one column in pairs; accumulate keeps the order.
        chosen = np.add.accumulate(chosen, axis=0)[-1:]
    total: npt.NDArray[np.float64] = chosen.sum(axis=0)
    return total
