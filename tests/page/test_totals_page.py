"""A corpus: means with their spread, histograms, shares of ranks, and curves by level."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

DOCUMENT = "tests/golden/structure/sentences.txt"
PARTS = ("mean", "variance", "min", "max")


@pytest.fixture(scope="module")
def corpus(made: Maker) -> Made:
    plugins = ("logits", "ln", "mlp", "lens", "sampling")
    given = [part for plugin in plugins for part in ("--plugin", plugin)]
    return made("corpus", DOCUMENT, "--limit-tokens", "900", *given)


@pytest.mark.parametrize(
    ("plugin", "stem"), [("logits", "share"), ("logits", "logit"), ("ln", "site"), ("mlp", "row")]
)
def test_means_and_spreads(
    corpus: Made, open_page: Callable[..., Opened], plugin: str, stem: str
) -> None:
    opened = open_page(corpus)
    figure = opened.figure("totals", section=plugin, title=f"{stem}: mean and spread")
    table = opened.table(figure)
    for part in PARTS:
        expected = corpus.arrays[f"{plugin}.{stem}_{part}"].reshape(-1)
        np.testing.assert_allclose(table.column(f"{stem}_{part}"), expected, rtol=2e-3, atol=1e-6)


def test_an_interval_tells_mean_deviation_and_range(
    corpus: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(corpus)
    figure = opened.figure("totals", section="logits", title="share: mean and spread")
    figure.get_by_role("button", name="all", exact=True).click()
    plot = figure.locator("svg.plot")
    plot.focus()
    plot.press("ArrowDown")
    lines = opened.page.locator(".tip").inner_text().split("\n")
    mean = corpus.arrays["logits.share_mean"][0, 0]
    best = int(np.argmax(np.abs(mean)))
    assert lines[0] == corpus.section("logits")["components"][best]
    deviation = np.sqrt(corpus.arrays["logits.share_variance"][0, 0, best])
    low, high = (float(lines[2].split()[i]) for i in (-3, -1))
    np.testing.assert_allclose(float(lines[1].split()[-1]), mean[best], rtol=1e-2)
    np.testing.assert_allclose(
        [low, high], [mean[best] - deviation, mean[best] + deviation], rtol=2e-2
    )


def test_rows_counted(corpus: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(corpus)
    table = opened.table(opened.figure("totals", section="ln", title="Rows counted"))
    assert table.column("rows_counted") == corpus.arrays["ln.rows_counted"].tolist()


def test_histograms_sum_over_the_neurons(corpus: Made, open_page: Callable[..., Opened]) -> None:
    key = "mlp.gate_histogram"
    opened = open_page(corpus)
    figure = opened.figure("bins", section="mlp", title="Histograms by layer")
    figure.get_by_role("combobox", name="Show").select_option(label="gate")
    counts = opened.table(figure).column("count")
    np.testing.assert_allclose(counts, corpus.arrays[key].sum(axis=1).reshape(-1), rtol=2e-3)


def test_ranks_are_stacked(corpus: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(corpus)
    figure = opened.figure("bins", section="lens", title="Ranks of the text's next token")
    expected = corpus.arrays["lens.rank_bins"]
    np.testing.assert_allclose(
        opened.table(figure).column("rank_bins"), expected.reshape(-1), rtol=1e-5
    )
    widths = np.array(
        figure.locator("svg.stack rect.part").evaluate_all(
            "parts => parts.map(part => +part.getAttribute('width'))"
        )
    )
    drawn = expected[-1][expected[-1] > 0]
    np.testing.assert_allclose(widths / widths.max(), drawn / drawn.max(), rtol=1e-3)


def test_curves_by_level(corpus: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(corpus)
    figure = opened.figure("curves", section="lens")
    table = opened.table(figure)
    for key in ("mean_entropy", "mean_kl", "top_agreement"):
        expected = corpus.arrays[f"lens.{key}"].reshape(-1)
        np.testing.assert_allclose(table.column(key), expected, rtol=1e-5)
    plot = figure.locator("svg.plot").first
    plot.focus()
    plot.press("ArrowRight")
    lines = opened.page.locator(".tip").inner_text().split("\n")
    assert lines[0] == "0_pre"
    value = float(lines[1].split()[-1])
    np.testing.assert_allclose(value, corpus.arrays["lens.mean_entropy"][-1, 0], rtol=1e-2)


def test_a_histogram_that_came_as_sums(
    corpus: Made, open_page: Callable[..., Opened], tmp_path: Path
) -> None:
    key = "gate_histogram"
    sums = corpus.arrays[f"mlp.{key}"].sum(axis=1)
    text = corpus.html.read_text(encoding="utf-8")
    before, data, after = re.split(r'(?<=id="data">)(.*?)(?=</script>)', text, flags=re.DOTALL)
    block = json.loads(data)
    section = next(one for one in block["runs"][0]["sections"] if one["name"] == "mlp")
    given = section["arrays"][key]
    section["arrays"][key] = {name: given[name] for name in ("dtype", "axes", "shape")} | {
        "encoding": "sums",
        "over": 1,
        "type": "f32",
        "data": base64.b64encode(sums.astype("<f4").tobytes()).decode(),
    }
    page = tmp_path / "page.html"
    page.write_text(before + json.dumps(block).replace("<", "\\u003c") + after, encoding="utf-8")
    opened = open_page(page)
    figure = opened.figure("bins", section="mlp", title="Histograms by layer")
    figure.get_by_role("combobox", name="Show").select_option(label="gate")
    assert opened.table(figure).column("count") == sums.reshape(-1).tolist()
