"""The sections of a result: one per plugin, with options, axes, arrays, values and a summary.

They read from the C runtime's results on demand. Arrays are views of that memory (arrays.py);
everything else is copied when it is asked for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from .._c import structures as c
from .._c.library import check, library
from ..errors import InputError, StateError
from .arrays import RANKS, Array, Coordinate, Entry, Ranking, unique_dims

if TYPE_CHECKING:
    from ..runtime.session import OwnedResults

Value = Union[float, str, "list[float]", "list[str]"]
_T = TypeVar("_T")

_ELEMENTS: dict[int, np.dtype[Any]] = {
    c.PSC_F32: np.dtype("<f4"),
    c.PSC_F64: np.dtype("<f8"),
    c.PSC_I32: np.dtype("<i4"),
}


class MissingName(InputError, KeyError):
    """The result has nothing of this name."""

    def __str__(self) -> str:
        return str(self.args[0])


class Bars(NamedTuple):
    """A ranked list of the printed summary."""

    title: str
    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


class Completeness(NamedTuple):
    """The plugin's own check that its parts sum to the whole.

    ``error`` is the largest error, in the measure that the plugin's page states. ``bound`` is the
    largest error that passes; ``checked`` and ``failed`` count sums. Each of the three is None
    where the plugin does not state it.
    """

    error: float
    bound: float | None
    checked: int | None
    failed: int | None

    @property
    def ok(self) -> bool | None:
        """Whether all sums are within the bound; None without a bound."""
        return None if self.bound is None else self.error <= self.bound


# The values by which plugins report their check.
_CHECKS = ("completeness", "completeness_error_max", "completeness_error", "worst_error")


# --- reading the C results -----------------------------------------------------------------------


class _View:
    """Memory of results under NumPy's array interface; keeps its owner alive."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: object, address: int, shape: tuple[int, ...], kind: str) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (address, True),
            "shape": shape,
            "typestr": kind,
            "version": 3,
        }


def view(
    owner: object, address: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """A read-only array over memory that belongs to owner, which it keeps alive."""
    if not address or 0 in shape:
        empty = np.empty(shape, dtype)
        empty.flags.writeable = False
        return empty
    return np.asarray(_View(owner, address, shape, dtype.str))


def text_of(value: bytes | None) -> str:
    """A C text; null is empty and broken UTF-8 becomes U+FFFD."""
    return "" if value is None else value.decode("utf-8", "replace")


class Reader:
    """Typed access to the C results that `owner` owns."""

    __slots__ = ("library", "owner")

    def __init__(self, owner: OwnedResults) -> None:
        self.owner = owner
        self.library: Any = library()

    def __reduce__(self) -> Any:
        raise StateError(
            "results cannot be pickled or copied; take result.to_dict() or the values of arrays"
        )

    def call(self, name: str, *arguments: Any) -> None:
        """Calls name(arguments..., &error); raises the error.

        A failed call is repeated for its sentence, so that others need no room for one.
        """
        function = getattr(self.library, name)
        if function(*arguments, None) != c.PSC_OK:
            error = c.psc_error()
            check(function(*arguments, ctypes.byref(error)), error)

    def get(self, name: str, out: _T, *arguments: Any) -> _T:
        """Calls name(&out, results, arguments..., &error); returns out."""
        self.call(name, ctypes.byref(out), self.owner.pointer, *arguments)  # type: ignore[arg-type]
        return out

    def count(self, name: str) -> int:
        """The number that name(results) returns."""
        return int(getattr(self.library, name)(self.owner.pointer))

    def write(self, format: int, **options: Any) -> str:
        """The results in a format of psc_results_write_memory."""
        how = c.psc_format_options(**options)
        out, n = ctypes.c_void_p(), ctypes.c_size_t()
        where = ctypes.byref(out), ctypes.byref(n), self.owner.pointer
        self.call("psc_results_write_memory", *where, format, ctypes.byref(how))
        try:
            return ctypes.string_at(out.value or 0, n.value).decode("utf-8")
        finally:
            self.library.psc_free(out)


class Lazy(Mapping[str, _T]):
    """A read-only mapping that is filled when it is first used."""

    def __init__(self, what: str, fill: Callable[[], dict[str, _T]]) -> None:
        self._what = what
        self._fill: Callable[[], dict[str, _T]] | None = fill
        self._items: dict[str, _T] = {}

    def _filled(self) -> dict[str, _T]:
        fill = self._fill
        if fill is not None:  # threads that come at once fill it alike
            self._items = fill()
            self._fill = None
        return self._items

    def __getitem__(self, name: str) -> _T:
        items = self._filled()
        if name not in items:
            known = ", ".join(items) or "none"
            raise MissingName(f"the result has no {self._what} {name!r}; it has {known}")
        return items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self._filled())

    def __contains__(self, name: object) -> bool:
        return name in self._filled()

    def __repr__(self) -> str:
        return repr(self._filled())


class _Coords(Mapping[str, Coordinate]):
    """The labels of one array's axes."""

    __slots__ = ("_axes", "_names")

    def __init__(
        self, axes: Mapping[str, Coordinate], dims: Sequence[str], names: Sequence[str]
    ) -> None:
        self._axes, self._names = axes, dict(zip(dims, names))

    def __getitem__(self, dim: str) -> Coordinate:
        return self._axes[self._names[dim]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{dim!r}: {labels!r}' for dim, labels in self.items())}}}"


# --- sections ------------------------------------------------------------------------------------


class Section:
    """One plugin's part of a result.

    ``options`` are the plugin's options as it took them, ``axes`` the labels or numbers of each
    axis, ``arrays`` the arrays by key, ``values`` the named numbers, texts and lists of either.
    """

    def __init__(self, reader: Reader, index: int) -> None:
        self._reader, self._index = reader, index
        head = self._head = reader.get("psc_results_section_at", c.psc_result_section(), index)
        self.name = text_of(head.name)
        self.version = text_of(head.version)
        self.options: Mapping[str, str] = Lazy("option", self._read_options)
        self.axes: Mapping[str, Coordinate] = Lazy("axis", self._read_axes)
        self.arrays: Mapping[str, Array] = Lazy("array", self._read_arrays)
        self.values: Mapping[str, Value] = Lazy("value", self._read_values)

    def __getitem__(self, key: str) -> Array:
        return self.arrays[key]

    def __repr__(self) -> str:
        return f"<Section {self.name}: {', '.join(self.arrays) or 'no arrays'}>"

    def _read_options(self) -> dict[str, str]:
        key, value, out = ctypes.c_char_p(), ctypes.c_char_p(), {}
        where = ctypes.byref(key), ctypes.byref(value), self._reader.owner.pointer, self._index
        for i in range(self._head.n_options):
            self._reader.call("psc_results_option_at", *where, i)
            out[text_of(key.value)] = text_of(value.value)
        return out

    def _read_axes(self) -> dict[str, Coordinate]:
        out: dict[str, Coordinate] = {}
        axis = c.psc_result_axis()
        for i in range(self._head.n_axes):
            self._reader.get("psc_results_axis_at", axis, self._index, i)
            if axis.labels:
                out[text_of(axis.name)] = tuple(map(text_of, axis.labels[: axis.n]))
            else:
                address = ctypes.cast(axis.numbers, ctypes.c_void_p).value
                numbers = view(self._reader.owner, address, (axis.n,), _ELEMENTS[c.PSC_I32])
                out[text_of(axis.name)] = numbers
        return out

    def _read_arrays(self) -> dict[str, Array]:
        out: dict[str, Array] = {}
        same: dict[tuple[str, ...], dict[str, Array]] = {}
        a = c.psc_array()
        for i in range(self._head.n_arrays):
            self._reader.get("psc_results_array_at", a, self._index, i)
            axes: Any = a.axes
            names = [text_of(name) for name in axes[: a.n_axes]]
            dims = unique_dims(names)
            peers = same.setdefault(dims, {})
            array = read_array(self._reader, a, dims, _Coords(self.axes, dims, names), peers)
            out[array.key] = peers[array.key] = array
        return out

    def _read_values(self) -> dict[str, Value]:
        out: dict[str, Value] = {}
        v = c.psc_result_value()
        for i in range(self._head.n_values):
            self._reader.get("psc_results_value_at", v, self._index, i)
            name = text_of(v.name)
            if v.kind == c.PSC_VALUE_NUMBER:
                out[name] = float(v.numbers[0])
            elif v.kind == c.PSC_VALUE_NUMBERS:
                out[name] = [float(x) for x in v.numbers[: v.n]]
            elif v.kind == c.PSC_VALUE_TEXT:
                out[name] = text_of(v.texts[0])
            else:
                out[name] = [text_of(x) for x in v.texts[: v.n]]
        return out

    @property
    def items(self) -> list[str | Bars]:
        """The parts of the printed summary: sentences, and ranked lists of bars."""
        out: list[str | Bars] = []
        item = c.psc_result_item()
        for i in range(self._head.n_items):
            self._reader.get("psc_results_item_at", item, self._index, i)
            if item.sentence is not None:
                out.append(text_of(item.sentence))
                continue
            labels = tuple(map(text_of, item.labels[: item.n]))
            values = tuple(map(float, item.values[: item.n]))
            out.append(Bars(text_of(item.title), text_of(item.unit), labels, values))
        return out

    def _number(self, name: str) -> float | None:
        value = self.values.get(name)
        return value if isinstance(value, float) else None

    @property
    def completeness(self) -> Completeness | None:
        """The plugin's own sum check; None when it has none."""
        for name in _CHECKS:
            error = self._number(name)
            if error is not None:
                checked, failed = self._number("sums_checked"), self._number("sums_failed")
                return Completeness(
                    error,
                    self._number("completeness_bound"),
                    None if checked is None else int(checked),
                    None if failed is None else int(failed),
                )
        return None

    def top(self, n: int = 10, name: str | None = None, *, by: str = "abs") -> Ranking:
        """The n largest entries of an array, for each target and row, over all other axes together.

        Args:
            n: Most entries per target and row.
            name: The array. None: the list that the plugin ranked for each target, else the array
                with most entries per target; without targets, the first bars of the summary.
            by: "abs" (the absolute value), "high" or "low".

        Raises:
            InputError: The section has no such array, or no ranked list.
        """
        if name is not None:
            return _top(self.arrays[name], n, by)
        found = [a for a in self.arrays.values() if a.dtype.kind == "f" and "targets" in a.dims]
        ranked = [a for a in found if a.dims[-1] in RANKS]
        if ranked:
            ranked.sort(key=lambda a: (a.key != self.options.get("by"), "share" not in a.key))
            return ranked[0].top(n, by=by)
        if found:
            return _top(max(found, key=lambda a: a.size), n, by)
        for item in self.items:
            if isinstance(item, Bars):
                pairs = list(zip(item.labels, item.values))[:n]
                return Ranking(Entry(value, label, {"bars": label}, {}) for label, value in pairs)
        known = ", ".join(self.arrays) or "none"
        raise InputError(f"{self.name} has no ranked list; name one of its arrays: {known}")


def _top(array: Array, n: int, by: str) -> Ranking:
    """The n largest entries over all axes but targets and rows, which have a list each."""
    dims = [dim for dim in array.dims if dim not in ("targets", "rows")]
    return array.top(n, None if not dims or array.dims[-1] in RANKS else dims, by=by)


def read_array(
    reader: Reader,
    a: c.psc_array,
    dims: tuple[str, ...],
    coords: Mapping[str, Coordinate],
    peers: Mapping[str, Array],
) -> Array:
    """An Array over a C array's memory."""
    owner, holds = reader.owner, reader.library.psc_results_array_holds_token_ids
    values = view(owner, a.data, tuple(a.shape[: a.n_axes]), _ELEMENTS[a.element])
    name, ids = text_of(a.name), bool(holds(owner.pointer, a.name))
    return Array(name, values, dims, coords, key=text_of(a.key), peers=peers, token_ids=ids)
