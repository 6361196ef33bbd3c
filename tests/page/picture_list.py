"""The pictures of the README and the docs: docs/pictures/pictures.json, and how a page is arranged.

tools/make_pictures.py takes the pictures; test_pictures.py compares the list with docs and page.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, NamedTuple

from page_files import ROOT
from playwright.sync_api import Locator, Page

FOLDER = ROOT / "docs/pictures"


class Picture(NamedTuple):
    """An entry of the list.

    file: a name without .png; with the theme dark, file-dark.png belongs to it.
    command: what the docs print above or below the picture; the embedded model runs it.
    show: the selector of what is seen; "" is the top of the page.
    width, height: of the window in CSS pixels; "top" pictures are as high as the window.
    steps: {"click": SELECTOR}, {"choose": [SELECTOR, OPTION]}, {"slide": [SELECTOR, VALUE]}.
    """

    file: str
    command: str
    show: str = ""
    width: int = 840
    height: int = 3000
    themes: tuple[str, ...] = ("light",)
    steps: tuple[dict[str, Any], ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command's arguments without the program's name and --html page.html."""
        words = shlex.split(self.command)
        assert words[0] == "pythiascope", self.command
        assert words[-2:] == ["--html", "page.html"], self.command
        return tuple(words[1:-2])

    @property
    def files(self) -> list[str]:
        """The names of its files."""
        return [f"{self.file}.png" if t == "light" else f"{self.file}-{t}.png" for t in self.themes]


def read_pictures() -> list[Picture]:
    """The list. A name of a member that Picture lacks is a TypeError."""
    return [Picture(**entry) for entry in json.loads((FOLDER / "pictures.json").read_text())]


def arrange(page: Page, picture: Picture) -> Locator:
    """Does a picture's steps on an open page: what is to be seen, in sight and drawn."""
    shown = page.locator(picture.show or "body")
    for step in picture.steps:
        ((act, what),) = step.items()
        if act == "click":
            page.locator(what).click()
        elif act == "choose":
            page.locator(what[0]).select_option(what[1])
        elif act == "slide":
            page.locator(what[0]).fill(what[1])
        else:
            raise ValueError(f"{picture.file}: the step {act} is unknown")
    page.mouse.move(0, 0)
    shown.scroll_into_view_if_needed()
    for area in shown.locator(".area").all() if picture.show else []:
        area.scroll_into_view_if_needed()
        area.and_(page.locator("[data-drawn]")).wait_for()
    return shown
