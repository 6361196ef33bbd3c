// How near the forms of one word are. Matches pair [pairs, sides] (indices of forms) with cosine
// [levels, pairs]; the curves by level are of the figure "curves".
import { bars } from "../parts/bars.js";
import { choiceOf, chooseList, redrawOn } from "../parts/choose.js";
import { frame, tableOf } from "../parts/frame.js";
import { binned, histogram } from "../parts/histogram.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { number, short } from "../parts/scales.js";

const SHOWN = 12;

function pairName(section, i) {
  const pair = section.array("pair");
  return Array.from({ length: pair.shape[1] }, (_, side) =>
    section.axis("forms").label(pair.at(i, side))
  ).join(" – ");
}

/** The lines without those of a pair that comes in the other order too. */
function once(lines) {
  const seen = new Set();
  return lines.filter(([name]) => {
    const key = name.split(" – ").sort().join();
    return !seen.has(key) && seen.add(key);
  });
}

function cosinesOf(section, level) {
  const { shape } = section.array("cosine");
  return Array.from({ length: shape[1] }, (_, i) => section.array("cosine").at(level, i));
}

function distributionFrame(place, section) {
  const levels = labelsOf(section, "levels");
  frame(place, {
    title: "Cosines of the pairs, level by level",
    label: `Histograms of the cosines of ${section.axis("pairs").n} pairs at ${
      levels.length
    } levels`,
    draw: (area, width) =>
      panels(
        area,
        width,
        levels.map((level, l) => ({
          title: level,
          draw: (panel, wide) => {
            const { edges, counts } = binned(cosinesOf(section, l), { bins: 32, domain: [-1, 1] });
            histogram(panel, wide, {
              edges,
              series: [{ name: "pairs", counts }],
              x: { name: "cosine" },
              y: { name: "pairs" },
              height: 150,
              label: `Cosines at ${level}`,
            });
          },
        })),
        { least: 220 }
      ),
    table: () => longTable(section, ["cosine"]),
  });
}

function pairFrame(place, section, page) {
  const levels = labelsOf(section, "levels");
  const level = choiceOf(page, section, "pair_level", levels.length - 1);
  const rows = () => {
    const values = cosinesOf(section, level.value);
    const order = values
      .map((_, i) => i)
      .filter((i) => !Number.isNaN(values[i]))
      .sort((a, b) => values[b] - values[a]);
    return order.map((i) => [
      pairName(section, i),
      ...levels.map((_, l) => number(section.array("cosine").at(l, i))),
    ]);
  };
  const head = ["pair", ...levels];
  redrawOn(
    frame(place, {
      title: "The nearest and the farthest pairs",
      label: `Pairs of forms by their cosine, nearest first`,
      controls: [chooseList(level, "Order by", levels)],
      draw: (area, width) => {
        const all = once(rows());
        panels(
          area,
          width,
          [
            ["nearest", all.slice(0, SHOWN)],
            ["farthest", all.slice(-SHOWN).reverse()],
          ].map(([title, list]) => ({
            title,
            draw: (panel) =>
              panel.append(
                tableOf(
                  {
                    head,
                    rows: list.map((row) => row.map((cell, i) => (i ? short(Number(cell)) : cell))),
                  },
                  title
                )
              ),
          })),
          { least: 320, most: 2 }
        );
      },
      table: () => ({ head, rows: rows() }),
    }),
    [level]
  );
}

/** How many pairs the classes have: one column for each array of [classes]. */
function countFrame(place, section, keys) {
  const labels = labelsOf(section, "classes");
  const columns = keys.map((key) => ({
    name: key.replace(/_/g, " "),
    values: labels.map((_, k) => section.array(key).at(k)),
  }));
  frame(place, {
    title: "Pairs of each class",
    label: `Counts of pairs in ${labels.length} classes`,
    draw: (area, width) =>
      bars(area, Math.min(width, 760), {
        labels,
        columns,
        label: "Pairs of each class",
        tip: (i) => [labels[i], ...columns.map((one) => `${one.name}  ${one.values[i]}`)],
      }),
    table: () => longTable(section, keys),
  });
}

function tokensFrame(place, section) {
  const array = section.array("tokens");
  const counts = new Map();
  for (let i = 0; i < array.shape[0]; i++)
    counts.set(array.at(i), (counts.get(array.at(i)) || 0) + 1);
  const sizes = [...counts.keys()].sort((a, b) => a - b);
  const labels = sizes.map((n) => (n === 1 ? "one token" : `${n} tokens`));
  frame(place, {
    title: "Tokens of the forms",
    label: `Forms by their number of tokens: ${labels
      .map((text, i) => `${text} ${counts.get(sizes[i])}`)
      .join(", ")}`,
    draw: (area, width) =>
      bars(area, Math.min(width, 480), {
        labels,
        columns: [{ name: "forms", values: sizes.map((n) => counts.get(n)) }],
        label: "Forms by tokens",
      }),
    table: () => longTable(section, ["tokens"]),
  });
}

export const forms = {
  name: "forms",
  match(section) {
    if (
      !section.has("pair", ["pairs", "sides"]) ||
      !section.has("cosine", ["levels", "pairs"]) ||
      !section.axis("forms")
    )
      return null;
    const counts = [...section.arrays.values()].filter((array) =>
      section.has(array.key, ["classes"])
    );
    const arrays = ["pair", "cosine", ...counts.map((array) => array.key)];
    if (section.has("tokens", ["forms"])) arrays.push("tokens");
    return { arrays, title: "Pairs of forms" };
  },
  draw(place, section, page, claimed) {
    const counts = claimed.filter((key) => section.has(key, ["classes"]));
    distributionFrame(place, section);
    pairFrame(place, section, page);
    if (counts.length) countFrame(place, section, counts);
    if (claimed.includes("tokens")) tokensFrame(place, section);
  },
};
