"""The README and the docs show what the program prints (tools/make_outputs.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import make_outputs  # noqa: E402

PAGES = [path for path in make_outputs.pages() if "    $ " in path.read_text("utf-8")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_shows_what_the_program_prints(path: Path) -> None:
    found = make_outputs.difference(path)
    assert not found, f"{found}\ntools/make_outputs.py {name_of(path)} makes the page again"


def test_the_readme_and_most_instruments_show_an_output() -> None:
    assert ROOT / "README.md" in PAGES
    assert len([path for path in PAGES if path.parent.name == "plugins"]) >= 10


def test_a_wrong_output_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("\n    $ pythiascope --version\n    pythiascope of old\n\nmore\n", "utf-8")
    monkeypatch.setattr(make_outputs, "ROOT", tmp_path)
    monkeypatch.setattr(make_outputs, "run", lambda command, folder: "pythiascope of today\n")
    assert "+    pythiascope of today" in make_outputs.difference(page)
    assert make_outputs.main([str(page)]) == 0
    assert "of old" not in page.read_text("utf-8")
    assert make_outputs.difference(page) == ""


def test_machines_and_releases_differ() -> None:
    one = "books  0123  pythiascope 0.2.0, avx512, 16 threads"
    other = "books  0123  pythiascope 1.0.0, neon, 1 thread"
    patterns = make_outputs.MACHINE + make_outputs.IGNORED
    assert make_outputs.replaced(one, patterns) == make_outputs.replaced(other, patterns)


def test_commands_variables_and_blocks(tmp_path: Path) -> None:
    lines = ["    $ A='x y'", "    $ pythiascope \\", "          --version", "    old", "", "after"]
    (block,) = make_outputs.blocks_of(lines)
    assert (block.begin, block.end) == (0, 4)
    commands = list(make_outputs.commands_of(lines[:4], "    "))
    assert commands == [["$ A='x y'"], ["$ pythiascope \\", "      --version"]]
    assert make_outputs.run(commands[0], tmp_path) == ""
    assert make_outputs.run(["$ echo $A"], tmp_path) == "x y\n"


def test_options_choose_lines() -> None:
    text = "model\n\nlogits ─────\n  a\n  why\n\nln ─────\n  c\n"
    assert make_outputs.chosen(text, {"sections": "ln"}) == ["model", "", "ln ─────", "  c"]
    assert make_outputs.chosen(text, {"head": "no", "lines": "2"}) == ["logits ─────", "  a", "..."]
    assert make_outputs.chosen(text, {"from": "why", "lines": "1"}) == ["  why", "..."]
    assert make_outputs.chosen("", {}) == []
