// A heat map: rows by columns of colored cells with labels, a legend, texts in the cells where
// there is space, a pointer and arrow keys. Many cells are one image; many columns scroll.
import { ink } from "./colors.js";
import { legend } from "./colorscale.js";
import { el } from "./dom.js";
import { sharedColors } from "./shared_scale.js";
import { fit, textWidth, widest } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const MOST_ELEMENTS = 2000; // more cells than this are one image
const RIGHT = 8;
const TALLEST = 110; // pixels of an upright label

/** Where everything is, in pixels. */
function layoutOf(width, given) {
  const rows = given.rows.length;
  const columns = given.columns.length;
  const left = Math.ceil(widest(given.rows, Math.max(70, width * 0.25))) + 8;
  const space = (width - left - RIGHT) / Math.max(1, columns);
  const cell = Math.min(given.maxCell || 64, Math.max(given.minCell || 6, space));
  const longest = widest(given.columns, TALLEST);
  const upright = longest + 2 > cell;
  const top = upright ? longest + 10 : 20;
  const height = given.cellHeight || Math.min(24, Math.max(10, cell));
  return { rows, columns, left, cell, upright, top, height,
    width: left + columns * cell + RIGHT, total: top + rows * height + 4 };
}

function columnLabels(at, given) {
  const g = el("g", { class: "columns" });
  const step = at.upright ? Math.ceil(13 / at.cell) : 1;
  for (let c = 0; c < at.columns; c += step) {
    const x = at.left + (c + 0.5) * at.cell;
    const text = fit(given.columns[c], at.upright ? TALLEST : at.cell);
    g.append(at.upright
      ? el("text", { transform: `translate(${x + 4},${at.top - 6}) rotate(-90)` }, text)
      : el("text", { x, y: at.top - 6, "text-anchor": "middle" }, text));
  }
  return g;
}

/** The names of the rows, on a ground of their own: they stay at the left when the map scrolls. */
function rowLabels(at, given) {
  const g = el("g", { class: "rows" }, el("rect", { x: 0, y: 0, width: at.left, height: at.total,
    fill: "var(--paper)" }));
  const step = Math.ceil(12 / at.height);
  for (let r = 0; r < at.rows; r += step)
    g.append(el("text", { x: at.left - 6, y: at.top + (r + 0.5) * at.height + 4,
      "text-anchor": "end" }, fit(given.rows[r], at.left - 8)));
  return g;
}

function cellElements(at, given) {
  const g = el("g", { class: "cells" });
  const gap = at.cell > 8 && at.height > 8 ? 1 : 0;
  for (let r = 0; r < at.rows; r++)
    for (let c = 0; c < at.columns; c++)
      g.append(el("rect", { class: "cell", x: at.left + c * at.cell, y: at.top + r * at.height,
        width: at.cell - gap, height: at.height - gap,
        fill: given.scale.color(given.value(r, c)) }));
  return g;
}

/** All cells as one image with one pixel each. */
function cellImage(at, given) {
  const canvas = el("canvas", { width: at.columns, height: at.rows });
  const context = canvas.getContext("2d");
  for (let r = 0; r < at.rows; r++)
    for (let c = 0; c < at.columns; c++) {
      const value = given.value(r, c);
      if (Number.isNaN(value)) continue;
      context.fillStyle = given.scale.color(value);
      context.fillRect(c, r, 1, 1);
    }
  return el("image", { class: "cells", x: at.left, y: at.top, width: at.columns * at.cell,
    height: at.rows * at.height, preserveAspectRatio: "none", href: canvas.toDataURL(),
    style: { "image-rendering": "pixelated" } });
}

/** True if there is space for texts; for wholeTexts, for every one of them. */
function hasTexts(at, given) {
  if (!given.text || at.cell < 18 || at.height < 12) return false;
  if (!given.wholeTexts) return true;
  for (let r = 0; r < at.rows; r++)
    for (let c = 0; c < at.columns; c++)
      if (textWidth(given.text(r, c), 11) > at.cell - 3) return false;
  return true;
}

/** Writes the texts of the cells between two columns, so that a long map has few elements. */
function cellTexts(g, at, given, from, to) {
  g.replaceChildren();
  for (let r = 0; r < at.rows; r++)
    for (let c = from; c < to; c++) {
      const text = fit(given.text(r, c), at.cell - 4, 11);
      if (!text) continue;
      const value = given.value(r, c);
      g.append(el("text", { x: at.left + (c + 0.5) * at.cell, y: at.top + (r + 0.5) * at.height + 4,
        "text-anchor": "middle", class: "celltext",
        style: { fill: Number.isNaN(value) ? "var(--ink)" : ink(given.scale.color(value)) },
      }, text));
    }
}

/** Pointer, keys and focus. mark(r, c) shows the cell; r -1: none. */
function listen(svg, at, given, mark) {
  let here = [0, 0];
  const enter = (r, c, place) => {
    here = [r, c];
    mark(r, c);
    if (given.tip) showTip(given.tip(r, c), place);
    if (given.onEnter) given.onEnter(r, c);
  };
  const leave = () => {
    mark(-1, -1);
    hideTip();
    if (given.onLeave) given.onLeave();
  };
  const cellAt = (event) => {
    const box = svg.getBoundingClientRect();
    const edge = svg.parentNode.getBoundingClientRect().left + at.left;
    if (event.clientX < edge) return null; // the rows' names lie over the cells there
    const c = Math.floor((event.clientX - box.left - at.left) / at.cell);
    const r = Math.floor((event.clientY - box.top - at.top) / at.height);
    return r >= 0 && r < at.rows && c >= 0 && c < at.columns ? [r, c] : null;
  };
  svg.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (cell) enter(...cell, event);
    else leave();
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell && given.onPick) given.onPick(...cell);
  });
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && given.onPick) given.onPick(...here);
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
    const [dr, dc] = step[event.key] || [0, 0];
    if (!dr && !dc) return;
    event.preventDefault();
    const r = Math.min(at.rows - 1, Math.max(0, here[0] + dr));
    const c = Math.min(at.columns - 1, Math.max(0, here[1] + dc));
    const scroller = svg.parentNode;
    const x = at.left + c * at.cell;
    if (x - at.left < scroller.scrollLeft) scroller.scrollLeft = x - at.left;
    if (x + at.cell > scroller.scrollLeft + scroller.clientWidth)
      scroller.scrollLeft = x + at.cell - scroller.clientWidth;
    const box = svg.getBoundingClientRect();
    enter(r, c, { x: box.left + x + at.cell, y: box.top + at.top + (r + 1) * at.height });
  });
}

/** Keeps the rows' names at the left, and the texts of the cells in view. */
function scrolling(scroller, names, texts, at, given, width) {
  let from = -1;
  let to = -1;
  const update = (left, wide) => {
    names.setAttribute("transform", `translate(${left},0)`);
    if (!texts) return;
    const first = Math.max(0, Math.floor((left - at.left) / at.cell) - 4);
    const end = Math.min(at.columns, first + Math.ceil(wide / at.cell) + 8);
    if (from >= 0 && first >= from && end <= to) return;
    [from, to] = [Math.max(0, first - 20), Math.min(at.columns, end + 20)];
    cellTexts(texts, at, given, from, to);
  };
  const scrolled = () => update(scroller.scrollLeft, scroller.clientWidth);
  scroller.addEventListener("scroll", scrolled, { passive: true });
  update(0, width); // without asking for the layout
}

/**
 * Draws a heat map into area. given:
 *   rows, columns [texts]; value(r, c) -> number (NaN: empty cell); scale of colorScale();
 *   legend: what the colors mean (none: no legend); text?(r, c) -> text in the cell, shortened
 *   to fit, or with wholeTexts (numbers) all left out if one does not fit;
 *   minCell, maxCell, cellHeight? in pixels; label for screen readers; tip?(r, c) -> lines;
 *   start? (the column in view at first where the map scrolls); onEnter?(r, c), onLeave?(),
 *   onPick?(r, c).
 * Returns {highlight(column), element}: outlines a column; -1: none.
 */
export function heatmap(area, width, own) {
  const given = { ...own, scale: sharedColors(area, own.scale) };
  const at = layoutOf(width, given);
  const svg = el("svg", { class: "heatmap", width: at.width, height: at.total,
    viewBox: `0 0 ${at.width} ${at.total}`, role: "img", tabindex: "0",
    "aria-label": given.label || given.legend || "heat map" });
  const texts = hasTexts(at, given) ? el("g", { class: "texts" }) : null;
  const cursor = el("rect", { class: "cursor", width: at.cell, height: at.height, fill: "none",
    stroke: "var(--ink)", "stroke-width": 2, visibility: "hidden" });
  const column = el("rect", { class: "chosen", y: at.top - 1, width: at.cell, fill: "none",
    height: at.rows * at.height + 1, stroke: "var(--accent)", "stroke-width": 2,
    visibility: "hidden" });
  const many = at.rows * at.columns > MOST_ELEMENTS;
  const names = rowLabels(at, given);
  svg.append(columnLabels(at, given), many ? cellImage(at, given) : cellElements(at, given));
  if (texts) svg.append(texts);
  svg.append(column, cursor, names);
  const scroller = el("div", { class: "scroller" }, svg);
  area.append(scroller);
  if (given.legend) area.append(legend(given.scale, given.legend));
  listen(svg, at, given, (r, c) => {
    cursor.setAttribute("visibility", r < 0 ? "hidden" : "visible");
    cursor.setAttribute("x", at.left + c * at.cell);
    cursor.setAttribute("y", at.top + r * at.height);
  });
  if (given.start > 0)
    scroller.scrollLeft = at.left + (given.start + 1) * at.cell + RIGHT - scroller.clientWidth;
  scrolling(scroller, names, texts, at, given, width);
  const highlight = (c) => {
    column.setAttribute("visibility", c < 0 ? "hidden" : "visible");
    column.setAttribute("x", at.left + c * at.cell);
  };
  return { highlight, element: scroller };
}
