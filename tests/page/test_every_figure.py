"""Every figure of pages with all plugins: drawn, labelled, with a table, saved, in every width."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from opened_page import Opened
from page_files import ROOT, TEXT, Made, Maker
from playwright.sync_api import Page

Opener = Callable[..., Opened]
VECTOR = "{http://www.w3.org/2000/svg}"
SERIOUS = ("serious", "critical")
PROMPT = ["logits", "ln", "mlp", "lens:rows=all", "sampling", "frozen", "graph", "edges"]
PROMPT += ["roles", "neurons", "attention:patterns=yes", "spans", "partition", "words"]
TOTALS = ["logits", "ln", "mlp", "lens", "attention", "neurons", "means", "partition"]
TOTALS += ["sampling", "spans", "words"]


def plugins(names: list[str]) -> list[str]:
    """Options that load plugins."""
    return [word for name in names for word in ("--plugin", name)]


CIRCUIT = plugins(["circuit:edges=20", "attribution", "gradient"])
KINDS = ("prompt", "edited", "sweep", "weights", "corpus", "circuit", "pairs")


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, made: Maker) -> Made:
    """A page of each verb that writes one."""
    documents = str(ROOT / "tests" / "page" / "README.md")
    given = {
        "prompt": ["analyze", "--text", TEXT, *plugins(PROMPT)],
        "edited": ["analyze", "--text", TEXT, "--ablate", "L0H3", *plugins(["effects", "logits"])],
        "sweep": ["sweep", "--text", TEXT],
        "weights": ["weights"],
        "circuit": ["analyze", "--text", TEXT, "--source", TEXT.replace("Oz", "a"), *CIRCUIT],
        "pairs": ["analyze", "--pairs", str(ROOT / "models/pairs/pronouns.jsonl"), *CIRCUIT],
        "corpus": ["corpus", documents, *plugins(TOTALS)],
    }
    return made(*given[request.param])


def draw_all(opened: Opened) -> Page:
    """Draws every figure."""
    opened.draw_all()
    assert opened.page.locator(".failure").all_text_contents() == []
    return opened.page


def test_every_figure_has_a_drawing_a_label_and_a_table(run: Made, open_page: Opener) -> None:
    page = draw_all(open_page(run))
    wrong = page.locator("figure:visible").evaluate_all(
        """figures => figures.filter(figure => {
             const area = figure.querySelector(".area");
             const buttons = [...figure.querySelectorAll("button")];
             const table = buttons.some(button => button.textContent === "Table");
             const marks = area.children.length > 0 && area.clientHeight > 10;
             return !marks || !table || !area.getAttribute("aria-label");
           }).map(figure => figure.innerText)"""
    )
    assert wrong == []
    assert page.locator("figure").count() > 1


# Presses every button "SVG" and gathers [title, text of the file]: a browser asks before it lets a
# page save more than ten files.
SAVE_ALL = """async () => {
  const saved = [];
  const make = URL.createObjectURL;
  URL.createObjectURL = blob => { saved.push(blob); return make(blob); };
  HTMLAnchorElement.prototype.click = () => {};
  const found = [];
  for (const figure of document.querySelectorAll("figure")) {
    if (!figure.checkVisibility()) continue;
    [...figure.querySelectorAll("button")].find(b => b.textContent === "SVG").click();
    await new Promise(done => setTimeout(done));
    found.push([figure.querySelector("h4").textContent, await saved.pop().text()]);
  }
  return found;
}"""


def test_every_figure_is_saved_as_svg(run: Made, open_page: Opener) -> None:
    page = draw_all(open_page(run))
    saved: list[list[str]] = page.evaluate(SAVE_ALL)
    assert len(saved) == page.locator("figure:visible").count()
    for title, text in saved:
        root = ET.fromstring(text.encode())
        marks = [node.tag.removeprefix(VECTOR) for node in root.iter()]
        assert len(marks) > 4, title
        assert "text" in marks, title
        assert "var(--" not in text and "foreignObject" not in text, title
        assert not re.search(r"(?:href|src)=\"(?!#|data:image)", text), title
        assert float(root.attrib["width"]) > 100 and float(root.attrib["height"]) > 40, title


def test_every_table_opens(run: Made, open_page: Opener) -> None:
    page = draw_all(open_page(run))
    for toggle in page.get_by_role("button", name="Table of ").all():
        toggle.click()
    assert page.locator(".failure").all_text_contents() == []
    ragged = page.locator("figure > .table > table").evaluate_all(
        """tables => tables.filter(table => [...table.tBodies[0].rows].some(
             row => row.cells.length !== table.tHead.rows[0].cells.length))
             .map(table => table.caption.textContent)"""
    )
    assert ragged == []


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(width: int, run: Made, open_page: Opener) -> None:
    page = draw_all(open_page(run, width=width))
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(dark: bool, run: Made, open_page: Opener) -> None:
    page = draw_all(open_page(run, dark=dark))
    response: dict[str, Any] = Axe().run(page).response
    found = [
        (finding["id"], node["html"][:200], node["failureSummary"][:300])
        for finding in response["violations"]
        if finding["impact"] in SERIOUS
        for node in finding["nodes"]
    ]
    assert found == []
