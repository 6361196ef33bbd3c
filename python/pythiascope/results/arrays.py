"""Arrays of results: NumPy values under named axes, whose entries have labels or numbers.

The values are a read-only view of the result's own memory. The view keeps that memory alive, so it
stays valid after the result, the session and the model are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from ..errors import InputError

if TYPE_CHECKING:
    import xarray

Label = Union[str, int]
Coordinate = Union["tuple[str, ...]", "NDArray[np.int32]"]
Coordinates = Mapping[str, Coordinate]

# Axes that number the places of a list that is ranked already.
RANKS = frozenset({"top", "rank", "ranks"})


class Entry(NamedTuple):
    """One entry of a ranking.

    ``label`` is its label on the ranked axis: ``"L2H1"``; of a list that is ranked already, its
    place. ``at`` has the labels on every axis. ``beside`` has, of a list that is ranked already,
    what the other arrays with the same axes have at this place.
    """

    value: float
    label: Label
    at: dict[str, Label]
    beside: dict[str, float]


class Ranking(list[Entry]):
    """Entries of an array or of printed bars, in order; shown as a table."""

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self:
            return "no entries"
        others = [name for name in self[0].at if len({entry.at[name] for entry in self}) > 1]
        rows = [
            [*(_named(name, e.at[name]) for name in others), f"{e.value:+.6g}"]
            + [f"{name} {value:g}" for name, value in e.beside.items()]
            for e in self
        ]
        if not others:
            rows = [[str(e.label), *row] for e, row in zip(self, rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


def _named(dim: str, label: Label) -> str:
    return label if isinstance(label, str) else f"{dim} {label}"


def unique_dims(names: Sequence[str]) -> tuple[str, ...]:
    """Names of axes, each once: a second ``levels`` becomes ``levels_2``."""
    dims: list[str] = []
    for name in names:
        candidate, n = name, 1
        while candidate in dims:
            n += 1
            candidate = f"{name}_{n}"
        dims.append(candidate)
    return tuple(dims)


class Array(NDArrayOperatorsMixin):
    """An array of a result: ``values`` with the axes ``dims``, and ``coords``, each axis's labels.

    NumPy functions and operators take it as it is and give NumPy arrays, as ``np.abs(a - b)``.
    ``array[index]`` is ``array.values[index]``. A second axis of the same name has "_2" after it.
    ``peers`` are the arrays with the same axes in its section. ``token_ids`` says that the integers
    are token ids, whose texts ``Result.vocabulary`` has.
    """

    __slots__ = ("coords", "dims", "key", "name", "peers", "token_ids", "values")

    def __init__(
        self,
        name: str,
        values: NDArray[Any],
        dims: Sequence[str],
        coords: Coordinates,
        *,
        key: str | None = None,
        peers: Mapping[str, Array] | None = None,
        token_ids: bool = False,
    ) -> None:
        self.name = name
        self.key = name if key is None else key
        self.values = values
        self.dims = tuple(dims)
        self.coords = coords
        self.peers: Mapping[str, Array] = {} if peers is None else peers
        self.token_ids = token_ids

    # --- as a NumPy array --------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Entries per axis."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, float64 or int32."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.values.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self.values, dtype=dtype)
        return np.asarray(self.values, dtype=dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        given = [x.values if isinstance(x, Array) else x for x in inputs]
        if "out" in options:
            options["out"] = tuple(x.values if isinstance(x, Array) else x for x in options["out"])
        return getattr(ufunc, method)(*given, **options)

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        known = not name.startswith("_") and hasattr(np.ndarray, name)
        hint = f"; use .values.{name}" if known else ""
        raise AttributeError(f"'Array' object has no attribute {name!r}{hint}")

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def item(self) -> float | int:
        """The only element; an InputError if there are more."""
        if self.values.size != 1:
            raise InputError(f"{self.name} has {self.values.size} elements, not one; use .values")
        value: float | int = self.values.item()
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        coords = {dim: self.coords[dim] for dim in self.dims}
        return _rebuild, (self.name, np.array(self.values), self.dims, coords, self.key)

    # --- by label ----------------------------------------------------------------------------

    def _axis(self, dim: str) -> int:
        if dim not in self.dims:
            known = ", ".join(self.dims) or "no axes"
            raise InputError(f"{self.name} has no axis '{dim}'; it has {known}")
        return self.dims.index(dim)

    def index(self, dim: str, label: Label) -> int:
        """The place of a label on an axis: ``array.index("components", "L2H1")``.

        Args:
            dim: The axis.
            label: A label, or a number where the axis has numbers. A token may stand with or
                without its quotes.

        Raises:
            InputError: The axis or the label does not exist.
        """
        self._axis(dim)
        labels = self.coords[dim]
        if isinstance(labels, tuple):
            for candidate in (str(label), f"'{label}'"):
                if candidate in labels:
                    return labels.index(candidate)
        elif isinstance(label, (int, np.integer)):
            found = np.flatnonzero(labels == label)
            if found.size:
                return int(found[0])
        raise InputError(f"{self.name}: the axis {dim} has no entry {label!r}")

    def isel(self, **indices: int | slice | Sequence[int]) -> Array:
        """The part at these places, by axis: ``array.isel(rows=0)``. A number removes its axis.

        Without lists the values are a view.

        Raises:
            InputError: The axis does not exist.
            IndexError: The place does not exist.
        """
        values, coords = self.values, {dim: self.coords[dim] for dim in self.dims}
        dims = list(self.dims)
        for dim, index in indices.items():
            self._axis(dim)
            axis = dims.index(dim)
            picked = index if isinstance(index, (int, np.integer, slice)) else list(index)
            values = values[(slice(None),) * axis + (picked,)]
            if isinstance(picked, (int, np.integer)):
                dims.remove(dim)
            else:
                coords[dim] = _pick(coords[dim], picked)
        values = np.asarray(values)
        values.flags.writeable = False
        return Array(self.name, values, dims, {d: coords[d] for d in dims}, key=self.key)

    def sel(self, **labels: Label | Sequence[Label]) -> Array:
        """The part at these labels: ``array.sel(targets=" Oz", components=["L2H1", "L2H7"])``.

        Raises:
            InputError: An axis or a label does not exist.
        """
        indices: dict[str, int | Sequence[int]] = {}
        for dim, label in labels.items():
            if isinstance(label, (str, int, np.integer)):
                indices[dim] = self.index(dim, label)
            else:
                indices[dim] = [self.index(dim, one) for one in label]
        return self.isel(**indices)

    def labels_at(self, index: Sequence[int]) -> dict[str, Label]:
        """The label on every axis at a place of the array."""
        return {dim: _label(self.coords[dim], i) for dim, i in zip(self.dims, index)}

    def top(
        self, n: int = 10, dim: str | Sequence[str] | None = None, *, by: str = "abs"
    ) -> Ranking:
        """The n largest entries along an axis, for every place on the others.

        NaN is left out; ties go to the lower place. A list that is ranked already ("top", "rank")
        keeps its order.

        Args:
            n: Most entries per place.
            dim: The axis; None: the last. Several axes are ranked together: of a sweep over heads,
                ``("layers", "heads")``.
            by: "abs" (the absolute value), "high" or "low".

        Raises:
            InputError: The axis does not exist, or by is something else.
        """
        if by not in ("abs", "high", "low"):
            raise InputError(f"top: by={by!r} is not 'abs', 'high' or 'low'")
        if not self.dims:
            return Ranking([Entry(float(self.item()), self.key, {}, {})])
        axes, last = self._ranked(dim)
        others = [i for i in range(self.ndim) if i not in axes]
        lines = self.values.transpose(*others, *axes)
        ranked = lines.shape[len(others) :]
        by = "given" if last in RANKS else by
        entries = Ranking()
        for place in np.ndindex(*lines.shape[: len(others)]):
            for i in _order(lines[place].ravel(), n, by):
                at = dict(zip((*others, *axes), (*place, *np.unravel_index(i, ranked))))
                entries.append(self._entry(tuple(int(at[a]) for a in range(self.ndim)), last))
        return entries

    def _ranked(self, dim: str | Sequence[str] | None) -> tuple[list[int], str]:
        """The axes that are ranked together, and the name of the last."""
        names = [dim or self.dims[-1]] if dim is None or isinstance(dim, str) else list(dim)
        axes = [self._axis(name) for name in names]
        if len(set(axes)) != len(axes) or not axes:
            raise InputError(f"top: dim={dim!r} is not an axis or several different axes")
        return axes, names[-1]

    def _entry(self, index: tuple[int, ...], dim: str) -> Entry:
        at = self.labels_at(index)
        beside = {}
        if dim in RANKS:
            beside = {k: float(a.values[index]) for k, a in self.peers.items() if k != self.key}
        return Entry(float(self.values[index]), at[dim], at, beside)

    # --- for other packages ------------------------------------------------------------------

    def to_xarray(self) -> xarray.DataArray:
        """An xarray.DataArray with the same axes and labels; needs the package xarray."""
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray needs the package xarray; install it") from error
        coords = {dim: list(self.coords[dim]) for dim in self.dims if len(self.coords[dim])}
        return xarray.DataArray(self.values, coords, self.dims, self.name)

    def to_pandas(self) -> Any:
        """A Series of one axis, a DataFrame of two, else a Series over all axes; needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs the package pandas; install it") from error
        axes = [pandas.Index(list(self.coords[dim]), name=dim) for dim in self.dims]
        if not axes:
            return pandas.Series([self.item()], name=self.name)
        if len(axes) == 2:
            return pandas.DataFrame(self.values, index=axes[0], columns=axes[1])
        index = axes[0] if len(axes) == 1 else pandas.MultiIndex.from_product(axes)
        return pandas.Series(self.values.ravel(), index=index, name=self.name)

    def __repr__(self) -> str:
        axes = ", ".join(f"{dim}: {n}" for dim, n in zip(self.dims, self.shape))
        return f"<Array {self.name} ({axes}) {self.dtype}>\n{self.values!r}"


def _rebuild(
    name: str, values: NDArray[Any], dims: tuple[str, ...], coords: Coordinates, key: str
) -> Array:
    values.flags.writeable = False
    return Array(name, values, dims, coords, key=key)


def _label(labels: Coordinate, i: int) -> Label:
    return labels[i] if isinstance(labels, tuple) else int(labels[i])


def _pick(labels: Coordinate, index: slice | list[int]) -> Coordinate:
    if not isinstance(labels, tuple):
        return labels[index]
    return labels[index] if isinstance(index, slice) else tuple(labels[i] for i in index)


def _order(line: NDArray[Any], n: int, by: str) -> NDArray[np.intp]:
    """Places of the n first entries of a line, without NaN."""
    present = np.flatnonzero(~np.isnan(line))
    if by == "given":
        return present[:n]
    values = line[present].astype(np.float64)
    key = -np.abs(values) if by == "abs" else values if by == "low" else -values
    if 0 < n < len(key) // 8:  # only the part that can be among the first is sorted
        least = np.partition(key, n - 1)[n - 1]
        keep = np.flatnonzero(key <= least)
        present, key = present[keep], key[keep]
    return present[np.argsort(key, kind="stable")[:n]]
