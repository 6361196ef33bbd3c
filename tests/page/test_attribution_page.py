"""Estimates of effects beside exact ones, and the text colored by gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import ROOT, Made, Maker

Opener = Callable[..., Opened]
RUN = ("analyze", "--text", "the Emerald City of", "--target", " Oz", "--plugin")
PAIRS = ("analyze", "--pairs", str(ROOT / "models" / "pairs" / "pronouns.jsonl"), "--plugin")
TOKENS = "The prediction by token"


@pytest.mark.parametrize("over", ["heads", "heads_by_pos", "mlp_out", "edges"])
def test_the_map_has_every_estimate(over: str, made: Maker, open_page: Opener) -> None:
    run = made(*RUN, f"attribution:over={over}")
    opened = open_page(run)
    figure = opened.figure("attribution", title="Estimated effects on ' Oz'")
    estimate = run.arrays["attribution.estimate"]
    np.testing.assert_allclose(
        opened.table(figure).column("estimate"), estimate.reshape(-1)[:1000], rtol=2e-3, atol=1e-5
    )
    assert figure.locator("svg.heatmap").count() == 1
    largest = opened.table(opened.figure("attribution", title="Largest estimates"))
    assert abs(float(largest.rows[0][1])) == pytest.approx(np.nanmax(np.abs(estimate)), rel=2e-3)


def test_neurons_are_listed(made: Maker, open_page: Opener) -> None:
    run = made(*RUN, "attribution:over=neurons")
    opened = open_page(run)
    table = opened.table(opened.figure("attribution", title="Largest estimates"))
    estimate = run.arrays["attribution.estimate"][0]
    layer, neuron = np.unravel_index(np.abs(estimate).argmax(), estimate.shape)
    assert table.rows[0][0] == f"L{layer}N{neuron}"
    assert float(table.rows[0][1]) == pytest.approx(estimate[layer, neuron], rel=2e-3)


def test_estimates_stand_beside_exact_effects(made: Maker, open_page: Opener) -> None:
    run = made(*RUN, "attribution:over=mlp_out")
    opened = open_page(run)
    figure = opened.figure("attribution", title="Estimates and exact effects")
    table = opened.table(figure)
    arrays, cells = run.arrays, run.section("attribution")["cells"]
    shown = {row[1]: (float(row[2]), float(row[3])) for row in table.rows}
    assert len(shown) == len(cells)
    for i, name in enumerate(cells):
        found = shown[name.replace(" ", "\u00b7")] if name not in shown else shown[name]
        wanted = [arrays[f"attribution.cell_{key}"][0, i] for key in ("estimate", "exact")]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    wrong = arrays["attribution.cell_estimate"] * arrays["attribution.cell_exact"] < 0
    assert wrong.sum() > 0
    assert figure.locator(".cross").count() == wrong.sum()
    legend = figure.locator("svg.plot").text_content() or ""
    for set_name, bias in zip(("largest", "random"), arrays["attribution.bias"][0]):
        assert f"bias of {set_name} places {float(f'{bias:.3g}'):g}" in legend
    assert figure.locator("line.shift").count() == 2
    statistics = opened.table(opened.figure("attribution", title="How good the estimates are"))
    np.testing.assert_allclose(
        statistics.column("correlation"), arrays["attribution.correlation"][0], rtol=1e-5
    )


def test_attributions_over_pairs(made: Maker, open_page: Opener) -> None:
    run = made(*PAIRS, "attribution")
    opened = open_page(run)
    figure = opened.figure("attribution", title="Estimated effects on example")
    means = run.arrays["attribution.estimate.over_examples"][0]
    shown = opened.table(figure).column("estimate")
    np.testing.assert_allclose(shown, means.reshape(-1), rtol=2e-3, atol=1e-5)
    points = opened.figure("attribution", title="Estimates and exact effects")
    exact = run.arrays["attribution.cell_exact.over_examples"][0, 0]
    shown = opened.table(points).column("exact")
    np.testing.assert_allclose(shown, exact, rtol=2e-3, atol=1e-5)


# --- gradient ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gradients(made: Maker) -> Made:
    return made(*RUN, "gradient:baseline=mean,error=0.001")


def test_tokens_are_colored_by_their_attribution(gradients: Made, open_page: Opener) -> None:
    opened = open_page(gradients)
    figure = opened.figure("gradient", title=TOKENS)
    table = opened.table(figure)
    keys = ("integrated", "times_input", "norm")
    for key in keys:
        wanted = gradients.arrays[f"gradient.{key}"].reshape(-1)
        np.testing.assert_allclose(table.column(key), wanted, rtol=1e-5)
    for label, key in zip(("integrated gradients", "gradient ×", "norm of"), keys):
        figure.get_by_role("button", name=label).click()
        values = gradients.arrays[f"gradient.{key}"].reshape(-1)
        fills = figure.locator("rect.token").evaluate_all(
            "tokens => tokens.map(token => token.getAttribute('fill'))"
        )
        strength = [sum(255 - int(part) for part in fill[4:-1].split(",")) for fill in fills]
        assert np.argmax(strength) == np.abs(values).argmax()
        figure.locator("rect.token").nth(6).hover(force=True)
        lines = opened.page.locator(".tip").inner_text().split("\n")
        shown = [float(line.split()[-1]) for line in lines[1:]]
        wanted = [gradients.arrays[f"gradient.{one}"][0, 0, 6] for one in keys]
        np.testing.assert_allclose(shown, wanted, rtol=1e-2)


def test_the_convergence_is_told(gradients: Made, open_page: Opener) -> None:
    opened = open_page(gradients)
    figure = opened.figure("gradient", title="Convergence of integrated gradients")
    gap = gradients.arrays["gradient.path_gap"].reshape(-1)
    np.testing.assert_allclose(opened.table(figure).column("path_gap"), gap, rtol=1e-5)
    assert np.isfinite(gap).sum() > 1
    value, base = (gradients.arrays[f"gradient.{key}"][0, 0] for key in ("value", "baseline_value"))
    shown = float((figure.locator("text.level").text_content() or "").split()[-1])
    assert shown == pytest.approx(0.001 * abs(value - base), rel=1e-2)
    left = opened.table(opened.figure("gradient", title="What the attributions leave"))
    for key in ("input_gap", "integrated_gap", "steps"):
        wanted = gradients.arrays[f"gradient.{key}"][0]
        np.testing.assert_allclose(left.column(key.replace("_", " ")), wanted, rtol=1e-5)


def test_a_token_is_chosen(gradients: Made, open_page: Opener) -> None:
    opened = open_page(gradients)
    opened.figure("gradient", title=TOKENS).locator("rect.token").nth(2).click(force=True)
    texts = opened.page.locator(".token-panel .values dd").all_inner_texts()
    keys = ("integrated", "times_input", "norm")
    wanted = [gradients.arrays[f"gradient.{key}"][0, 0, 2] for key in keys]
    np.testing.assert_allclose([float(text) for text in texts], wanted, rtol=1e-2)


def test_gradients_over_pairs(made: Maker, open_page: Opener) -> None:
    run = made(*PAIRS, "gradient:baseline=mean")
    opened = open_page(run)
    table = opened.table(opened.figure("gradient", title=TOKENS))
    means = run.arrays["gradient.norm.over_examples"][0].reshape(-1)
    np.testing.assert_allclose(table.column("norm"), means, rtol=2e-3)
