"""A plugin that no figure knows gets figures by the axes of its arrays."""

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
NAME = "foreign"
SUMMARY = ["It ran.", "layer  entropy\n  0     1.5\n  1     0.5", *(f"Line {i}." for i in range(5))]
LAYERS, HEADS, WORDS = 4, 8, 200


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    """A page with tokens."""
    return made("analyze", "--text", TEXT, "--plugin", "ln")


@pytest.fixture(scope="module")
def arrays(run: Made) -> dict[str, np.ndarray[Any, Any]]:
    """What the foreign plugin leaves."""
    rows = len(run.results["tokens"])
    random = np.random.default_rng(7)
    return {
        "surprise": random.normal(size=rows),
        "size": random.random(rows),
        "depth": random.normal(size=(LAYERS, rows)),
        "gain": random.normal(size=(HEADS, LAYERS)),
        "cube": random.normal(size=(LAYERS, HEADS, 3)),
        "square": random.normal(size=(LAYERS, LAYERS)),
        "words": random.normal(size=WORDS),
        "few": np.array([0.5, -2.0, 1.0]),
        "curve": random.random(12),
        "guesses": random.integers(0, 50, size=(rows, 3)),
        "one": np.array([[0.25]]),
        "unset": np.full((LAYERS, rows), np.nan),
        "nothing": np.zeros((LAYERS, 0)),
    }


AXES = {
    "surprise": ["rows"],
    "size": ["rows"],
    "depth": ["layers", "rows"],
    "gain": ["heads", "layers"],
    "cube": ["stages", "sides", "what"],
    "square": ["layers", "layers"],
    "words": ["words"],
    "few": ["what"],
    "curve": ["steps"],
    "guesses": ["rows", "ranks"],
    "one": ["single", "single"],
    "unset": ["layers", "rows"],
    "nothing": ["layers", "none"],
}


@pytest.fixture(scope="module")
def foreign(
    run: Made, arrays: dict[str, np.ndarray[Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The page with a section of the foreign plugin."""
    numbers = {"rows": len(run.results["tokens"]), "layers": LAYERS, "heads": HEADS}
    numbers |= {"stages": LAYERS, "sides": HEADS}
    axes: dict[str, Any] = {name: {"n": n, "numbers": {"from": 0}} for name, n in numbers.items()}
    axes["steps"] = {"n": 12, "numbers": [10 * i for i in range(12)]}
    axes["ranks"] = {"n": 3, "numbers": {"from": 1}}
    axes["what"] = {"n": 3, "labels": ["red", "green", "blue"]}
    axes["words"] = {"n": WORDS, "labels": [f"word {i}" for i in range(WORDS)]}
    axes["single"] = {"n": 1, "labels": ["it"]}
    axes["none"] = {"n": 0, "labels": []}
    given = {
        key: encoded(array, AXES[key], **({"token_ids": True} if key == "guesses" else {}))
        for key, array in arrays.items()
    }
    given["huge"] = {
        "dtype": "F32",
        "encoding": "omitted",
        "axes": ["rows"],
        "shape": [numbers["rows"]],
    }

    def add(data: Any) -> None:
        data["runs"][0]["vocabulary"] = {str(i): f" t{i}" for i in range(50)}
        values = {"note": "a text", "ratio": 0.125, "unknown": None, "list": [1, 2.5, "x"]}
        section = {"name": NAME, "version": "9", "options": {}, "axes": axes, "arrays": given}
        data["runs"][0]["sections"].append({**section, "values": values, "summary": SUMMARY})

    return changed(run, add, tmp_path_factory.mktemp("foreign") / "page.html")


@pytest.fixture
def opened(foreign: Path, open_page: Opener) -> Opened:
    """The page of the foreign plugin."""
    return open_page(foreign)


def column(opened: Opened, kind: str, title: str, key: str) -> np.ndarray[Any, Any]:
    """The numbers of a column of the table of the figure with this title."""
    return np.array(opened.table(opened.figure(kind, NAME, title)).column(key))


def test_a_number_per_token_is_colored_text(
    opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    for key in ("surprise", "size"):
        shown = column(opened, "text", "surprise and size", key)
        np.testing.assert_allclose(shown, arrays[key], rtol=1e-5)
    figure = opened.figure("text", NAME)
    assert figure.locator("svg .token").count() == len(arrays["surprise"])
    before = figure.locator("svg").first.inner_html()
    figure.get_by_role("button", name="size", exact=True).click()
    assert figure.locator("svg").first.inner_html() != before


@pytest.mark.parametrize("key", ["gain", "square"])
def test_two_axes_are_a_grid(
    key: str, opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    shown = column(opened, "grid", key, key)
    np.testing.assert_allclose(shown, arrays[key].reshape(-1), rtol=1e-5)


def test_layers_and_tokens_are_a_grid_with_unset_cells(
    opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    for key in ("depth", "unset"):
        shown = column(opened, "grid", "depth and unset", key)
        np.testing.assert_allclose(shown, arrays[key].reshape(-1), rtol=1e-5)


def test_a_third_axis_has_a_control(
    opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    figure = opened.figure("grid", NAME, "cube")
    for place in range(LAYERS):
        figure.get_by_role("button", name=f"stage {place}", exact=True).click()
        shown = column(opened, "grid", "cube", "cube")
        np.testing.assert_allclose(shown, arrays["cube"][place].reshape(-1), rtol=1e-5)
        figure.get_by_role("button", name="Table of ").click()


def test_a_long_axis_is_ranked_with_the_sum_of_the_others(
    opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    table = opened.table(opened.figure("bars", NAME, "words"))
    order = np.argsort(-np.abs(arrays["words"]))
    assert [row[0] for row in table.rows[:-1]] == [f"word {i}" for i in order[:30]]
    shown = [float(row[1]) for row in table.rows[:-1]]
    np.testing.assert_allclose(shown, arrays["words"][order[:30]], rtol=1e-5)
    assert table.rows[-1][0] == "170 others"
    np.testing.assert_allclose(
        float(table.rows[-1][1]), arrays["words"][order[30:]].sum(), rtol=1e-4
    )
    few = opened.table(opened.figure("bars", NAME, "few"))
    assert few.rows == [["green", "-2"], ["blue", "1"], ["red", "0.5"]]


def test_numbers_along_numbers_are_a_curve(
    opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    np.testing.assert_allclose(
        column(opened, "lines", "curve", "curve"), arrays["curve"], rtol=1e-5
    )
    assert column(opened, "lines", "curve", "steps").tolist() == [10 * i for i in range(12)]


def test_token_ids_are_texts(opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    table = opened.table(opened.figure("texts", NAME))
    expected = [[f"·t{token}" for token in row] for row in arrays["guesses"]]
    assert [row[1:] for row in table.rows] == expected


def test_single_numbers_and_values_are_a_list(opened: Opened) -> None:
    table = opened.table(opened.figure("values", NAME))
    assert {row[0]: row[1] for row in table.rows} == {
        "note": "a text",
        "ratio": "0.125",
        "unknown": "-",
        "list": "1, 2.5, x",
        "one": "0.25",
    }


def test_what_the_page_lacks_is_named(opened: Opened) -> None:
    section = opened.page.locator(f'[data-section="{NAME}"]')
    expect(section.locator("> .note")).to_contain_text("huge")


def test_a_long_summary_is_folded_and_keeps_its_columns(opened: Opened) -> None:
    section = opened.page.locator(f'[data-section="{NAME}"]')
    expect(section.locator("> .sentence").first).to_have_text("It ran.")
    assert section.locator("> pre.sentence").inner_text() == SUMMARY[1]
    assert section.locator("> .sentence").count() == 4
    last = section.locator(".more .sentence").last
    expect(last).to_be_hidden()
    section.get_by_text("More of the summary").click()
    expect(last).to_have_text("Line 4.")


def test_a_plugin_without_arrays_shows_the_bars_of_its_summary(
    run: Made, open_page: Opener, tmp_path: Path
) -> None:
    bars = {"title": "largest", "unit": "nats", "labels": ["a", "b"], "values": [1.5, -0.25]}

    def add(data: Any) -> None:
        section = {"name": NAME, "version": "9", "options": {}, "axes": {}, "arrays": {}}
        data["runs"][0]["sections"].append({**section, "values": {}, "summary": [bars]})

    opened = open_page(changed(run, add, tmp_path / "bars.html"))
    table = opened.table(opened.figure("summary", NAME, "largest"))
    assert table.rows == [["a", "1.5"], ["b", "-0.25"]]


def test_a_token_of_a_grid_is_selected(opened: Opened) -> None:
    svg = opened.figure("grid", NAME, "depth and unset").locator("svg.heatmap")
    cell = svg.locator("rect.cell").nth(5)
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    assert box
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(opened.page.locator('.chip[data-row="5"]')).to_have_attribute("aria-selected", "true")


def test_every_array_of_a_section_is_somewhere(
    opened: Opened, arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    opened.draw_all()
    text = opened.page.locator(f'[data-section="{NAME}"]').inner_text()
    assert [key for key in arrays if key not in text and key != "nothing"] == []
