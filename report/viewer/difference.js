// The difference of two runs: a section with the same arrays, whose numbers are this run's minus
// the other's. Integers (ids, counts, ranks) and texts are this run's.
import { NDArray, Section } from "./data.js";

/**
 * Where each index of an axis is on the other's axis: by label or number; -1 where it is missing.
 */
function match(axis, other) {
  if (!other) return null;
  const places = new Map();
  for (let i = 0; i < other.n; i++) places.set(other.label(i), i);
  return Array.from({ length: axis.n }, (_, i) =>
    places.has(axis.label(i)) ? places.get(axis.label(i)) : -1
  );
}

/** Axes on which a missing index is a writer that wrote nothing, so that its share is 0. */
function isZeroWhereMissing(axis, i) {
  return axis.label(i) === "edit";
}

function encodingOf(first, second) {
  return first.encoding === "top" || second.encoding === "top" ? "top" : "f32";
}

/** this - other, entry by entry. Where the other run lacks an entry, the difference is unset. */
class DifferenceArray extends NDArray {
  constructor(first, second, section, other) {
    super(first.key, first.given);
    this.first = first;
    this.second = second;
    this.section = section;
    this.maps = first.axes.map((name) => match(section.axis(name), other.axis(name)));
    this.omitted =
      first.omitted ||
      second.omitted ||
      this.maps.includes(null) ||
      first.axes.join() !== second.axes.join() ||
      [first, second].some((array) => array.encoding === "slices"); // contexts have no difference
    this.encoding = this.omitted ? "omitted" : encodingOf(first, second);
    this.tokenIds = false;
  }
  /** The other run's indices; null where it lacks one, "zero" where that counts as 0. */
  indicesOfOther(indices) {
    const found = [];
    let state = found;
    indices.forEach((index, a) => {
      found.push(this.maps[a][index]);
      if (found[a] >= 0) return;
      state =
        isZeroWhereMissing(this.section.axis(this.axes[a]), index) && state !== null
          ? "zero"
          : null;
    });
    return state;
  }
  difference(indices) {
    const other = this.indicesOfOther(indices);
    if (other === null) return NaN;
    return this.first.at(...indices) - (other === "zero" ? 0 : this.second.at(...other));
  }
  at(...indices) {
    if (this.omitted) return NaN;
    const whole = this.shape.map((_, a) => indices[a] || 0);
    const values = this.values();
    return values ? values[this.place(whole)] : this.difference(whole);
  }
  isKept(...indices) {
    if (this.encoding !== "top") return !this.omitted;
    const other = this.indicesOfOther(indices);
    return this.first.isKept(...indices) || (Array.isArray(other) && this.second.isKept(...other));
  }
  indicesAt(place) {
    const indices = new Array(this.shape.length);
    for (let a = this.shape.length - 1, left = place; a >= 0; a--) {
      indices[a] = left % this.shape[a];
      left = Math.floor(left / this.shape[a]);
    }
    return indices;
  }
  values() {
    if (this.encoding !== "f32") return null;
    if (!this.dense) {
      this.dense = new Float64Array(this.size);
      for (let i = 0; i < this.size; i++) this.dense[i] = this.difference(this.indicesAt(i));
    }
    return this.dense;
  }
  /** Per slice the entries that either run keeps. */
  slices() {
    if (this.encoding !== "top") return null;
    if (this.kept) return this.kept;
    this.kept = [];
    const lastMap = this.maps[this.maps.length - 1];
    const back = new Map(lastMap.map((there, here) => [there, here]));
    for (let slice = 0; slice < this.size / this.last; slice++) {
      const prefix = this.indicesAt(slice * this.last).slice(0, -1);
      const other = this.indicesOfOther(prefix);
      const places = new Set(this.first.top(...prefix).map(({ index }) => index));
      if (Array.isArray(other))
        for (const { index } of this.second.top(...other))
          if (back.has(index)) places.add(back.get(index));
      const entries = new Map();
      for (const index of [...places].sort((a, b) => a - b))
        entries.set(index, this.difference([...prefix, index]));
      this.kept.push(entries);
    }
    return this.kept;
  }
  rest(...prefix) {
    const other = this.indicesOfOther(prefix.slice(0, this.shape.length - 1));
    if (!Array.isArray(other)) return NaN;
    return this.first.rest(...prefix) - this.second.rest(...other);
  }
}

function differenceOfValues(first, second) {
  const found = new Map();
  for (const [key, value] of first) {
    const other = second.get(key);
    const both = typeof value === "number" && typeof other === "number";
    found.set(key, both ? value - other : value);
  }
  return found;
}

const known = new WeakMap(); // section -> the difference

/** The section whose float arrays and values are section's minus those of section.beside. */
export function differenceOf(section) {
  if (!known.has(section)) known.set(section, subtract(section, section.beside));
  return known.get(section);
}

function subtract(section, other) {
  const { run, name, version, options } = section;
  const whole = new Section(run, { name, version, options });
  whole.isDifference = true;
  whole.axes = section.axes;
  whole.values = differenceOfValues(section.values, other.values);
  for (const [key, array] of section.arrays) {
    const second = other.arrays.get(key);
    if (array.dtype === "I32") whole.arrays.set(key, array);
    else if (second) whole.arrays.set(key, new DifferenceArray(array, second, section, other));
  }
  return whole;
}
