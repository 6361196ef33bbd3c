"""Sweeps: heat maps of effects by layer, head, position and edge, and the largest of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "the Emerald City of the"
SWEEP = ("sweep", "--text", TEXT, "--target", " Oz")


def effect_of(run: Made) -> np.ndarray:
    return run.arrays["sweep.effect"]


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        (("--over", "heads"), ["targets", "layers", "heads"]),
        (("--over", "mlp_out"), ["targets", "layers", "rows"]),
        (("--over", "heads_by_pos"), ["targets", "layers", "heads", "rows"]),
        (
            ("--over", "edges", "--layer", "1", "--do", "cut"),
            ["targets", "heads", "rows", "keys"],
        ),
    ],
)
def test_the_table_has_every_effect(
    made: Maker, open_page: Callable[..., Opened], given: tuple[str, ...], columns: list[str]
) -> None:
    run = made(*SWEEP, *given)
    opened = open_page(run)
    figure = opened.figure("sweep", title="Effects on ' Oz'")
    table = opened.table(figure)
    assert table.head == [*columns, "effect"]
    expected = effect_of(run).reshape(-1)[:1000]
    np.testing.assert_allclose(table.column("effect"), expected, rtol=1e-5)
    assert figure.locator("svg.heatmap").count() == 1


def test_the_largest_effects_are_listed_by_name(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    run = made(*SWEEP, "--over", "heads")
    opened = open_page(run)
    table = opened.table(opened.figure("sweep", title="Largest effects"))
    effect = effect_of(run)[0]
    order = np.argsort(-np.abs(effect.reshape(-1)), kind="stable")[: len(table.rows)]
    layers, heads = np.unravel_index(order, effect.shape)
    names = [f"L{layer}H{head}" for layer, head in zip(layers, heads)]
    assert [row[0] for row in table.rows] == names
    values = [float(row[1]) for row in table.rows]
    np.testing.assert_allclose(values, effect[layers, heads], rtol=1e-5)


def test_a_cell_tells_its_effect_and_the_target_can_be_chosen(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    run = made(*SWEEP, "--target", " the", "--over", "heads")
    opened = open_page(run)
    figure = opened.figure("sweep", title="Effects")
    cell = figure.locator("svg.heatmap rect.cell").nth(8 + 3)
    effect = effect_of(run)[:, 1, 3]
    for name, value in (("' Oz'", effect[0]), ("' the'", effect[1])):
        figure.get_by_role("button", name=name).click()
        cell.hover(force=True)
        lines = opened.page.locator(".tip").inner_text().split("\n")
        assert lines[0] == "L1H3"
        shown = float(lines[1].split()[-1])
        np.testing.assert_allclose(shown, value, rtol=1e-2)


def test_the_map_of_positions_selects_the_token(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    run = made(*SWEEP, "--over", "mlp_out")
    opened = open_page(run)
    figure = opened.figure("sweep", title="Effects on ' Oz'")
    figure.locator("svg.heatmap rect.cell").nth(2).click(force=True)
    assert opened.page.locator(".chip.locked").count() == 1
    locked = opened.page.locator(".chip").evaluate_all(
        "chips => chips.findIndex(chip => chip.classList.contains('locked'))"
    )
    assert locked == 2
    texts = opened.page.locator(".token-panel .values dd").all_inner_texts()
    np.testing.assert_allclose(
        [float(text) for text in texts], effect_of(run)[0, :, 2], rtol=1e-2, atol=1e-6
    )


def test_patches_are_shown_on_the_source_s_scale(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    source = ("--source", "the Emerald City and a", "--do", "patch", "--over", "mlp_out")
    run = made(*SWEEP, *source)
    opened = open_page(run)
    figure = opened.figure("sweep", title="Effects on ' Oz'")
    assert "on the source prompt" in figure.inner_text()
    table = opened.table(figure)
    normalized = run.arrays["sweep.normalized"].reshape(-1)[:1000]
    np.testing.assert_allclose(table.column("normalized"), normalized, rtol=1e-5)
    figure.get_by_role("button", name="normalized").click()
    listed = opened.table(opened.figure("sweep", title="Largest effects"))
    largest = float(listed.rows[0][1])
    assert abs(largest) == pytest.approx(np.nanmax(np.abs(normalized)), rel=1e-5)
