// Links between units of a text as arcs from the earlier to the later one, the strongest on top.
import { signed } from "./colors.js";
import { el } from "./dom.js";
import { hideTip, showTip } from "./tip.js";
import { placeIn, unitChart, unitLayout } from "./unit_axis.js";

const HIGH = 150;
const LEFT = 8;
const WIDEST = 5; // pixels of the strongest arc
const FAINT = 0.12;

/**
 * Draws arcs into area. given: units [{text, ...}]; links [{from, to (units), weight (0 or more),
 * sign (below 0: orange)}], the strongest first; tip(link) -> lines; label; onUnit(unit, isClick).
 * Returns {mark(unit or -1)}: shows the links of one unit only.
 */
export function linkChart(area, width, given) {
  const at = unitLayout(width, given.units, LEFT, 6);
  const top = HIGH + 6;
  const chart = unitChart(area, { ...at, height: at.height + HIGH }, [], given.label);
  chart.texts.setAttribute("transform", `translate(0,${top})`);
  const most = given.links.length ? given.links[0].weight : 1;
  const longest = Math.max(1, ...given.links.map(({ from, to }) => to - from));
  const paths = given.links.map((link) => {
    const [a, b] = [at.x(link.from) + at.step / 2, at.x(link.to) + at.step / 2];
    const high = 16 + (HIGH - 20) * Math.sqrt((link.to - link.from) / longest);
    return el("path", {
      class: "link",
      "data-link": `${link.from}-${link.to}`,
      fill: "none",
      d: `M${a} ${top}C${a} ${top - high * 1.3} ${b} ${top - high * 1.3} ${b} ${top}`,
      stroke: signed(link.sign),
      "stroke-opacity": 0.75,
      "stroke-linecap": "round",
      "stroke-width": Math.max(0.6, WIDEST * Math.sqrt(link.weight / most)),
    });
  });
  chart.body.append(...[...paths].reverse());
  const mark = (unit) => {
    chart.mark(unit);
    given.links.forEach((link, i) =>
      paths[i].setAttribute(
        "stroke-opacity",
        unit < 0 || link.from === unit || link.to === unit ? 0.75 : FAINT
      )
    );
  };
  listen(chart, at, given, paths);
  return { mark, reveal: chart.reveal };
}

/** The link whose arc is nearest to a place, within some pixels; -1: none. */
function nearest(paths, x, y) {
  let best = -1;
  let least = 10;
  paths.forEach((path, i) => {
    if (!path.pathLength_) path.pathLength_ = path.getTotalLength();
    for (let k = 0; k <= 24; k++) {
      const point = path.getPointAtLength((path.pathLength_ * k) / 24);
      const distance = Math.hypot(point.x - x, point.y - y);
      if (distance < least) [least, best] = [distance, i];
    }
  });
  return best;
}

function listen(chart, at, given, paths) {
  const { svg } = chart;
  let here = -1;
  const enter = (i, place) => {
    if (here >= 0) paths[here].classList.remove("chosen");
    here = i;
    if (i < 0) {
      hideTip();
      return;
    }
    paths[i].classList.add("chosen");
    showTip(given.tip(given.links[i]), place);
  };
  const pathOf = (event) => paths.indexOf(event.target);
  svg.addEventListener("pointermove", (event) => {
    const [x, y] = placeIn(svg, event);
    enter(pathOf(event) >= 0 ? pathOf(event) : nearest(paths, x, y), event);
    const unit = at.unitAt(x);
    if (y > HIGH && given.units[unit]) given.onUnit(unit, false);
  });
  svg.addEventListener("click", (event) => {
    const unit = at.unitAt(placeIn(svg, event)[0]);
    if (given.units[unit]) given.onUnit(unit, true);
  });
  svg.addEventListener("pointerleave", () => enter(-1));
  svg.addEventListener("blur", () => enter(-1));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || paths.length === 0) return;
    event.preventDefault();
    const i = Math.min(paths.length - 1, Math.max(0, here + step));
    chart.reveal(given.links[i].to);
    const box = svg.getBoundingClientRect();
    enter(i, { x: box.left + at.x(given.links[i].to), y: box.top + 20 });
  });
}
