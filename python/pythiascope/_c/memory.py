"""Arrays over recycled memory.

Logits and caches take hundreds of megabytes. The system hands out such memory as zeroed pages, one
fault each, which costs as much as a tenth of a forward pass. A pool keeps blocks whose arrays are
gone, up to a limit, and hands them out again.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Pool", "pool"]

_UNIT = 1 << 21  # bytes of a huge page
_SMALL = 1 << 18  # smaller arrays are NumPy's own
_WISH_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)


class _Block:
    """The base of an array: gives its memory back to the pool when the last array over it dies."""

    __slots__ = ("__array_interface__", "_memory", "_pool")

    def __init__(self, pool: Pool, memory: mmap.mmap, address: int, floats: int) -> None:
        self._pool = pool
        self._memory = memory
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<f4",
            "shape": (floats,),
            "data": (address, False),
        }

    def __del__(self) -> None:
        self._pool._give_back(self._memory)


class Pool:
    """Recycled memory for arrays; any thread may use it.

    Args:
        limit: Most bytes that wait for their next use; beyond it the oldest return to the system.
    """

    def __init__(self, limit: int = 1 << 30) -> None:
        self._limit = limit
        self._lock = threading.RLock()  # the collector may call back into the thread that holds it
        self._idle: list[mmap.mmap] = []  # the longest idle first
        self._addresses: dict[int, int] = {}

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An array of f32 with arbitrary contents, 64-byte aligned.

        It stays valid as long as it, or any array that was made from it, lives.

        Args:
            shape: Its extents.

        Raises:
            MemoryError: The system has not enough memory.
        """
        floats = 1
        for extent in shape:
            floats *= extent
        if floats * 4 < _SMALL:
            return _aligned(floats).reshape(shape)
        memory = self._take(-(-floats * 4 // _UNIT) * _UNIT)
        block: Any = _Block(self, memory, self._address(memory), floats)
        return np.asarray(block).reshape(shape)

    def idle_bytes(self) -> int:
        """The bytes that wait for their next use."""
        with self._lock:
            return sum(len(memory) for memory in self._idle)

    def trim(self) -> None:
        """Returns all idle memory to the system."""
        with self._lock:
            idle, self._idle = self._idle, []
        del idle

    def _take(self, size: int) -> mmap.mmap:
        """The smallest idle block that fits without wasting a quarter, else a new one."""
        with self._lock:
            fits = [m for m in self._idle if size <= len(m) <= size + size // 4]
            if fits:
                memory = min(fits, key=len)
                self._idle = [m for m in self._idle if m is not memory]
                return memory
        try:
            memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:
            raise MemoryError(f"not enough memory for an array of {size / 1e6:.0f} MB") from None
        if _WISH_HUGE is not None:
            try:
                memory.madvise(_WISH_HUGE)
            except OSError:
                pass  # a kernel without huge pages
        return memory

    @staticmethod
    def _address(memory: mmap.mmap) -> int:
        return int(np.frombuffer(memory, np.uint8).ctypes.data)

    def _give_back(self, memory: mmap.mmap) -> None:
        with self._lock:
            self._idle.append(memory)
            total = sum(len(m) for m in self._idle)
            while total > self._limit:
                total -= len(self._idle.pop(0))


def _aligned(floats: int) -> npt.NDArray[np.float32]:
    raw = np.empty(floats + 16, np.float32)
    skip = -raw.ctypes.data % 64 // 4
    return raw[skip : skip + floats]


pool = Pool()
