// A ranked list, by any plugin: bars of the largest entries along an axis, and the sum of the rest.
import { bars } from "../parts/bars.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { number, short } from "../parts/scales.js";
import { claim, claimedGroups, Cut, placeName, titleOf } from "./generic_plan.js";

const MOST = 30;

/**
 * The largest entries along the axis at the chosen places: {entries: [{name, value}], others,
 * sum}.
 */
function rankedOf(cut) {
  const { section, array } = cut;
  const [at] = cut.group.axes;
  const { n, name: axis } = cut.axis(at);
  const isLast = array.axes.length - 1 === at;
  const prefix = cut.indices({}).slice(0, -1);
  const all = isLast
    ? array.top(...prefix)
    : Array.from({ length: n }, (_, index) => ({ index, value: cut.value({ [at]: index }) }))
        .filter(({ value }) => !Number.isNaN(value))
        .sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const entries = all
    .slice(0, MOST)
    .map(({ index, value }) => ({ name: placeName(section, axis, index), value }));
  const left = isLast ? array.rest(...prefix) : 0;
  return {
    entries,
    others: n - entries.length,
    sum: all.slice(MOST).reduce((total, { value }) => total + value, left),
  };
}

function tableRows(cut) {
  const { entries, others, sum } = rankedOf(cut);
  const rows = entries.map(({ name, value }) => [name, number(value)]);
  return others > 0 ? [...rows, [`${others} others`, number(sum)]] : rows;
}

function drawGroup(place, section, page, group) {
  const cut = new Cut(section, group, page);
  const axis = cut.axis(group.axes[0]);
  const figure = frame(place, {
    title: titleOf(group),
    label: `${titleOf(group)}: the largest of ${axis.n} ${axis.name}`,
    controls: cut.controls(() => figure.redraw()),
    draw: (area, width) => {
      const { entries, others, sum } = rankedOf(cut);
      bars(area, width, {
        labels: entries.map(({ name }) => name),
        label: cut.array.key,
        columns: [
          {
            name: [cut.array.key, cut.words].filter(Boolean).join(": "),
            values: entries.map(({ value }) => value),
          },
        ],
        tip: (i) => [entries[i].name, number(entries[i].value)],
      });
      if (others > 0)
        area.append(el("p", { class: "note" }, `${others} others sum to ${short(sum)}.`));
    },
    table: () => ({ head: [axis.name, cut.array.key], rows: tableRows(cut) }),
  });
  cut.followRow(page, figure);
}

export const genericBars = {
  name: "bars",
  match: (section) => claim(section, "bars", "Ranked"),
  draw(place, section, page, claimed) {
    for (const group of claimedGroups(section, "bars", claimed))
      drawGroup(place, section, page, group);
  },
};
