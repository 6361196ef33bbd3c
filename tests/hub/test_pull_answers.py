"""Answers of the API that are wrong, hostile or of another kind of model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import NAME, Program
from hub_models import model
from hub_server import FakeHub, Handler, sha1

Change = Callable[[dict[str, Any]], Any]


def answer(hub: FakeHub, change: Change, times: int = 1) -> None:
    """Changes the hub's list of files."""
    files = {name: data for name, data in model().items() if "/" not in name}
    siblings = [
        {"rfilename": n, "size": len(d), "blobId": sha1(d), "lfs": None} for n, d in files.items()
    ]
    value = {"sha": "0" * 40, "config": {"model_type": "gpt_neox"}, "siblings": siblings}
    change(value)
    hub.fault("/revision/", lambda h: h.send_json(value), times)


def put(value: dict[str, Any], key: str, text: Any) -> None:
    """Sets a member of the last file's entry."""
    value["siblings"][1][key] = text


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "a//b", "./a", "a\\b", "a\nb", "..", "", "a\x7fb"],
)
def test_hostile_names(hub: FakeHub, program: Program, name: str) -> None:
    extra = {"rfilename": name, "size": 1, "blobId": "0" * 40}
    answer(hub, lambda v: v["siblings"].append(extra))
    error = program.fail("pull", NAME)
    assert "whose name leads out of the folder; nothing was downloaded" in error
    assert "\n" not in error and "\x7f" not in error
    assert not hub.asked("/resolve/") and not program.cache.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: put(v, "blobId", "../../../x"), "does not say the size and hash"),
        (lambda v: put(v, "blobId", "A" * 40), "does not say the size and hash"),
        (lambda v: put(v, "blobId", None), "does not say the size and hash"),
        (
            lambda v: put(v, "lfs", {"sha256": "0" * 63, "size": 1}),
            "does not say the size and hash",
        ),
        (lambda v: put(v, "size", -1), "does not say the size and hash"),
        (lambda v: put(v, "size", 2**62), "does not say the size and hash"),
        (lambda v: put(v, "size", "1"), "does not say the size and hash"),
        (lambda v: put(v, "size", 2**49), "the disk of"),
        (lambda v: put(v, "rfilename", 7), "has a file without a name"),
        (lambda v: v["siblings"].append(v["siblings"][0]), "has a name twice"),
        (lambda v: v.update(sha="../x"), "has no commit"),
        (lambda v: v.pop("sha"), "has no commit"),
        (lambda v: v.pop("siblings"), "is missing or too long"),
        (lambda v: v.update(siblings=[{"rfilename": "a"}] * 20001), "is missing or too long"),
        (lambda v: v["siblings"].pop(0), "has no config.json, so it is not a model"),
        (lambda v: v.update(siblings=v["siblings"][:1]), "neither safetensors nor pytorch_model"),
        (lambda v: v.update(config={"model_type": "gpt2"}), 'has model_type "gpt2"'),
        (lambda v: v.update(config=7, sha=7), "has no commit"),
        (lambda v: v.clear(), "has no commit"),
    ],
)
def test_lists_that_are_wrong(hub: FakeHub, program: Program, change: Change, words: str) -> None:
    answer(hub, change)
    error = program.fail("pull", NAME)
    assert error.startswith((NAME, "the download")) and words in error
    assert not hub.asked("/resolve/") and not program.cache.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>login</html>", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"sha": "', "is not JSON"),
        (b"[" * 100000, "is not JSON"),
        (b'{"sha": "a", "sha": "b"}', "is not JSON"),
        (b" " * (9 << 20), "larger than 8 MiB"),
    ],
)
def test_answers_that_are_not_json(hub: FakeHub, program: Program, body: bytes, words: str) -> None:
    hub.fault("/revision/", lambda h: h.send(200, body))
    assert words in program.fail("pull", NAME)


def test_an_endless_answer(hub: FakeHub, program: Program) -> None:
    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * (1 << 16))
        except OSError:
            handler.close_connection = True

    hub.fault("/revision/", drip)
    assert "larger than 8 MiB" in program.fail("pull", NAME)


def test_an_answer_that_stalls(hub: FakeHub, program: Program) -> None:
    again = threading.Event()

    def stall(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"sha": ')
        handler.wfile.flush()
        again.wait(60)
        handler.cut()

    def note(_: Handler) -> bool:
        again.set()
        return False

    hub.fault("/revision/", stall)
    hub.fault("/revision/", note)
    program.run("pull", NAME, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert again.is_set(), "the second attempt did not begin before the first ended"


def test_no_such_model(hub: FakeHub, program: Program) -> None:
    assert "has no model EleutherAI/pythia-2m, or it is private" in program.fail(
        "pull", "pythia-2m"
    )


def test_no_such_revision_names_the_steps(hub: FakeHub, program: Program) -> None:
    for step in (0, 1, 2, 1000, 2000, 143000):
        hub.repositories[NAME].add(f"step{step}", model())
    error = program.fail("pull", f"{NAME}@step1400")
    assert error == (
        f"{NAME} has no revision step1400; its 6 training steps are from step0 to step143000, the "
        "nearest is step1000"
    )
    error = program.fail("pull", f"{NAME}@step143001")
    assert error.endswith("the nearest is step143000")
    error = program.fail("pull", f"{NAME}@step-9223372036854775800")  # 143000 less overflows
    assert error.endswith("the nearest is step0")
    hub.add("someone/x").add("main", model())
    error = program.fail("pull", "someone/x@step1")
    assert error == "someone/x has no revision step1; it has main"
    error = program.fail("pull", "someone/x@all-steps")
    assert error.startswith("someone/x has no training steps")


@pytest.mark.parametrize("times", [1, 2])
def test_faults_that_pass(hub: FakeHub, program: Program, times: int) -> None:
    hub.fault("/revision/", lambda h: h.send(503), times)
    hub.fault("/resolve/", lambda h: h.send(500), times)
    hub.fault("/blob/", lambda h: h.send(502), times, host="store")
    program.run("pull", NAME)


def test_a_limit_of_requests(hub: FakeHub, program: Program) -> None:
    hub.fault("/revision/", lambda h: h.send(429, Retry_After="2"))
    start = time.monotonic()
    program.run("pull", NAME)
    assert time.monotonic() - start >= 2


def test_a_limit_that_is_too_long(hub: FakeHub, program: Program) -> None:
    hub.fault("/revision/", lambda h: h.send(429, Retry_After="86400"))
    error = program.fail("pull", NAME)
    assert error == (
        "127.0.0.1 asks to wait 86400 seconds (HTTP status 429); run the command again after that"
    )
    assert len(hub.log) == 1


@pytest.mark.parametrize(("status", "words"), [(500, "does not work at"), (429, "still limits")])
def test_faults_that_stay(hub: FakeHub, program: Program, status: int, words: str) -> None:
    hub.fault("/revision/", lambda h: h.send(status, Retry_After="1"), times=99)
    error = program.fail("pull", NAME)
    assert words in error and f"HTTP status {status}" in error
    assert 2 < len(hub.log) < 10, "the number of attempts is bounded"


@pytest.mark.parametrize("status", [400, 404, 410, 418])
def test_other_refusals_are_not_tried_again(hub: FakeHub, program: Program, status: int) -> None:
    hub.fault("/resolve/.*config", lambda h: h.send(status), times=99)
    program.fail("pull", NAME)
    assert len(hub.asked("config")) == 1


def test_a_circle_of_redirects(hub: FakeHub, program: Program) -> None:
    hub.fault("/resolve/", lambda h: h.send(302, Location=h.path), times=999)
    assert "redirects in a circle" in program.fail("pull", NAME)
    assert len(hub.asked("/resolve/")) < 60


def test_a_redirect_to_nowhere(hub: FakeHub, program: Program) -> None:
    hub.fault("/resolve/", lambda h: h.send(302), times=9)
    assert "redirects to nowhere" in program.fail("pull", NAME)


@pytest.mark.parametrize(
    "value", ["nonsense", "ftp://127.0.0.1", "http://", "http://u:SECRET@127.0.0.1", "https://x?y"]
)
def test_an_endpoint_that_is_none(program: Program, value: str) -> None:
    error = program.fail("pull", NAME, HF_ENDPOINT=value)
    assert error.startswith("HF_ENDPOINT is not a URL like https://huggingface.co")
    assert "SECRET" not in error


def test_no_network(hub: FakeHub, program: Program) -> None:
    start = time.monotonic()
    error = program.fail("pull", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert error.startswith("cannot reach 127.0.0.1 (") and "check the network" in error
    error = program.fail("pull", NAME, HF_ENDPOINT="https://hub.invalid")
    assert error.startswith("cannot reach hub.invalid (")
    assert time.monotonic() - start < 30, "each command ends at once"


def test_the_list_is_read_as_json_once(hub: FakeHub, program: Program) -> None:
    """The hub's real answers have much more in them."""
    value = {"sha": hub.repositories[NAME].refs["main"], "siblings": [], "x": [{"y": [None, 1.5]}]}
    for name, data in model().items():
        entry = {"rfilename": name, "size": len(data), "blobId": sha1(data), "new": {}}
        value["siblings"].append(entry)
    body = json.dumps(value).encode()
    hub.fault("/revision/", lambda h: h.send(200, body))
    hub.fault("/resolve/.*model.safetensors", lambda h: h.send(200, model()["model.safetensors"]))
    program.run("pull", NAME)  # the weights are a small file here, with git's hash
