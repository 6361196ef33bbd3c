"""Weights: spectra, copying, composition, and lists of tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    what = "spectra,copying,composition,tokens,heads"
    return made("weights", "--token", " king", "--what", what)


def test_spectra_are_drawn_and_listed(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("spectra", title="Spectra")
    table = opened.table(figure)
    of_first = [float(row[3]) for row in table.rows if row[0] == "W_E"]
    np.testing.assert_allclose(of_first, run.arrays["weights.spectrum_W_E"], rtol=1e-3)
    titles = figure.locator("h5").all_text_contents()
    assert [title.split(",")[0] for title in titles] == [
        "W_E",
        "W_U",
        "W_QK",
        "W_OV",
        "W_in",
        "W_out",
    ]
    figure.get_by_role("button", name="linear").click()
    assert figure.locator("svg path.line").count() == 1 + 1 + 8 + 8 + 4 + 4


def test_copying_scores_and_the_eigenvalues_of_a_head(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("copying")
    copying = run.arrays["weights.copying"]
    table = opened.table(figure)
    np.testing.assert_allclose(table.column("copying"), copying.reshape(-1), rtol=1e-3)
    layer, head = np.unravel_index(np.argmax(copying), copying.shape)
    assert figure.locator("h5").last.inner_text() == f"eigenvalues of L{layer}H{head}"
    figure.locator("svg.heatmap rect.cell").nth(2 * 8 + 5).click(force=True)
    assert figure.locator("h5").last.inner_text() == "eigenvalues of L2H5"
    assert figure.locator("circle.point").count() == run.arrays["weights.ov_eigenvalues"].shape[2]


def test_composition_ranks_its_pairs(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("composition")
    figure.get_by_role("combobox", name="Through").select_option(index=1)
    table = opened.table(figure)
    scores = run.arrays["weights.k_composition"]
    kept = np.sort(scores[np.isfinite(scores)])[::-1]
    np.testing.assert_allclose(table.column("k_composition"), kept[:1000], rtol=2e-3)
    writer, reader = np.unravel_index(np.nanargmax(scores.reshape(32, 32)), (32, 32))
    assert table.rows[0][:2] == [f"L{i // 8}H{i % 8}" for i in (writer, reader)]


def test_tokens_of_a_head_can_be_chosen(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("vocabulary", title="What a head reads and writes, as tokens")
    figure.get_by_role("combobox", name="layer").select_option(label="2")
    figure.get_by_role("combobox", name="head").select_option(label="6")
    table = opened.table(figure)
    vocabulary = run.results["vocabulary"]
    for key in ("qk_query", "qk_key", "ov_read", "ov_write"):
        rows = [row for row in table.rows if row[1] == key]
        ids = run.arrays[f"weights.{key}_tokens"][2, 6, 0]
        assert [row[2].replace("·", " ").replace("↵", "\n") for row in rows] == [
            vocabulary[str(i)] for i in ids
        ]
        cosines = run.arrays[f"weights.{key}_cosines"][2, 6, 0]
        np.testing.assert_allclose([float(row[3]) for row in rows], cosines, rtol=2e-3)


def test_nearest_tokens(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("vocabulary", title="Nearest tokens"))
    shown = [float(row[3]) for row in table.rows if row[1] == "embed"]
    np.testing.assert_allclose(shown, run.arrays["weights.embed_cosine"][0], rtol=1e-3)
