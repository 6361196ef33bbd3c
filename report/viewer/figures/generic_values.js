// What a plugin leaves beside arrays, and arrays of one number: a table of names and values.
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { number } from "../parts/scales.js";
import { claimedGroups, groupsOf } from "./generic_plan.js";

const MOST_OF_LIST = 50;
const LONG = 44; // characters of a name and its value that are below each other

function textOf(value) {
  if (Array.isArray(value)) {
    const shown = value.slice(0, MOST_OF_LIST).map(textOf).join(", ");
    return value.length > MOST_OF_LIST
      ? `${shown}, and ${value.length - MOST_OF_LIST} more`
      : shown;
  }
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null) return JSON.stringify(value);
  return number(value);
}

/** [[name, text]] of the section's values of these names and of its arrays with one element. */
function entriesOf(section, claimed, names) {
  const arrays = claimedGroups(section, "values", claimed).flatMap(({ keys }) => keys);
  return [
    ...names.map((key) => [key, textOf(section.values.get(key))]),
    ...arrays.map((key) => [key, number(section.array(key).at(0))]),
  ];
}

/** A line of the list; a long text is below its name. */
function lineOf([key, text]) {
  const isLong = text.length + key.length > LONG;
  return el("div", { class: isLong ? "long" : null }, el("dt", null, key), el("dd", null, text));
}

export const genericValues = {
  name: "values",
  match(section) {
    const arrays = groupsOf(section, "values").flatMap(({ keys }) => keys);
    return arrays.length || section.values.size
      ? { arrays, values: [...section.values.keys()], title: "Values" }
      : null;
  },
  draw(place, section, page, claimed, names) {
    const entries = entriesOf(section, claimed, names);
    frame(place, {
      title: "Values",
      label: `${entries.length} values`,
      draw: (area) => area.append(el("dl", { class: "value-list" }, entries.map(lineOf))),
      table: () => ({ head: ["name", "value"], rows: entries }),
    });
  },
};
