// Lists of tokens with a number each: what the directions of a head read and write, and a token's
// nearest tokens. Matches X_tokens with X_cosines and X_nearest with X_cosine of the same axes, the
// last of which is the rank.
import { bars } from "../parts/bars.js";
import { choiceOf, chooseList, redrawOn } from "../parts/choose.js";
import { frame } from "../parts/frame.js";
import { labelsOf } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { number, short, visible } from "../parts/scales.js";

const FORMS = [
  [/_tokens$/, "_cosines"],
  [/_nearest$/, "_cosine"],
];

/** {stem, tokens, values} for each list; lists with the same axes belong together. */
function groupsOf(section) {
  const groups = new Map();
  for (const tokens of section.arrays.values())
    for (const [form, ending] of FORMS) {
      const stem = tokens.key.replace(form, "");
      const last = tokens.axes[tokens.axes.length - 1];
      if (stem === tokens.key || last !== "rank" || !section.has(`${stem}${ending}`, tokens.axes))
        continue;
      const name = tokens.axes.join();
      const list = { stem, tokens, values: section.array(`${stem}${ending}`) };
      groups.set(name, [...(groups.get(name) || []), list]);
    }
  return [...groups.values()];
}

function entriesOf(section, list, indices) {
  const n = list.tokens.shape[list.tokens.shape.length - 1];
  return Array.from({ length: n }, (_, k) => ({
    id: list.tokens.at(...indices, k),
    value: list.values.at(...indices, k),
  }))
    .filter((entry) => entry.id >= 0 && !Number.isNaN(entry.value))
    .map((entry) => ({ name: visible(section.run.tokenText(entry.id)), value: entry.value }));
}

/** The singular value of the shown triple: qk_values belongs to qk_query_tokens. */
function sizeText(section, list, indices) {
  const key = `${list.stem.split("_")[0]}_values`;
  const axes = list.tokens.axes.slice(0, -1);
  return section.has(key, axes)
    ? `, singular value ${short(section.array(key).at(...indices))}`
    : "";
}

function groupFrame(place, section, page, group) {
  const axes = group[0].tokens.axes.slice(0, -1);
  const choices = axes.map((axis) => choiceOf(page, section, `vocabulary_${axis}`, 0));
  const indices = () => choices.map((chosen) => chosen.value);
  const name = (i) =>
    axes.map((axis, a) => `${axis.replace(/s$/, "")} ${section.axis(axis).label(i[a])}`).join(", ");
  const isHead = axes.includes("heads");
  redrawOn(
    frame(place, {
      title: isHead ? "What a head reads and writes, as tokens" : "Nearest tokens",
      caption: isHead
        ? "Tokens of largest |cosine| with the singular directions of W_QK and W_OV. Signs of a " +
          "triple's two sides belong together."
        : "By cosine, without the token itself.",
      label: `Lists of tokens: ${group.map((list) => list.stem).join(", ")}`,
      controls: axes.map((axis, a) =>
        chooseList(choices[a], axis.replace(/s$/, ""), labelsOf(section, axis))
      ),
      draw: (area, width) =>
        panels(
          area,
          width,
          group.map((list) => {
            const entries = entriesOf(section, list, indices());
            return {
              title: `${list.stem.replace(/_/g, " ")}${sizeText(section, list, indices())}`,
              draw: (panel, wide) =>
                bars(panel, wide, {
                  labels: entries.map((entry) => entry.name),
                  columns: [{ name: "cosine", values: entries.map((entry) => entry.value) }],
                  label: list.stem,
                  tip: (i) => [entries[i].name, `cosine  ${short(entries[i].value)}`],
                }),
            };
          }),
          { least: 240 }
        ),
      table: () => ({
        head: ["of", "list", "token", "cosine"],
        rows: group.flatMap((list) =>
          entriesOf(section, list, indices()).map((entry) => [
            name(indices()),
            list.stem,
            entry.name,
            number(entry.value),
          ])
        ),
      }),
    }),
    choices
  );
}

export const vocabulary = {
  name: "vocabulary",
  match(section) {
    const groups = groupsOf(section);
    if (!groups.length) return null;
    const arrays = groups.flat().flatMap((list) => [list.tokens.key, list.values.key]);
    for (const key of ["qk_values", "ov_values"]) if (section.has(key)) arrays.push(key);
    return { arrays, title: "Tokens" };
  },
  draw(place, section, page) {
    for (const group of groupsOf(section)) groupFrame(place, section, page, group);
  },
};
