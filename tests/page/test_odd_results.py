"""What a plugin may leave although it makes no sense: the page tells what it can, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from opened_page import Opened
from page_files import TEXT, Made, Maker, changed, encoded
from playwright.sync_api import expect

Opener = Callable[..., Opened]
MOST = 2**31 - 1
NODES = {
    "node_kind": np.array([0, 1, 0, 99, -1, 1]),
    "node_layer": np.array([0, 1, MOST, -MOST, 2, 0]),
    "node_row": np.array([0, 1, 2, 1, MOST, -7]),
    "node_flow": np.array([1.0, np.nan, -2.0, np.inf, 3.0, 4.0]),
}
LINKS = {
    "link_source": np.array([0, 1, 4, 99, -1, 0]),
    "link_target": np.array([1, 2, 1, 0, MOST, 2]),
    "link_weight": np.array([0.5, -0.25, 1.0, 1.0, 1.0, np.inf]),
}


def with_section(made: Maker, name: str, section: dict[str, Any], folder: Path) -> Path:
    """A page with tokens and this section before another."""
    given = {"name": name, "version": "1", "options": {}, "values": {}, "summary": [], **section}
    page: Made = made("analyze", "--text", TEXT, "--plugin", "ln")
    return changed(
        page, lambda data: data["runs"][0]["sections"].insert(0, given), folder / "p.html"
    )


def numbers(n: int) -> dict[str, Any]:
    return {"n": n, "numbers": {"from": 0}}


def test_nodes_and_links_that_fit_nothing_are_left_out(
    made: Maker, open_page: Opener, tmp_path: Path
) -> None:
    arrays = {key: encoded(array, ["nodes"]) for key, array in NODES.items()}
    arrays |= {key: encoded(array, ["links"]) for key, array in LINKS.items()}
    axes = {"nodes": {"n": 6, "labels": [f"n{i}" for i in range(6)]}, "links": numbers(6)}
    section = {"axes": axes, "arrays": arrays, "values": {"kinds": ["constructor", "head"]}}
    opened = open_page(with_section(made, "odd", section, tmp_path))
    figure = opened.figure("network", "odd")
    expect(figure.locator(".network")).to_be_visible()
    expect(figure.locator(".note")).to_have_text("Left out: 2 nodes at no token of this run.")
    table = opened.table(figure)
    assert [row[:3] for row in table.rows] == [
        ["n0", "", "1"],
        ["n1", "", "-"],
        ["n2", "", "-2"],
        ["n3", "", "Infinity"],
        ["n0", "n1", "0.5"],
        ["n1", "n2", "-0.25"],
    ]
    opened.figure("denominators", "ln")


def test_numbers_at_the_end_of_the_range_have_no_place_on_an_axis(
    made: Maker, open_page: Opener, tmp_path: Path
) -> None:
    large = {**encoded(np.array([1.0, -1.0, 0.5, 0.0]), ["steps"]), "scale": 2.0**1023}
    section = {"axes": {"steps": numbers(4)}, "arrays": {"large": large}}
    opened = open_page(with_section(made, "odd", section, tmp_path))
    figure = opened.figure("lines", "odd")
    assert figure.locator("svg circle").count() == 1
    np.testing.assert_allclose(opened.table(figure).column("large")[0], 2.0**1023, rtol=1e-5)
