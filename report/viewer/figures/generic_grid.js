// Two axes of numbers, by any plugin: a heat map. Layers are downwards, tokens across.
import { colorScale } from "../parts/colorscale.js";
import { follow } from "../parts/follow.js";
import { frame } from "../parts/frame.js";
import { heatmap } from "../parts/heatmap.js";
import { longTable } from "../parts/labels.js";
import { number, short } from "../parts/scales.js";
import { claim, claimedGroups, Cut, placeNames, titleOf } from "./generic_plan.js";

/** All numbers of the shown plane. */
function numbersOf(value, rows, columns) {
  const found = [];
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) found.push(value(r, c));
  return found;
}

function drawGroup(place, section, page, group) {
  const cut = new Cut(section, group, page);
  const [atDown, atAcross] = group.axes;
  const [down, across] = [group.all[atDown], group.all[atAcross]];
  const rows = placeNames(section, down);
  const columns = placeNames(section, across);
  const select = (act) => (r, c) => {
    const row =
      section.rowAt(across, c) === null ? section.rowAt(down, r) : section.rowAt(across, c);
    if (row !== null) page.selection[act](row);
  };
  const figure = frame(place, {
    title: titleOf(group),
    label: `${titleOf(group)}: ${rows.length} ${down} by ${columns.length} ${across}`,
    controls: cut.controls(() => figure.redraw()),
    draw: (area, width) => {
      const value = (r, c) => cut.value({ [atDown]: r, [atAcross]: c });
      const scale = colorScale(numbersOf(value, rows.length, columns.length), {
        signed: section.isDifference,
      });
      const { key } = cut.array;
      const drawn = heatmap(area, width, {
        rows,
        columns,
        value,
        scale,
        legend: key,
        text: (r, c) => short(value(r, c)),
        minCell: 8,
        label: `${key}: ${down} by ${across}`,
        tip: (r, c) => [`${rows[r]}, ${columns[c]}`, `${key} ${number(value(r, c))}`],
        onEnter: select("set"),
        onPick: select("lock"),
      });
      follow(page, area, (row) => {
        const i = section.indexOfRow(across, row);
        drawn.highlight(i === null ? -1 : i);
      });
    },
    table: () => longTable(section, group.keys, cut.fixed),
  });
}

export const genericGrid = {
  name: "grid",
  match: (section) => claim(section, "grid", "Grids"),
  draw(place, section, page, claimed) {
    for (const group of claimedGroups(section, "grid", claimed))
      drawGroup(place, section, page, group);
  },
};
