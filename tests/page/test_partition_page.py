"""Partition: log Z by lens, errors of constant Z and of the first order, in a run and a corpus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "the Emerald City of Oz is a long way"
DOCUMENT = "tests/golden/structure/sentences.txt"


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    plugin = "partition:rows=all,perturbations=step+frozen_ln+recomputed_ln+ablation"
    return made("analyze", "--text", TEXT, "--target", "next", "--plugin", plugin)


@pytest.fixture(scope="module")
def totals(made: Maker) -> Made:
    return made("corpus", DOCUMENT, "--limit-tokens", "600", "--plugin", "partition")


def close(numbers: list[float], expected: np.ndarray) -> None:
    np.testing.assert_allclose(numbers, expected.reshape(-1)[:1000], rtol=1e-5)


def test_log_z_and_margins_by_lens(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("partition", title="log Z by lens and token")
    table = opened.table(figure)
    for key in ("log_z", "log_z_gap", "margin"):
        close(table.column(key), run.arrays[f"partition.{key}"])
    lenses = run.section("partition")["lenses"]
    assert figure.locator("svg.heatmap .rows text").all_text_contents() == lenses[::-1]


def test_changes_and_errors_have_their_numbers(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    changes = opened.table(
        opened.figure("partition", title="What each change does, token by token")
    )
    for key in ("dlogz", "expected_dz", "first_order_error", "fit_beta", "fit_r2"):
        close(changes.column(key), run.arrays[f"partition.{key}"])
    errors = opened.table(opened.figure("partition", title="Error of constant Z, by gauge"))
    close(errors.column("constant_z_error"), run.arrays["partition.constant_z_error"])
    ranks = opened.table(opened.figure("partition", title="How far logits move, by rank"))
    close(ranks.column("bin_dz"), run.arrays["partition.bin_dz"])


def test_the_error_of_the_selected_token_is_drawn(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("partition", title="Error of constant Z, by gauge")
    figure.get_by_role("button", name="frozen_ln", exact=True).click()
    section = run.section("partition")
    places = [i for i, name in enumerate(section["perturbations"]) if name.startswith("frozen_ln:")]
    opened.page.locator(".chip").nth(3).click()
    opened.show(figure)
    figure.locator("svg.bars[aria-label*='Errors at']").wait_for()
    names = [section["perturbations"][i].split(":")[1] for i in places]
    assert figure.locator("svg.bars text.name").all_text_contents() == names
    figure.locator("svg.bars").hover(position={"x": 200, "y": 30})
    raw = opened.page.locator(".tip .line").nth(1).inner_text().split()
    expected = run.arrays["partition.constant_z_error"][0, places[0], 3]
    np.testing.assert_allclose(float(raw[1]), expected, rtol=1e-2)


def test_predictions_stand_against_the_run_without_the_component(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("partition", title="Approximation against exact")
    figure.get_by_role("combobox", name="Approximation").select_option(
        label="frozen_ln and a run without the component"
    )
    table = opened.table(figure)
    names = run.section("partition")["perturbations"]
    dz = run.arrays["partition.dz"][0, 0]
    frozen = [i for i, name in enumerate(names) if name.startswith("frozen_ln:")]
    exact = [names.index(names[i].replace("frozen_ln", "ablation")) for i in frozen]
    close(table.column("dz by frozen_ln (nats)"), dz[frozen])
    close(table.column("dz by ablation (nats)"), dz[exact])
    rows = np.isfinite(dz[frozen]) & np.isfinite(dz[exact])
    assert figure.locator("svg circle.point").count() == rows.sum()


def test_over_a_corpus_the_means_and_failures(
    totals: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(totals)
    for title, key in (
        ("Size of constant Z's error, by gauge", "mean_abs_dlogz"),
        ("How often the approximation fails", "far"),
        ("How far logits move, by rank", "correlation"),
        ("log Z by lens", "sd_log_z"),
        ("Where the mass of the predictions lies", "mean_mass"),
        ("Do all logits move in proportion? beta of the fit", "fit_beta_quantiles"),
        ("Do all logits move in proportion? R² of the fit", "fit_r2_quantiles"),
    ):
        table = opened.table(opened.figure("partition_totals", title=title))
        close(table.column(key), totals.arrays[f"partition.{key}"])


def test_a_click_on_a_change_shows_its_histogram(
    totals: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(totals)
    figure = opened.figure(
        "partition_totals", title="Do all logits move in proportion? beta of the fit"
    )
    names = totals.section("partition")["perturbations"]
    kind = [name for name in names if name.startswith("recomputed_ln:")]
    assert figure.locator("h5").last.inner_text() == kind[0]
    figure.locator("svg").first.click(position={"x": 30, "y": 40 + 20 * 2 + 8})
    assert figure.locator("h5").last.inner_text() == kind[2]
    counts = totals.arrays["partition.fit_beta_histogram"][names.index(kind[2])]
    heights = (
        figure.locator("svg")
        .last.locator("rect.bin")
        .evaluate_all("bins => bins.map(bin => +bin.getAttribute('height'))")
    )
    assert np.argmax(heights) == np.argmax(counts)
    assert (np.array(heights) > 0).sum() == (counts > 0).sum()


def test_the_panel_tells_log_z_of_a_token(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator(".chip").nth(3).click()
    texts = opened.page.locator(".token-panel .values dd").all_inner_texts()
    expected = [run.arrays[f"partition.{key}"][-1, 3] for key in ("log_z", "log_z_gap", "margin")]
    np.testing.assert_allclose([float(text) for text in texts[:3]], expected, rtol=1e-2)
