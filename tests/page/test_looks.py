"""What a look at the figures showed: scales of two runs, narrow bars, summaries, empty figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from opened_page import Opened
from page_files import ROOT, TEXT, Made, Maker
from playwright.sync_api import expect

Opener = Callable[..., Opened]
LEGEND = """([section, title]) => [...document.querySelectorAll(
  `[data-section="${section}"] .pane:not([hidden]) figure`)]
  .filter(figure => figure.querySelector("h4").textContent === title)
  .map(figure => figure.querySelector("svg.legend").textContent)"""


def corpus(made: Maker, *plugins: str) -> Made:
    given = [word for plugin in plugins for word in ("--plugin", plugin)]
    return made("corpus", str(ROOT / "docs" / "hooks.md"), "--limit-tokens", "600", *given)


def test_two_runs_share_their_scales(made: Maker, open_page: Opener) -> None:
    run = made("analyze", "--text", TEXT, "--ablate", "L0H3", "--plugin", "logits")
    opened = open_page(run)
    opened.draw_all()
    shown = ["logits", "By layer and head"]
    opened.page.wait_for_function(f"shown => new Set(({LEGEND})(shown)).size === 1", arg=shown)
    assert len(opened.page.evaluate(LEGEND, shown)) == 2


def test_narrow_bars_keep_their_numbers(made: Maker, open_page: Opener) -> None:
    run = made("analyze", "--text", TEXT, "--plugin", "sampling")
    opened = open_page(run, width=390)
    figure = opened.figure("strategies", title="What each strategy keeps")
    titles = figure.locator("svg.bars .column > text.muted").all_text_contents()
    assert titles[:2] == ["tokens kept", "probability kept"]
    numbers = figure.locator("svg.bars .column > text:not(.muted)").all_text_contents()
    size = run.arrays["sampling.size"][0]
    assert numbers[: len(size)] == [f"{value:.0f}" for value in size]


def test_a_list_and_its_announcement_are_folded_together(made: Maker, open_page: Opener) -> None:
    opened = open_page(made("analyze", "--text", TEXT, "--plugin", "sampling"))
    section = opened.page.locator('[data-section="sampling"]')
    expect(section.locator("> .sentence")).to_have_count(0)
    expect(section.locator("summary")).to_have_text("The summary")


def test_one_token_has_no_empty_trees(made: Maker, open_page: Opener) -> None:
    opened = open_page(made("analyze", "--text", "the", "--plugin", "spans"))
    section = opened.page.locator('[data-section="spans"]')
    expect(section.get_by_text("One token has no spans.")).to_be_visible()
    expect(section.locator("svg.heatmap .cell[fill='transparent']")).to_have_count(0)


def test_histograms_of_integers_have_a_bin_each(made: Maker, open_page: Opener) -> None:
    run = made("analyze", "--text", TEXT, "--plugin", "neurons")
    opened = open_page(run)
    figure = opened.figure("distributions", title="Distributions over the neurons")
    figure.get_by_label("Show").select_option(label="fires")
    fires = run.arrays["neurons.fires"]
    bins = figure.locator("svg.plot").first.locator("rect.bin")
    expect(bins).to_have_count(int(fires.max() - fires.min()) + 1)


def test_means_of_sampling_have_their_figure(made: Maker, open_page: Opener) -> None:
    run = corpus(made, "sampling")
    opened = open_page(run)
    figure = opened.figure("strategies-totals", title="What each strategy keeps on average")
    shown = opened.table(figure).column("mass")
    np.testing.assert_allclose(shown, run.arrays["sampling.mass"].reshape(-1), rtol=1e-5)
    pairs = opened.figure("strategies-totals", title="How alike two strategies are on average")
    shown = opened.table(pairs).column("overlap")
    np.testing.assert_allclose(shown, run.arrays["sampling.overlap"].reshape(-1), rtol=1e-5)


def test_contexts_of_heads_say_what_is_read(made: Maker, open_page: Opener) -> None:
    run = corpus(made, "attention:contexts=4")
    opened = open_page(run)
    assert opened.page.locator('[data-section="attention"] [data-figure="grid"]').count() == 0
    figure = opened.figure("contexts", title="Contexts with the largest values")
    keys = run.arrays["attention.context_key"]
    places = run.arrays["attention.context_position"]
    expect(figure.locator(".context > .muted").first).to_contain_text("reads")
    text = figure.locator(".context > .muted").first.inner_text()
    position = int(text.split("@")[1].split(",")[0])
    read = text.split("reads ")[1]
    key = position if read == "itself" else int(read[1:])
    assert key in keys[places == position]


def test_networks_are_printed_as_drawings(made: Maker, open_page: Opener) -> None:
    opened = open_page(made("analyze", "--text", TEXT, "--plugin", "graph"))
    area = opened.figure("network").locator(".area")
    expect(area.locator("canvas").first).to_be_attached()
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(area.locator("canvas")).to_have_count(0)
    assert area.locator("svg path").count() > 20
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(area.locator("canvas").first).to_be_attached()
