// Running text whose tokens are tinted by numbers, as SVG in as many lines as it needs.
import { ink } from "./colors.js";
import { legend } from "./colorscale.js";
import { el } from "./dom.js";
import { sharedColors } from "./shared_scale.js";
import { fit, textWidth } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const LINE = 26;
const SIZE = 14;

function layoutOf(tokens, width) {
  let x = 0;
  let y = 0;
  return tokens.map((text) => {
    const wide = Math.min(width, textWidth(text, SIZE) + 6);
    if (x + wide > width && x > 0) [x, y] = [0, y + LINE];
    const box = { x, y, wide };
    x += wide;
    return box;
  });
}

/** Pointer and arrow keys over the tokens. */
function listen(svg, boxes, given, mark) {
  let here = -1;
  const enter = (i, place) => {
    here = i;
    mark(i);
    if (given.tip) showTip(given.tip(i), place);
    if (given.onEnter) given.onEnter(i);
  };
  const leave = () => {
    mark(-1);
    hideTip();
  };
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    const i = boxes.findIndex((box) =>
      x >= box.x && x < box.x + box.wide && y >= box.y && y < box.y + LINE);
    if (i >= 0) enter(i, event);
    else leave();
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("click", () => here >= 0 && given.onPick && given.onPick(here));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Enter" && here >= 0 && given.onPick) given.onPick(here);
    if (!step || !boxes.length) return;
    event.preventDefault();
    const i = Math.min(boxes.length - 1, Math.max(0, here + step));
    const frame = svg.getBoundingClientRect();
    enter(i, { x: frame.left + boxes[i].x + boxes[i].wide, y: frame.top + boxes[i].y + LINE });
  });
}

/**
 * Draws tokens into area. given: tokens [texts]; value(i) -> number (NaN: no tint); scale of
 * colorScale(); legend: what the colors mean (none: no legend); label for screen readers;
 * tip?(i) -> lines; onEnter?(i), onPick?(i).
 * Returns {highlight(i)}: outlines token i; -1: none.
 */
export function tinted(area, width, own) {
  const given = { ...own, scale: sharedColors(area, own.scale) };
  const boxes = layoutOf(given.tokens, width);
  const height = (boxes.length ? boxes[boxes.length - 1].y : 0) + LINE + 2;
  const svg = el("svg", { class: "tinted", width, height, viewBox: `0 0 ${width} ${height}`,
    role: "img", tabindex: "0", "aria-label": given.label || "tinted text" });
  boxes.forEach((box, i) => {
    const fill = given.scale.color(given.value(i));
    svg.append(
      el("rect", { class: "token", x: box.x, y: box.y + 1, width: box.wide, height: LINE - 4,
        fill }),
      el("text", { x: box.x + 3, y: box.y + 17, style: { "font-size": `${SIZE}px`,
        fill: fill === "transparent" ? "var(--ink)" : ink(fill) } },
      fit(given.tokens[i], box.wide - 5, SIZE)));
  });
  const outline = (name, color) => el("rect", { class: name, y: 0, height: LINE - 2, fill: "none",
    stroke: color, "stroke-width": 2, visibility: "hidden" });
  const chosen = outline("chosen", "var(--accent)");
  const cursor = outline("cursor", "var(--ink)");
  svg.append(chosen, cursor);
  const show = (rect, i) => {
    rect.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    if (i < 0) return;
    rect.setAttribute("x", boxes[i].x);
    rect.setAttribute("y", boxes[i].y);
    rect.setAttribute("width", boxes[i].wide);
  };
  listen(svg, boxes, given, (i) => show(cursor, i));
  area.append(svg);
  if (given.legend) area.append(legend(given.scale, given.legend));
  return { highlight: (i) => show(chosen, i) };
}
