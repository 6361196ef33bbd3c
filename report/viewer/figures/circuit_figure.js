// A circuit of edges between components: the graph, approximate against exact effects, how faithful
// the first edges are, and the scores of all edges.
//   arrays: edge_sender, edge_receiver [edges] (places on the axes senders and receivers) with
//   edge_score, edge_exact, edge_lost, edge_connected; curve_* [sizes]; score [receivers, senders]
import { circuitChart } from "../parts/circuit_chart.js";
import { circuitOf, componentOf, differenceOfCircuits, hasCircuit, hasScores }
  from "../parts/circuit_model.js";
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { el } from "../parts/dom.js";
import { bothOf } from "../parts/examples.js";
import { frame } from "../parts/frame.js";
import { number, short } from "../parts/scales.js";
import { curvesFrames, CURVES } from "./circuit_curves.js";
import { scoresFrame } from "./circuit_scores.js";
import { errorsFrame } from "./estimate_errors.js";

const AT_FIRST = 60; // edges shown
const EDGES = ["score", "exact", "lost", "connected"].map((name) => `edge_${name}`);
const INPUTS = ["all", "q", "k", "v", "MLPs and logits"];
const EFFECTS = ["score", "exact"];

function circuitOfPane(section, page) {
  return section.isDifference ? differenceOfCircuits(...bothOf(section, page))
    : circuitOf(section);
}

/** "faithfulness 0.946" of the first n edges; "" where that was not tested. */
function faithfulnessOf(section, n) {
  if (!section.has("curve_faithfulness", ["sizes"])) return "";
  const i = section.axis("sizes").indexOf(n);
  return i < 0 ? "" : `, faithfulness ${short(section.array("curve_faithfulness").at(i))}`;
}

/** The slider of how many edges are shown. */
function slider(chosen, circuit, section) {
  const n = circuit.edges.length;
  const input = el("input", { type: "range", min: Math.min(1, n), max: n, step: 1,
    "aria-label": "Number of edges shown", on: { input: () => chosen.set(Number(input.value)) } });
  const told = el("output", { class: "network-told" });
  const update = () => {
    const shown = Math.min(n, chosen.value);
    input.value = shown;
    told.textContent = `${shown} of ${n}${faithfulnessOf(section, shown)}`;
    input.setAttribute("aria-valuetext", told.textContent);
  };
  chosen.on(update);
  update();
  return el("label", { class: "network-threshold" }, el("span", null, "Edges "), input, told);
}

function linesOfEdge(circuit, edge) {
  const interval = Number.isFinite(edge.low) ? ` [${short(edge.low)}, ${short(edge.high)}]` : "";
  const fact = (name, value) => (Number.isFinite(value) ? `${name}  ${short(value)}` : null);
  return [
    `${edge.sender.name} → ${edge.name.split("<-")[0]}`,
    `edge ${1 + circuit.edges.indexOf(edge)}`,
    Number.isFinite(edge.score) ? `score  ${short(edge.score)}${interval}` : null,
    fact("exact", edge.exact),
    edge.score * edge.exact < 0 ? "the score has the wrong sign" : null,
    fact("lost without it", edge.lost),
    edge.connected ? null : "on no path to the logits",
  ].filter(Boolean);
}

function linesOfNode(edges, name) {
  const side = (key, what) => {
    const own = edges.filter((edge) => edge[key].name === name);
    const others = own.map((edge) => edge[key === "sender" ? "receiver" : "sender"].name);
    return own.length ? `${what} ${own.length}: ${[...new Set(others)].slice(0, 6).join(", ")}`
      : null;
  };
  return [name, side("receiver", "edges in"), side("sender", "edges out")].filter(Boolean);
}

function tableOf(circuit) {
  return {
    head: ["edge", "sender", "receiver", "input", "score", "exact", "lost", "connected"],
    rows: circuit.edges.map((edge, i) => [i + 1, edge.sender.name, edge.receiver.name, edge.input,
      number(edge.score), number(edge.exact), number(edge.lost), edge.connected ? 1 : 0]),
  };
}

function notesOf(circuit, section) {
  const notes = [];
  if (section.isDifference)
    notes.push("This run minus the run beside it. An edge of one circuit has its score in the " +
      "other " +
      "run's scores, or 0.");
  if (circuit.all > circuit.edges.length)
    notes.push(`The ${circuit.edges.length} largest of ${circuit.all} edges are here.`);
  const loose = circuit.edges.filter((edge) => !edge.connected).length;
  if (loose) notes.push(`Pale: ${loose} edges that are on no path to the logits.`);
  return notes;
}

function captionOf(circuit) {
  const order = circuit.isListed ? "in the order in which they were chosen"
    : "from the largest score down";
  return "Layers go up, heads stand by their number, MLPs at the right. Width: the size of the " +
    `effect. The slider adds edges ${order}. Point at an edge for its effects, at a component ` +
    `for ` +
    "its edges; a click keeps these.";
}

function graphFrame(place, section, page, circuit) {
  const known = circuit.edges.some((edge) => Number.isFinite(edge.score));
  const shown = choiceOf(page, section, "edges shown", Math.min(AT_FIRST, circuit.edges.length));
  const input = choiceOf(page, section, "input", 0);
  const by = choiceOf(page, section, "effect", known ? 0 : 1);
  const edgesNow = () => circuit.edges.slice(0, shown.value).filter((edge) =>
    input.value === 0 || edge.input === (input.value < 4 ? INPUTS[input.value] : ""));
  const draw = (area, width) => {
    const edges = edgesNow();
    if (!edges.length)
      return area.append(el("p", { class: "note" }, "No edge is of this kind."));
    const key = EFFECTS[by.value];
    return circuitChart(area, width, { ...circuit, edges, value: (edge) => edge[key] || 0,
      unit: "nats", most: short, tip: (edge) => linesOfEdge(circuit, edge),
      tipOfNode: (name) => linesOfNode(edges, name),
      label: `${edges.length} edges of the circuit; the first is ${edges[0].name}. ` +
        "Arrow keys go through the edges." });
  };
  redrawOn(frame(place, {
    title: "Circuit",
    caption: captionOf(circuit),
    label: `A circuit of ${circuit.edges.length} edges`,
    notes: notesOf(circuit, section),
    controls: [slider(shown, circuit, section), choose(input, "Into", INPUTS, 5),
      known && circuit.exact ? choose(by, "Effect", ["approximate", "exact"]) : null]
      .filter(Boolean),
    draw,
    table: () => tableOf(circuit),
  }), [shown, input, by]);
}

/** Approximate against exact effects of the edges that have both. */
function errorsOf(circuit) {
  return circuit.edges.filter((edge) => Number.isFinite(edge.score) && Number.isFinite(edge.exact))
    .map((edge) => ({ name: edge.name, estimate: edge.score, exact: edge.exact }));
}

export const circuitFigure = {
  name: "circuit",
  examples: true,
  match(section) {
    if (!hasCircuit(section) && !hasScores(section)) return null;
    const labels = section.axis("senders");
    if (!labels || labels.n === 0 || !componentOf(labels.label(0))) return null;
    const keys = hasCircuit(section) ? ["edge_sender", "edge_receiver"] : [];
    keys.push(...EDGES.filter((key) => section.has(key, ["edges"])));
    keys.push(...Object.keys(CURVES).filter((key) => section.has(key, ["sizes"])));
    if (hasScores(section)) keys.push("score");
    return { arrays: keys, title: "Circuit" };
  },
  draw(place, section, page) {
    const circuit = circuitOfPane(section, page);
    if (circuit.edges.length) graphFrame(place, section, page, circuit);
    const errors = errorsOf(circuit);
    if (errors.length)
      errorsFrame(place, { title: "Approximate and exact effects of the edges", page,
        section, sets: [{ name: "edges of the circuit", points: errors }] });
    curvesFrames(place, section);
    if (hasScores(section)) scoresFrame(place, section, page);
  },
};
