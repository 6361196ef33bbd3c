"""Trees of spans: their boxes, cuts, links and effects, and how far trees agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker
from playwright.sync_api import Locator

TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man smiled."
OPTIONS = "heads=causal,links=frozen+causal,prefixes=yes,closure=yes,of=1-5"


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--plugin", f"spans:{OPTIONS}")


def box_of(figure: Locator, level: int, first: int, last: int) -> Locator:
    return figure.locator(f"[data-level='{level}'] [data-span='{first}-{last}']")


def text_of(run: Made, first: int, last: int) -> str:
    tokens = run.results["tokens"]
    return "".join(tokens[position]["text"] for position in range(first, last + 1))


def test_every_bracket_has_a_box_and_its_numbers(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("spans", title="Trees of spans")
    brackets = run.arrays["spans.brackets"]
    shown = figure.locator("rect.span").evaluate_all(
        "e => e.map(x => [x.parentNode.dataset.level, x.dataset.span])"
    )
    expected = [
        [str(level), f"{first}-{last}"]
        for level in range(len(brackets))
        for first, last in brackets[level]
    ]
    assert sorted(shown) == sorted(expected)
    table = opened.table(figure)
    assert [[row[0], f"{row[1]}-{row[2]}"] for row in table.rows] == expected
    for name in ("strength", "necessity", "sufficiency", "head", "lag"):
        numbers = run.arrays[f"spans.{name}"].reshape(-1)
        np.testing.assert_allclose(table.column(name), numbers, rtol=1e-5)
    assert table.rows[3][3] == text_of(run, *brackets[0][3])


def test_pointing_at_a_box_tells_its_cut_and_its_head(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("spans", title="Trees of spans")
    brackets = run.arrays["spans.brackets"]
    level, span = 2, next(i for i, (a, b) in enumerate(brackets[2]) if b - a == 1)
    first, last = brackets[level][span]
    box = box_of(figure, level, first, last)
    box.scroll_into_view_if_needed()
    box.hover(position={"x": 4, "y": 2}, force=True)
    lines = opened.page.locator(".tip").inner_text().split("\n")
    assert lines[0] == f"level 2 [{first}, {last}]"
    assert lines[1] == f"“{text_of(run, first, last).strip()}”"
    strength = next(line for line in lines if line.startswith("strength"))
    expected = run.arrays["spans.strength"][level][span]
    assert float(strength.split()[1]) == pytest.approx(expected, rel=1e-5)
    assert lines[0] in figure.locator(".readout").inner_text()
    same = run.arrays["spans.same"][level][span]
    others = [str(other) for other in range(4) if other != level and same[other] >= 0]
    assert lines[-1] == (f"also at level {', '.join(others)}" if others else "at no other level")
    assert figure.locator("rect.twin[visibility=visible]").count() == len(others)


def test_arrow_keys_lead_up_and_down_the_tree(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("spans", title="Trees of spans")
    brackets = run.arrays["spans.brackets"]
    figure.locator("svg.unit-chart").focus()
    heads = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        opened.page.keyboard.press(key)
        heads.append(opened.page.locator(".tip").inner_text().split("\n")[0])
    whole, inside = (f"level 0 [{a}, {b}]" for a, b in brackets[0][:2])
    assert heads == [whole, inside, whole]


def test_cuts_and_closure_are_those_of_the_levels(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("spans", title="Cuts"))
    for key in ("cuts", "split_order"):
        for level in range(4):
            numbers = run.arrays[f"spans.{key}"][level]
            np.testing.assert_allclose(table.column(f"{key} level {level}"), numbers, rtol=1e-5)
    table = opened.table(opened.figure("spans", title="Closure"))
    for level in range(4):
        numbers = run.arrays["spans.closed"][level]
        np.testing.assert_allclose(table.column(f"level {level}"), numbers, rtol=1e-5)


def test_the_slider_says_how_many_of_the_strongest_links_are_drawn(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("spans", title="Links between units")
    assert figure.locator("path.link").count() == 40
    figure.get_by_label("links shown").fill("5")
    links = figure.locator("path.link")
    assert links.count() == 5
    strongest = np.argsort(-run.arrays["spans.kl"], kind="stable")[:5]
    table = opened.table(figure)
    for name in ("from", "to", "kl", "frozen_kl", "dlogp_next"):
        place = table.head.index(name)
        shown = [float(row[place]) for row in table.rows[:5]]
        np.testing.assert_allclose(shown, run.arrays[f"spans.{name}"][strongest], rtol=1e-5)
    figure.locator("svg.unit-chart").focus()
    opened.page.keyboard.press("ArrowRight")
    kl = run.arrays["spans.kl"][strongest[0]]
    assert (
        f"KL, knock-out (nats) {float(f'{kl:.6g}'):g}" in opened.page.locator(".tip").inner_text()
    )


def test_units_of_a_span_and_necessities(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("spans", title="Units of the span 1-5"))
    np.testing.assert_allclose(
        table.column("necessity"), run.arrays["spans.of_necessity"], rtol=1e-5
    )
    np.testing.assert_allclose(
        table.column("reads, level 2"), run.arrays["spans.of_reads"][2], rtol=1e-5
    )
    table = opened.table(opened.figure("spans", title="Necessity of each unit (nats)"))
    matrix = run.arrays["spans.necessity_of"]
    known = matrix[~np.isnan(matrix) & (matrix != 0)]
    np.testing.assert_allclose(table.column("necessity_of"), known, rtol=1e-5)


def test_agreement_of_levels_and_trees(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("agreement", title="Agreement between trees"))
    for other in range(4):
        numbers = run.arrays["spans.shared"][:, other]
        np.testing.assert_allclose(table.column(f"shared level {other}"), numbers, rtol=1e-5)
    for place, tree in enumerate(run.section("spans")["trees"]):
        numbers = run.arrays["spans.overlap"][:, place]
        np.testing.assert_allclose(table.column(f"overlap {tree}"), numbers, rtol=1e-5)


def test_a_click_on_a_unit_locks_its_token(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("spans", title="Trees of spans")
    figure.locator("[data-unit='6']").click(force=True)
    assert opened.page.locator(".chip[data-row='7']").get_attribute("aria-selected") == "true"
    assert figure.locator("svg.unit-chart rect.band").get_attribute("visibility") == "visible"
    assert opened.page.locator(".span-detail dt").all_inner_texts() == [
        f"level {level}" for level in range(4)
    ]


def test_a_long_text_scrolls_with_an_overview(
    made: Maker, open_page: Callable[..., Opened]
) -> None:
    long = made("analyze", "--text", " ".join([TEXT] * 16), "--plugin", "spans:levels=2")
    opened = open_page(long, width=390)
    figure = opened.figure("spans", title="Trees of spans")
    scroller = figure.locator(".scroller")
    figure.locator("svg.overview").click(position={"x": 200, "y": 10})
    assert scroller.evaluate("e => e.scrollLeft") > 500
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_agreement_of_a_corpus(
    made: Maker, open_page: Callable[..., Opened], tmp_path: Path
) -> None:
    (tmp_path / "own.txt").write_text(" ".join([TEXT] * 4))
    run = made("corpus", str(tmp_path), "--window", "24", "--plugin", "spans")
    opened = open_page(run)
    table = opened.table(opened.figure("agreement", title="Mean strength of cuts by length"))
    strength = run.arrays["spans.strength"]
    for place, length in enumerate(run.section("spans")["lengths"]):
        np.testing.assert_allclose(table.column(length), strength[:, place], rtol=1e-5)
