// Figures that follow the selected token. Drawing a part again replaces its listener, and what is
// out of sight is drawn when it comes into sight.
import { shownIndex } from "./rows.js";

const ends = new WeakMap();
const late = new WeakMap(); // parts out of sight -> what draws them
let watcher = null;

/** Calls listener(row, locked) now and at every change, until area is followed again. */
export function follow(page, area, listener) {
  if (ends.has(area)) ends.get(area)();
  ends.set(area, page.selection.on(listener, area));
  listener(page.selection.row, page.selection.locked);
}

function inSight(area) {
  const box = area.getBoundingClientRect();
  return box.bottom > -50 && box.top < innerHeight + 50;
}

function whenSeen(area, draw) {
  if (inSight(area)) {
    draw();
    return;
  }
  if (!watcher)
    watcher = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting || !late.has(target)) continue;
        watcher.unobserve(target);
        const run = late.get(target);
        late.delete(target);
        run();
      }
    }, { rootMargin: "50px" });
  late.set(area, draw);
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
      requestAnimationFrame(() => whenSeen(area, update));
    }
  });
}
