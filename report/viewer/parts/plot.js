// The ground of a chart: scales, axes, grid, names and a legend, as SVG.
import { axisBottom, axisLeft } from "d3-axis";
import { format } from "d3-format";
import { scaleLinear, scaleLog, scalePoint, scaleSymlog } from "d3-scale";
import { select } from "d3-selection";
import { category } from "./colors.js";
import { el } from "./dom.js";
import { short } from "./scales.js";
import { fit, textWidth, widest } from "./text_width.js";

const LINE = 16;
const LABEL = 96; // the most pixels of a label under the x axis
const TICK = format(".4~g");

const MOST = 1e300; // of a number that is drawn: a scale's span must be finite

/** Whether a number has a place on a scale. log: of logarithms. */
export function isDrawn(value, log) {
  return Math.abs(value) <= MOST && (!log || value > 0);
}

/**
 * The smallest and largest finite number of lists of numbers: [low, high]. options: log (positive
 * numbers only), zero (0 belongs to it). A single number gets room on both sides.
 */
export function extentOf(lists, options = {}) {
  let low = Infinity;
  let high = -Infinity;
  for (const list of lists)
    for (const value of list) {
      if (!isDrawn(value, options.log)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  if (low > high) return options.log ? [1, 10] : [0, 1];
  if (options.zero && !options.log) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  if (low === high) return options.log ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  return [low, high];
}

/** The scale of an axis given as plot() describes it. */
function scaleOf(axis, range) {
  if (axis.labels)
    return scalePoint(
      axis.labels.map((_, i) => i),
      range
    ).padding(0.5);
  if (axis.log) return scaleLog(axis.domain, range);
  if (axis.symlog) return scaleSymlog(axis.domain, range).constant(axis.symlog);
  const scale = scaleLinear(axis.domain, range);
  return axis.exact ? scale : scale.nice();
}

/** Every k-th index of n labels, so that labels of these widths fit into length pixels. */
function thinned(labels, length) {
  const wide = widest(labels, LABEL) + 8;
  const step = Math.max(1, Math.ceil((labels.length * wide) / Math.max(length, 1)));
  return labels.map((_, i) => i).filter((i) => i % step === 0);
}

/** Draws an axis of D3 into g; its looks are the style sheet's. */
function dressed(g, made) {
  select(g).call(made).attr("class", "axis").attr("font-family", null).attr("font-size", null);
}

/** Of the given ticks those that have room beside the one before; the last one always has. */
function roomy(ticks, x) {
  const kept = [];
  let free = Infinity;
  for (const tick of [...ticks].reverse()) {
    const half = textWidth(TICK(tick)) / 2 + 4;
    if (x(tick) + half > free) continue;
    free = x(tick) - (kept.length ? half : 2 * half);
    kept.push(tick);
  }
  return kept.reverse();
}

function bottomAxis(g, axis, x, width) {
  const made = axisBottom(x).tickSizeOuter(0);
  if (axis.labels) {
    const texts = axis.labels.map((text) => fit(text, LABEL));
    made.tickValues(thinned(texts, width)).tickFormat((i) => texts[i]);
  } else if (axis.ticks) made.tickValues(roomy(axis.ticks, x)).tickFormat(TICK);
  else if (axis.log) made.ticks(Math.max(2, width / 90), TICK);
  else {
    const ticks = x.ticks(Math.max(2, Math.min(10, width / 70)));
    made.tickValues(axis.whole ? ticks.filter(Number.isInteger) : ticks).tickFormat(TICK);
  }
  dressed(g, made);
  const last = axis.ticks && g.querySelector(".tick:last-of-type text");
  if (last) last.setAttribute("text-anchor", "end"); // it is at the edge
}

function leftAxis(g, axis, y, height) {
  const made = axisLeft(y).tickSizeOuter(0);
  if (axis.labels) made.tickFormat((i) => fit(axis.labels[i], 126));
  else if (axis.log) made.ticks(Math.max(2, height / 50), TICK);
  else made.ticks(Math.max(2, Math.min(6, height / 34))).tickFormat(TICK);
  dressed(g, made);
}

function grid(g, axis, y, width, height) {
  const ticks = axis.log ? y.ticks(3) : y.ticks(Math.max(2, Math.min(6, height / 34)));
  for (const tick of ticks)
    g.append(
      el("line", {
        class: tick === 0 ? "grid zero" : "grid",
        x1: 0,
        x2: width,
        y1: y(tick),
        y2: y(tick),
      })
    );
}

/** Names with a stroke of their color, in as many lines as they need. Returns the height. */
function legend(svg, entries, left, width) {
  let x = left;
  let y = 12;
  for (const entry of entries) {
    const text = fit(entry.name, width - left - 30);
    const wide = textWidth(text) + 34;
    if (x + wide > width && x > left) [x, y] = [left, y + LINE];
    svg.append(
      el(
        "g",
        { class: "key", transform: `translate(${x},${y})` },
        el("line", {
          x2: 18,
          y1: -4,
          y2: -4,
          stroke: entry.color,
          "stroke-width": entry.wide || 3,
          "stroke-dasharray": entry.dash,
        }),
        el("text", { x: 23 }, text)
      )
    );
    x += wide;
  }
  return entries.length ? y + 8 : 0;
}

function leftRoom(axis, height) {
  if (axis.labels) return widest(axis.labels, 126) + 14;
  const scale = scaleOf(axis, [height, 0]);
  return Math.max(34, ...scale.ticks(5).map((tick) => textWidth(TICK(tick)) + 12));
}

function names(g, given, inner, left) {
  if (given.x.name)
    g.append(
      el(
        "text",
        { class: "name", x: inner.width / 2, y: inner.height + 34, "text-anchor": "middle" },
        fit(given.x.name, inner.width)
      )
    );
  if (given.y.name)
    g.append(
      el(
        "text",
        {
          class: "name",
          "text-anchor": "middle",
          transform: `translate(${12 - left},${inner.height / 2}) rotate(-90)`,
        },
        fit(given.y.name, inner.height)
      )
    );
}

/**
 * Draws axes into area. given: x and y as {name, domain [low, high] or labels [texts], log, symlog
 * (logarithmic from this number on, linear below), ticks [numbers] (those that have room), whole
 * (ticks at integers only), exact (the domain as it is)}, height in pixels without the legend,
 * legend [{name, color, dash}], label (for screen readers).
 * Returns {svg, x, y (scales), left, top, width, height (of the plot, in pixels), add(tag,
 * attributes, ...children): a new element whose origin is the plot's upper left}.
 */
export function plot(area, width, given) {
  const outer = given.height || 220;
  const svg = el("svg", {
    class: "plot",
    role: "img",
    "aria-label": given.label || `${given.y.name} by ${given.x.name}`,
  });
  area.append(svg);
  const left = leftRoom(given.y, outer) + (given.y.name ? 16 : 0);
  const top = legend(svg, given.legend || [], left, width) + 8;
  const bottom = given.x.name ? 40 : 24;
  const inner = { width: Math.max(40, width - left - 12), height: Math.max(20, outer - bottom) };
  const total = top + inner.height + bottom;
  svg.setAttribute("width", width);
  svg.setAttribute("height", total);
  svg.setAttribute("viewBox", `0 0 ${width} ${total}`);
  const g = svg.appendChild(el("g", { transform: `translate(${left},${top})` }));
  const x = scaleOf(given.x, [0, inner.width]);
  const y = scaleOf(given.y, [inner.height, 0]);
  if (!given.y.labels) grid(g, given.y, y, inner.width, inner.height);
  bottomAxis(
    g.appendChild(el("g", { transform: `translate(0,${inner.height})` })),
    given.x,
    x,
    inner.width
  );
  leftAxis(g.appendChild(el("g")), given.y, y, inner.height);
  names(g, given, inner, left);
  const add = (tag, attributes, ...children) => g.appendChild(el(tag, attributes, ...children));
  return { svg, add, x, y, left, top, width: inner.width, height: inner.height };
}

/** The legend entries and colors of series: given colors stay, the others are categories. */
export function colored(series) {
  return series.map((one, i) => Object.assign({ color: category(i) }, one));
}

/** The place of a pointer event in a node, in pixels from its upper left. */
export function placeOf(event, node) {
  const box = node.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** "name value" for a tip. */
export function named(name, value) {
  return `${name}  ${short(value)}`;
}
