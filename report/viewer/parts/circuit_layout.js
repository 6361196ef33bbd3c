// Where the components of a circuit stand: layers from the bottom to the top, heads in a column
// each
// by their number, MLPs in a column beside them, the embedding below and the logits above all.

const LEFT = 60;
const RIGHT = 44; // also for the links along the MLPs
const WIDEST = 52; // pixels of a column
const TALL = 640; // pixels of all layers, if each may have
const BAND = [34, 64]; // pixels of a layer
const END = 30; // pixels below the embedding and above the logits
const LEGEND = 40;

/**
 * {width, height, at(component) -> [x, y], radius, bands: [{name, y}], columns: [{name, x}],
 * cell: the width of a column}.
 */
export function circuitLayout({ layers, heads }, width) {
  const cell = Math.max(6, Math.min(WIDEST, (width - LEFT - RIGHT) / (heads + 1.4)));
  const band = Math.max(BAND[0], Math.min(BAND[1], TALL / (layers + 2)));
  const height = LEGEND + 2 * END + (layers + 1) * band + 20;
  const bottom = height - END - 20;
  const center = LEFT + (heads * cell) / 2;
  const level = (layer) => bottom - (layer + 1) * band;
  const head = (unit) => LEFT + (unit + 0.5) * cell;
  const mlp = LEFT + (heads + 0.9) * cell;
  const places = {
    embed: () => [center, bottom],
    logits: () => [center, level(layers)],
    head: ({ layer, unit }) => [head(unit), level(layer)],
    mlp: ({ layer }) => [mlp, level(layer) - 0.3 * band],
  };
  const bands = Array.from({ length: layers }, (_, l) => ({ name: `L${l}`, y: level(l) }));
  bands.unshift({ name: "embed", y: bottom });
  bands.push({ name: "logits", y: level(layers) });
  const columns = Array.from({ length: heads }, (_, h) => ({ name: `H${h}`, x: head(h) }));
  columns.push({ name: "MLP", x: mlp });
  const radius = Math.max(3, Math.min(10, 0.4 * cell, 0.3 * band));
  const at = (component) => places[component.kind](component);
  return { width, height, at, radius, bands, columns, cell, left: LEFT, top: LEGEND };
}

const PIECES = 20;

/** The Bezier curve of an edge: its four points, and points along it. */
export function curveOf(layout, edge) {
  const [x0, y] = layout.at(edge.sender);
  const [x, y1] = layout.at(edge.receiver);
  const side = { q: -0.7, k: 0, v: 0.7 }[edge.input] || 0;
  const x1 = x + side * layout.radius;
  const [from, to] = [y - layout.radius, y1 + layout.radius];
  const tall = Math.max(10, from - to);
  const straight = Math.abs(x0 - x) < 1;
  const out = straight ? Math.min(RIGHT - 8, 8 + 0.12 * tall) * 1.3 : 0;
  const controls = [[x0 + out, from - 0.42 * tall], [x1 + out, to + 0.42 * tall]];
  const curve = [[x0, from], ...controls, [x1, to]];
  const points = Array.from({ length: PIECES + 1 }, (_, i) => {
    const t = i / PIECES;
    const weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
    return [0, 1].map((d) => weights.reduce((sum, w, k) => sum + w * curve[k][d], 0));
  });
  return { curve, points };
}
