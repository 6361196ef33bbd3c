"""Networks: links with a threshold, pinned and named nodes, paths, zoom, keys; attention edges."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from opened_page import Opened
from page_files import ROOT, Made, Maker
from playwright.sync_api import Locator, expect

Opener = Callable[..., Opened]
TEXT = "Dorothy lived in the midst of the great Kansas prairies. Dorothy lived in the"
NODES = "graph:nodes=40,threshold=0.001"
SVG = "{http://www.w3.org/2000/svg}"
FLAT = 0.95  # opacity of the links of a chosen node


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--plugin", NODES, "--plugin", "edges:rows=all,top=4")


class Drawing(NamedTuple):
    """A saved network: the places of its nodes, its links by opacity, its texts, its file."""

    nodes: list[tuple[float, float]]
    links: dict[float, int]
    texts: list[str]
    rings: int
    text: str


def numbers_in(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?[\d.]+", text)]


def drawing_of(opened: Opened, figure: Locator, folder: Path) -> Drawing:
    """What the button SVG saves."""
    text = opened.save(figure, "SVG", folder).read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    under, over = (g for g in root.iter(f"{SVG}g") if g.get("clip-path", "none") != "none")
    links: dict[float, int] = {}
    for path in under.iter(f"{SVG}path"):
        count = path.get("d", "").count("Q")
        if count:
            alpha = round(float(path.get("opacity", "1")), 3)
            links[alpha] = links.get(alpha, 0) + count
    nodes, rings = [], 0
    for path in over.iter(f"{SVG}path"):
        places = re.findall(r"M(-?[\d.]+),(-?[\d.]+)m", path.get("d", ""))
        if path.get("stroke-width") in ("2", "2px"):
            rings += len(places)
        else:
            nodes += [(float(x), float(y)) for x, y in places]
    return Drawing(nodes, links, [t.text or "" for t in root.iter(f"{SVG}text")], rings, text)


def board_of(figure: Locator) -> Locator:
    return figure.locator(".network")


def show_all(figure: Locator) -> None:
    figure.locator("input[type=range]").fill("0")


def weights_of(run: Made) -> np.ndarray[Any, Any]:
    return np.abs(run.arrays["graph.link_weight"])


def highest(drawing: Drawing) -> dict[str, float]:
    """The place of the logit, the highest node, on the board."""
    x, y = min(drawing.nodes, key=lambda node: node[1])
    return {"x": x, "y": y}


# --- numbers -------------------------------------------------------------------------------------


def test_the_table_has_every_node_and_link(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("network"))
    arrays, names = run.arrays, run.section("graph")["nodes"]
    n = len(names)
    assert table.head[:3] == ["node or link's source", "link's target", "flow or weight"]
    assert [row[0] for row in table.rows[:n]] == names
    assert len(table.rows) == n + len(arrays["graph.link_weight"]) < 1000
    for name, key in (
        ("flow or weight", "flow"),
        ("bias", "bias"),
        ("in", "in"),
        ("in pruned", "in_pruned"),
        ("out", "out"),
    ):
        place = table.head.index(name)
        shown = [float(row[place]) for row in table.rows[:n]]
        np.testing.assert_allclose(shown, arrays[f"graph.node_{key}"], rtol=6e-6, atol=1e-7)
    weights = {
        (names[source], names[target]): weight
        for source, target, weight in zip(
            arrays["graph.link_source"],
            arrays["graph.link_target"],
            arrays["graph.link_weight"],
            strict=True,
        )
    }
    shown_links = {(row[0], row[1]): float(row[2]) for row in table.rows[n:]}
    assert set(shown_links) == set(weights)
    for link, weight in weights.items():
        assert shown_links[link] == pytest.approx(weight, rel=6e-6, abs=1e-12)


def test_the_slider_says_how_many_links_are_shown(
    run: Made, open_page: Opener, tmp_path: Path
) -> None:
    opened = open_page(run)
    figure = opened.figure("network")
    weights = weights_of(run)
    assert len(weights) > 250
    slider, told = figure.locator("input[type=range]"), figure.locator("output")
    seen = set()
    for place in (None, "0", "300", "700", "1000"):
        if place:
            slider.fill(place)
        found = re.fullmatch(r"([\d.e-]+) nats: (\d+) of (\d+) links", told.text_content() or "")
        assert found, told.text_content()
        least, shown, everything = float(found[1]), int(found[2]), int(found[3])
        assert everything == len(weights)
        low = np.sum(weights >= least * 1.006), np.sum(weights >= least * 0.994)
        assert low[0] <= shown <= low[1]
        assert sum(drawing_of(opened, figure, tmp_path).links.values()) == shown
        seen.add(shown)
    assert {250, len(weights), 1} <= seen


def test_nodes_do_not_cover_each_other(run: Made, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(run)
    nodes = np.array(drawing_of(opened, opened.figure("network"), tmp_path).nodes)
    assert len(nodes) == len(run.section("graph")["nodes"])
    apart = np.hypot(*(nodes[:, None] - nodes[None, :]).transpose(2, 0, 1))
    assert apart[~np.eye(len(nodes), dtype=bool)].min() > 9


def test_a_wide_column_becomes_lines(made: Maker, open_page: Opener, tmp_path: Path) -> None:
    """On a phone's width many nodes of one token and layer fill several lines."""
    many = made(
        "analyze", "--text", TEXT, "--plugin", "graph:level=neuron,nodes=120,threshold=0.001"
    )
    opened = open_page(many, width=390)
    nodes = np.array(drawing_of(opened, opened.figure("network"), tmp_path).nodes)
    assert len(nodes) == 120
    apart = np.hypot(*(nodes[:, None] - nodes[None, :]).transpose(2, 0, 1))
    assert apart[~np.eye(len(nodes), dtype=bool)].min() > 4
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


# --- pointer, pins and names ---------------------------------------------------------------------


def test_hovering_a_node_tells_its_numbers(run: Made, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(run)
    figure = opened.figure("network")
    place = highest(drawing_of(opened, figure, tmp_path))
    board_of(figure).hover(position=place)
    tip = opened.page.locator(".tip")
    expect(tip).to_be_visible()
    text = tip.inner_text()
    arrays = run.arrays
    assert run.section("graph")["nodes"][0] in text
    for key in ("flow", "bias", "in", "out", "error"):
        value = float(arrays[f"graph.node_{key}"][0])
        (shown,) = re.findall(rf"^{key} (-?\d\S*)", text, re.MULTILINE)
        assert float(shown) == pytest.approx(value, rel=6e-3, abs=1e-12), key
    into = np.sum(arrays["graph.link_target"] == 0)
    assert re.search(rf"\d+ of {into} in, 0 of 0 out", text)
    opened.page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_a_click_pins_a_node_with_its_paths_and_a_name(
    run: Made, open_page: Opener, tmp_path: Path
) -> None:
    opened = open_page(run)
    figure = opened.figure("network")
    show_all(figure)
    first = drawing_of(opened, figure, tmp_path)
    assert first.rings == 0 and FLAT not in first.links
    board_of(figure).click(position=highest(first))
    expect(figure.locator(".network-pins li")).to_have_count(1)
    name = figure.get_by_label("Name of logit@")
    name.fill('the "answer" <b>&')
    pinned = drawing_of(opened, figure, tmp_path)
    arrays = run.arrays
    assert pinned.rings == 1
    assert 'the "answer" <b>&' in pinned.texts
    assert pinned.links[FLAT] == np.sum(arrays["graph.link_target"] == 0)
    assert sum(pinned.links.values()) == len(arrays["graph.link_weight"])
    figure.get_by_role("button", name="Unpin logit@").click()
    expect(figure.locator(".network-pins li")).to_have_count(0)
    opened.page.mouse.move(5, 5)
    board_of(figure).blur()
    after = drawing_of(opened, figure, tmp_path)
    assert after.links == first.links and after.rings == 0


def test_paths_lead_to_and_from_a_node(run: Made, open_page: Opener, tmp_path: Path) -> None:
    """Links on paths through the pinned node are strong or half strong, the others faint."""
    opened = open_page(run)
    figure = opened.figure("network")
    show_all(figure)
    board = board_of(figure)
    board.focus()
    opened.page.keyboard.press("ArrowUp")
    for _ in range(3):
        opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("Enter")
    label = figure.locator(".network-pins input").get_attribute("aria-label") or ""
    names = run.section("graph")["nodes"]
    start = names.index(label.removeprefix("Name of "))
    links = list(zip(run.arrays["graph.link_source"], run.arrays["graph.link_target"], strict=True))
    up, down = {start}, {start}
    for _ in names:
        up |= {s for s, t in links if t in up}
        down |= {t for s, t in links if s in down}
    on_paths = sum(t in up or s in down for s, t in links)
    near = sum(start in link for link in links)
    assert 0 < near < on_paths < len(links)
    board.blur()
    found = drawing_of(opened, figure, tmp_path).links
    assert found[FLAT] == near
    faint = sum(count for alpha, count in found.items() if alpha < 0.1)
    assert faint == len(links) - on_paths


def test_the_pins_survive_another_theme_and_width(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("network")
    board_of(figure).focus()
    opened.page.keyboard.press("ArrowUp")
    opened.page.keyboard.press("Enter")
    figure.locator(".network-pins input").fill("kept")
    opened.page.set_viewport_size({"width": 700, "height": 900})
    opened.page.emulate_media(color_scheme="dark")
    expect(figure.locator(".network-pins input")).to_have_value("kept")


# --- zoom and keys -------------------------------------------------------------------------------


def test_zoom_by_buttons_wheel_and_keys(run: Made, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(run)
    figure, page = opened.figure("network"), opened.page
    board = board_of(figure)

    def spread() -> float:
        nodes = np.array(drawing_of(opened, figure, tmp_path).nodes)
        return float(np.ptp(nodes[:, 0]))

    whole = spread()
    figure.get_by_role("button", name="Zoom in").click()
    near = spread()
    assert near == pytest.approx(1.4 * whole, rel=1e-3)
    figure.get_by_role("button", name="Zoom out").click()
    assert spread() == pytest.approx(whole, rel=1e-3)
    board.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert spread() == pytest.approx(1.96 * whole, rel=1e-3)
    page.keyboard.press("Shift+Tab")
    board.focus()
    page.keyboard.press("0")
    assert spread() == pytest.approx(whole, rel=1e-3)
    board.scroll_into_view_if_needed()
    board.hover()
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    page.wait_for_function("before => scrollY !== before", arg=before)
    assert spread() == pytest.approx(whole, rel=1e-3)
    board.hover()
    page.keyboard.down("Control")
    page.evaluate("addEventListener('wheel', () => { window.wheeled = true; }, true)")
    page.mouse.wheel(0, -200)
    page.wait_for_function("window.wheeled")
    page.keyboard.up("Control")
    assert spread() > 1.2 * whole
    figure.get_by_role("button", name="Reset").click()
    assert spread() == pytest.approx(whole, rel=1e-3)


def test_dragging_moves_what_is_zoomed(run: Made, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(run)
    figure, page = opened.figure("network"), opened.page
    for _ in range(3):
        figure.get_by_role("button", name="Zoom in").click()
    before = drawing_of(opened, figure, tmp_path).nodes
    board_of(figure).scroll_into_view_if_needed()
    box = board_of(figure).bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.mouse.up()
    after = drawing_of(opened, figure, tmp_path).nodes
    moved = np.array(after)[:, 0] - np.array(before)[:, 0]
    np.testing.assert_allclose(moved, -60, atol=0.3)
    expect(figure.locator(".network-pins li")).to_have_count(0)  # a drag is no click


def test_keys_move_among_the_nodes_and_tell_them(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure, page = opened.figure("network"), opened.page
    board_of(figure).focus()
    names = run.section("graph")["nodes"]
    voice = figure.locator("p[aria-live]")
    visited = []
    for key in ("ArrowUp", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
        visited.append((voice.text_content() or "").split(" ")[0])
    assert visited[0] == names[0]
    assert len(set(visited)) >= 5 and set(visited) <= set(names)
    rows = [int(name.split("@")[1]) for name in visited]
    assert rows[4] <= rows[3]
    expect(page.locator(".chip.here")).to_have_attribute("data-row", str(rows[-1]))
    page.keyboard.press(" ")
    expect(figure.get_by_label(f"Name of {visited[-1]}")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).to_be_hidden()


# --- saving, speed, two runs ---------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_the_saved_file_is_vectors(
    run: Made, open_page: Opener, tmp_path: Path, dark: bool
) -> None:
    opened = open_page(run, dark=dark)
    figure = opened.figure("network")
    drawing = drawing_of(opened, figure, tmp_path)
    assert "<image" not in drawing.text and "data:image" not in drawing.text
    tokens = [token["text"].replace(" ", "\u00b7") for token in run.results["tokens"]]
    assert {tokens[-1], tokens[0], "embed", "logit", "L0", "L3", "head", "MLP"} <= set(
        drawing.texts
    )
    png = opened.save(figure, "PNG", tmp_path).read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 20_000


def test_thousands_of_links_are_dragged_fluently(
    made: Maker, open_page: Opener, tmp_path: Path
) -> None:
    """All 3,000 links of 512 tokens, zoomed: 30 frames per second in one of 3 tries."""
    words = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8").split()
    path = tmp_path / "text.txt"
    n = 400
    while True:
        path.write_text(" ".join(words[:n]), encoding="utf-8")
        if made.count_tokens(path) <= 512:
            break
        n -= 10
    large = made("analyze", "--file", str(path), "--plugin", "graph:nodes=150,threshold=0")
    assert len(large.arrays["graph.link_weight"]) >= 3000
    opened = open_page(large)
    figure = opened.figure("network")
    show_all(figure)
    figure.get_by_role("button", name="Zoom in").click()
    drag = """frame => {
      const board = document.querySelector(".network");
      const box = board.getBoundingClientRect();
      const at = { bubbles: true, cancelable: true, view: window, button: 0, buttons: 1,
        clientX: box.left + box.width / 2 + 150 * Math.sin(frame / 20),
        clientY: box.top + 150 + 40 * Math.sin(frame / 15) };
      if (frame === 0) board.dispatchEvent(new MouseEvent("mousedown", at));
      window.dispatchEvent(new MouseEvent("mousemove", at));
    }"""
    found = []
    for _ in range(3):
        found.append(opened.frames_per_second(drag, 2))
        opened.page.evaluate("dispatchEvent(new MouseEvent('mouseup', { view: window }))")
        if found[-1] >= 30:
            return
    raise AssertionError(f"{found} frames per second")


def test_the_difference_of_two_runs(made: Maker, open_page: Opener, run: Made) -> None:
    other_text = TEXT.replace("great", "old")
    other = made(
        "analyze", "--text", other_text, "--plugin", NODES, "--plugin", "edges:rows=all,top=4"
    )
    opened = open_page(made.beside(run, other))
    opened.choose_runs("difference")
    pane = opened.page.locator('[data-figure="network"] [data-pane="difference"] figure')
    opened.show(pane)
    table = opened.table(pane)
    flows: dict[str, float] = {}
    links: dict[tuple[str, str], float] = {}
    for one, sign in ((run, 1.0), (other, -1.0)):
        names = one.section("graph")["nodes"]
        for name, flow in zip(names, one.arrays["graph.node_flow"], strict=True):
            flows[name] = flows.get(name, 0.0) + sign * float(flow)
        for source, target, weight in zip(
            *(one.arrays[f"graph.link_{key}"] for key in ("source", "target", "weight")),
            strict=True,
        ):
            key = names[source], names[target]
            links[key] = links.get(key, 0.0) + sign * float(weight)
    nodes = {row[0]: float(row[2]) for row in table.rows if not row[1]}
    assert set(nodes) == set(flows)
    for name, flow in flows.items():
        assert nodes[name] == pytest.approx(flow, rel=1e-5, abs=1e-6)
    for row in table.rows:
        if row[1]:
            assert float(row[2]) == pytest.approx(links[row[0], row[1]], rel=1e-4, abs=1e-6)
    assert "A node or link that one run lacks counts as 0." in pane.inner_text()


# --- edges ---------------------------------------------------------------------------------------


def test_edges_have_their_numbers_and_arrows(run: Made, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(run)
    figure = opened.figure("edges")
    arrays = run.arrays
    heads, sources = arrays["edges.head"][0], arrays["edges.source"][0]
    listed = np.argwhere(sources >= 0)
    table = opened.table(figure)
    rows = run.section("edges")["rows"]
    wanted = [
        [
            f"L{arrays['edges.layer'][0, r, i]}H{heads[r, i]}",
            str(sources[r, i]),
            str(rows[r]),
        ]
        for r, i in listed
    ]
    assert [row[:3] for row in table.rows] == wanted
    for key in ("weight", "norm", "share"):
        values = [float(arrays[f"edges.{key}"][0, r, i]) for r, i in listed]
        np.testing.assert_allclose(table.column(key), values, rtol=6e-6, atol=1e-9)
    assert sum(drawing_of(opened, figure, tmp_path).links.values()) == len(listed)
    figure.get_by_label("Into").select_option(index=len(rows))
    last = int(np.sum(sources[-1] >= 0))
    assert sum(drawing_of(opened, figure, tmp_path).links.values()) == last == 4
    names = [
        text for text in drawing_of(opened, figure, tmp_path).texts if re.match(r"L\dH\d", text)
    ]
    assert 0 < len(names) <= 4
    figure.get_by_role("button", name="weight", exact=True).click()
    figure.locator("input[type=range]").fill("0")
    assert re.match(rf"0: {last} of {last} links", figure.locator("output").text_content() or "")


def test_pointing_at_an_arrow_tells_its_head(run: Made, open_page: Opener, tmp_path: Path) -> None:
    opened = open_page(run)
    figure = opened.figure("edges")
    figure.get_by_label("Into").select_option(index=len(run.section("edges")["rows"]))
    text = drawing_of(opened, figure, tmp_path).text
    root = ElementTree.fromstring(text)
    (path, *_) = [p for p in root.iter(f"{SVG}path") if "Q" in p.get("d", "")]
    x0, y0, cx, cy, x1, y1 = numbers_in(path.get("d", ""))[:6]
    place = {"x": (x0 + 2 * cx + x1) / 4, "y": (y0 + 2 * cy + y1) / 4}
    board_of(figure).hover(position=place)
    tip = opened.page.locator(".tip")
    expect(tip).to_be_visible()
    found = re.search(r"L(\d)H(\d): .*@(\d+)", tip.inner_text())
    assert found
    arrays = run.arrays
    (i,) = [
        i
        for i in range(4)
        if (arrays["edges.layer"][0, -1, i], arrays["edges.head"][0, -1, i])
        == (int(found[1]), int(found[2]))
        and f"share {arrays['edges.share'][0, -1, i]:.3g}"[:8] in tip.inner_text()
    ]
    for key in ("share", "weight", "norm"):
        (shown,) = re.findall(rf"^{key} (\S+)", tip.inner_text(), re.MULTILINE)
        value = float(arrays[f"edges.{key}"][0, -1, i])
        assert float(shown) == pytest.approx(value, rel=6e-3)
