"""Shares of a logit: bars with their sum, maps by head and by token, the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opened_page import Opened, Table
from page_files import Made, Maker
from playwright.sync_api import Locator

TEXT = "The old man gave the girl a red rose, and she"
LEVELS = {"layer": ".layer", "head": ".head", "source": ".source", "neuron": ""}


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made(
        *("analyze", "--text", TEXT, "--target", "next", "--contrast", " he", " she"),
        *("--plugin", "logits:level=layer+head+source+neuron,rows=all"),
    )


@pytest.fixture(scope="module")
def long(made: Maker) -> Made:
    """Too many neurons for the page to have them all."""
    return made(
        *("analyze", "--text", " ".join([TEXT] * 8), "--target", "next"),
        *("--plugin", "logits:level=neuron,rows=all"),
    )


@pytest.fixture(scope="module")
def plain(made: Maker) -> Made:
    """One level, one row, one target."""
    return made("analyze", "--text", TEXT, "--target", " king", "--plugin", "logits:level=neuron")


def shares_of(run: Made, level: str) -> tuple[np.ndarray[Any, Any], list[str]]:
    suffix = LEVELS[level]
    labels = run.section("logits")[f"components{suffix}"]
    return run.arrays[f"logits.contributions{suffix}"].astype(np.float64), labels


def check_bars(table: Table, run: Made, level: str) -> None:
    """The lines of the figure are the largest shares of row 9, and add up to the logit."""
    shares, labels = shares_of(run, level)
    here = shares[0, 9]
    rounded = 5e-4 if level in ("source", "neuron") else 1e-5  # 16 bits
    names = [row[0] for row in table.rows]
    places = [labels.index(name) for name in names[1:-1] if name in labels]
    assert (names[0], names[-1]) == ("constant", "logit")
    assert len(places) == min(12, np.count_nonzero(here))
    left = len(labels) - len(places)
    assert names[len(places) + 1 : -1] == ([f"{left} other{'s' * (left > 1)}"] if left else [])
    shown = np.array(table.column("share")[1 : len(places) + 1])
    np.testing.assert_allclose(shown, here[places], rtol=rounded)
    assert (np.diff(np.abs(shown)) <= 0).all()
    assert np.delete(np.abs(here), places).max(initial=0) <= np.abs(shown[-1]) * (1 + rounded)
    logit = float(run.arrays["logits.values"][0, 9])
    assert float(table.rows[-1][1]) == pytest.approx(logit, rel=1e-5)
    off = rounded * (1 + np.abs(here).sum())
    assert float(table.rows[-2][2]) == pytest.approx(logit, abs=off)
    parts = [float(row[1]) for row in table.rows[:-1]]
    assert sum(parts) == pytest.approx(logit, abs=off)


def largest(opened: Opened) -> Locator:
    return opened.figure("shares", "logits", "Largest shares")


@pytest.mark.parametrize("level", list(LEVELS))
def test_bars_and_their_sum_are_the_shares_and_end_at_the_logit(
    level: str, run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = largest(opened)
    figure.get_by_role("button", name=level, exact=True).click()
    opened.choose_row(9)
    check_bars(opened.table(figure), run, level)


def test_shares_that_the_page_lacks_are_among_the_others(
    long: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(long)
    figure = largest(opened)
    assert "largest" in opened.page.locator("body").inner_text()
    opened.choose_row(9)
    check_bars(opened.table(figure), long, "neuron")
    layers = opened.figure("shares", title="By layer and head")
    layers.get_by_text("The page keeps the largest shares").wait_for()
    shares, labels = shares_of(long, "neuron")
    table = opened.table(layers)
    cells = [row[1 + head] for row in table.rows[:4] for head in range(8)]
    wanted = [shares[0, 9, labels.index(f"L{n // 8}H{n % 8}")] for n in range(32)]
    assert "-" in cells
    for cell, share in zip(cells, wanted, strict=True):
        assert cell == "-" or float(cell) == pytest.approx(share, rel=5e-4)


def test_the_line_of_the_sum_ends_at_the_dashed_logit(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    figure = largest(open_page(run))
    path = str(figure.locator("g.column path").get_attribute("d"))
    goal = float(str(figure.locator("line.goal").get_attribute("x1")))
    end = float(path.replace("M", "L").split("L")[-1].split(" ")[1].split(",")[0])
    assert end == pytest.approx(goal, abs=0.05)


@pytest.mark.parametrize("late", [False, True])
def test_the_sentence_names_the_error_and_its_bound(
    late: bool, run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run, late=late)
    figure = largest(opened)
    opened.choose_row(9)
    sentence = figure.locator(".completeness").inner_text()
    logit = float(run.arrays["logits.values"][0, 9])
    assert f"the logit is {float(f'{logit:.6g}'):.6g}" in sentence
    error = float(run.arrays["logits.completeness_error.head"][0, 9])
    relative = error / (1 + float(run.arrays["logits.sum_abs_share.head"][0, 9]))
    assert f"{relative:.1e}".replace("e-0", "e-") in sentence
    assert "the bound 1e-5" in sentence
    assert "NOT COMPLETE" not in sentence


def test_targets_kinds_and_counts_change_the_bars(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = largest(opened)
    opened.choose_row(9)
    shares, labels = shares_of(run, "head")
    figure.get_by_role("button", name="head", exact=True).click()
    opened.page.get_by_role("button", name="' he' - ' she'").click()
    figure.get_by_role("button", name="heads", exact=True).click()
    figure.get_by_role("button", name="30", exact=True).click()
    table = opened.table(figure)
    heads = [c for c, label in enumerate(labels) if "H" in label]
    heads.sort(key=lambda c: (-abs(shares[1, 9, c]), c))
    assert [row[0] for row in table.rows[1:31]] == [labels[c] for c in heads[:30]]
    np.testing.assert_allclose(table.column("share")[1:31], shares[1, 9, heads[:30]], rtol=1e-5)


def test_a_row_without_the_target_says_so(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = largest(opened)
    opened.choose_row(len(run.results["tokens"]) - 1)
    figure.get_by_text("This row has no such target.").wait_for()


def test_layers_by_head_are_the_shares(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("shares", title="By layer and head")
    opened.choose_row(9)
    opened.show(figure)
    table = opened.table(figure)
    shares, labels = shares_of(run, "head")
    for line in table.rows[:4]:
        layer = line[0].split()[1]
        for head in range(8):
            share = shares[0, 9, labels.index(f"L{layer}H{head}")]
            assert float(line[1 + head]) == pytest.approx(share, rel=1e-5)
        assert float(line[-1]) == pytest.approx(
            shares[0, 9, labels.index(f"{layer}_mlp_out")], rel=1e-5
        )
    assert figure.locator("rect.cell").count() == 4 * 10


def test_sources_sum_over_heads_by_the_token_read(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("shares", title="By the token read")
    opened.choose_row(9)
    opened.show(figure)
    table = opened.table(figure)
    shares, labels = shares_of(run, "source")
    for position in range(10):
        read = [c for c, label in enumerate(labels) if label.endswith(f"@{position}")]
        total = shares[0, 9, read].sum()
        off = 5e-4 * np.abs(shares[0, 9, read]).sum()  # 16 bits
        assert table.column("all heads")[position] == pytest.approx(total, abs=off)
    assert len(table.rows) == 10
    one = table.column("L2H3")[4]
    assert one == pytest.approx(shares[0, 9, labels.index("L2H3@4")], rel=5e-4)
    assert figure.locator("svg.tinted rect.token").count() == 10


def test_pointing_at_a_cell_over_the_rows_selects_its_token(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("shares", title="Over the rows")
    cells = figure.locator("rect.cell")
    rows = len(run.results["tokens"])
    cells.nth(5).hover()
    tip = opened.page.locator(".tip").inner_text()
    shares, labels = shares_of(run, "layer")
    assert tip.startswith(f"{labels[-1]} at @5")
    assert float(tip.split()[-1]) == pytest.approx(shares[0, 5, -1], rel=1e-5)
    assert cells.count() == rows * len(labels)
    largest(opened).get_by_text("@5 ", exact=False).first.wait_for()


def test_the_panel_lists_the_largest_shares(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator("[data-row='9']").first.hover()
    panel = opened.page.locator(".token-panel-body")
    panel.get_by_text("(next)").wait_for()
    shares, labels = shares_of(run, "head")
    first = int(np.argmax(np.abs(shares[0, 9])))
    line = panel.locator("table.panel tr").first.inner_text().split()
    assert line[0] == labels[first]
    assert float(line[1]) == pytest.approx(shares[0, 9, first], rel=5e-3)


def test_one_level_gets_its_sums_by_layer(plain: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(plain)
    figure = largest(opened)
    figure.get_by_role("button", name="layer", exact=True).click()
    table = opened.table(figure)
    shares = plain.arrays["logits.contributions"][0, 0].astype(np.float64)
    labels = plain.section("logits")["components"]
    mlp = sum(
        s for s, label in zip(shares, labels) if label.startswith("L2N") or label == "2_mlp_bias"
    )
    line = next(row for row in table.rows if row[0] == "MLP 2")
    assert float(line[1]) == pytest.approx(mlp, rel=1e-4)
    assert float(table.rows[-2][2]) == pytest.approx(float(table.rows[-1][1]), abs=1e-4)
