// Sampling strategies: what each keeps of the distribution, how far it moves it, and how alike two
// strategies are.
import { bars } from "../parts/bars.js";
import { chooseAny, choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { rowFrame } from "../parts/row_frame.js";
import { axisLabels, rowMap, rowMapTable } from "../parts/row_map.js";
import { rowTitle } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";

/** What one strategy does, and what two have in common: array -> what it is. */
export const EACH = { size: "tokens kept", mass: "probability kept",
  kl: "KL(drawn ‖ model) (nats)" };
export const PAIRS = { overlap: "overlap of the distributions",
  agreement: "chance that two draws are the same token", same_set: "the same tokens kept" };

function eachKeys(section) {
  return Object.keys(EACH).filter((key) => section.has(key, ["rows", "strategies"]));
}

function pairKeys(section) {
  return Object.keys(PAIRS).filter((key) => section.has(key, ["rows", "strategies", "others"]));
}

function atRow(place, section, page) {
  const keys = eachKeys(section);
  const rows = section.axis("rows");
  const names = axisLabels(section.axis("strategies"));
  const read = (key, i) => names.map((_, s) => section.array(key).at(i, s));
  rowFrame(place, page, {
    axis: rows,
    title: "What each strategy keeps",
    label: `What ${names.length} strategies keep`,
    draw: (area, width, i) => {
      const row = rowTitle(section.run, rows.number(i));
      area.append(el("p", { class: "which" }, row));
      bars(area, width, {
        labels: names,
        columns: keys.map((key) => ({ name: EACH[key], values: read(key, i), own: true })),
        label: `${row}: ` + names.map((name, s) =>
          `${name} keeps ${short(section.array(keys[0]).at(i, s))}`).join(", "),
        tip: (s) => [names[s], ...keys.map((key) =>
          `${EACH[key]}: ${number(section.array(key).at(i, s))}`)],
      });
    },
    table: (i) => ({ head: ["strategy", ...keys],
      rows: names.map((name, s) =>
        [name, ...keys.map((key) => number(section.array(key).at(i, s)))]) }),
  });
}

function overRows(place, section, page) {
  const keys = eachKeys(section);
  const chosen = choiceOf(page, section, "strategy quantity", 0);
  const given = () => ({ lines: section.axis("strategies"), rows: section.axis("rows"),
    name: EACH[keys[chosen.value]],
    at: (s, i) => section.array(keys[chosen.value]).at(i, s) });
  redrawOn(frame(place, {
    title: "Over the rows",
    label: "What the strategies keep at every row",
    controls: [chooseAny(chosen, "show", keys.map((key) => EACH[key]))].filter(Boolean),
    draw: (area, width) => rowMap(area, width, section, page, given()),
    table: () => rowMapTable(section, given()),
  }), [chosen]);
}

function drawPairs(area, width, section, key, i) {
  const names = axisLabels(section.axis("strategies"));
  const others = axisLabels(section.axis("others"));
  const value = (r, c) => section.array(key).at(i, r, c);
  const values = names.flatMap((_, r) => others.map((__, c) => value(r, c)));
  area.append(el("p", { class: "which" },
    rowTitle(section.run, section.axis("rows").number(i))));
  heatmap(area, width, {
    rows: names,
    columns: others,
    value,
    scale: colorScale(section.isDifference ? values : { low: 0, high: 1 },
      { signed: section.isDifference }),
    legend: PAIRS[key],
    text: (r, c) => short(value(r, c)),
    wholeTexts: true,
    minCell: 20, maxCell: 104, cellHeight: 24,
    label: `${PAIRS[key]} of ${names.length} strategies`,
    tip: (r, c) => [`${names[r]} and ${others[c]}`, `${PAIRS[key]}: ${number(value(r, c))}`],
  });
}

function pairs(place, section, page) {
  const keys = pairKeys(section);
  const names = axisLabels(section.axis("strategies"));
  const chosen = choiceOf(page, section, "pair quantity", 0);
  redrawOn(rowFrame(place, page, {
    axis: section.axis("rows"),
    title: "How alike two strategies are",
    label: `${names.length} strategies in pairs`,
    controls: [chooseAny(chosen, "show", keys.map((key) => PAIRS[key]))].filter(Boolean),
    draw: (area, width, i) => drawPairs(area, width, section, keys[chosen.value], i),
    table: (i) => ({ head: ["strategy", ...axisLabels(section.axis("others"))],
      rows: names.map((name, r) => [name, ...names.map((_, c) =>
        number(section.array(keys[chosen.value]).at(i, r, c)))]) }),
  }), [chosen]);
}

export const strategiesFigure = {
  name: "strategies",
  match(section) {
    const keys = [...eachKeys(section), ...pairKeys(section)];
    return keys.length ? { arrays: keys, title: "Sampling strategies" } : null;
  },
  draw(place, section, page) {
    if (eachKeys(section).length) {
      atRow(place, section, page);
      if (section.axis("rows").n > 1) overRows(place, section, page);
    }
    if (pairKeys(section).length) pairs(place, section, page);
  },
};
