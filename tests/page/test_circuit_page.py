"""Circuits: the graph, its slider and inputs, curves, errors of the scores, also over pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from opened_page import Opened
from page_files import ROOT, Made, Maker

Opener = Callable[..., Opened]
NAME = "There was once a giant named {}. Nobody in the village had ever seen Grumb"
PROMPTS = ("--text", NAME.format("Grumbold"), "--source", NAME.format("Grumbling"))
RUN = ("analyze", *PROMPTS, "--target", "old", "--plugin")
PAIRS = ("analyze", "--pairs", str(ROOT / "models" / "pairs" / "pronouns.jsonl"), "--plugin")


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made(*RUN, "circuit:scores=eap_ig,edges=20")


def names_of(run: Made) -> list[str]:
    """The edges of the circuit, in their order."""
    section, arrays = run.section("circuit"), run.arrays
    ends = zip(arrays["circuit.edge_receiver"], arrays["circuit.edge_sender"])
    return [f"{section['receivers'][r]}<-{section['senders'][s]}" for r, s in ends]


def test_the_table_has_every_edge(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("circuit", title="Circuit"))
    arrays = run.arrays
    for key in ("score", "exact", "lost", "connected"):
        shown = table.column(key)
        np.testing.assert_allclose(shown, arrays[f"circuit.edge_{key}"], rtol=1e-5)
    shown_names = [
        f"{to}{'.' if kind else ''}{kind}<-{sender}" for _, sender, to, kind, *_ in table.rows
    ]
    assert shown_names == names_of(run)


def test_the_slider_adds_edges_in_their_order(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("circuit", title="Circuit")
    slider = figure.get_by_role("slider", name="Number of edges shown")
    for n in (20, 5, 1):
        slider.evaluate(
            "(node, n) => { node.value = n; node.dispatchEvent(new Event('input')); }", n
        )
        drawn = figure.locator(".links path").evaluate_all(
            "paths => paths.map(path => path.dataset.edge)"
        )
        assert drawn[::-1] == names_of(run)[:n]
        sizes = run.section("circuit")["sizes"]
        faithfulness = run.arrays["circuit.curve_faithfulness"][sizes.index(n)]
        told = figure.locator("output").inner_text()
        assert told.startswith(f"{n} of 20, faithfulness ")
        assert float(told.split()[-1]) == pytest.approx(faithfulness, abs=0.006)


def test_widths_and_colors_are_the_scores(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("circuit", title="Circuit")
    read = "paths => paths.map(p => [p.getAttribute('stroke-width'), p.getAttribute('stroke')])"
    for label, key in (("approximate", "edge_score"), ("exact", "edge_exact")):
        figure.get_by_role("button", name=label, exact=True).click()
        drawn = figure.locator(".links path").evaluate_all(read)[::-1]
        value = run.arrays[f"circuit.{key}"]
        expected = np.maximum(0.8, 7 * np.abs(value) / np.abs(value).max())
        np.testing.assert_allclose([float(one[0]) for one in drawn], expected, atol=0.01)
        colors = {
            sign: {c for (_, c), v in zip(drawn, value) if (v < 0) == sign} for sign in (0, 1)
        }
        assert len(colors[0]) == len(colors[1]) == 1
        assert colors[0] != colors[1]


def test_inputs_are_apart(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("circuit", title="Circuit")
    for kind in ("q", "k", "v"):
        figure.get_by_role("button", name=kind, exact=True).click()
        drawn = figure.locator(".links path").evaluate_all(
            "paths => paths.map(path => path.dataset.edge)"
        )
        wanted = [name for name in names_of(run) if f".{kind}<-" in name]
        assert sorted(drawn) == sorted(wanted)


def test_edges_and_components_tell_themselves(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    figure = opened.figure("circuit", title="Circuit")
    svg = figure.locator("svg.circuit")
    svg.focus()
    arrays = run.arrays
    for i in range(3):
        opened.page.keyboard.press("ArrowRight")
        lines = opened.page.locator(".tip").inner_text().split("\n")
        assert lines[1] == f"edge {i + 1}"
        for line, key in zip(lines[2:4], ("score", "exact")):
            shown = float(line.split()[1])
            assert shown == pytest.approx(arrays[f"circuit.edge_{key}"][i], rel=1e-2)
    svg.locator('[data-node="L3H7"] circle').hover()
    lines = opened.page.locator(".tip").inner_text().split("\n")
    into = sum(name.startswith("L3H7.") for name in names_of(run))
    assert lines[0] == "L3H7"
    assert lines[1].startswith(f"edges in {into}:")


def test_curves_and_errors(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("circuit", title="Faithfulness by number of edges"))
    for key in ("curve_faithfulness", "curve_completeness"):
        np.testing.assert_allclose(
            table.column(key), run.arrays[f"circuit.{key}"], rtol=1e-5, atol=1e-9
        )
    figure = opened.figure("circuit", title="Approximate and exact effects of the edges")
    errors = opened.table(figure)
    score, exact = (run.arrays[f"circuit.edge_{key}"] for key in ("score", "exact"))
    np.testing.assert_allclose(errors.column("estimate"), score, rtol=1e-5)
    np.testing.assert_allclose(errors.column("exact"), exact, rtol=1e-5)
    assert errors.column("wrong sign") == list((score * exact < 0).astype(float))
    assert figure.locator(".point").count() == 20
    assert f"{np.mean(score - exact):.3g}"[:5] in figure.locator("svg.plot").text_content()


def test_wrong_signs_are_crosses(made: Maker, open_page: Opener) -> None:
    run = made(*RUN, "circuit:scores=eap,edges=100")
    score, exact = (run.arrays[f"circuit.edge_{key}"] for key in ("score", "exact"))
    opened = open_page(run)
    figure = opened.figure("circuit", title="Approximate and exact effects of the edges")
    wrong = int((score * exact < 0).sum())
    assert wrong > 0
    assert figure.locator(".cross").count() == wrong


def test_scores_of_all_edges(run: Made, open_page: Opener) -> None:
    opened = open_page(run)
    table = opened.table(opened.figure("circuit", title="Scores of all edges"))
    score = run.arrays["circuit.score"]
    largest = np.sort(np.abs(score[np.isfinite(score)]))[::-1][: len(table.rows)]
    np.testing.assert_allclose(np.abs(table.column("score")), largest, rtol=2e-3, atol=1e-6)


def test_scores_alone_are_a_circuit_of_the_largest(made: Maker, open_page: Opener) -> None:
    run = made(*RUN, "circuit:scores=eap,edges=0")
    opened = open_page(run)
    table = opened.table(opened.figure("circuit", title="Circuit"))
    score = run.arrays["circuit.score"]
    largest = np.sort(np.abs(score[np.isfinite(score)]))[::-1][: len(table.rows)]
    np.testing.assert_allclose(np.abs(table.column("score")), largest, rtol=2e-3, atol=1e-6)


def test_two_circuits(run: Made, made: Maker, open_page: Opener) -> None:
    """Edges are matched by their names, not by their places."""
    other = made(*RUN, "circuit:scores=eap,edges=20")
    opened = open_page(made.beside(run, other))
    opened.choose_runs("difference")
    figure = opened.page.locator('.pane[data-pane="difference"] figure').first
    opened.show(figure)
    table = opened.table(figure)
    known = [dict(zip(names_of(one), one.arrays["circuit.edge_score"])) for one in (run, other)]
    both = [name for name in known[0] if name in known[1]]
    shown = {
        f"{row[2]}{'.' if row[3] else ''}{row[3]}<-{row[1]}": float(row[4]) for row in table.rows
    }
    assert len(both) > 5
    for name in both:
        assert shown[name] == pytest.approx(known[0][name] - known[1][name], rel=1e-3, abs=1e-5)


def test_pairs(made: Maker, open_page: Opener, tmp_path: Path) -> None:
    scores = made(*PAIRS, "circuit:scores=eap,edges=0")
    file = scores.folder / "tensors.safetensors"
    run = made(*PAIRS, f"circuit:scored={file},edges=10,minimal=0")
    opened = open_page(run)
    title = "Faithfulness by number of edges"
    shown = opened.table(opened.figure("circuit", title=title)).column("curve_faithfulness")
    means = run.arrays["circuit.curve_faithfulness.over_examples"]
    np.testing.assert_allclose(shown, means[0], rtol=1e-3)
    bands = opened.figure("circuit", title=title).locator(".band")
    assert bands.count() == 3  # faithfulness, completeness, random circuits
    examples = run.section("circuit")["examples"]
    groups = run.section("circuit")["groups"]
    opened.page.get_by_role("combobox", name="Shown").select_option(index=1 + len(groups) + 2)
    shown = opened.table(opened.figure("circuit", title=title)).column("curve_faithfulness")
    np.testing.assert_allclose(shown, run.arrays["circuit.curve_faithfulness"][2], rtol=1e-3)
    assert examples[2]
    opened.page.get_by_role("combobox", name="Shown").select_option(index=1)
    shown = opened.table(opened.figure("circuit", title=title)).column("curve_faithfulness")
    by_group = run.arrays["circuit.curve_faithfulness.by_group"][0, 0]
    np.testing.assert_allclose(shown, by_group, rtol=1e-3)
    edges = opened.table(opened.figure("circuit", title="Circuit"))
    means = run.arrays["circuit.edge_score.by_group"][0, 0]
    np.testing.assert_allclose(edges.column("score"), means, rtol=1e-3)


def test_the_graph_for_other_pages_has_the_prompt(run: Made) -> None:
    graph = json.loads((run.folder / "circuit.graph.json").read_text())
    metadata = graph["metadata"]
    assert "".join(metadata["prompt_tokens"]) == metadata["prompt"] == NAME.format("Grumbold")
    ids = {node["node_id"] for node in graph["nodes"]}
    assert len(ids) == len(graph["nodes"])
    assert {link[end] for link in graph["links"] for end in ("source", "target")} <= ids
