"""The file of a state: links to it, what is no regular file, and file systems without locks."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest
from corpus_files import make_corpus, program_survey, same_numbers, survey
from pythiascope import InputError, IOFailure, Model, PythiascopeWarning, merge
from pythiascope.corpora.lock import StateLock


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("state_files") / "docs")


@pytest.fixture(scope="module")
def model():
    return Model(threads=2)


@pytest.fixture(scope="module")
def whole(model, docs):
    return survey(model, files=docs)


def test_a_state_behind_a_link_is_locked_and_replaced_itself(model, docs, tmp_path, whole):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "one", tmp_path / "link"
    link.symlink_to("real/one")
    survey(model, files=docs, state=link, limit_tokens=100)
    assert link.is_symlink() and real.is_file()
    with StateLock(str(real)), pytest.raises(IOFailure, match="is using the state file"):
        survey(model, files=docs, state=link)
    same_numbers(survey(model, files=docs, state=link), whole)
    assert link.is_symlink() and not real.is_symlink()


def test_only_a_missing_file_is_no_state(model, docs, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    for state, kind, sentence in (
        (tmp_path / "loop", IOFailure, "Too many levels"),
        (tmp_path / "pipe", InputError, "is not a regular file"),
        (tmp_path / "file" / "one", IOFailure, "Not a directory"),
        ("/dev/null", InputError, "is not a regular file"),
    ):
        with pytest.raises(kind, match=sentence):
            survey(model, files=docs, state=state)
    assert (tmp_path / "loop").is_symlink()


def test_without_locks_there_is_a_warning(model, docs, tmp_path, whole, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.warns(PythiascopeWarning, match="has no locks"):
        results = survey(model, files=docs, state=tmp_path / "one")
    same_numbers(results, whole)


def test_parts_by_size_are_the_programs(model, docs, tmp_path, whole):
    survey(model, files=docs, state=tmp_path / "1", shard=(1, 3), shard_by="size")
    for i in (2, 3):
        name = str(tmp_path / str(i))
        done = program_survey(docs, "--shard", f"{i}/3", "--shard-by", "size", "--state", name)
        assert done.returncode == 0, done.stderr
    same_numbers(merge([tmp_path / str(i) for i in (3, 1, 2)], model=model), whole)
    with pytest.raises(InputError, match="shard_by is 'bytes'; pass"):
        survey(model, files=docs, shard=(1, 3), shard_by="bytes")
    with pytest.raises(InputError, match="parts by size need files"):
        survey(model, documents=["one"], shard=(1, 3), shard_by="size")
    with pytest.raises(InputError, match="part 1/3 of the corpus by size, not part 1/3"):
        survey(model, files=docs, state=tmp_path / "1", shard=(1, 3))
