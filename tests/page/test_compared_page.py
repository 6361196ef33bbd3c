"""The difference of two runs in the figures of single runs: this run minus the run beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker
from playwright.sync_api import Locator

TEXT = "The old man gave the girl a red rose, and she"
ROW = 7
PLUGINS = (
    *("--plugin", "logits:level=head,rows=all", "--plugin", "ln:target_rows=all"),
    *("--plugin", "lens:rows=all", "--plugin", "mlp:target_rows=all", "--plugin", "sampling"),
)
Opener = Callable[..., Opened]


@pytest.fixture(scope="module")
def runs(made: Maker) -> tuple[Made, Made]:
    """A run with an edit and the same run without it."""
    arguments = ("analyze", "--text", TEXT, "--target", "next", *PLUGINS)
    return made(*arguments, "--ablate", "L0H3"), made(*arguments)


@pytest.fixture(scope="module")
def page(made: Maker, runs: tuple[Made, Made]) -> Made:
    """The page of the first run with the second beside it."""
    return made.beside(*runs)


def opened_difference(page: Made, open_page: Opener) -> Opened:
    opened = open_page(page)
    opened.choose_runs("difference")
    opened.page.locator(f"[data-row='{ROW}']").first.click()
    return opened


def frame_of(opened: Opened, name: str, title: str) -> Locator:
    found = opened.page.locator(f'[data-figure="{name}"] [data-pane="difference"] figure')
    figure = found.filter(has=opened.page.get_by_role("heading", name=title, exact=True))
    opened.show(figure)
    return figure


def difference(runs: tuple[Made, Made], key: str) -> np.ndarray[Any, Any]:
    first, second = (run.arrays[key].astype(np.float64) for run in runs)
    return first - second


def test_differences_of_shares_sum_to_that_of_the_logit(
    runs: tuple[Made, Made], page: Made, open_page: Opener
) -> None:
    opened = opened_difference(page, open_page)
    table = opened.table(frame_of(opened, "shares", "Largest shares"))
    labels = runs[1].section("logits")["components"]
    edited = runs[0].arrays["logits.contributions"][0, ROW].astype(np.float64)
    edit = edited[len(labels) :].sum()
    values = edited[: len(labels)] - runs[1].arrays["logits.contributions"][0, ROW]
    for row in table.rows[1:-2]:
        wanted = edit if row[0] == "edit" else values[labels.index(row[0])]
        assert float(row[1]) == pytest.approx(wanted, rel=1e-3, abs=2e-6)
    logit = difference(runs, "logits.values")[0, ROW]
    assert float(table.rows[-2][2]) == pytest.approx(logit, abs=1e-5)
    assert float(table.rows[-1][1]) == pytest.approx(logit, abs=1e-5)


def test_differences_of_the_lens(runs: tuple[Made, Made], page: Made, open_page: Opener) -> None:
    opened = opened_difference(page, open_page)
    figure = frame_of(opened, "lens", "Over the layers")
    table = opened.table(figure)
    wanted = difference(runs, "lens.entropy")[:, ROW]
    np.testing.assert_allclose(table.column("entropy (nats)"), wanted, atol=1e-5)
    figure.get_by_label("show").get_by_role("button", name="rank").click()
    figure.get_by_role("button", name="Table of ").click()
    assert np.isnan(opened.table(figure).column("rank of next")).all()
    frame_of(opened, "lens", "Layer by row").locator("rect.cell").nth(3).hover()
    lines = opened.page.locator(".tip").inner_text().split("\n")
    assert all(not line.split()[-1].replace(".", "").isdigit() for line in lines[1:6])


def test_differences_of_the_denominators(
    runs: tuple[Made, Made], page: Made, open_page: Opener
) -> None:
    opened = opened_difference(page, open_page)
    title = "Without each component: frozen against recomputed"
    table = opened.table(frame_of(opened, "denominators", title))
    labels = runs[1].section("ln")["components"]
    rows = [row for row in table.rows if row[0] in labels]
    assert len(rows) == len(labels)
    for place, key in enumerate(("frozen_ln", "recomputed_ln", "freeze_error"), start=1):
        first, second = (run.arrays[f"ln.{key}"][0, ROW] for run in runs)
        wanted = first[: len(labels)] - second
        shown = [float(row[place]) for row in rows]
        places = [labels.index(row[0]) for row in rows]
        np.testing.assert_allclose(shown, wanted[places], rtol=1e-3, atol=2e-6)


def test_lists_by_rank_have_no_difference(page: Made, open_page: Opener) -> None:
    opened = opened_difference(page, open_page)
    pane = opened.page.locator('[data-figure="activations"] [data-pane="difference"]')
    pane.get_by_text("Lists by rank are of other neurons").wait_for()
    assert pane.get_by_role("heading", name="Neurons with the largest shares").count() == 0
