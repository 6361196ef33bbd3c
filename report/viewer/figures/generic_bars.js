// A ranked list as signed bars: any array whose last axis has labels.
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { signed } from "../parts/colors.js";
import { frame } from "../parts/frame.js";
import { number, short } from "../parts/scales.js";

const MOST = 30;
const LINE = 20;

function bars(area, width, entries, axis) {
  const left = Math.min(180, width * 0.35);
  const most = Math.max(...entries.map((entry) => Math.abs(entry.value)), 1e-30);
  const x = scaleLinear([-most, most], [left + 40, width - 40]);
  const svg = select(area).append("svg").attr("width", width).attr("height", entries.length * LINE);
  entries.forEach((entry, i) => {
    const g = svg.append("g").attr("transform", `translate(0,${i * LINE})`);
    g.append("text").attr("x", left).attr("y", 14).attr("text-anchor", "end").text(axis.label(entry.index));
    g.append("rect").attr("x", Math.min(x(0), x(entry.value))).attr("y", 3).attr("height", LINE - 6)
      .attr("width", Math.abs(x(entry.value) - x(0))).attr("fill", signed(entry.value));
    g.append("text").attr("x", entry.value < 0 ? x(entry.value) - 4 : x(entry.value) + 4).attr("y", 14)
      .attr("text-anchor", entry.value < 0 ? "end" : "start").text(short(entry.value));
  });
}

export const genericBars = {
  name: "bars",
  match(section) {
    const arrays = [...section.arrays.values()].filter((array) => array.shape.length > 0 &&
      !array.omitted && !section.axis(array.axes[array.axes.length - 1]).isNumbers);
    return arrays.length ? { arrays: arrays.map((array) => array.key), title: "Lists" } : null;
  },
  draw(place, section, page, claimed) {
    for (const key of claimed) {
      const array = section.array(key);
      const axis = section.axis(array.axes[array.axes.length - 1]);
      const entries = array.top({ n: MOST });
      frame(place, {
        title: key,
        label: `${key}: bars of ${entries.length} entries`,
        draw: (area, width) => bars(area, width, entries, axis),
        table: () => ({
          head: [axis.name, key],
          rows: entries.map((entry) => [axis.label(entry.index), number(entry.value)]),
        }),
      });
    }
  },
};
