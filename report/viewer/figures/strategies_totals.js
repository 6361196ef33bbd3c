// Sampling strategies over a corpus: means of what each keeps, and of how alike two are. Matches
// the arrays of the figure of a run with "scopes" in place of "rows".
import { bars } from "../parts/bars.js";
import { choiceOf, choose, chooseAny, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { number, short } from "../parts/scales.js";
import { EACH, PAIRS } from "./strategies_figure.js";

function keysOf(section, names, axes) {
  return Object.keys(names).filter(
    (key) => section.has(key, axes) && !section.array(key).omitted
  );
}

const eachKeys = (section) => keysOf(section, EACH, ["scopes", "strategies"]);
const pairKeys = (section) => keysOf(section, PAIRS, ["scopes", "strategies", "others"]);

/** The control of the rows that are counted. */
function rowsControl(section, scope) {
  const names = labelsOf(section, "scopes").map((name) => name.replace(/_/g, " "));
  return names.length > 1 ? [choose(scope, "Rows", names)] : [];
}

function eachFrame(place, section, scope) {
  const keys = eachKeys(section);
  const names = labelsOf(section, "strategies");
  const read = (key, s) => section.array(key).at(scope.value, s);
  redrawOn(
    frame(place, {
      title: "What each strategy keeps on average",
      label: `Means of what ${names.length} strategies keep`,
      controls: rowsControl(section, scope),
      draw: (area, width) =>
        bars(area, width, {
          labels: names,
          columns: keys.map((key) => ({
            name: EACH[key],
            values: names.map((_, s) => read(key, s)),
            own: true,
          })),
          label: "Means of what each strategy keeps",
          tip: (s) => [names[s], ...keys.map((key) => `${EACH[key]}: ${number(read(key, s))}`)],
        }),
      table: () => longTable(section, keys),
    }),
    [scope]
  );
}

function pairsFrame(place, section, page, scope) {
  const keys = pairKeys(section);
  const names = labelsOf(section, "strategies");
  const others = labelsOf(section, "others");
  const chosen = choiceOf(page, section, "pair quantity", 0);
  const read = (r, c) => section.array(keys[chosen.value]).at(scope.value, r, c);
  redrawOn(
    frame(place, {
      title: "How alike two strategies are on average",
      label: `Means over pairs of ${names.length} strategies`,
      controls: [
        chooseAny(
          chosen,
          "show",
          keys.map((key) => PAIRS[key])
        ),
        ...rowsControl(section, scope),
      ].filter(Boolean),
      draw: (area, width) =>
        heatmap(area, width, {
          rows: names,
          columns: others,
          value: read,
          scale: section.isDifference
            ? colorScale(
                names.flatMap((_, r) => others.map((__, c) => read(r, c))),
                { signed: true }
              )
            : colorScale({ low: 0, high: 1 }),
          legend: PAIRS[keys[chosen.value]],
          text: (r, c) => short(read(r, c)),
          wholeTexts: true,
          minCell: 20,
          maxCell: 104,
          cellHeight: 24,
          label: `${PAIRS[keys[chosen.value]]} of ${names.length} strategies`,
          tip: (r, c) => [
            `${names[r]} and ${others[c]}`,
            `${PAIRS[keys[chosen.value]]}: ${number(read(r, c))}`,
          ],
        }),
      table: () => longTable(section, keys),
    }),
    [chosen, scope]
  );
}

export const strategiesTotals = {
  name: "strategies-totals",
  match(section) {
    const keys = [...eachKeys(section), ...pairKeys(section)];
    return keys.length ? { arrays: keys, title: "Sampling strategies" } : null;
  },
  draw(place, section, page) {
    const scopes = section.axis("scopes");
    const scope = choiceOf(page, section, "strategy rows", Math.max(0, scopes.n - 1));
    if (eachKeys(section).length) eachFrame(place, section, scope);
    if (pairKeys(section).length) pairsFrame(place, section, page, scope);
  },
};
