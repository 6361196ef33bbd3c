// Results over a set of pairs as a section of one pair: of the means over all examples or over a
// group, or of one example. Arrays NAME.over_examples have the means, NAME each example's numbers.
import { NDArray } from "../data.js";

const OVER = ".over_examples";
const BY_GROUP = ".by_group";

/** An array at one index of its first axis, without that axis. */
class PartArray extends NDArray {
  constructor(key, whole, index) {
    const [, ...shape] = whole.shape;
    const { dtype, encoding, tokenIds } = whole;
    super(key, { dtype, encoding, shape, axes: whole.axes.slice(1), token_ids: tokenIds });
    this.whole = whole;
    this.index = index;
    this.omitted = whole.omitted || whole.encoding === "slices" || index < 0;
    if (this.omitted) this.encoding = "omitted";
  }
  at(...indices) {
    return this.omitted ? NaN : this.whole.at(this.index, ...indices);
  }
  isKept(...indices) {
    return !this.omitted && this.whole.isKept(this.index, ...indices);
  }
  values() {
    const values = this.omitted ? null : this.whole.values();
    return values && values.slice(this.index * this.size, (this.index + 1) * this.size);
  }
  slices() {
    const slices = this.omitted ? null : this.whole.slices();
    const n = this.size / this.last;
    return slices && slices.slice(this.index * n, (this.index + 1) * n);
  }
  rest(...prefix) {
    return this.encoding === "top" ? this.whole.rest(this.index, ...prefix) : 0;
  }
}

/** Whether a section's arrays are over the examples of a set. */
export function isOverExamples(section) {
  return [...section.arrays.keys()].some((key) => key.endsWith(OVER));
}

/** The arrays that stand for one array of a view. */
export function keysOfView(section, keys) {
  return keys
    .flatMap((key) => [key, key + OVER, key + BY_GROUP])
    .filter((key) => section.arrays.has(key));
}

/** Whether all examples have the same integers: those of the first then stand for all. */
function isAlike(array) {
  const values = array.omitted ? null : array.values();
  if (!values) return false;
  const n = array.size / array.shape[0];
  return values.every((value, i) => value === values[i % n]);
}

/** What may be shown: [{name, group (index), example (index)}]; the means of all come first. */
export function choicesOf(section) {
  const [examples, groups] = [section.axis("examples"), section.axis("groups")];
  const labels = (axis) => (axis ? Array.from({ length: axis.n }, (_, i) => axis.label(i)) : []);
  return [
    { name: `mean of ${examples ? examples.n : "all"} pairs` },
    ...labels(groups).map((label, group) => ({ name: `mean of the group ${label}`, group })),
    ...labels(examples).map((label, example) => ({ name: `the pair ${label}`, example })),
  ];
}

/** The array of a statistic ("mean", "low") of the chosen examples; null where there is none. */
function statisticOf(section, key, choice, statistic) {
  const axis = section.axis("over_examples");
  const given = section.array(key + (choice.group === undefined ? OVER : BY_GROUP));
  if (!axis || !given || given.omitted) return null;
  const whole = choice.group === undefined ? given : new PartArray(key, given, choice.group);
  return new PartArray(key, whole, axis.indexOf(statistic));
}

function chosenArray(section, array, choice) {
  if (array.axes[0] !== "examples") return null;
  if (choice.example !== undefined) return new PartArray(array.key, array, choice.example);
  if (array.dtype !== "I32") return statisticOf(section, array.key, choice, "mean");
  return isAlike(array) ? new PartArray(array.key, array, 0) : null;
}

/**
 * The section with what is chosen, one of choicesOf(section). interval(key) is {low, high}, the
 * arrays of the 95 % interval of a mean, or null; over: {of(other section): its same view}.
 */
export function viewOf(section, choice) {
  const arrays = new Map();
  for (const [key, array] of section.arrays) {
    const part = chosenArray(section, array, choice);
    if (part) arrays.set(key, part);
  }
  const interval = (key) => {
    if (choice.example !== undefined) return null;
    const [low, high] = ["low", "high"].map((name) => statisticOf(section, key, choice, name));
    return low && high ? { low, high } : null;
  };
  const over = { of: (other) => viewOf(other, choice) };
  return Object.assign(Object.create(section), { arrays, interval, over });
}

/** The sections of both runs of a page, in the same view as section. */
export function bothOf(section, page) {
  return page.runs.map((run) => {
    const other = run.section(section.name);
    return section.over ? section.over.of(other) : other;
  });
}
