// Two runs beside each other have one scale, so that equal colors and lengths are equal numbers.

const known = new WeakMap(); // the element of both panes -> {drawing -> {pane -> span}}
const OTHER = { this: "beside", beside: "this" };
const waiting = new Set();

/** Draws figures again, once, after the present drawing. */
function redrawSoon(figures) {
  if (!waiting.size)
    setTimeout(() => {
      const all = [...waiting];
      waiting.clear();
      for (const figure of all) if (figure.isConnected) figure.redraw();
    });
  for (const figure of figures) waiting.add(figure);
}

function titleOf(figure) {
  return figure.querySelector("h4").textContent;
}

function union(a, b) {
  return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
}

/**
 * The span {low, high} of a drawing in area: its own, or in a pane of a run that has another beside
 * it, that of both. The other pane is drawn again where its span grows. name: of the scale, unique
 * among those of the drawing.
 */
export function sharedSpan(area, name, own) {
  const pane = area.closest(".pane");
  const figure = area.closest("figure");
  const kind = pane && pane.dataset.pane;
  if (!figure || !OTHER[kind] || !Number.isFinite(own.low + own.high)) return own;
  const panes = pane.parentNode;
  const drawn = figure.querySelectorAll(".area svg").length; // the scale's place in its figure
  const key = [titleOf(figure), drawn, name].join("\n");
  if (!known.has(panes)) known.set(panes, new Map());
  const scales = known.get(panes);
  if (!scales.has(key)) scales.set(key, {});
  const scale = scales.get(key);
  const other = scale[OTHER[kind]];
  const both = other ? union(own, other.own) : own;
  scale[kind] = { own, used: both };
  if (other && (other.used.low !== both.low || other.used.high !== both.high)) {
    other.used = both;
    const beside = panes.querySelectorAll(`[data-pane="${OTHER[kind]}"] figure`);
    redrawSoon([...beside].filter((one) => titleOf(one) === titleOf(figure)));
  }
  return both;
}

/** A scale of colors over the numbers of both panes. */
export function sharedColors(area, scale) {
  return scale.over ? scale.over(sharedSpan(area, "colors", scale)) : scale;
}
