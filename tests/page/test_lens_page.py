"""The lens: layer by position, its colors and tips, curves over the layers, the token's panel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man"
LONG = "The king had a daughter, and she had a cat. " * 12


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    targets = ("--target", "next", "--contrast", " he", " she")
    return made("analyze", "--text", TEXT, *targets, "--plugin", "lens:rows=all")


@pytest.fixture(scope="module")
def long(made: Maker) -> Made:
    return made("analyze", "--text", LONG, "--plugin", "lens:rows=all")


def visible(text: str) -> str:
    return text.replace(" ", "\u00b7").replace("\n", "\u21b5")


def test_the_table_has_every_layer_and_row(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("lens", title="Layer by row"))
    layers, rows = run.arrays["lens.entropy"].shape
    assert len(table.rows) == layers * rows
    labels = run.section("lens")["layers"]
    columns = {
        "entropy (nats)": run.arrays["lens.entropy"],
        "KL(final \u2016 layer) (nats)": run.arrays["lens.kl"],
        "probability of the top token": run.arrays["lens.top_probs"][:, :, 0],
        "log p of next": run.arrays["lens.log_prob"][0],
        "logit of ' he' - ' she'": run.arrays["lens.logit"][1],
    }
    for name, values in columns.items():
        shown = np.array(table.column(name)).reshape(rows, layers)[::-1, ::-1].T
        np.testing.assert_allclose(shown, values, rtol=1e-5, atol=1e-6)
    ranks = np.array(table.column("rank of next")).reshape(rows, layers)[::-1, ::-1].T
    assert np.isnan(ranks[:, -1]).all()
    np.testing.assert_array_equal(ranks[:, :-1], run.arrays["lens.rank"][0, :, :-1])
    assert [row[2] for row in table.rows[:layers]] == labels[::-1]


def test_cells_show_the_top_token_and_a_tip_the_others(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("lens", title="Layer by row")
    layers, rows = run.arrays["lens.entropy"].shape
    assert figure.locator("rect.cell").count() == layers * rows
    figure.locator("rect.cell").nth(3).hover()
    tip = opened.page.locator(".tip").inner_text().split("\n")
    assert tip[0].startswith("final_post, @3")
    probabilities = run.arrays["lens.top_probs"][-1, 3]
    for line, probability in zip(tip[1:6], probabilities, strict=True):
        assert float(line.split()[-1]) == pytest.approx(probability, rel=5e-3)
    first = figure.locator("text.celltext").first.text_content()
    ids = str(run.arrays["lens.top_ids"][-1, 0, 0])
    names = run.results.get("vocabulary", {})
    assert ids not in names or first == visible(names[ids])
    rank = next(line for line in tip if line.startswith("rank of next"))
    assert int(rank.split()[-1]) == run.arrays["lens.rank"][0, -1, 3]


def test_colors_follow_the_chosen_quantity(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("lens", title="Layer by row")
    before = figure.locator("rect.cell").nth(3).get_attribute("fill")
    figure.get_by_role("combobox", name="color").select_option(label="entropy (nats)")
    figure.locator("svg.legend", has_text="entropy").wait_for()
    assert figure.locator("rect.cell").nth(3).get_attribute("fill") != before
    ends = figure.locator("svg.legend text").all_text_contents()
    assert float(ends[-1]) == pytest.approx(run.arrays["lens.entropy"].max(), rel=5e-3)
    figure.get_by_role("button", name="colors only").click()
    assert figure.locator("text.celltext").count() == 0


def test_curves_are_those_of_the_chosen_token(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator("[data-row='6']").first.click()
    figure = opened.figure("lens", title="Over the layers")
    figure.get_by_text("@6 ", exact=False).first.wait_for()
    table = opened.table(figure)
    for name, key in (("entropy (nats)", "entropy"), ("KL(final \u2016 layer) (nats)", "kl")):
        np.testing.assert_allclose(
            table.column(name), run.arrays[f"lens.{key}"][:, 6], rtol=1e-5, atol=1e-6
        )
    assert figure.locator("path.line").count() == 3
    figure.get_by_label("show").get_by_role("button", name="rank").click()
    assert figure.locator("path.line").count() == 2


def test_the_panel_has_each_layer(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator("[data-row='6']").first.hover()
    lines = opened.page.locator(".token-panel-body table.panel tbody tr")
    lines.first.wait_for()
    assert lines.locator("th").all_text_contents() == run.section("lens")["layers"][::-1]
    entropy = float(lines.first.locator("td").nth(1).inner_text())
    assert entropy == pytest.approx(run.arrays["lens.entropy"][-1, 6], rel=5e-3)


def test_the_arrow_keys_move_over_the_cells(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("lens", title="Layer by row")
    figure.locator("svg.heatmap").focus()
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowDown")
    tip = opened.page.locator(".tip").inner_text()
    assert tip.startswith("3_pre, @1")


def test_a_long_text_is_one_image_and_scrolls_with_its_tokens(
    long: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(long)
    figure = opened.figure("lens", title="Layer by row")
    rows = long.arrays["lens.entropy"].shape[1]
    assert rows > 64
    assert figure.locator("text.celltext").count() == 0
    figure.get_by_role("button", name="with tokens").click()
    shown = figure.locator("text.celltext").count()
    assert 0 < shown < rows * 5
    scroller = figure.locator(".scroller")
    wide, seen = scroller.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert wide > 2 * seen
    scroller.evaluate("e => { e.scrollLeft = e.scrollWidth; }")
    label = figure.locator("g.rows")
    opened.page.wait_for_function(
        "e => e.getAttribute('transform') !== 'translate(0,0)'", arg=label.element_handle()
    )
    last = figure.locator("rect.cell").last
    box = last.bounding_box()
    inside = scroller.bounding_box()
    assert box and inside and box["x"] < inside["x"] + inside["width"]
