// Figures that follow the selected token. Drawing a part again replaces its listener, and what is
// out of sight is drawn when it comes into sight.
import { shownIndex } from "./rows.js";

const ends = new WeakMap();
const late = new WeakMap(); // parts out of sight -> what draws them
const seen = new WeakSet(); // parts in sight
let watcher = null;

/** Calls listener(row, locked) now and at every change, until area is followed again. */
export function follow(page, area, listener) {
  if (ends.has(area)) ends.get(area)();
  ends.set(area, page.selection.on(listener, area));
  listener(page.selection.row, page.selection.locked);
}

/** Keeps the part in seen while it is in sight, without asking the browser for a layout. */
function watch(area) {
  if (!watcher)
    watcher = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting) {
            seen.delete(target);
            continue;
          }
          seen.add(target);
          const run = late.get(target);
          late.delete(target);
          if (run) run();
        }
      },
      { rootMargin: "50px" }
    );
  watcher.observe(area);
}

/**
 * Draws into area for the selected row, and again when another is selected: draw(index in axis).
 * state.shown keeps the index while the selected row is not in the axis. Several changes within a
 * frame of the screen are one.
 */
export function drawSelected(page, area, axis, state, draw) {
  let drawn = -1;
  let asked = false;
  const update = () => {
    asked = false;
    state.shown = shownIndex(axis, page.selection.row, state.shown);
    if (state.shown === drawn) return;
    drawn = state.shown;
    area.replaceChildren();
    draw(drawn);
  };
  follow(page, area, () => {
    if (drawn < 0) update();
    else if (!asked) {
      asked = true;
      requestAnimationFrame(() => (seen.has(area) ? update() : late.set(area, update)));
    }
  });
  watch(area);
}
