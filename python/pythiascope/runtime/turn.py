"""What the callbacks of a run share with it: whose turn it is, exceptions, interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

from ..errors import StateError
from .opened import another_process, check_process

__all__ = ["Control", "Turn", "entry", "in_main_thread"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Turn:
    """Whose turn it is: sessions that share one run one at a time, never within a callback."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self.runner = 0  # the thread inside the C library's run; 0: none
        # Threads that close a session. The collector closes without the lock, so perhaps during
        # another thread's run.
        self.closers: set[int] = set()

    def inside(self) -> bool:
        """Whether this thread is inside a callback of a run or of a close."""
        thread = threading.get_ident()
        return thread == self.runner or thread in self.closers

    def hold(self) -> threading.RLock:
        """The lock, for a with statement.

        Raises:
            StateError: This thread is inside a callback of a run, or this is another process, in
                which the lock may be held forever.
        """
        check_process(self.pid)
        if self.inside():
            raise StateError(
                "a run cannot start inside a callback of the same model; use a model.session() "
                "of its own, or run it after this one"
            )
        return self.lock


def in_main_thread() -> bool:
    """Other threads receive no signal, so their runs ask no `stop`, which waits for the GIL."""
    return threading.current_thread() is threading.main_thread()


# What the library calls. An exception there, before the user's code is guarded, would be lost.
_entries: set[CodeType] = set()


def entry(function: Function) -> Function:
    """Marks a function that the library calls: Ctrl-C does not raise in its own frame."""
    _entries.add(function.__code__)
    return function


class Control:
    """What the callbacks of a run share with the run. It does not refer to the session."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.failure: BaseException | None = None  # of a callback; the first one stays
        self.in_user = False  # the user's code runs in a callback
        self.signals = 0  # SIGINT came so often in this run
        self.patience = 1  # so many end it
        self.former: Any = None  # the handler of SIGINT before the run

    def keep(self, failure: BaseException) -> None:
        """Remembers what a callback raised, for the call in progress to raise."""
        if self.failure is None:
            self.failure = failure

    @entry
    def guard(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Calls the user's code; nonzero when it raised. Never raises."""
        outer, failed = self.in_user, 0
        try:
            try:
                self.in_user = True
                function(*arguments)
            finally:
                self.in_user = outer
        except BaseException as failure:
            self.in_user = outer
            self.keep(failure)
            failed = 1
        if os.getpid() != self.pid:  # forked in the callback: the child's run ends here
            self.keep(another_process(self.pid))
            failed = 1
        return failed

    @entry
    def stop(self, _: Any) -> int:
        """Nonzero ends the run (psc_run_options.stop)."""
        return self.signals >= self.patience

    def handle(self, number: int, frame: Any) -> None:
        """The handler of SIGINT during a run in the main thread."""
        if self.in_user and (frame is None or frame.f_code not in _entries):
            self.former(number, frame)
        else:
            self.signals += 1

    def watch(self) -> bool:
        """Takes SIGINT over, where Python would handle it; returns whether."""
        self.signals = 0
        if not in_main_thread():
            return False
        self.former = signal.getsignal(signal.SIGINT)
        if not callable(self.former):
            return False
        try:
            signal.signal(signal.SIGINT, self.handle)
        except ValueError:  # not the main interpreter
            return False
        return True

    def unwatch(self) -> None:
        """Restores the handler of SIGINT, and calls it when the signal came."""
        if signal.getsignal(signal.SIGINT) == self.handle:
            signal.signal(signal.SIGINT, self.former)
        if self.signals:
            self.signals = 0
            self.former(int(signal.SIGINT), sys._getframe())
