"""Stacks of components of the residual stream: memory is checked, then each part is written once.

A stack is [components, ..., d_model], or [components, ..., outputs] when each component is
projected. Sums run in float64 and are rounded once to float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, OutOfMemory

Floats = NDArray[np.float32]
BLOCK = 1 << 18  # most numbers of a temporary


def normalize(stack: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float64]:
    """(x - mean) / scale over the last axis, in float64."""
    wide = stack.astype(np.float64)
    wide -= wide.mean(axis=-1, keepdims=True)
    result: NDArray[np.float64] = wide / scale
    return result


class Stack:
    """A stack in the making: parts are announced, memory is checked, then each is written once."""

    def __init__(self, shape: tuple[int, ...], limit: int) -> None:
        """shape: of one component of the stream, [..., d_model]. limit: most bytes of the stack."""
        self.shape = shape
        self.limit = limit
        self.scale: NDArray[Any] | None = None  # [..., 1]
        self.project: NDArray[np.float64] | None = None  # [d_model, outputs]
        self.squeeze = False
        self.labels: list[str] = []
        self._parts: list[tuple[int, Callable[[Floats], None]]] = []

    def projection(self, project: ArrayLike | None) -> None:
        """Replaces the last axis by products with project [d_model] or [d_model, outputs]."""
        if project is None:
            return
        matrix = np.asarray(project, dtype=np.float64)
        if matrix.ndim not in (1, 2) or matrix.shape[0] != self.shape[-1]:
            raise InputError(
                f"project_output_onto is [{self.shape[-1]}] or [{self.shape[-1]}, outputs], not "
                f"{list(matrix.shape)}"
            )
        self.squeeze = matrix.ndim == 1
        self.project = matrix.reshape(self.shape[-1], -1)

    def direction(self) -> NDArray[np.float64] | None:
        """The projection; before a normalization, which centers, with its mean taken out."""
        if self.project is None or self.scale is None:
            return self.project
        mean: NDArray[np.float64] = self.project.mean(axis=0)
        return self.project - mean

    def finish(self, components: NDArray[Any]) -> NDArray[Any]:
        """Components [n, ..., d_model] as they stand in the stack."""
        direction = self.direction()
        if direction is None:
            return components if self.scale is None else normalize(components, self.scale)
        projected = components.astype(np.float64) @ direction
        return projected if self.scale is None else projected / self.scale

    def add(self, labels: Sequence[str], write: Callable[[Floats], None]) -> None:
        """Announces len(labels) components; write fills its slice of the stack later."""
        self.labels += labels
        self._parts.append((len(labels), write))

    def component(self, label: str, array: NDArray[Any]) -> None:
        """Announces one component of the stream's shape, or [d_model] for all rows."""

        def write(out: Floats) -> None:
            out[0] = self.finish(np.broadcast_to(array, self.shape)[None])[0]

        self.add([label], write)

    def build(self, remainder: NDArray[Any] | None = None) -> Floats:
        """The stack; remainder adds a last component, that array less all others."""
        n = sum(count for count, _ in self._parts) + (remainder is not None)
        width = self.shape[-1] if self.project is None else self.project.shape[1]
        shape = (n, *self.shape[:-1], width)
        size = 4 * int(np.prod(shape, dtype=np.int64))
        if size > self.limit:
            raise OutOfMemory(
                f"a stack {list(shape)} takes {size / 1e9:.1f} GB, more than the cache's "
                f"memory_limit of {self.limit / 1e9:.1f} GB; choose fewer rows by pos_slice, fewer "
                "neurons by neuron_slice, use project_output_onto, or raise memory_limit"
            )
        out = np.empty(shape, dtype=np.float32)
        first = 0
        for count, write in self._parts:
            write(out[first : first + count])
            first += count
        if remainder is not None:
            self.labels.append("remainder")
            out[-1] = self.finish(remainder[None])[0] - out[:-1].sum(axis=0, dtype=np.float64)
        return out[..., 0] if self.squeeze else out

    def heads(self, layer: int, z: NDArray[Any], w_o: NDArray[Any]) -> None:
        """Announces a layer's heads: z [..., H, D] times W_O [H, D, d_model]."""
        n_heads = z.shape[-2]

        def write(out: Floats) -> None:
            for head in range(n_heads):
                result = z[..., head, :].astype(np.float64) @ w_o[head].astype(np.float64)
                out[head] = self.finish(result[None])[0]

        self.add([f"L{layer}H{head}" for head in range(n_heads)], write)

    def neurons(
        self, layer: int, post: NDArray[Any], w_out: NDArray[Any], names: Sequence[int]
    ) -> None:
        """Announces a layer's neurons: post [..., M] times W_out [M, d_model] is their writes."""

        def write(out: Floats) -> None:
            direction = self.direction()
            weights = w_out if direction is None else w_out.astype(np.float64) @ direction
            weights = weights.reshape(len(weights), *[1] * (post.ndim - 1), -1)
            activations = np.moveaxis(post, -1, 0)[..., None]
            step = max(1, BLOCK // max(1, out[:1].size))
            for first in range(0, len(out), step):
                block = activations[first : first + step] * weights[first : first + step]
                if self.scale is not None:
                    block = (
                        normalize(block, self.scale) if direction is None else block / self.scale
                    )
                out[first : first + step] = block

        self.add([f"L{layer}N{neuron}" for neuron in names], write)
