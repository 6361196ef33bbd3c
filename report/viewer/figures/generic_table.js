// Token ids as texts, and whatever no other figure draws: a table of the first entries.
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { longTable } from "../parts/labels.js";
import { number, visible } from "../parts/scales.js";
import { claim, claimedGroups, Cut, placeName, titleOf } from "./generic_plan.js";

const MOST = 200; // rows of a table that is a figure

function table(head, rows) {
  return el(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": "Entries" },
    el(
      "table",
      null,
      el(
        "thead",
        null,
        el(
          "tr",
          null,
          head.map((text) => el("th", { scope: "col" }, text))
        )
      ),
      el(
        "tbody",
        null,
        rows.slice(0, MOST).map((row) =>
          el(
            "tr",
            null,
            row.map((cell) => el("td", null, String(cell)))
          )
        )
      )
    ),
    rows.length > MOST ? el("p", { class: "note" }, `${rows.length - MOST} more rows.`) : null
  );
}

/** The texts of token ids: the second last axis down, the last across. */
function textsOf(cut) {
  const { section, group } = cut;
  const across = group.axes[group.axes.length - 1];
  const names = (a) =>
    Array.from({ length: cut.axis(a).n }, (_, i) => placeName(section, cut.axis(a).name, i));
  const text = (places) => {
    const id = cut.value(places);
    return id < 0 || Number.isNaN(id) ? "-" : visible(section.run.tokenText(id));
  };
  const line = (places) => names(across).map((_, i) => text({ ...places, [across]: i }));
  if (group.axes.length === 1) return { head: names(across), rows: [line({})] };
  const [down] = group.axes;
  return {
    head: [cut.axis(down).name, ...names(across)],
    rows: names(down).map((name, i) => [name, ...line({ [down]: i })]),
  };
}

function drawTexts(place, section, page, group) {
  const cut = new Cut(section, group, page);
  const figure = frame(place, {
    title: titleOf(group),
    label: `${titleOf(group)}: tokens`,
    controls: cut.controls(() => figure.redraw()),
    draw: (area) => {
      const { head, rows } = textsOf(cut);
      area.append(table(head, rows));
    },
    table: () => textsOf(cut),
  });
  cut.followRow(page, figure);
}

export const genericTexts = {
  name: "texts",
  match: (section) => claim(section, "texts", "Tokens"),
  draw(place, section, page, claimed) {
    for (const group of claimedGroups(section, "texts", claimed))
      drawTexts(place, section, page, group);
  },
};

/** The first entries of an array whose axes cannot be drawn: [[indices..., number]]. */
function entries(array) {
  const rows = [];
  for (let i = 0; i < Math.min(array.size, 1000); i++) {
    const indices = [];
    for (let a = array.shape.length - 1, left = i; a >= 0; a--) {
      indices.unshift(left % array.shape[a]);
      left = Math.floor(left / array.shape[a]);
    }
    rows.push([...indices, number(array.at(...indices))]);
  }
  return rows;
}

export const genericTable = {
  name: "table",
  match(section) {
    const arrays = [...section.arrays.values()]
      .filter((array) => !array.omitted && array.size > 0)
      .map((array) => array.key);
    return arrays.length ? { arrays, title: "Tables" } : null;
  },
  draw(place, section, page, claimed) {
    for (const key of claimed) {
      const array = section.array(key);
      if (!array) continue;
      const unique =
        new Set(array.axes).size === array.axes.length &&
        array.axes.every((name) => section.axis(name));
      const made = () =>
        unique
          ? longTable(section, [key])
          : {
              head: [...array.axes.map((name, a) => `${name || "axis"} ${a}`), key],
              rows: entries(array),
            };
      frame(place, {
        title: key,
        label: `${key}: a table of ${array.size} numbers`,
        draw: (area) => area.append(table(made().head, made().rows)),
        table: made,
      });
    }
  },
};
