"""Arrays over recycled memory.

Logits and caches take hundreds of megabytes. The system hands out such memory as zeroed pages, one
fault each, which costs as much as a tenth of a forward pass. A pool keeps blocks whose arrays are
gone, up to a limit, and hands them out again.
"""

from __future__ import annotations

import collections
import mmap
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OutOfMemory

__all__ = ["Pool", "pool"]

_SMALL = 1 << 17  # bytes; smaller arrays are NumPy's own
_PAGE = 1 << 14
_HUGE = 1 << 21  # bytes of a huge page
_WISH_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)


class _Block:
    """The base of an array: gives its memory back to the pool when the last array over it dies."""

    __slots__ = ("__array_interface__", "_memory", "_pool")

    def __init__(self, pool: Pool, memory: mmap.mmap, floats: int) -> None:
        self._pool = pool
        self._memory = memory
        address = int(np.frombuffer(memory, np.uint8).ctypes.data)
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<f4",
            "shape": (floats,),
            "data": (address, False),
        }

    def __del__(self) -> None:
        if hasattr(self, "_memory"):
            self._pool._give_back(self._memory)


class Pool:
    """Recycled memory for arrays; any thread may use it.

    Args:
        limit: Most bytes that wait for their next use; beyond it the oldest return to the system.
            0: a quarter of the machine's memory, at least 1 GiB; a cache of 410m over 512 tokens
            has 2 to 3 GB.
    """

    def __init__(self, limit: int = 0) -> None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._limit = limit or max(memory // 4, 1 << 30)
        self._back: collections.deque[mmap.mmap] = collections.deque()
        self._restart()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        """A new lock and no idle memory: another thread may have held the lock at a fork."""
        self._lock = threading.Lock()
        self._idle: dict[int, list[mmap.mmap]] = {}  # by size; the longest idle first
        self._sizes: collections.deque[int] = collections.deque()  # in the order of coming back
        self._bytes = 0

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An array of f32 with arbitrary contents, 64-byte aligned.

        It stays valid as long as it, or any array that was made from it, lives.

        Args:
            shape: Its extents.

        Raises:
            OutOfMemory: The system has not enough memory.
        """
        floats = 1
        for extent in shape:
            floats *= extent
        if floats * 4 < _SMALL:
            raw = np.empty(floats + 16, np.float32)
            skip = -raw.ctypes.data % 64 // 4
            return raw[skip : skip + floats].reshape(shape)
        block: Any = _Block(self, self._take(_rounded(floats * 4)), floats)
        return np.asarray(block).reshape(shape)

    def idle_bytes(self) -> int:
        """The bytes that wait for their next use."""
        with self._lock:
            self._sort()
            return self._bytes

    def trim(self) -> None:
        """Returns all idle memory to the system."""
        with self._lock:
            self._sort()
            self._drop(0)

    def _take(self, size: int) -> mmap.mmap:
        """An idle block that fits without wasting an eighth, else a new one."""
        with self._lock:
            self._sort()
            fits = [s for s in self._idle if size <= s <= size + size // 8]
            if fits:
                return self._pop(min(fits))
        try:
            memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError):
            raise OutOfMemory(f"not enough memory for an array of {size / 1e6:.0f} MB") from None
        if _WISH_HUGE is not None and size >= _HUGE:
            try:
                memory.madvise(_WISH_HUGE)
            except OSError:
                pass  # a kernel without huge pages
        return memory

    def _pop(self, size: int) -> mmap.mmap:
        blocks = self._idle[size]
        memory = blocks.pop()  # the last used is the likeliest to be in caches
        if not blocks:
            del self._idle[size]
        self._sizes.remove(size)
        self._bytes -= size
        return memory

    def _give_back(self, memory: mmap.mmap) -> None:
        """Called by the collector, perhaps inside this class: it never waits for the lock."""
        self._back.append(memory)
        if self._lock.acquire(blocking=False):
            try:
                self._sort()
            finally:
                self._lock.release()

    def _sort(self) -> None:
        """Files what came back, then keeps the limit. The caller holds the lock."""
        while self._back:
            memory = self._back.popleft()
            self._idle.setdefault(len(memory), []).append(memory)
            self._sizes.append(len(memory))
            self._bytes += len(memory)
        self._drop(self._limit)

    def _drop(self, limit: int) -> None:
        while self._bytes > limit:
            size = self._sizes.popleft()
            blocks = self._idle[size]
            del blocks[0]
            if not blocks:
                del self._idle[size]
            self._bytes -= size


def _rounded(size: int) -> int:
    """Whole huge pages where these waste little, else whole small ones."""
    unit = _HUGE if size >= 4 * _HUGE else _PAGE
    return -(-size // unit) * unit


pool = Pool()
