"""Two runs in one page: this run, the run beside it, and their difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened_page import Opened
from page_files import TEXT, Made, Maker, changed, encoded
from playwright.sync_api import expect

Opener = Callable[..., Opened]
PLUGINS = ("--plugin", "attention", "--plugin", "logits", "--plugin", "lens:rows=all")
FOREIGN = '[data-section="foreign"]'
GRID = f'{FOREIGN} [data-figure="grid"]'
WRITERS = ["embed", "0_attn_out", "0_mlp_out", "edit"]


@pytest.fixture(scope="module")
def both(made: Maker) -> Made:
    """A run with an edit, and the same run without it."""
    edited = made("analyze", "--text", TEXT, "--ablate", "L0H3", *PLUGINS)
    return made.beside(edited, made("analyze", "--text", TEXT, *PLUGINS))


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray[Any, Any]]:
    """What a foreign plugin left: [sides, stages, writers]; one run lacks the last writer."""
    random = np.random.default_rng(3)
    return [random.normal(size=(2, 3, 4)), random.normal(size=(2, 3, 3))]


@pytest.fixture(scope="module")
def page(
    both: Made, arrays: list[np.ndarray[Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The page with a section of the foreign plugin in both runs."""

    def add(data: Any) -> None:
        for run, array in zip(data["runs"], arrays):
            axes = {
                "sides": {"n": 2, "labels": ["left", "right"]},
                "stages": {"n": 3, "numbers": {"from": 0}},
                "writers": {"n": array.shape[2], "labels": WRITERS[: array.shape[2]]},
            }
            given = {
                "flow": encoded(array, ["sides", "stages", "writers"]),
                "count": encoded(array[:, :, 0].astype(int), ["sides", "stages"]),
            }
            section = {"name": "foreign", "version": "1", "axes": axes, "arrays": given}
            values = {"total": float(array.sum()), "kind": "test"}
            run["sections"].append({**section, "options": {}, "values": values, "summary": []})

    return changed(both, add, tmp_path_factory.mktemp("both") / "page.html")


def panes(opened: Opened) -> list[str]:
    """The panes of a figure that are seen."""
    seen = opened.page.locator(GRID).locator(".pane:visible")
    return [str(name) for name in seen.evaluate_all("all => all.map(p => p.dataset.pane)")]


def test_the_switch_shows_both_or_one(page: Path, open_page: Opener) -> None:
    opened = open_page(page)
    assert panes(opened) == ["this", "beside"]
    for mode in ("this", "beside", "difference"):
        opened.choose_runs(mode)
        assert panes(opened) == [mode]
    opened.choose_runs("side")
    assert panes(opened) == ["this", "beside"]


@pytest.mark.parametrize("pane", ["this", "beside", "difference"])
def test_each_pane_has_its_numbers(
    pane: str, page: Path, arrays: list[np.ndarray[Any, Any]], open_page: Opener
) -> None:
    this, beside = arrays[0], np.dstack([arrays[1], np.zeros((2, 3, 1))])  # edit: nothing was added
    expected = {"this": this, "beside": arrays[1], "difference": this - beside}[pane]
    opened = open_page(page)
    opened.choose_runs(pane)
    figures = opened.page.locator(GRID).locator(f'[data-pane="{pane}"] figure')
    figure = figures.filter(has=opened.page.get_by_role("heading", name="flow"))
    opened.show(figure)
    for place, side in enumerate(("left", "right")):
        figure.get_by_role("button", name=side, exact=True).click()
        shown = opened.table(figure).column("flow")
        np.testing.assert_allclose(shown, expected[place].reshape(-1), rtol=1e-5, atol=1e-6)
        figure.get_by_role("button", name="Table of ").click()


def test_integers_of_the_difference_are_those_of_this_run(
    page: Path, arrays: list[np.ndarray[Any, Any]], open_page: Opener
) -> None:
    opened = open_page(page)
    opened.choose_runs("difference")
    figures = opened.page.locator(GRID).locator('[data-pane="difference"] figure')
    figure = figures.filter(has=opened.page.get_by_role("heading", name="count"))
    opened.show(figure)
    shown = opened.table(figure).column("count")
    assert shown == arrays[0][:, :, 0].astype(int).reshape(-1).tolist()


def test_values_are_subtracted_and_texts_stay(
    page: Path, arrays: list[np.ndarray[Any, Any]], open_page: Opener
) -> None:
    opened = open_page(page)
    opened.choose_runs("difference")
    figure = opened.page.locator(f'{FOREIGN} [data-figure="values"] figure:visible')
    opened.show(figure)
    rows = dict(map(tuple, opened.table(figure).rows))
    assert rows["kind"] == "test"
    np.testing.assert_allclose(float(rows["total"]), arrays[0].sum() - arrays[1].sum(), rtol=1e-5)


def test_panes_share_their_controls(page: Path, open_page: Opener) -> None:
    opened = open_page(page)
    heading = opened.page.get_by_role("heading", name="flow")
    figures = opened.page.locator(GRID).locator("figure:visible").filter(has=heading)
    opened.show(figures.first)
    before = [figures.nth(i).locator(".area").inner_html() for i in range(2)]
    figures.first.get_by_role("button", name="right", exact=True).click()
    for i in range(2):
        button = figures.nth(i).get_by_role("button", name="right", exact=True)
        expect(button).to_have_attribute("aria-pressed", "true")
        assert figures.nth(i).locator(".area").inner_html() != before[i]


@pytest.mark.parametrize("mode", ["side", "difference"])
def test_every_figure_can_show_every_pane(mode: str, both: Made, open_page: Opener) -> None:
    opened = open_page(both)
    opened.choose_runs(mode)
    opened.draw_all()
    areas = opened.page.locator(".pane:visible .area")
    assert areas.count() >= 8
    assert opened.page.locator(".pane:visible .area[data-drawn]").count() == areas.count()
    assert opened.page.locator(".failure").count() == 0


def test_a_saved_figure_says_which_run_it_is(page: Path, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(page)
    opened.choose_runs("difference")
    figure = opened.page.locator(f'{FOREIGN} [data-figure="values"] figure:visible')
    opened.show(figure)
    path = opened.save(figure, "SVG", tmp_path)
    assert path.name == "pythiascope-foreign-values-difference.svg"
    assert "<title>Values (difference)</title>" in path.read_text(encoding="utf-8")


def test_different_tokens_are_announced(made: Maker, open_page: Opener) -> None:
    one = made("analyze", "--text", TEXT, "--plugin", "ln")
    other = made("analyze", "--text", TEXT.replace("girl", "boy"), "--plugin", "ln")
    line = open_page(made.beside(one, other)).page.locator(".labels")
    expect(line).to_contain_text("their tokens differ")


def test_the_head_names_both_runs(both: Made, open_page: Opener) -> None:
    expect(open_page(both).page.locator(".labels")).to_contain_text(" beside ")


def test_a_section_of_one_run_alone_is_shown_with_its_name(made: Maker, open_page: Opener) -> None:
    first = made("analyze", "--text", TEXT, "--plugin", "lens", "--plugin", "ln")
    second = made("weights", "--what", "spectra")
    opened = open_page(made.beside(first, second))
    for name, folder in (("ln", first.folder), ("weights", second.folder)):
        section = opened.page.locator(f'[data-section="{name}"]')
        expect(section.locator(".only")).to_have_text(f"In one run only: {folder}.")
        assert section.locator("figure").count() > 0
    opened.figure("spectra", "weights")
