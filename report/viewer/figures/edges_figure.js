// Arrows x_j -> x_k of attention heads: which earlier token a head reads, at which layer.
//   arrays: layer, head, source, weight, norm, share [targets, rows, rank]
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { arrowsOf, differenceOfNetworks } from "../parts/network_model.js";
import { NetworkView } from "../parts/network_view.js";
import { pickButtons, pickList } from "../parts/pick.js";
import { number, short, visible } from "../parts/scales.js";
import { targetTexts } from "../parts/targets.js";

const AXES = ["targets", "rows", "rank"];
const KEYS = ["layer", "head", "source", "weight", "norm", "share"];
const SIZES = ["share", "norm", "weight"];
const MOST_LISTED = 12;

function tableOf(section, state) {
  const [layer, head, source, weight, norm, share] = KEYS.map((key) => section.array(key));
  const rows = [];
  for (let r = 0; r < section.axis("rows").n; r++)
    for (let i = 0; i < layer.last; i++) {
      const at = [state.target, r, i];
      if (layer.at(...at) < 0) continue;
      rows.push([
        `L${layer.at(...at)}H${head.at(...at)}`,
        source.at(...at),
        section.axis("rows").number(r),
        ...[weight, norm, share].map((array) => number(array.at(...at))),
      ]);
    }
  return { head: ["head", "read row", "row", "weight", "norm", "share"], rows };
}

function networkOfPane(section, page, { target, by, rows }) {
  if (!section.isDifference) return arrowsOf(section, target, by, rows);
  return differenceOfNetworks(
    ...page.runs.map((run) => arrowsOf(run.section(section.name), target, by, rows))
  );
}

/** The controls: which target, which quantity, which rows. */
function controlsOf(section, state, change) {
  const targets = targetTexts(section);
  const axis = section.axis("rows");
  const rows = Array.from({ length: axis.n }, (_, r) => {
    const token = section.run.tokens[axis.number(r)];
    return `${axis.label(r)} ${token ? visible(token.text) : ""}`;
  });
  const set = (changes) => {
    Object.assign(state, changes);
    change();
  };
  return [
    targets.length > 1
      ? pickList("Target", targets, state.target, (target) => set({ target }))
      : null,
    rows.length > 1
      ? pickList("Into", ["all rows", ...rows], 0, (i) => set({ rows: i ? [i - 1] : null }))
      : null,
    pickButtons("Width", SIZES, SIZES.indexOf(state.by), (i) => set({ by: SIZES[i] })),
  ].filter(Boolean);
}

/** The edges into a row of the section's first target: [{head, source, share}]. */
function edgesInto(section, row) {
  const r = section.indexOfRow("rows", row);
  if (r === null) return [];
  const [layer, head, source, , , share] = KEYS.map((key) => section.array(key));
  return Array.from({ length: layer.last }, (_, i) => [0, r, i])
    .filter((at) => layer.at(...at) >= 0)
    .map((at) => ({
      head: `L${layer.at(...at)}H${head.at(...at)}`,
      source: source.at(...at),
      share: share.at(...at),
    }));
}

export const edgesFigure = {
  name: "edges",
  match(section) {
    return KEYS.every((key) => section.has(key, AXES))
      ? { arrays: [...KEYS], title: "Edges" }
      : null;
  },
  draw(place, section, page) {
    const view = new NetworkView(section.run, page);
    const by = SIZES.includes(section.options.by) ? section.options.by : "share";
    const state = { target: 0, by, rows: null };
    const update = () => view.setNetwork(networkOfPane(section, page, state));
    update();
    const figure = frame(place, {
      title: "Edges",
      caption:
        "Arrows go from the token that a head reads to the token that reads it, one layer up. " +
        "Point at an arrow for its head, weight, norm and share of the logit.",
      label: `${view.network.links.length} attention edges by token and layer`,
      notes: section.isDifference
        ? ["This run minus the run beside it. An edge that one run does not list counts as 0."]
        : [],
      controls: [
        ...controlsOf(section, state, () => {
          update();
          figure.redraw();
        }),
        ...view.controls,
      ],
      draw: (area, width) => view.draw(area, width),
      svg: () => view.svg(),
      table: () => tableOf(section, state),
    });
  },
  /** The edges into a token. */
  detail(section, row) {
    const edges = edgesInto(section, row).slice(0, MOST_LISTED);
    if (edges.length === 0) return null;
    const rows = new Map();
    const most = Math.max(...edges.map((edge) => Math.abs(edge.share)), 1e-30);
    for (const { source, share } of edges)
      rows.set(source, Math.max(rows.get(source) || 0, Math.abs(share) / most));
    const token = (index) =>
      section.run.tokens[index] ? visible(section.run.tokens[index].text) : "";
    return {
      label: "edges: reads",
      rows,
      element: el(
        "dl",
        { class: "values" },
        edges.map((edge) =>
          el(
            "div",
            null,
            el("dt", null, `${edge.head} reads ${edge.source} ${token(edge.source)}`),
            el("dd", null, short(edge.share))
          )
        )
      ),
    };
  },
};
