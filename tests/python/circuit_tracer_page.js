// Loads a graph through circuit-tracer's own page code, without a browser, and prints what the page
// has then: node circuit_tracer_page.js ASSETS GRAPH [PRUNING]
// ASSETS: circuit_tracer/frontend/assets of the installed package. PRUNING: the page's slider; without
// it the page's default for the graph.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [assets, file, pruning] = process.argv.slice(2);

// The few functions of d3 and its plugin jetpack that loading uses.
const sortKey = (value) => (value === undefined || Number.isNaN(value) ? Infinity : value);
const d3 = {
  max: (list, of) => list.map(of).filter((x) => !Number.isNaN(x)).reduce(
    (a, b) => (a === undefined || b > a ? b : a), undefined),
  sum: (list, of) => list.reduce((total, x) => total + (+of(x) || 0), 0),
  sort: (list, of) => [...list].sort((a, b) => sortKey(of(a)) - sortKey(of(b))),
  nestBy: (list, of) => {
    const groups = new Map();
    for (const item of list) {
      const key = of(item);
      if (!groups.has(key)) groups.set(key, Object.assign([], { key }));
      groups.get(key).push(item);
    }
    return [...groups.values()];
  },
};

const said = [];
const page = {
  d3,
  URL,
  URLSearchParams,
  console: { log: (...what) => said.push(what), error: (...what) => said.push(what) },
  localStorage: { getItem: () => null, setItem: () => {} },
};
page.window = page;
page.location = "http://localhost:8032/index.html?slug=graph";
vm.createContext(page);
for (const name of ["util.js", "attribution_graph/util-cg.js"])
  vm.runInContext(fs.readFileSync(path.join(assets, name), "utf8"), page, { filename: name });

async function load() {
  const graph = JSON.parse(fs.readFileSync(file, "utf8"));
  const { metadata, qParams } = graph;
  const state = { pinnedIds: [], hiddenIds: [], ...qParams };
  // index.html: only a number makes a slider; it starts at the graph's own threshold.
  if (typeof metadata.node_threshold === "number")
    state.pruningThreshold = pruning || metadata.node_threshold || 0.4;
  const data = await page.utilCg.formatData(graph, state);
  const ofNode = (node) => ({
    id: node.nodeId,
    feature: node.featureId,
    type: node.feature_type,
    layer: String(node.layer),
    stream: node.streamIdx,
    caption: node.clerp,
    activation: node.activation,
    token: node.logitToken ?? null,
    percent: node.logitPct ?? null,
    inputs: node.sourceLinks.length,
    outputs: node.targetLinks.length,
    first: node === data.nodes.idToNode[node.nodeId],
  });
  return {
    nodes: data.nodes.map(ofNode),
    features: data.features.length,
    links: data.links.map((link) => [link.sourceNode.nodeId, link.targetNode.nodeId, link.weight]),
    said: said.map((what) => JSON.stringify(what)),
  };
}

load().then((result) => process.stdout.write(JSON.stringify(result)), (error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
