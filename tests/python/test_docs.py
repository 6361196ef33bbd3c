"""The examples of the pages run, and print what the pages show."""

from __future__ import annotations

import re

import pages
import pytest

PAGES = {"docs/python.md": 20, "docs/from_transformerlens.md": 1}  # and least blocks


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_the_page_shows(page: str) -> None:
    pages.check_page(pages.ROOT / page)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_python_is_run(page: str) -> None:
    text = (pages.ROOT / page).read_text(encoding="utf-8")
    fences = len(re.findall(r"^\s*(?:```|~~~)\s*(?:python|py)\b", text, re.MULTILINE))
    assert fences == len(pages.blocks_of(text)) >= PAGES[page]


def test_a_wrong_output_is_found() -> None:
    text = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    (block,) = pages.blocks_of(text)
    assert pages.difference(block.output or "", pages.printed(block, "page", {})) != ""
    assert pages.difference("2\n", pages.printed(block, "page", {})) == ""


def test_an_output_that_is_not_shown_is_found() -> None:
    (block,) = pages.blocks_of("```python\nprint(1)\n```\n")
    assert block.output is None
    assert pages.difference("", pages.printed(block, "page", {})) != ""


def test_blocks_name_what_they_need() -> None:
    text = "```python needs=no_such_module,./no_such_file\npass\n```\n"
    (block,) = pages.blocks_of(text)
    assert pages.missing(block) == ["no_such_module", "./no_such_file"]
