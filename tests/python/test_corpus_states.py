"""State files of model.corpus: resumption, the program's files, locks, shards and merge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from corpus_files import (
    documents_of,
    files_of,
    make_corpus,
    plugin_file,
    program_survey,
    run,
    same_numbers,
    saved,
    survey,
)
from program import program_path
from pythiascope import InputError, IOFailure, Model, PythiascopeWarning, merge


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("states") / "docs")


@pytest.fixture(scope="module")
def model():
    return Model(threads=2)


@pytest.fixture(scope="module")
def texts(docs):
    return documents_of(docs)


@pytest.fixture(scope="module")
def whole(model, docs):
    return survey(model, files=docs)


def program(docs, *arguments):
    finished = program_survey(docs, "--threads", "2", *map(str, arguments))
    assert finished.returncode == 0, finished.stderr.decode()
    return finished


# --- the program's files -------------------------------------------------------------------------


def test_state_files_are_the_programs_to_the_byte(model, docs, tmp_path):
    survey(model, files=docs, state=tmp_path / "ours", limit_tokens=300)
    program(docs, "--state", tmp_path / "theirs", "--limit-tokens", 300)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert not (tmp_path / "ours.lock").exists()


def test_the_program_resumes_ours_and_we_resume_the_programs(model, docs, tmp_path, whole):
    ours, theirs, out = tmp_path / "ours", tmp_path / "theirs", tmp_path / "out"
    survey(model, files=docs, state=ours, limit_tokens=200)
    program(docs, "--state", ours, "--limit-tokens", 500)
    survey(model, files=docs, state=ours, limit_tokens=900)
    program(docs, "--state", ours, "--out", out)
    assert saved(whole, tmp_path / "whole") == files_of(out)
    program(docs, "--state", theirs, "--limit-tokens", 700)
    same_numbers(whole, survey(model, files=docs, state=theirs))


def test_a_finished_state_is_reported_again_with_a_note(model, docs, tmp_path, whole):
    survey(model, files=docs, state=tmp_path / "one")
    with pytest.warns(PythiascopeWarning, match="nothing was left to read"):
        same_numbers(whole, survey(model, files=docs, state=tmp_path / "one"))


def test_contrasts_and_options_are_recorded_as_the_program_does(model, docs, tmp_path):
    options = {
        "files": docs / "a",
        "plugins": [("logits", {"level": "layer"}), "mlp:bins=7"],
        "target": ["next", "#5"],
        "contrast": [(" man", " girl")],
        "state": tmp_path / "ours",
        "progress": False,
    }
    model.corpus(**options)
    arguments = ["--plugin", "logits:level=layer", "--plugin", "mlp:bins=7", "--target", "next"]
    arguments += ["--target", "#5", "--contrast", " man", " girl", "--threads", "2"]
    finished = run("corpus", str(docs / "a"), *arguments, "--state", str(tmp_path / "theirs"))
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_merge_is_the_programs(model, docs, tmp_path, whole):
    for i in (1, 2, 3):
        survey(model, files=docs, state=tmp_path / f"{i}", shard=(i, 3), batch=i)
    parts = [str(tmp_path / f"{i}") for i in (3, 1, 2)]
    merged = merge(parts, model=model)
    same_numbers(whole, merged)
    finished = run("merge", *parts, "--out", str(tmp_path / "theirs"))
    assert finished.returncode == 0, finished.stderr
    assert saved(merge(parts), tmp_path / "ours") == files_of(tmp_path / "theirs")
    text, _, _ = finished.stdout.decode().rpartition("\nwrote ")
    assert str(merge(parts)) == text


def test_shards_of_the_program_and_of_documents(model, docs, texts, tmp_path, whole):
    program(docs, "--state", tmp_path / "1", "--shard", "1/2")
    survey(model, files=docs, state=tmp_path / "2", shard="2/2")
    same_numbers(whole, merge([tmp_path / "1", tmp_path / "2"], model=model))
    for i in (1, 2):
        survey(model, documents=iter(texts), state=tmp_path / f"d{i}", shard=(i, 2))
    same_numbers(whole, merge([tmp_path / "d2", tmp_path / "d1"], model=model))
    with pytest.raises(InputError, match=r"d2: its files, field or windows differ|d2: "):
        merge([tmp_path / "1", tmp_path / "d2"], model=model)


# --- resumption ----------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", ["files", "texts", "ids"])
def test_resumption_at_random_places(model, docs, texts, tmp_path, whole, kind):
    ids = [model.to_tokens(text)[0] if text else [] for text in texts]
    source = {"files": None, "texts": texts, "ids": ids}[kind]
    place, left, state = 12345, [0], tmp_path / "one"

    def after(done, tokens):
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    def again():
        given = {"files": docs} if source is None else {"documents": iter(source)}
        return survey(
            model, **given, state=state, save_seconds=left[0] % 2, progress=after, batch=2
        )

    stops = 0
    while True:
        place = (place * 1103515245 + 12345) % 2**31
        left[0] = 1 + (place >> 16) % 5
        try:
            result = again()
            break
        except Stop:
            stops += 1
    assert stops > 2
    same_numbers(whole, result)


def test_an_exception_of_the_iterable_saves_the_state(model, texts, tmp_path, whole):
    def stream():
        yield from texts[:9]
        raise Stop

    with pytest.raises(Stop):
        survey(model, documents=stream(), state=tmp_path / "one")
    read = []

    def rest():
        for text in texts:
            read.append(text)
            yield text

    result = survey(model, documents=rest(), state=tmp_path / "one")
    assert result.to_dict()["corpus"]["documents"] == len(texts)
    same_numbers(whole, result)


def test_other_documents_are_refused(model, texts, tmp_path):
    survey(model, documents=texts, state=tmp_path / "one", limit_tokens=300)
    before = (tmp_path / "one").read_bytes()
    other = [*texts[:1], texts[1] + ".", *texts[2:]]
    with pytest.raises(InputError, match=r"the state file .*one: .*document"):
        survey(model, documents=other, state=tmp_path / "one")
    with pytest.raises(InputError, match=r"the state file .*one: "):
        survey(model, documents=texts[:1], state=tmp_path / "one")
    with pytest.raises(LookupError, match="gone"):
        survey(model, documents=(_raise() for _ in "x"), state=tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == before


def _raise():
    raise LookupError("gone")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"plugins": ["ln"]}, "made with the plugins ln, mlp, logits, not ln"),
        ({"plugins": ["ln", "mlp", "logits"]}, "level=layer for plugin logits, not level=auto"),
        ({"target": "top:1"}, "made with the targets next, not top:1"),
        ({"window": 32}, "the state file .*one: it was made with windows of 64 tokens"),
        ({"bos": True}, "windows of 64 tokens without <|endoftext|>"),
        ({"shard": (1, 2)}, "made for the whole corpus, not part 1/2"),
        ({"limit_tokens": 10}, "already has .* tokens, but the limit is 10"),
        ({"field": "body"}, "other paths or sizes, or a different field"),
    ],
)
def test_a_state_of_another_setup_is_refused(model, docs, tmp_path, options, sentence):
    survey(model, files=docs, state=tmp_path / "one", limit_tokens=300)
    with pytest.raises(InputError, match=sentence):
        survey(model, files=docs, state=tmp_path / "one", **options)


def test_a_state_of_another_corpus(model, docs, texts, tmp_path):
    survey(model, files=docs, state=tmp_path / "one", limit_tokens=300)
    with pytest.raises(InputError, match="one: it was made from"):
        survey(model, files=docs / "a", state=tmp_path / "one")
    with pytest.raises(InputError, match=r"the state file .*one: "):
        survey(model, documents=texts, state=tmp_path / "one")


# --- damaged and hostile files -------------------------------------------------------------------


def test_damaged_states_are_one_sentence(model, docs, tmp_path):
    state = tmp_path / "one"
    survey(model, files=docs, state=state, limit_tokens=300)
    good = state.read_bytes()
    for bad, sentence in (
        (b"", "is not a pythiascope state file"),
        (b"hello there", "is not a pythiascope state file"),
        (good[:30], "truncated"),
        (good[:-1], "checksum"),
        (good[:200] + b"x" + good[201:], "checksum"),
    ):
        state.write_bytes(bad)
        with pytest.raises(InputError, match=sentence):
            survey(model, files=docs, state=state)
        with pytest.raises(InputError, match=sentence):
            merge([state], model=model)
        assert state.read_bytes() == bad


def edited(model, state, client: bytes) -> None:
    """Writes a state file with another caller's part."""
    from pythiascope._c.library import call

    session = model._new_session(accumulate=True)
    for plugin in ("ln", "mlp", "logits:level=layer"):
        name, _, options = plugin.partition(":")
        session.plugin(name, dict([options.split("=")]) if options else {})
    call("psc_session_state_save", session.pointer, os.fsencode(state), client, len(client))
    session.close()


@pytest.mark.parametrize(
    ("client", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"[1, 2]", "has no position in a corpus or no setup"),
        (b'{"place": 3, "setup": {}}', "has no position in a corpus or no setup"),
        (b'{"place": {}, "place": {}, "setup": {}}', "not valid JSON"),
        (b'{"place": {}, "setup": {}}', "recorded position in the corpus is invalid"),
        (b"[" * 100000, "not valid JSON"),
        (b'{"place": {"corpus": "\xff"}, "setup": {}}', "not valid JSON"),
    ],
)
def test_a_state_with_a_hostile_place(model, docs, tmp_path, client, sentence):
    edited(model, tmp_path / "one", client)
    with pytest.raises(InputError, match=f"the state file .*one: .*{sentence}"):
        survey(model, files=docs, state=tmp_path / "one")
    with pytest.raises(InputError, match=r"the state file .*one: "):
        merge([tmp_path / "one"], model=model)


def finished_place(model, docs, tmp_path) -> dict:
    from pythiascope.corpora import states

    survey(model, files=docs, state=tmp_path / "whole")
    place, _ = states.read(str(tmp_path / "whole"))
    return json.loads(place)


@pytest.mark.parametrize(
    ("setup", "sentence"),
    [
        ({}, "recorded targets or plugins are not a JSON array"),
        ({"targets": [], "plugins": [3]}, "a recorded plugin is not a string"),
        ({"targets": [["a"]], "plugins": []}, "neither a string nor an array of two"),
        ({"targets": [], "plugins": ["nonsense"]}, "nonsense"),
        ({"targets": ["two words here"], "plugins": []}, "two words here"),
        ({"targets": [], "plugins": ["x (Python):a=b"]}, "made with the Python plugin x"),
        ({"targets": [], "plugins": ["./evil:a=b"]}, "made with the plugin file ./evil, which is"),
        ({"targets": [], "plugins": ["evil.so"]}, "which is loaded only if the caller names it"),
        (
            {"targets": [], "plugins": [], "interventions": [["./evil", "L0H1"]]},
            "'./evil' is not a kind of intervention",
        ),
    ],
)
def test_merge_of_hostile_setups(model, docs, tmp_path, setup, sentence):
    place = finished_place(model, docs, tmp_path)
    edited(model, tmp_path / "one", json.dumps({"place": place, "setup": setup}).encode())
    with pytest.raises(InputError, match=f"the state file .*one: .*{sentence}"):
        merge([tmp_path / "one"], model=model)


def test_merge_loads_no_file_that_the_caller_does_not_name(model, docs, tmp_path, monkeypatch):
    loud, loaded = plugin_file("loud.so"), tmp_path / "loaded"
    monkeypatch.setenv("PSC_TEST_LOADED", str(loaded))
    whole = survey(model, files=docs, plugins=[loud], state=tmp_path / "one")
    loaded.unlink()
    with pytest.raises(InputError, match=r"loud.so, which is loaded only if .*pass plugins="):
        merge([tmp_path / "one"], model=model)
    assert not loaded.exists()
    same_numbers(whole, merge([tmp_path / "one"], model=model, plugins=[Path(loud)]))
    assert loaded.exists()


def test_merge_refuses_wrong_parts(model, docs, tmp_path):
    for i in (1, 2):
        survey(model, files=docs, state=tmp_path / f"{i}", shard=(i, 2))
    one, two = tmp_path / "1", tmp_path / "2"
    with pytest.raises(InputError, match="part 2/2 is missing"):
        merge([one], model=model)
    with pytest.raises(InputError, match="1: part 1/2 is given twice"):
        merge([one, one], model=model)
    survey(model, files=docs, state=tmp_path / "half", shard=(2, 2), limit_tokens=10)
    with pytest.raises(InputError, match=r"half: it was made with a limit|half: part 2/2"):
        merge([one, tmp_path / "half"], model=model)
    survey(model, files=docs, state=tmp_path / "ln", shard=(2, 2), plugins=["ln"])
    with pytest.raises(InputError, match="ln: it was made with different targets, plugins or"):
        merge([one, tmp_path / "ln"], model=model)
    with pytest.raises(InputError, match="states is one path"):
        merge(one, model=model)
    with pytest.raises(InputError, match="no state files"):
        merge([], model=model)
    with pytest.raises(IOFailure, match="nothing"):
        merge([tmp_path / "nothing"], model=model)
    assert merge([two, one], model=model).to_dict()["corpus"]["documents"] == 23


def test_a_state_that_cannot_be_written_fails_first(model, docs, tmp_path):
    calls = []
    options = {"files": docs, "progress": lambda done, tokens: calls.append(done)}
    with pytest.raises(IOFailure, match=r"cannot open .*nowhere"):
        survey(model, **options, state=tmp_path / "nowhere" / "one")
    with pytest.raises((InputError, IOFailure)):
        survey(model, **options, state=tmp_path)
    assert calls == []
    with pytest.raises(InputError, match="lone surrogate"):
        survey(model, **options, state="a\ud800")
    with pytest.raises(InputError, match="0 character"):
        survey(model, **options, state="a\0b")


# --- locks ---------------------------------------------------------------------------------------


def test_two_runs_of_one_process_at_one_state(model, docs, tmp_path, whole):
    state, failures = tmp_path / "one", []
    other = model.session()

    def within(done, tokens):
        if not failures:
            with pytest.raises(IOFailure, match="another run of this process is using the state"):
                survey(other, files=docs, state=state)
            os.link(f"{state}.lock", f"{tmp_path}/two.lock")
            with pytest.raises(IOFailure, match="another run of this process"):
                survey(other, files=docs, state=tmp_path / "two")
            os.unlink(f"{tmp_path}/two.lock")
            failures.append(program_survey(docs, "--state", str(state)))

    result = survey(model, files=docs, state=state, progress=within)
    assert failures[0].returncode == 1
    assert f"process {os.getpid()} is using the state file".encode() in failures[0].stderr
    same_numbers(whole, result)
    assert not os.path.exists(f"{state}.lock")


def test_a_state_that_the_program_uses(model, docs, tmp_path, whole):
    state = tmp_path / "one"
    command = [str(program_path()), "corpus", str(docs), "--window", "64", "--batch", "1"]
    for plugin in ("ln", "mlp", "logits:level=layer"):
        command += ["--plugin", plugin]
    first = subprocess.Popen([*command, "--state", str(state)], stdout=subprocess.DEVNULL)
    try:
        while not state.exists():
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        if first.poll() is None:
            with pytest.raises(IOFailure, match=f"process {first.pid} is using the state file"):
                survey(model, files=docs, state=state)
    finally:
        first.kill()
        first.wait()
    same_numbers(whole, survey(model, files=docs, state=state))


def test_many_threads_at_one_state(docs, tmp_path, whole):
    model, results, failures = Model(threads=1), [], []

    def work():
        try:
            results.append(survey(model.session(), files=docs, state=tmp_path / "one"))
        except IOFailure as failure:
            failures.append(str(failure))
        except PythiascopeWarning:
            pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results and all("another run of this process" in one for one in failures)
    for result in results:
        same_numbers(whole, result)


# --- Ctrl-C --------------------------------------------------------------------------------------

SCRIPT = """
import sys
from corpus_files import survey
from pythiascope import Model, accumulator
import time, os

@accumulator("blocks.0.hook_resid_pre", counts=["n"], name="slow")
def slow(step):
    step.count("n")
    time.sleep(0.02)  # the signal comes before the end
    if sys.argv[3] == "stuck" and len(step.rows) == 64:
        print("stuck", flush=True)
        time.sleep(100)

def progress(done, tokens):
    if tokens:
        print("reading", flush=True)

survey(Model(threads=1), files=sys.argv[1], state=sys.argv[2] or None, batch=1, save_seconds=1e9,
       plugins=["ln", "mlp", "logits:level=layer", slow], progress=progress)
print("finished", flush=True)
"""


def interrupted(docs, state, mode="plain", signals=1):
    paths = [os.path.dirname(__file__), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(docs), str(state), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert child.stdout is not None
    begin = ""
    for line in child.stdout:
        begin += line
        if line == ("stuck\n" if mode == "stuck" else "reading\n"):
            break
    for _ in range(signals):
        child.send_signal(signal.SIGINT)
        time.sleep(0.2)
    try:
        out, err = child.communicate(timeout=30)
    except subprocess.TimeoutExpired:  # a busy machine may deliver two signals as one
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    return begin + out, err


def test_ctrl_c_saves_and_says_so(model, docs, tmp_path):
    state = tmp_path / "one"
    out, err = interrupted(docs, state)
    assert "finished" not in out
    last = err.strip().splitlines()[-1]
    assert last.startswith("KeyboardInterrupt: stopped after ")
    assert last.endswith(f" tokens; the same call resumes from {state}")
    tokens = int(last.split()[3])
    from pythiascope import accumulator

    slow = accumulator("blocks.0.hook_resid_pre", counts=["n"], name="slow")(
        lambda step: step.count("n")
    )
    plugins = ["ln", "mlp", "logits:level=layer", slow]
    result = survey(model, files=docs, state=state, plugins=plugins)
    assert tokens < result["slow.n"].values == result.to_dict()["corpus"]["tokens"]
    same_numbers(survey(model, files=docs, plugins=plugins), result)


def test_ctrl_c_without_a_state(docs, tmp_path):
    _, err = interrupted(docs, "")
    assert err.strip().endswith("nothing was saved, because state= is missing")


def test_a_second_ctrl_c_reaches_a_plugin_that_does_not_end(docs, tmp_path):
    out, err = interrupted(docs, tmp_path / "one", "stuck", signals=2)
    assert "stuck" in out and "finished" not in out
    assert "KeyboardInterrupt: stopped after 0 tokens" in err or "KeyboardInterrupt" in err
    assert "in slow" in err


# --- fork ----------------------------------------------------------------------------------------

FORK = """
import os, sys
from corpus_files import survey
from pythiascope import Model, StateError

model = Model(threads=2)
children = []

def forked(*_):
    if children:
        return
    child = os.fork()
    if child == 0:
        try:
            survey(model, documents=["the old man"], plugins=["ln"])
        except StateError as failure:
            os._exit(7 if "belongs to process" in str(failure) else 8)
        os._exit(9)
    children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def stream():
    yield "the old man gave a red apple"
    forked()
    yield "to the little girl"

place = sys.argv[1]
documents = stream() if place == "iterable" else ["the old man gave a red apple"] * 3
progress = forked if place == "progress" else False
result = survey(model, documents=documents, plugins=["ln"], state=sys.argv[2], progress=progress)
print(children, result.to_dict()["corpus"]["documents"], os.path.exists(sys.argv[2] + ".lock"))
"""


@pytest.mark.parametrize("place", ["iterable", "progress"])
def test_a_fork_during_a_corpus(tmp_path, place):
    paths = [os.path.dirname(__file__), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", FORK, place, str(tmp_path / "one")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"[7] {2 if place == 'iterable' else 3} False"
