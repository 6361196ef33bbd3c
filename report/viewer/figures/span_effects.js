// Effects between units of a text: links (from, to and their strengths), what each unit is needed
// for, and the units of one span.
import { bars } from "../parts/bars.js";
import { choice } from "../parts/choice.js";
import { chooseAny, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { el } from "../parts/dom.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { lines } from "../parts/lines.js";
import { linkChart } from "../parts/link_chart.js";
import { number, visible } from "../parts/scales.js";

const FIRST_LINKS = 40;
const MOST_LINKS = 400;
const WORDS = {
  kl: "KL, knock-out (nats)",
  frozen_kl: "KL, frozen (nats)",
  dlogp_next: "log p' - log p of the next token",
};

const words = (key) => WORDS[key] || key.replace(/_/g, " ");
const axesOf = (array) => array.axes.join();
const isUsable = (array) => !array.omitted && array.dtype !== "I32";

function has(section, key, axes) {
  const array = section.array(key);
  return Boolean(array) && !array.omitted && axesOf(array) === axes;
}

const hasLinks = (section) =>
  has(section, "from", "links") && has(section, "to", "links") && strengthsOf(section).length > 0;

/** The arrays that say how strong a link is. */
function strengthsOf(section) {
  return [...section.arrays.values()].filter(
    (array) => isUsable(array) && axesOf(array) === "links" && /kl$/.test(array.key)
  );
}

/** All links whose numbers the page has: [{from, to (units of the sequence), index}]. */
function linksOf(section, sequence, strength) {
  const [from, to] = [section.array("from"), section.array("to")];
  const found = [];
  for (const { index } of strength.top({})) {
    if (!from.isKept(index) || !to.isKept(index)) continue;
    const [a, b] = [sequence.unitOf.get(from.at(index)), sequence.unitOf.get(to.at(index))];
    if (a !== undefined && b !== undefined) found.push({ from: a, to: b, index });
  }
  return found;
}

/** A slider of how many links are shown. */
function slider(count, chosen) {
  const shown = el("output", null, String(Math.min(count, chosen.value)));
  const input = el("input", {
    type: "range",
    min: 1,
    max: Math.min(count, MOST_LINKS),
    value: Math.min(count, chosen.value),
    "aria-label": "links shown",
    on: {
      input: () => {
        shown.textContent = input.value;
        chosen.set(Number(input.value));
      },
    },
  });
  chosen.on((value) => {
    input.value = value;
    shown.textContent = String(value);
  });
  return el("label", { class: "pick" }, "strongest links ", input, shown);
}

/** What the frame of links shows now. */
class LinksShown {
  constructor(section, trees, chosen) {
    Object.assign(this, { section, trees, chosen });
    this.strengths = strengthsOf(section);
    this.measures = [...section.arrays.values()].filter(
      (array) => isUsable(array) && axesOf(array) === "links"
    );
  }
  get sequence() {
    return this.trees.sequences[this.chosen.sequence.value] || this.trees.sequences[0];
  }
  get strength() {
    return this.strengths[this.chosen.strength.value] || this.strengths[0];
  }
  get links() {
    return linksOf(this.section, this.sequence, this.strength);
  }
  text(unit) {
    return this.sequence.units[unit].text;
  }
  numbers({ index }) {
    return this.measures.map((array) => `${words(array.key)} ${number(array.at(index))}`);
  }
}

function drawLinks(area, width, page, shown) {
  const { units, id } = shown.sequence;
  const of = shown.strength;
  const sign = shown.section.array("dlogp_next");
  const links = shown.links.slice(0, shown.chosen.count.value).map((link) => ({
    ...link,
    weight: Math.abs(of.at(link.index)),
    sign: sign && !sign.omitted ? -sign.at(link.index) || 1 : 1,
  }));
  const row = (unit) => shown.trees.rowOf(id, units[unit].last);
  const chart = linkChart(area, width, {
    units,
    links,
    label: `the ${links.length} strongest links; arrow keys move between them`,
    tip: (link) => [
      `“${shown.text(link.from)}” → “${shown.text(link.to)}”`,
      ...shown.numbers(link),
    ],
    onUnit: (unit, isClick) =>
      isClick ? page.selection.lock(row(unit)) : page.selection.set(row(unit)),
  });
  follow(page, area, (selected) => {
    const at = shown.trees.placeOf(selected);
    chart.mark(at && shown.trees.sequences[at.sequence].id === id ? at.unit : -1);
  });
}

function tableOfLinks(shown) {
  const [from, to] = [shown.section.array("from"), shown.section.array("to")];
  return {
    head: ["from", "unit", "to", "unit", ...shown.measures.map(({ key }) => key)],
    rows: shown.links.map((link) => [
      from.at(link.index),
      shown.text(link.from),
      to.at(link.index),
      shown.text(link.to),
      ...shown.measures.map((array) => number(array.at(link.index))),
    ]),
  };
}

function linksFrame(place, section, page, trees, chosen) {
  const shown = new LinksShown(section, trees, chosen);
  const figure = frame(place, {
    title: "Links between units",
    label: "links between units: what a prediction owes to reading an earlier unit",
    caption:
      "An arc goes from a unit to a later one whose prediction changes when it may not read the " +
      "first. Blue: the read made the next token likelier; orange: less likely.",
    controls: [
      chooseAny(
        chosen.sequence,
        "sequence",
        trees.sequences.map(({ id }) => String(id))
      ),
      chooseAny(
        chosen.strength,
        "strength",
        shown.strengths.map(({ key }) => words(key))
      ),
      slider(Math.max(1, section.array("from").size), chosen.count),
    ].filter(Boolean),
    draw: (area, width) => drawLinks(area, width, page, shown),
    table: () => tableOfLinks(shown),
  });
  redrawOn(figure, [chosen.sequence, chosen.strength, chosen.count]);
}

/** Arrays [units, units]: how much spans that end in a unit need each unit. */
function pairsFrame(place, section, page, trees, array) {
  const { units, id } = trees.sequences[0];
  const texts = units.map(({ text }) => visible(text));
  const row = (u) => trees.rowOf(id, units[u].last);
  frame(place, {
    title:
      array.key === "necessity_of" ? "Necessity of each unit (nats)" : array.key.replace(/_/g, " "),
    label: `${array.key} of ${units.length} by ${units.length} units`,
    caption:
      array.key === "necessity_of"
        ? "How much the rows after a span change when they may not read a " +
          "unit of it. Down: the unit in which the span ends; across: the unit."
        : null,
    draw: (area, width) => {
      const values = [...(array.values() || [])].filter((value) => !Number.isNaN(value));
      heatmap(area, width, {
        rows: texts,
        columns: texts,
        value: (r, c) => array.at(r, c),
        scale: colorScale(values.length ? values : array.range(), { signed: section.isDifference }),
        legend: array.key.replace(/_/g, " "),
        label: array.key,
        minCell: 6,
        cellHeight: units.length > 60 ? 8 : 15,
        tip: (r, c) => [
          `spans that end in “${units[r].text}”`,
          `need “${units[c].text}”`,
          number(array.at(r, c)),
        ],
        onEnter: (_, c) => page.selection.set(row(c)),
        onPick: (_, c) => page.selection.lock(row(c)),
      });
    },
    table: () => ({
      head: ["ends in", "unit", array.key],
      rows: units
        .flatMap((one, r) => units.map((other, c) => [one, other, array.at(r, c)]))
        .filter(([, , value]) => value !== 0 && !Number.isNaN(value))
        .map(([one, other, value]) => [
          `${one.last} ${one.text}`,
          `${other.last} ${other.text}`,
          number(value),
        ]),
    }),
  });
}

/** Arrays over the units of one span ([of_units] and [levels, of_units]) as aligned bars. */
function ofFrame(place, section, arrays) {
  const axis = section.axis("of_units");
  const labels = Array.from({ length: axis.n }, (_, i) => axis.label(i));
  const columns = arrays
    .flatMap((array) => {
      const name = array.key.replace(/^of_/, "").replace(/_/g, " ");
      if (array.axes.length === 1) return [{ name, values: labels.map((_, i) => array.at(i)) }];
      return Array.from({ length: section.axis("levels").n }, (_, level) => ({
        name: `${name}, level ${section.axis("levels").label(level)}`,
        values: labels.map((_, i) => array.at(level, i)),
      }));
    })
    .map((column) => ({
      ...column,
      most: Math.max(1e-30, ...column.values.filter(Number.isFinite).map(Math.abs)),
    }));
  frame(place, {
    title: `Units of the span ${section.options.of || ""}`.trim(),
    label: `${columns.length} measures of the ${labels.length} units of a span`,
    caption: "Necessity and sufficiency in nats; every column has a scale of its own.",
    draw: (area, width) => {
      const most = Math.max(1, Math.floor(width / 190));
      for (let k = 0; k < columns.length; k += most)
        bars(area, width, {
          labels,
          columns: columns.slice(k, k + most),
          label: "units of the span",
          tip: (i) => [
            labels[i],
            ...columns.map(({ name, values }) => `${name} ${number(values[i])}`),
          ],
        });
    },
    table: () => ({
      head: ["unit", ...columns.map(({ name }) => name)],
      rows: labels.map((label, i) => [label, ...columns.map(({ values }) => number(values[i]))]),
    }),
  });
}

/** Arrays [levels, positions] as one line per level over the tokens. */
function positionsFrame(place, section, page, trees, array) {
  const axis = section.axis("positions");
  const levels = Array.from({ length: section.axis("levels").n }, (_, l) =>
    section.axis("levels").label(l)
  );
  const { id } = trees.sequences[0];
  const row = (i) => trees.rowOf(id, axis.number(i));
  const names = Array.from(
    { length: axis.n },
    (_, i) => visible(trees.textOf(id, axis.number(i), axis.number(i))) || axis.label(i)
  );
  frame(place, {
    title: array.key === "closed" ? "Closure" : array.key.replace(/_/g, " "),
    label: `${array.key} of ${levels.length} levels at ${axis.n} positions`,
    caption:
      array.key === "closed"
        ? "How little later rows read the piece before a token: near 0 where its word is over."
        : null,
    draw: (area, width) => {
      const drawn = lines(area, width, {
        x: { name: "token", labels: names },
        y: { name: array.key },
        series: levels.map((label, l) => ({
          name: `level ${label}`,
          values: names.map((_, i) => array.at(l, i)),
          points: names.length <= 60,
        })),
        label: array.key,
        onEnter: (i) => row(i) !== null && page.selection.set(row(i)),
        onPick: (i) => row(i) !== null && page.selection.lock(row(i)),
      });
      follow(page, area, (selected) =>
        drawn.highlight(names.findIndex((_, i) => row(i) === selected && selected !== null))
      );
    },
    table: () => ({
      head: ["position", "token", ...levels.map((label) => `level ${label}`)],
      rows: names.map((name, i) => [
        axis.label(i),
        name,
        ...levels.map((_, l) => number(array.at(l, i))),
      ]),
    }),
  });
}

const isOfUnits = (array) => isUsable(array) && /^(levels,)?of_units$/.test(axesOf(array));
const isPairs = (array) => isUsable(array) && axesOf(array) === "units,units";
const isPositions = (array) => isUsable(array) && axesOf(array) === "levels,positions";

/** The keys of a section's arrays that drawEffects() draws. */
export function effectKeys(section) {
  return [...section.arrays.values()]
    .filter(
      (array) =>
        isOfUnits(array) ||
        isPositions(array) ||
        isPairs(array) ||
        (axesOf(array) === "links" && hasLinks(section))
    )
    .map(({ key }) => key);
}

/** Draws the effects between the units of a section's trees. */
export function drawEffects(place, section, page, trees) {
  const of = (name, first) => choice(page, `span effects ${section.name}: ${name}`, first);
  const arrays = [...section.arrays.values()];
  if (hasLinks(section))
    linksFrame(place, section, page, trees, {
      sequence: choice(page, `spans ${section.name}: sequence`, 0),
      strength: of("strength", 0),
      count: of("count", FIRST_LINKS),
    });
  for (const array of arrays.filter(isPairs)) pairsFrame(place, section, page, trees, array);
  for (const array of arrays.filter(isPositions))
    positionsFrame(place, section, page, trees, array);
  if (arrays.some(isOfUnits)) ofFrame(place, section, arrays.filter(isOfUnits));
}
