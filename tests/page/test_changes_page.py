"""Effects of an intervention: exact beside predicted, KL by token, tokens before and after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import Made, Maker

TEXT = "The old man gave the little girl a red apple, and she thanked him. The old man"
EXACT = "Exact change beside the predictions"
KEYS = ("dz", "recomputed_ln", "frozen_ln", "dlog_p")


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    change = ("--ablate", "L0H3", "--plugin", "effects:rows=all")
    return made("analyze", "--text", TEXT, "--target", "next", "--target", " he", *change)


@pytest.fixture(scope="module")
def last(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--target", " he", "--ablate", "L0H3")


def test_exact_and_predicted_changes(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("changes", title=EXACT)
    table = opened.table(figure)
    for key in KEYS:
        values = run.arrays[f"effects.{key}"].ravel()
        np.testing.assert_allclose(table.column(key), values, rtol=1e-5, atol=1e-9)
    assert figure.locator("g.column").count() == 4
    rows = len(run.results["tokens"])
    assert figure.locator("text.name").count() == rows - 1
    figure.get_by_role("button", name="' he'", exact=True).click()
    assert figure.locator("text.name").count() == rows


def test_one_row_is_a_line_per_target(last: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(last)
    figure = opened.figure("changes", title=EXACT)
    assert figure.locator("text.name").all_text_contents() == ["' he'"]
    shown = [
        float(text) for text in figure.locator("g.column text:not(.muted)").all_text_contents()
    ]
    values = [float(last.arrays[f"effects.{key}"][0, 0]) for key in KEYS]
    np.testing.assert_allclose(shown, values, rtol=5e-3)


def test_kl_by_token(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("changes", title="Change of the prediction after each token")
    table = opened.table(figure)
    np.testing.assert_allclose(table.column("kl"), run.arrays["effects.kl"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(table.column("dlog_z"), run.arrays["effects.dlog_z"], rtol=1e-5)
    figure.locator("rect.token").nth(4).hover()
    tip = opened.page.locator(".tip").inner_text().split("\n")
    assert float(tip[1].split()[-1]) == pytest.approx(run.arrays["effects.kl"][4], rel=1e-5)
    mean = run.section("effects")["kl_mean"]
    assert f"{float(f'{mean:.3g}')}" in figure.locator(".note").inner_text()


def test_tokens_before_and_after(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator("[data-row='5']").first.click()
    figure = opened.figure("changes", title="Most probable tokens before and after")
    figure.get_by_text("@5 ", exact=False).first.wait_for()
    table = opened.table(figure)
    before, after = (run.arrays[f"effects.top_{when}"][5].tolist() for when in ("before", "after"))
    union = before + [token for token in after if token not in before]
    assert len(table.rows) == len(union)
    for when, ids in (("before", before), ("after", after)):
        values = run.arrays[f"effects.top_p_{when}"][5]
        wanted = [values[ids.index(token)] if token in ids else np.nan for token in union]
        np.testing.assert_allclose(table.column(when), wanted, rtol=1e-5)
