// Trees of spans: nested boxes per level over the text, the cuts, and links between units.
import { diverging } from "../parts/colors.js";
import { choice } from "../parts/choice.js";
import { chooseAny, redrawOn } from "../parts/choose.js";
import { colorScale, legend } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { number, visible } from "../parts/scales.js";
import { drawEffects, effectKeys } from "./span_effects.js";
import { excerpt, SpanChart } from "../parts/span_chart.js";
import { hasTrees, smallestAt, SpanTrees } from "../parts/span_trees.js";

const AGREEMENT = "levels that share it";
const PER_UNIT = { cuts: "cut after the unit", split_order: "cuts around it" };
const trees = new WeakMap();

function treesOf(section) {
  if (!trees.has(section)) trees.set(section, new SpanTrees(section));
  return trees.get(section);
}

/** The settings that all frames and panes of a section share. */
function settingsOf(page, section, tree) {
  const of = (name) => choice(page, `spans ${section.name}: ${name}`, 0);
  const sequence = of("sequence");
  return {
    sequence,
    color: of("color"),
    cuts: of("cuts"),
    sequenceOf: () => tree.sequences[sequence.value] || tree.sequences[0],
  };
}

const sequencePicker = (tree, chosen) =>
  chooseAny(
    chosen.sequence,
    "sequence",
    tree.sequences.map(({ id }) => String(id))
  );

/** Brackets of the other run, "level from to", where the section is the difference of two. */
function otherBrackets(section) {
  const { beside } = section.run.section(section.name);
  if (!beside || !hasTrees(beside)) return new Set();
  const other = treesOf(beside);
  return new Set(
    other.sequences.flatMap((sequence) =>
      other.levels.flatMap((label, level) =>
        other.tree(level, sequence).map(({ from, to }) => `${sequence.id} ${label} ${from} ${to}`)
      )
    )
  );
}

/** What boxes can be colored by: [{name, color(sequence, node), legend?()}]. */
function colorings(section, tree) {
  if (section.isDifference) {
    const others = otherBrackets(section);
    const has = (sequence, { level, from, to }) =>
      others.has(`${sequence.id} ${tree.levels[level]} ${from} ${to}`);
    return [
      {
        name: "in both runs",
        color: (sequence, node) => diverging(has(sequence, node) ? 0.45 : -0.75),
      },
    ];
  }
  const most = Math.max(1, tree.levels.length - 1);
  const found = [
    { name: AGREEMENT, color: (_, node) => diverging((0.6 * tree.sharedWith(node).length) / most) },
  ];
  for (const array of tree.measures.filter(({ dtype, key }) => dtype !== "I32" || key === "lag")) {
    const { high } = array.range();
    const scale = colorScale(
      array.values() ? [...array.values()].filter((v) => !Number.isNaN(v)) : [0, high]
    );
    found.push({
      name: array.key.replace(/_/g, " "),
      color: (_, node) => {
        const fill = scale.color(array.at(node.level, node.span));
        return fill === "transparent" ? "var(--paper)" : fill;
      },
      legend: () => legend(scale, array.key.replace(/_/g, " ")),
    });
  }
  return found;
}

function noteOf(section) {
  if (section.isDifference)
    return (
      "Brackets of this run: blue where the run beside has the same bracket at this level, " +
      "orange where not."
    );
  return null;
}

function treesFrame(place, section, page, tree, chosen) {
  const colors = colorings(section, tree);
  const figure = frame(place, {
    title: "Trees of spans",
    label: `trees of spans at ${tree.levels.length} levels`,
    caption:
      "One tree per level. A box is a span; higher boxes hold more units. Point at one for its " +
      "cut (a line) and the same span at other levels (dashed). A dot marks a head that is not " +
      "the span's last unit.",
    notes: [noteOf(section)].filter(Boolean),
    controls: [
      sequencePicker(tree, chosen),
      section.isDifference
        ? null
        : chooseAny(
            chosen.color,
            "color",
            colors.map(({ name }) => name)
          ),
    ].filter(Boolean),
    draw: (area, width) => {
      const sequence = chosen.sequenceOf();
      const coloring = colors[chosen.color.value] || colors[0];
      const readout = el(
        "p",
        { class: "readout", "aria-live": "polite" },
        "Point at a span, or use the arrow keys: up to what is around it, down to what is inside."
      );
      const chart = new SpanChart({
        trees: tree,
        sequence,
        page,
        color: (node) => coloring.color(sequence, node),
        tell: (lines) => {
          readout.textContent = lines.join(" · ");
        },
      });
      chart.draw(area, width);
      if (coloring.legend) area.append(coloring.legend());
      area.append(readout);
      follow(page, area, (row) => {
        const at = tree.placeOf(row);
        const isHere = at && tree.sequences[at.sequence] === sequence;
        chart.chart.mark(isHere ? at.unit : -1);
      });
    },
    table: () => tableOf(tree, chosen.sequenceOf()),
  });
  for (const setting of [chosen.sequence, chosen.color]) setting.on(() => figure.redraw());
}

/** One line per bracket of a sequence. */
function tableOf(tree, sequence) {
  const rows = tree.levels.flatMap((label, level) =>
    tree
      .tree(level, sequence)
      .map((node) => [
        label,
        node.from,
        node.to,
        tree.textOf(sequence.id, node.from, node.to),
        ...tree.measures.map((array) => number(array.at(level, node.span))),
        tree.sharedWith(node).join(" "),
      ])
  );
  return {
    head: ["level", "first", "last", "text", ...tree.measures.map(({ key }) => key), "also at"],
    rows,
  };
}

/** The number of a level's cut after a unit; NaN after the last one. */
function cutAt(array, level, unit) {
  const found = array.at(level, unit.whole);
  return array.dtype === "I32" && found < 0 ? NaN : found;
}

const nameOf = (array) => PER_UNIT[array.key] || array.key.replace(/_/g, " ");

/** Draws one array [levels, units] as a map of levels by units. */
function drawCuts(area, width, page, given) {
  const { section, tree, arrays, array, sequence } = given;
  const { units, id } = sequence;
  const value = (level, u) => cutAt(array, level, units[u]);
  const values = tree.levels.flatMap((_, level) => units.map((_, u) => value(level, u)));
  const row = (u) => tree.rowOf(id, units[u].last);
  const numbers = (level, u) =>
    arrays.map((one) => `${nameOf(one)} ${number(cutAt(one, level, units[u]))}`);
  const whole = (l, u) => (Number.isNaN(value(l, u)) ? "" : String(value(l, u)));
  const map = heatmap(area, width, {
    rows: tree.levels.map((label) => `level ${label}`),
    columns: units.map(({ text }) => visible(text)),
    value,
    scale: colorScale(
      values.filter((v) => !Number.isNaN(v)),
      { signed: section.isDifference }
    ),
    minCell: 14,
    cellHeight: 22,
    legend: nameOf(array),
    text: array.dtype === "I32" ? whole : undefined,
    label: `${nameOf(array)}, levels by units`,
    tip: (level, u) => [
      `level ${tree.levels[level]}, after “${units[u].text}”`,
      ...numbers(level, u),
    ],
    onEnter: (_, u) => page.selection.set(row(u)),
    onPick: (_, u) => page.selection.lock(row(u)),
  });
  follow(page, area, (selected) => {
    const at = tree.placeOf(selected);
    map.highlight(at && tree.sequences[at.sequence].id === id ? at.unit : -1);
  });
}

function tableOfCuts(tree, arrays, { units }) {
  const columns = arrays.flatMap((array) => tree.levels.map((label, l) => ({ array, label, l })));
  return {
    head: ["first", "last", "unit", ...columns.map((c) => `${c.array.key} level ${c.label}`)],
    rows: units.map((unit) => [
      unit.first,
      unit.last,
      unit.text,
      ...columns.map(({ array, l }) => number(array.at(l, unit.whole))),
    ]),
  };
}

/** The arrays [levels, units] as one figure. */
function cutsFrame(place, section, page, tree, chosen, arrays) {
  const figure = frame(place, {
    title: "Cuts",
    label: `${arrays.map(nameOf).join(", ")} of ${tree.levels.length} levels by unit`,
    caption:
      "Per level the boundary after each unit: how much the right part reads of the left, and " +
      "how many cuts are around it (0: the first cut).",
    controls: [
      sequencePicker(tree, chosen),
      chooseAny(chosen.cuts, "number", arrays.map(nameOf)),
    ].filter(Boolean),
    draw: (area, width) =>
      drawCuts(area, width, page, {
        section,
        tree,
        arrays,
        array: arrays[chosen.cuts.value] || arrays[0],
        sequence: chosen.sequenceOf(),
      }),
    table: () => tableOfCuts(tree, arrays, chosen.sequenceOf()),
  });
  redrawOn(figure, [chosen.sequence, chosen.cuts]);
}

export const spans = {
  name: "spans",
  match(section) {
    if (!hasTrees(section)) return null;
    const own = ["units", "unit_sequence", "span_sequence", "brackets", "parent", "same"];
    const found = [...section.arrays.values()].filter(
      (array) =>
        own.includes(array.key) ||
        array.axes.join() === "levels,spans" ||
        array.axes.join() === "levels,units"
    );
    return { arrays: [...found.map(({ key }) => key), ...effectKeys(section)], title: "Spans" };
  },
  draw(place, section, page) {
    if (section.axis("units").n < 2) {
      place.append(el("p", { class: "note" }, "One token has no spans."));
      return;
    }
    const tree = treesOf(section);
    const chosen = settingsOf(page, section, tree);
    treesFrame(place, section, page, tree, chosen);
    const perUnit = [...section.arrays.values()].filter(
      (array) =>
        !array.omitted &&
        array.axes.join() === "levels,units" &&
        !(section.isDifference && array.dtype === "I32")
    );
    perUnit.sort((a, b) => (a.key === "split_order" ? -1 : b.key === "split_order" ? 1 : 0));
    if (perUnit.length) cutsFrame(place, section, page, tree, chosen, perUnit);
    drawEffects(place, section, page, tree);
  },
  /** The smallest span of each level around the token. */
  detail(section, row) {
    const tree = treesOf(section);
    const at = tree.placeOf(row);
    if (!at) return null;
    const sequence = tree.sequences[at.sequence];
    const lines = tree.levels.map((label, level) => {
      const node = smallestAt(tree.tree(level, sequence), at.unit, () => true);
      return el(
        "div",
        null,
        el("dt", null, `level ${label}`),
        el("dd", null, node ? excerpt(tree.textOf(sequence.id, node.from, node.to)) : "-")
      );
    });
    return el("dl", { class: "span-detail" }, lines);
  },
};
