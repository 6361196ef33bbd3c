"""Arrays over training checkpoints: lines over the steps, maps of heads, and no other figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker, changed

STEPS = ("step0", "step512", "step1400")
TEXT = "There was once a giant named Grumbold. Nobody in the village had ever seen Grumb"
Opener = Callable[..., Opened]


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    """Three steps of the small sibling of the embedded model."""
    model = ("--model", "books-0.5m@" + ",".join(STEPS))
    plugins = [f"--plugin={name}" for name in ("logits:level=head,rows=all", "attention", "lens")]
    more = ("--capture", "blocks.1.attn.hook_pattern")
    return made("analyze", *model, "--text", TEXT, "--target", "o", *plugins, *more)


def test_lines_of_the_largest_shares(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("checkpoints", "logits", title="contributions")
    shares = run.arrays["logits.contributions"][:, 0]  # [checkpoints, rows, components]
    components = run.section("logits")["components"]
    table = opened.table(figure)
    assert table.head == ["checkpoints", "targets", "components", "contributions"]
    np.testing.assert_allclose(
        table.column("contributions"), shares[:, -1].reshape(-1), rtol=2e-3, atol=1e-4
    )
    assert [row[0] for row in table.rows[:: len(components)]] == list(STEPS)
    assert figure.locator("svg path.line").count() == 8
    ranked = np.argsort(-np.abs(shares[:, -1]).max(0))[:8]
    legend = figure.locator("svg g.key text").all_text_contents()
    assert legend == [components[i] for i in ranked]
    assert f"{len(components) - 8} others are in the table" in figure.inner_text()


def test_the_x_axis_has_the_steps(run: Made, open_page: Opener) -> None:
    figure = open_page(run).figure("checkpoints", "checkpoints")
    texts = figure.locator("svg g.axis").first.locator("text").all_text_contents()
    assert texts == ["0", "512", "1400"]
    assert figure.locator("svg text.name").first.text_content() == "training step"
    places = [
        float(value or "nan")
        for value in figure.locator("svg circle").evaluate_all(
            "all => all.map((one) => one.getAttribute('cx'))"
        )
    ]
    gaps = np.diff(places)  # symmetric log from 512 on: log 2, then log(1912 / 1024)
    assert gaps[1] / gaps[0] == pytest.approx(np.log(1 + 1400 / 512) / np.log(2) - 1, rel=1e-3)


def test_the_target_and_its_numbers(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("checkpoints", "checkpoints")
    table = opened.table(figure)
    for key in ("target_p", "target_rank", "target_logit"):
        expected = run.arrays[f"checkpoints.{key}"].reshape(-1)
        np.testing.assert_allclose(table.column(key), expected, rtol=2e-3)
    figure.locator("svg.plot").first.hover()
    p = run.arrays["checkpoints.target_p"].reshape(-1)
    for key, k in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowRight", 2)):
        figure.locator("svg.plot").first.press(key)
        if k == 2:
            assert f"{p[2]:.3g}" in opened.page.locator(".tip").inner_text()


def test_a_selected_token_chooses_the_row(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("checkpoints", "logits", title="contributions")
    shares = run.arrays["logits.contributions"][:, 0, 10]
    opened.page.locator(".chip").nth(10).click()
    ranked = np.argsort(-np.abs(shares).max(0))[:8]
    components = run.section("logits")["components"]
    legend = figure.locator("svg g.key text").all_text_contents()
    assert legend == [components[i] for i in ranked]


def test_heads_have_a_map_for_each_checkpoint(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("checkpoints", "attention", title="tl_detect: layers by heads")
    detected = run.arrays["attention.tl_detect"]  # [checkpoints, layers, heads, kinds]
    assert figure.locator("h5").all_text_contents() == list(STEPS)
    assert figure.locator("svg.heatmap").count() == 3
    assert figure.locator("svg.heatmap rect.cell").count() == detected[..., 0].size
    figure.get_by_role("button", name="previous_token").click()
    figure.locator("svg.heatmap").last.locator("rect.cell").nth(4).hover(force=True)
    tip = opened.page.locator(".tip").inner_text()
    assert "L0H4, step1400" in tip
    assert f"{detected[2, 0, 4, 1]:.3g}" in tip or f"{detected[2, 0, 4, 1]:.2g}" in tip


def test_captures_keep_the_axis(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("checkpoints", "captures", title="blocks.1.attn.hook_pattern")
    table = opened.table(figure)
    assert table.head[:2] == ["checkpoints", "heads"]


def test_no_other_figure_takes_them(run: Made, open_page: Opener) -> None:
    page = open_page(run).page
    names = page.locator("[data-figure]").evaluate_all(
        "all => all.map((one) => one.dataset.figure)"
    )
    assert set(names) <= {"checkpoints", "texts", "values", "summary", "table"}


def test_names_without_numbers_are_labels(run: Made, open_page: Opener, tmp_path: Path) -> None:
    def rename(data: Any) -> None:
        for section in data["runs"][0]["sections"]:
            section["axes"]["checkpoints"]["labels"] = ["main", "step512", "step8"]

    opened = open_page(changed(run, rename, tmp_path / "page.html"))
    figure = opened.figure("checkpoints", "checkpoints")
    texts = figure.locator("svg g.axis").first.locator("text").all_text_contents()
    assert texts == ["main", "step512", "step8"]


def test_numbers_that_stay_the_same_are_a_list(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("checkpoints", "logits", title="The same at every checkpoint")
    table = opened.table(figure)
    for key, value in table.rows:
        assert set(run.arrays[f"logits.{key}"].tolist()) == {float(value)}
    assert ["sums_failed", "0"] in table.rows
