// Scores of many candidates with their intervals: trees, spans. Matches arrays of one label axis
// ([trees]), and [trees, bounds] whose bounds are a value and its two ends.
import { bars } from "../parts/bars.js";
import { choiceOf, chooseList, redrawOn } from "../parts/choose.js";
import { frame } from "../parts/frame.js";
import { intervals } from "../parts/intervals.js";
import { labelsOf, longTable } from "../parts/labels.js";
import { short } from "../parts/scales.js";

const SHOWN = 50;

/** The axis "bounds" with the labels value, low, high. */
function isBounded(section, array) {
  return (
    array.axes.length === 2 &&
    !array.omitted &&
    array.axes[1] === "bounds" &&
    ["value", "low", "high"].every((label) => section.axis("bounds").indexOf(label) >= 0)
  );
}

/** The arrays of an axis: {axis, single: [keys], bounded: [keys]}. */
function groupsOf(section) {
  const bounded = [...section.arrays.values()].filter((array) => isBounded(section, array));
  return [...new Set(bounded.map((array) => array.axes[0]))].map((axis) => ({
    axis,
    bounded: bounded.filter((array) => array.axes[0] === axis).map((array) => array.key),
    single: [...section.arrays.values()]
      .filter((array) => section.has(array.key, [axis]))
      .map((array) => array.key),
  }));
}

function nameOf(key) {
  return key.replace(/_/g, " ");
}

function singleFrame(place, section, page, group) {
  const labels = labelsOf(section, group.axis);
  const order = choiceOf(page, section, `scores_${group.axis}`, 0);
  redrawOn(
    frame(place, {
      title: `Scores of the ${group.axis}`,
      label: `Scores of ${labels.length} ${group.axis}: ${group.single.map(nameOf).join(", ")}`,
      controls: [
        chooseList(order, "Order", [
          "as computed",
          ...group.single.map((key) => `by ${nameOf(key)}`),
        ]),
      ],
      draw: (area, width) => {
        const places = labels.map((_, i) => i);
        if (order.value) {
          const array = section.array(group.single[order.value - 1]);
          places.sort((a, b) => (array.at(b) || 0) - (array.at(a) || 0) || a - b);
        }
        const shown = places.slice(0, SHOWN);
        const columns = group.single.map((key) => ({
          name: nameOf(key),
          values: shown.map((i) => section.array(key).at(i)),
        }));
        bars(area, width, {
          labels: shown.map((i) => labels[i]),
          columns,
          label: `Scores of ${group.axis}`,
          tip: (i) => [
            labels[shown[i]],
            ...columns.map((one) => `${one.name}  ${short(one.values[i])}`),
          ],
        });
      },
      table: () => longTable(section, group.single),
    }),
    [order]
  );
}

function boundedFrame(place, section, group, key) {
  const array = section.array(key);
  const at = (label) => section.axis("bounds").indexOf(label);
  const labels = labelsOf(section, group.axis);
  const entries = labels.map((_, i) => ({
    middle: array.at(i, at("value")),
    low: array.at(i, at("low")),
    high: array.at(i, at("high")),
  }));
  const shown = entries
    .map((_, i) => i)
    .filter((i) => !Number.isNaN(entries[i].middle))
    .slice(0, SHOWN);
  if (!shown.length) return;
  frame(place, {
    title: nameOf(key),
    caption: "Dot: the value. Thick line: its interval.",
    label: `${nameOf(key)} of ${shown.length} ${group.axis} with intervals`,
    draw: (area, width) =>
      intervals(area, Math.min(width, 860), {
        labels: shown.map((i) => labels[i]),
        entries: shown.map((i) => entries[i]),
        names: ["value", "interval"],
        title: nameOf(key),
        zero: true,
        label: `${nameOf(key)} with intervals`,
      }),
    table: () => longTable(section, [key]),
  });
}

export const scores = {
  name: "scores",
  match(section) {
    const groups = groupsOf(section);
    if (!groups.length) return null;
    return {
      arrays: groups.flatMap((group) => [...group.single, ...group.bounded]),
      title: "Scores",
    };
  },
  draw(place, section, page) {
    for (const group of groupsOf(section)) {
      if (group.single.length) singleFrame(place, section, page, group);
      for (const key of group.bounded) boundedFrame(place, section, group, key);
    }
  },
};
