"""model.corpus over files: the program's results, to the byte."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
from corpus_files import (
    PLUGINS,
    files_of,
    make_corpus,
    plugin_file,
    program_survey,
    run,
    same_numbers,
    saved,
    survey,
)
from pythiascope import (
    InputError,
    IOFailure,
    Model,
    PythiascopeWarning,
    ablate,
    knockout,
    merge,
    patch,
    scale,
)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "docs")


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(threads=2)


def check_program(result, tmp_path: Path, finished) -> None:
    assert finished.returncode == 0, finished.stderr.decode()
    assert saved(result, tmp_path / "ours") == files_of(tmp_path / "theirs")
    text, _, _ = finished.stdout.decode().rpartition("\nwrote ")
    assert str(result) == text


@pytest.mark.parametrize("batch", [1, 4])
def test_a_folder_gives_the_programs_files(model, docs, tmp_path, batch):
    theirs = ["--batch", str(batch), "--out", str(tmp_path / "theirs"), "--threads", "2"]
    result = survey(model, files=docs, batch=batch)
    check_program(result, tmp_path, program_survey(docs, *theirs))
    assert set(result.sections) == {"ln", "mlp", "logits"}


def test_files_by_str_by_path_and_as_documents_are_one_corpus(model, docs):
    def read(**given):
        return survey(model, plugins=["ln"], **given)

    whole = read(files=str(docs))
    same_numbers(whole, read(files=[docs]))
    same_numbers(whole, read(documents=docs))
    parts = (docs / "a", docs / "b" / "one.txt", docs / "c.jsonl")
    same_numbers(whole, read(files=[str(part) for part in parts]))
    same_numbers(whole, read(documents=parts))


def test_targets_contrasts_bos_and_the_default_plugins(model, docs, tmp_path):
    result = model.corpus(
        files=docs / "a",
        target=["next", "top:2"],
        contrast=(" man", " girl"),
        window=32,
        bos=True,
        progress=False,
    )
    arguments = ["corpus", str(docs / "a"), "--target", "next", "--target", "top:2"]
    arguments += ["--contrast", " man", " girl", "--window", "32", "--bos", "--threads", "2"]
    check_program(result, tmp_path, run(*arguments, "--out", str(tmp_path / "theirs")))


def test_a_field_and_a_limit(model, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"body": "the old man walked home"}\n{"body": "she gave him an apple"}\n' * 9)
    options = {"files": path, "field": "body", "limit_tokens": 30, "plugins": ["ln"]}
    result = survey(model, **options)
    arguments = ["corpus", str(path), "--field", "body", "--limit-tokens", "30", "--window", "64"]
    arguments += ["--plugin", "ln", "--threads", "2", "--out", str(tmp_path / "theirs")]
    check_program(result, tmp_path, run(*arguments))


def test_threads_batches_and_chunks_do_not_matter(model, docs):
    whole = survey(model, files=docs)
    same_numbers(whole, survey(Model(threads=1, chunk=7), files=docs, batch=1))
    same_numbers(whole, survey(Model(threads=2), files=docs, batch=37))


def test_plugins_as_names_tuples_paths_and_text(model, docs, tmp_path):
    lengths = plugin_file("lengths.so")
    whole = survey(model, files=docs, plugins=[f"{lengths}:from=2", "logits:level=layer"])
    plugins = [(Path(lengths), {"from": 2}), ("logits", {"level": "layer"})]
    same_numbers(whole, survey(model, files=docs, plugins=plugins))


def test_a_plugin_that_needs_bos_gets_it_with_a_note(model, docs, tmp_path):
    front = plugin_file("front.so")
    with pytest.warns(PythiascopeWarning, match="front needs <|endoftext|> in front of each"):
        result = survey(model, files=docs, plugins=[front])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = survey(model, files=docs, plugins=[front], bos=True)
    same_numbers(result, given)
    out = ["--out", str(tmp_path / "theirs"), "--threads", "2", "--window", "64"]
    check_program(result, tmp_path, run("corpus", str(docs), "--plugin", front, *out))


def broken(docs: Path, to: Path) -> Path:
    """A copy of the corpus with documents that cannot be read."""
    shutil.copytree(docs, to)
    (to / "a" / "bad.txt").write_bytes(b"abc \xff\xfe def")
    with (to / "c.jsonl").open("ab") as file:
        file.write(b'{"id": 7}\nnot json\n{"text": "\xff"}\n{"text": "the end"}\n')
    return to


def test_documents_that_cannot_be_read_are_skipped_with_a_warning(model, docs, tmp_path):
    folder = broken(docs, tmp_path / "broken")
    with pytest.warns(PythiascopeWarning) as notes:
        result = survey(model, files=folder)
    sentences = [str(note.message) for note in notes]
    theirs = program_survey(folder, "--threads", "2", "--out", str(tmp_path / "theirs"))
    *noted, last = theirs.stderr.decode().splitlines()
    assert noted == [f"pythiascope: {one}" for one in sentences]
    assert last.endswith("4 of 28 documents could not be read and were left out of the results")
    assert len(sentences) == 4
    assert all(note.filename == survey.__code__.co_filename for note in notes)
    check_program(result, tmp_path, theirs)
    with pytest.raises(InputError, match=r"bad.txt is not UTF-8 at byte 4"):
        survey(model, files=folder, strict=True)


def test_a_note_may_be_an_error(model, docs, tmp_path):
    folder = broken(docs, tmp_path / "broken")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PythiascopeWarning, match=r"bad\.txt"):
            survey(model, files=folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "no corpus; pass documents, or files="),
        ({"documents": ["a"], "files": "b"}, "pass documents or files=, not both"),
        ({"documents": "books/"}, "documents is one str; pass .text. for one document"),
        ({"documents": b"text"}, "documents is bytes; pass an iterable"),
        ({"documents": 7}, "documents is int; pass an iterable"),
        ({"documents": [Path("x"), "text"]}, "mixes paths and documents"),
        ({"files": [7]}, "a path is a str or a pathlib.Path, not int"),
        ({"files": "a\0b"}, "it has a 0 character"),
        ({"files": "a\ud800"}, "it has a lone surrogate"),
        ({"files": []}, "a corpus needs at least one file or folder"),
        ({"documents": ["a"], "window": 0}, "window is 0; pass a whole number from 1"),
        ({"documents": ["a"], "window": 2.5}, "window is 2.5; pass a whole number from 1"),
        ({"documents": ["a"], "window": 1 << 19}, "a window of 524288 tokens is not possible"),
        ({"documents": ["a"], "window": 1, "bos": True}, "a window of 1 token is not possible"),
        ({"documents": ["a"], "batch": 0}, "batch is 0; pass a whole number from 1 to 4096"),
        ({"documents": ["a"], "batch": 1 << 70}, "pass a whole number from 1 to 4096"),
        ({"documents": ["a"], "shard": (3, 2)}, r"shard is \(3, 2\); pass"),
        ({"documents": ["a"], "shard": "1"}, "shard is '1'; pass"),
        ({"documents": ["a"], "shard": (1, 65537)}, "at most 65536"),
        ({"documents": ["a"], "limit_tokens": 0}, "limit_tokens is 0"),
        ({"documents": ["a"], "save_seconds": float("nan")}, "save_seconds is nan"),
        ({"documents": ["a"], "plugins": "mlp"}, "plugins is a list"),
        ({"documents": ["a"], "plugins": {"mlp": {"bins": 7}}}, "pass options as"),
        ({"documents": ["a"], "plugins": ["nonsense"]}, "nonsense"),
        ({"documents": ["a"], "plugins": ["mlp:colour=red"]}, "colour"),
        ({"documents": ["a"], "plugins": [7]}, "int is not a plugin"),
        ({"documents": ["a"], "plugins": [len]}, "len is not a plugin.*accumulator"),
        ({"documents": ["a"], "target": "two words here"}, "two words here"),
        ({"documents": ["a"], "target": 3.5}, "target"),
        ({"documents": ["a"], "contrast": [(" a",)]}, "pair"),
        ({"documents": ["a"], "contrast": 5}, "contrast=5"),
    ],
)
def test_wrong_arguments_are_one_sentence(model, options, sentence):
    with pytest.raises(InputError, match=sentence):
        survey(model, **options)


def test_files_that_do_not_exist(model, tmp_path):
    with pytest.raises(IOFailure, match=r"cannot open .*nothing"):
        survey(model, files=tmp_path / "nothing")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"contains no \*\.txt"):
        survey(model, files=tmp_path / "none")


def test_a_plugin_that_does_not_accumulate(model, docs):
    with pytest.raises(InputError, match="plugin graph does not work over a corpus"):
        survey(model, files=docs, plugins=["graph"])


def test_progress(model, docs, capsys):
    calls = []
    survey(model, files=docs, progress=lambda done, tokens: calls.append((done, tokens)))
    assert calls[0] == (0.0, 0)
    assert calls[-1][0] == 1.0
    assert [c[1] for c in calls] == sorted(c[1] for c in calls)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    survey(model, files=docs, progress=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_an_exception_of_progress_ends_the_run(model, docs):
    def fail(done, tokens):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        survey(model, files=docs, progress=fail)
    survey(model, files=docs)


def test_the_default_plugins_are_the_programs(model, docs):
    assert set(model.corpus(files=docs / "a", progress=False).sections) == {"logits", "ln", "mlp"}
    assert PLUGINS


def test_a_corpus_of_which_nothing_is_read_is_an_error(model):
    with pytest.raises(InputError, match="the corpus has no documents"):
        model.corpus([], ["ln"], progress=False)
    with pytest.raises(InputError, match="the corpus has no text: all of its 2 documents"):
        model.corpus(["", ""], ["ln"], progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PythiascopeWarning)
        with pytest.raises(InputError, match="no document could be read: 1 of 1 were skipped"):
            model.corpus(["\ud800"], ["ln"], progress=False)


def test_a_sample_is_the_programs(model, docs, tmp_path):
    result = survey(model, files=docs, sample=4, seed=9)
    theirs = ["--sample", "4", "--seed", "9", "--out", str(tmp_path / "theirs"), "--threads", "2"]
    check_program(result, tmp_path, program_survey(docs, *theirs))
    with pytest.raises(InputError, match="a sample needs files"):
        model.corpus(["a text"], ["ln"], sample=1, progress=False)


def test_interventions_are_recorded_as_the_programs(model, docs, tmp_path):
    edits = ablate("L0H3") + scale("0_mlp_out", 0.25, rows=(1, 9))
    edits += knockout("L1H*", (0, 1), rows=(3, 9))
    options = ["--ablate", "L0H3", "--scale", "0_mlp_out:alpha=0.25,rows=1-9"]
    options += ["--knockout", "L1H*:keys=0-1,rows=3-9"]
    whole = survey(model, files=docs, interventions=edits)
    theirs = [*options, "--out", str(tmp_path / "theirs"), "--threads", "2"]
    check_program(whole, tmp_path, program_survey(docs, *theirs))
    one, two = tmp_path / "one.state", tmp_path / "two.state"
    survey(model, files=docs, interventions=edits, shard="1/2", state=one)
    finished = program_survey(docs, *options, "--shard", "2/2", "--state", str(two))
    assert finished.returncode == 0, finished.stderr
    merged = merge([one, two], model=model)
    same_numbers(merged, whole)
    with pytest.raises(InputError, match="takes values from a source prompt"):
        survey(model, documents=["a text"], interventions=patch("L0H3", "another"))


def test_contexts_name_their_documents_as_the_programs(model, docs, tmp_path):
    plugins = ["neurons:contexts=2", "attention:contexts=2"]
    words = [word for plugin in plugins for word in ("--plugin", plugin)]
    finished = run(
        *("corpus", str(docs), *words, "--window", "64", "--threads", "2"),
        *("--out", str(tmp_path / "theirs")),
    )
    whole = survey(model, files=docs, plugins=plugins)
    check_program(whole, tmp_path, finished)
    values = whole.sections["neurons"].values
    named = dict(zip(values["document_numbers"], values["document_names"], strict=True))
    assert named[1] == str(docs / "a" / "two.md")
    assert named[3] == f"{docs / 'c.jsonl'}, document 1"
    states = [str(tmp_path / f"{part}.state") for part in (1, 2)]
    for part, state in enumerate(states, 1):
        survey(model, files=docs, plugins=plugins, shard=(part, 2), state=state)
    same_numbers(whole, merge(states))
