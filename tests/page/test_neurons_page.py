"""Neurons: lists by the weights, distributions by layer, and contexts over a corpus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import TEXT, Made, Maker

DOCUMENT = "tests/golden/structure/sentences.txt"


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    plugin = "neurons:neuron=L3N17+L2N5,geometry=all"
    return made("analyze", "--text", TEXT, "--plugin", plugin)


@pytest.fixture(scope="module")
def corpus(made: Maker) -> Made:
    plugin = "neurons:contexts=4,geometry=none,entropy=no"
    return made("corpus", DOCUMENT, "--limit-tokens", "900", "--plugin", plugin)


def test_the_lists_of_each_neuron(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("listed")
    for k, name in enumerate(("L3N17", "L2N5")):
        figure.get_by_role("button", name=name, exact=True).click()
        if k:
            figure.get_by_role("button", name="Table of ").click()
        rows = opened.table(figure).rows
        assert {row[0] for row in rows} == {name}
        for key in ("excited_by_token", "excited_by_neuron", "promotes"):
            shown = [float(row[3]) for row in rows if row[1] == key]
            expected = run.arrays[f"neurons.{key}_value"][k]
            expected = np.concatenate([expected[0], expected[1][::-1]])
            np.testing.assert_allclose(shown, expected, rtol=1e-5)
        gains = run.arrays["neurons.head_gain"][k]
        shown = [float(row[3]) for row in rows if row[1] == "head_gain"]
        np.testing.assert_allclose(shown, -np.sort(-gains[np.isfinite(gains)])[:12], rtol=1e-5)


def test_neurons_that_excite_have_names(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    rows = opened.table(opened.figure("listed")).rows
    names = [row[2] for row in rows if row[1] == "excited_by_neuron"]
    index = run.arrays["neurons.excited_by_neuron"][0]
    flat = np.concatenate([index[0], index[1][::-1]])
    assert names == [f"L{i // 1024}N{i % 1024}" for i in flat]


def test_histograms_count_every_neuron(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("distributions", title="Distributions over the neurons")
    figure.get_by_role("combobox", name="Show").select_option(label="rho")
    rho = run.arrays["neurons.rho"]
    counts, _ = np.histogram(rho[2], bins=30, range=(float(rho.min()), float(rho.max())))
    heights = np.array(
        figure.locator("svg")
        .nth(2)
        .locator("rect.bin")
        .evaluate_all("bins => bins.map(bin => +bin.getAttribute('height'))")
    )
    np.testing.assert_allclose(heights / heights.sum(), counts / counts.sum(), atol=3e-3)
    dead = opened.table(opened.figure("distributions", title="Neurons that are dead or silent"))
    assert dead.column("dead") == run.arrays["neurons.dead"].sum(axis=1).tolist()


def test_contexts_are_texts_with_their_peak_marked(
    corpus: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(corpus)
    figure = opened.figure("contexts")
    section = corpus.section("neurons")
    name = section["listed"][0]
    layer, neuron = (int(part) for part in name[1:].split("N"))
    tokens = corpus.arrays["neurons.context_tokens"][layer, neuron]
    value = corpus.arrays["neurons.context_value"][layer, neuron]
    assert figure.get_by_label("Show").input_value() == name
    table = opened.table(figure)
    np.testing.assert_allclose(table.column("value"), value, rtol=2e-3)
    vocabulary = corpus.results["vocabulary"]
    peak = section["window"].index(0)
    marks = figure.locator(".context mark").all_text_contents()
    texts = [vocabulary[str(ids[peak])] for ids in tokens]
    assert [mark.replace("·", " ").replace("↵", "\n") for mark in marks] == texts
    whole = ["".join(vocabulary[str(i)] for i in ids if i >= 0) for ids in tokens]
    shown = [row[-1].replace("·", " ").replace("↵", "\n") for row in table.rows]
    assert shown == whole


def test_another_neuron_can_be_named(corpus: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(corpus)
    figure = opened.figure("contexts")
    first = figure.locator(".context").first.inner_text()
    figure.get_by_role("button", name="Next, with a smaller value").click()
    name = figure.get_by_label("Show").input_value()
    assert name != corpus.section("neurons")["listed"][0]
    assert figure.locator(".context").first.inner_text() != first
    figure.get_by_label("Show").fill("L9N9")
    figure.get_by_label("Show").press("Enter")
    assert (
        figure.locator(".pick [role=status]").inner_text() == 'The page has no contexts of "L9N9".'
    )
    layer, neuron = (int(part) for part in name[1:].split("N"))
    value = corpus.arrays["neurons.context_value"][layer, neuron]
    shown = figure.locator(".context .value").all_text_contents()
    np.testing.assert_allclose([float(text) for text in shown], value, rtol=1e-2)
