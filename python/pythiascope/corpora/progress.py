"""A progress bar: tqdm's when it is installed, else a plain line on a terminal.

What a caller passes as `progress` chooses it: True, False, or a function that receives the share
of the work that is done (None while it is unknown) and the tokens read so far.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Union

Report = Callable[[Union[float, None], int], object]
ProgressOption = Union[bool, Report]

_FIRST, _EVERY = 1.0, 0.25  # seconds to the first line, and between lines
_COLUMNS = 30


class Progress:
    """Shows nothing; the base of the others."""

    def update(self, done: float | None, tokens: int) -> None:
        """`done` is 0 to 1, or None when the amount of work is unknown."""

    def close(self) -> None:
        """Removes the bar; a second call does nothing."""


class _Called(Progress):
    def __init__(self, report: Report) -> None:
        self._report = report

    def update(self, done: float | None, tokens: int) -> None:
        self._report(done, tokens)


class _Line(Progress):
    """One line that is drawn again and again, as the program's."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + _FIRST
        self._base: float | None = None
        self._drawn = False

    def update(self, done: float | None, tokens: int) -> None:
        if self._base is None:
            self._base = done
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        self._drawn = True
        sys.stderr.write("\r\x1b[K" + self._text(done, tokens, now - self._began))
        sys.stderr.flush()

    def _text(self, done: float | None, tokens: int, seconds: float) -> str:
        text = f"{self._what} {tokens} tokens"
        if done is not None:
            full = int(done * _COLUMNS + 0.5)
            text += " " + "█" * full + "░" * (_COLUMNS - full) + f" {100 * done:3.0f} %"
        text += f" {int(seconds)} s"
        base = self._base or 0.0
        if done is not None and base < done < 1 and seconds > 4:
            left = int(seconds * (1 - done) / (done - base))
            text += f", {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        return text

    def close(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._drawn = False


class _Tqdm(Progress):
    """tqdm's bar, over the share of the work; without a known end, its counter of tokens."""

    def __init__(self, tqdm: Any, what: str) -> None:
        self._tqdm, self._what = tqdm, what
        self._bar: Any = None
        self._counts = False
        self._last: float = 0

    def update(self, done: float | None, tokens: int) -> None:
        if self._bar is None:
            self._open(done, tokens)
        value: float = tokens if self._counts or done is None else 100 * done
        if not self._counts:
            self._bar.set_postfix_str(f"{tokens} tokens", refresh=False)
        self._bar.update(value - self._last)
        self._last = value

    def _open(self, done: float | None, tokens: int) -> None:
        self._counts = done is None
        self._last = tokens if done is None else 100 * done
        more: dict[str, Any] = {"unit": " tokens"}
        if done is not None:
            shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            more = {"total": 100.0, "bar_format": shape}
        self._bar = self._tqdm(desc=self._what, initial=self._last, leave=False, **more)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def open_progress(option: ProgressOption, what: str) -> Progress:
    """The bar that `option` chooses; `what` stands in front of it."""
    if callable(option):
        return _Called(option)
    if not option or sys.stderr is None:
        return Progress()
    try:
        from tqdm.auto import tqdm
    except Exception:  # not installed, or it does not work here
        return _Line(what) if sys.stderr.isatty() else Progress()
    return _Tqdm(tqdm, what)
