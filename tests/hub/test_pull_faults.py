"""Downloads that go wrong on the way: cut, damaged, of another size, without room."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest
from conftest import NAME, WEIGHTS, Program
from hub_models import model
from hub_server import FakeHub, Handler, sha256

DATA = model()[WEIGHTS]
BLOB = f"blobs/{sha256(DATA)}"


def part(handler: Handler, n: int) -> None:
    """Sends the next n bytes of the weights, then cuts the connection."""
    first = handler.wanted(len(DATA))
    handler.send_response(206 if first else 200)
    handler.send_header("Content-Length", str(len(DATA) - first))
    if first:
        handler.send_header("Content-Range", f"bytes {first}-{len(DATA) - 1}/{len(DATA)}")
    handler.end_headers()
    handler.wfile.write(DATA[first : first + n])
    handler.cut()


def weights(program: Program) -> bytes:
    """The weights as they are in the cache now."""
    (snapshot,) = (program.root / "snapshots").iterdir()
    return (snapshot / WEIGHTS).read_bytes()


def test_cut_connections_are_continued(hub: FakeHub, program: Program) -> None:
    n = len(DATA) // 5 + 1
    hub.fault("/blob/", lambda h: part(h, n), times=4, host="store")
    program.run("pull", NAME)
    assert weights(program) == DATA
    ranges = [r.headers.get("range") for r in hub.asked("/blob/")]
    assert ranges == [None, *(f"bytes={k * n}-" for k in range(1, 5))]
    # Each attempt begins at the hub: the address of a redirect may have expired.
    assert len(hub.asked(f"/resolve/.*{WEIGHTS}")) == 5


def test_a_cut_without_a_length(hub: FakeHub, program: Program) -> None:
    """The end of an answer without Content-Length is the end of the connection."""

    def some(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(DATA[:1000])
        handler.cut()

    hub.fault("/blob/", some, host="store")
    program.run("pull", NAME)
    assert weights(program) == DATA


def test_connections_that_always_break(hub: FakeHub, program: Program) -> None:
    hub.fault("/blob/", lambda h: h.cut(), times=99, host="store")
    error = program.fail("pull", NAME)
    assert error.startswith("the connection to localhost fails (")
    assert error.endswith("run the command again to continue")
    assert 2 < len(hub.asked("/blob/")) < 10
    assert BLOB not in program.leftovers() and "refs/main" not in program.leftovers()


def test_a_server_without_ranges(hub: FakeHub, program: Program) -> None:
    hub.fault("/blob/", lambda h: part(h, 500), host="store")
    hub.fault("/blob/", lambda h: h.send(200, DATA), host="store")
    program.run("pull", NAME)
    assert weights(program) == DATA


@pytest.mark.parametrize("first", [0, 499, 501])
def test_another_range_than_asked_for(hub: FakeHub, program: Program, first: int) -> None:
    def wrong(handler: Handler) -> None:
        place = f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"
        handler.send(206, DATA[first:], Content_Range=place)

    hub.fault("/blob/", lambda h: part(h, 500), host="store")
    hub.fault("/blob/", wrong, host="store")
    program.run("pull", NAME)
    assert weights(program) == DATA


def damaged(hub: FakeHub, data: bytes, times: int = 99) -> None:
    hub.fault("/blob/", lambda h: h.send(200, data), times=times, host="store")


def test_a_wrong_hash_of_a_large_file(hub: FakeHub, program: Program) -> None:
    damaged(hub, DATA[:-1] + bytes([DATA[-1] ^ 1]))
    error = program.fail("pull", NAME)
    assert error.startswith(f"{WEIGHTS} of {NAME} is damaged: its SHA-256 is not the one")
    assert not [name for name in program.leftovers() if sha256(DATA) in name or WEIGHTS in name]
    assert "refs/main" not in program.leftovers()
    assert program.fail("info", NAME).endswith(f"to complete it: pythiascope pull {NAME}")


def test_a_wrong_hash_of_a_small_file(hub: FakeHub, program: Program) -> None:
    text = model()["config.json"].replace(b"gpt_neox", b"gpt_evil")
    hub.fault("/resolve/.*config.json", lambda h: h.send(200, text), times=99)
    error = program.fail("pull", NAME)
    assert error.startswith(f"config.json of {NAME} is damaged: its SHA-1 is not the one")
    assert not [name for name in program.leftovers() if "config" in name or "incomplete" in name]


def test_a_file_that_is_damaged_once(hub: FakeHub, program: Program) -> None:
    damaged(hub, DATA[::-1], times=1)
    program.run("pull", NAME)
    assert weights(program) == DATA


@pytest.mark.parametrize("length", [0, 1, len(DATA) - 1])
def test_a_file_that_is_too_short(hub: FakeHub, program: Program, length: int) -> None:
    """It looks like a cut connection first; then there is no range that continues it."""

    def short(handler: Handler) -> None:
        if handler.wanted(10**9):
            handler.send(416)
        else:
            handler.send(200, DATA[:length])

    hub.fault("/blob/", short, times=99, host="store")
    program.fail("pull", NAME)
    assert not [name for name in program.leftovers() if WEIGHTS in name or name == BLOB]
    assert len(hub.asked("/blob/")) < 15


@pytest.mark.parametrize("tail", [b"x", b"x" * 5_000_000])
def test_a_file_that_is_too_long(hub: FakeHub, program: Program, tail: bytes) -> None:
    damaged(hub, DATA + tail)
    error = program.fail("pull", NAME)
    assert f"the hub announces {len(DATA)} bytes and sends another number" in error
    assert not [name for name in program.leftovers() if sha256(DATA) in name]


def test_a_long_error_page_is_not_a_file(hub: FakeHub, program: Program) -> None:
    hub.fault("/resolve/.*config", lambda h: h.send(302, b"x" * 9_000_000, Location="/x"), times=9)
    program.fail("pull", NAME)
    assert not [name for name in program.leftovers() if "config" in name]


@pytest.mark.parametrize(
    "content", [b"garbage", DATA[:700], DATA, DATA + b"longer", b"\0" * len(DATA)]
)
def test_what_an_earlier_command_left(hub: FakeHub, program: Program, content: bytes) -> None:
    (program.root / "blobs").mkdir(parents=True)
    (program.root / f"{BLOB}.incomplete").write_bytes(content)
    program.run("pull", NAME)
    assert weights(program) == DATA
    assert not (program.root / f"{BLOB}.incomplete").exists()
    if content == DATA:
        assert not hub.asked("/blob/"), "all bytes were there"
    if content == DATA[:700]:
        assert hub.asked("/blob/")[0].headers["range"] == "bytes=700-"


def test_a_planted_link_is_not_followed(hub: FakeHub, program: Program) -> None:
    (program.root / "blobs").mkdir(parents=True)
    victim = program.home / "victim"
    victim.write_text("precious")
    (program.root / f"{BLOB}.incomplete").symlink_to(victim)
    assert "cannot write" in program.fail("pull", NAME)
    assert victim.read_text() == "precious"


def test_a_planted_link_in_a_plain_folder(hub: FakeHub, program: Program) -> None:
    victim = program.home / "victim"
    victim.write_text("precious")
    (program.home / "mine").mkdir()
    (program.home / "mine" / "config.json").symlink_to(victim)
    assert "exists and is not the file" in program.fail("pull", NAME, "--to", "mine")
    assert victim.read_text() == "precious"


def test_a_pipe_in_place_of_a_file(hub: FakeHub, program: Program) -> None:
    (program.root / "blobs").mkdir(parents=True)
    os.mkfifo(program.root / f"{BLOB}.incomplete")
    assert "cannot write" in program.fail("pull", NAME)


def test_a_blob_of_another_size_is_replaced(hub: FakeHub, program: Program) -> None:
    (program.root / "blobs").mkdir(parents=True)
    (program.root / BLOB).write_bytes(b"cut")
    program.run("pull", NAME)
    assert weights(program) == DATA


def test_no_room_for_the_file(hub: FakeHub, program: Program) -> None:
    """A limit of the size of files stands in for a full disk: the write itself fails."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        error = program.fail("pull", NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert error.startswith(f"cannot write {program.root}/blobs/") and "File too large" in error
    assert BLOB not in program.leftovers()
    program.run("pull", NAME)
    assert weights(program) == DATA


@pytest.mark.parametrize("place", ["/dev/null/x", "/proc/x"])
def test_a_folder_that_cannot_be_written(hub: FakeHub, program: Program, place: str) -> None:
    error = program.fail("pull", NAME, HF_HUB_CACHE=place)
    assert place in error and "set HF_HUB_CACHE to " in error
    error = program.fail("pull", NAME, "--to", place)
    assert place in error and "pass " in error and "--to " in error


def test_a_connection_without_data(hub: FakeHub, program: Program) -> None:
    again = threading.Event()

    def stall(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA[:100])
        handler.wfile.flush()
        again.wait(60)
        handler.cut()

    def note(_: Handler) -> bool:
        again.set()
        return False

    hub.fault("/blob/", stall, host="store")
    hub.fault("/blob/", note, host="store")
    program.run("pull", NAME, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert again.is_set(), "the second attempt did not begin before the first ended"
    assert weights(program) == DATA


def test_the_reason_why_a_folder_cannot_be_made(hub: FakeHub, program: Program) -> None:
    shim = os.path.join(os.path.dirname(program.path), "tests/faults/libpsc_faults.so")
    if not os.path.exists(shim) or "LD_PRELOAD" in os.environ:
        pytest.skip("there is no libpsc_faults.so beside the program")
    if b"__asan_init" in Path(program.path).read_bytes():
        pytest.skip("a sanitizer's library must come first")
    fault = {"LD_PRELOAD": shim, "PSC_FAULT_CALL": "mkdir", "PSC_FAULT_ERRNO": "EACCES"}
    error = program.fail("pull", NAME, **fault, PSC_FAULT_AT="1", PSC_FAULT_ON="1")
    assert error.startswith("cannot write ") and "Permission denied" in error
