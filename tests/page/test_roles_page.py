"""Roles: tinted text, the role map, means by layer and the angles between the roles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from opened_page import Opened
from page_files import TEXT, Made, Maker


@pytest.fixture(scope="module")
def run(made: Maker) -> Made:
    return made("analyze", "--text", TEXT, "--plugin", "roles:angles=all")


def close(numbers: list[float], expected: np.ndarray) -> None:
    np.testing.assert_allclose(numbers, expected.reshape(-1)[:1000], rtol=1e-5)


def test_all_numbers_are_in_the_tables(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    for title, keys in (
        (
            "Roles of a layer's residuals",
            ("predictor", "attractor", "influencer", "influencer_onward"),
        ),
        ("Roles by layer and token", ("map",)),
        ("Roles by layer", ("mean", "deviation", "largest")),
        ("Does one direction serve several roles?", ("cosines",)),
        ("How much of a role its subspace holds", ("captured",)),
    ):
        table = opened.table(opened.figure("roles", title=title))
        for key in keys:
            close(table.column(key), run.arrays[f"roles.{key}"])


def test_the_role_map_has_its_letters(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    figure = opened.figure("roles", title="Roles by layer and token")
    given = run.arrays["roles.map"][::-1].reshape(-1)
    expected = [
        "".join(letter for bit, letter in enumerate("PAI") if value >> bit & 1)
        for value in given
        if value
    ]
    shown = figure.locator("svg .celltext").all_text_contents()
    assert shown == expected


def test_a_token_tells_its_role_at_the_chosen_layer(
    run: Made, open_page: Callable[..., Opened]
) -> None:
    opened = open_page(run)
    figure = opened.figure("roles", title="Roles of a layer's residuals")
    figure.get_by_role("combobox", name="Layer").select_option(label="3")
    text = figure.locator("svg").nth(1)
    text.focus()
    for _ in range(5):
        text.press("ArrowRight")
    lines = opened.page.locator(".tip").inner_text().split("\n")
    value = float(lines[1].split()[-1])
    np.testing.assert_allclose(value, run.arrays["roles.attractor"][3, 4], rtol=1e-2)


def test_the_panel_tells_the_roles_of_a_token(run: Made, open_page: Callable[..., Opened]) -> None:
    opened = open_page(run)
    opened.page.locator(".chip").nth(4).click()
    texts = opened.page.locator(".token-panel .values dd").all_inner_texts()
    expected = [run.arrays[f"roles.{key}"][2, 4] for key in ("predictor", "attractor")]
    np.testing.assert_allclose([float(text) for text in texts[1:3]], expected, rtol=1e-2)
