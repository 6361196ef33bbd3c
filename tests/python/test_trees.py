"""Trees of spans as objects, and as text, XML and CoNLL-U."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest
import pythiascope
from program import GRIM, ROOT
from pythiascope import Model
from pythiascope.results.trees import Bracket, SpansResult, Unit

QUOTED = 'He said: "Go (now) & run" twice.'


@pytest.fixture(scope="module")
def model() -> Model:
    return pythiascope.Model(threads=1)


@pytest.fixture(scope="module")
def result(model: Model) -> SpansResult:
    return model.spans(
        GRIM, levels=[2, "1+2"], units="words", heads="causal", links="causal", prefixes=True
    )


def test_brackets_nest(result: SpansResult) -> None:
    tree = result.tree("1+2")
    assert tree.text == GRIM
    assert len(tree.brackets) == len(tree.leaves) - 1
    assert tree.root is tree.brackets[0]
    for bracket in tree.brackets:
        left, right = bracket.left, bracket.right
        ends = [(p.first, p.last) if isinstance(p, Bracket) else (p.number, p.number)
                for p in (left, right)]  # fmt: skip
        assert (ends[0][0], ends[1][1]) == (bracket.first, bracket.last)
        assert ends[0][1] + 1 == ends[1][0]
        assert bracket.split == ends[0][1]
        for part in (left, right):
            if isinstance(part, Bracket):
                assert part.parent is bracket
                assert part.depth == bracket.depth + 1


def test_places_are_those_of_the_text(result: SpansResult) -> None:
    raw = GRIM.encode()
    for bracket in result.tree(2).brackets:
        begin, end = bracket.bytes
        assert raw[begin:end].decode() == bracket.text
        assert bracket.tokens == (bracket.leaves[0].first, bracket.leaves[-1].last)
    assert [u.text.strip() for u in result.tree(2).leaves][:3] == ["The", "old", "man"]


def test_figures_are_those_of_the_arrays(result: SpansResult) -> None:
    level = result.levels.index("2")
    for i, bracket in enumerate(result.tree(2).brackets):
        assert bracket.strength == result["strength"].values[level, i]
        head = result["head"].values[level, i]
        assert (bracket.head.last if bracket.head else -1) == head
        for name in ("necessity", "sufficiency", "lag"):
            assert bracket.figure(name) == pytest.approx(
                float(result[name].values[level, i]), nan_ok=True
            )
        assert math.isnan(bracket.figure("cosine"))


def test_links(result: SpansResult) -> None:
    links = result.tree(2).links
    n = len(result.tree(2).leaves)
    assert len(links) == n * (n - 1) // 2
    assert [link.kl for link in links] == result["kl"].values.tolist()
    strongest = max(links, key=lambda link: link.kl)
    assert (strongest.source.text, strongest.target.text) == (" man", " gave")
    assert all(math.isnan(link.frozen_kl) for link in links)


def test_a_level_is_asked_for(model: Model, result: SpansResult) -> None:
    with pytest.raises(pythiascope.InputError, match="several levels"):
        result.tree()
    with pytest.raises(pythiascope.InputError, match="no level 7"):
        result.tree(7)
    with pytest.raises(pythiascope.InputError, match="no sequence 1"):
        result.tree(2, sequence=1)
    assert list(result.trees) == ["2", "1+2"]
    assert model.spans("Hello there", levels=1).tree().level == "1"


def test_notation_of_a_level(result: SpansResult) -> None:
    whole = result.files["spans.txt"].decode()
    for name, tree in result.trees.items():
        lines = str(tree).splitlines()
        assert all(line in whole.splitlines() for line in lines if line)
        kinds = {line.split()[0] + " " + line.split()[1] for line in lines if line[:5] == "level"}
        assert kinds == {f"level {name}"}


def test_a_batch(model: Model) -> None:
    texts = ["The old man sat by the sea.", "A dog", "He lit the lamp and looked at her."]
    batch = model.spans(texts, levels=[1, 2], links="causal", distance=2)
    for i, text in enumerate(texts):
        alone = model.spans(text, levels=[1, 2], links="causal", distance=2)
        tree, own = batch.tree(2, i), alone.tree(2)
        assert tree.text == text
        assert [b.tokens for b in tree.brackets] == [b.tokens for b in own.brackets]
        assert [b.strength for b in tree.brackets] == [b.strength for b in own.brackets]
        assert [link.kl for link in tree.links] == [link.kl for link in own.links]
        assert str(tree) == str(own)
        assert tree.to_xml().splitlines()[1:] == own.to_xml().splitlines()[1:]


def test_one_unit(model: Model) -> None:
    tree = model.spans("the", levels=2).tree()
    assert tree.root is None
    assert (tree.brackets, tree.bracketed(), tree.governors()) == ([], "(X the)", [-1])
    assert tree.to_conllu() == "# text = the\n1\tthe\t_\t_\t_\t_\t0\troot\t_\t_\n\n"


# --- XML -----------------------------------------------------------------------------------------


def valid(xml: str, tmp_path: Path) -> bool:
    file = tmp_path / "tree.xml"
    file.write_text(xml)
    schema = ROOT / "docs" / "structure.rng"
    command = ["xmllint", "--noout", "--huge", "--relaxng", str(schema), str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_xml_of_a_level_is_cut_out_of_the_whole(result: SpansResult) -> None:
    whole = result.to_xml()
    for tree in result.trees.values():
        level = (
            tree.to_xml().partition("units=")[2].partition("\n")[2].removesuffix("</discourse>\n")
        )
        assert level in whole
        assert f' <level name="{tree.level}" ' in level


@pytest.mark.skipif(shutil.which("xmllint") is None, reason="xmllint is not installed")
def test_xml_is_valid(model: Model, result: SpansResult, tmp_path: Path) -> None:
    assert valid(result.to_xml(), tmp_path)
    assert valid(result.tree(2).to_xml(), tmp_path)
    batch = model.spans([QUOTED, "A dog"], levels=2)
    assert valid(batch.to_xml(), tmp_path)
    assert valid(batch.tree(2, 1).to_xml(), tmp_path)
    assert not valid(batch.to_xml().replace("split", "cut"), tmp_path)


# --- brackets and NLTK ---------------------------------------------------------------------------


def test_bracketed(model: Model) -> None:
    tree = model.spans("The old man sat.", levels=2).tree()
    assert tree.bracketed() == "(X (X The old) (X man (X sat .)))"
    escaped = model.spans(QUOTED, levels=2, units="words").tree().bracketed()
    assert "-LRB-" in escaped
    assert escaped.count("(") == escaped.count(")")


def test_nltk(result: SpansResult) -> None:
    nltk = pytest.importorskip("nltk")
    for tree in result.trees.values():
        assert tree.to_nltk() == nltk.Tree.fromstring(tree.bracketed())


def test_nltk_is_asked_for(result: SpansResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nltk", None)
    with pytest.raises(ImportError, match="to_nltk needs the package nltk"):
        result.tree(2).to_nltk()


# --- CoNLL-U -------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["tokens", "words"])
@pytest.mark.parametrize("text", [GRIM, QUOTED, "He  left.\n\nShe stayed. "])
def test_conllu_is_read_again(model: Model, tmp_path: Path, text: str, units: str) -> None:
    tree = model.spans(text, levels=2, units=units, heads="reads").tree()  # type: ignore[arg-type]
    sentence = tree.to_conllu("s1")
    file = tmp_path / "out.conllu"
    file.write_text(sentence)
    line = next(x for x in sentence.splitlines() if x.startswith("# text = "))
    again = model.spans(line.removeprefix("# text = "), levels=2, labels=file)
    assert again.options["labels"] == str(file)
    roots = [row.split("\t")[6] for row in sentence.splitlines() if row and row[0] != "#"]
    assert roots.count("0") == 1


def test_governors_follow_heads(result: SpansResult) -> None:
    tree = result.tree(2)
    governors = tree.governors()
    for bracket in tree.brackets:
        inside = range(bracket.first, bracket.last + 1)
        tops = [i for i in inside if governors[i] not in inside]
        assert len(tops) == 1  # each bracket has one word that is governed from outside
        if bracket.head is not None:
            assert (tops[0] <= bracket.split) == (bracket.head.number <= bracket.split)


def test_a_part_of_a_character_is_no_word(model: Model) -> None:
    tree = model.spans("日本", levels=2).tree()
    with pytest.raises(pythiascope.InputError, match="part of a character"):
        tree.to_conllu()


@pytest.mark.parametrize("sent_id", ["a\nb", "a\r", "\u2028a"])
def test_a_sentence_id_is_one_line(result: SpansResult, sent_id: str) -> None:
    with pytest.raises(pythiascope.InputError, match="has a line break; pass one line"):
        result.tree(2).to_conllu(sent_id)


def test_bytes_of_a_batch_are_those_of_its_texts_joined(model: Model) -> None:
    texts = ["The sun rose.", "The naïve wolf ran"]
    whole = "".join(texts).encode()
    found = model.spans(texts, levels=2)
    for sequence, text in enumerate(texts):
        root = found.tree(2, sequence).root
        assert root is not None
        assert whole[slice(*root.bytes)].decode() == root.text == text


def test_labels(model: Model, tmp_path: Path) -> None:
    rows = [
        "The\tthe\tDET\t_\tDefinite=Def\t3\tdet",
        "old\told\tADJ\t_\t_\t3\tamod",
        "man\tman\tNOUN\t_\tNumber=Sing\t4\tnsubj",
        "gave\tgive\tVERB\t_\tTense=Past\t0\troot",
        "the\tthe\tDET\t_\tDefinite=Def\t6\tdet",
        "girl\tgirl\tNOUN\t_\tNumber=Sing\t4\tiobj",
        "apples\tapple\tNOUN\t_\tNumber=Plur\t4\tobj",
    ]
    text = "The old man gave the girl apples"
    file = tmp_path / "labels.conllu"
    lines = [f"{i}\t{row}\t_\t_" for i, row in enumerate(rows, 1)]
    file.write_text("\n".join([f"# text = {text}", *lines]) + "\n\n")
    tree = model.spans(text, levels=2, units="words", power=0.75, labels=file).tree()
    man = tree.find("The old man")
    assert man is not None
    assert (man.label, man.function, man.operators) == ("NOUN", "nsubj", "Definite=Def|Number=Sing")
    assert tree.root is not None
    assert tree.root.label == "VERB"
    assert tree.bracketed().startswith("(VERB (NOUN (X The old) man)")
    old = tree.find("The old")
    assert old is not None
    assert old.label is None


def test_a_unit_prints_as_its_text(result: SpansResult) -> None:
    unit = result.tree(2).leaves[1]
    assert isinstance(unit, Unit)
    assert str(unit) == unit.text == " old"
