"""A test acts and reads when the page is at rest, so that no test depends on when frames come.

The page draws in the next frame of the screen, after a short timer, or when an observer reports,
and learns there that it was scrolled. put_off.js counts these inside of the page. After
watch(page), every method of RESTING waits first until nothing is left. With PSC_SLOW_FRAMES=1 all
of them come SLOW ms later: a test that reads sooner fails then, always.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page

SLOW = 300  # ms
SCRIPT = Path(__file__).parent / "put_off.js"
TEXTS = ("all_inner_texts", "all_text_contents", "inner_html", "inner_text", "text_content")
STATES = ("get_attribute", "input_value", "is_checked", "is_disabled", "is_enabled", "is_visible")
OTHERS = ("all", "bounding_box", "count", "evaluate", "evaluate_all", "is_hidden", "screenshot")
ACTS = ("check", "click", "fill", "focus", "hover", "press", "select_option")
RESTING = ((Locator, (*TEXTS, *STATES, *OTHERS, *ACTS)), (Page, ("evaluate", "screenshot")))
watched: weakref.WeakSet[Page] = weakref.WeakSet()
evaluate_at_once = Page.evaluate  # for a page in motion


def rest(page: Page) -> None:
    """Waits until the page has done what it put off."""
    if page in watched:
        evaluate_at_once(page, "() => window.putOff.rest()")


def resting(read: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a page or a locator that rests first."""

    @functools.wraps(read)
    def wrapped(this: Page | Locator, *given: Any, **named: Any) -> Any:
        rest(this if isinstance(this, Page) else this.page)
        return read(this, *given, **named)

    return wrapped


for kind, names in RESTING:
    for name in names:
        setattr(kind, name, resting(getattr(kind, name)))


def prepare(context: BrowserContext, late: bool = False) -> None:
    """Counts, in all pages that the context opens from now on. late: as with PSC_SLOW_FRAMES=1."""
    delay = SLOW if late or os.environ.get("PSC_SLOW_FRAMES") else 0
    context.add_init_script(f"({SCRIPT.read_text(encoding='utf-8')})({delay});")


def watch(page: Page) -> Page:
    """Makes RESTING wait for this page, which was opened in a prepared context."""
    watched.add(page)
    return page
