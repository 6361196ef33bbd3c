// Where the values of each label lie: a dot for the middle, a thick line for the usual, a thin line
// for all.
import { axisTop } from "d3-axis";
import { format } from "d3-format";
import { scaleLinear, scaleLog } from "d3-scale";
import { select } from "d3-selection";
import { el } from "./dom.js";
import { extentOf } from "./plot.js";
import { short } from "./scales.js";
import { readBars } from "./stack.js";
import { fit, widest } from "./text_width.js";

const LINE = 20;
const HEAD = 40;
const TICK = format(".4~g");

function stroke(svg, from, to, y, wide) {
  if (!Number.isFinite(from) || !Number.isFinite(to)) return;
  svg.append(
    el("line", {
      x1: from,
      x2: to,
      y1: y,
      y2: y,
      stroke: "var(--accent)",
      "stroke-width": wide,
      "stroke-opacity": wide > 2 ? 0.45 : 0.9,
    })
  );
}

function textsOf(given, entry, i) {
  const texts = [given.labels[i], `${given.names[0]}  ${short(entry.middle)}`];
  if (entry.low !== undefined)
    texts.push(`${given.names[1]}  ${short(entry.low)} to ${short(entry.high)}`);
  if (entry.least !== undefined)
    texts.push(`${given.names[2]}  ${short(entry.least)} to ${short(entry.most)}`);
  return texts;
}

function scaleFor(given, left, width) {
  const all = given.entries.flatMap((entry) => [
    entry.middle,
    entry.low,
    entry.high,
    ...(given.wide ? [entry.least, entry.most] : []),
  ]);
  const domain = given.domain || extentOf([all], { log: given.log, zero: given.zero });
  const make = given.log ? scaleLog : scaleLinear;
  return make(domain, [left, width - 12]).clamp(true);
}

/**
 * Intervals in area. given: labels [texts], entries [{middle, low, high, least, most}] (low and
 * high: the thick line; least and most: the thin line, cut at the plot's edge unless wide), names
 * [of the middle, of low to high, of least to most], title (of the axis), log, zero (0 in sight),
 * wide, domain, label, onPick(i).
 */
export function intervals(area, width, given) {
  const left = Math.ceil(widest(given.labels, Math.max(60, width * 0.3))) + 10;
  const height = HEAD + given.labels.length * LINE + 4;
  const svg = el("svg", {
    class: "plot",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    tabindex: "0",
    "aria-label": given.label,
  });
  const x = scaleFor(given, left, width);
  const axis = axisTop(x)
    .ticks(Math.max(2, (width - left) / 90), TICK)
    .tickSizeOuter(0);
  svg.append(el("text", { class: "name", x: left, y: 12 }, fit(given.title, width - left)));
  const g = svg.appendChild(el("g", { transform: `translate(0,${HEAD - 4})` }));
  select(g).call(axis).attr("class", "axis").attr("font-family", null).attr("font-size", null);
  for (const tick of x.ticks(4))
    svg.append(
      el("line", {
        class: tick === 0 ? "grid zero" : "grid",
        x1: x(tick),
        x2: x(tick),
        y1: HEAD - 4,
        y2: height,
      })
    );
  given.entries.forEach((entry, i) => {
    const y = HEAD + i * LINE + LINE / 2;
    svg.append(
      el("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, fit(given.labels[i], left - 10))
    );
    if (entry.least !== undefined) stroke(svg, x(entry.least), x(entry.most), y, 1.5);
    if (entry.low !== undefined) stroke(svg, x(entry.low), x(entry.high), y, 7);
    if (Number.isFinite(entry.middle) && (!given.log || entry.middle > 0))
      svg.append(el("circle", { cx: x(entry.middle), cy: y, r: 4, fill: "var(--accent)" }));
  });
  area.append(svg);
  readBars(
    svg,
    HEAD,
    LINE,
    given.labels.length,
    (i) => textsOf(given, given.entries[i], i),
    given.onPick
  );
}
