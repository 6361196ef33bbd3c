"""The totals of an accumulator's function: what its report reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Union

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from ..hooks.names import Hook
from .events import Top
from .host import Host
from .slots import EXTENTS, Slots

Doubles = npt.NDArray[np.float64]
Entries = list[list[Top]]

_SHOWN = 5  # of a top list in the summary
_MOST_BARS = 12


class Totals(Mapping[str, Union[Doubles, Entries]]):
    """The totals by name: f64 [layers or hooks, *axes]; of a top list, the entries of each slot.

    A mean without rows is NaN, and so is an extreme.
    """

    def __init__(self, host: Host, hooks: list[Hook] | None, slots: dict[str, Slots]) -> None:
        self._hooks, self._slots = hooks, slots
        self._found: dict[str, Doubles | Entries] = {n: _read(s) for n, s in slots.items()}

    def __getitem__(self, name: str) -> Doubles | Entries:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def write(self, host: Host) -> None:
        """Makes the axes and one array per name; a mean has NAME_rows, a top list four arrays."""
        lead = self._lead_axis(host)
        for name, slots in self._slots.items():
            axes = lead + self._axes(host, name, slots)
            found = self._found[name]
            if isinstance(found, list):
                self._write_top(host, name, slots, axes)
            else:
                host.put(name, axes, found)
            if slots.rows is not None:
                host.put(f"{name}_rows", axes, slots.rows.total())

    def _lead_axis(self, host: Host) -> list[str]:
        if self._hooks is None:
            return []
        points = {hook.point for hook in self._hooks}
        if len(points) == 1:
            host.axis("layers", [hook.layer for hook in self._hooks])
            return ["layers"]
        host.axis("hooks", [hook.name for hook in self._hooks])
        return ["hooks"]

    def _axes(self, host: Host, name: str, slots: Slots) -> list[str]:
        axes = []
        for i, (extent, n) in enumerate(zip(slots.declared.shape, slots.shape)):
            axis = EXTENTS[extent] if isinstance(extent, str) else f"{name}_{i}"
            if axis not in host._axes:
                host.axis(axis, n)
            axes.append(axis)
        return axes

    def _write_top(self, host: Host, name: str, slots: Slots, axes: list[str]) -> None:
        k, width = slots.declared.k, c.PSC_TOP_BEFORE + 1 + c.PSC_TOP_AFTER
        rank = f"{name}_rank"
        host.axis(rank, k)
        if "window" not in host._axes:
            host.axis("window", range(-c.PSC_TOP_BEFORE, c.PSC_TOP_AFTER + 1))
        value = host.array(f"{name}_value", [*axes, rank], np.float64)
        document = host.array(f"{name}_document", [*axes, rank], np.float64)
        position = host.array(f"{name}_position", [*axes, rank], np.int32)
        tokens = host.array(f"{name}_tokens", [*axes, rank, "window"], np.int32)
        entries = self._found[name]
        assert isinstance(entries, list)
        for slot, list_ in enumerate(entries):
            for at, one in enumerate(list_):
                value.reshape(-1, k)[slot, at] = one.value
                document.reshape(-1, k)[slot, at] = one.document
                position.reshape(-1, k)[slot, at] = one.position
                tokens.reshape(-1, k, width)[slot, at] = one.tokens

    def summarize(self, host: Host) -> None:
        """Bars of the arrays that have few elements, and of the largest entries of top lists."""
        labels = [self._label(i) for i in range(len(self._hooks or ["all rows"]))]
        for name, found in self._found.items():
            if isinstance(found, list):
                self._show_top(host, name, found)
            elif found.size == len(labels) <= _MOST_BARS:
                host.bars(name, labels, found)

    def _label(self, i: int) -> str:
        if self._hooks is None:
            return "all rows"
        several = len({hook.point for hook in self._hooks}) > 1
        return self._hooks[i].name if several else f"layer {self._hooks[i].layer}"

    def _show_top(self, host: Host, name: str, entries: Entries) -> None:
        best = sorted((one for slot in entries for one in slot), key=lambda one: -one.value)
        labels = [
            f"{host.token_text(one.token)}, document {one.document}, position {one.position}"
            for one in best[:_SHOWN]
        ]
        host.bars(f"{name}: the largest", labels, [one.value for one in best[:_SHOWN]])


def _read(slots: Slots) -> Doubles | Entries:
    kind = slots.declared.kind
    if kind == "top":
        return [slots.main.top(slot) for slot in range(slots.main.n)]
    total = slots.main.total()
    if slots.rows is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            total = total / slots.rows.total()
    if kind in ("min", "max"):
        total = np.where(np.isinf(total), np.nan, total)
    return total
