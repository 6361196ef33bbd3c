"""Calls Python functions in the events of a pass.

A hook fn(array, hook) is called once per pass, point and layer with all rows: array is a writable
float32 view in TransformerLens's axes, [batch, pos, ...], or [batch, head, query, key] for scores
and pattern. It may write to the array, return None, or return a new array of the same shape.
Sequences of different lengths come as a copy, with NaN on the right of the shorter ones; what the
hook writes there is dropped. The view ends with the call; see views.py.
"""

from __future__ import annotations

import functools
import struct
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._c.views import Views
from ..errors import InputError, StateError
from .names import Hook

if TYPE_CHECKING:
    from .._c.structures import psc_event
    from ..runtime.session import Session
    from ..runtime.tokens import Tokens

HookFunction = Callable[..., Any]


class HookPoint:
    """What a hook learns about its place: `name`, `layer()`, and `ctx`.

    ctx is a dict of the user's own. It lasts from run to run, until contexts are cleared, and is
    shared by all names of one tensor.
    """

    __slots__ = ("_point", "name")

    def __init__(self, name: str, point: HookPoint | None = None) -> None:
        self.name = name
        self._point: HookPoint | dict[str, Any] = {} if point is None else point

    @property
    def ctx(self) -> dict[Any, Any]:
        """The user's values, kept between runs."""
        return self._point if isinstance(self._point, dict) else self._point.ctx

    def clear_context(self) -> None:
        """Gives this tensor a new, empty ctx."""
        if isinstance(self._point, dict):
            self._point = {}
        else:
            self._point.clear_context()

    def layer(self) -> int:
        """The layer. InputError for a point outside the layers, as hook_embed."""
        parts = self.name.split(".")
        if parts[0] != "blocks":
            raise InputError(f"{self.name} belongs to no layer")
        return int(parts[1])

    def __repr__(self) -> str:
        return f"HookPoint(name={self.name!r})"


class Entry(NamedTuple):
    """A function at one tensor."""

    hook: Hook
    point: HookPoint  # as the function sees it
    function: HookFunction
    keyword: bool  # the function takes the HookPoint as `hook=`
    permanent: bool
    level: object  # what removes it: the context of model.hooks, or what add_hook was given
    gradient: bool = False  # it sees the gradient there


# The head of psc_event up to its tensor's strides: struct_size, point, layer, n_rows, rows; data,
# n_axes, shape[4], stride[4]. ctypes would take as long as the function itself.
_HEAD = struct.Struct("=IiiiQQi4x4q4q")


class _Tensor(NamedTuple):
    """The tensor of an event, [rows, ...]."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in bytes


class _Events:
    """Calls the functions of one session's runs. It does not keep the session alive."""

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self._views: list[Views] = []  # of the event at hand
        self._table: dict[tuple[int, int], list[Entry]] = {}
        self._lengths: list[int] = []
        self._even = True  # all sequences are of one length

    def start(self, table: dict[tuple[int, int], list[Entry]], lengths: list[int]) -> None:
        """Prepares a pass: functions by point and layer, and the sequences' lengths."""
        self._table, self._lengths = table, lengths
        self._even = min(lengths) == max(lengths)

    def event(self, event: psc_event) -> None:
        """Shows one event to the functions of its point and layer, in their order."""
        head = _HEAD.unpack_from(event)
        _, point, layer, n_rows, _, address, n_axes = head[:7]
        entries = self._table.get((point, layer))
        session = self._session()
        if not entries or session is None:
            return
        if n_rows != sum(self._lengths):
            raise StateError(
                f"{entries[0].hook.name} came with {n_rows} of {sum(self._lengths)} rows; "
                "this is a defect of pythiascope"
            )
        strides = tuple([4 * stride for stride in head[11 : 11 + n_axes]])
        tensor = _Tensor(address, head[7 : 7 + n_axes], strides)
        if not self._even:
            self._ragged(tensor, session, entries)
            return
        whole = self._in_batch(tensor, entries[0].hook.shape)
        for entry in entries:
            views = Views(session)
            self._views = [views]
            _show(entry, views, whole)

    def clear(self) -> None:
        """Forgets the functions and views of a pass."""
        self._table, self._views = {}, []

    def lent(self) -> bool:
        """Whether a view of the last event lives."""
        return any(views.alive() for views in self._views)

    def _in_batch(self, tensor: _Tensor, letters: str) -> _Tensor:
        """[rows, ...] as [batch, pos, ...], or as [batch, head, query, key]."""
        batch, length = len(self._lengths), self._lengths[0]
        address, shape, strides = tensor
        rows = length * strides[0]
        if letters == "HK":
            axes = batch, shape[1], length, shape[2]
            return _Tensor(address, axes, (rows, strides[1], strides[0], strides[2]))
        return _Tensor(address, (batch, length, *shape[1:]), (rows, *strides))

    def _ragged(self, tensor: _Tensor, session: Session, entries: list[Entry]) -> None:
        """Shows a padded copy, and writes the rows of the sequences back."""
        self._views = [views := Views(session)]
        padded = self._padded(tensor, views)
        shown = padded.swapaxes(1, 2) if entries[0].hook.shape == "HK" else padded
        for entry in entries:
            array = shown[...]
            result = _call(entry, array)
            if result is not None and (result is not array or array.shape != shown.shape):
                np.copyto(shown, _checked(entry, result, shown.shape), casting="unsafe")
        self._write_back(padded, tensor, views)

    def _padded(self, tensor: _Tensor, views: Views) -> NDArray[Any]:
        """A copy of an event's rows, [batch, longest, ...], with NaN on the right."""
        rows = views.of(*tensor)
        shape = (len(self._lengths), max(self._lengths), *rows.shape[1:])
        padded = np.full(shape, np.nan, dtype=np.float32)
        first = 0
        for into, length in zip(padded, self._lengths):
            into[:length] = rows[first : first + length]
            first += length
        return padded

    def _write_back(self, padded: NDArray[Any], tensor: _Tensor, views: Views) -> None:
        rows = views.of(*tensor, writable=True)
        first = 0
        for source, length in zip(padded, self._lengths):
            rows[first : first + length] = source[:length]
            first += length


def _call(entry: Entry, array: NDArray[Any]) -> Any:
    if entry.keyword:
        return entry.function(array, hook=entry.point)
    return entry.function(array, entry.point)


def _show(entry: Entry, views: Views, tensor: _Tensor) -> None:
    """Calls one function with a view, takes what it returns, and checks that the view has ended.

    The function may reshape its view or make it read-only, so the result goes through another.
    """
    try:
        _apply(entry, views, tensor)
        if views.alive():
            views.end(_where(entry))
    except BaseException:
        views.abandon()
        raise


def _apply(entry: Entry, views: Views, tensor: _Tensor) -> None:
    array = views.of(*tensor, writable=True)
    result = _call(entry, array)
    if result is not None and (result is not array or array.shape != tensor.shape):
        new = _checked(entry, result, tensor.shape)
        np.copyto(views.of(*tensor, writable=True), new, casting="unsafe")


def _checked(entry: Entry, result: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """What a function returned, as numbers of that shape. InputError otherwise."""
    array = np.asarray(result)
    where = _where(entry)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{where} returned {array.dtype} values of type {type(result).__name__}; it must "
            "return None or an array of real numbers"
        )
    if array.shape != shape:
        raise InputError(
            f"{where} returned an array of shape {list(array.shape)}; it must return None or one "
            f"of shape {list(shape)}"
        )
    return array


def _where(entry: Entry) -> str:
    """A function and its place, for an error."""
    function = entry.function
    while isinstance(function, functools.partial):
        function = function.func
    title = getattr(function, "__qualname__", type(function).__qualname__)
    return f"the hook {title} at {entry.point.name}"


def takes_keyword(function: HookFunction) -> bool:
    """Whether a function has a parameter called hook; TransformerLens passes it by keyword."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(type(function).__dict__.get("__call__"), "__code__", None)
    if code is None:
        return False
    n = code.co_argcount + code.co_kwonlyargcount
    return "hook" in code.co_varnames[:n] or bool(code.co_flags & 0x08 and code.co_argcount < 2)


class HookedSession:
    """A session whose passes have room for all rows of a run, and that calls Python functions."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._events = _Events(session), _Events(session)  # of values, of gradients
        self._edited: dict[tuple[int, bool], list[int]] = {}  # layers, as the session has them

    def run(
        self, entries: Sequence[Entry], sequences: Sequence[Tokens], options: dict[str, Any]
    ) -> None:
        """Session.run(sequences, **options) with functions; hooks added meanwhile wait."""
        tables: tuple[dict[tuple[int, int], list[Entry]], ...] = {}, {}
        for entry in entries:
            place = entry.hook.point, entry.hook.layer
            tables[entry.gradient].setdefault(place, []).append(entry)
        edited: dict[tuple[int, bool], list[int]] = {}
        for gradient in (False, True):
            for point, layer in sorted(tables[gradient]):
                edited.setdefault((point, gradient), []).append(layer)
        if edited != self._edited:
            self._edited = {}
            self.session.unhook_all()
            for (point, gradient), layers in edited.items():
                self.session.edit(
                    point,
                    self._events[gradient].event,
                    layers=None if layers == [-1] else layers,
                    gradient=gradient,
                )
            self._edited = edited
        lengths = [len(tokens) for tokens in sequences]
        for events, table in zip(self._events, tables):
            events.start(table, lengths)
        self.session.run(sequences, **options)
        for events in self._events:
            events.clear()

    def discard(self) -> None:
        """Ends the session after a failed run: at once, or when the last view of its memory dies.

        A function that raised left its view in the traceback.
        """
        if not any(events.lent() for events in self._events):
            self.session.close()
        for events in self._events:
            events.clear()
