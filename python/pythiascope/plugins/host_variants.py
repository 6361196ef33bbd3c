"""The host's variants: the run with changes, of which only what changes is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from ..checks import whole
from ..errors import InputError
from .events import Event, find_point
from .host_base import HostBase, ModelInfo, address_of

_CHANGES = {
    "scale": c.PSC_CHANGE_SCALE,
    "set": c.PSC_CHANGE_SET,
    "add": c.PSC_CHANGE_ADD,
    "cut": c.PSC_CHANGE_CUT,
    "fix": c.PSC_CHANGE_FIX,
}
_MOST = 2**31 - 1
_LOGIT_ROWS = {"all": c.PSC_ROWS_ALL, "last": c.PSC_ROWS_LAST}


class Change(NamedTuple):
    """An edit of one point on rows begin <= position < end of one sequence (psc_change).

    kind: "scale" (value * alpha), "set" (values), "add" (value + alpha * values), "cut" (the score
    of `key` becomes -inf), "fix" (as "set", and constant to gradients). values: f32 [rows, heads,
    width], or [heads, width] for all rows.
    """

    kind: str
    point: int | str
    layer: int = -1
    rows: tuple[int, int] = (0, 1)
    sequence: int = 0
    head: int = -1
    key: int = -1
    alpha: float = 0.0
    values: Any = None


class Variant(NamedTuple):
    """The run with some changes; only rows with position < row_end are computed (0: all)."""

    changes: Sequence[Change]
    row_end: int = 0


class HostVariants(HostBase):
    """Variants of the run, in run_end."""

    def prepare_variants(self) -> None:
        """Retains what `variants` starts from, in run_begin."""
        self._check("prepare_variants")

    def variants(
        self,
        variants: Sequence[Variant],
        fn: Callable[[int, Event], Any],
        *,
        logit_rows: str = "last",
    ) -> None:
        """Computes each variant as a run with such editors would, to the bit, in run_end.

        fn(number, event) receives the logits [rows, d_vocab] of "last" or "all" rows as a copy.
        """
        if logit_rows not in _LOGIT_ROWS:
            raise InputError(f'logit_rows is {logit_rows!r}; pass "last" or "all"')
        keep: list[Any] = []
        array = (c.psc_variant * max(len(variants), 1))()
        for i, variant in enumerate(variants):
            array[i] = self._raw_variant(variant, keep)

        def shown(number: int, raw: c.psc_event) -> None:
            event = Event(raw, None)
            try:
                fn(number, event)
            finally:
                event._end()

        def callback(number: int, pointer: Any, _: Any) -> int:
            return self._guard(shown, number, pointer.contents)

        thunk = c.psc_variant_fn(callback)
        self._check("variants", len(variants), array, _LOGIT_ROWS[logit_rows], thunk, None)

    def _raw_variant(self, variant: Variant, keep: list[Any]) -> c.psc_variant:
        changes = (c.psc_change * max(len(variant.changes), 1))()
        for i, change in enumerate(variant.changes):
            changes[i] = self._raw_change(change, keep)
        keep.append(changes)
        end = whole("a variant's row_end", variant.row_end, 0, _MOST)
        return c.psc_variant(n_changes=len(variant.changes), changes=changes, row_end=end)

    def _raw_change(self, change: Change, keep: list[Any]) -> c.psc_change:
        if change.kind not in _CHANGES:
            raise InputError(f"'{change.kind}' is not a change; use {', '.join(_CHANGES)}")
        layer = None if change.layer < 0 else change.layer
        point, chosen = find_point(self._hook_names(), change.point, layer)
        out = c.psc_change(kind=_CHANGES[change.kind], point=point)
        out.layer = chosen if isinstance(chosen, int) else -1
        n_ctx = self.model.n_ctx
        out.sequence = whole("a change's sequence", change.sequence, 0, _MOST)
        out.head = whole("a change's head", change.head, -1, _MOST)
        out.key = whole("a change's key", change.key, -1, n_ctx)
        begin, end = (whole("a change's row", row, 0, n_ctx) for row in change.rows)
        out.row_begin, out.row_end, out.alpha = begin, end, change.alpha
        if change.values is not None:
            values = _change_values(change, point, self.model)
            keep.append(values)
            out.values, out.stride = address_of(values), values[0].size
        return out


def _change_values(change: Change, point: int, model: ModelInfo) -> npt.NDArray[np.float32]:
    """The values, one row for each row of the change."""
    letters = c.POINTS[point][1]
    extents: list[int] = [change.rows[1] - change.rows[0]]
    if "H" in letters:
        extents.append(model.n_heads if change.head < 0 else 1)
    last = letters[-1]
    extents.append(1 if last in "1K" else getattr(model, c.AXES[last]))
    if extents[0] < 1:
        raise InputError(f"a change has the rows {change.rows}; begin must be before end")
    try:
        given = np.broadcast_to(np.asarray(change.values, np.float32), extents)
    except ValueError:
        shape = np.shape(change.values)
        raise InputError(f"a change's values have the shape {shape}, not {extents}") from None
    return np.ascontiguousarray(given)
