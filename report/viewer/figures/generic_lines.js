// Numbers along an axis of numbers, by any plugin: a line per array.
import { frame } from "../parts/frame.js";
import { longTable } from "../parts/labels.js";
import { lines } from "../parts/lines.js";
import { claim, claimedGroups, titleOf } from "./generic_plan.js";

const MOST_LINES = 6; // per frame

function drawGroup(place, section, at, keys) {
  const axis = section.array(keys[0]).axes[at];
  const x = section.axis(axis);
  const flat = (key) => {
    const array = section.array(key);
    return Array.from({ length: x.n }, (_, i) =>
      array.at(...array.axes.map((_, a) => (a === at ? i : 0)))
    );
  };
  frame(place, {
    title: titleOf({ keys }),
    label: `${titleOf({ keys })} along ${x.n} ${axis}`,
    draw: (area, width) =>
      lines(area, width, {
        height: 220,
        label: `${titleOf({ keys })} along ${axis}`,
        x: { name: axis, values: Array.from({ length: x.n }, (_, i) => x.number(i)) },
        y: { name: keys.length === 1 ? keys[0] : "" },
        series: keys.map((key) => ({ name: key, values: flat(key) })),
      }),
    table: () => longTable(section, keys),
  });
}

/** The length of the numbers' range, as a power of ten: lines of one frame have it in common. */
function sizeOf(array) {
  const { most } = array.range();
  return most > 0 ? Math.floor(Math.log10(most)) : 0;
}

export const genericLines = {
  name: "lines",
  match: (section) => claim(section, "lines", "Curves"),
  draw(place, section, page, claimed) {
    for (const group of claimedGroups(section, "lines", claimed)) {
      const alike = new Map();
      for (const key of group.keys) {
        const size = sizeOf(section.array(key));
        alike.set(size, [...(alike.get(size) || []), key]);
      }
      for (const keys of alike.values())
        for (let i = 0; i < keys.length; i += MOST_LINES)
          drawGroup(place, section, group.axes[0], keys.slice(i, i + MOST_LINES));
    }
  },
};
