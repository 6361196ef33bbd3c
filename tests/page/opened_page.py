"""A page in the browser: what it complained of, its figures, their tables and files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from at_rest import evaluate_at_once, prepare, rest, watch
from page_files import Made
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


MOST = 60_000  # ms that a busy machine may need for a step


class Table(NamedTuple):
    """A figure's table as the page shows it."""

    head: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[float]:
        """The numbers under a head; "-" is NaN."""
        place = self.head.index(name)
        return [float("nan") if row[place] == "-" else float(row[place]) for row in self.rows]


class Opened:
    """An open page. Everything that it should not have done is in complaints."""

    def __init__(self, context: BrowserContext, page: Page, address: str) -> None:
        self.context = context
        self.address = address
        self.page = page
        self.complaints: list[str] = []
        self.session = context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("request", lambda request: self._see(request.url))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"console {kind}: {text}")

    def _see(self, url: str) -> None:
        if url.partition("#")[0] != self.address and not url.startswith(("data:", "blob:")):
            self.complaints.append(f"request: {url}")

    def figure(self, name: str, section: str | None = None, title: str | None = None) -> Locator:
        """The <figure> elements of a figure of figures/<name>.js, scrolled to and drawn.

        section: the plugin; title: that of the frame, where the figure has several.
        """
        where = f'[data-section="{section}"] ' if section else ""
        found = self.page.locator(f'{where}[data-figure="{name}"] figure')
        if title:
            found = found.filter(has=self.page.get_by_role("heading", name=title, exact=True))
        self.show(found.first)
        return found

    def show(self, figure: Locator) -> None:
        """Scrolls to a figure and waits until it is drawn."""
        figure.locator(".area").first.scroll_into_view_if_needed()
        figure.locator(".area[data-drawn]").first.wait_for()

    def table(self, figure: Locator) -> Table:
        """Opens a figure's table, unless it is open, and reads it."""
        toggle = figure.get_by_role("button", name="Table of ")
        if toggle.get_attribute("aria-expanded") == "false":
            toggle.click()
        read: dict[str, Any] = figure.locator("table").last.evaluate(
            """table => ({
                 head: [...table.querySelectorAll("thead th")].map(cell => cell.textContent),
                 rows: [...table.tBodies[0].rows].map(row =>
                   [...row.cells].map(cell => cell.textContent))})"""
        )
        return Table(read["head"], read["rows"])

    def save(self, figure: Locator, kind: str, folder: Path) -> Path:
        """Presses a figure's button SVG or PNG and keeps the file."""
        rest(self.page)
        with self.page.expect_download() as waiting:
            figure.get_by_role("button", name=f" as {kind}").click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    def choose_row(self, row: int) -> None:
        """Chooses a row in the list at the top of a section."""
        self.page.get_by_role("combobox", name="row", exact=True).select_option(index=row)

    def choose_runs(self, mode: str) -> None:
        """Of two runs, shows "side" by side, "this", "beside" or their "difference"."""
        self.page.get_by_label("Runs").select_option(mode)

    def draw_all(self) -> None:
        """Draws every figure, as before the page is printed."""
        self.page.evaluate("document.dispatchEvent(new Event('drawall'))")

    def processor_times(self) -> dict[str, float]:
        """Seconds that the page's main thread and each process that draws pages had so far."""
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        found = {str(one["id"]): float(one["cpuTime"]) for one in self._drawing_processes()}
        found["main"] = next(one["value"] for one in metrics if one["name"] == "TaskDuration")
        return found

    def _drawing_processes(self) -> list[dict[str, Any]]:
        assert self.context.browser
        session = self.context.browser.new_browser_cdp_session()
        every = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return [one for one in every if one["type"] == "renderer"]

    def own_seconds(self, before: dict[str, float] | None = None) -> float:
        """The time that the page needs where nothing else runs, from its processor time.

        The main thread's, or that of all threads shared among the processors if that is more. It
        does not grow while other programs have the processors. before: an earlier answer of
        processor_times(); None: since the page was opened.
        """
        now = self.processor_times()
        spent = {name: time - (before or {}).get(name, 0.0) for name, time in now.items()}
        return max(spent.pop("main"), sum(spent.values()) / (os.cpu_count() or 1))

    def frames_during(self, act: Callable[[], None]) -> float:
        """Frames per second of own_seconds() while act() moves the pointer or scrolls."""
        before = self.processor_times()
        self.page.evaluate(
            """() => {
                 const told = window.told = { frames: 0, on: true };
                 const { frame } = window.putOff;
                 const step = () => { told.frames++; if (told.on) frame(step); };
                 frame(step);
               }"""
        )
        act()
        frames = evaluate_at_once(self.page, "() => { told.on = false; return told.frames; }")
        return float(frames / self.own_seconds(before))

    def frames_per_second(self, act: str, seconds: float = 1.0) -> float:
        """The same while act, a JavaScript function of a step's number, runs at each frame."""
        script = f"""() => {{
             const act = {act};
             let i = 0;
             const step = () => {{
               if (!window.acts) return;
               act(i++);
               window.putOff.frame(step);
             }};
             window.acts = true;
             step();
           }}"""

        def run() -> None:
            evaluate_at_once(self.page, script)
            self.page.wait_for_timeout(1000 * seconds)
            evaluate_at_once(self.page, "() => { window.acts = false; }")

        return self.frames_during(run)


def find_browser(driver: Playwright) -> Browser:
    """Headless Chromium: $PSC_CHROMIUM, or the first of NAMES in PATH; else FileNotFoundError."""
    found = os.environ.get("PSC_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise FileNotFoundError(
            "found no Chromium in PATH; run tools/install_dependencies.sh --test"
        )
    return driver.chromium.launch(executable_path=found, args=["--no-sandbox"])


def open_in(
    browser: Browser,
    page: Made | Path,
    *,
    width: int = 1200,
    height: int = 900,
    dark: bool = False,
    scripts: bool = True,
    late: bool = False,
) -> Opened:
    """Opens a page in a context of its own and waits until it stands. late: as of prepare()."""
    path = page.html if isinstance(page, Made) else page
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",  # a scroll ends at once
        java_script_enabled=scripts,
        accept_downloads=True,
    )
    context.set_default_timeout(MOST)
    prepare(context, late)
    opened = Opened(context, context.new_page(), path.resolve().as_uri())
    opened.page.goto(opened.address)
    if scripts:
        opened.page.locator("html[data-ready]").wait_for(state="attached")
        watch(opened.page)
    return opened
