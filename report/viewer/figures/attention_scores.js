// The split of a head's scores at one row: arrays [components, parts, keys] of the key's or the
// query's writers, and [query components, key components, parts] of both at once.
import { bars } from "../parts/bars.js";
import { choice } from "../parts/choice.js";
import { chooseAny } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { number, visible } from "../parts/scales.js";

const LISTED = 24;
const WORDS = { key: "the key's writers", query: "the query's writers" };

const isComponents = (axis) => axis.endsWith("components");
const isSides = (array) =>
  array.axes.length === 3 &&
  isComponents(array.axes[0]) &&
  array.axes[1] === "parts" &&
  array.axes[2] === "keys";
const isPairs = (array) =>
  array.axes.length === 3 &&
  isComponents(array.axes[0]) &&
  isComponents(array.axes[1]) &&
  array.axes[2] === "parts";

const labelsOf = (section, name) =>
  Array.from({ length: section.axis(name).n }, (_, i) => section.axis(name).label(i));

/** The choices of parts: their sum, and each. [{name, sum(of)}] */
function partsOf(section) {
  const names = labelsOf(section, "parts");
  const total = (of) => names.reduce((sum, _, p) => sum + of(p), 0);
  return [
    { name: names.join(" + "), sum: total },
    ...names.map((name, p) => ({ name, sum: (of) => of(p) })),
  ];
}

/** "key_scores_relative" -> "the key's writers, relative to the row's mean". */
function titleOf(array) {
  const side = WORDS[array.axes[0].split("_")[0]] || array.key;
  return array.key.endsWith("_relative") ? `${side}, relative to the row's mean` : side;
}

/** What was split: "L3H7 at row 10". */
function subjectOf(section) {
  const { reader, row } = section.options;
  return reader && reader !== "none" ? `${reader} at row ${row}` : "one head";
}

/** The keys that have scores, with their tokens: [{k, row, text}]. */
function keysOf(section, array) {
  const axis = section.axis("keys");
  const found = [];
  for (let k = 0; k < axis.n; k++) {
    if (Number.isNaN(array.at(0, 0, k))) continue;
    const row = section.rowAt("keys", k);
    const token = row === null ? null : section.run.tokens[row];
    found.push({
      k,
      row,
      position: axis.label(k),
      text: token ? visible(token.text) : axis.label(k),
    });
  }
  return found;
}

function mapFrame(place, section, page, arrays, chosen) {
  const parts = partsOf(section);
  const shown = () => {
    const array = arrays[chosen.array.value] || arrays[0];
    const keys = keysOf(section, array);
    return {
      array,
      keys,
      components: labelsOf(section, array.axes[0]),
      at: (c, i) => parts[chosen.part.value].sum((p) => array.at(c, p, keys[i].k)),
    };
  };
  const figure = frame(place, {
    title: `Scores of ${subjectOf(section)} by key`,
    label: `shares of components in the scores of ${keysOf(section, arrays[0]).length} keys`,
    caption:
      "What each component adds to the score of each key. A click chooses the key of the bars.",
    controls: [
      chooseAny(chosen.array, "side", arrays.map(titleOf)),
      chooseAny(
        chosen.part,
        "part",
        parts.map(({ name }) => name)
      ),
    ].filter(Boolean),
    draw: (area, width) => {
      const { array, keys, components, at } = shown();
      const map = heatmap(area, width, {
        rows: components,
        columns: keys.map(({ text }) => text),
        value: at,
        scale: colorScale(
          components.flatMap((_, c) => keys.map((_, i) => at(c, i))),
          { signed: true }
        ),
        legend: "share of the score",
        cellHeight: components.length > 60 ? 9 : 14,
        label: `${titleOf(array)}: components by keys`,
        tip: (c, i) => [
          components[c],
          `key ${keys[i].position} ${keys[i].text}`,
          `share ${number(at(c, i))}`,
        ],
        onEnter: (c, i) => keys[i].row !== null && page.selection.set(keys[i].row),
        onPick: (c, i) => chosen.key.set(keys[i].k),
      });
      follow(page, area, (row) => map.highlight(keys.findIndex((key) => key.row === row)));
    },
    table: () => {
      const { keys, components, at } = shown();
      return {
        head: ["component", ...keys.map(({ position, text }) => `${position} ${text}`)],
        rows: components.map((label, c) => [label, ...keys.map((_, i) => number(at(c, i)))]),
      };
    },
  });
  for (const setting of [chosen.part, chosen.array]) setting.on(() => figure.redraw());
}

/** The largest entries of a component axis for one key: [{label, total, parts: [numbers]}]. */
function rankedOf(section, array, k) {
  const names = labelsOf(section, "parts");
  return labelsOf(section, array.axes[0])
    .map((label, c) => {
      const parts = names.map((_, p) => array.at(c, p, k));
      return { label, parts, total: parts.reduce((sum, part) => sum + part, 0) };
    })
    .sort((a, b) => Math.abs(b.total) - Math.abs(a.total));
}

function barsFrame(place, section, array, chosen) {
  const names = labelsOf(section, "parts");
  const keys = keysOf(section, array);
  const keyOf = () => keys.find(({ k }) => k === chosen.key.value) || keys[keys.length - 1];
  const ranked = () => rankedOf(section, array, keyOf().k);
  const figure = frame(place, {
    title: `Bars of one key: ${titleOf(array)}`,
    label: `shares of components in the score of one key, ${titleOf(array)}`,
    controls: [
      chooseAny(
        {
          value: keys.indexOf(keyOf()),
          set: (i) => chosen.key.set(keys[i].k),
          on: (told) => chosen.key.on(() => told(keys.indexOf(keyOf()))),
        },
        "key",
        keys.map(({ position, text }) => `${position} ${text}`)
      ),
    ].filter(Boolean),
    draw: (area, width) => {
      const shown = ranked().slice(0, LISTED);
      bars(area, width, {
        labels: shown.map(({ label }) => label),
        columns: [
          { name: "share", values: shown.map(({ total }) => total) },
          ...names.map((name, p) => ({ name, values: shown.map(({ parts }) => parts[p]) })),
        ],
        label: `${titleOf(array)} for key ${keyOf().text}`,
        tip: (i) => [
          shown[i].label,
          `share ${number(shown[i].total)}`,
          ...names.map((name, p) => `${name} ${number(shown[i].parts[p])}`),
        ],
      });
    },
    table: () => ({
      head: ["component", "share", ...names],
      rows: ranked().map(({ label, total, parts }) => [label, number(total), ...parts.map(number)]),
    }),
  });
  chosen.key.on(() => figure.redraw());
}

function pairsFrame(place, section, array, chosen) {
  const [rows, columns] = [0, 1].map((a) => labelsOf(section, array.axes[a]));
  const parts = partsOf(section);
  const at = (q, k) => parts[chosen.part.value].sum((p) => array.at(q, k, p));
  const { key } = section.options;
  const figure = frame(place, {
    title: `Score of ${subjectOf(section)}${
      key && key !== "none" ? ` and key ${key}` : ""
    }: both sides`,
    label: `shares of pairs of ${rows.length} components in one score`,
    caption: "Writers of the query down, writers of the key across.",
    controls: [
      chooseAny(
        chosen.part,
        "part",
        parts.map(({ name }) => name)
      ),
    ].filter(Boolean),
    draw: (area, width) => {
      const values = rows.flatMap((_, q) => columns.map((_, k) => at(q, k)));
      heatmap(area, width, {
        rows,
        columns,
        value: at,
        legend: "share of the score",
        scale: colorScale(values, { signed: true }),
        cellHeight: rows.length > 60 ? 9 : 14,
        label: "query's writers by key's writers",
        tip: (q, k) => [`${rows[q]} × ${columns[k]}`, `share ${number(at(q, k))}`],
      });
    },
    table: () => ({
      head: ["query's writer", ...columns],
      rows: rows.map((label, q) => [label, ...columns.map((_, k) => number(at(q, k)))]),
    }),
  });
  chosen.part.on(() => figure.redraw());
}

/** The key that is shown first: the option `key`, else the last key with scores. */
function firstKey(section, array) {
  const given = section.options.key;
  const k = given && given !== "none" ? section.axis("keys").indexOf(given) : -1;
  const keys = keysOf(section, array);
  return k >= 0 ? k : keys.length ? keys[keys.length - 1].k : 0;
}

export const attentionScores = {
  name: "attention_scores",
  match(section) {
    const arrays = [...section.arrays.values()].filter(
      (array) => !array.omitted && array.dtype !== "I32" && (isSides(array) || isPairs(array))
    );
    return arrays.length
      ? { arrays: arrays.map(({ key }) => key), title: "Split of the scores" }
      : null;
  },
  draw(place, section, page, claimed) {
    const arrays = claimed
      .map((key) => section.array(key))
      .filter((array) => array && !array.omitted);
    const sides = arrays.filter((array) => isSides(array) && keysOf(section, array).length);
    const of = (name, first) => choice(page, `scores ${section.name}: ${name}`, first);
    const chosen = {
      part: of("part", 0),
      array: of("array", 0),
      key: of("key", sides.length ? firstKey(section, sides[0]) : 0),
    };
    const relative = sides.filter(({ key }) => key.endsWith("_relative"));
    const both = el("div", { class: "attention" });
    place.append(both);
    for (const array of relative.length ? relative : sides) barsFrame(both, section, array, chosen);
    const maps = [...relative, ...sides.filter((array) => !relative.includes(array))];
    if (maps.length) mapFrame(place, section, page, maps, chosen);
    for (const array of arrays.filter(isPairs)) pairsFrame(place, section, array, chosen);
  },
};
