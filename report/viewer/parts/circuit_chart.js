// A circuit as SVG: components by layer, and links whose width is the size of their effect. The
// ones
// of q, k and v end at the left, the middle and the right of a head, and differ in their dashes.
import { circuitLayout, curveOf } from "./circuit_layout.js";
import { category, signed } from "./colors.js";
import { el } from "./dom.js";
import { sharedSpan } from "./shared_scale.js";
import { textWidth } from "./text_width.js";
import { hideTip, showTip } from "./tip.js";

const WIDEST = 7; // pixels of the strongest link
const THINNEST = 0.8;
const REACH = 9; // pixels from which the pointer finds a link
const STRONG = 0.8; // opacity
const FAINT = 0.12;
const LOOSE = 0.3; // of an edge on no path to the logits
const DASHES = { q: "8 3", k: "2 3", v: null, "": null };
const LETTERS = 15; // pixels of a column that has room for a head's number

function key(svg, layout, most, unit) {
  const items = [["above 0", signed(1), null], ["below 0", signed(-1), null],
    ["into q", "var(--muted)", DASHES.q], ["into k", "var(--muted)", DASHES.k],
    ["into v and others", "var(--muted)", null]];
  let [x, y] = [8, 12];
  for (const [name, stroke, dash] of items) {
    const wide = textWidth(name) + 36;
    if (x + wide > layout.width && x > 8) [x, y] = [8, y + 15];
    svg.append(el("line", { x1: x, x2: x + 20, y1: y - 4, y2: y - 4, stroke,
      "stroke-width": 3, "stroke-dasharray": dash }), el("text", { x: x + 25, y }, name));
    x += wide;
  }
  svg.append(el("text", { x: 8, y: y + 15, class: "muted" }, `widest: ${most} ${unit}`));
}

function ground(svg, layout) {
  for (const { name, y } of layout.bands)
    svg.append(
      el("text", { x: layout.left - 12, y: y + 4, "text-anchor": "end", class: "muted" }, name)
    );
  const step = Math.ceil(24 / layout.cell);
  layout.columns.forEach(({ name, x }, i) => {
    if (i % step && name !== "MLP") return;
    if (name !== "MLP" && layout.columns.length - 1 - i < 24 / layout.cell) return;
    svg.append(
      el("text", { x, y: layout.height - 6, "text-anchor": "middle", class: "muted" }, name)
    );
  });
  const all = [];
  for (const { y } of layout.bands.slice(1, -1))
    for (const { name, x } of layout.columns)
      if (name !== "MLP") all.push(el("circle", { cx: x, cy: y, r: 1.2, fill: "var(--grid)" }));
  svg.append(el("g", { class: "places" }, all));
}

/** A component's mark: a circle for a head, a square for an MLP, a diamond for the two ends. */
function markOf(layout, component) {
  const [x, y] = layout.at(component);
  const r = layout.radius;
  const look = { fill: "var(--paper)", stroke: category(component.kind === "mlp" ? 3 : 2),
    "stroke-width": 2 };
  const g = el("g", { class: "node", "data-node": component.name });
  if (component.kind === "head") g.append(el("circle", { cx: x, cy: y, r, ...look }));
  else if (component.kind === "mlp")
    g.append(el("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...look }));
  else
    g.append(el("path", { ...look, stroke: "var(--ink)",
      d: `M${x - r} ${y}L${x} ${y - r}L${x + r} ${y}L${x} ${y + r}Z` }));
  if (component.kind === "head" && layout.cell >= LETTERS)
    g.append(el("text", { x, y: y + 4, "text-anchor": "middle", class: "celltext" },
      String(component.unit)));
  return g;
}

function linkOf(layout, edge, value, most) {
  const { curve, points } = curveOf(layout, edge);
  const [from, a, b, to] = curve.map((point) => point.map((x) => x.toFixed(1)).join(" "));
  const path = el("path", { class: "link", "data-edge": edge.name, fill: "none",
    d: `M${from}C${a} ${b} ${to}`, stroke: signed(value),
    "stroke-width": Math.max(THINNEST, (WIDEST * Math.abs(value)) / most).toFixed(2),
    "stroke-dasharray": DASHES[edge.input] });
  return { path, points };
}

/** The component or the link under a place: {node} or {edge}; {} where there is none. */
function thingAt(drawn, layout, x, y) {
  for (const [name, component] of drawn.nodes) {
    const [cx, cy] = layout.at(component);
    if (Math.hypot(cx - x, cy - y) < layout.radius + 2) return { node: name };
  }
  let [found, nearest] = [-1, REACH];
  drawn.links.forEach(({ points }, i) => {
    for (const [px, py] of points) {
      const distance = Math.hypot(px - x, py - y);
      if (distance < nearest) [nearest, found] = [distance, i];
    }
  });
  return found < 0 ? {} : { edge: found };
}

/** Pointer and arrow keys; show(thing, place) marks and tells it. */
function listen(svg, layout, drawn, show) {
  let [at, pinned] = [-1, null];
  const leave = () => show(pinned ? { node: pinned } : {}, null);
  const thingOf = (event) => {
    const box = svg.getBoundingClientRect();
    return thingAt(drawn, layout, event.clientX - box.left, event.clientY - box.top);
  };
  svg.addEventListener("pointermove", (event) => {
    const thing = thingOf(event);
    if (thing.node || thing.edge !== undefined) show(thing, event);
    else leave();
  });
  svg.addEventListener("click", (event) => {
    const { node } = thingOf(event);
    pinned = node && node !== pinned ? node : null;
    show(node ? { node: pinned || undefined } : {}, pinned ? event : null);
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !drawn.links.length) return;
    event.preventDefault();
    at = Math.min(drawn.links.length - 1, Math.max(0, at + step));
    const box = svg.getBoundingClientRect();
    const [x, y] = drawn.links[at].points[10];
    show({ edge: at }, { x: box.left + x, y: box.top + y });
  });
}

/**
 * Draws a circuit into area. given: layers, heads; edges as parts/circuit_model.js has them, in
 * their
 * order; value(edge): the effect; unit and most (the largest |value|, as a text) for the key;
 * tip(edge)
 * and tipOfNode(name) -> lines; label.
 */
export function circuitChart(area, width, given) {
  const layout = circuitLayout(given, width);
  const svg = el("svg", { class: "circuit", role: "img", tabindex: "0", width: layout.width,
    height: layout.height, viewBox: `0 0 ${layout.width} ${layout.height}`,
    "aria-label": given.label });
  const sizes = given.edges.map((edge) => Math.abs(given.value(edge)) || 0);
  const { high } = sharedSpan(area, "width", { low: 0, high: Math.max(1e-30, ...sizes) });
  const links = given.edges.map((edge) => linkOf(layout, edge, given.value(edge), high));
  const nodes = new Map(given.edges.flatMap(({ sender, receiver }) =>
    [sender, receiver].map((one) => [one.name, one])));
  const drawn = { links, nodes };
  const usual = (edge) => (edge.connected ? STRONG : LOOSE);
  const show = (thing, place) => {
    links.forEach(({ path }, i) => {
      const edge = given.edges[i];
      const isNear = thing.node ? [edge.sender.name, edge.receiver.name].includes(thing.node)
        : thing.edge === undefined || thing.edge === i;
      path.setAttribute("stroke-opacity", isNear ? usual(edge) : FAINT);
    });
    if (!place) hideTip();
    else if (thing.node) showTip(given.tipOfNode(thing.node), place);
    else if (thing.edge !== undefined) showTip(given.tip(given.edges[thing.edge]), place);
  };
  key(svg, layout, given.most(high), given.unit);
  ground(svg, layout);
  svg.append(el("g", { class: "links" }, links.map(({ path }) => path).reverse()));
  svg.append(...[...nodes.values()].map((component) => markOf(layout, component)));
  listen(svg, layout, drawn, show);
  show({}, null);
  area.append(svg);
}
