// What is near a point of a network's board, and what a reader is told of it.
import { kindName } from "./network_key.js";
import { bend } from "./network_layout.js";
import { short, visible } from "./scales.js";

const REACH = 14; // pixels from which the pointer finds a node
const LINK_REACH = 5;
const PIECES = 16; // of a curve

/** The node nearest to a point of the board; null when none is near. */
export function nodeNear(layout, camera, [px, py]) {
  let best = null;
  let nearest = REACH;
  layout.at.forEach((at, i) => {
    const [x, y] = camera.onBoard(at);
    const distance = Math.hypot(x - px, y - py);
    if (distance < nearest) [nearest, best] = [distance, i];
  });
  return best;
}

/** The link of `shown` nearest to a point of the board; null when none is near. */
export function linkNear(network, layout, camera, shown, lanes, [px, py]) {
  let best = null;
  let nearest = LINK_REACH;
  for (let r = shown.length - 1; r >= 0; r--) {
    const { source, target } = network.links[shown[r]];
    const [a, b] = [layout.at[source], layout.at[target]];
    const c = bend(a, b, lanes[shown[r]]);
    for (let s = 1; s < PIECES; s++) {
      const t = s / PIECES;
      const on = [0, 1].map((d) => (1 - t) ** 2 * a[d] + 2 * t * (1 - t) * c[d] + t * t * b[d]);
      const [x, y] = camera.onBoard(on);
      const distance = Math.hypot(x - px, y - py);
      if (distance < nearest - 0.01) [nearest, best] = [distance, shown[r]];
    }
  }
  return best;
}

/** The next node to the right or down (1 or -1), in its own line first; null at the edge. */
export function nodeBeside(layout, from, right, down) {
  const [x0, y0] = layout.at[from];
  let best = null;
  let least = Infinity;
  layout.at.forEach(([x, y], i) => {
    const along = right ? (x - x0) * right : (y - y0) * down;
    const across = Math.abs(right ? y - y0 : x - x0);
    const cost = right ? along + 40 * across : 4 * along + 0.2 * across;
    if (i !== from && along > 0.5 && cost < least) [least, best] = [cost, i];
  });
  return best;
}

/** A node's name and token. */
export function nameOf(network, run, i) {
  const node = network.nodes[i];
  const token = run.tokens[node.row];
  return `${node.name} ${token ? visible(token.text) : ""}`;
}

function factLines(facts, unit) {
  return facts
    .filter(([, value]) => value !== null && !Number.isNaN(value))
    .map(
      ([key, value]) =>
        `${key.replace(/_/g, " ")} ${short(value)}${key === "error" || !unit ? "" : ` ${unit}`}`
    );
}

/** What a tooltip says of a node. around: its links, isShown(link). */
export function linesOfNode(network, run, i, around, isShown) {
  const node = network.nodes[i];
  const shown = (links) => `${links.filter(isShown).length} of ${links.length}`;
  return [
    nameOf(network, run, i),
    kindName(node.kind),
    ...factLines(node.facts, network.unit),
    `links shown: ${shown(around.into)} in, ${shown(around.out)} out`,
  ];
}

/** What a tooltip says of a link. */
export function linesOfLink(network, run, i) {
  const link = network.links[i];
  const ends = [link.source, link.target]
    .map((node) => nameOf(network, run, node))
    .join(" \u2192 ");
  return [
    `${link.name ? `${link.name}: ` : ""}${ends}`,
    ...(link.facts.length ? factLines(link.facts, "") : [`${short(link.weight)} ${network.unit}`]),
  ];
}
