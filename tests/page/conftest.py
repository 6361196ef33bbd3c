"""What all tests of the page share: pages made by the program, opened in headless Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opened_page import MOST, Opened, find_browser, open_in
from page_files import ROOT, Made, Maker
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

expect.set_options(timeout=MOST)


@pytest.fixture(scope="session")
def program() -> str:
    """The path of the program."""
    path = os.environ.get("PYTHIASCOPE_PROGRAM") or str(ROOT / "build/release/pythiascope")
    if not os.access(path, os.X_OK):
        pytest.skip(f"there is no program at {path}; set PYTHIASCOPE_PROGRAM")
    return path


@pytest.fixture(scope="session")
def made(program: str, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """made("analyze", "--text", ...) runs the program: a folder and a page, once per list."""
    return Maker(program, tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def playwright_driver() -> Iterator[Playwright]:
    """Playwright, without a browser."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright_driver: Playwright) -> Iterator[Browser]:
    """Headless Chromium: $PSC_CHROMIUM, or the first of NAMES in PATH."""
    try:
        opened = find_browser(playwright_driver)
    except FileNotFoundError as error:
        pytest.fail(str(error))
    yield opened
    opened.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """open_page(made, width=1200, height=900, ...) opens a page; the options are those of open_in.

    When the test ends, no page may have written a warning or an error to the console, thrown an
    error, or asked for anything but itself.
    """
    pages: list[Opened] = []

    def open_one(page: Made | Path, **options: object) -> Opened:
        pages.append(open_in(browser, page, **options))
        return pages[-1]

    yield open_one
    complaints = [complaint for page in pages for complaint in page.complaints]
    for page in pages:
        page.context.close()
    assert complaints == []
