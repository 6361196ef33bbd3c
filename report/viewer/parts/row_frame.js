// A frame whose drawing is about one row: the selected token's, or the last one that it has.
import { drawSelected } from "./follow.js";
import { frame } from "./frame.js";
import { pickList } from "./pick.js";
import { indexOfRow, rowTitle } from "./rows.js";

/**
 * Adds a frame that is drawn for the selected row. given: as for frame(), but axis (of rows),
 * draw(area, width, index in axis) and table(index); first? is the index without a selected row.
 * Returns the frame.
 */
export function rowFrame(place, page, given) {
  const first = given.first === undefined ? given.axis.n - 1 : given.first;
  const state = { shown: first };
  return frame(place, Object.assign({}, given, {
    draw: (area, width) => drawSelected(page, area, given.axis, state, (i) =>
      given.draw(area, width, i)),
    table: () => given.table(state.shown),
  }));
}

/** A list of an axis' rows; choosing one locks its token. Null where there is one row only. */
export function rowList(run, page, axis, first = axis.n - 1) {
  if (axis.n < 2) return null;
  const texts = Array.from({ length: axis.n }, (_, i) => rowTitle(run, axis.number(i)));
  const list = pickList("row", texts, first, (i) => {
    if (page.selection.locked !== axis.number(i)) page.selection.lock(axis.number(i));
  });
  page.selection.on((row) => {
    const i = indexOfRow(axis, row);
    if (i >= 0) list.querySelector("select").selectedIndex = i;
  }, list);
  return list;
}
