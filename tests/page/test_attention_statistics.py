"""Statistics of attention heads, and the split of one head's scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man smiled."
STATISTICS = ("entropy", "distance", "first", "self", "previous", "same_token")


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--plugin", "attention:reader=L3H7,row=10,key=3")


def test_the_map_has_every_statistic_of_every_head(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("attention_statistics", title="Statistics of heads")
    table = opened.table(figure)
    assert table.rows[9][0] == "L1H1"
    names = run.section("attention")["statistics"]
    assert set(STATISTICS) <= set(names)
    for array in ("means", "means_without_first"):
        for i, name in enumerate(names):
            column = f"{array.replace('_', ' ')}: {name.replace('_', ' ')}"
            expected = run.arrays[f"attention.{array}"][:, :, i].reshape(-1)
            np.testing.assert_allclose(table.column(column), expected, rtol=1e-5)
    detect = run.arrays["attention.tl_detect"][:, :, 0].reshape(-1)
    np.testing.assert_allclose(table.column("tl detect: induction"), detect, rtol=1e-5)


def test_a_click_in_the_map_chooses_the_head_of_the_curve(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("attention_statistics", title="Statistics of heads")
    figure.locator("rect.cell").nth(2 * 8 + 5).click(force=True)
    tip = opened.page.locator(".tip").inner_text().split("\n")
    mean = run.arrays["attention.means"][2, 5, 0]
    assert tip[0] == "L2H5" and float(tip[1].split()[-1]) == pytest.approx(mean, rel=1e-5)
    curve = opened.figure("attention_statistics", title="Statistics by row")
    table = opened.table(curve)
    expected = run.arrays["attention.statistics"][2, 5, :, 0]
    np.testing.assert_allclose(table.column("L2H5 entropy"), expected, rtol=1e-5)


def test_the_text_is_tinted_by_what_each_token_draws(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("attention_statistics", title="Attention drawn by each token")
    tokens = run.results["tokens"]
    assert figure.locator("rect.token").count() == len(tokens)
    table = opened.table(figure)
    attracts = run.arrays["attention.attracts"]
    np.testing.assert_allclose(table.column("L3H1"), attracts[3, 1], rtol=1e-5)
    mean = attracts.mean(axis=(0, 1))
    np.testing.assert_allclose(table.column("mean of all heads"), mean, rtol=1e-5)
    figure.locator("rect.token").nth(5).click(force=True)
    assert opened.page.locator(".chip[data-row='5']").get_attribute("aria-selected") == "true"


@pytest.mark.parametrize("side", ["key", "query"])
def test_the_bars_of_a_key_are_its_split_scores(
    run: Made, open_page: Callable[..., Opened], side: str
) -> None:
    opened = open_page(run)
    title = f"Bars of one key: the {side}'s writers, relative to the row's mean"
    figure = opened.figure("attention_scores", title=title)
    components = run.section("attention")[f"{side}_components"]
    array = run.arrays[f"attention.{side}_scores_relative"]
    for key in (3, 6):
        figure.locator("select").select_option(index=key)
        table = opened.table(figure)
        places = [components.index(row[0]) for row in table.rows]
        np.testing.assert_allclose(
            table.column("share"), array[places, :, key].sum(axis=1), rtol=1e-5
        )
        np.testing.assert_allclose(table.column("rotary"), array[places, 1, key], rtol=1e-5)
        figure.get_by_role("button", name="Table of ").click()


def test_the_maps_have_all_keys_and_pairs(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("attention_scores", title="Scores of L3H7 at row 10 by key")
    table = opened.table(figure)
    numbers = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    expected = run.arrays["attention.key_scores_relative"].sum(axis=1)
    np.testing.assert_allclose(numbers, expected, rtol=1e-5, atol=1e-8)
    title = "Score of L3H7 at row 10 and key 3: both sides"
    table = opened.table(opened.figure("attention_scores", title=title))
    numbers = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    pairs = run.arrays["attention.pair_scores"].sum(axis=2)
    np.testing.assert_allclose(numbers, pairs, rtol=1e-5, atol=1e-8)
