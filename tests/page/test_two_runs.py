"""Two runs in one page: this run, the run beside it, and their difference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import TEXT, Made, Maker
from playwright.sync_api import expect

Opener = Callable[..., Opened]
PLUGINS = ("--plugin", "attention", "--plugin", "logits", "--plugin", "lens:rows=all")
GRID = '[data-section="attention"] [data-figure="grid"]'


@pytest.fixture(scope="module")
def runs(made: Maker) -> tuple[Made, Made]:
    """A run with an edit and the same run without it."""
    edited = made("analyze", "--text", TEXT, "--ablate", "L0H3", *PLUGINS)
    return edited, made("analyze", "--text", TEXT, *PLUGINS)


@pytest.fixture(scope="module")
def both(made: Maker, runs: tuple[Made, Made]) -> Made:
    """The page of the two."""
    return made.beside(*runs)


def show(opened: Opened, mode: str) -> None:
    """Chooses what the switch at the top offers."""
    opened.page.get_by_label("Runs").select_option(mode)


def panes(opened: Opened) -> list[str]:
    """The panes of the first figure that are seen."""
    seen = opened.page.locator(GRID).first.locator(".pane:visible")
    return [str(name) for name in seen.evaluate_all("all => all.map(p => p.dataset.pane)")]


def test_the_switch_shows_both_or_one(both: Made, open_page: Opener) -> None:
    opened = open_page(both)
    assert panes(opened) == ["this", "beside"]
    for mode in ("this", "beside", "difference"):
        show(opened, mode)
        assert panes(opened) == [mode]
    show(opened, "side")
    assert panes(opened) == ["this", "beside"]


@pytest.mark.parametrize("pane", ["this", "beside", "difference"])
def test_each_pane_has_its_numbers(
    pane: str, both: Made, runs: tuple[Made, Made], open_page: Opener
) -> None:
    opened = open_page(both)
    show(opened, pane)
    figures = opened.page.locator(GRID).locator(f'[data-pane="{pane}"] figure')
    figure = figures.filter(has=opened.page.get_by_role("heading", name="means and ")).first
    opened.show(figure)
    shown = opened.table(figure)
    this, beside = (run.arrays["attention.means"].astype(float) for run in runs)
    expected = {"this": this, "beside": beside, "difference": this - beside}[pane]
    place = figure.locator("select").evaluate("select => select.selectedIndex")
    np.testing.assert_allclose(
        shown.column("means"), expected[:, :, place].reshape(-1), rtol=2e-3, atol=1e-6
    )


def test_panes_share_their_controls(both: Made, open_page: Opener) -> None:
    opened = open_page(both)
    grids = opened.page.locator(GRID).locator(".pane:visible figure")
    first = grids.filter(has=opened.page.locator("select")).first
    other = opened.page.locator(GRID).locator('[data-pane="beside"] figure')
    second = other.filter(has=opened.page.locator("select")).first
    opened.show(first)
    first.locator("select").first.select_option(index=1)
    chosen = first.locator("select").first.input_value()
    expect(second.locator("select").first).to_have_value(chosen)


@pytest.mark.parametrize("mode", ["side", "difference"])
def test_every_figure_can_show_every_pane(mode: str, both: Made, open_page: Opener) -> None:
    opened = open_page(both)
    show(opened, mode)
    opened.page.evaluate("document.dispatchEvent(new Event('drawall'))")
    areas = opened.page.locator(".pane:visible .area")
    assert areas.count() >= 8
    assert opened.page.locator(".pane:visible .area[data-drawn]").count() == areas.count()
    assert opened.page.locator(".failure").count() == 0


def test_different_tokens_are_announced(made: Maker, open_page: Opener) -> None:
    one = made("analyze", "--text", TEXT, "--plugin", "ln")
    other = made("analyze", "--text", TEXT.replace("girl", "boy"), "--plugin", "ln")
    line = open_page(made.beside(one, other)).page.locator(".labels")
    expect(line).to_contain_text("their tokens differ")


def test_the_head_names_both_runs(both: Made, open_page: Opener) -> None:
    expect(open_page(both).page.locator(".labels")).to_contain_text(" beside ")
