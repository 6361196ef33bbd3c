// The edges of a circuit between components, whatever arrays they come from.
//
// A circuit is {edges, layers, heads, all, exact}. An edge is {name, sender, receiver (components),
// input ("q", "k", "v" or ""), score, exact, lost, connected, low, high (of the score's mean)};
// edges are in the order in which they were chosen. A component is {name, kind, layer, unit}. all:
// the
// number of edges that are known; exact: whether an exact effect is.

const MOST = 1000; // edges of a drawing

/** The component of a label and what it receives; null for labels of another kind. */
export function componentOf(label) {
  const head = /^L(\d+)H(\d+)(?:\.([qkv]))?$/.exec(label);
  if (head) {
    const [, layer, unit, input] = head;
    const name = `L${layer}H${unit}`;
    return { name, kind: "head", layer: Number(layer), unit: Number(unit), input: input || "" };
  }
  const mlp = /^(\d+)_mlp_out$/.exec(label);
  if (mlp) return { name: label, kind: "mlp", layer: Number(mlp[1]), unit: 0, input: "" };
  if (label === "embed" || label === "logits")
    return { name: label, kind: label, layer: -1, unit: 0, input: "" };
  return null;
}

/** The edge between two places on the axes; null where they have other labels. */
function edgeOf(section, sender, receiver) {
  const from = componentOf(section.axis("senders").label(sender));
  const label = section.axis("receivers").label(receiver);
  const to = componentOf(label);
  if (!from || !to) return null;
  return { name: `${label}<-${from.name}`, at: [receiver, sender], sender: from, receiver: to,
    input: to.input, score: NaN, exact: NaN, lost: NaN, connected: true, low: NaN, high: NaN };
}

const readerOf = (section, key, axes) =>
  section.has(key, axes) ? (...indices) => section.array(key).at(...indices) : () => NaN;

/** Edges that a section lists, in its order. */
function listedEdges(section) {
  const axes = ["edges"];
  const names = ["sender", "receiver", "score", "exact", "lost", "connected"];
  const read = Object.fromEntries(
    names.map((name) => [name, readerOf(section, `edge_${name}`, axes)])
  );
  const found = [];
  for (let i = 0; i < section.array("edge_sender").size; i++) {
    const edge = edgeOf(section, read.sender(i), read.receiver(i));
    if (!edge) continue;
    for (const name of ["score", "exact", "lost"]) edge[name] = read[name](i);
    edge.connected = read.connected(i) !== 0;
    found.push(edge);
  }
  return found;
}

/** The scored edges of the largest size, the first of equal ones first; all: how many there are. */
function scoredEdges(section) {
  const score = section.array("score");
  const found = [];
  for (let receiver = 0; receiver < score.shape[0]; receiver++)
    for (const { index, value } of score.top(receiver))
      if (Number.isFinite(value)) found.push([receiver, index, value]);
  found.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]) || a[0] - b[0] || a[1] - b[1]);
  const edges = found
    .slice(0, MOST)
    .map(([receiver, sender, value]) => {
      const edge = edgeOf(section, sender, receiver);
      return edge && Object.assign(edge, { score: value });
    })
    .filter(Boolean);
  return { edges, all: found.length };
}

/** Gives edges the ends of the interval of their mean score, where pairs have one. */
function addIntervals(section, edges) {
  const key = section.has("edge_score") ? "edge_score" : "score";
  const interval = section.interval && section.has(key) && section.interval(key);
  if (!interval) return;
  edges.forEach((edge, i) => {
    const at = key === "score" ? edge.at : [i];
    for (const end of ["low", "high"]) edge[end] = interval[end].at(...at);
  });
}

/** Whether a section lists the edges of a circuit. */
export function hasCircuit(section) {
  return ["edge_sender", "edge_receiver"].every((key) => section.has(key, ["edges"])) &&
    ["senders", "receivers"].every((name) => section.axis(name));
}

/** Whether a section has scores of edges. */
export function hasScores(section) {
  return section.has("score", ["receivers", "senders"]);
}

function sizeOf(section) {
  let [layers, heads] = [0, 0];
  const axis = section.axis("senders");
  for (let i = 0; i < axis.n; i++) {
    const one = componentOf(axis.label(i));
    if (!one) continue;
    layers = Math.max(layers, one.layer + 1);
    if (one.kind === "head") heads = Math.max(heads, one.unit + 1);
  }
  return { layers, heads };
}

/** The circuit of a section: the edges that it lists, or those of the largest scores. */
export function circuitOf(section) {
  const isListed = hasCircuit(section);
  const listed = isListed ? listedEdges(section) : null;
  const { edges, all } = listed ? { edges: listed, all: listed.length } : scoredEdges(section);
  addIntervals(section, edges);
  const exact = edges.some((edge) => Number.isFinite(edge.exact));
  return { edges: edges.slice(0, MOST), all, exact, isListed, ...sizeOf(section) };
}

/** The score of an edge that a circuit may lack: as it is listed, as it is scored, or 0. */
function scoreIn(section, known, edge) {
  if (known.has(edge.name)) return known.get(edge.name).score;
  if (!hasScores(section)) return 0;
  const places = ["receivers", "senders"].map((name, a) => {
    const label = a ? edge.sender.name : edge.name.split("<-")[0];
    return section.axis(name).indexOf(label);
  });
  const score = places.includes(-1) ? 0 : section.array("score").at(...places);
  return Number.isFinite(score) ? score : 0;
}

/** The edges of either circuit; their numbers are the first section's minus the second's. */
export function differenceOfCircuits(first, second) {
  const sections = [first, second];
  const circuits = sections.map(circuitOf);
  const known = circuits.map(({ edges }) => new Map(edges.map((edge) => [edge.name, edge])));
  const edges = new Map([...known[1], ...known[0]]);
  const minus = (name, key) => {
    const [a, b] = known.map((map) => (map.has(name) ? map.get(name)[key] : NaN));
    return a - b;
  };
  const found = [...edges.values()].map((edge) => {
    const [a, b] = sections.map((section, i) => scoreIn(section, known[i], edge));
    const connected = known.some((map) => map.has(edge.name) && map.get(edge.name).connected);
    return Object.assign({}, edge, { score: a - b, exact: minus(edge.name, "exact"), connected,
      lost: minus(edge.name, "lost"), low: NaN, high: NaN });
  });
  const size = (edge) => Math.abs(edge.score) || 0;
  found.sort((a, b) => size(b) - size(a));
  const exact = found.some((edge) => Number.isFinite(edge.exact));
  const most = (key) => Math.max(...circuits.map((circuit) => circuit[key]));
  return { edges: found.slice(0, MOST), all: found.length, exact, isListed: false,
    layers: most("layers"), heads: most("heads") };
}
