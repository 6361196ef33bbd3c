// Parts of a whole: one bar per label, its parts beside each other.
import { category, ink } from "./colors.js";
import { colorScale } from "./colorscale.js";
import { el } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { cellNumber, mostOf } from "./labels.js";
import { short } from "./scales.js";
import { fit, textWidth, widest } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const LINE = 22;

/** The names of the parts with their colors, in as many lines as they need. Returns the height. */
function legend(svg, parts, colors, width) {
  let [x, y] = [0, 4];
  parts.forEach((name, k) => {
    const wide = textWidth(name) + 30;
    if (x + wide > width && x > 0) [x, y] = [0, y + 18];
    svg.append(
      el("rect", { x, y, width: 12, height: 12, fill: colors[k] }),
      el("text", { x: x + 17, y: y + 10 }, name)
    );
    x += wide;
  });
  return y + 24;
}

function segments(svg, given, i, left, top, scale, colors) {
  let x = left;
  given.parts.forEach((name, k) => {
    const value = given.value(i, k);
    if (!(value > 0)) return;
    const wide = value * scale;
    svg.append(
      el("rect", { class: "part", x, y: top, width: wide, height: LINE - 5, fill: colors[k] })
    );
    const text = short(Number(value.toPrecision(2)));
    if (textWidth(text, 11) + 4 < wide)
      svg.append(
        el(
          "text",
          {
            x: x + wide / 2,
            y: top + 12,
            "text-anchor": "middle",
            class: "celltext",
            style: { fill: ink(colors[k]) },
          },
          text
        )
      );
    x += wide;
  });
}

/** Parts that are differences of two runs cannot be stacked: a heat map shows them. */
function differences(area, width, given, all) {
  heatmap(area, width, {
    rows: given.labels,
    columns: given.parts,
    value: given.value,
    scale: colorScale(all, { signed: true }),
    legend: "difference",
    label: given.label,
    maxCell: 90,
    wholeTexts: true,
    text: (i, k) => cellNumber(given.value(i, k), mostOf(all)),
    tip: (i, k) => [given.labels[i], `${given.parts[k]}  ${short(given.value(i, k))}`],
  });
}

/**
 * Stacked bars in area. given: labels [texts], parts [texts], value(i, k) (0 or more; of part k of
 * label i), whole (the length of a full bar; default: the largest sum), colors? [a color per part],
 * label, onPick(i). A pointer or the arrow keys read a bar.
 */
export function stack(area, width, given) {
  const all = given.labels.flatMap((_, i) => given.parts.map((__, k) => given.value(i, k)));
  if (all.some((value) => value < 0)) {
    differences(area, width, given, all);
    return;
  }
  const colors = given.colors || given.parts.map((_, k) => category(k));
  const sums = given.labels.map((_, i) =>
    given.parts.reduce((sum, _, k) => sum + Math.max(0, given.value(i, k) || 0), 0)
  );
  const left = Math.ceil(widest(given.labels, Math.max(60, width * 0.3))) + 10;
  const svg = el("svg", { class: "stack", role: "img", tabindex: "0", "aria-label": given.label });
  const top = legend(svg, given.parts, colors, width);
  const scale = (width - left - 4) / Math.max(given.whole || Math.max(...sums), 1e-30);
  given.labels.forEach((text, i) => {
    svg.append(
      el(
        "text",
        { x: left - 8, y: top + i * LINE + 13, "text-anchor": "end" },
        fit(text, left - 10)
      )
    );
    segments(svg, given, i, left, top + i * LINE, scale, colors);
  });
  const height = top + given.labels.length * LINE;
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` }))
    svg.setAttribute(key, value);
  area.append(svg);
  readBars(
    svg,
    top,
    LINE,
    given.labels.length,
    (i) => [
      given.labels[i],
      ...given.parts.map((name, k) => `${name}  ${short(given.value(i, k))}`),
    ],
    given.onPick
  );
}

/** A pointer or the arrow keys read one of n lines of an SVG: tip(i) gives the texts. */
export function readBars(svg, top, line, n, tip, onPick) {
  let at = -1;
  const enter = (i, place) => {
    at = i;
    showTip(tip(i), place);
  };
  const leave = () => {
    at = -1;
    hideTip();
  };
  svg.addEventListener("pointermove", (event) => {
    const i = Math.floor((event.clientY - svg.getBoundingClientRect().top - top) / line);
    if (i >= 0 && i < n) enter(i, event);
    else leave();
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("click", () => at >= 0 && onPick && onPick(at));
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && at >= 0 && onPick) onPick(at);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const i = Math.min(n - 1, Math.max(0, at < 0 ? 0 : at + step));
    const box = svg.getBoundingClientRect();
    enter(i, { x: box.left + 40, y: box.top + top + (i + 1) * line });
  });
}
