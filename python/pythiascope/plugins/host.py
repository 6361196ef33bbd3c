"""The host of a plugin written in Python: the table of psc_plugin.h as methods.

Subscriptions, rows, targets and accumulators are here; results in host_results.py, weights and
mathematics in host_math.py, variants in host_variants.py. docs/hooks.md describes each call.
`parallel_for` is left out: Python's own lock would run its parts one after the other.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from .._c.views import Views
from ..errors import HostCallFailed, InputError
from ..runtime.turn import entry
from .events import (
    ROW,
    TARGET_KINDS,
    Chosen,
    Event,
    RowsChoice,
    Target,
    Top,
    find_point,
    make_filter,
    raw_row,
    rows_at,
)
from .host_base import HostBase, address_of, encoded, text_of
from .host_math import HostMath
from .host_results import HostResults
from .host_variants import HostVariants

if TYPE_CHECKING:
    from ..runtime.session import Session

Shape = Union[int, Sequence[int]]
Doubles = npt.NDArray[np.float64]
EventFn = Callable[[Event], Any]

_ACCUMULATORS = {
    "sum": c.PSC_ACCUMULATE_SUM,
    "count": c.PSC_ACCUMULATE_COUNT,
    "min": c.PSC_ACCUMULATE_MIN,
    "max": c.PSC_ACCUMULATE_MAX,
    "top": c.PSC_ACCUMULATE_TOP,
}
_PHASES = ("only", "source", "base", "changed")
_COMPONENTS = ("embed", "head", "attn_bias", "attn_out", "neuron", "mlp_bias", "mlp_out", "edit")


class Accumulator:
    """Slots under a name, whose totals over all documents the host keeps; made in `open`."""

    def __init__(
        self, host: HostBase, handle: int, name: str, kind: str, shape: tuple[int, ...], k: int
    ) -> None:
        self._host, self._handle = host, handle
        self.name, self.kind, self.shape, self.k = name, kind, shape, k
        self.n = math.prod(shape)

    def add(self, values: npt.ArrayLike, begin: int = 0) -> None:
        """Adds one sequence's partial of the slots from `begin` on, in run_end.

        Sums are f64 and finite; counts are whole numbers >= 0; of minima and maxima the better one
        stays.
        """
        partial = np.ascontiguousarray(values, np.float64)
        self._host._check("accumulate", self._handle, begin, partial.size, address_of(partial))

    def add_top(self, slot: int, value: float, row: Any) -> None:
        """Offers one value of a top list with its row, an element of `host.rows`, in run_end."""
        self._host._check("accumulate_top", self._handle, slot, float(value), raw_row(row))

    def _add_top_at(self, slot: int, value: float, rows: npt.NDArray[Any], index: int) -> None:
        """As add_top with rows[index], where rows is `host.rows`."""
        assert rows.dtype == ROW and 0 <= index < len(rows) and rows.flags.c_contiguous
        row = c.psc_row.from_address(address_of(rows) + index * ROW.itemsize)
        self._host._check("accumulate_top", self._handle, slot, value, row)

    def total(self) -> Doubles:
        """The totals so far, f64 in the accumulator's shape."""
        out = np.empty(self.n, np.float64)
        where = out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self._host._check("accumulated", self._handle, 0, self.n, where)
        return out.reshape(self.shape)

    def top(self, slot: int) -> list[Top]:
        """Up to k entries of a slot's top list, the largest value first."""
        room = (c.psc_top * self.k)()
        n = self._host._call("accumulated_top", self._handle, slot, room)
        if n < 0:
            raise HostCallFailed("host.accumulated_top failed")
        return [Top(t.value, t.document, t.position, tuple(t.tokens)) for t in room[:n]]


class Retained:
    """A tensor that the host keeps until the run is over; `host.retain` makes it."""

    def __init__(self, host: HostBase, handle: int) -> None:
        self._host, self._handle = host, handle

    def fetch(self, layer: int = -1) -> Event:
        """All retained rows of one layer (-1 where the point has none) as one event, in run_end.

        Its arrays are copies. The keys of scores and pattern are the longest row's.
        """
        raw = c.psc_event()
        self._host._check("fetch", self._handle, layer, raw)
        return Event(raw, None)


class Host(HostResults, HostMath, HostVariants):
    """What pythiascope offers to a plugin; usable in the plugin's callbacks only."""

    def __init__(self, name: str, session: weakref.ref[Session], guard: Callable[..., int]) -> None:
        super().__init__(name, guard)
        self._session = session
        self._thunks: list[Any] = []  # of open: they live as long as the instance
        self._run_thunks: list[Any] = []  # of the run
        self._in_open = True
        self._rows: npt.NDArray[Any] | None = None

    def _begin_run(self) -> None:
        self._in_open = False
        self._rows = None
        self._run_thunks.clear()
        self._forget()

    # --- open, run_begin ---

    def observe(
        self,
        point: int | str,
        fn: EventFn,
        *,
        layers: Chosen = None,
        heads: Chosen = None,
        rows: RowsChoice = "all",
        edited_only: bool = False,
    ) -> None:
        """Shows a point's events to fn(event): from open in every run, from run_begin in this one.

        Args:
            point: Its name, "attn.hook_z" for every layer or "blocks.3.attn.hook_z", or its number.
            fn: May raise to end the run; what it returns is ignored.
            layers: One number or several; None: all.
            heads: As layers.
            rows: "all", "last" (of each sequence), a position, or positions (begin, end).
            edited_only: Only tensors that an editor changed; `event.before` has the value before.
        """
        self._subscribe("observe", point, fn, layers, heads, rows, edited_only)

    def edit(
        self,
        point: int | str,
        fn: EventFn,
        *,
        layers: Chosen = None,
        heads: Chosen = None,
        rows: RowsChoice = "all",
    ) -> None:
        """As observe; fn may write to `event.tensor`, and the run goes on from what it wrote."""
        self._subscribe("edit", point, fn, layers, heads, rows, False)

    def _subscribe(
        self,
        call: str,
        point: int | str,
        fn: EventFn,
        layers: Chosen,
        heads: Chosen,
        rows: RowsChoice,
        edited_only: bool,
    ) -> None:
        if not callable(fn):
            raise InputError(f"host.{call}: {fn!r} is not a function of an event")
        writable = call == "edit"

        def shown(raw: c.psc_event) -> None:
            self._show(raw, fn, writable)

        @entry
        def callback(pointer: Any, _: Any) -> int:
            return self._guard(shown, pointer.contents)

        number, layers = find_point(self._hook_names(), point, layers)
        chosen, keep = make_filter(layers, heads, rows, edited_only)
        thunk = c.psc_event_fn(callback)
        (self._thunks if self._in_open else self._run_thunks).append(thunk)
        self._check(call, number, chosen, thunk, None)
        del keep  # the host has copied the filter

    def _show(self, raw: c.psc_event, fn: EventFn, writable: bool) -> None:
        session = self._session()
        assert session is not None  # it is running
        views = Views(session)
        event = Event(raw, views, writable)
        try:
            with self:
                fn(event)
        except BaseException:
            event._end()
            views.abandon()
            raise
        event._end()
        views.end(f"plugin {self.plugin_name}, {event.name}")

    def accumulating(self) -> bool:
        """Whether the runs are documents of a corpus, whose totals accumulators keep."""
        return bool(self._call("accumulating"))

    def accumulator(self, name: str, kind: str, shape: Shape = 1, k: int = 0) -> Accumulator:
        """A new accumulator, in open over a corpus.

        Args:
            name: 1 to 64 letters, digits, _ . - or /.
            kind: "sum" (f64 partials, exact totals), "count", "min", "max", or "top".
            shape: The number of slots, or their axes.
            k: The entries that each slot of a "top" keeps.
        """
        if kind not in _ACCUMULATORS:
            raise InputError(f"'{kind}' is no kind of accumulator; use {', '.join(_ACCUMULATORS)}")
        extents = (shape,) if isinstance(shape, int) else tuple(shape)
        n = math.prod(extents)
        key = encoded(name, "an accumulator's name")
        handle = self._call("accumulator", key, _ACCUMULATORS[kind], n, k)
        if handle < 0:
            raise HostCallFailed("host.accumulator failed")
        return Accumulator(self, handle, name, kind, extents, k)

    # --- the run ---

    @property
    def rows(self) -> npt.NDArray[Any]:
        """All rows of the run: fields index, sequence, position, token, next, start, end."""
        n = ctypes.c_int32()
        first = self._call("rows", ctypes.byref(n))
        if self._rows is None:
            self._rows = rows_at(first, n.value)
        return self._rows

    @property
    def text(self) -> bytes | None:
        """The text that the rows' byte ranges refer to."""
        n = ctypes.c_uint64()
        address = self._call("text", ctypes.byref(n))
        return ctypes.string_at(address, n.value) if address else None

    @property
    def phase(self) -> str:
        """The run's purpose: "only", "source", "base" or "changed" (psc_phase)."""
        return _PHASES[self._call("phase")]

    @property
    def source(self) -> int:
        """The number of the prompt in the phase "source", else -1."""
        return int(self._call("source"))

    @property
    def targets(self) -> list[Target]:
        """What the run explains; over a corpus known in open, too."""
        n = ctypes.c_int32()
        first = self._call("targets", ctypes.byref(n))
        found = first[: n.value] if n.value else []
        return [Target(TARGET_KINDS[t.kind], t.a, t.b, t.rank, text_of(t.label)) for t in found]

    def target_ids(self, target: int, row: Any, logits: Any = None) -> tuple[int, int]:
        """The ids of a target at a row; (-1, -1) when it has none; the second only of a contrast.

        logits [d_vocab] of the row are needed by the kind "top" only.
        """
        ids, raw, given = (ctypes.c_int32 * 2)(), raw_row(row), None
        if logits is not None:
            given = np.ascontiguousarray(logits, np.float32)
            if given.shape != (self.model.d_vocab,):
                raise InputError(f"host.target_ids: the logits have the shape {given.shape}")
        elif self.targets[target : target + 1] and self.targets[target].kind == "top":
            raise InputError("host.target_ids: a target of kind top needs the row's logits")
        where = None if given is None else address_of(given)
        self._check("target_ids", target, raw, where, ctypes.addressof(ids))
        return ids[0], ids[1]

    def has_editor(self, point: int | str) -> bool:
        """Whether a plugin or client edits this point in this run."""
        return bool(self._call("has_editor", find_point(self._hook_names(), point, None)[0]))

    def retain(
        self,
        point: int | str,
        *,
        layers: Chosen = None,
        heads: Chosen = None,
        rows: RowsChoice = "all",
    ) -> Retained:
        """Keeps a tensor until the run is over, in run_begin; the session caps the bytes."""
        number, layers = find_point(self._hook_names(), point, layers)
        chosen, keep = make_filter(layers, heads, rows)
        handle = self._call("retain", number, chosen)
        del keep
        if handle < 0:
            raise HostCallFailed("host.retain failed")
        return Retained(self, handle)

    def progress(self, done: float) -> None:
        """How much of this plugin's work in run_end is done, 0 to 1."""
        self._call("progress", float(done))

    def cancelled(self) -> bool:
        """Whether the caller asked to stop: return soon."""
        return bool(self._call("cancelled"))

    # --- texts ---

    def label(self, kind: str, layer: int = -1, index: int = -1) -> str:
        """A component's label: "embed", "L0H3" ("head"), "0_mlp_bias", "L0N12" ("neuron")."""
        if kind not in _COMPONENTS:
            raise InputError(f"'{kind}' is not a component; they are {', '.join(_COMPONENTS)}")
        return text_of(self._call("label", _COMPONENTS.index(kind), layer, index))

    def token_text(self, token: int) -> str:
        """A token in quotes, safe to print: ' Emerald'; #50280 without a text."""
        return text_of(self._call("token_text", token))

    def token_bytes(self, token: int) -> bytes | None:
        """A token's own bytes, perhaps part of a character; None without a text."""
        n = ctypes.c_uint64()
        address = self._call("token_bytes", token, ctypes.byref(n))
        return ctypes.string_at(address, n.value) if address else None
