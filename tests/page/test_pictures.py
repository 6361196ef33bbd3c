"""docs/pictures/pictures.json: docs, files and pages agree with it. No picture is taken here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from opened_page import Opened
from page_files import ROOT, Maker
from picture_list import FOLDER, Picture, arrange, read_pictures

PICTURES = read_pictures()
NAMED = re.compile(r'(?:!\[(?P<alt>[^\]]*)\]\(|<img src="|srcset=")(?P<path>[^)"]*pictures/[^)"]*)')


def pages() -> dict[Path, str]:
    """The text of the README and of the pages of docs."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def named(path: Path, text: str) -> set[str]:
    """The names of the pictures in a page, whose paths lead to docs/pictures."""
    found = [match["path"] for match in NAMED.finditer(text)]
    for one in found:
        assert (path.parent / one).resolve().parent == FOLDER, f"{path.name}: {one}"
    return {Path(one).name for one in found}


def test_docs_show_every_picture_and_no_other() -> None:
    files = {file for picture in PICTURES for file in picture.files}
    assert {path.name for path in FOLDER.glob("*.png")} == files
    assert set().union(*(named(*page) for page in pages().items())) == files


def test_every_picture_has_a_text_in_its_place() -> None:
    for path, text in pages().items():
        for match in NAMED.finditer(text):
            line = text[match.start() : text.index("\n", match.start())]
            if not line.startswith("srcset"):
                alt = match["alt"] or re.search(r' alt="([^"]+)">', line)
                assert alt, f"{path.name}: {line}"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.file)
def test_a_page_with_the_picture_prints_its_command(picture: Picture) -> None:
    shown = [text for page, text in pages().items() if picture.files[0] in named(page, text)]
    joined = [re.sub(r"\s*\\\n\s*", " ", text) for text in shown]
    assert any(f"    {picture.command}\n" in text for text in joined)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.file)
def test_the_page_can_be_arranged(
    picture: Picture, made: Maker, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(made(*picture.arguments), width=picture.width)
    box = arrange(opened.page, picture).bounding_box()
    assert box is not None
    assert box["height"] > 100
    if picture.show:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= picture.width
