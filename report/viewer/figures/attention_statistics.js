// Statistics of heads: arrays over layers and heads, then named statistics, rows, or both. One heat
// map of layers by heads, a curve over the rows of one head, and the text tinted by what is drawn
// from each token.
import { choice } from "../parts/choice.js";
import { chooseAny } from "../parts/choose.js";
import { colorScale, legend } from "../parts/colorscale.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { lines } from "../parts/lines.js";
import { indexOfRow, rowText, rowTexts } from "../parts/rows.js";
import { number, short } from "../parts/scales.js";
import { tinted } from "../parts/tinted.js";

const MOST_NAMES = 40; // an axis with more labels is no list of statistics
const OFFSETS = "offsets";

/** What kind of statistic an array is: "named", "rows", "rows named", "offsets" or null. */
function kindOf(section, array) {
  const [layers, heads, third, fourth] = array.axes;
  if (layers !== "layers" || heads !== "heads" || array.omitted || array.dtype === "I32")
    return null;
  const isNames = (name) => !section.axis(name).isNumbers && section.axis(name).n <= MOST_NAMES;
  if (array.axes.length === 3 && isNames(third)) return "named";
  if (array.axes.length === 3 && third === OFFSETS) return "offsets";
  if (array.axes.length === 3 && third === "rows") return "rows";
  if (array.axes.length === 4 && third === "rows" && isNames(fourth)) return "rows named";
  return null;
}

const arraysOf = (section, kind) =>
  [...section.arrays.values()].filter((array) => kindOf(section, array) === kind);

const namesOf = (section, axis) =>
  Array.from({ length: section.axis(axis).n }, (_, i) => section.axis(axis).label(i));

/** A name as words: "same_token" -> "same token". */
const words = (name) => name.replace(/_/g, " ");

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** The heads of a section in order: [{layer, head, label}]. */
function headsOf(section) {
  const found = [];
  for (let layer = 0; layer < section.axis("layers").n; layer++)
    for (let head = 0; head < section.axis("heads").n; head++)
      found.push({
        layer,
        head,
        label: `L${section.axis("layers").label(layer)}H${section.axis("heads").label(head)}`,
      });
  return found;
}

/** The statistics that the heat map can show: [{name, at(layer, head), array}]. */
function mapsOf(section) {
  return arraysOf(section, "named").flatMap((array) =>
    namesOf(section, array.axes[2]).map((name, i) => ({
      name: `${words(array.key)}: ${words(name)}`,
      array,
      at: (layer, head) => array.at(layer, head, i),
    }))
  );
}

function mapFrame(place, section, page, chosen) {
  const maps = mapsOf(section);
  const heads = headsOf(section);
  const figure = frame(place, {
    title: "Statistics of heads",
    label: `${maps.length} statistics of ${heads.length} heads, layers down, heads across`,
    caption: "Layers down, heads across. A click chooses the head of the other figures.",
    controls: [
      chooseAny(
        chosen.map,
        "statistic",
        maps.map(({ name }) => name)
      ),
    ].filter(Boolean),
    draw: (area, width) => {
      const map = maps[chosen.map.value] || maps[0];
      const values = heads.map(({ layer, head }) => map.at(layer, head));
      const scale = colorScale(
        values.filter((value) => !Number.isNaN(value)),
        { signed: section.isDifference }
      );
      const n = section.axis("heads").n;
      heatmap(area, width, {
        rows: namesOf(section, "layers").map((label) => `L${label}`),
        columns: namesOf(section, "heads").map((label) => `H${label}`),
        value: (r, c) => map.at(r, c),
        text: (r, c) => short(map.at(r, c)),
        scale,
        maxCell: 90,
        legend: map.name,
        label: `${map.name}, layers by heads`,
        tip: (r, c) => [heads[r * n + c].label, `${map.name} ${number(map.at(r, c))}`],
        onPick: (r, c) => chosen.head.set(r * n + c),
      });
    },
    table: () => ({
      head: ["head", ...maps.map(({ name }) => name)],
      rows: heads.map(({ layer, head, label }) => [
        label,
        ...maps.map(({ at }) => number(at(layer, head))),
      ]),
    }),
  });
  chosen.map.on(() => figure.redraw());
}

/** The mean over all heads of at(layer, head); heads without the number are left out. */
function meanOver(heads, at) {
  let sum = 0;
  let n = 0;
  for (const { layer, head } of heads) {
    const value = at(layer, head);
    if (!Number.isNaN(value)) [sum, n] = [sum + value, n + 1];
  }
  return n ? sum / n : NaN;
}

const headPicker = (heads, chosen) =>
  chooseAny(
    chosen.head,
    "head",
    heads.map(({ label }) => label)
  );

/** The curve of one head over rows or offsets, beside the mean over all heads. */
function curve(area, width, page, given) {
  const { heads, chosen, axis, at, name, section } = given;
  const { layer, head, label } = heads[chosen.head.value] || heads[0];
  const isRows = given.isRows && section.run.tokens.length > 0;
  const values = (of) => Array.from({ length: axis.n }, (_, i) => of(i));
  const drawn = lines(area, width, {
    x: isRows
      ? { name: "row", labels: rowTexts(section.run, axis) }
      : { name: axis.name, values: values((i) => axis.number(i)) },
    y: { name },
    series: [
      { name: label, values: values((i) => at(layer, head, i)), points: axis.n <= 60 },
      {
        name: "mean of all heads",
        dash: true,
        color: "var(--muted)",
        values: values((i) => meanOver(heads, (l, h) => at(l, h, i))),
      },
    ],
    label: `${name} of ${label} over ${axis.name}`,
    onEnter: isRows ? (i) => page.selection.set(axis.number(i)) : null,
    onPick: isRows ? (i) => page.selection.lock(axis.number(i)) : null,
  });
  if (isRows) follow(page, area, (row) => drawn.highlight(indexOfRow(axis, row)));
}

function rowsFrame(place, section, page, chosen, array) {
  const heads = headsOf(section);
  const axis = section.axis("rows");
  const names = namesOf(section, array.axes[3]);
  const figure = frame(place, {
    title: `${capital(words(array.key))} by row`,
    label: `${names.length} statistics of one head over ${axis.n} rows`,
    controls: [
      headPicker(heads, chosen),
      chooseAny(chosen.name, "statistic", names.map(words)),
    ].filter(Boolean),
    draw: (area, width) =>
      curve(area, width, page, {
        section,
        heads,
        chosen,
        axis,
        isRows: true,
        name: words(names[chosen.name.value]),
        at: (l, h, i) => array.at(l, h, i, chosen.name.value),
      }),
    table: () => {
      const { layer, head, label } = heads[chosen.head.value] || heads[0];
      return {
        head: ["row", "token", ...names.map((name) => `${label} ${words(name)}`)],
        rows: Array.from({ length: axis.n }, (_, i) => [
          axis.label(i),
          rowText(section.run, axis.number(i)),
          ...names.map((_, s) => number(array.at(layer, head, i, s))),
        ]),
      };
    },
  });
  for (const setting of [chosen.head, chosen.name]) setting.on(() => figure.redraw());
}

function offsetsFrame(place, section, page, chosen, array) {
  const heads = headsOf(section);
  const axis = section.axis(array.axes[2]);
  const figure = frame(place, {
    title: capital(words(array.key)),
    label: `${words(array.key)} of one head over ${axis.n} offsets`,
    controls: [headPicker(heads, chosen)].filter(Boolean),
    draw: (area, width) =>
      curve(area, width, page, {
        section,
        heads,
        chosen,
        axis,
        isRows: false,
        name: words(array.key),
        at: (l, h, i) => array.at(l, h, i),
      }),
    table: () => ({
      head: [axis.name, ...heads.map(({ label }) => label)],
      rows: Array.from({ length: axis.n }, (_, i) => [
        axis.label(i),
        ...heads.map(({ layer, head }) => number(array.at(layer, head, i))),
      ]),
    }),
  });
  chosen.head.on(() => figure.redraw());
}

/** Text tinted by a number per row: of the mean over heads, or of one head. */
function textFrame(place, section, page, chosen, array) {
  const heads = headsOf(section);
  const axis = section.axis("rows");
  const run = section.run;
  const means = Array.from({ length: axis.n }, (_, i) =>
    meanOver(heads, (l, h) => array.at(l, h, i))
  );
  const valueOf = () => {
    const one = heads[chosen.text.value - 1];
    return one ? (i) => array.at(one.layer, one.head, i) : (i) => means[i];
  };
  const figure = frame(place, {
    title:
      array.key === "attracts"
        ? "Attention drawn by each token"
        : `${capital(words(array.key))} by token`,
    caption:
      array.key === "attracts"
        ? "Sum of the weights of all later rows, divided by their number. The last row has none."
        : null,
    label: `${axis.n} tokens tinted by ${words(array.key)}`,
    controls: [
      chooseAny(chosen.text, "head", ["mean of all heads", ...heads.map(({ label }) => label)]),
    ].filter(Boolean),
    draw: (area, width) => {
      const value = valueOf();
      const values = Array.from({ length: axis.n }, (_, i) => value(i));
      const scale = colorScale(
        values.filter((v) => !Number.isNaN(v)),
        { signed: section.isDifference }
      );
      const text = tinted(area, width, {
        tokens: rowTexts(run, axis),
        value,
        scale,
        label: `text tinted by ${words(array.key)}`,
        tip: (i) => [
          `${axis.label(i)} “${rowText(run, axis.number(i))}”`,
          `${words(array.key)} ${number(value(i))}`,
        ],
        onEnter: (i) => page.selection.set(axis.number(i)),
        onPick: (i) => page.selection.lock(axis.number(i)),
      });
      area.append(legend(scale, words(array.key)));
      follow(page, area, (row) => text.highlight(indexOfRow(axis, row)));
    },
    table: () => ({
      head: ["row", "token", "mean of all heads", ...heads.map(({ label }) => label)],
      rows: Array.from({ length: axis.n }, (_, i) => [
        axis.label(i),
        rowText(run, axis.number(i)),
        number(means[i]),
        ...heads.map(({ layer, head }) => number(array.at(layer, head, i))),
      ]),
    }),
  });
  chosen.text.on(() => figure.redraw());
}

/** Ties the head of the curves to the head that other figures of the page show. */
function shareHead(page, section, chosen) {
  const labels = headsOf(section).map(({ label }) => label);
  const shared = choice(page, "head", "");
  chosen.on((index) => shared.set(labels[index]));
  shared.on((label) => labels.includes(label) && chosen.set(labels.indexOf(label)));
}

export const attentionStatistics = {
  name: "attention_statistics",
  match(section) {
    const found = [...section.arrays.values()].filter((array) => kindOf(section, array));
    return found.length ? { arrays: found.map((array) => array.key), title: "Heads" } : null;
  },
  draw(place, section, page, claimed) {
    const of = (name) => choice(page, `statistics of heads ${section.name}: ${name}`, 0);
    const chosen = { map: of("map"), head: of("head"), name: of("name"), text: of("text") };
    shareHead(page, section, chosen.head);
    const has = (kind) => arraysOf(section, kind).filter((array) => claimed.includes(array.key));
    if (has("named").length) mapFrame(place, section, page, chosen);
    for (const array of has("rows named")) rowsFrame(place, section, page, chosen, array);
    for (const array of has("rows")) textFrame(place, section, page, chosen, array);
    for (const array of has("offsets")) offsetsFrame(place, section, page, chosen, array);
  },
};
