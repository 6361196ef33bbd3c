"""LayerNorm denominators: frozen beside recomputed, sites, shares, coupling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man"
EFFECTS = "Without each component: frozen against recomputed"
ROW = 7


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    targets = ("--target", "next", "--contrast", " he", " she")
    return made("analyze", "--text", TEXT, *targets, "--plugin", "ln:target_rows=all")


@pytest.fixture(scope="module")
def long(made: Maker) -> Made:
    """Too many rows for the page to have every component."""
    text = " ".join([TEXT] * 16)
    plugins = ("--plugin", "ln:target_rows=all", "--plugin", "mlp")
    return made("analyze", "--text", text, "--target", "top:4", *plugins)


def opened_at_row(run: Made, open_page: Callable[..., Opened]) -> Opened:
    opened = open_page(run)
    opened.page.locator(f"[data-row='{ROW}']").first.click()
    return opened


@pytest.mark.parametrize("level", ["component", "layer"])
def test_frozen_and_recomputed_stand_side_by_side(
    level: str, run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = opened_at_row(run, open_page)
    figure = opened.figure("denominators", title=EFFECTS)
    figure.get_by_role("button", name=level, exact=True).click()
    figure.get_by_text(f"@{ROW} ", exact=False).first.wait_for()
    table = opened.table(figure)
    suffix = "" if level == "component" else ".layer"
    labels = run.section("ln")["components" if level == "component" else "writers"]
    places = [labels.index(row[0]) for row in table.rows]
    assert sorted(places) == list(range(len(labels)))
    for key in ("frozen_ln", "recomputed_ln", "freeze_error"):
        values = run.arrays[f"ln.{key}{suffix}"][0, ROW, places]
        np.testing.assert_allclose(table.column(key), values, rtol=2e-5, atol=1e-9)
    largest = np.maximum(np.abs(table.column("frozen_ln")), np.abs(table.column("recomputed_ln")))
    assert (np.diff(largest) <= 0).all()
    assert figure.locator("g.column").count() == 3


def test_the_frozen_effects_sum_to_minus_the_numerator(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = opened_at_row(run, open_page)
    figure = opened.figure("denominators", title=EFFECTS)
    sentence = figure.get_by_text("sums to").inner_text()
    sums = [
        float(word.strip(".;,")) for word in sentence.split() if word.strip("-.;,")[:1].isdigit()
    ]
    total = run.arrays["ln.frozen_ln"][0, ROW].sum()
    assert sums[0] == pytest.approx(total, rel=1e-5)
    assert sums[1] == pytest.approx(total, rel=1e-4)


def test_effects_that_the_page_lacks_are_no_zeros(
    long: Made, open_page: Callable[..., Opened]
) -> None:
    opened = opened_at_row(long, open_page)
    figure = opened.figure("denominators", title=EFFECTS)
    table = opened.table(figure)
    labels = long.section("ln")["components"]
    places = [labels.index(row[0]) for row in table.rows]
    for key in ("frozen_ln", "recomputed_ln", "freeze_error"):
        shown = np.array(table.column(key))
        kept = ~np.isnan(shown)
        assert 0 < kept.sum() < len(labels)
        values = long.arrays[f"ln.{key}"][0, ROW, places]
        np.testing.assert_allclose(shown[kept], values[kept], rtol=5e-4)
    sentence = figure.get_by_text("sums to").inner_text()
    total = long.arrays["ln.frozen_ln"][0, ROW].sum()
    assert float(sentence.split("sums to ")[1].split(";")[0]) == pytest.approx(total, rel=2e-3)


def test_what_freezing_misses_orders_the_bars(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = opened_at_row(run, open_page)
    figure = opened.figure("denominators", title=EFFECTS)
    figure.get_by_role("button", name="what freezing misses").click()
    table = opened.table(figure)
    errors = np.abs(table.column("freeze_error"))
    assert (np.diff(errors) <= 0).all()
    assert errors[0] == pytest.approx(np.abs(run.arrays["ln.freeze_error"][0, ROW]).max(), rel=1e-5)


def test_points_have_a_diagonal_and_all_components(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = opened_at_row(run, open_page)
    figure = opened.figure("denominators", title="Frozen against recomputed, all components")
    assert figure.locator("circle.point").count() == len(run.section("ln")["components"])
    assert figure.locator("line.level").count() == 1


def test_sites_by_row(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("denominators", title="Denominators by LayerNorm and row")
    names = {
        "scale": "scale",
        "norm": "norm",
        "mean": "mean",
        "coupling_fraction": "coupling fraction",
    }
    for key, name in names.items():
        options = figure.get_by_label("show").locator("option").all_text_contents()
        wanted = next(text for text in options if text.startswith(name))
        figure.get_by_label("show").select_option(label=wanted)
        table = opened.table(figure)
        shown = np.array([[float(cell) for cell in row[2:]] for row in table.rows]).T
        np.testing.assert_allclose(shown, run.arrays[f"ln.{key}"], rtol=1e-5, atol=1e-7)
        figure.get_by_role("button", name="Table of ").click()
    sites = len(run.section("ln")["sites"])
    assert figure.locator("rect.cell").count() == sites * len(run.results["tokens"])


def test_shares_and_coupling_of_the_row(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = opened_at_row(run, open_page)
    coupling = opened.figure("denominators", title="Coupling of the writers")
    table = opened.table(coupling)
    shown = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    np.testing.assert_allclose(shown, run.arrays["ln.coupling"][ROW], rtol=1e-5, atol=1e-5)
    norm = run.arrays["ln.norm"][-1, ROW] ** 2
    sentence = coupling.get_by_text("All entries sum to").inner_text()
    assert float(sentence.split()[-1].rstrip(".")) == pytest.approx(norm, rel=1e-4)
    shares = opened.figure("denominators", title="Shares of the denominators")
    table = opened.table(shares)
    shown = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    np.testing.assert_allclose(shown, run.arrays["ln.shares"][:, ROW], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(shown.sum(axis=1), 1, atol=1e-4)
