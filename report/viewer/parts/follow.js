// A figure's part that follows the selected token; drawing the part again replaces its listener.

const ends = new WeakMap();

/** Calls listener(row, locked) now and at every change, until area is followed again. */
export function follow(page, area, listener) {
  if (ends.has(area)) ends.get(area)();
  ends.set(area, page.selection.on(listener));
  listener(page.selection.row, page.selection.locked);
}
