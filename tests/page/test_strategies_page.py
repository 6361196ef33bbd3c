"""Sampling strategies: what each keeps, over the rows, and pairs of them."""

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
    return made("analyze", "--text", TEXT, "--plugin", "sampling:rows=all")


def test_each_strategy_at_the_row(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator(f"[data-row='{ROW}']").first.click()
    figure = opened.figure("strategies", title="What each strategy keeps")
    figure.get_by_text(f"@{ROW} ", exact=False).first.wait_for()
    table = opened.table(figure)
    assert [row[0] for row in table.rows] == run.section("sampling")["strategies"]
    for key in ("size", "mass", "kl"):
        values = run.arrays[f"sampling.{key}"][ROW]
        np.testing.assert_allclose(table.column(key), values, rtol=1e-5, atol=1e-9)


def test_over_the_rows(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("strategies", title="Over the rows")
    figure.get_by_role("button", name="probability kept").click()
    table = opened.table(figure)
    shown = np.array([[float(cell) for cell in row[2:]] for row in table.rows])
    np.testing.assert_allclose(shown, run.arrays["sampling.mass"], rtol=1e-5)


@pytest.mark.parametrize("key", ["overlap", "agreement", "same_set"])
def test_pairs(key: str, run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator(f"[data-row='{ROW}']").first.click()
    figure = opened.figure("strategies", title="How alike two strategies are")
    words = {
        "overlap": "overlap of",
        "agreement": "chance that",
        "same_set": "the same tokens kept",
    }
    figure.get_by_role("button", name=words[key]).click()
    table = opened.table(figure)
    shown = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    np.testing.assert_allclose(shown, run.arrays[f"sampling.{key}"][ROW], rtol=1e-5, atol=1e-9)
    assert figure.locator("rect.cell").count() == shown.size
