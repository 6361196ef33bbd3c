// The ground of charts over the units of a text: units from left to right with their texts above,
// in a scroller where they do not fit; the names at the left stay in sight.
import { el } from "./dom.js";
import { visible } from "./scales.js";
import { fit, textWidth, widest } from "./text_width.js";

const LEAST = 15; // pixels of a unit
const MOST = 64;
const TALLEST = 84; // pixels of the texts above

/** Where the units are, in pixels. height: of the chart below; left: of the first unit. */
export function unitLayout(width, units, left, height) {
  const fits = (width - left - 6) / units.length;
  const step = Math.min(MOST, Math.max(LEAST, fits));
  const texts = units.map(({ text }) => visible(text));
  const upright = texts.some((text) => textWidth(text) + 4 > step);
  const top = upright ? Math.ceil(widest(texts, TALLEST)) + 8 : 20;
  return {
    left,
    step,
    upright,
    top,
    texts,
    n: units.length,
    x: (unit) => left + unit * step,
    width: left + units.length * step + 4,
    height: top + height,
    unitAt: (x) => Math.floor((x - left) / step),
  };
}

function labels(at) {
  const g = el("g", { class: "unit-texts" });
  at.texts.forEach((text, u) => {
    const x = at.x(u) + at.step / 2;
    g.append(
      at.upright
        ? el(
            "text",
            { "data-unit": u, transform: `translate(${x + 4},${at.top - 5}) rotate(-90)` },
            fit(text, TALLEST)
          )
        : el("text", { "data-unit": u, x, y: at.top - 6, "text-anchor": "middle" }, text)
    );
  });
  return g;
}

/**
 * Adds the scroller to area. names: [{text, y}] that stay at the left. Returns {svg, scroller,
 * texts and body (g), mark(unit or -1), reveal(unit)}; draw into body.
 */
export function unitChart(area, at, names, label) {
  const svg = el("svg", {
    class: "unit-chart",
    width: at.width,
    height: at.height,
    role: "img",
    viewBox: `0 0 ${at.width} ${at.height}`,
    tabindex: "0",
    "aria-label": label,
  });
  const band = el("rect", {
    class: "band",
    y: 0,
    width: at.step,
    height: at.height,
    fill: "var(--accent)",
    "fill-opacity": 0.13,
    visibility: "hidden",
    "pointer-events": "none",
  });
  const texts = labels(at);
  const body = el("g", { class: "body" });
  const left = el(
    "g",
    { class: "names" },
    names.map(({ text, y }) => el("text", { x: at.left + 1, y, class: "muted" }, text))
  );
  svg.append(band, texts, body, left);
  const scroller = el("div", { class: "scroller" }, svg);
  area.append(scroller);
  scroller.addEventListener(
    "scroll",
    () => left.setAttribute("transform", `translate(${scroller.scrollLeft},0)`),
    { passive: true }
  );
  const mark = (unit) => {
    band.setAttribute("visibility", unit >= 0 ? "visible" : "hidden");
    if (unit >= 0) band.setAttribute("x", at.x(unit));
  };
  const reveal = (unit) => {
    const x = at.x(unit);
    if (x - at.left < scroller.scrollLeft + at.step)
      scroller.scrollLeft = x - at.left - 3 * at.step;
    else if (x + 2 * at.step > scroller.scrollLeft + scroller.clientWidth)
      scroller.scrollLeft = x + 4 * at.step - scroller.clientWidth;
  };
  return { svg, scroller, texts, body, mark, reveal };
}

/** The place in an svg of a pointer's event, in pixels: [x, y]. */
export function placeIn(svg, event) {
  const box = svg.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
