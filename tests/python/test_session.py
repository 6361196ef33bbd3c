"""The rules of a run: exceptions, interrupts, reentrancy, closing, fork, threads."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pythiascope
from pythiascope import InputError, Model, StateError
from pythiascope._c import structures as c
from pythiascope.runtime.session import Session
from pythiascope.runtime.tokens import Tokens

IDS = Tokens.of_ids(np.arange(1, 40))
POINTS = [number for number in range(c.PSC_POINT_COUNT) if number != c.PSC_HOOK_RESID_MID]


class Boom(BaseException):
    """Neither Exception nor known to the package."""


@pytest.fixture
def session(model: Model) -> Iterator[Session]:
    opened = model._new_session()
    yield opened
    opened.close()


@pytest.fixture
def chunked(model: Model) -> Iterator[Session]:
    """A session that takes several passes for IDS, and so reports progress."""
    opened = model._new_session(chunk=4)
    yield opened
    opened.close()


def logits_of(session: Session) -> np.ndarray[Any, Any]:
    session.run([IDS], logits="last")
    return session.logits(len(IDS) - 1)


def boom(_: Any) -> None:
    raise Boom("here")


# --- exceptions ---


@pytest.mark.parametrize("kind", ["observe", "edit"])
@pytest.mark.parametrize("point", POINTS)
def test_an_exception_at_any_point_ends_the_run_and_comes_out(
    session: Session, kind: str, point: int
) -> None:
    expected = logits_of(session)
    getattr(session, kind)(point, boom)
    with pytest.raises(Boom) as caught:
        session.run([IDS], logits="last")
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "boom"
    assert not session.completed
    session.unhook_all()
    assert (logits_of(session) == expected).all()
    assert session.completed


def test_the_first_of_two_exceptions_wins_and_later_hooks_are_not_called(session: Session) -> None:
    calls: list[int] = []

    def first(_: Any) -> None:
        calls.append(1)
        raise KeyError("first")

    session.observe(c.PSC_HOOK_Q, first)
    session.observe(c.PSC_HOOK_Q, boom)
    session.observe(c.PSC_HOOK_Z, lambda _: calls.append(2))
    with pytest.raises(KeyError, match="first"):
        session.run([IDS])
    assert calls == [1]


def test_the_same_exception_object_comes_out(session: Session) -> None:
    error = ValueError("mine")

    def fn(_: Any) -> None:
        raise error from KeyError("cause")

    session.observe(c.PSC_HOOK_Q, fn)
    for _ in range(3):
        with pytest.raises(ValueError, match="mine") as caught:
            session.run([IDS])
        assert caught.value is error
        assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_exceptions_with_a_meaning_for_python(session: Session, kind: Any) -> None:
    def fn(_: Any) -> None:
        raise kind

    session.observe(c.PSC_HOOK_Q, fn)
    with pytest.raises(kind):
        session.run([IDS])


def test_an_exception_in_progress(chunked: Session) -> None:
    def progress(done: float, what: str) -> None:
        assert 0 <= done <= 1
        raise Boom(what)

    with pytest.raises(Boom, match="forward"):
        chunked.run([IDS], progress=progress)
    logits_of(chunked)


def test_an_error_of_the_library_leaves_the_session_usable(session: Session) -> None:
    expected = logits_of(session)
    with pytest.raises(InputError):
        session.run([Tokens.of_ids([1 << 30])])
    with pytest.raises(InputError):
        session.run([Tokens.of_ids(np.zeros(10_000, int))])
    with pytest.raises(InputError):
        session.run([IDS, IDS])
    assert (logits_of(session) == expected).all()


def test_logits_in_the_caller_s_memory_are_not_read_again(session: Session) -> None:
    out = np.empty((len(IDS), session.model.info.d_vocab), np.float32)
    session.run([IDS], logits="all", logits_out=out)
    with pytest.raises(StateError, match="no logits"):
        session.logits(0)
    session.run([IDS], logits="all")
    assert (session.logits(3) == out[3]).all()


# --- reentrancy, closing and garbage in a callback ---


def test_a_run_in_a_callback_is_one_sentence(model: Model) -> None:
    session = model._new_session()
    calls: list[Callable[[], object]] = [
        lambda: session.run([IDS]),
        lambda: model("The sun"),
        lambda: model.generate("The sun", 2),
        lambda: session.observe(c.PSC_HOOK_Q, boom),
        lambda: session.plugin("lens"),
        lambda: session.truncate(),
        lambda: session.capture("hook_embed"),
    ]
    for call in calls:
        caught: list[BaseException] = []

        def fn(_: Any, call: Callable[[], object] = call, to: list[Any] = caught) -> None:
            with pytest.raises(StateError, match="inside a callback") as error:
                call()
            to.append(error.value)

        session.unhook_all()
        session.observe(c.PSC_HOOK_EMBED, fn)
        session.run([IDS])
        assert len(caught) == 1
    session.close()


def test_another_model_runs_in_a_callback(model: Model) -> None:
    session = model._new_session()
    seen: list[Any] = []
    with model.session() as other:
        session.observe(c.PSC_HOOK_EMBED, lambda _: seen.append(other("The sun")))
        session.run([IDS])
    session.close()
    assert (seen[0] == model("The sun")).all()


def test_tokens_are_free_in_a_callback(model: Model, session: Session) -> None:
    seen: list[Any] = []
    session.observe(c.PSC_HOOK_EMBED, lambda _: seen.append(model.to_tokens("The sun")))
    session.run([IDS])
    assert (seen[0] == model.to_tokens("The sun")).all()


def test_a_close_in_a_callback_waits_for_the_end_of_the_run() -> None:
    model = Model()
    session = model._session()
    session.observe(c.PSC_HOOK_RESID_POST, lambda _: model.close())
    session.run([IDS])
    assert session.completed and session.closed
    with pytest.raises(StateError, match="closed"):
        session.run([IDS])
    with pytest.raises(StateError, match="closed"):
        model("The sun")


def test_a_close_in_another_thread_waits_for_the_end_of_the_run() -> None:
    model = Model()
    session = model._session()

    def fn(_: Any) -> None:
        thread = threading.Thread(target=model.close)
        thread.start()
        thread.join()

    session.observe(c.PSC_HOOK_EMBED, fn)
    session.run([IDS])
    assert session.completed and session.closed


def test_garbage_collection_in_a_callback() -> None:
    model = Model()

    def fn(_: Any) -> None:
        # A model in a cycle, with sessions, dies here; the collector closes it in its own order.
        other = Model()
        other("The sun")
        cycle: list[Any] = [other, other._new_session()]
        cycle.append(cycle)
        del other, cycle
        gc.collect()

    session = model._session()
    session.observe(c.PSC_HOOK_Z, fn)
    session.run([IDS])
    session.unhook_all()
    assert model("The sun").shape[0] == 1


def test_a_session_that_dies_in_a_callback_does_not_lock_its_model(model: Model) -> None:
    session = model._new_session()

    def fn(_: Any) -> None:
        model._new_session()  # dies at once

    session.observe(c.PSC_HOOK_EMBED, fn)
    session.run([IDS])
    session.close()
    assert model("The sun").shape[0] == 1


def test_a_model_and_its_sessions_die_in_any_order() -> None:
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        model = Model()
        alive: list[Any] = [model, model._new_session(), model.session()]
        alive[2]("The sun")
        opened = model._open
        del model
        for i in order:
            alive[i] = None
            gc.collect()
        assert len(opened._shares) == 1


# --- Ctrl-C ---


def interrupt_after(seconds: float) -> threading.Thread:
    thread = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    thread.start()
    return thread


@pytest.fixture(scope="module")
def slow() -> Iterator[Session]:
    """A session whose run takes seconds: the scalar kernels, one thread, a full context."""
    model = Model(isa="reference", threads=1)
    yield model._session()
    model.close()


FULL = Tokens.of_ids(np.arange(512) % 4000)


def test_ctrl_c_ends_a_run_at_once_and_the_session_stays_usable(slow: Session) -> None:
    before = signal.getsignal(signal.SIGINT)
    start = time.process_time()  # which does not count other programs
    slow.run([FULL], logits="all")
    whole = time.process_time() - start
    start = time.process_time()
    thread = interrupt_after(min(0.05, whole / 4))
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):
            slow.run([FULL], logits="all")
    assert time.process_time() - start < 0.8 * whole
    thread.join()
    assert not slow.completed
    assert signal.getsignal(signal.SIGINT) is before
    assert slow.length() == 0
    slow.run([Tokens.of_ids([1, 2, 3])])


def test_ctrl_c_in_a_callback_comes_out_of_it(session: Session) -> None:
    def fn(_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        for _ in range(1000):
            pass
        raise AssertionError("the signal did not come")

    session.observe(c.PSC_HOOK_Q, fn)
    with pytest.raises(KeyboardInterrupt) as caught:
        session.run([IDS])
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "fn" in names


def test_patience_lets_a_run_finish(chunked: Session) -> None:
    def progress(done: float, what: str) -> None:
        if not calls:
            chunked.control.handle(int(signal.SIGINT), None)
        calls.append(done)

    def noted_by(patience: int) -> list[float]:
        """Runs with one signal between callbacks, as the handler notes it."""
        calls.clear()
        chunked.control.handle = note  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            chunked.run([IDS], progress=progress, patience=patience)
        return list(calls)

    def note(number: int, frame: object) -> None:
        chunked.control.signals += 1

    calls: list[float] = []
    assert len(noted_by(2)) > 3
    assert chunked.completed
    assert len(noted_by(1)) == 1
    assert not chunked.completed
    assert chunked.length() == 0


def test_a_handler_of_the_user_is_called_after_the_run(chunked: Session) -> None:
    seen: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))

    def progress(done: float, what: str) -> None:
        chunked.control.in_user = False  # as if the signal came while C worked
        signal.raise_signal(signal.SIGINT)
        assert seen == []

    try:
        with pytest.raises(pythiascope.Cancelled):
            chunked.run([IDS], progress=progress)
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_handler_that_is_not_python_s_stays(session: Session, handler: Any) -> None:
    former = signal.signal(signal.SIGINT, handler)
    try:
        session.observe(c.PSC_HOOK_Q, lambda _: None)
        session.run([IDS])
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, former)


def test_a_handler_that_a_callback_installs_stays(session: Session) -> None:
    former = signal.getsignal(signal.SIGINT)
    mine = lambda *_: None  # noqa: E731
    try:
        session.observe(c.PSC_HOOK_EMBED, lambda _: signal.signal(signal.SIGINT, mine))
        session.run([IDS])
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, former)


# --- fork ---

FORK = """
import os, sys, gc, numpy as np, pythiascope
from pythiascope._c import structures as c
from pythiascope.runtime.tokens import Tokens
model = pythiascope.Model()
logits = model('The sun rose')
session = model._session()
def in_child(call):
    try: call()
    except pythiascope.StateError as e: return 'belongs to process' in str(e)
    except BaseException as e: print(repr(e))
    return False
def child():
    good = all(in_child(call) for call in (lambda: model('The sun'), lambda: model.to_tokens('The'),
        lambda: model.generate('The', 1), model.session, lambda: session.run([Tokens.of_ids([1])]),
        lambda: model.to_string([1]), lambda: model.hash))
    good = good and logits.shape[0] == 1 and model.cfg.n_layers > 0
    with pythiascope.Model() as own:
        good = good and bool((own('The sun rose') == logits).all())
    return good
"""


@pytest.mark.forks_among_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_after_a_fork_the_child_refuses_and_opens_its_own(child: Callable[..., str]) -> None:
    code = (
        FORK
        + """
pid = os.fork()
if pid == 0:
    good = child()
    model.close()
    del model, session
    gc.collect()
    os._exit(0 if good else 3)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert (model('The sun rose') == logits).all()
print('done')
"""
    )
    assert child(code) == "done\n"


@pytest.mark.forks_among_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("place", ["observe", "edit", "progress"])
def test_a_fork_in_a_callback(child: Callable[..., str], place: str) -> None:
    code = (
        FORK
        + """
place, pids = sys.argv[1], []
def fn(*_):
    for _ in range(2 if not pids else 0):
        pids.append(os.fork())
        if pids[-1] == 0:
            if len(pids) == 2: return  # into the run, which ends
            os._exit(0 if child() else 3)
options = {}
if place == 'progress':
    session = model._new_session(chunk=2)
    options['progress'] = fn
else:
    getattr(session, place)(c.PSC_HOOK_Z, fn)
try:
    session.run([Tokens.of_ids([1, 2, 3, 4, 5])], **options)
except pythiascope.StateError as e:
    os._exit(0 if pids[-1] == 0 and 'belongs to process' in str(e) and child() else 3)
assert session.completed
for pid in pids:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
session.unhook_all()
assert (model('The sun rose') == logits).all()
print('done')
"""
    )
    assert child(code, place) == "done\n"


@pytest.mark.forks_among_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_while_another_thread_runs(child: Callable[..., str]) -> None:
    code = (
        FORK
        + """
import threading
stop = []
def work():
    while not stop: model('The sun rose over the hill')
thread = threading.Thread(target=work)
thread.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0: os._exit(0 if child() else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
stop.append(1)
thread.join()
print('done')
"""
    )
    assert child(code) == "done\n"


def test_a_process_may_end_with_open_models_and_running_threads(child: Callable[..., str]) -> None:
    code = """
import threading, pythiascope, sys
model = pythiascope.Model()
cycle = [model]; cycle.append(cycle)
def work():
    while True: model('The sun rose over the hill')
for _ in range(3): threading.Thread(target=work, daemon=True).start()
model('The sun')
stream = model.generate('The', 50, stream=True); next(stream)
print('done')
"""
    for _ in range(3):
        assert child(code) == "done\n"


# --- threads ---


def run_threads(n: int, work: Callable[[int], None]) -> list[BaseException]:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return failures


def test_two_hundred_threads_use_one_model(model: Model) -> None:
    texts = [f"The sun number {i} rose" for i in range(20)]
    expected = [model(text) for text in texts]

    def work(number: int) -> None:
        i = number % 20
        assert (model(texts[i]) == expected[i]).all()
        assert model.to_string(model.to_tokens(texts[i])[0]) == texts[i]

    assert run_threads(200, work) == []


def test_models_of_their_own_run_at_once(model: Model) -> None:
    expected = model("The sun rose")
    inside = threading.Barrier(3, timeout=300)

    def work(_: int) -> None:
        with model.session(threads=1) as own:
            session = own._session()
            # All three are inside a callback of a run at the same time, or the barrier breaks.
            session.observe(c.PSC_HOOK_EMBED, lambda _: inside.wait())
            session.run([IDS])
            session.unhook_all()
            for _ in range(20):
                assert (own("The sun rose") == expected).all()

    assert run_threads(3, work) == []


def test_python_runs_while_a_session_computes(slow: Session) -> None:
    """Where the lock of Python is held, a tick comes at the begin and at the end at most."""
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.monotonic()
    slow.run([FULL], logits="all")
    end = time.monotonic()
    done.set()
    thread.join()
    assert sum(start < tick < end for tick in ticks) > 5


def test_threads_that_close_while_others_run() -> None:
    for _ in range(5):
        model = Model(threads=1)

        def work(number: int, model: Model = model) -> None:
            try:
                for _ in range(50):
                    model("The sun rose over the hill")
                    if number == 0:
                        model.close()
            except StateError as error:
                assert "closed" in str(error)

        assert run_threads(8, work) == []


def test_a_session_that_is_collected_during_another_thread_s_run_leaves_the_model_usable() -> None:
    with Model(threads=1) as model:
        stream = iter(model.generate([3, 4, 5], 5, stream=True))
        next(stream)
        left = next(
            o
            for o in gc.get_objects()
            if isinstance(o, Session) and o.turn is model._turn and o not in model._sessions
        )
        close, running, over = left._library.psc_session_close, threading.Event(), threading.Event()

        class Slow:
            """The library; the close lasts until the other thread's run is over."""

            def psc_session_close(self, pointer: Any) -> None:
                running.set()
                over.wait(60)
                close(pointer)

        left._library = Slow()
        kept = [stream]
        del stream, left
        thread = threading.Thread(target=kept.clear)

        def start(array: Any, hook: Any) -> None:
            thread.start()
            running.wait(60)

        model.run_with_hooks([1, 2, 3], fwd_hooks=[("hook_embed", start)])
        over.set()
        thread.join()
        assert model([1, 2, 3]).shape[1] == 3


def test_ctrl_c_during_a_close_leaves_the_other_sessions_usable(model: Model) -> None:
    session = model._new_session()
    close = session._library.psc_session_close

    class Interrupted:
        """The library; Ctrl-C comes while it closes a session."""

        def psc_session_close(self, pointer: Any) -> None:
            close(pointer)
            raise KeyboardInterrupt

    session._library = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        session.close()
    assert model([1, 2, 3]).shape[1] == 3


def test_ctrl_c_ends_a_report_at_once() -> None:
    code = """
        import signal, time, pythiascope
        model = pythiascope.Model(threads=1)
        begin = time.process_time()
        whole = model.weights(what="all")
        spent = time.process_time() - begin
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_VIRTUAL, spent / 10)
        begin = time.process_time()
        try:
            model.weights(what="all")
        except KeyboardInterrupt:
            assert time.process_time() - begin < 0.8 * spent, (time.process_time() - begin, spent)
        else:
            raise SystemExit("no KeyboardInterrupt")
        assert str(model.weights(what="all")) == str(whole)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=300)


def test_ctrl_c_at_the_entry_of_a_callback_is_counted(session: Session) -> None:
    def user(_: Any) -> None:
        control = session.control
        for function in (type(control).stop, type(control).guard):
            control.handle(signal.SIGINT, SimpleNamespace(f_code=function.__code__))
        assert control.signals == 2

    session.observe(c.PSC_HOOK_EMBED, user)
    with pytest.raises(KeyboardInterrupt):
        session.run([IDS])
    session.unhook_all()
    session.run([IDS])
