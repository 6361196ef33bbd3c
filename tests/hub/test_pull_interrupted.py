"""Kills, Ctrl-C, two commands at once, and the bar."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from conftest import NAME, WEIGHTS, Program
from hub_models import model
from hub_server import FakeHub, Handler, sha256

DATA = model()[WEIGHTS]
BLOB = f"blobs/{sha256(DATA)}"


def slow(seconds: float, gate: threading.Event | None = None) -> Callable[[Handler], None]:
    """An answer whose second half waits for the gate, or for some seconds."""

    def send(handler: Handler) -> None:
        first = handler.wanted(len(DATA))
        middle = max(first, len(DATA) // 2)
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(DATA) - first))
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(DATA) - 1}/{len(DATA)}")
        handler.end_headers()
        handler.wfile.write(DATA[first:middle])
        handler.wfile.flush()
        if gate:
            gate.wait(120)
        else:
            time.sleep(seconds)
        try:
            handler.wfile.write(DATA[middle:])
        except OSError:
            handler.close_connection = True

    return send


def wait_for_half(program: Program) -> None:
    """Waits until half of the weights has arrived."""
    path = program.root / f"{BLOB}.incomplete"
    for _ in range(2400):
        if path.exists() and path.stat().st_size >= len(DATA) // 2:
            return
        time.sleep(0.05)
    raise AssertionError("half of the weights did not arrive")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_ended_command_is_continued(hub: FakeHub, program: Program, number: int) -> None:
    gate = threading.Event()
    hub.fault("/blob/", slow(0, gate), host="store")
    process = program.start("pull", NAME)
    wait_for_half(program)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    gate.set()
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 1 and out == ""
        assert err == (
            "pythiascope: interrupted; what has arrived is kept: run the command again\n"
        )
    left = program.leftovers()
    assert f"{BLOB}.incomplete" in left and BLOB not in left and "refs/main" not in left
    assert not [name for name in left if name.endswith(WEIGHTS)]
    assert "only partly on this machine" in program.fail("info", NAME)
    program.run("pull", NAME)
    assert hub.asked("/blob/")[1].headers["range"] == f"bytes={len(DATA) // 2}-"
    assert (program.root / BLOB).read_bytes() == DATA
    assert not [name for name in program.leftovers() if "incomplete" in name]


def test_ctrl_c_while_waiting(hub: FakeHub, program: Program) -> None:
    hub.fault("/revision/", lambda h: h.send(503, Retry_After="60"))
    process = program.start("pull", NAME)
    while not hub.log:
        time.sleep(0.05)
    time.sleep(0.2)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and err.startswith("pythiascope: interrupted")
    assert time.monotonic() - start < 30, "the pause is 60 seconds"


@pytest.mark.parametrize("plain", [False, True])
def test_two_commands_at_once(hub: FakeHub, program: Program, plain: bool) -> None:
    hub.fault("/blob/", slow(1.0), host="store")
    arguments = ("pull", NAME, *(("--to", "mine") if plain else ()))
    both = [program.start(*arguments) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert len(hub.asked("/blob/")) == 1, "the bytes were sent once"
    folder = program.home / "mine" if plain else program.root / "blobs"
    assert (folder / (WEIGHTS if plain else sha256(DATA))).read_bytes() == DATA
    assert not list(folder.glob("*incomplete*"))


def test_one_takes_over_from_another_that_ends(hub: FakeHub, program: Program) -> None:
    gate = threading.Event()
    hub.fault("/blob/", slow(0, gate), host="store")
    first = program.start("pull", NAME)
    wait_for_half(program)
    second = program.start("pull", NAME)
    time.sleep(0.5)
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=120)
    gate.set()
    assert second.returncode == 0, err
    assert hub.asked("/blob/")[-1].headers["range"] == f"bytes={len(DATA) // 2}-"
    assert (program.root / BLOB).read_bytes() == DATA


def test_another_command_finishes_the_revision(hub: FakeHub, program: Program) -> None:
    commit = hub.repositories[NAME].refs["main"]
    ref, fresh = program.root / "refs" / "main", program.root / "refs" / "main.psc-tmp"
    fresh.parent.mkdir(parents=True)
    with fresh.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        process = program.start("pull", NAME)
        for _ in range(2400):
            if os.path.lexists(program.root / "snapshots" / commit / WEIGHTS):
                break
            time.sleep(0.05)
        time.sleep(1)  # it waits for the lock
        assert process.poll() is None
        fresh.rename(ref)  # as the other command does while it has the lock
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, f"{out}\n{err}"
    assert ref.read_text() == commit
    assert not fresh.exists()


def test_a_bar_on_a_terminal(hub: FakeHub, program: Program) -> None:
    hub.fault("/blob/", slow(2.5), host="store")
    # The test keeps its end open: a leader that ends may take what nobody has read with it.
    terminal, ours = pty.openpty()
    command = [program.path, "pull", NAME]
    streams = {"stdin": ours, "stdout": ours, "stderr": ours}
    with subprocess.Popen(command, env=program.variables, **streams) as process:
        shown = b""
        ended = False
        while not ended:
            ended = process.poll() is not None
            while select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 4096)
        assert process.returncode == 0
    os.close(terminal)
    os.close(ours)
    text = shown.decode()
    size = f"{len(DATA) / 1000:.1f}"
    assert "downloading" in text and f"of {float(size):.1f}" not in text.split("downloading")[0]
    assert "%" in text and "3 files" in text
