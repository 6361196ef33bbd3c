// The frame of a figure: title, controls, the drawing, buttons and the table of its numbers.
import { el } from "./dom.js";

const MOST_ROWS = 1000;

function tableOf(given) {
  const head = el("tr", null, given.head.map((text) => el("th", { scope: "col" }, text)));
  const rows = given.rows.slice(0, MOST_ROWS).map((row) =>
    el("tr", null, row.map((cell) => el("td", null, String(cell)))));
  const more = given.rows.length - MOST_ROWS;
  return el("div", { class: "table", tabindex: "0" },
    el("table", null, el("thead", null, head), el("tbody", null, rows)),
    more > 0 ? el("p", null, `${more} more rows are in tensors.safetensors.`) : null);
}

/**
 * Adds a figure to place. given: title, caption, label (for screen readers), notes [texts],
 * controls [elements], draw(area, width in pixels), table() -> {head, rows}. Returns the element.
 */
export function frame(place, given) {
  const area = el("div", { class: "area", role: "group", "aria-label": given.label || given.title });
  const buttons = el("div", { class: "buttons" });
  let table = null;
  if (given.table)
    buttons.append(el("button", { type: "button", on: { click: () => {
      if (table) table.remove();
      table = table ? null : figure.appendChild(tableOf(given.table()));
    } } }, "Table"));
  const figure = el("figure", null,
    el("figcaption", null, el("h4", null, given.title),
      given.caption ? el("p", null, given.caption) : null),
    el("div", { class: "controls" }, given.controls || []), area,
    (given.notes || []).map((note) => el("p", { class: "note" }, note)), buttons);
  place.append(figure);
  const redraw = () => {
    area.replaceChildren();
    given.draw(area, area.clientWidth || 640);
  };
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(area.clientWidth - width) < 2) return;
    width = area.clientWidth;
    redraw();
  }).observe(area);
  figure.redraw = redraw;
  return figure;
}
