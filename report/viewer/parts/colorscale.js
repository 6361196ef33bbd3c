// The color of a number, and the legend that says so. Every colored figure uses these rules:
// numbers of both signs are orange to blue with 0 in the middle; others run from pale to deep.
import { diverging, sequential } from "./colors.js";
import { el } from "./dom.js";
import { short } from "./scales.js";
import { textWidth } from "./text_width.js";

const STEPS = 48;
const LEGEND_WIDTH = 180;

function extent(given) {
  if (!Array.isArray(given) && !ArrayBuffer.isView(given)) return [given.low, given.high];
  let low = Infinity;
  let high = -Infinity;
  for (const value of given) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 0] : [low, high];
}

/**
 * A scale over {low, high} or a list of numbers. options: signed (true: both signs even if no
 * number is below 0), fromZero (false: pale is the lowest number, not 0), log (numbers >= 1).
 * Returns {color(value), position(value) in 0..1, value(position), low, high, signed, log,
 * over({low, high}): the scale of these numbers}.
 * An unset number is transparent.
 */
export function colorScale(given, options = {}) {
  let [low, high] = extent(given);
  const log = Boolean(options.log) && low > 0;
  const signed = !log && (Boolean(options.signed) || low < 0) && options.fromZero !== false;
  if (signed) {
    high = Math.max(Math.abs(low), Math.abs(high));
    low = -high;
  } else if (!log && options.fromZero !== false) {
    low = Math.min(0, low);
  }
  const up = (value) => (log ? Math.log(value) : value);
  const span = up(high) - up(low) || 1;
  const position = (value) => Math.min(1, Math.max(0, (up(value) - up(low)) / span));
  const value = (at) => (log ? Math.exp(up(low) + at * span) : low + at * span);
  const color = (number) => {
    if (number === null || Number.isNaN(number)) return "transparent";
    return signed ? diverging(high ? number / high : 0) : sequential(position(number));
  };
  const over = (span) => colorScale(span, options);
  return { color, position, value, low, high, signed, log, over };
}

/** An SVG element that shows the colors of a scale with its ends, and what they mean. */
export function legend(scale, title) {
  const ends = scale.signed ? [scale.low, 0, scale.high] : [scale.low, scale.high];
  const width = Math.max(LEGEND_WIDTH, textWidth(title)) + 16;
  const svg = el("svg", { class: "legend", width, height: 46, viewBox: `0 0 ${width} 46`,
    role: "img", "aria-label": `${title}: colors from ${ends.map(short).join(" to ")}` });
  svg.append(el("text", { x: 8, y: 12, class: "muted" }, title));
  const step = LEGEND_WIDTH / STEPS;
  for (let i = 0; i < STEPS; i++)
    svg.append(el("rect", { x: 8 + i * step, y: 18, width: step + 0.5, height: 10,
      fill: scale.color(scale.value((i + 0.5) / STEPS)) }));
  const anchors = scale.signed ? ["start", "middle", "end"] : ["start", "end"];
  ends.forEach((end, i) => svg.append(el("text", {
    x: 8 + (LEGEND_WIDTH * i) / (ends.length - 1), y: 42, "text-anchor": anchors[i],
  }, short(end))));
  return svg;
}
