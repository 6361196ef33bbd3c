"""Words, forms, probes and scores of trees: curves by level with their marks, lists and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from opened_page import Opened
from page_files import ROOT, Made, Maker

SENTENCES = "tests/golden/structure/own.conllu"


def close(numbers: list[float], expected: np.ndarray) -> None:
    np.testing.assert_allclose(numbers, expected.reshape(-1)[:1000], rtol=1e-5)


@pytest.fixture(scope="module")
def probed(made: Maker, tmp_path_factory: pytest.TempPathFactory) -> Made:
    blocks = (ROOT / SENTENCES).read_text().strip().split("\n\n")
    folder: Path = tmp_path_factory.mktemp("sentences")
    for name, part in (("train", blocks[::2]), ("test", blocks[1::2])):
        (folder / f"{name}.conllu").write_text("\n\n".join(part) + "\n\n")
    return made(
        "probe",
        str(folder / "train.conllu"),
        "--test",
        str(folder / "test.conllu"),
        "--tasks",
        "upos+number",
        "--least",
        "2",
    )


def test_probes_by_task_and_level(probed: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(probed)
    figure = opened.figure("probe", title="What each level knows")
    close(opened.table(figure).column("accuracy"), probed.arrays["probe.accuracy"])
    majority = probed.arrays["probe.majority"]
    marks = figure.locator("svg text.level").all_text_contents()
    np.testing.assert_allclose([float(text.split()[-1]) for text in marks], majority, rtol=1e-2)
    recall = opened.figure("probe", title="Right guesses of each class")
    close(opened.table(recall).column("recall"), probed.arrays["probe.recall"])
    recall.get_by_role("button", name="number").click()
    shown = recall.locator("svg.heatmap .rows text").all_text_contents()
    assert shown and all(f"number={name}" in probed.section("probe")["classes"] for name in shown)


def test_forms(made: Maker, open_page: Callable[..., Opened]) -> None:
    run = made("forms")
    opened = open_page(run)
    pairs = opened.table(opened.figure("forms", title="The nearest and the farthest pairs"))
    cosine = run.arrays["forms.cosine"]
    order = np.argsort(-cosine[-1], kind="stable")
    np.testing.assert_allclose(pairs.column(pairs.head[-1]), cosine[-1][order][:1000], rtol=1e-3)
    forms = run.section("forms")["forms"]
    first, second = run.arrays["forms.pair"][order[0]]
    assert pairs.rows[0][0] == f"{forms[first]} – {forms[second]}"
    counts = opened.table(opened.figure("forms", title="Pairs of each class"))
    close(counts.column("pairs_counted"), run.arrays["forms.pairs_counted"])
    curves = opened.table(opened.figure("curves", section="forms"))
    close(curves.column("rank_offset"), run.arrays["forms.rank_offset"])


def test_words(made: Maker, open_page: Callable[..., Opened]) -> None:
    run = made("words", "--treebank", SENTENCES)
    opened = open_page(run)
    figure = opened.figure("words", section="words", title="Are words brackets of a level's tree?")
    close(opened.table(figure).column("brackets"), run.arrays["words.brackets"])
    marks = figure.locator("svg text.level").all_text_contents()
    random = run.arrays["words.random_tree"]
    np.testing.assert_allclose(
        [float(text.split()[-1]) for text in marks], random[np.isfinite(random)], rtol=1e-2
    )
    closure = opened.figure(
        "words", section="words", title="Does closure tell where a word goes on?"
    )
    close(opened.table(closure).column("auroc"), run.arrays["words.auroc"])
    listed = opened.figure(
        "words", section="words", title="Pieces of words that later rows go on reading"
    )
    table = opened.table(listed)
    section = run.section("words")
    expected = [text for level in section["levels"] for text in section[f"read_on.{level}"]]
    assert [row[1] for row in table.rows] == expected


def test_scores_of_trees(made: Maker, open_page: Callable[..., Opened]) -> None:
    run = made("treebank", SENTENCES)
    opened = open_page(run)
    figure = opened.figure("scores", title="Scores of the trees")
    table = opened.table(figure)
    for key in ("f1", "recall"):
        close(table.column(key), run.arrays[f"treebank.{key}"])
    figure.get_by_role("combobox", name="Order").select_option(label="by f1")
    names = figure.locator("svg.bars text.name").all_text_contents()
    best = run.section("treebank")["trees"][int(np.nanargmax(run.arrays["treebank.f1"]))]
    assert names[0] == best
    bounds = opened.table(opened.figure("scores", title="over punctuation"))
    close(bounds.column("over_punctuation"), run.arrays["treebank.over_punctuation"])
