// Any array over training checkpoints: lines over the steps of the entries that grow largest, and a
// map of layers by heads at each checkpoint.
import { colorScale, legend } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { panels } from "../parts/panels.js";
import { number } from "../parts/scales.js";
import { checkpointNames, CHECKPOINTS, groupsOf, linesOf, xOf } from "./checkpoints_data.js";
import { Cut, titleOf } from "./generic_plan.js";

const MOST_MAPS = 12;

/** "p of target 'old'": what the lines show. */
function wordsOf(cut) {
  return [cut.array.key.replace(/_/g, " "), cut.words].filter(Boolean).join(", ");
}

function drawLines(area, width, cut) {
  const { lines: series, others } = linesOf(cut);
  lines(area, width, {
    height: 260,
    label: `${wordsOf(cut)} over ${cut.axis(0).n} checkpoints`,
    x: xOf(cut.section),
    y: { name: wordsOf(cut) },
    series,
    legend: true,
  });
  if (others > 0)
    area.append(
      el(
        "p",
        { class: "note" },
        `The ${series.length} largest at any step are drawn; ${others} others are in the table.`
      )
    );
}

function lineFrame(place, section, page, group) {
  const cut = new Cut(section, group, page);
  const figure = frame(place, {
    title: titleOf(group),
    label: `${titleOf(group)} over ${section.axis(CHECKPOINTS).n} training checkpoints`,
    controls: cut.controls(() => figure.redraw()),
    draw: (area, width) => drawLines(area, width, cut),
    table: () => longTable(section, group.keys, cut.fixed),
  });
  cut.followRow(page, figure);
}

/** Which checkpoints have a map: of many evenly spaced ones, with the first and the last. */
function mapped(n) {
  if (n <= MOST_MAPS) return Array.from({ length: n }, (_, k) => k);
  return Array.from({ length: MOST_MAPS }, (_, i) => Math.round((i * (n - 1)) / (MOST_MAPS - 1)));
}

function drawMaps(area, width, cut) {
  const { section, group } = cut;
  const [, layers, heads] = group.axes;
  const names = checkpointNames(section);
  const shown = mapped(names.length);
  const rows = labelsOf(section, group.all[layers]).map((label) => `L${label}`);
  const columns = labelsOf(section, group.all[heads]).map((label) => `H${label}`);
  const value = (k) => (r, c) => cut.value({ 0: k, [layers]: r, [heads]: c });
  const all = shown.flatMap((k) => rows.flatMap((_, r) => columns.map((_, c) => value(k)(r, c))));
  const scale = colorScale(all, { signed: section.isDifference });
  const { key } = cut.array;
  const list = shown.map((k) => ({
    title: names[k],
    draw: (panel, wide) =>
      heatmap(panel, wide, {
        rows,
        columns,
        value: value(k),
        scale,
        maxCell: 24,
        label: `${key} by layer and head at ${names[k]}`,
        tip: (r, c) => [`${rows[r]}${columns[c]}, ${names[k]}`, `${key} ${number(value(k)(r, c))}`],
      }),
  }));
  panels(area, width, list, { least: 150, most: 6 });
  area.append(legend(scale, wordsOf(cut)));
}

function mapFrame(place, section, page, group) {
  const cut = new Cut(section, group, page);
  const figure = frame(place, {
    title: `${titleOf(group)}: layers by heads`,
    label: `${titleOf(group)} by layer and head at ${section.axis(CHECKPOINTS).n} checkpoints`,
    controls: cut.controls(() => figure.redraw()),
    draw: (area, width) => drawMaps(area, width, cut),
    table: () => longTable(section, group.keys, cut.fixed),
  });
  cut.followRow(page, figure);
}

/** Single numbers that are the same at every checkpoint: a list instead of flat lines. */
function constantFrame(place, section, keys) {
  const entries = keys.map((key) => [key, number(section.array(key).at(0))]);
  frame(place, {
    title: "The same at every checkpoint",
    label: `${entries.length} numbers that are the same at every checkpoint`,
    draw: (area) =>
      area.append(
        el(
          "dl",
          { class: "value-list" },
          entries.map(([key, text]) => el("div", null, el("dt", null, key), el("dd", null, text)))
        )
      ),
    table: () => ({ head: ["name", "value"], rows: entries }),
  });
}

export const checkpoints = {
  name: "checkpoints",
  match(section) {
    const arrays = groupsOf(section).flatMap(({ keys }) => keys);
    const step = section.name === CHECKPOINTS && section.has("step", [CHECKPOINTS]);
    if (step) arrays.push("step");
    return arrays.length ? { arrays, title: "Over training steps" } : null;
  },
  draw(place, section, page, claimed) {
    for (const group of groupsOf(section)) {
      const keys = group.keys.filter((key) => claimed.includes(key));
      if (!keys.length) continue;
      if (group.constant && group.all.length === 1) {
        constantFrame(place, section, keys);
        continue;
      }
      lineFrame(place, section, page, { ...group, keys });
      if (group.axes.length === 3) mapFrame(place, section, page, { ...group, keys });
    }
  },
};
