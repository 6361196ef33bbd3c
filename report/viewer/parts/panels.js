// Small multiples: several drawings of one kind beside each other, as many as fit.
import { el } from "./dom.js";

const GAP = 20;
const MOST_WIDTH = 700; // of one panel, in pixels

/**
 * Adds panels to area. list: [{title, draw(area, width)}]; least: the least width of a panel in
 * pixels (default 280); most: the most columns. Returns the panels' elements.
 */
export function panels(area, width, list, { least = 280, most = 4 } = {}) {
  const fit = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  const limit = Math.max(1, Math.min(most, fit, list.length));
  const columns = Math.ceil(list.length / Math.ceil(list.length / limit)) || 1; // lines are even
  const each = Math.min(MOST_WIDTH, Math.floor((width - GAP * (columns - 1)) / columns));
  const grid = el("div", {
    class: "panels",
    style: { "grid-template-columns": `repeat(${columns}, minmax(0, 1fr))` },
  });
  area.append(grid);
  return list.map((panel) => {
    const place = el("div", null, panel.title ? el("h5", null, panel.title) : null);
    grid.append(place);
    panel.draw(place, each);
    return place;
  });
}
