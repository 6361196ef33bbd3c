"""The page itself: spine, selection, frames, saving, themes, widths, print, accessibility."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opened_page import Opened
from page_files import TEXT, Made, Maker


@pytest.fixture(scope="module")
def page_of_prompt(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--plugin", "logits", "--plugin", "lens:rows=all")


def test_the_spine_has_every_token(page_of_prompt: Made, open_page: Callable[..., Opened]) -> None:
    page = open_page(page_of_prompt).page
    tokens = page_of_prompt.results["tokens"]
    chips = page.locator(".chip").all_text_contents()
    assert chips == [token["text"].replace(" ", "·") for token in tokens]
