"""The host's results: a plugin's axes, arrays, values, and printed summary."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from .._c import structures as c
from ..errors import InputError
from .host_base import HostBase, address_of, encoded

Entries = Union[int, Sequence[int], Sequence[str], range, npt.NDArray[Any]]

_MOST = 1 << 26  # numbers that a range may stand for
_ELEMENTS = {"float32": c.PSC_F32, "float64": c.PSC_F64, "int32": c.PSC_I32}


def _texts(values: Iterable[str], what: str) -> ctypes.Array[ctypes.c_char_p]:
    texts = [encoded(value, what) for value in values]
    return (ctypes.c_char_p * max(len(texts), 1))(*texts)


def _numbers(values: range, name: str) -> npt.NDArray[np.int64]:
    """The entries of a range."""
    if values[_MOST:]:
        raise InputError(f"axis {name} has more than {_MOST} entries; make it shorter")
    if values and max(abs(values[0]), abs(values[-1])) > 2**31:
        raise InputError(f"an entry of axis {name} does not fit in 32 bits")
    return np.arange(values.start, values.stop, values.step, dtype=np.int64)


class HostResults(HostBase):
    """Results can be made from run_begin to report; over a corpus in report only.

    A name has 1 to 64 letters, digits, _ . - or /, and is used once.
    """

    def __init__(self, name: str, guard: Callable[..., int]) -> None:
        super().__init__(name, guard)
        self._axes: dict[str, int] = {}
        self._arrays: list[tuple[str, int, int, npt.NDArray[Any]]] = []

    def axis(self, name: str, entries: Entries) -> None:
        """Declares an axis: its entries are labels or whole numbers; an int n means 0 to n-1."""
        values: Any = range(entries) if isinstance(entries, int) else entries
        if isinstance(values, range):
            values = _numbers(values, name)
        n = len(values)
        key = encoded(name, "an axis's name")
        if n and all(isinstance(one, str) for one in values):
            labels = _texts((str(one) for one in values), f"a label of axis {name}")
            self._check("axis_labels", key, n, labels)
        else:
            numbers = np.ascontiguousarray(values)
            if n and numbers.dtype.kind not in "iu":
                raise InputError(f"the entries of axis {name} are neither labels nor whole numbers")
            if n and (numbers.min() < -(2**31) or numbers.max() >= 2**31):
                raise InputError(f"an entry of axis {name} does not fit in 32 bits")
            numbers = numbers.astype(np.int32)
            # Without entries the address is not read.
            self._check("axis_numbers", key, n, address_of(numbers))
        self._axes[name] = n

    def array(
        self, name: str, axes: Sequence[str], dtype: npt.DTypeLike = np.float32
    ) -> npt.NDArray[Any]:
        """A new array over declared axes, for the plugin to write until report returns.

        `dtype` is float32, float64 or int32. It is filled with NaN, integers with -1. The host
        takes its contents when report returns; later writes have no effect.
        """
        kind = np.dtype(dtype)
        if kind.name not in _ELEMENTS:
            raise InputError(f"array {name}: {kind} is not float32, float64 or int32")
        if isinstance(axes, str):
            raise InputError(f'array {name}: axes is a list of names, as ["{axes}"]')
        names = _texts(axes, f"an axis of array {name}")
        element = _ELEMENTS[kind.name] | c.PSC_UNFILLED
        key = encoded(name, "an array's name")
        address = self._pointer("array", key, element, len(axes), names)
        shape = tuple(self._axes[axis] for axis in axes)
        out = np.full(shape, -1 if kind.kind == "i" else np.nan, kind)
        self._arrays.append((name, address, out.nbytes, out))
        return out

    def _deliver(self) -> None:
        """Copies the arrays to the host."""
        for name, address, size, array in self._arrays:
            if array.nbytes != size or not array.flags.c_contiguous:
                raise InputError(f"array {name} was resized; write its elements only")
            ctypes.memmove(address, address_of(array), size)
        self._arrays.clear()

    def _forget(self) -> None:
        """Before a run, and before a report over a corpus: the results are new."""
        self._axes.clear()
        self._arrays.clear()

    def put(self, name: str, axes: Sequence[str], values: npt.ArrayLike) -> None:
        """Makes an array over declared axes of these values: f64, f32, or whole numbers as i32."""
        given = np.asarray(values)
        if given.dtype.kind in "iub":
            if given.size and (given.min() < -(2**31) or given.max() >= 2**31):
                raise InputError(f"array {name}: a value does not fit in 32 bits; make it a float")
            dtype: Any = np.int32
        else:
            dtype = np.float32 if given.dtype == np.float32 else np.float64
        out = self.array(name, axes, dtype)
        if out.shape != given.shape:
            raise InputError(
                f"array {name}: the values have the shape {given.shape}, its axes {out.shape}"
            )
        out[...] = given

    def token_ids(self, name: str) -> None:
        """Says that the integers of this int32 array are token ids, or negative for none.

        The result then has their texts (Result.vocabulary), and a page shows them.
        """
        self._check("token_ids", encoded(name, "an array's name"))

    def value(self, name: str, value: str | float) -> None:
        """A named value, a number or a text; NaN is written as null."""
        key = encoded(name, "a value's name")
        if isinstance(value, str):
            self._check("value_text", key, encoded(value, f"value {name}"))
        else:
            self._check("value_number", key, float(value))

    def append(self, name: str, value: str | float) -> None:
        """One more entry of a named list, whose entries are all numbers or all texts."""
        key = encoded(name, "a list's name")
        if isinstance(value, str):
            self._check("append_text", key, encoded(value, f"list {name}"))
        else:
            self._check("append_number", key, float(value))

    def summary(self, sentence: str) -> None:
        """A sentence of the printed summary."""
        self._check("summary_text", encoded(sentence, "a sentence"))

    def bars(
        self, title: str, labels: Sequence[str], values: npt.ArrayLike, unit: str = ""
    ) -> None:
        """A ranked list of signed bars in the printed summary."""
        heights = np.ascontiguousarray(values, np.float64).reshape(-1)
        if len(labels) != heights.size:
            raise InputError(f"bars '{title}': {len(labels)} labels for {heights.size} values")
        self._check(
            "summary_bars",
            encoded(title, "a title"),
            encoded(unit, "a unit"),
            heights.size,
            _texts(labels, "a label"),
            address_of(heights),
        )

    def document(self, kind: str, content: str | bytes) -> None:
        """A file of the output folder, "<plugin>.<kind>"; kind has letters, digits and dots.

        A kind with a slash is the file's own path in the folder, "figures/one.json".
        """
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else bytes(content)
        self._check("document", encoded(kind, "a file's kind"), raw, len(raw))
