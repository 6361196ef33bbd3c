// Lists of what a part reads and writes, by the weights alone. Matches pairs X and X_value of
// [listed, sides, rank], of token ids or indices of neurons, and gains of [listed, heads].
import { bars } from "../parts/bars.js";
import { choiceOf, choose, redrawOn } from "../parts/choose.js";
import { frame } from "../parts/frame.js";
import { labelsOf } from "../parts/labels.js";
import { panels } from "../parts/panels.js";
import { number, short, visible } from "../parts/scales.js";

const AXES = ["listed", "sides", "rank"];
const GAINS = 12;
const TITLES = {
  excited_by_token: "excited by a token's embedding (largest, smallest)",
  excited_by_neuron: "excited by neurons of lower layers",
  promotes: "tokens that it promotes and suppresses",
};

/** The keys X for which X and X_value are lists. */
function listsOf(section) {
  return [...section.arrays.keys()].filter(
    (key) => section.has(key, AXES) && section.has(`${key}_value`, AXES)
  );
}

/** Arrays of one number per listed part and head, and of one number per listed part. */
function othersOf(section, axes) {
  return [...section.arrays.values()]
    .filter((array) => section.has(array.key, axes))
    .map((array) => array.key);
}

/** The text of an entry: a token's text, or a neuron's name. */
function entryName(section, array, index) {
  if (index < 0) return null;
  const neurons = section.axis("neurons");
  if (/neuron/.test(array.key) && neurons)
    return `L${Math.floor(index / neurons.n)}N${index % neurons.n}`;
  return array.tokenIds || section.run.vocabulary[index] !== undefined
    ? visible(section.run.tokenText(index))
    : `#${index}`;
}

/** The entries of one list: largest first, then the smallest; equal entries once. */
function entriesOf(section, key, part) {
  const array = section.array(key);
  const value = section.array(`${key}_value`);
  const entries = [];
  for (let side = 0; side < array.shape[1]; side++)
    for (let k = 0; k < array.shape[2]; k++) {
      const rank = side ? array.shape[2] - 1 - k : k;
      const name = entryName(section, array, array.at(part, side, rank));
      if (name !== null && !Number.isNaN(value.at(part, side, rank)))
        entries.push({ name, value: value.at(part, side, rank) });
    }
  return entries;
}

function barPanel(title, entries) {
  return {
    title,
    draw: (area, width) =>
      bars(area, width, {
        labels: entries.map((e) => e.name),
        columns: [{ name: "value", values: entries.map((e) => e.value) }],
        label: title,
        tip: (i) => [entries[i].name, short(entries[i].value)],
      }),
  };
}

function gainEntries(section, key, part) {
  const array = section.array(key);
  const heads = labelsOf(section, "heads");
  return array.top(part, { n: GAINS }).map(({ index, value }) => ({ name: heads[index], value }));
}

function titleOf(key) {
  return TITLES[key] || key.replace(/_/g, " ");
}

function tableOf(section, lists, gains, singles, part) {
  const name = section.axis("listed").label(part);
  const rows = [];
  for (const key of lists)
    for (const entry of entriesOf(section, key, part))
      rows.push([name, key, entry.name, number(entry.value)]);
  for (const key of gains)
    for (const entry of gainEntries(section, key, part))
      rows.push([name, key, entry.name, number(entry.value)]);
  for (const key of singles) rows.push([name, key, "", number(section.array(key).at(part))]);
  return { head: ["listed", "array", "entry", "value"], rows };
}

export const listed = {
  name: "listed",
  match(section) {
    const lists = listsOf(section);
    if (!lists.length) return null;
    const more = [...othersOf(section, ["listed", "heads"]), ...othersOf(section, ["listed"])];
    return {
      arrays: [...lists.flatMap((key) => [key, `${key}_value`]), ...more],
      title: "Listed neurons",
    };
  },
  draw(place, section, page) {
    const lists = listsOf(section);
    const gains = othersOf(section, ["listed", "heads"]);
    const singles = othersOf(section, ["listed"]);
    const names = labelsOf(section, "listed");
    const chosen = choiceOf(page, section, "listed", 0);
    const figure = redrawOn(
      frame(place, {
        title: "What excites a neuron and what it promotes",
        caption:
          "By the weights alone, without a text. What is promoted: in nats after division by the " +
          "final sigma, times g.",
        label: `Lists of ${names.length} neurons: ${names.join(", ")}`,
        controls: [choose(chosen, "Neuron", names, 6)],
        draw: (area, width) => {
          const part = chosen.value;
          const all = lists.map((key) => barPanel(titleOf(key), entriesOf(section, key, part)));
          for (const key of gains)
            all.push(
              barPanel(
                key === "head_gain" ? "the most that a head can add" : titleOf(key),
                gainEntries(section, key, part)
              )
            );
          panels(area, width, all, { least: 280, most: 4 });
          if (singles.length)
            area.append(
              singles
                .map((key) => `${titleOf(key)} ${short(section.array(key).at(part))}`)
                .join(", ")
            );
        },
        table: () => tableOf(section, lists, gains, singles, chosen.value),
      }),
      [chosen]
    );
    return figure;
  },
};
