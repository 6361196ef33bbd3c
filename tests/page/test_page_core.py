"""The page itself: spine, selection, frames, saving, themes, widths, print, accessibility."""

from __future__ import annotations

import itertools
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from opened_page import Opened
from page_files import TEXT, Made, Maker, changed
from playwright.sync_api import Locator, Page, expect

Opener = Callable[..., Opened]
PROMPT = (
    "analyze",
    "--text",
    TEXT,
    "--plugin",
    "logits",
    "--plugin",
    "lens:rows=all",
    "--plugin",
    "roles",
)
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def prompt(made: Maker) -> Made:
    """A page with a spine."""
    return made(*PROMPT)


def chip(page: Page, row: int) -> Locator:
    """The token of a row in the spine."""
    return page.locator(f'.chip[data-row="{row}"]')


def selected(page: Page) -> tuple[int | None, bool]:
    """The selected row, and whether it is locked."""
    here = page.locator('.chip[aria-selected="true"]')
    if here.count() == 0:
        return None, False
    return int(here.get_attribute("data-row") or ""), "locked" in (
        here.get_attribute("class") or ""
    )


def test_the_spine_has_every_token(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    tokens = prompt.results["tokens"]
    chips = page.locator(".chip").all_text_contents()
    assert chips == [token["text"].replace(" ", "·") for token in tokens]


def test_every_section_names_its_page_of_the_manual(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    names = list(prompt.results["plugins"])
    notes = page.locator(".section > .docs").all_text_contents()
    assert notes == [f"See docs/plugins/{name}.md." for name in names]


def test_hover_selects_a_token_and_a_click_locks_it(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    chip(page, 3).hover()
    expect(page.locator(".token-panel h2")).to_have_text("ald")
    assert selected(page) == (3, False)
    token = prompt.results["tokens"][3]
    facts = page.locator(".token-panel .facts").inner_text().split()
    assert facts == ["id", str(token["id"]), "row", "3"]
    chip(page, 5).click()
    assert selected(page) == (5, True)
    chip(page, 7).hover()
    assert selected(page) == (5, True)
    page.keyboard.press("Escape")
    chip(page, 8).hover()
    assert selected(page) == (8, False)


def test_the_lock_button_keeps_the_focus(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    chip(page, 4).hover()
    lock = page.locator(".token-panel").get_by_role("button", name="Lock")
    lock.click()
    expect(page.locator(".token-panel").get_by_role("button", name="Unlock")).to_be_focused()
    page.keyboard.press("Enter")
    expect(lock).to_be_focused()
    assert selected(page) == (4, False)


def test_keys_move_lock_and_let_go(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    last = len(prompt.results["tokens"]) - 1
    chip(page, last).focus()
    assert selected(page) == (last, False)
    for key, row in (
        ("Home", 0),
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", last),
    ):
        page.keyboard.press(key)
        assert selected(page) == (row, False)
    page.keyboard.press("Enter")
    assert selected(page) == (last, True)
    page.keyboard.press("ArrowLeft")
    assert selected(page) == (last - 1, True)
    page.keyboard.press("Escape")
    assert selected(page) == (last - 1, False)
    page.keyboard.press("Escape")
    assert selected(page) == (None, False)


def test_arrows_up_and_down_go_to_the_next_line(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt, width=390).page
    chip(page, 0).focus()
    page.keyboard.press("ArrowDown")
    row, _ = selected(page)
    first, second = (chip(page, r).bounding_box() for r in (0, row or 0))
    assert first and second
    assert row and second["y"] > first["y"] and abs(second["x"] - first["x"]) < 40
    page.keyboard.press("ArrowUp")
    assert selected(page)[0] in (0, 1)


def test_a_screen_reader_is_told_of_the_token(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    chip(page, 2).click()
    expect(page.locator(".token-panel [role=status]")).to_have_text("mer, row 2, locked")


def test_several_sequences_are_groups(made: Maker, open_page: Opener) -> None:
    page_of_two = made(
        "analyze",
        "--text",
        TEXT,
        "--source",
        TEXT.replace("Oz", "us"),
        "--patch",
        "1_mlp_out:source=1",
    )
    page = open_page(page_of_two).page
    sequences = {token["sequence"] for token in page_of_two.results["tokens"]}
    groups = page.locator(".chips [role=group]").count()
    assert groups == (len(sequences) if len(sequences) > 1 else 0)
    assert page.locator(".chip").count() == len(page_of_two.results["tokens"])


def test_a_figure_is_drawn_when_it_comes_into_sight(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    areas = page.locator(".area")
    assert page.locator(".area[data-drawn]").count() < areas.count()
    areas.last.scroll_into_view_if_needed()
    expect(areas.last).to_have_attribute("data-drawn", "yes")


def test_a_generic_table_has_the_numbers_of_the_file(made: Maker, open_page: Opener) -> None:
    run = made("analyze", "--text", TEXT, "--plugin", "frozen:map=block,row=last")
    opened = open_page(run)
    shown = opened.table(opened.figure("bars", "frozen").first)
    image = run.arrays["frozen.image"]
    assert shown.head[0] == "d_model"
    values = np.array(shown.column(shown.head[1])[:-1])
    row = np.abs(image - values[0]).min(axis=1).argmin()
    ranked = image[row][np.argsort(-np.abs(image[row]), kind="stable")]
    np.testing.assert_allclose(values, ranked[: len(values)], rtol=1e-5)
    rest = float(shown.rows[-1][1])
    np.testing.assert_allclose(rest, ranked[len(values) :].sum(), rtol=1e-3, atol=1e-5)


def test_the_foot_names_command_model_version_and_options(prompt: Made, open_page: Opener) -> None:
    foot = open_page(prompt).page.locator(".foot").inner_text()
    results = prompt.results
    assert results["model"]["hash"] in foot
    assert f"pythiascope {results['pythiascope']['version']}" in foot
    assert "pythiascope analyze --text" in foot
    assert "rows=all ln=own" in re.sub(r"\s+", " ", foot)


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file, in pixels."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def save_first(opened: Opened, folder: Path) -> tuple[ET.Element, tuple[int, int], str]:
    """Saves the first figure: the SVG's root, the PNG's size in pixels, and the title."""
    figure = opened.page.locator("figure").first
    opened.show(figure)
    vector = opened.save(figure, "SVG", folder)
    image = opened.save(figure, "PNG", folder)
    assert vector.stem == image.stem and vector.stem.startswith("pythiascope-")
    return ET.parse(vector).getroot(), png_size(image), figure.locator("h4").inner_text()


@pytest.mark.parametrize("plugin", ["logits", "lens", "roles", "ln", "spans", "effects"])
def test_figures_are_saved(plugin: str, made: Maker, open_page: Opener, tmp_path: Path) -> None:
    more = ("--ablate", "L0H3") if plugin == "effects" else ()
    opened = open_page(made("analyze", "--text", TEXT, "--plugin", plugin, *more))
    root, size, title = save_first(opened, tmp_path)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert size == (2 * width, 2 * height)
    texts = [
        text for node in root.iter("{http://www.w3.org/2000/svg}text") for text in node.itertext()
    ]
    assert texts[0] in title and len(texts) > 3
    attributes = {name for node in root.iter() for name in node.attrib}
    assert not attributes & {"class", "style", "tabindex", "onclick"}
    assert "var(" not in ET.tostring(root, encoding="unicode")


def test_the_theme_button_changes_colors_and_is_remembered(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    theme = page.get_by_role("button", name="Theme: ")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(paper)
    drawing = page.locator(".area[data-drawn]").first
    before = drawing.inner_html()
    theme.click()
    expect(theme).to_have_text("Theme: light")
    theme.click()
    expect(theme).to_have_text("Theme: dark")
    assert page.evaluate(paper) != light
    assert drawing.inner_html() != before
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(paper) != light


@pytest.mark.parametrize("width", [390, 760, 1200, 1900])
def test_no_width_scrolls_sideways(width: int, prompt: Made, open_page: Opener) -> None:
    opened = open_page(prompt, width=width)
    opened.draw_all()
    page = opened.page
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0


def test_on_a_phone_the_panel_leaves_most_of_the_window(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt, width=390, height=800).page
    chip(page, 4).click()
    spine, panel = (
        page.locator(".spine").bounding_box(),
        page.locator(".token-panel").bounding_box(),
    )
    assert spine and panel
    assert spine["height"] + panel["height"] < 0.25 * 800
    page.get_by_role("button", name="More of the token").click()
    opened = page.locator(".token-panel").bounding_box()
    assert opened and panel["height"] < opened["height"] < 0.6 * 800


def test_paper_gets_every_figure_in_light_colors(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt, dark=True).page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".area").count() == page.locator(".area[data-drawn]").count()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    expect(page.locator(".token-panel")).to_be_hidden()
    expect(page.locator(".buttons").first).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('.spine')).position") == "static"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") is None


def test_without_scripts_the_text_is_there(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt, scripts=False).page
    expect(page.locator("details#text")).to_have_attribute("open", "")
    expect(page.locator("details#text pre")).to_be_visible()


def test_the_text_is_folded_at_the_foot(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    expect(page.locator("footer details#text pre")).to_be_hidden()
    page.locator("details#text summary").click()
    expect(page.locator("footer details#text pre")).to_be_visible()


def findings(page: Page) -> list[tuple[str, str]]:
    """Serious and critical findings of axe-core: rule and element."""
    results: dict[str, Any] = Axe().run(page).response
    return [
        (finding["id"], node["html"][:200])
        for finding in results["violations"]
        if finding["impact"] in SERIOUS
        for node in finding["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_nothing_serious(dark: bool, width: int, prompt: Made, open_page: Opener) -> None:
    opened = open_page(prompt, dark=dark, width=width)
    opened.draw_all()
    page = opened.page
    chip(page, 6).click()
    page.get_by_role("button", name="Table of ").first.click()
    assert findings(page) == []


def test_the_first_stop_leads_past_the_head(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_headings_are_in_order(prompt: Made, open_page: Opener) -> None:
    page = open_page(prompt).page
    levels = page.locator("h1, h2, h3, h4, h5").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_an_error_in_a_figure_is_one_sentence(
    prompt: Made, open_page: Opener, tmp_path: Path
) -> None:
    def spoil(data: Any) -> None:
        sections = {section["name"]: section for section in data["runs"][0]["sections"]}
        for array in sections["lens"]["arrays"].values():
            array["data"] = "no base64!"

    opened = open_page(changed(prompt, spoil, tmp_path / "spoiled.html"))
    page = opened.page
    opened.draw_all()
    chip(page, 3).hover()
    failures = page.locator(".failure")
    assert failures.count() > 0
    assert page.locator('[data-section="lens"] .failure').count() == failures.count()
    assert "could not be drawn" in failures.first.inner_text()
    assert page.locator('[data-section="roles"] svg').count() > 0
    assert opened.complaints  # the console has the reasons
    opened.complaints.clear()


def test_no_text_becomes_markup(prompt: Made, open_page: Opener, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>\u202e\0<style>*{display:none}</style>"

    def infect(data: Any) -> None:
        run = data["runs"][0]
        data["command"] = data["notes"][:0] or hostile
        data["notes"].append(hostile)
        run["label"] = hostile
        run["model"]["path"] = hostile
        run["vocabulary"] = dict.fromkeys(run["vocabulary"], hostile)
        for token in run["tokens"]:
            token["text"] = hostile
        for section in run["sections"]:
            section["name"] += hostile
            section["options"] = {hostile: hostile}
            section["summary"] = [
                hostile,
                {"title": hostile, "unit": "", "labels": [], "values": []},
            ]
            section["values"] = {hostile: hostile}
            for axis in section["axes"].values():
                if isinstance(axis.get("labels"), list):
                    axis["labels"] = [hostile for _ in axis["labels"]]

    scripts = open_page(prompt).page.locator("script").count()
    opened = open_page(changed(prompt, infect, tmp_path / "infected.html"))
    opened.draw_all()
    page = opened.page
    chip(page, 3).click()
    page.get_by_role("button", name="Table of ").first.click()
    assert page.locator("img, body style").count() == 0
    assert page.locator("script").count() == scripts
    assert page.locator(".chip").first.is_visible()
    assert "</script><img src=x" in page.locator(".foot").inner_text()
