"""A run over a corpus: batches of windows through the plugins, with a state that it resumes from.

The totals do not depend on batches, threads, shards, or where a run was interrupted. The place in
the corpus moves on only when a batch is in the totals, so a state file is right at any time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._c import structures as c
from .._c.library import check, library
from ..errors import Cancelled, InputError, IOFailure, PythiascopeError, PythiascopeWarning
from ..runtime.session import OwnedResults, Session
from ..runtime.tokens import TOKEN, Tokens, text_of
from . import states
from .lock import StateLock, find_state
from .progress import ProgressOption, open_progress
from .reading import Options, Reader, Source
from .states import Setup

if TYPE_CHECKING:
    from ..runtime.base import ModelBase

_DEFAULT_WINDOW = 512
_MOST_CACHE = 1 << 30  # bytes of a pass's keys and values; one full window may take more
_SHORT = 16  # most windows in the place of a full one


def _room(n: int) -> int:
    """The tokens that a window of n takes in a session with shared_tokens."""
    return -(-n // 16) * 16


class Interrupts:
    """Ctrl-C during a corpus: it takes effect between batches, and at once in the caller's code.

    In other threads than the main one, and without a handler of Python's, it does nothing.
    """

    def __init__(self) -> None:
        self._former: Any = None
        self._noted = False
        self._in_user = False
        self.failure: BaseException | None = None
        self.in_plugin: Callable[[], bool] = bool  # whether a plugin's Python code runs

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            former = signal.getsignal(signal.SIGINT)
            if callable(former):
                try:
                    signal.signal(signal.SIGINT, self._handle)
                    self._former = former
                except ValueError:
                    pass  # not the main interpreter
        return self

    def __exit__(self, *unused: object) -> None:
        if self._former is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._former)
        self._former = None

    def _handle(self, number: int, frame: Any) -> None:
        # A second signal reaches a plugin's own Python code, which may never end.
        if self._in_user or (self._noted and self.in_plugin()):
            self._former(number, frame)
        else:
            self._noted = True

    def raise_if_noted(self) -> None:
        """Calls the handler of before; usually it raises KeyboardInterrupt."""
        if self._noted:
            self._noted = False
            self._former(int(signal.SIGINT), sys._getframe())

    def user(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls the caller's code, which Ctrl-C interrupts at once."""
        self.raise_if_noted()
        try:
            self._in_user = True
            return function(*arguments)
        finally:
            self._in_user = False

    def guard(self, function: Callable[..., Any], *arguments: Any) -> int:
        """The same in a callback of the library: nonzero when it raised, which `failure` keeps."""
        try:
            self.user(function, *arguments)
        except BaseException as failure:  # raised when the library has returned
            self.failure = failure
            return 1
        return 0

    def checked(self, status: int, error: c.psc_error) -> None:
        """Raises what the caller's code raised in a callback, or the library's error."""
        failure, self.failure = self.failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        check(status, error)


class Plan(NamedTuple):
    """A checked request for a run over a corpus."""

    options: Options
    setup: Setup
    batch: int
    state: str | None
    save_seconds: float
    progress: ProgressOption


class Survey:
    """One run over one corpus."""

    def __init__(self, model: ModelBase, plan: Plan) -> None:
        self._model, self._plan = model, plan
        self._interrupts = Interrupts()
        self._exits = ExitStack()
        self._saved = 0.0
        self._ended = False
        self._file = ""  # the state file behind its links

    def run(self, paths: list[bytes] | None, documents: Any) -> OwnedResults:
        """Runs to the end, and returns the results; resources are released in any case."""
        with self._exits, self._interrupts:
            self._open(paths, documents)
            before = self._reader.totals().tokens
            try:
                self._read_all()
            except BaseException as failure:
                self._stopped(failure)
                raise
            if before > 0 and self._reader.totals().tokens == before:
                warn("the state file was complete; nothing was left to read")
            self._check_read()
            self._session.report(self._reader.totals())
            self._interrupts.raise_if_noted()
            return self._session.take_results()

    def _check_read(self) -> None:
        """A corpus of which nothing was read has no statistics; a shard may have no documents."""
        totals = self._reader.totals()
        number = totals.documents + totals.skipped
        if totals.windows > 0 or (number == 0 and self._plan.options.shard[1] > 0):
            return
        if totals.skipped > 0:
            fault = f"no document could be read: {totals.skipped} of {number} were skipped"
        elif totals.documents > 0:
            fault = f"the corpus has no text: all of its {number} documents are empty"
        else:
            fault = "the corpus has no documents"
        raise InputError(fault)

    # --- opening ---

    def _open(self, paths: list[bytes] | None, documents: Any) -> None:
        plan = self._plan
        self._json = plan.setup.json() if plan.state is not None else ""
        if plan.state is not None:
            self._lock(plan.state)
        opened = self._model._opened
        n_ctx = opened.info.n_ctx
        self._width = plan.options.window or min(_DEFAULT_WINDOW, n_ctx)
        if self._width > n_ctx:
            raise InputError(
                f"a window of {self._width} tokens is not possible; it must have "
                f"{1 + plan.options.bos} to {n_ctx}, the model's context"
            )
        room = _room(self._width)
        each = 8 * opened.info.n_layers * opened.info.d_model * room
        full = max(1, min(plan.batch, _MOST_CACHE // each))
        self._tokens = full * room
        self._session = self._model._new_session(
            accumulate=True,
            n_sequences=min(full * _SHORT, self._tokens // 16),
            capacity=self._width,
            shared_tokens=self._tokens,
            overlap=plan.options.stride > 0,
            part=plan.options.shard,
        )
        self._exits.callback(_close, self._session)
        control = self._session.control
        self._interrupts.in_plugin = lambda: control.in_user
        plan.setup.apply(self._session)
        options = plan.options._replace(bos=self._add_bos(plan.options.bos))
        source = None if paths is not None else self._interrupts.user(Source, documents)
        self._reader = Reader(
            opened, options, paths=paths or (), source=source, guard=self._interrupts.guard
        )
        self._exits.callback(self._reader.close)
        self._resume()

    def _lock(self, state: str) -> None:
        self._file = find_state(state)
        if not self._exits.enter_context(StateLock(self._file)).locked:
            warn(
                f"the file system of the state file {state} has no locks; make sure that no other "
                "run uses it"
            )

    def _add_bos(self, bos: bool) -> bool:
        needs = library().psc_session_needs_bos(self._session.pointer)
        if needs and not bos:
            name = needs.decode("utf-8", "replace")
            opened = self._model._opened
            first = text_of(opened, opened.bos)
            warn(f"{name} needs {first} in front of each window; it was added")
        return bos or bool(needs)

    def _resume(self) -> None:
        """Goes on from the state file if it exists; else writes a first one, to fail early."""
        self._reader.mark()
        path = self._plan.state
        if path is None:
            return
        if not _is_there(self._file, path):
            self._save()
            return
        states.load(self._session, self._file)
        place, _ = states.read(self._file)
        error = c.psc_error()
        status = self._reader.seek_status(place, error)
        try:
            self._interrupts.checked(status, error)
        except PythiascopeError as failure:
            raise states.state_error(path, failure) from None
        self._reader.mark()
        self._saved = time.monotonic()

    # --- the work ---

    def _read_all(self) -> None:
        plan = self._plan
        batch = np.zeros(self._tokens, TOKEN)
        documents = (c.psc_document * self._session.n_sequences)()
        repeated = (ctypes.c_int32 * self._session.n_sequences)()
        progress = open_progress(plan.progress, "reading")
        with ExitStack() as exits:
            exits.callback(progress.close)
            self._show(progress)
            while not self._ended:
                inputs = self._read_batch(batch, documents, repeated)
                if inputs:
                    self._run(inputs, documents, repeated)
                self._reader.mark()
                self._interrupts.raise_if_noted()
                self._show(progress)
                self._save_if_due()
        self._save()

    def _run(self, inputs: list[Tokens], documents: Any, repeated: Any) -> None:
        """Ctrl-C lets the batch finish; a second one cancels it."""
        given = repeated if self._plan.options.stride else None
        try:
            self._session.run(inputs, documents=documents, repeated=given, patience=2)
        except Cancelled:
            self._interrupts.raise_if_noted()
            raise

    def _show(self, progress: Any) -> None:
        totals = self._reader.totals()
        self._interrupts.user(progress.update, self._reader.progress(), totals.tokens)

    def _read_batch(self, batch: Any, documents: Any, repeated: Any) -> list[Tokens]:
        """Copies windows while any window would fit; fewer at the end."""
        inputs: list[Tokens] = []
        error = c.psc_error()
        taken = 0
        while len(inputs) < len(documents) and taken + _room(self._width) <= len(batch):
            status, window = self._reader.next(error)
            self._interrupts.checked(status, error)
            self._note()
            if window.n == 0:
                self._ended = True
                break
            rows = batch[taken : taken + window.n]
            ctypes.memmove(rows.ctypes.data, window.tokens, rows.nbytes)
            documents[len(inputs)] = window.document
            repeated[len(inputs)] = self._reader.repeated(window)
            taken += _room(window.n)
            inputs.append(Tokens(rows))
        return inputs

    def _note(self) -> None:
        notes, self._reader.notes = self._reader.notes, []
        for sentence in notes:
            self._interrupts.user(warn, sentence)

    # --- the state file ---

    def _save(self) -> None:
        if self._plan.state is not None:
            self._saved = time.monotonic()
            states.save(self._session, self._file, self._reader.tell(), self._json)

    def _save_if_due(self) -> None:
        if not self._ended and time.monotonic() - self._saved >= self._plan.save_seconds:
            self._save()

    def _stopped(self, failure: BaseException) -> None:
        """Saves what is done. KeyboardInterrupt says how to go on."""
        saved = self._plan.state is not None
        try:
            self._save()
        except PythiascopeError:
            saved = False  # the totals are invalid; an earlier state file stays
        if isinstance(failure, (KeyboardInterrupt, Cancelled)) and not failure.args:
            how = (
                f"the same call resumes from {self._plan.state}"
                if saved
                else "nothing was saved, because state= is missing"
            )
            failure.args = (f"stopped after {self._reader.totals().tokens} tokens; {how}",)


def _is_there(file: str, path: str) -> bool:
    """Only a file that does not exist is no state yet; any other failure is an error."""
    try:
        os.lstat(file)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise IOFailure(f"cannot open the state file {path}: {error.strerror}") from None
    return True


def _close(session: Session) -> None:
    """Closes the session, unless a view of its memory lives: the view then keeps it."""
    if not session.retired:
        session.close()


def warn(sentence: str) -> None:
    """A note that does not end the work, at the line of the caller that is not of this package."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, PythiascopeWarning, stacklevel=level)
