// Lines over numbers or labels, with bands of their spread and a cursor that reads them.
import { area as areaOf, line as lineOf } from "d3-shape";
import { el } from "./dom.js";
import { colored, extentOf, isDrawn, named, placeOf, plot } from "./plot.js";
import { short } from "./scales.js";
import { sharedSpan } from "./shared_scale.js";
import { hideTip, showTip } from "./tip.js";

const MOST_POINTS = 60;

function domainOf(area, given, series, levels) {
  if (given.domain) return given.domain;
  const lists = series.flatMap((one) => [one.values, one.low || [], one.high || []]);
  lists.push(levels.map((level) => level.value));
  const [low, high] = extentOf(lists, { log: given.log, zero: given.zero !== false });
  const span = sharedSpan(area, "y", { low, high });
  return [span.low, span.high];
}

/** The axes of plot() for the given x and y. */
function axesOf(area, given, series, levels) {
  const x = Object.assign({}, given.x);
  if (!x.labels) x.domain = given.x.domain || extentOf([x.values], { log: x.log });
  if (!x.labels) x.exact = true;
  if (!x.labels) x.whole = x.values.every(Number.isInteger);
  return { x, y: Object.assign({}, given.y, { domain: domainOf(area, given.y, series, levels) }) };
}

function drawBand(ground, one, at, usable) {
  const band = areaOf()
    .defined((i) => usable(one.low[i]) && usable(one.high[i]))
    .x(at)
    .y0((i) => ground.y(one.low[i]))
    .y1((i) => ground.y(one.high[i]));
  ground.add("path", {
    class: "band",
    d: band(one.values.map((_, i) => i)) || "",
    fill: one.color,
    "fill-opacity": 0.18,
  });
}

function drawSeries(ground, one, at, usable) {
  const indices = one.values.map((_, i) => i);
  const path = lineOf()
    .defined((i) => usable(one.values[i]))
    .x(at)
    .y((i) => ground.y(one.values[i]));
  ground.add("path", {
    class: "line",
    d: path(indices) || "",
    fill: "none",
    stroke: one.color,
    "stroke-width": one.wide || 2,
    "stroke-dasharray": one.dash,
  });
  const alone = (i) => !usable(one.values[i - 1]) && !usable(one.values[i + 1]);
  const all = one.points === undefined ? indices.length <= MOST_POINTS : one.points;
  for (const i of indices)
    if (usable(one.values[i]) && (all || alone(i)))
      ground.add("circle", { cx: at(i), cy: ground.y(one.values[i]), r: 2.5, fill: one.color });
}

function drawLevel(ground, level) {
  const y = ground.y(level.value);
  ground.add("line", { class: "level", x2: ground.width, y1: y, y2: y });
  ground.add(
    "text",
    { class: "level", x: ground.width, y: y < 14 ? y + 13 : y - 4, "text-anchor": "end" },
    `${level.name} ${short(level.value)}`
  );
}

/** Lines of the tip at index i. */
function readings(given, series, i) {
  const head = given.x.labels ? given.x.labels[i] : `${given.x.name} ${short(given.x.values[i])}`;
  return [
    head,
    ...series.map(
      (one) =>
        named(one.name, one.values[i]) +
        (one.low ? ` (${short(one.low[i])} to ${short(one.high[i])})` : "")
    ),
  ];
}

/** Moves the cursor with pointer and arrow keys, and calls the given listeners. */
function follow(ground, given, series, at, n) {
  const node = ground.svg;
  const mark = ground.add("line", { class: "cursor", y2: ground.height, visibility: "hidden" });
  let current = -1;
  const highlight = (i) => {
    current = i;
    const shown = i >= 0 && i < n;
    mark.setAttribute("visibility", shown ? "visible" : "hidden");
    if (!shown) return;
    mark.setAttribute("x1", at(i));
    mark.setAttribute("x2", at(i));
  };
  const enter = (i, place) => {
    highlight(i);
    showTip(readings(given, series, i), place);
    if (given.onEnter) given.onEnter(i);
  };
  const leave = () => {
    highlight(-1);
    hideTip();
    if (given.onLeave) given.onLeave();
  };
  node.addEventListener("pointermove", (event) => {
    const x = placeOf(event, node)[0] - ground.left;
    let best = 0;
    for (let i = 1; i < n; i++) if (Math.abs(at(i) - x) < Math.abs(at(best) - x)) best = i;
    enter(best, event);
  });
  node.addEventListener("pointerleave", leave);
  node.addEventListener("blur", leave);
  node.addEventListener("click", () => current >= 0 && given.onPick && given.onPick(current));
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Enter" && current >= 0 && given.onPick) given.onPick(current);
    if (!step) return;
    event.preventDefault();
    enter(Math.min(n - 1, Math.max(0, current < 0 ? 0 : current + step)), node);
  });
  return { highlight };
}

/** A sentence in place of lines without a number. */
function nothing(area) {
  area.append(el("p", { class: "note" }, "There are no numbers to draw."));
  return { highlight: () => {} };
}

/**
 * Lines in area. given: x {name, values [numbers] or labels [texts], log, symlog, ticks}, y {name,
 * log, zero (default true: 0 is in sight), domain}, series [{name, values, low, high (the band),
 * color, dash, points}], levels [{name, value}] (horizontal marks), height, label, onEnter(i),
 * onLeave(), onPick(i). NaN breaks a line. Returns {highlight(i)}; -1: none.
 */
export function lines(area, width, given) {
  const series = colored(given.series);
  const levels = given.levels || [];
  const axes = axesOf(area, given, series, levels);
  const usable = (value) => isDrawn(value, given.y.log);
  if (!series.some((one) => one.values.some(usable))) return nothing(area);
  const ground = plot(
    area,
    width,
    Object.assign(axes, {
      height: given.height,
      label: given.label,
      legend: series.length > 1 || given.legend ? series : [],
    })
  );
  const at = (i) => ground.x(given.x.labels ? i : given.x.values[i]);
  for (const level of levels) if (usable(level.value)) drawLevel(ground, level);
  for (const one of series) if (one.low) drawBand(ground, one, at, usable);
  for (const one of series) drawSeries(ground, one, at, usable);
  ground.svg.setAttribute("tabindex", 0);
  const n = given.x.labels ? given.x.labels.length : given.x.values.length;
  return follow(ground, given, series, at, n);
}
