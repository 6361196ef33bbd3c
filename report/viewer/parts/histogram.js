// How often: bars over bins of a number, one or several series.
import { colored, extentOf, named, placeOf, plot } from "./plot.js";
import { short } from "./scales.js";
import { hideTip, showTip } from "./tip.js";

/**
 * Counts of values in equal bins (in log steps with log). options: bins (24), domain [low, high]
 * (default: of the values), log, whole (the values are integers: the bins end between integers, and
 * there may be fewer). Returns {edges [bins + 1], counts [bins], outside (not counted: NaN, or 0
 * and less with log)}.
 */
export function binned(values, options = {}) {
  let n = options.bins || 24;
  let [low, high] = options.domain || extentOf([values], { log: options.log });
  if (options.whole && !options.log) {
    const step = Math.ceil((high - low + 1) / n);
    n = Math.ceil((high - low + 1) / step);
    [low, high] = [low - 0.5, low - 0.5 + n * step];
  }
  const [from, to] = options.log ? [Math.log(low), Math.log(high)] : [low, high];
  const counts = new Array(n).fill(0);
  let outside = 0;
  for (const value of values) {
    const place = options.log ? Math.log(value) : value;
    const bin = Math.min(n - 1, Math.floor(((place - from) / (to - from)) * n));
    if (Number.isFinite(place) && bin >= 0 && place <= to) counts[bin]++;
    else outside++;
  }
  const edges = Array.from({ length: n + 1 }, (_, i) => from + ((to - from) * i) / n);
  return { edges: options.log ? edges.map(Math.exp) : edges, counts, outside };
}

/** Edges in which an open first or last bin has the width of its neighbor. */
function closed(edges) {
  const all = edges.slice();
  const last = all.length - 1;
  if (!Number.isFinite(all[0])) all[0] = 2 * all[1] - all[2];
  if (!Number.isFinite(all[last])) all[last] = 2 * all[last - 1] - all[last - 2];
  return all;
}

/** The text of bin i: its two edges, or for whole numbers the first and the last. */
export function binName(edges, i, whole) {
  if (whole) {
    const [first, last] = [edges[i] + 0.5, edges[i + 1] - 0.5];
    return first === last ? short(first) : `${short(first)} to ${short(last)}`;
  }
  if (!Number.isFinite(edges[i])) return `below ${short(edges[i + 1])}`;
  if (!Number.isFinite(edges[i + 1])) return `${short(edges[i])} and more`;
  return `${short(edges[i])} to ${short(edges[i + 1])}`;
}

function drawSeries(ground, one, k, n, edges, base) {
  for (let i = 0; i < one.counts.length; i++) {
    const [x0, x1] = [ground.x(edges[i]), ground.x(edges[i + 1])];
    const share = base ? 1 : 1 / n;
    const start = base ? base[i] : 0;
    const [y0, y1] = [ground.y(start), ground.y(start + one.counts[i])];
    const wide = (x1 - x0) * share;
    ground.add("rect", {
      class: "bin",
      x: x0 + (base ? 0 : k * wide),
      y: Math.min(y0, y1),
      width: Math.max(0.5, wide - (wide > 4 ? 1 : 0)),
      height: Math.abs(y0 - y1),
      fill: one.color,
    });
    if (base) base[i] += one.counts[i];
  }
}

function follow(ground, given, series, edges) {
  const node = ground.svg;
  const n = edges.length - 1;
  let current = null;
  const enter = (i, place) => {
    current = i;
    showTip(
      [
        binName(given.edges, i, given.x.whole),
        ...series.map((one) => named(one.name || given.y.name, one.counts[i])),
      ],
      place
    );
    if (given.onEnter) given.onEnter(i);
  };
  const leave = () => {
    current = null;
    hideTip();
  };
  node.addEventListener("pointermove", (event) => {
    const x = placeOf(event, node)[0] - ground.left;
    const i = edges.findIndex(
      (edge, k) => k < n && x >= ground.x(edge) && x < ground.x(edges[k + 1])
    );
    if (i >= 0) enter(i, event);
    else leave();
  });
  node.addEventListener("pointerleave", leave);
  node.addEventListener("blur", leave);
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    enter(Math.min(n - 1, Math.max(0, current === null ? 0 : current + step)), node);
  });
}

/** A vertical mark with its name, where it is within the plot. */
function drawLevel(ground, level) {
  const x = ground.x(level.value);
  if (!(x >= 0 && x <= ground.width)) return;
  const right = x > ground.width / 2;
  ground.add("line", { class: "level", x1: x, x2: x, y2: ground.height });
  ground.add(
    "text",
    { class: "level", x: x + (right ? -4 : 4), y: 10, "text-anchor": right ? "end" : "start" },
    `${level.name} ${short(level.value)}`
  );
}

/**
 * A histogram in area. given: edges [n + 1 numbers; the first may be -Infinity, the last Infinity],
 * series [{name, counts [n], color}], x {name, log,
 * whole (integers)}, y {name}, stacked (else side by side), levels
 * [{name, value}] (vertical marks), height, label.
 */
export function histogram(area, width, given) {
  const series = colored(given.series);
  const edges = closed(given.edges);
  const sums = edges.slice(1).map((_, i) => series.reduce((sum, one) => sum + one.counts[i], 0));
  const tops = given.stacked ? [sums] : series.map((one) => one.counts);
  const ground = plot(area, width, {
    x: {
      name: given.x.name,
      log: given.x.log,
      whole: given.x.whole,
      domain: [edges[0], edges[edges.length - 1]],
      exact: true,
    },
    y: { name: given.y.name, domain: extentOf(tops, { zero: true }) },
    height: given.height,
    label: given.label,
    legend: series.length > 1 ? series : [],
  });
  const base = given.stacked ? edges.map(() => 0) : null;
  series.forEach((one, k) => drawSeries(ground, one, k, series.length, edges, base));
  for (const level of given.levels || []) drawLevel(ground, level);
  ground.svg.setAttribute("tabindex", 0);
  follow(ground, given, series, edges);
}
