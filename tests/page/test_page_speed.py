"""A page of 512 tokens and 3,000 links opens in 2 seconds, and scrolls and drags at 30 frames/s.

Seconds are the page's own (Opened.own_seconds), so that the load of the machine does not count.
pytest -s prints what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from opened_page import Opened
from page_files import ROOT, TEXT, Made, Maker

Opener = Callable[..., Opened]
SECONDS = 2.0
FRAMES = 30.0
TOKENS = 512
LINKS = 3000
PLUGINS = ("logits", "ln", "mlp", "lens:rows=all", "attention:patterns=yes", "roles")
TRIES = 5  # of a measurement: the processors may be slow for a moment


def text_of(program: Maker, folder: Path) -> Path:
    """A file with a text of TOKENS tokens, from the repository's own prose."""
    words = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8").split()
    low, high = 0, 400
    path = folder / "text.txt"
    while low < high:  # the most words that the context holds
        middle = (low + high + 1) // 2
        path.write_text(" ".join(words[:middle]), encoding="utf-8")
        low, high = (middle, high) if program.count_tokens(path) <= TOKENS else (low, middle - 1)
    path.write_text(" ".join(words[:low]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def large(made: Maker, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The page of the longest prompt of the embedded model, with a network."""
    path = text_of(made, tmp_path_factory.mktemp("text"))
    plugins = [word for plugin in PLUGINS for word in ("--plugin", plugin)]
    graph = ("--plugin", "graph:nodes=150,threshold=0")
    run = made("analyze", "--file", str(path), *plugins, *graph)
    assert len(run.results["tokens"]) > TOKENS - 8
    assert len(run.arrays["graph.link_weight"]) >= LINKS
    return run


def test_it_opens_in_two_seconds(large: Made, open_page: Opener) -> None:
    took = []
    for _ in range(TRIES):
        opened = open_page(large)
        opened.page.evaluate("() => new Promise(done => requestAnimationFrame(done))")
        took.append(opened.own_seconds())
        opened.page.close()
        print(f"opened in {took[-1]:.2f} s")
        if took[-1] < SECONDS:
            return
    raise AssertionError(f"opened in {took} s")


def fast_enough(measure: Callable[[], float]) -> None:
    """One of TRIES measurements reaches FRAMES per second."""
    found = []
    for _ in range(TRIES):
        found.append(measure())
        print(f"{found[-1]:.1f} frames per second")
        if found[-1] >= FRAMES:
            return
    raise AssertionError(f"{found} frames per second")


def test_it_scrolls_fluently(large: Made, open_page: Opener) -> None:
    opened = open_page(large)
    fast_enough(lambda: opened.frames_per_second("frame => scrollTo(0, frame * 30)", 2))


def test_tokens_are_selected_fluently(large: Made, open_page: Opener) -> None:
    opened = open_page(large)
    chips = "document.querySelectorAll('.chip')"
    act = f"frame => {chips}[frame % 512].dispatchEvent(new PointerEvent('pointerover', "
    fast_enough(lambda: opened.frames_per_second(act + "{bubbles: true, pointerType: 'mouse'}))"))


def test_the_network_is_dragged_fluently(large: Made, open_page: Opener) -> None:
    opened = open_page(large)
    mouse = opened.page.mouse
    area = opened.figure("network").first.locator(".area")
    area.evaluate("area => area.scrollIntoView({block: 'center', behavior: 'instant'})")
    box = area.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag() -> None:
        mouse.move(x, y)
        mouse.down()
        for step in range(60):
            mouse.move(x + 3 * step, y + step)
        mouse.up()

    fast_enough(lambda: opened.frames_during(drag))


def test_a_short_page_is_small(made: Maker) -> None:
    page = made("analyze", "--text", TEXT)
    assert page.html.stat().st_size < 1_000_000
