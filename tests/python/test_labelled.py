"""Instruments over labelled sentences, word lists and weights: the program's files, to the byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pythiascope
from program import ROOT, TEXT, check_same
from pythiascope import InputError, Model

Row = tuple[str, str, str, str, int, str]  # form, lemma, upos, feats, head, deprel

TRAIN: list[list[Row]] = [
    [("The", "the", "DET", "Definite=Def", 3, "det"), ("old", "old", "ADJ", "_", 3, "amod"),
     ("miller", "miller", "NOUN", "Number=Sing", 4, "nsubj"),
     ("locked", "lock", "VERB", "Tense=Past", 0, "root"),
     ("the", "the", "DET", "Definite=Def", 6, "det"),
     ("gates", "gate", "NOUN", "Number=Plur", 4, "obj"), (".", ".", "PUNCT", "_", 4, "punct")],
    [("Grumbold", "Grumbold", "PROPN", "Number=Sing", 2, "nsubj"),
     ("saw", "see", "VERB", "Tense=Past", 0, "root"), ("two", "two", "NUM", "_", 4, "nummod"),
     ("lanterns", "lantern", "NOUN", "Number=Plur", 2, "obj"),
     ("by", "by", "ADP", "_", 7, "case"), ("the", "the", "DET", "Definite=Def", 7, "det"),
     ("water", "water", "NOUN", "Number=Sing", 2, "obl"), (".", ".", "PUNCT", "_", 2, "punct")],
    [("Nobody", "nobody", "PRON", "_", 2, "nsubj"),
     ("answered", "answer", "VERB", "Tense=Past", 0, "root"),
     ("him", "he", "PRON", "_", 2, "obj"),
     ("yesterday", "yesterday", "NOUN", "Number=Sing", 2, "obl"),
     (".", ".", "PUNCT", "_", 2, "punct")],
    [("She", "she", "PRON", "_", 2, "nsubj"), ("walks", "walk", "VERB", "Tense=Pres", 0, "root"),
     ("slowly", "slowly", "ADV", "_", 2, "advmod"), ("to", "to", "ADP", "_", 6, "case"),
     ("her", "her", "PRON", "_", 6, "nmod:poss"),
     ("houses", "house", "NOUN", "Number=Plur", 2, "obl"),
     ("!", "!", "PUNCT", "_", 2, "punct")],
]  # fmt: skip
TEST: list[list[Row]] = [
    [("A", "a", "DET", "Definite=Ind", 3, "det"), ("young", "young", "ADJ", "_", 3, "amod"),
     ("lantern", "lantern", "NOUN", "Number=Sing", 4, "nsubj"),
     ("walked", "walk", "VERB", "Tense=Past", 0, "root"),
     ("to", "to", "ADP", "_", 7, "case"), ("the", "the", "DET", "Definite=Def", 7, "det"),
     ("mills", "mill", "NOUN", "Number=Plur", 4, "obl"), (".", ".", "PUNCT", "_", 4, "punct")],
    [("Does", "do", "AUX", "Tense=Pres", 3, "aux"), ("she", "she", "PRON", "_", 3, "nsubj"),
     ("answer", "answer", "VERB", "_", 0, "root"), ("the", "the", "DET", "Definite=Def", 5, "det"),
     ("millers", "miller", "NOUN", "Number=Plur", 3, "obj"), ("?", "?", "PUNCT", "_", 3, "punct")],
    [("He", "he", "PRON", "_", 2, "nsubj"), ("sees", "see", "VERB", "Tense=Pres", 0, "root"),
     ("the", "the", "DET", "Definite=Def", 5, "det"), ("old", "old", "ADJ", "_", 5, "amod"),
     ("gate", "gate", "NOUN", "Number=Sing", 2, "obj"), (".", ".", "PUNCT", "_", 2, "punct")],
    [("They", "they", "PRON", "_", 2, "nsubj"), ("lock", "lock", "VERB", "Tense=Pres", 0, "root"),
     ("it", "it", "PRON", "_", 2, "obj"), ("now", "now", "ADV", "_", 2, "advmod"),
     (".", ".", "PUNCT", "_", 2, "punct")],
]  # fmt: skip
JSONL = [
    {"text": "Anna met the miller in Paris.", "spans": [
        {"start": 0, "end": 4, "label": "person"}, {"start": 23, "end": 28, "label": "place"}]},
    {"text": "The café in Rome saw Otto.", "spans": [
        {"start": 13, "end": 17, "label": "place"}, {"start": 22, "end": 26, "label": "person"},
        {"start": 4, "end": 9, "label": "noun", "task": "kind"}]},
    {"text": "no spans here", "spans": []},
    {"text": "Emma left Berlin for Anna.", "spans": [
        {"start": 0, "end": 4, "label": "person"}, {"start": 10, "end": 16, "label": "place"},
        {"start": 21, "end": 25, "label": "person"}]},
]  # fmt: skip


def conllu(sentences: list[list[Row]]) -> str:
    """The sentences as a CoNLL-U file without "# text", so that the reader rebuilds it."""
    blocks = []
    for number, rows in enumerate(sentences):
        lines = [f"# sent_id = s{number}"]
        for i, (form, lemma, upos, feats, head, relation) in enumerate(rows, 1):
            glued = i < len(rows) and rows[i][2] == "PUNCT"
            misc = "SpaceAfter=No" if glued else "_"
            columns = (i, form, lemma, upos, "_", feats, head, relation, "_", misc)
            lines.append("\t".join(map(str, columns)))
        blocks.append("\n".join(lines) + "\n\n")
    return "".join(blocks)


class Files:
    """Small files of labelled sentences and word forms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train = self.write("train.conllu", conllu(TRAIN))
        self.test = self.write("test.conllu", conllu(TEST))
        self.both = self.write("both.conllu", conllu(TRAIN + TEST))
        lines = [json.dumps(line, ensure_ascii=False) for line in JSONL]
        self.jsonl = self.write("train.jsonl", "\n".join(lines) + "\n\n")
        self.jsonl_test = self.write("test.jsonl", "\n".join(lines[::-1][:2] + lines[1:2]))
        forms = ["# form, group, tag", "walk\twalk V\tinf\t3", "walks\twalk V\tpres",
                 "walked\twalk V\tpast\t2.5", "", "gate\tgate N\tsing", "gates\tgate N\tplur\r",
                 "lock\tlock V\tinf", "locks\tlock V\tpres", "lock\tlock N\tsing\t1e-1",
                 "lantern\tlantern N\tsing", "lanterns\tlantern N\tplur"]  # fmt: skip
        self.forms = self.write("forms.tsv", "\n".join(forms))
        self.corpus = folder / "corpus"
        self.corpus.mkdir()
        story = "The old miller locked the gates. Nobody answered him.\n" * 8
        (self.corpus / "a.txt").write_text(story)
        (self.corpus / "b.txt").write_bytes(b"broken \xff bytes")
        (self.corpus / "c.md").write_text("Grumbold saw 2 lanterns — by the water!")

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("labelled"))


# --- weights -------------------------------------------------------------------------------------


def test_weights(model: Model, tmp_path: Path) -> None:
    check_same(model.weights(), tmp_path, "weights")


def test_weights_of_tokens(model: Model, tmp_path: Path) -> None:
    result = model.weights(what=["tokens", "composition"], token=[" king", 281, " the"], offset=1)
    given = ["--token", " king", "--token", "#281", "--token", " the", "--offset", "1"]
    check_same(result, tmp_path, "weights", "--what", "tokens,composition", *given)


# --- words ---------------------------------------------------------------------------------------


def test_words_of_a_text(model: Model, tmp_path: Path) -> None:
    text = "Nobody had ever seen Grumbold, not even in 1912."
    result = model.words(text, levels="1+2/3")
    check_same(result, tmp_path, "words", "--text", text, "--levels", "1+2/3")
    assert list(result.sections) == ["words", "alone.words"]
    assert result["alone.words.auroc"].name == "alone.words.auroc"


def test_words_of_a_treebank(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.words(treebank=files.both, rows=(6, 20), units=(3, 7), limit=5, batch=3)
    given = ["--rows", "6-20", "--units", "3-7", "--limit", "5", "--batch", "3"]
    check_same(result, tmp_path, "words", "--treebank", files.both, *given)


def test_words_of_letters(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.words(treebank=files.both, words="letters", top=3, control=model)
    given = ["--words", "letters", "--top", "3", "--control", str(ROOT / "models" / "books-5m")]
    check_same(result, tmp_path, "words", "--treebank", files.both, *given)
    assert list(result.sections)[2:] == ["control.words", "control-alone.words"]


@pytest.mark.parametrize("limit", [None, 90])
def test_words_of_a_corpus(model: Model, files: Files, tmp_path: Path, limit: int | None) -> None:
    result = model.words(files=[files.corpus], window=24, limit_tokens=limit)
    given = [str(files.corpus), "--window", "24"]
    given += ["--limit-tokens", str(limit)] if limit else []
    check_same(result, tmp_path, "words", *given)
    assert any("b.txt" in note for note in result.notes) == (limit is None)


# --- forms ---------------------------------------------------------------------------------------


def test_forms_of_a_list(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.forms(files.forms, draws=3, seed=7, batch=2)
    given = ["--draws", "3", "--seed", "7", "--batch", "2"]
    check_same(result, tmp_path, "forms", files.forms, *given)


def test_forms_of_the_english_list(model: Model, tmp_path: Path) -> None:
    check_same(model.forms(), tmp_path, "forms")


def test_forms_of_treebanks(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.forms(treebank=[files.train, files.test], control=model.folder)
    given = ["--treebank", files.train, "--treebank", files.test, "--control", model.folder]
    check_same(result, tmp_path, "forms", *given)


# --- treebank ------------------------------------------------------------------------------------


def test_random_trees_do_not_depend_on_the_parts(model: Model, files: Files) -> None:
    alone = model.treebank(files.both, what="spans", draws=20)
    beside = model.treebank(files.both, what="spans+windows", draws=20)
    assert "crossing" in beside.main.arrays
    for name in ("f1", "recall", "other_f1"):
        assert np.array_equal(alone[name].values, beside[name].values, equal_nan=True)


def test_treebank(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.treebank(files.both, draws=20)
    check_same(result, tmp_path, "treebank", files.both, "--draws", "20")


def test_treebank_with_everything_beside(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.treebank(
        files.both, dev=files.test, control=model, windows=True, draws=20, plain=False,
        what="spans+words+shared+revision+heads", levels=["1", "2+3"], batch=3,
    )  # fmt: skip
    given = ["--dev", files.test, "--control", model.folder, "--windows", "--revision", "--heads"]
    given += ["--levels", "1/2+3", "--plain", "no", "--draws", "20", "--batch", "3"]
    check_same(result, tmp_path, "treebank", files.both, *given)
    assert list(result.sections) == [
        "treebank", "dev.treebank", "windows.treebank", "control.treebank",
        "control-windows.treebank",
    ]  # fmt: skip


def test_treebank_of_a_chosen_level(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.treebank(files.both, level="2", rows=11, draws=10, limit=4)
    given = ["--level", "2", "--rows", "11", "--draws", "10", "--limit", "4"]
    check_same(result, tmp_path, "treebank", files.both, *given)
    assert result.notes == (
        f"{files.both}: skipped 2 of 8 sentences, which have more than 11 rows",
    )


# --- probe ---------------------------------------------------------------------------------------


def test_probe(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.probe(files.train, test=files.test, tasks=["upos", "number"], batch=2)
    given = ["--test", files.test, "--tasks", "upos+number", "--batch", "2"]
    check_same(result, tmp_path, "probe", files.train, *given)


def test_probe_of_windows_beside_a_control(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.probe(files.train, test=files.both, window=2, ridge=0.5, control=model)
    given = ["--test", files.both, "--window", "2", "--ridge", "0.5", "--control", model.folder]
    check_same(result, tmp_path, "probe", files.train, *given)
    assert "4 of 8 test sentences have the text of a training sentence" in result.notes


def test_probe_of_spans(model: Model, files: Files, tmp_path: Path) -> None:
    result = model.probe(files.jsonl, test=files.jsonl_test, least=1)
    given = ["--test", files.jsonl_test, "--least", "1"]
    check_same(result, tmp_path, "probe", files.jsonl, *given)
    assert result.options["tasks"] == "feat:label+feat:kind"


# --- what is refused -----------------------------------------------------------------------------


def test_arguments_that_do_not_fit(model: Model, files: Files) -> None:
    with pytest.raises(InputError, match="needs a text, a treebank or files"):
        model.words()
    with pytest.raises(InputError, match="they need a treebank"):
        model.words(TEXT, rows=(1, 3))
    with pytest.raises(InputError, match="limit_tokens needs files"):
        model.words(TEXT, limit_tokens=5)
    with pytest.raises(InputError, match="no words"):
        model.words("   ")
    with pytest.raises(InputError, match="mutually exclusive"):
        model.forms(files.forms, treebank=files.train)
    with pytest.raises(InputError, match="is the same as the treebank"):
        model.treebank(files.both, dev=files.both)
    with pytest.raises(InputError, match="leave out level"):
        model.treebank(files.both, dev=files.test, level="2")
    with pytest.raises(InputError, match="test on other sentences"):
        model.probe(files.train, test=files.train)
    with pytest.raises(InputError, match="use two CoNLL-U files"):
        model.probe(files.train, test=files.jsonl)
    with pytest.raises(InputError, match="batch is 0; pass a whole number from 1 to 4096"):
        model.treebank(files.both, batch=0)
    odd: Any = [5]
    calls: list[Callable[[], Any]] = [
        lambda: model.words(TEXT, control=odd),
        lambda: model.words(odd),
        lambda: model.words(files=odd),
        lambda: model.words(treebank=files.both, rows=odd),
        lambda: model.words(treebank=files.both, limit=odd),
        lambda: model.forms(odd),
        lambda: model.forms(treebank=odd),
        lambda: model.treebank(odd),
        lambda: model.treebank(files.both, rows=odd),
        lambda: model.treebank(files.both, dev=odd),
        lambda: model.treebank(files.both, windows=odd),
        lambda: model.probe(files.train, test=odd),
        lambda: model.probe(files.train, test=files.test, window=odd),
        lambda: model.weights(token=odd, what=odd),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"5"):
            call()
    with pytest.raises(InputError, match=r"not one of all, letters"):
        model.words(TEXT, words="some")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none of its 2 windows"):
        model.treebank(files.both, windows=True, rows=12)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("walk\twalk", "1: 2 columns"),
        ("a\tb\tc\n\nwalk\t\tx", "3: column 2 is empty"),
        ("walk\twalk\tx\tmany", "1: the frequency 'many'"),
        ("walk\twalk\tx\t-1", "1: the frequency '-1'"),
        ("# only\n", "has no word forms"),
    ],
)
def test_lists_of_forms_that_are_wrong(model: Model, tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "forms.tsv"
    file.write_text(text)
    with pytest.raises(InputError, match=fault):
        model.forms(file)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "1: not JSON"),
        ('{"text": "a", "text": "b", "spans": []}', "1: not JSON: duplicate"),
        ('{"text": "a"}', "1: a line needs"),
        ('{"text": "ab", "spans": [{"start": 0, "end": 3, "label": "x"}]}', "1: a span needs 0 <="),
        ('{"text": "é", "spans": [{"start": 0, "end": 1, "label": "x"}]}', "inside a character"),
        ('{"text": "ab", "spans": [{"start": 0, "end": 1, "label": ""}]}', 'needs a "label"'),
        ('{"text": "ab", "spans": [{"start": 0, "end": 1, "label": "x", "task": "?"}]}', '"task"'),
        ('{"text": "ab", "spans": [{"start": true, "end": 1, "label": "x"}]}', "whole numbers"),
        ('{"text": "ab", "spans": []}', "has no spans"),
    ],
)
def test_span_files_that_are_wrong(model: Model, files: Files, line: str, fault: str) -> None:
    file = files.write("wrong.jsonl", line)
    with pytest.raises(InputError, match=fault):
        model.probe(file, test=files.jsonl_test)
