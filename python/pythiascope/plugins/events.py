"""What a plugin written in Python sees of a run: rows, events, targets, filters."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from .._c.views import Views
from ..checks import whole
from ..errors import InputError, StateError
from ..hooks.names import Names
from .plugin_options import Rows

Floats = npt.NDArray[np.float32]
RowsChoice = Union[str, int, tuple[int, int], range, Rows]
Chosen = Union[None, int, Sequence[int]]

# A row of a run, as psc_row: index among all rows, sequence, position in it, id, the next row's id
# (-1 in the sequence's last row), and the token's bytes start..end in the text.
ROW = np.dtype(
    [(name, np.int32) for name in ("index", "sequence", "position", "token", "next")]
    + [(name, np.uint32) for name in ("start", "end")]
)
_NAMES = {name: number for number, (name, _, _) in enumerate(c.POINTS)}


def rows_at(address: Any, n: int) -> npt.NDArray[Any]:
    """A copy of n psc_row structures as an array of `ROW`."""
    if n == 0 or not address:
        return np.empty(0, ROW)
    return np.frombuffer(ctypes.string_at(address, n * ROW.itemsize), ROW)


def find_point(names: Names, point: int | str, layers: Chosen) -> tuple[int, Chosen]:
    """A hook point's number, and the layers that its name or the caller chooses.

    Args:
        names: Of the model.
        point: Its number; its name without a layer, "attn.hook_z"; or a full name, where
            "blocks.*." means every layer.
        layers: None unless the name leaves them open.
    """
    if not isinstance(point, str):
        return whole("a hook point", point, 0, c.PSC_POINT_COUNT - 1), layers
    if point in _NAMES:
        return _NAMES[point], layers
    hook = names.find(point.replace("blocks.*.", "blocks.0.", 1))
    if hook.layer < 0 or point.startswith("blocks.*."):
        return hook.point, layers
    if layers is not None:
        raise InputError(f"{point} names its layer; leave layers= out")
    return hook.point, hook.layer


def full_name(point: int, layer: int) -> str:
    """A hook's full name: "blocks.3.attn.hook_z"."""
    name, _, layered = c.POINTS[point]
    return f"blocks.{layer}.{name}" if layered else name


def _range(begin: Any, end: Any) -> Rows:
    most = 2**31 - 1
    return Rows(c.PSC_ROWS_RANGE, whole("a row", begin, 0, most), whole("a row", end, 0, most))


def _rows(choice: RowsChoice) -> Rows:
    if isinstance(choice, Rows):
        return choice
    if choice == "all":
        return Rows()
    if choice == "last":
        return Rows(c.PSC_ROWS_LAST)
    if isinstance(choice, int) and not isinstance(choice, bool):
        return _range(choice, choice + 1)
    if isinstance(choice, range) and choice.step == 1:
        return _range(choice.start, choice.stop)
    if isinstance(choice, tuple) and len(choice) == 2:
        return _range(*choice)
    raise InputError(
        f'rows={choice!r} is not "all", "last", a position, or positions (begin, end) without end'
    )


def make_filter(
    layers: Chosen, heads: Chosen, rows: RowsChoice, edited_only: bool = False
) -> tuple[c.psc_filter, list[Any]]:
    """A psc_filter, and what it points to, which must live during the call."""
    chosen = _rows(rows)
    out = c.psc_filter(rows=chosen.mode, row_begin=chosen.begin, row_end=chosen.end)
    out.edited_only = int(edited_only)
    keep: list[Any] = []
    for member, given in (("layers", layers), ("heads", heads)):
        if given is None:
            continue
        listed = [given] if isinstance(given, int) else given
        numbers = sorted({whole(f"one of {member}", n, 0, 2**31 - 1) for n in listed})
        if not numbers:
            raise InputError(f"{member}= is empty; leave it out for all of them")
        values = (ctypes.c_int32 * len(numbers))(*numbers)
        keep.append(values)
        setattr(out, member, values)
        setattr(out, "n_" + member, len(numbers))
    return out, keep


class Target(NamedTuple):
    """What a run explains: kind "token", "next", "top" (the rank-th best) or "contrast" (a - b)."""

    kind: str
    a: int
    b: int
    rank: int
    label: str


TARGET_KINDS = ("token", "next", "top", "contrast")


class Top(NamedTuple):
    """One of the largest values of a top list, and its row.

    `tokens` are the ids around the row: `before` of them in front of it; -1 outside its window.
    """

    value: float
    document: int
    position: int
    tokens: tuple[int, ...]

    @property
    def token(self) -> int:
        """The id of the row itself."""
        return self.tokens[c.PSC_TOP_BEFORE]


class Event:
    """Rows of one tensor, during a callback; afterwards every access is a StateError.

    A long run comes in several events per point and layer, with the rows in ascending order.
    """

    def __init__(self, raw: c.psc_event, views: Views | None, writable: bool = False) -> None:
        """Without `views` the arrays are copies that the caller may keep."""
        self._raw: Any = raw
        self._views, self._writable = views, writable
        self.point, self.layer = raw.point, raw.layer
        self._tensor: Floats | None = None
        self._before: Floats | None = None

    def _now(self) -> Any:
        if self._raw is None:
            raise StateError(
                f"the event of {self.name} is over; copy what you need in its callback"
            )
        return self._raw

    @property
    def name(self) -> str:
        """The hook's full name: "blocks.3.attn.hook_z"."""
        return full_name(self.point, self.layer)

    @property
    def rows(self) -> npt.NDArray[Any]:
        """The event's rows, a copy: fields index, sequence, position, token, next, start, end."""
        raw = self._now()
        return rows_at(raw.rows, raw.n_rows)

    @property
    def tensor(self) -> Floats:
        """[rows, ...] in the point's shape: a view, writable in an editor; `.copy()` keeps it."""
        raw = self._now()
        if self._tensor is None:
            self._tensor = array_of(raw.tensor, self._views, self._writable)
        return self._tensor

    @property
    def before(self) -> Floats | None:
        """The tensor before the edits, when an editor changed it and this is an observer."""
        raw = self._now()
        if self._before is None and raw.before.data:
            self._before = array_of(raw.before, self._views, False)
        return self._before

    @property
    def heads(self) -> tuple[int, ...] | None:
        """The heads of axis 1, when a filter chose some."""
        raw = self._now()
        return tuple(raw.heads[: raw.n_heads]) if raw.heads else None

    def _end(self) -> None:
        self._raw = self._tensor = self._before = None


def array_of(view: c.psc_view, views: Views | None, writable: bool) -> Floats:
    """A psc_view as an array: a view of the library's memory, or without `views` a copy."""
    n = view.n_axes
    shape, strides = tuple(view.shape[:n]), tuple(4 * step for step in view.stride[:n])
    if views is not None:
        return views.of(view.data, shape, strides, np.float32, writable)
    if 0 in shape:
        return np.empty(shape, np.float32)
    size = 4 + sum((extent - 1) * step for extent, step in zip(shape, strides))
    buffer = (ctypes.c_char * size).from_address(view.data)
    copied: Floats = np.ndarray(shape, np.float32, buffer, 0, strides).copy()
    return copied


def raw_row(row: Any) -> c.psc_row:
    """An element of an array of `ROW` as psc_row."""
    if getattr(row, "dtype", None) != ROW or row.shape != ():
        raise InputError("a row must be one element of host.rows, as host.rows[3]")
    return c.psc_row.from_buffer_copy(row.tobytes())
