// The frame of a figure: title, controls, the drawing, buttons and the table of its numbers. A
// figure is drawn when it first comes near the window, and again when its width or the theme
// changes.
import { button, el, freshId, slug } from "./dom.js";
import { saveImage, saveVector } from "./save.js";

const MOST_ROWS = 1000;
const AHEAD = "600px"; // how far outside the window a figure is drawn
const EMPTY_HEIGHT = "180px"; // of a figure that is not drawn yet

/** A scrollable table of {head, rows}. title: its caption. */
export function tableOf(given, title) {
  const head = el(
    "tr",
    null,
    given.head.map((text) => el("th", { scope: "col" }, text))
  );
  const line = (row) => given.head.map((_, i) => el("td", null, i < row.length ? `${row[i]}` : ""));
  const rows = given.rows.slice(0, MOST_ROWS).map((row) => el("tr", null, line(row)));
  const more = given.rows.length - MOST_ROWS;
  return el(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": `Table: ${title}` },
    el("table", null, el("caption", null, title), el("thead", null, head), el("tbody", null, rows)),
    more > 0 ? el("p", { class: "note" }, `${more} more rows are in tensors.safetensors.`) : null
  );
}

/** One sentence in place of something that failed. The console has the rest. */
export function failure(what, error) {
  console.error(error);
  return el(
    "p",
    { class: "note failure", role: "status" },
    `${what} could not be drawn: ${error.message}.`
  );
}

function tableButton(given, figure) {
  let table = null;
  const press = () => {
    if (table) table.remove();
    table = table ? null : figure.appendChild(makeTable());
    toggle.setAttribute("aria-expanded", String(table !== null));
  };
  const makeTable = () => {
    try {
      return tableOf(given.table(), given.title);
    } catch (error) {
      return failure("The table", error);
    }
  };
  const toggle = button("Table", press, {
    "aria-expanded": "false",
    "aria-label": `Table of ${given.title}`,
  });
  return toggle;
}

/**
 * What the saved file is called and says: "pythiascope-lens-entropy", in a page of two runs
 * "pythiascope-lens-entropy-difference", with the pane's name after the title.
 */
function fileOf(figure, given) {
  const section = figure.closest("[data-section]");
  const pane = figure.closest("[data-pane]");
  const names = [section && section.dataset.section, given.title, pane && pane.dataset.pane];
  const parts = names.filter(Boolean).map(slug);
  const name = ["pythiascope", ...parts.filter((part, i) => parts.indexOf(part) === i)].join("-");
  const run = pane ? ` (${pane.querySelector(".pane-name").textContent})` : "";
  return { name, title: `${given.title}${run}`, svg: given.svg };
}

function saveButton(text, save, figure, area, given) {
  const told = el("span", { class: "told", role: "status" });
  const press = async () => {
    told.textContent = "";
    try {
      if (!area.dataset.drawn) figure.redraw();
      await save(area, fileOf(figure, given));
    } catch (error) {
      told.textContent = `The figure could not be saved: ${error.message}.`;
    }
  };
  return [button(text, press, { "aria-label": `Save ${given.title} as ${text}` }), told];
}

function isPrinting() {
  return Boolean(document.documentElement.dataset.printing);
}

/** Draws at first sight, when the width or the theme changes, and before the page is printed. */
function keepDrawn(area, redraw, hasCanvas) {
  let width = 0;
  const sight = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      sight.disconnect();
      if (!area.dataset.drawn) redraw();
      width = area.clientWidth;
      size.observe(area);
    },
    { rootMargin: AHEAD }
  );
  const size = new ResizeObserver(() => {
    const wide = area.clientWidth;
    if (!wide || Math.abs(wide - width) < 2) return;
    width = wide;
    redraw();
  });
  const again = (must) => () => {
    if (area.isConnected && area.clientWidth && (must || area.dataset.drawn)) redraw();
  };
  sight.observe(area);
  document.addEventListener("themechange", again(false));
  document.addEventListener("drawall", again(true));
  if (hasCanvas) document.addEventListener("afterprinting", again(false));
}

/**
 * Adds a figure to place. given: title, caption, label (for screen readers), notes [texts],
 * controls [elements], draw(area, width in pixels), table() -> {head, rows}, svg() -> an SVG
 * element to be saved and printed instead of the drawing (for canvases, optional). Returns the
 * figure's element; its redraw() empties the area and draws again. An error becomes one sentence in
 * the area.
 */
export function frame(place, given) {
  const titleId = freshId("figure");
  const area = el("div", {
    class: "area",
    role: "group",
    "aria-label": given.label || given.title,
    style: { "min-height": EMPTY_HEIGHT },
  });
  const figure = el("figure", { "aria-labelledby": titleId });
  const buttons = el(
    "div",
    { class: "buttons" },
    given.table ? tableButton(given, figure) : null,
    saveButton("SVG", saveVector, figure, area, given),
    saveButton("PNG", saveImage, figure, area, given)
  );
  figure.append(
    el(
      "figcaption",
      null,
      el("div", { class: "title" }, el("h4", { id: titleId }, given.title), buttons),
      given.caption ? el("p", null, given.caption) : null
    )
  );
  if (given.controls && given.controls.length)
    figure.append(el("div", { class: "controls" }, given.controls));
  figure.append(area, ...(given.notes || []).map((note) => el("p", { class: "note" }, note)));
  place.append(figure);
  figure.redraw = () => {
    area.style.minHeight = `${area.clientHeight}px`; // the page keeps its height meanwhile
    area.replaceChildren();
    try {
      given.draw(area, area.clientWidth || 640);
      if (given.svg && isPrinting()) area.replaceChildren(given.svg()); // a canvas is coarse there
    } catch (error) {
      area.replaceChildren(failure("The figure", error));
    }
    area.dataset.drawn = "yes";
    area.style.minHeight = "";
  };
  keepDrawn(area, figure.redraw, Boolean(given.svg));
  return figure;
}
