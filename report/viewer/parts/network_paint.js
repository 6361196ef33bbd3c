// Paints a network on a sheet: bands and columns, links by weight, nodes by kind, names, tokens.
import { bend, tokenName } from "./network_layout.js";
import { KINDS, LETTER } from "./network_key.js";

const STEPS = 6; // widths of links
const WIDEST = 5; // pixels
const THINNEST = 0.6;
const LARGE = 9; // half the width of a node, in pixels
const SMALL = 1.8;
const MOST_NAMED = 60; // links with their names
const NAME_ROOM = 30; // pixels per cell from which every node has its name
const TOKEN_ROOM = 12; // pixels between the names of tokens

const SHAPES = {
  circle: (r) => `m${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  dot: (r) => SHAPES.circle(r * 0.55),
  square: (r) => `m${-r * 0.9},${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  diamond: (r) =>
    `m0,${-r * 1.2}l${r * 1.1},${r * 1.2}l${-r * 1.1},${r * 1.2}l${-r * 1.1},${-r * 1.2}z`,
  triangle: (r) => `m0,${-r * 1.1}l${r * 1.1},${r * 2}h${-r * 2.2}z`,
  plus: (r) =>
    `m${-r / 3},${-r}h${r / 1.5}v${r / 1.5}h${r / 1.5}v${r / 1.5}` +
    `h${-r / 1.5}v${r / 1.5}h${-r / 1.5}` +
    `v${-r / 1.5}h${-r / 1.5}v${-r / 1.5}h${r / 1.5}z`,
  cross: (r) => {
    const a = r * 0.42;
    const b = r * 0.62;
    return (
      `m0,${-a}l${b},${-b}l${a},${a}l${-b},${b}l${b},${b}l${-a},${a}` +
      `l${-b},${-b}l${-b},${b}l${-a},${-a}` +
      `l${b},${-b}l${-b},${-b}l${a},${-a}z`
    );
  },
  star: (r) => {
    const points = Array.from({ length: 10 }, (_, i) => {
      const far = (i % 2 ? 0.5 : 1.25) * r;
      const angle = (i * Math.PI) / 5;
      return [far * Math.sin(angle), -far * Math.cos(angle)];
    });
    return (
      points
        .map(([x, y], i) => {
          const [px, py] = i ? points[i - 1] : [0, 0];
          return `${i ? "l" : "m"}${x - px},${y - py}`;
        })
        .join("") + "z"
    );
  },
};

/** A kind's shape around 0,0 as an SVG path. */
export function shapeOf(kind, r) {
  return `M0,0${SHAPES[(KINDS[kind] || KINDS.node)[0]](r)}`;
}

/** The place of a node on the screen. */
export function onScreen([x, y], { kx, ky, x: dx, y: dy }) {
  return [x * kx + dx, y * ky + dy];
}

/** Half the width of a node on the screen. relative: its |size| over the largest. */
export function radiusOf(layout, view, relative) {
  const room = Math.min(layout.cell[0] * view.kx, layout.cell[1] * view.ky) * 0.46;
  return Math.max(SMALL, Math.min(LARGE, room) * (0.5 + 0.5 * Math.sqrt(relative)));
}

// --- links ---------------------------------------------------------------------------------------

const pair = ([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`;

/** The step of a link's width. */
function stepOf(weight, most) {
  return Math.min(STEPS - 1, Math.floor(STEPS * Math.sqrt(Math.abs(weight) / most)));
}

/**
 * Groups links that are painted alike: [{d, positive, step, tone}]. tone: 0 all alike, 1 faded,
 * 2 on a path, 3 at the chosen node. ranked: indices from the weakest to the strongest.
 */
export function groupsOf(network, layout, ranked, lanes, paths) {
  const most = ranked.length ? Math.abs(network.links[ranked[ranked.length - 1]].weight) : 1;
  const groups = new Map();
  for (const i of ranked) {
    const { source, target, weight } = network.links[i];
    const tone = !paths ? 0 : paths.near.has(i) ? 3 : paths.links.has(i) ? 2 : 1;
    const step = stepOf(weight, most);
    const key = (tone * STEPS + step) * 2 + (weight > 0 ? 1 : 0);
    if (!groups.has(key)) groups.set(key, { key, positive: weight > 0, step, tone, parts: [] });
    const middle = bend(layout.at[source], layout.at[target], lanes[i]);
    groups
      .get(key)
      .parts.push(`M${pair(layout.at[source])}Q${pair(middle)} ${pair(layout.at[target])}`);
  }
  return [...groups.values()]
    .sort((a, b) => a.key - b.key)
    .map(({ parts, ...group }) => ({ ...group, d: parts.join("") }));
}

function paintLinks(sheet, scene) {
  const alphas = [0.5, 0.06, 0.45, 0.95];
  for (const { d, positive, step, tone, key } of scene.groups)
    sheet.links(
      d,
      {
        stroke: positive ? scene.colors.positive : scene.colors.negative,
        width: THINNEST + ((WIDEST - THINNEST) * step) / (STEPS - 1),
        alpha: alphas[tone] * (tone === 0 || tone === 2 ? 0.55 + (0.45 * step) / (STEPS - 1) : 1),
      },
      scene.view,
      key
    );
}

/** The names of the strongest links in the middle of their curves, where few are shown. */
function paintLinkNames(sheet, scene) {
  const { network, layout, view, colors } = scene;
  const shown = scene.paths ? scene.shown.filter((i) => scene.paths.near.has(i)) : scene.shown;
  if (shown.length > MOST_NAMED) return;
  const taken = [];
  for (const i of [...shown].reverse()) {
    const { source, target, name } = network.links[i];
    if (!name) continue;
    const [a, b] = [layout.at[source], layout.at[target]];
    const c = bend(a, b, scene.lanes[i]);
    const [x, y] = onScreen(
      [0, 1].map((d) => (a[d] + 2 * c[d] + b[d]) / 4),
      view
    );
    const wide = (LETTER * name.length) / 2;
    if (taken.some(([u, v]) => Math.abs(u - x) < 2 * wide && Math.abs(v - y) < 12)) continue;
    taken.push([x, y]);
    sheet.text(x, y, name, { fill: colors.ink, halo: colors.paper, anchor: "middle", size: 10 });
  }
}

// --- nodes ---------------------------------------------------------------------------------------

function paintNodes(sheet, scene) {
  const { network, layout, view, paths, colors } = scene;
  const groups = new Map();
  network.nodes.forEach((node, i) => {
    const [x, y] = onScreen(layout.at[i], view);
    const faded = Boolean(paths) && !paths.nodes.has(i) && !scene.pins.has(i);
    const hollow = node.size < 0;
    const key = `${node.kind} ${hollow} ${faded}`;
    if (!groups.has(key)) groups.set(key, { kind: node.kind, hollow, faded, parts: [] });
    const shape = SHAPES[(KINDS[node.kind] || KINDS.node)[0]](
      radiusOf(layout, view, scene.relative(i))
    );
    groups.get(key).parts.push(`M${x.toFixed(1)},${y.toFixed(1)}${shape}`);
  });
  for (const { kind, hollow, faded, parts } of groups.values()) {
    const color = colors.kind(kind);
    sheet.path(parts.join(""), {
      fill: hollow ? colors.paper : color,
      stroke: hollow ? color : colors.paper,
      width: hollow ? 1.6 : 0.8,
      alpha: faded ? 0.25 : 1,
    });
  }
}

function paintMarks(sheet, scene) {
  const { layout, view, colors } = scene;
  const ring = (i, more, style) => {
    const [x, y] = onScreen(layout.at[i], view);
    const r = radiusOf(layout, view, scene.relative(i)) + more;
    sheet.path(`M${x.toFixed(1)},${y.toFixed(1)}${SHAPES.circle(r)}`, style);
  };
  for (const i of scene.pins.keys()) ring(i, 3, { stroke: colors.ink, width: 2 });
  if (scene.chosen !== null)
    ring(scene.chosen, 6, { stroke: colors.accent, width: 2, dash: [4, 2] });
}

/** Names, the most important first; none covers another. */
function paintNames(sheet, scene) {
  const { network, layout, view, colors } = scene;
  const all = layout.cell[0] * view.kx >= NAME_ROOM;
  const wanted = [...scene.pins.keys()];
  if (scene.chosen !== null && !scene.pins.has(scene.chosen)) wanted.push(scene.chosen);
  const rest = network.nodes
    .map((_, i) => i)
    .filter(
      (i) =>
        !wanted.includes(i) &&
        network.nodes[i].kind !== "residual" &&
        (network.nodes[i].kind === "logit" || all)
    );
  rest.sort((a, b) => scene.relative(b) - scene.relative(a));
  const taken = [];
  for (const i of [...wanted, ...rest]) {
    const pinned = scene.pins.has(i);
    const name = (pinned && scene.pins.get(i)) || network.nodes[i].part;
    const [x, y] = onScreen(layout.at[i], view);
    const r = radiusOf(layout, view, scene.relative(i));
    const width = LETTER * name.length;
    const box = [x - width / 2, y - r - 16, x + width / 2, y - r - 3];
    const hits = taken.some(([a, b, c, d]) => box[0] < c && box[2] > a && box[1] < d && box[3] > b);
    if (hits && !pinned && i !== scene.chosen) continue;
    taken.push(box);
    sheet.text(x, y - r - 9, name, {
      fill: colors.ink,
      halo: colors.paper,
      anchor: "middle",
      weight: pinned ? 600 : 400,
    });
  }
}

// --- the ground ----------------------------------------------------------------------------------

function rectangle(x0, y0, x1, y1) {
  return `M${x0.toFixed(1)},${y0.toFixed(1)}H${x1.toFixed(1)}V${y1.toFixed(1)}H${x0.toFixed(1)}Z`;
}

/** The column of the selected token. */
function paintColumn(sheet, scene) {
  const { layout, view, colors } = scene;
  const column = layout.columns[scene.row];
  if (!column) return;
  const x0 = column.x0 * view.kx + view.x;
  const x1 = Math.max(column.x1 * view.kx + view.x, x0 + 2);
  const { top, bottom } = layout.plot;
  sheet.path(rectangle(x0, top, x1, bottom), { fill: colors.accent, alpha: 0.14 });
}

function paintGround(sheet, scene, { left, right, top, bottom }) {
  const { layout, view, colors } = scene;
  let stripes = "";
  for (const band of layout.bands) {
    if (band.layer !== null && band.layer % 2) continue;
    const y0 = Math.max(top, band.y0 * view.ky + view.y);
    const y1 = Math.max(top, Math.min(bottom, band.y1 * view.ky + view.y));
    stripes += rectangle(left, y0, right, y1);
  }
  sheet.path(stripes, { fill: colors.raised });
}

/** Names of the layers at the left edge, once per layer. */
function paintLayers(sheet, scene) {
  const { layout, view, colors } = scene;
  const named = new Map();
  for (const { name, y0, y1 } of layout.bands) {
    const [a, b] = named.get(name) || [y0, y1];
    named.set(name, [Math.min(a, y0), Math.max(b, y1)]);
  }
  let last = Infinity;
  for (const [name, [y0, y1]] of named) {
    const { top, bottom } = layout.plot;
    const y = (Math.max(top, y0 * view.ky + view.y) + Math.min(bottom, y1 * view.ky + view.y)) / 2;
    if (y0 * view.ky + view.y > bottom || y1 * view.ky + view.y < top || last - y < 12) continue;
    last = y;
    sheet.text(layout.plot.left - 6, y, name, { fill: colors.muted, anchor: "end" });
  }
}

/** The tokens under their columns; where room is short, those of the largest nodes. */
function paintTokens(sheet, scene) {
  const { layout, view, colors, tokens } = scene;
  const { left, right, bottom } = layout.plot;
  const order = layout.columns
    .map(({ row }) => row)
    .sort(
      (a, b) =>
        (b === scene.row) - (a === scene.row) ||
        scene.weightOfRow(b) - scene.weightOfRow(a) ||
        a - b
    );
  const taken = [];
  for (const row of order) {
    const { x0, x1 } = layout.columns[row];
    const x = ((x0 + x1) / 2) * view.kx + view.x;
    if (x < left || x > right || taken.some((other) => Math.abs(other - x) < TOKEN_ROOM)) continue;
    taken.push(x);
    sheet.text(x + 3, bottom + 8, tokenName(tokens[row]), {
      fill: row === scene.row ? colors.accent : colors.ink,
      anchor: "end",
      turn: -50,
      weight: row === scene.row ? 600 : 400,
    });
  }
}

/** What the shapes, colors and hollow nodes mean. */
function paintKey(sheet, scene) {
  const { colors } = scene;
  const looks = {
    kind: ({ kind }, x, y) =>
      sheet.path(`M${x},${y}${SHAPES[KINDS[kind][0]](5)}`, { fill: colors.kind(kind) }),
    hollow: (_, x, y) =>
      sheet.path(`M${x},${y}${SHAPES.circle(4.5)}`, {
        fill: colors.paper,
        stroke: colors.muted,
        width: 1.6,
      }),
    positive: (_, x, y) => sheet.path(`M${x - 5},${y}h10`, { stroke: colors.positive, width: 3 }),
    negative: (_, x, y) => sheet.path(`M${x - 5},${y}h10`, { stroke: colors.negative, width: 3 }),
  };
  for (const item of scene.layout.key) {
    looks[item.look](item, item.x, item.y);
    sheet.text(item.x + 9, item.y, item.name, { fill: colors.muted });
  }
}

/**
 * Paints what lies under the nodes of a scene in a box {left, top, right, bottom}: it may be larger
 * than the plot. A scene is {network, layout, view {kx, ky, x, y}, shown [links], lanes, groups of
 * groupsOf(), paths or null, pins: Map(node -> name), chosen (a node or null), row (or null),
 * tokens, colors, relative(node), weightOfRow(row)}.
 */
export function paintUnder(sheet, scene, box) {
  sheet.clipped(box, () => {
    paintGround(sheet, scene, box);
    paintLinks(sheet, scene);
  });
}

/** Paints the selected column, nodes, names, layers and tokens. */
export function paintOver(sheet, scene) {
  sheet.clipped(scene.layout.plot, () => {
    paintColumn(sheet, scene);
    paintNodes(sheet, scene);
    paintMarks(sheet, scene);
    paintLinkNames(sheet, scene);
    paintNames(sheet, scene);
  });
  paintLayers(sheet, scene);
  paintTokens(sheet, scene);
  paintKey(sheet, scene);
}
