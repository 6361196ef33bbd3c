"""Neurons and gates: the listed neurons, activations of a token, layers by row, firing counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man"
ROW = 7


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    targets = ("--target", "next", "--contrast", " he", " she")
    return made("analyze", "--text", TEXT, *targets, "--plugin", "mlp:target_rows=all,span=4")


def opened_at_row(run: Made, open_page: Callable[..., Opened]) -> Opened:
    opened = open_page(run)
    opened.page.locator(f"[data-row='{ROW}']").first.click()
    return opened


def test_the_listed_neurons_have_share_and_gate(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = opened_at_row(run, open_page)
    figure = opened.figure("activations", title="Neurons with the largest shares")
    for target, name in enumerate(["next", "' he' - ' she'"]):
        opened.page.get_by_role("button", name=name, exact=True).click()
        table = opened.table(figure)
        layer, neuron = (run.arrays[f"mlp.top_{key}"][target, ROW] for key in ("layer", "neuron"))
        names = [f"L{a}N{b}" for a, b in zip(layer, neuron, strict=True)]
        assert [row[0] for row in table.rows] == names
        for key in ("share", "pre", "gate"):
            values = run.arrays[f"mlp.top_{key}"][target, ROW]
            np.testing.assert_allclose(table.column(key), values, rtol=1e-5)
        figure.get_by_role("button", name="Table of ").click()
    assert figure.locator("g.column").count() == 4


@pytest.mark.parametrize("layer", [None, 2])
def test_activations_of_the_token(
    layer: int | None, run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = opened_at_row(run, open_page)
    figure = opened.figure("activations", title="Largest activations at the token")
    if layer is not None:
        figure.get_by_role("button", name=str(layer), exact=True).click()
    table = opened.table(figure)
    post = run.arrays["mlp.post"][:, ROW].astype(np.float64)
    if layer is not None:
        post = np.where(np.arange(len(post))[:, None] == layer, post, 0)
    order = np.argsort(-np.abs(post), axis=None, kind="stable")[:20]
    places = [np.unravel_index(flat, post.shape) for flat in order]
    assert [row[0] for row in table.rows] == [f"L{a}N{b}" for a, b in places]
    for key in ("post", "pre", "gate"):
        values = np.array([run.arrays[f"mlp.{key}"][a, ROW, b] for a, b in places])
        shown = np.array(table.column(key))
        kept = ~np.isnan(shown)
        assert kept.all() or key != "post"
        assert kept.all() or key != "pre"  # the page makes those that it lacks of post and gate
        np.testing.assert_allclose(shown[kept], values[kept], rtol=5e-4 if key != "pre" else 1e-3)


def test_layers_by_row(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("activations", title="By layer and row")
    names = {
        "participation ratio of the write": run.arrays["mlp.participation"],
        "participation ratio of the shares": run.arrays["mlp.share_participation"][0],
        "ReLU's error, relative": run.arrays["mlp.relu_error"],
        "feature span of random detectors": run.arrays["mlp.feature_span_random"],
    }
    for name, values in names.items():
        figure.get_by_label("show").select_option(label=name)
        table = opened.table(figure)
        shown = np.array(
            [
                [float(cell.replace("-", "nan") if cell == "-" else cell) for cell in row[2:]]
                for row in table.rows
            ]
        ).T
        np.testing.assert_allclose(shown, values, rtol=1e-5)
        figure.get_by_role("button", name="Table of ").click()


def test_firing_counts_and_detectors(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = opened_at_row(run, open_page)
    table = opened.table(opened.figure("activations", title="How often neurons fire"))
    fires = run.arrays["mlp.fires"]
    for layer, line in enumerate(table.rows):
        counts = np.bincount(fires[layer], minlength=len(line) - 1)
        assert [int(cell) for cell in line[1:]] == counts.tolist()
    table = opened.table(opened.figure("activations", title="Most active detectors at the token"))
    np.testing.assert_array_equal(
        table.column("neuron"), run.arrays["mlp.span_neuron"][:, ROW].ravel()
    )
    values = run.arrays["mlp.span_projection"][:, ROW].ravel()
    np.testing.assert_allclose(table.column("projection"), values, rtol=1e-5)
