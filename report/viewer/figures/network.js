// A network of nodes at tokens and layers: what flows from where to where.
//   arrays: link_source, link_target, link_weight [links]; node_row, node_layer, node_kind and any
//   others [nodes], the first of them (node_flow) the size of a node
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { differenceOfNetworks, networkOf } from "../parts/network_model.js";
import { NetworkView } from "../parts/network_view.js";
import { number, short } from "../parts/scales.js";

const LINKS = ["link_source", "link_target", "link_weight"];
const MOST_LISTED = 12;

function networkOfPane(section, page) {
  if (!section.isDifference) return networkOf(section);
  return differenceOfNetworks(...page.runs.map((run) => networkOf(run.section(section.name))));
}

function tableOf(network) {
  const facts = [...new Set(network.nodes.flatMap((node) => node.facts.map(([key]) => key)))];
  const [first, ...others] = facts;
  const nodes = network.nodes.map((node) => {
    const values = new Map(node.facts);
    return [
      node.name,
      "",
      number(values.get(first)),
      ...others.map((key) => number(values.get(key))),
    ];
  });
  const links = [...network.links]
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))
    .map((link) => [
      network.nodes[link.source].name,
      network.nodes[link.target].name,
      number(link.weight),
      ...others.map(() => ""),
    ]);
  return {
    head: [
      "node or link's source",
      "link's target",
      `${first || "size"} or weight`,
      ...others.map((key) => key.replace(/_/g, " ")),
    ],
    rows: [...nodes, ...links],
  };
}

function captionOf(network, section) {
  const logit = network.nodes.find((node) => node.kind === "logit");
  const target = section.values.get("target");
  const what = section.isDifference ? "The two logits differ by" : `The logit of ${target} is`;
  const begin = logit && target ? `${what} ${short(logit.size)}. ` : "";
  return (
    `${begin}Columns are tokens, bands are layers. ` +
    "Point at a node for its paths; a click or Enter pins it. " +
    "Drag to move, Ctrl and the wheel or + and \u2212 to zoom."
  );
}

function notesOf(network, section) {
  if (section.isDifference)
    return ["This run minus the run beside it. A node or link that one run lacks counts as 0."];
  return network.left ? [`Left out: ${network.left} nodes at no token of this run.`] : [];
}

export const network = {
  name: "network",
  match(section) {
    const whole =
      section.has("node_row", ["nodes"]) && LINKS.every((key) => section.has(key, ["links"]));
    if (!whole) return null;
    const nodes = [...section.arrays.keys()].filter(
      (key) => /^node_/.test(key) && section.has(key, ["nodes"])
    );
    return { arrays: [...LINKS, ...nodes], title: "Network" };
  },
  draw(place, section, page) {
    const net = networkOfPane(section, page);
    const view = new NetworkView(section.run, page);
    view.setNetwork(net);
    frame(place, {
      title: "Network",
      caption: captionOf(net, section),
      label: `Network of ${net.nodes.length} nodes and ${net.links.length} links`,
      notes: notesOf(net, section),
      controls: view.controls,
      draw: (area, width) => view.draw(area, width),
      svg: () => view.svg(),
      table: () => tableOf(net),
    });
  },
  /** The nodes at a token, the largest first. */
  detail(section, row) {
    const net = networkOf(section);
    const here = net.nodes.filter((node) => node.row === row && node.kind !== "logit");
    if (here.length === 0) return null;
    here.sort((a, b) => Math.abs(b.size) - Math.abs(a.size));
    return el(
      "dl",
      { class: "values" },
      here
        .slice(0, MOST_LISTED)
        .map((node) => el("div", null, el("dt", null, node.part), el("dd", null, short(node.size))))
    );
  },
};
