// Signed bars: one line per label, in one or several aligned columns, with their numbers.
import { scaleLinear } from "d3-scale";
import { signed } from "./colors.js";
import { el } from "./dom.js";
import { short } from "./scales.js";
import { sharedSpan } from "./shared_scale.js";
import { fit, widest } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const LINE = 20;
const HEAD = 20;
const GAP = 12;
const LEAST = 4; // pixels beside bars without numbers
const COLUMN = [72, 120]; // pixels that a column with a short name or a long one needs
const LEAST_BARS = 48; // pixels for the bars themselves

/** {low, high} of the numbers that share a scale; 0 belongs to it, and lines aside do not. */
function spanOf(columns, aside) {
  const span = { low: 0, high: 0 };
  for (const column of columns)
    column.values.forEach((value, i) => {
      if (aside && aside(i)) return;
      if (value < span.low) span.low = value;
      if (value > span.high) span.high = value;
    });
  if (span.low === span.high) span.high = 1e-30;
  return span;
}

/** The span of each column: of its own, or of all that share one. */
function spansOf(area, given) {
  const together = given.columns.filter((column) => column.kind !== "line" && !column.own);
  const shared = sharedSpan(area, "columns", spanOf(together, given.aside));
  return given.columns.map((column, k) => column.own
    ? sharedSpan(area, `column ${k}`, spanOf([column], given.aside)) : shared);
}

/** The pixels for numbers at a bar's end: few in a column that is too narrow for them. */
function numberSpace(column, width) {
  const values = column.values.filter((value) => !Number.isNaN(value));
  const space = widest(values.map(short), 60) + 6;
  const sides = values.some((value) => value < 0) && values.some((value) => value > 0) ? 2 : 1;
  return column.kind === "line" || width - sides * space < LEAST_BARS ? LEAST : space;
}

/** The x scale of a column between two pixels, with space for the numbers at the bars' ends. */
function columnScale(column, span, left, right) {
  const values = column.values.filter((value) => !Number.isNaN(value));
  const space = numberSpace(column, right - left);
  if (column.kind === "line") {
    const all = [...values, column.goal === undefined ? 0 : column.goal, 0];
    const low = Math.min(...all);
    const high = Math.max(...all);
    return scaleLinear([low, high === low ? low + 1 : high], [left + space, right - space]);
  }
  return scaleLinear([span.low, span.high],
    [left + (span.low < 0 ? space : 1), right - (span.high > 0 ? space : 1)]).clamp(true);
}

function bar(g, value, x, y, color, numbers) {
  if (Number.isNaN(value)) return;
  g.append(el("rect", { class: "bar", x: Math.min(x(0), x(value)), y: y + 3, height: LINE - 6,
    width: Math.max(0.5, Math.abs(x(value) - x(0))), fill: color || signed(value) }));
  if (numbers)
    g.append(el("text", { x: value < 0 ? x(value) - 4 : x(value) + 4, y: y + 14,
      "text-anchor": value < 0 ? "end" : "start" }, short(value)));
}

/** A sum that grows from line to line: a stepped path, with a dashed line at column.goal. */
function sumLine(g, column, x, height) {
  const points = column.values.map((value, i) => `${x(value)},${HEAD + i * LINE} ` +
    `${x(value)},${HEAD + (i + 1) * LINE}`);
  g.append(el("line", { x1: x(0), x2: x(0), y1: HEAD, y2: height, stroke: "var(--grid)" }));
  if (column.goal !== undefined)
    g.append(el("line", { class: "goal", x1: x(column.goal), x2: x(column.goal), y1: HEAD - 4,
      y2: height, stroke: "var(--ink)", "stroke-dasharray": "3 3" }));
  g.append(el("path", { d: `M${points.join("L")}`, fill: "none", stroke: "var(--accent)",
    "stroke-width": 2 }));
}

function drawColumn(svg, given, column, left, right, span, height) {
  const g = el("g", { class: "column" });
  const x = columnScale(column, span, left, right);
  const color = (i) => (given.aside && given.aside(i) ? "var(--muted)" :
    column.color && column.color(i));
  g.append(el("text", { x: left, y: 13, class: "muted" }, fit(column.name, right - left)));
  if (column.kind === "line") {
    sumLine(g, column, x, height);
  } else {
    g.append(el("line", { x1: x(0), x2: x(0), y1: HEAD, y2: height, stroke: "var(--muted)" }));
    column.values.forEach((value, i) =>
      bar(g, value, x, HEAD + i * LINE, color(i), numberSpace(column, right - left) > LEAST));
  }
  svg.append(g);
}

/** The names of the lines, over the mark of the one that is read, which is returned. */
function drawBack(g, given, left, width) {
  const back = el("rect", { class: "back", x: 0, y: -LINE, width, height: LINE, fill: "var(--grid)",
    "fill-opacity": 0.5, visibility: "hidden" });
  g.append(back);
  given.labels.forEach((text, i) => g.append(el("text", { class: "name", x: left - 8,
    y: HEAD + i * LINE + 14, "text-anchor": "end" }, fit(text, left - 8))));
  return back;
}

function listen(svg, given, highlight, block) {
  const count = given.labels.length;
  let at = -1;
  const enter = (i, place) => {
    at = i;
    highlight(i);
    if (given.tip) showTip(given.tip(i), place);
    if (given.onEnter) given.onEnter(i);
  };
  const leave = () => {
    highlight(-1);
    hideTip();
    if (given.onLeave) given.onLeave();
  };
  const lineAt = (event) =>
    Math.floor((((event.clientY - svg.getBoundingClientRect().top) % block) - HEAD) / LINE);
  svg.addEventListener("pointermove", (event) => {
    const i = lineAt(event);
    if (i >= 0 && i < count) enter(i, event);
    else leave();
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("click", (event) => {
    const i = lineAt(event);
    if (given.onPick && i >= 0 && i < count) given.onPick(i);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && given.onPick && at >= 0) given.onPick(at);
    if (!step) return;
    event.preventDefault();
    const i = Math.min(count - 1, Math.max(0, at + step));
    const box = svg.getBoundingClientRect();
    enter(i, { x: box.left + 40, y: box.top + HEAD + (i + 1) * LINE });
  });
}

/**
 * Draws bars into area. given:
 *   labels [texts]; columns [{name, values [number per label], own? (a scale of its own),
 *   color?(i), kind?: "line" (a running sum, with the dashed line goal)}]: the other columns share
 *   one scale; aside?(i) -> true for a line that is a remainder: its bar is gray and cut where it
 *   is longer than the others' scale;
 *   label for screen readers; tip?(i) -> lines; onEnter?(i), onLeave?(), onPick?(i).
 * Returns {highlight(i)}: marks line i; -1: none.
 */
export function bars(area, width, given) {
  const block = HEAD + given.labels.length * LINE + 4;
  const left = Math.ceil(widest(given.labels, Math.max(60, width * 0.32))) + 10;
  const spans = spansOf(area, given);
  const needed = Math.max(COLUMN[0], widest(given.columns.map((one) => one.name), COLUMN[1]) + GAP);
  const fitting = Math.max(1, Math.floor((width - left) / needed));
  const blocks = Math.ceil(given.columns.length / fitting); // columns below each other
  const across = Math.ceil(given.columns.length / blocks);
  const height = block * blocks;
  const svg = el("svg", { class: "bars", width, height, viewBox: `0 0 ${width} ${height}`,
    role: "img", tabindex: "0", "aria-label": given.label || "bars" });
  const backs = [];
  for (let b = 0; b < blocks; b++) {
    const g = svg.appendChild(el("g", { transform: `translate(0,${b * block})` }));
    backs.push(drawBack(g, given, left, width));
    const columns = given.columns.slice(b * across, (b + 1) * across);
    const each = (width - left) / columns.length;
    columns.forEach((column, k) => drawColumn(g, given, column, left + k * each,
      left + (k + 1) * each - (k + 1 < columns.length ? GAP : 2), spans[b * across + k], block));
  }
  const highlight = (i) => {
    for (const back of backs) {
      back.setAttribute("y", HEAD + i * LINE);
      back.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    }
  };
  listen(svg, given, highlight, block);
  area.append(svg);
  return { highlight };
}
