// Points of two numbers each. Beyond 2,000 points they are one image.
import { el } from "./dom.js";
import { category } from "./colors.js";
import { extentOf, isDrawn, named, placeOf, plot } from "./plot.js";
import { hideTip, showTip } from "./tip.js";

const MOST_MARKS = 2000;
const REACH = 14; // pixels from the pointer to a point that it reads

/** All points as one image. */
function drawImage(ground, given) {
  const sharp = window.devicePixelRatio || 1;
  const canvas = el("canvas", { width: ground.width * sharp, height: ground.height * sharp });
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.globalAlpha = 0.6;
  for (const point of given.points) {
    const side = point.cross ? 5 : 3;
    context.fillStyle = point.color || category(0);
    context.fillRect(ground.x(point.x) - side / 2, ground.y(point.y) - side / 2, side, side);
  }
  ground.add("image", {
    class: "points",
    width: ground.width,
    height: ground.height,
    href: canvas.toDataURL(),
  });
}

function drawMarks(ground, given) {
  for (const point of given.points) {
    const [x, y, color] = [ground.x(point.x), ground.y(point.y), point.color || category(0)];
    if (point.cross)
      ground.add("path", {
        class: "point cross",
        d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}`,
        stroke: color,
        "stroke-width": 2,
        fill: "none",
      });
    else
      ground.add("circle", { class: "point", cx: x, cy: y, r: 3.5, fill: color,
        "fill-opacity": 0.75 });
  }
}

/** The line y = x + by within the plot. */
function drawShift(ground, { by, color }) {
  const [[low, high], [least, most]] = [ground.x.domain(), ground.y.domain()];
  const [from, to] = [Math.max(low, least - by), Math.min(high, most - by)];
  if (!(from < to)) return;
  ground.add("line", { class: "shift", x1: ground.x(from), y1: ground.y(from + by),
    x2: ground.x(to), y2: ground.y(to + by), stroke: color, "stroke-width": 1.5,
    "stroke-dasharray": "2 3" });
}

function follow(ground, given) {
  const node = ground.svg;
  const ring = ground.add("circle", { class: "ring", r: 6, visibility: "hidden" });
  const points = given.points.map((point) => [ground.x(point.x), ground.y(point.y)]);
  let current = -1;
  const highlight = (i) => {
    current = i;
    ring.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    if (i < 0) return;
    ring.setAttribute("cx", points[i][0]);
    ring.setAttribute("cy", points[i][1]);
  };
  const enter = (i, place) => {
    const point = given.points[i];
    highlight(i);
    const numbers = [named(given.x.name, point.x), named(given.y.name, point.y)];
    showTip([point.text, ...numbers, ...(point.lines || [])], place);
    if (given.onEnter) given.onEnter(i);
  };
  const leave = () => {
    highlight(-1);
    hideTip();
  };
  node.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event, node);
    let best = -1;
    let near = REACH;
    points.forEach((point, i) => {
      const far = Math.hypot(point[0] + ground.left - x, point[1] + ground.top - y);
      if (far < near) [best, near] = [i, far];
    });
    if (best < 0) leave();
    else if (best !== current) enter(best, event);
  });
  node.addEventListener("pointerleave", leave);
  node.addEventListener("blur", leave);
  node.addEventListener("click", () => current >= 0 && given.onPick && given.onPick(current));
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    enter((current < 0 ? 0 : current + step + points.length) % points.length, node);
  });
  return { highlight };
}

/**
 * Points in area. given: x {name, log}, y {name, log}, points [{x, y, text, color, cross (a cross
 * in
 * place of a disk), lines (more of the tip)}] (those that are not finite are left out), diagonal
 * (the
 * line y = x, and both axes alike), shifts [{by, name, color}] (dotted lines y = x + by), legend
 * [{name, color}], height, label, onEnter(i), onPick(i). Returns {highlight(i)}; -1: none.
 */
export function scatter(area, width, given) {
  const fits = (value, axis) => isDrawn(value, axis.log);
  const points = given.points.filter((point) => fits(point.x, given.x) && fits(point.y, given.y));
  const all = Object.assign({}, given, { points });
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const domain = (own, axis) =>
    extentOf(given.diagonal ? [xs, ys] : [own], { log: axis.log, zero: axis.zero });
  const ground = plot(area, width, {
    x: Object.assign({}, given.x, { domain: domain(xs, given.x) }),
    y: Object.assign({}, given.y, { domain: domain(ys, given.y) }),
    height: given.height || 320,
    label: given.label,
    legend: [
      ...(given.shifts || []).map((shift) => Object.assign({ dash: "2 3" }, shift)),
      ...(given.legend || []),
    ],
  });
  if (given.diagonal) {
    const [low, high] = ground.x.domain();
    ground.add("line", {
      class: "level",
      x1: ground.x(low),
      y1: ground.y(low),
      x2: ground.x(high),
      y2: ground.y(high),
    });
  }
  for (const shift of given.shifts || []) drawShift(ground, shift);
  if (points.length > MOST_MARKS) drawImage(ground, all);
  else drawMarks(ground, all);
  ground.svg.setAttribute("tabindex", 0);
  return follow(ground, all);
}
