// The one tooltip of the page: it follows the pointer, or stands at an element with the focus.
import { el } from "./dom.js";

const GAP = 14;
let tip = null;

function place(x, y) {
  const { width, height } = tip.getBoundingClientRect();
  const right = document.documentElement.clientWidth - 4;
  const bottom = document.documentElement.clientHeight - 4;
  const left = x + GAP + width > right ? Math.max(4, x - GAP - width) : x + GAP;
  const top = y + GAP + height > bottom ? Math.max(4, y - GAP - height) : y + GAP;
  tip.style.left = `${Math.min(left, Math.max(4, right - width))}px`;
  tip.style.top = `${top}px`;
}

/**
 * Shows lines (texts or elements; the first is the head) at an event of the pointer, at an
 * element, or at a point {x, y} in pixels of the window.
 */
export function showTip(lines, at) {
  if (!tip) {
    tip = el("div", { class: "tip", role: "status" });
    document.body.append(tip);
    addEventListener("scroll", hideTip, { passive: true });
    addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  }
  tip.replaceChildren(...lines.map((line, i) =>
    el("div", { class: i ? "line" : "line head" }, line)));
  tip.hidden = false;
  if (at instanceof Element) {
    const box = at.getBoundingClientRect();
    place(box.right, box.bottom);
  } else {
    const pointer = at.clientX !== undefined;
    place(pointer ? at.clientX : at.x, pointer ? at.clientY : at.y);
  }
}

/** Hides the tooltip. */
export function hideTip() {
  if (tip) tip.hidden = true;
}
