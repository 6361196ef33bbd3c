// A number per token of the run, by any plugin: the text, colored.
import { colorScale, legend } from "../parts/colorscale.js";
import { frame } from "../parts/frame.js";
import { follow } from "../parts/follow.js";
import { longTable } from "../parts/labels.js";
import { short } from "../parts/scales.js";
import { tinted } from "../parts/tinted.js";
import { claim, claimedGroups, Cut, placeNames, titleOf } from "./generic_plan.js";

function drawGroup(place, section, page, group) {
  const cut = new Cut(section, group, page);
  const [at] = group.axes;
  const axis = group.all[at];
  const names = placeNames(section, axis);
  const rowAt = (i) => section.rowAt(axis, i);
  const figure = frame(place, {
    title: titleOf(group),
    label: `${titleOf(group)}: a number for each of ${names.length} tokens`,
    controls: cut.controls(() => figure.redraw()),
    draw: (area, width) => {
      const value = (i) => cut.value({ [at]: i });
      const scale = colorScale(
        names.map((_, i) => value(i)),
        { signed: section.isDifference }
      );
      const drawn = tinted(area, width, {
        tokens: names,
        value,
        scale,
        label: cut.array.key,
        tip: (i) => [names[i], `${cut.array.key} ${short(value(i))}`],
        onEnter: (i) => page.selection.set(rowAt(i)),
        onPick: (i) => page.selection.lock(rowAt(i)),
      });
      area.append(legend(scale, cut.array.key));
      follow(page, area, (row) => {
        const i = section.indexOfRow(axis, row);
        drawn.highlight(i === null ? -1 : i);
      });
    },
    table: () => longTable(section, group.keys, cut.fixed),
  });
}

export const genericText = {
  name: "text",
  match: (section) => claim(section, "text", "By token"),
  draw(place, section, page, claimed) {
    for (const group of claimedGroups(section, "text", claimed))
      drawGroup(place, section, page, group);
  },
};
