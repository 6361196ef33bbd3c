// The lists of a summary as bars, of a plugin that leaves no arrays.
import { bars } from "../parts/bars.js";
import { frame } from "../parts/frame.js";
import { number } from "../parts/scales.js";
import { listsOf } from "../parts/summary.js";

export const genericSummary = {
  name: "summary",
  match(section) {
    const whole = section.run.section(section.name);
    const hasArrays = [...whole.arrays.values()].some((array) => !array.omitted && array.size > 0);
    return hasArrays || listsOf(section).length === 0 ? null : { arrays: [], title: "Summary" };
  },
  draw(place, section) {
    for (const { title, unit, labels, values } of listsOf(section)) {
      const name = unit ? `${title} (${unit})` : title;
      const column = {
        name: unit || "",
        values: values.map((value) => (value === null ? NaN : value)),
      };
      frame(place, {
        title,
        label: `${name}: ${labels.length} bars`,
        draw: (area, width) => bars(area, width, { labels, columns: [column], label: name }),
        table: () => ({
          head: ["", unit || "value"],
          rows: labels.map((label, i) => [label, number(values[i])]),
        }),
      });
    }
  },
};
