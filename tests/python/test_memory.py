"""Recycled memory for arrays."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import threading

import numpy as np
import pytest
from pythiascope import OutOfMemory
from pythiascope._c import memory
from pythiascope._c.memory import Pool

MEGABYTE = 1 << 18  # floats


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize("shape", [(0,), (3,), (7, 5), (1, 1000, 333), (2, MEGABYTE)])
def test_arrays_are_aligned_contiguous_and_writable(shape: tuple[int, ...]) -> None:
    array = Pool().empty(shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous and array.flags.writeable
    assert array.size == 0 or address(array) % 64 == 0
    array[...] = 1.5
    assert (array == 1.5).all()


def test_memory_comes_back_when_the_last_array_over_it_dies() -> None:
    pool = Pool()
    array = pool.empty((4, MEGABYTE))
    where = address(array)
    row = array[1:2].T[5:]
    del array
    gc.collect()
    assert pool.idle_bytes() == 0
    other = pool.empty((4, MEGABYTE))
    assert address(other) != where
    del row
    assert pool.idle_bytes() > 0
    again = pool.empty((4, MEGABYTE))
    assert address(again) == where
    assert pool.idle_bytes() == 0


def test_two_living_arrays_never_share_memory() -> None:
    pool = Pool()
    arrays = [pool.empty((2, MEGABYTE)) for _ in range(5)]
    for i, array in enumerate(arrays):
        array[...] = i
    assert [array.min() for array in arrays] == [array.max() for array in arrays] == list(range(5))


def test_idle_memory_is_bounded_and_can_be_returned() -> None:
    pool = Pool(limit=8 << 20)
    arrays = [pool.empty((2, MEGABYTE)) for _ in range(10)]
    del arrays
    assert 0 < pool.idle_bytes() <= 8 << 20
    pool.trim()
    assert pool.idle_bytes() == 0


def test_a_small_array_does_not_take_a_large_block() -> None:
    pool = Pool()
    del (large := {"array": pool.empty((64, MEGABYTE))})["array"]
    small = pool.empty((1, MEGABYTE))
    assert pool.idle_bytes() >= 64 << 20
    assert small.size == MEGABYTE
    assert not large


def test_an_array_wastes_little_memory() -> None:
    for floats in (1 << 15, 98_304, 393_216, 1_500_000, 50_304 * 128):
        pool = Pool()
        array = pool.empty((floats,))
        del array
        assert floats * 4 <= pool.idle_bytes() <= floats * 4.5


def test_a_fork_while_another_thread_takes_memory() -> None:
    """The child's pool does not wait for a lock that a thread of its parent held."""
    pool = Pool()
    with pool._lock:
        pid = os.fork()
        if pid == 0:
            faulthandler.dump_traceback_later(20, exit=True)
            pool.empty((2, MEGABYTE))[...] = 1
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_collector_may_return_memory_at_any_time() -> None:
    """Memory comes back while the pool holds its lock, in the same thread."""
    pool = Pool()
    array = pool.empty((1, MEGABYTE))
    with pool._lock:
        del array
    assert pool.idle_bytes() >= 4 * MEGABYTE


def test_too_much_memory_is_a_sentence() -> None:
    with pytest.raises(OutOfMemory, match="not enough memory for an array of"):
        Pool().empty((1 << 40, 1 << 10))


def test_many_threads_use_one_pool() -> None:
    pool = Pool(limit=16 << 20)
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(40):
            array = pool.empty((1, MEGABYTE))
            array[...] = number * 1000 + turn
            if array.min() != number * 1000 + turn or array.max() != number * 1000 + turn:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.idle_bytes() <= 16 << 20


def test_a_block_that_was_not_made_has_nothing_to_give_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    memory._Block.__new__(memory._Block).__del__()
    assert not seen
