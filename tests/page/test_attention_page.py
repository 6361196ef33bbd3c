"""Attention: the grid of heads, one head enlarged, and whom a token reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker
from playwright.sync_api import Locator, Position

ROUNDED = 6e-4  # the page may keep weights in half precision: 11 bits
WEIGHT = 0.011  # of a cut pattern: 8 bits on a logarithmic scale from 0.005 to 1
TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man smiled."


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--plugin", "attention:patterns=yes")


def pattern_of(run: Made) -> np.ndarray[Any, Any]:
    return run.arrays["attention.pattern"].astype(np.float64)


def enlarged(opened: Opened) -> Locator:
    return opened.figure("attention", title="One head")


def label_of(figure: Locator) -> str:
    return str(figure.locator("svg.attention-head > text").first.text_content())


def at_cell(figure: Locator, row: int, key: int, rows: int) -> Position:
    """The place of a cell in the picture, in pixels from its corner."""
    box = figure.locator("svg.attention-head image").bounding_box()
    assert box
    cell = box["width"] / rows
    return {"x": (key + 0.5) * cell, "y": (row + 0.5) * cell}


def test_every_head_is_in_the_grid_with_its_numbers(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    grid = opened.figure("attention", title="All heads")
    pattern = pattern_of(run)
    heads = [f"L{layer}H{head}" for layer in range(4) for head in range(8)]
    assert grid.locator("[data-head]").evaluate_all("e => e.map(x => x.dataset.head)") == heads
    table = opened.table(grid)
    assert [row[0] for row in table.rows] == heads
    first = pattern[:, :, :, 0].mean(axis=2).reshape(-1)
    np.testing.assert_allclose(
        table.column("mean weight of the first position"), first, rtol=ROUNDED
    )
    elsewhere = pattern[:, :, :, 1:].max(axis=(2, 3)).reshape(-1)
    np.testing.assert_allclose(table.column("largest elsewhere"), elsewhere, rtol=ROUNDED)


def test_a_click_enlarges_a_head_and_its_cells_tell_their_weights(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    pattern = pattern_of(run)
    tokens = [token["text"] for token in run.results["tokens"]]
    opened.figure("attention", title="All heads").locator("[data-head=L2H3]").click()
    figure = enlarged(opened)
    assert label_of(figure) == "L2H3"
    image = figure.locator("svg.attention-head image")
    image.hover(position=at_cell(figure, 9, 6, len(tokens)))
    tip = opened.page.locator(".tip").inner_text().split("\n")
    assert tip[:3] == ["L2H3", f"@9 '{tokens[9]}'", f"reads @6 '{tokens[6]}'"]
    assert float(tip[3].split()[-1]) == pytest.approx(pattern[2, 3, 9, 6], rel=ROUNDED)
    image.hover(position=at_cell(figure, 2, 6, len(tokens)))
    assert "a later position" in opened.page.locator(".tip").inner_text()


def test_a_locked_row_stays_and_is_the_table(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    pattern = pattern_of(run)
    opened.figure("attention", title="All heads").locator("[data-head=L3H5]").click()
    figure = enlarged(opened)
    n = pattern.shape[2]
    image = figure.locator("svg.attention-head image")
    image.click(position=at_cell(figure, 8, 3, n))
    assert "locked" in str(figure.locator("[data-row='8']").get_attribute("class"))
    image.hover(position=at_cell(figure, 4, 1, n))
    readout = figure.locator(".readout")
    assert readout.inner_text().startswith("@8 '")
    table = opened.table(figure)
    assert {row[0] for row in table.rows} == {"8"}
    keys = [int(key) for key in table.column("key")]
    np.testing.assert_allclose(table.column("L3H5"), pattern[3, 5, 8, keys], rtol=ROUNDED)
    opened.page.keyboard.press("Escape")
    image.hover(position=at_cell(figure, 4, 1, n))
    assert readout.inner_text().startswith("@4 '")


def test_arrow_keys_move_between_heads_and_cells(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    opened.figure("attention", title="All heads").locator("[data-head=L1H6]").click()
    for key, label in (("ArrowRight", "L1H7"), ("ArrowDown", "L2H7"), ("ArrowLeft", "L2H6")):
        opened.page.keyboard.press(key)
        assert opened.page.evaluate("document.activeElement.dataset.head") == label
        assert label_of(enlarged(opened)) == label
    svg = enlarged(opened).locator("svg.attention-head")
    svg.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        opened.page.keyboard.press(key)
    assert opened.page.locator(".tip").inner_text().split("\n")[1].startswith("@2 ")
    assert enlarged(opened).locator(".locked").get_attribute("data-row") == "2"


@pytest.mark.parametrize("mode", ["hidden", "divided out"])
def test_the_first_position_can_be_left_out(
    run: Made, open_page: Callable[..., Opened], mode: str
) -> None:
    opened = open_page(run)
    grid = opened.figure("attention", title="All heads")
    grid.locator("[data-head=L0H2]").click()
    before = grid.locator("image").get_attribute("href")
    grid.get_by_role("button", name=mode).click()
    assert grid.locator("image").get_attribute("href") != before
    pattern = pattern_of(run)[0, 2]
    rest = np.maximum(1 - pattern[:, :1], 1e-9) if mode == "divided out" else 1.0
    expected = pattern[:, 1:] / rest
    table = opened.table(enlarged(opened))
    places = [(int(row[0]), int(row[2]) - 1) for row in table.rows]
    assert min(key for _, key in places) == 0
    np.testing.assert_allclose(
        table.column("L0H2"), [expected[place] for place in places], rtol=ROUNDED
    )


@pytest.mark.parametrize("choice", ["largest of all heads", "mean of all heads"])
def test_all_heads_at_once(run: Made, open_page: Callable[..., Opened], choice: str) -> None:
    opened = open_page(run)
    enlarged(opened).locator("select").first.select_option(label=choice)
    pattern = pattern_of(run)
    both = pattern.max(axis=(0, 1)) if choice.startswith("largest") else pattern.mean(axis=(0, 1))
    table = opened.table(enlarged(opened))
    places = [(int(row[0]), int(row[2])) for row in table.rows]
    np.testing.assert_allclose(
        table.column(choice), [both[place] for place in places], rtol=ROUNDED
    )


def test_the_panel_says_whom_a_token_reads_and_who_reads_it(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    opened.page.locator(".chip[data-row='6']").click()
    mean = pattern_of(run).mean(axis=(0, 1))
    tables = opened.page.locator("table.attention-detail")
    for table, weights in ((tables.nth(0), mean[6, :7]), (tables.nth(1), mean[7:, 6])):
        shown = [float(text) for text in table.locator("tbody td:nth-child(2)").all_inner_texts()]
        expected = np.sort(weights)[::-1][: len(shown)]
        np.testing.assert_allclose(shown, expected, rtol=6e-3)


def test_captured_patterns_are_drawn_too(made: Maker, open_page: Callable[..., Opened]) -> None:
    run = made(
        "analyze", "--text", TEXT, "--capture", "blocks.*.attn.hook_pattern", "--plugin", "ln"
    )
    opened = open_page(run)
    grid = opened.figure("attention", section="captures", title="All heads")
    assert grid.locator("[data-head]").count() == 32
    table = opened.table(grid)
    first = [
        run.arrays[f"blocks.{layer}.attn.hook_pattern"][head, :, 0].astype(float).mean()
        for layer in range(4)
        for head in range(8)
    ]
    np.testing.assert_allclose(
        table.column("mean weight of the first position"), first, rtol=ROUNDED
    )


def test_narrow_and_dark(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run, width=390, dark=True)
    enlarged(opened)
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390


def test_a_long_text_says_which_weights_it_leaves_out(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    run = made("analyze", "--text", " ".join([TEXT] * 15), "--plugin", "attention:patterns=yes")
    opened = open_page(run)
    grid = opened.figure("attention", title="All heads")
    note = grid.locator(".note").inner_text()
    kept = int(note.split("at most ")[1].split(" ")[0])
    table = opened.table(enlarged(opened))
    layer, head = int(table.head[-1][1]), int(table.head[-1][3])
    pattern = pattern_of(run)[layer, head]
    places = [(int(row[0]), int(row[2])) for row in table.rows]
    assert 0 < max(np.bincount([row for row, _ in places])) <= kept < pattern.shape[1]
    shown = table.column(table.head[-1])
    np.testing.assert_allclose(shown, [pattern[place] for place in places], rtol=WEIGHT)
    for row in range(20):
        own = [weight for (at, _), weight in zip(places, shown) if at == row]
        if len(own) == kept:
            assert min(own) >= np.sort(pattern[row])[::-1][kept - 1] * (1 - WEIGHT)


def test_two_runs_show_the_same_head_and_their_difference(
    run: Made, made: Maker, open_page: Callable[..., Opened]
) -> None:
    options = ("--text", TEXT, "--plugin", "attention:patterns=yes")
    ablated = made("analyze", *options, "--ablate", "L1H4")
    opened = open_page(made.beside(ablated, run))
    opened.figure("attention", section="attention", title="All heads")
    panes = opened.page.locator("[data-figure=attention] .pane")
    panes.nth(0).locator("[data-head=L2H6]").click()
    heads = opened.page.locator("[data-figure=attention] svg.attention-head:visible > text")
    assert set(heads.all_text_contents()) == {"L2H6"}
    opened.page.locator("select").first.select_option(label="difference")
    pane = opened.page.locator("[data-figure=attention] .pane[data-pane=difference]")
    figure = pane.locator("figure").nth(1)
    opened.show(figure)
    table = opened.table(figure)
    difference = pattern_of(ablated)[2, 6] - pattern_of(run)[2, 6]
    places = [(int(row[0]), int(row[2])) for row in table.rows]
    np.testing.assert_allclose(
        table.column("L2H6"), [difference[place] for place in places], atol=1e-3
    )
    assert min(table.column("L2H6")) < 0 < max(table.column("L2H6"))


def test_a_head_is_saved_with_its_picture_and_its_tokens(
    run: Made, open_page: Callable[..., Opened], tmp_path: Path
) -> None:
    opened = open_page(run)
    path = opened.save(enlarged(opened), "SVG", tmp_path)
    saved = path.read_text(encoding="utf-8")
    assert "data:image/png;base64," in saved
    assert "·little" in saved


def test_texts_of_tokens_are_texts_whatever_they_hold(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    text = "<b>old</b>\u202e man\n<script>alert(1)</script>"
    options = ("--plugin", "attention:patterns=yes", "--plugin", "spans")
    opened = open_page(made("analyze", "--text", text, *options))
    figure = enlarged(opened)
    shown = figure.locator(".attention-text").inner_text()
    assert "<b>old</b>" in shown and "<script>alert(1)</script>" in shown
    assert "\u202e" not in shown
    boxes = opened.figure("spans", title="Trees of spans")
    boxes.locator("svg.unit-chart").focus()
    opened.page.keyboard.press("ArrowDown")
    assert "<b>old" in opened.page.locator(".tip").inner_text()
    assert opened.page.locator("main b, .tip b").count() == 0
