// Networks as lists of nodes and links, whatever arrays they come from.
//
// A network is {nodes, links, layers, unit}. A node is {name, part, kind, layer, row, size, facts},
// part its name without the row, size what decides how large it is drawn (signed), facts
// [[name, number]]. A link is {source, target, weight, name, facts}: indices of nodes, and a name
// where several links join the same two nodes.

const MOST_LAYERS = 1000; // bands of a drawing, whatever a plugin says
const NODE_FACTS = ["flow", "bias", "in", "in_pruned", "out", "error"];

/** The number of the model's layers; at least one more than the largest layer named. */
function layersOf(section, layers) {
  const config = (section.run.model && section.run.model.config) || {};
  const named = layers.reduce((most, layer) => Math.max(most, layer), -1);
  return Math.min(MOST_LAYERS, Math.max(config.n_layers || 0, 1 + named));
}

function finiteOr0(value) {
  return Number.isFinite(value) ? value : 0;
}

function readNodes(section) {
  const { n } = section.axis("nodes");
  const kinds = section.values.get("kinds") || [];
  const read = (key, i) => {
    const array = section.array(key);
    return array && !array.omitted ? array.at(i) : null;
  };
  const facts = [...section.arrays.keys()]
    .filter(
      (key) =>
        section.has(key, ["nodes"]) && /^node_/.test(key) && section.array(key).dtype !== "I32"
    )
    .map((key) => key.slice(5));
  facts.sort((a, b) => NODE_FACTS.indexOf(a) - NODE_FACTS.indexOf(b));
  return Array.from({ length: n }, (_, i) => {
    const kind = read("node_kind", i);
    const name = section.axis("nodes").label(i);
    return {
      name,
      part: name.replace(/@\d+$/, ""),
      row: read("node_row", i) || 0,
      layer: read("node_layer", i) || 0,
      kind: kind === null ? "node" : kinds[kind] || String(kind),
      size: facts.length ? finiteOr0(read(`node_${facts[0]}`, i)) : 1,
      facts: facts.map((key) => [key, read(`node_${key}`, i)]),
    };
  });
}

/** A plugin's links between the nodes at places.get(index in the arrays). */
function readLinks(section, places) {
  const [source, target, weight] = ["source", "target", "weight"].map((key) =>
    section.array(`link_${key}`)
  );
  const links = [];
  for (let i = 0; i < weight.size; i++) {
    const link = {
      source: places.get(source.at(i)),
      target: places.get(target.at(i)),
      weight: finiteOr0(weight.at(i)),
      name: "",
      facts: [],
    };
    if (link.source !== undefined && link.target !== undefined && link.weight) links.push(link);
  }
  return links;
}

/**
 * The network of arrays link_source, link_target, link_weight [links] and node_* [nodes]. left: how
 * many nodes stand at no token of the run, and are left out with their links.
 */
export function networkOf(section) {
  const all = readNodes(section);
  const places = new Map();
  const nodes = all.filter((node, i) => {
    if (!section.run.tokens[node.row]) return false;
    places.set(i, places.size);
    return true;
  });
  const layers = nodes.map((node) => node.layer);
  return {
    nodes,
    links: readLinks(section, places),
    layers: layersOf(section, layers),
    unit: "nats",
    left: all.length - nodes.length,
  };
}

/**
 * The arrows of arrays layer, head, source and weight, norm, share [targets, rows, rank]: from x_j
 * entering a layer to x_k leaving it. by: the array that gives the links' weights; rows: indices of
 * the axis rows, null for all.
 */
export function arrowsOf(section, target, by, rows) {
  const nodes = [];
  const known = new Map();
  const nodeAt = (row, layer) => {
    const name = `x^${layer}@${row}`;
    if (!known.has(name)) {
      known.set(name, nodes.length);
      nodes.push({ name, part: `x^${layer}`, row, layer, kind: "residual", size: 1, facts: [] });
    }
    return known.get(name);
  };
  const links = [];
  const [layer, head, source, ...sizes] = [
    "layer",
    "head",
    "source",
    "share",
    "weight",
    "norm",
  ].map((key) => section.array(key));
  const axis = section.axis("rows");
  for (let r = 0; r < axis.n; r++) {
    if (rows !== null && !rows.includes(r)) continue;
    for (let i = 0; i < layer.last; i++) {
      const at = [target, r, i];
      const weight = section.array(by).at(...at);
      if (layer.at(...at) < 0 || Number.isNaN(weight)) continue;
      links.push({
        source: nodeAt(source.at(...at), layer.at(...at)),
        target: nodeAt(axis.number(r), layer.at(...at) + 1),
        weight,
        name: `L${layer.at(...at)}H${head.at(...at)}`,
        facts: sizes.map((array) => [array.key, array.at(...at)]),
      });
    }
  }
  return { nodes, links, layers: layersOf(section, [-1]) + 1, unit: by === "share" ? "nats" : "" };
}

const linkKey = (network, link) =>
  `${network.nodes[link.source].name}\u0000${network.nodes[link.target].name}\u0000${link.name}`;

/** first - second: nodes and links are matched by name, and what one lacks counts as 0. */
export function differenceOfNetworks(first, second) {
  const nodes = [];
  const places = new Map();
  const add = (node, sign) => {
    if (!places.has(node.name)) {
      places.set(node.name, nodes.length);
      nodes.push({
        ...node,
        size: 0,
        facts: node.facts.map(([key]) => [key, key === "error" ? NaN : 0]),
      });
    }
    const whole = nodes[places.get(node.name)];
    whole.size = node.facts.length ? whole.size + sign * node.size : node.size;
    whole.facts = whole.facts.map(([key, value], i) => [key, value + sign * node.facts[i][1]]);
  };
  first.nodes.forEach((node) => add(node, 1));
  second.nodes.forEach((node) => add(node, -1));
  const links = new Map();
  for (const [network, sign] of [
    [first, 1],
    [second, -1],
  ])
    for (const link of network.links) {
      const key = linkKey(network, link);
      const place = (index) => places.get(network.nodes[index].name);
      if (!links.has(key))
        links.set(key, {
          ...link,
          source: place(link.source),
          target: place(link.target),
          weight: 0,
          facts: link.facts.map(([name]) => [name, 0]),
        });
      const whole = links.get(key);
      whole.weight += sign * link.weight;
      whole.facts = whole.facts.map(([name, value], i) => [name, value + sign * link.facts[i][1]]);
    }
  return {
    nodes,
    links: [...links.values()].filter((link) => link.weight !== 0),
    layers: Math.max(first.layers, second.layers),
    unit: first.unit,
  };
}

/** Where several links join the same two nodes, each has its own lane: 0, 1, 2. */
export function lanesOf(links) {
  const seen = new Map();
  return links.map(({ source, target }) => {
    const key = `${source},${target}`;
    seen.set(key, (seen.get(key) ?? -1) + 1);
    return seen.get(key);
  });
}

/** Lists per node: the indices of the links into it and out of it. */
export function neighbors(network) {
  const found = network.nodes.map(() => ({ into: [], out: [] }));
  network.links.forEach((link, i) => {
    found[link.source].out.push(i);
    found[link.target].into.push(i);
  });
  return found;
}

/**
 * The paths to and from a node along links that shown(i) accepts: {nodes, links, near}: Sets of
 * indices; near holds the node's own links.
 */
export function pathsThrough(network, around, start, shown) {
  const nodes = new Set([start]);
  const links = new Set();
  const near = new Set();
  for (const [side, end] of [
    ["into", "source"],
    ["out", "target"],
  ]) {
    const seen = new Set([start]);
    const waiting = [start];
    while (waiting.length) {
      const node = waiting.pop();
      for (const i of around[node][side]) {
        if (!shown(i)) continue;
        links.add(i);
        if (node === start) near.add(i);
        const next = network.links[i][end];
        nodes.add(next);
        if (!seen.has(next)) {
          seen.add(next);
          waiting.push(next);
        }
      }
    }
  }
  return { nodes, links, near };
}
