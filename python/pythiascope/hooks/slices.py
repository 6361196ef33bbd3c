"""Slices of one axis, as TransformerLens writes them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

SliceInput = Union[
    None, int, slice, "tuple[int | None, ...]", "Sequence[int]", NDArray[Any], "Slice"
]


class Slice:
    """One axis's selection.

    None takes all; an int takes one entry and drops the axis; a tuple (k,), (k, m) or (k, m, s)
    is the slice :k, k:m or k:m:s; a list or array takes those entries, or those where a boolean
    array is True.
    """

    def __init__(self, input_slice: SliceInput = None) -> None:
        """input_slice as above. InputError for anything else."""
        self.slice: int | slice | NDArray[Any]
        self.mode = "slice"
        if isinstance(input_slice, Slice):
            self.slice, self.mode = input_slice.slice, input_slice.mode
        elif input_slice is None:
            self.slice, self.mode = slice(None), "identity"
        elif isinstance(input_slice, slice):
            self.slice = input_slice
        elif isinstance(input_slice, tuple):
            if not 1 <= len(input_slice) <= 3:
                raise InputError(f"a tuple as a slice has 1 to 3 numbers, not {input_slice!r}")
            self.slice = slice(*input_slice)
        elif isinstance(input_slice, (list, range, np.ndarray)) and np.ndim(input_slice) == 1:
            indices = np.asarray(input_slice)
            if indices.size == 0:
                indices = indices.astype(np.int64)
            if indices.dtype.kind not in "iub":
                raise InputError(f"a list as a slice holds whole numbers, not {input_slice!r}")
            self.slice, self.mode = indices, "array"
        else:
            try:
                self.slice, self.mode = operator.index(input_slice), "int"  # type: ignore[arg-type]
            except TypeError:
                raise InputError(
                    "a slice is None, a whole number, a tuple, a list of numbers or a 1-d array, "
                    f"not {input_slice!r}"
                ) from None

    @classmethod
    def unwrap(cls, input_slice: SliceInput) -> Slice:
        """A Slice that keeps the axis: an int becomes a list of one."""
        found = cls(input_slice)
        if found.mode == "int":
            found.slice, found.mode = np.array([found.slice]), "array"
        return found

    def apply(self, array: NDArray[Any], dim: int = 0) -> NDArray[Any]:
        """The array with this selection on axis dim. InputError for an entry out of range."""
        if self.mode == "identity":
            return array
        index: list[Any] = [slice(None)] * array.ndim
        index[dim] = self.slice
        try:
            chosen: NDArray[Any] = array[tuple(index)]
            return chosen
        except (IndexError, TypeError) as error:
            raise InputError(
                f"the slice {self.slice!r} does not fit an axis of {array.shape[dim]} entries: "
                f"{error}"
            ) from None

    def indices(self, max_ctx: int | None = None) -> NDArray[np.int64]:
        """The entries that it selects of an axis of max_ctx entries."""
        if self.mode == "int":
            return np.array([self.slice], dtype=np.int64)
        if max_ctx is None:
            raise InputError("max_ctx is needed for any slice but a whole number")
        return self.apply(np.arange(max_ctx, dtype=np.int64))

    def __repr__(self) -> str:
        return f"Slice: {self.slice} Mode: {self.mode} "
