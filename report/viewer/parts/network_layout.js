// Where the nodes of a network stand: a column per token, a band per layer. Nodes of one column and
// band fill a small grid, so that none covers another. Layers have two bands: what attention
// writes, and above it what the MLP writes.

import { keyOf } from "./network_key.js";
import { visible } from "./scales.js";

const LEFT = 46; // pixels beside the plot
const RIGHT = 24;
const TOKEN_LETTERS = 14; // of a token under its column
const TOKEN_LETTER = 5.2; // pixels of height that a turned letter takes
const EMPTY = 0.35; // width of a column without nodes, in cells
const PAD = 0.5; // cells between columns
const GAP = 0.7; // cells between layers
const WANTED = 15; // pixels of a cell
const ABOVE = 16; // pixels above the logit, for its name
const LOW = 260; // pixels of the plot
const HIGH = 640;
const MLP = new Set(["mlp", "neuron", "mlp_bias"]);
const ORDER = ["embed", "head", "attn_bias", "mlp", "neuron", "mlp_bias", "logit", "residual"];

/** The band of a node: embed 0, then two per layer, the logit above all. */
function bandOf(node, layers) {
  if (node.kind === "embed") return 0;
  if (node.kind === "logit") return 1 + 2 * layers;
  return 1 + 2 * Math.max(0, Math.min(layers - 1, node.layer)) + (MLP.has(node.kind) ? 1 : 0);
}

/** Nodes by column and band, in a fixed order: "row,band" -> indices. */
function cellsOf(network) {
  const cells = new Map();
  network.nodes.forEach((node, i) => {
    const key = `${node.row},${bandOf(node, network.layers)}`;
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(i);
  });
  const rank = (i) => ORDER.indexOf(network.nodes[i].kind);
  for (const cell of cells.values())
    cell.sort(
      (a, b) =>
        rank(a) - rank(b) ||
        network.nodes[a].part.localeCompare(network.nodes[b].part, "en", { numeric: true })
    );
  return cells;
}

/** Cells across each column, at most `most`. */
function columnWidths(cells, rows, most) {
  const across = new Array(rows).fill(0);
  for (const [key, cell] of cells) {
    const row = Number(key.split(",")[0]);
    across[row] = Math.max(across[row], Math.min(most, cell.length));
  }
  return across;
}

function widthOf(across) {
  return across.reduce((sum, n) => sum + (n ? n + PAD : EMPTY), 0);
}

/** The bands from the bottom: [{from, lines, name, layer}] in cells; total: their height. */
function bandsOf(network, cells, across) {
  const lines = new Array(2 * network.layers + 2).fill(0);
  for (const [key, cell] of cells) {
    const [row, band] = key.split(",").map(Number);
    lines[band] = Math.max(lines[band], Math.ceil(cell.length / across[row]));
  }
  const simple = network.nodes.every((node) => node.kind === "residual");
  const bands = [];
  let from = GAP / 2;
  lines.forEach((n, band) => {
    const layer = Math.floor((band - 1) / 2);
    const end = band === 0 || band === lines.length - 1;
    const lower = !end && band % 2 === 1;
    const height = end ? n : Math.max(n, simple && !lower ? 0 : 0.6);
    bands.push({
      band,
      from,
      lines: height,
      used: n,
      layer: end ? null : layer,
      name:
        band === 0
          ? "embed"
          : end
            ? "logit"
            : simple && layer === network.layers - 1
              ? "end"
              : `L${layer}`,
    });
    if (height) from += height + (lower && !simple ? 0.15 : GAP);
  });
  return { bands, total: from - GAP / 2, simple };
}

function placeNodes(network, cells, columns, bands, ux, uy, bottom) {
  const at = new Array(network.nodes.length);
  for (const [key, cell] of cells) {
    const [row, band] = key.split(",").map(Number);
    const column = columns[row];
    const across = Math.min(column.across, cell.length);
    cell.forEach((node, i) => {
      const line = Math.floor(i / column.across);
      const here = Math.min(across, cell.length - line * column.across);
      const x =
        column.x0 + (column.x1 - column.x0) / 2 + ((i % column.across) - (here - 1) / 2) * ux;
      at[node] = [x, bottom - (bands[band].from + line + 0.5) * uy];
    });
  }
  return at;
}

/** A token's text, cut where it is long. */
export function tokenName(token) {
  const text = visible(token.text);
  return text.length > TOKEN_LETTERS ? `${text.slice(0, TOKEN_LETTERS - 1)}\u2026` : text;
}

/**
 * The layout of a network under its tokens in `width` pixels: {width, height, plot: {left, top,
 * right, bottom}, at: [x, y] of each node, columns: [{row, x0, x1, across}], bands: [{name, layer,
 * y0, y1}], cell: [width, height], key}.
 */
export function layoutOf(network, tokens, width) {
  const cells = cellsOf(network);
  const room = Math.max(80, width - LEFT - RIGHT);
  const key = keyOf(network, LEFT, width);
  const narrow = room / widthOf(columnWidths(cells, tokens.length, 1));
  const least = Math.min(WANTED, 0.75 * narrow); // wide columns may cost the others little
  let across = null;
  for (let most = 8; most >= 1; most--) {
    across = columnWidths(cells, tokens.length, most);
    if (widthOf(across) * least <= room) break;
  }
  const { bands, total, simple } = bandsOf(network, cells, across);
  const tall = Math.max(LOW, Math.min(HIGH, total * (simple ? 2.2 : 1) * WANTED));
  const plot = {
    left: LEFT,
    top: key.height,
    right: LEFT + room + RIGHT - 8,
    bottom: key.height + (simple ? 0 : ABOVE) + tall,
  };
  const ux = Math.min(room / widthOf(across), 46);
  const uy = tall / total;
  const columns = [];
  let x = plot.left + (room - ux * widthOf(across)) / 2;
  across.forEach((n, row) => {
    const wide = (n ? n + PAD : EMPTY) * ux;
    columns.push({ row, x0: x, x1: x + wide, across: n });
    x += wide;
  });
  return {
    width,
    height:
      plot.bottom + 16 + TOKEN_LETTER * Math.max(...tokens.map((token) => tokenName(token).length)),
    plot,
    columns,
    cell: [ux, uy],
    key: key.items,
    at: placeNodes(network, cells, columns, bands, ux, uy, plot.bottom),
    bands: bands
      .filter((band) => band.lines)
      .map((band) => ({
        ...band,
        y0: plot.bottom - (band.from + band.lines) * uy,
        y1: plot.bottom - band.from * uy,
      })),
  };
}

/** The control point of a link's curve, so that links along one column do not cover each other. */
export function bend([x0, y0], [x1, y1], lane) {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const length = Math.hypot(dx, dy) || 1;
  const out = Math.min(40, 0.12 * length) * (1 + (lane || 0)) * (dx > 0 ? -1 : 1);
  return [(x0 + x1) / 2 + (-dy / length) * out, (y0 + y1) / 2 + (dx / length) * out];
}
