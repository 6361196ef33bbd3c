"""A result in a notebook: its page in a frame of its own, drawn, saved, and without a way out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from opened_page import MOST
from page_files import ROOT
from playwright.sync_api import Browser, expect

MAKE = """
import sys, pythiascope
result = pythiascope.Model(threads=1).lens("the sun rose over <b>the sea", rows="all")
with open(sys.argv[1], "w", encoding="utf-8") as page:
    page.write("<!doctype html><meta charset=utf-8><title>notebook</title><p id=own>a cell</p>")
    page.write(result._repr_html_())
"""


@pytest.fixture(scope="module")
def notebook(program: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a result as a notebook shows it."""
    library = next(Path(program).resolve().parent.glob("libpythiascope.*"), None)
    if library is None:
        pytest.skip("there is no shared library beside the program")
    path = tmp_path_factory.mktemp("notebook") / "notebook.html"
    settings = {"PYTHONPATH": str(ROOT / "python"), "PYTHIASCOPE_LIBRARY": str(library)}
    subprocess.run(
        [sys.executable, "-c", MAKE, str(path)], env={**os.environ, **settings}, check=True
    )
    return path


def test_the_frame_is_drawn_and_saved(browser: Browser, notebook: Path, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 900, "height": 900})
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda request: heard.append(f"request: {request.url}"))
    page.goto(notebook.as_uri())
    frame = page.frame_locator("iframe")
    figure = frame.locator('[data-figure="lens"] figure').first
    figure.locator(".area[data-drawn] svg").first.wait_for()
    assert frame.locator("b").count() == 0
    with page.expect_download() as waiting:
        figure.get_by_role("button", name=" as SVG").click()
    waiting.value.save_as(tmp_path / "figure.svg")
    assert "<svg" in (tmp_path / "figure.svg").read_text(encoding="utf-8")
    inner = page.frames[1]
    assert inner.evaluate("self.origin") == "null"
    assert (
        inner.evaluate("() => { try { return parent.document.title } catch { return '' } }") == ""
    )
    known = (f"request: {notebook.as_uri()}", "request: blob:", "request: data:")
    assert [line for line in heard if not line.startswith(known)] == []
    context.close()


def test_a_viewer_without_frames_shows_the_text(browser: Browser, notebook: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    text = notebook.read_text(encoding="utf-8")
    begin, end = text.index("<iframe"), text.index("</iframe>")
    page.set_content((text[:begin] + text[end:]).replace("style=", "data-no="))
    shown = page.locator("pre").inner_text()
    assert "|<|b|>|the| sea" in shown
    assert "The logit lens at @" in shown
    page.close()


def test_without_scripts_the_frame_shows_the_text(browser: Browser, notebook: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(notebook.as_uri())
    # The frame loads late, and Chromium may run its scripts before it learns not to.
    shown = page.frame_locator("iframe").locator("pre", has_text="The logit lens at @")
    expect(shown).to_have_count(1, timeout=MOST)
    context.close()
