// Estimates against exact effects: a point for each, the lines of no error and of the bias, and
// crosses where the sign is wrong.
import { category, signed } from "../parts/colors.js";
import { frame } from "../parts/frame.js";
import { number, short } from "../parts/scales.js";
import { scatter } from "../parts/scatter.js";

const isWrong = (point) => point.estimate * point.exact < 0;

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Lines of the tip beside the two numbers. */
function linesOf(point) {
  const more = (point.facts || []).filter(([, value]) => Number.isFinite(value))
    .map(([name, value]) => `${name}  ${short(value)}`);
  return isWrong(point) ? [...more, "the estimate has the wrong sign"] : more;
}

/**
 * Adds the frame. given: title, sets [{name, points [{name, estimate, exact, facts [[name,
 * number]]}],
 * bias?}] (the bias of a set: given, or the mean of estimate - exact), controls, section. sets may
 * be a
 * function. Returns the frame.
 */
export function errorsFrame(place, given) {
  const sets = () => (typeof given.sets === "function" ? given.sets() : given.sets)
    .map((set) => Object.assign({ bias: mean(set.points.map((one) => one.estimate - one.exact)) },
      set));
  const draw = (area, width) => {
    const all = sets();
    const points = all.flatMap((set, k) => set.points.map((point) => ({
      x: point.exact, y: point.estimate, text: point.name, lines: linesOf(point),
      color: isWrong(point) ? signed(-1) : category(k ? 2 : 0), cross: isWrong(point) })));
    const wrong = points.filter((point) => point.cross).length;
    scatter(area, Math.min(width, 640), {
      height: 360,
      x: { name: "exact effect (nats)" },
      y: { name: "estimate (nats)" },
      points,
      diagonal: true,
      shifts: all.map((set, k) => ({ by: set.bias, color: category(k ? 2 : 0),
        name: `bias of ${set.name} ${short(set.bias)}` })),
      legend: wrong ? [{ name: `wrong sign, a cross: ${wrong}`, color: signed(-1) }] : [],
      label: `${points.length} estimates against exact effects; ${wrong} have the wrong sign`,
    });
  };
  const table = () => ({
    head: ["set", "place", "estimate", "exact", "wrong sign"],
    rows: sets().flatMap((set) => set.points.map((point) =>
      [set.name, point.name, number(point.estimate), number(point.exact), isWrong(point) ? 1 : 0])),
  });
  return frame(place, {
    title: given.title,
    caption: "Dashed: no error. Dotted: no error beside the bias, the mean of estimate minus " +
      "exact." +
      (given.section.isDifference ? " Both numbers are this run's minus the other's." : ""),
    label: `${given.title}: a point for each`,
    controls: given.controls || [],
    draw,
    table,
  });
}
