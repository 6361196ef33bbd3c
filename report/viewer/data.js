// The data of a page: runs, their sections, axes and arrays, read from the data block that
// report/page/ writes. Arrays are decoded when they are first asked for.

import { captureSection } from "./parts/captures.js";

const ELEMENT = {
  f32: [4, (view, at) => view.getFloat32(at, true)],
  f16: [2, (view, at) => halfToNumber(view.getUint16(at, true))],
  i32: [4, (view, at) => view.getInt32(at, true)],
  i16: [2, (view, at) => view.getInt16(at, true)],
  u8: [1, (view, at) => (view.getUint8(at) === 255 ? -1 : view.getUint8(at))],
  byte: [1, (view, at) => view.getUint8(at)],
  u16: [2, (view, at) => (view.getUint16(at, true) === 65535 ? -1 : view.getUint16(at, true))],
  u32: [4, (view, at) => view.getUint32(at, true)],
};

/** An IEEE half-precision number, given by its 16 bits. */
export function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Base64 text as numbers of the given type (a key of ELEMENT), times scale. */
function decode(text, type, scale = 1) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const [size, read] = ELEMENT[type];
  const view = new DataView(bytes.buffer);
  const out = new Float64Array(bytes.length / size);
  for (let i = 0; i < out.length; i++) out[i] = read(view, i * size) * scale;
  return out;
}

/** Labels of a long axis: texts, and [prefix, from, count] for "L0N0", "L0N1", ... */
function labelsOfRuns(runs) {
  const labels = [];
  for (const run of runs) {
    if (typeof run === "string") labels.push(run);
    else for (let k = 0; k < run[2]; k++) labels.push(run[0] + (run[1] + k));
  }
  return labels;
}

/** One dimension of a section's arrays: a label or a number per index. */
export class Axis {
  constructor(name, given) {
    this.name = name;
    this.n = given.n;
    this.given = given;
    this.isNumbers = given.numbers !== undefined;
    this.labels = given.runs ? labelsOfRuns(given.runs) : given.labels || [];
  }
  /** The number at i, or null where the axis has labels. */
  number(i) {
    const numbers = this.given.numbers;
    if (numbers === undefined) return null;
    return Array.isArray(numbers) ? numbers[i] : numbers.from + i;
  }
  /** The text at i; an index whose label the page lacks is "[i]". */
  label(i) {
    if (this.isNumbers) return String(this.number(i));
    const label = this.labels[i];
    return label === undefined ? `[${i}]` : label;
  }
  /** The index of a label or number; -1 where there is none. */
  indexOf(label) {
    for (let i = 0; i < this.n; i++) if (this.label(i) === String(label)) return i;
    return -1;
  }
}

/** An array with named axes. Indices count from 0; an unset number is NaN. */
export class NDArray {
  constructor(key, given) {
    this.key = key;
    this.dtype = given.dtype;
    this.axes = given.axes || [];
    this.shape = given.shape;
    this.encoding = given.encoding;
    this.omitted = given.encoding === "omitted" || given.encoding === "sums";
    this.tokenIds = Boolean(given.token_ids);
    this.size = given.shape.reduce((product, n) => product * n, 1);
    this.last = given.shape.length ? given.shape[given.shape.length - 1] : 1;
    this.given = given;
  }

  /** The flat index of a full or partial list of indices; the missing last ones are 0. */
  place(indices) {
    let place = 0;
    for (let a = 0; a < this.shape.length; a++)
      place = place * this.shape[a] + (a < indices.length ? indices[a] : 0);
    return place;
  }

  /** The typed array of a dense array, row-major; null for the others. */
  values() {
    if (this.encoding === "top" || this.encoding === "slices" || this.omitted) return null;
    if (this.dense) return this.dense;
    const { data, scale, low, step } = this.given;
    const q8 = this.encoding === "q8"; // bytes: steps of a range per index of the last axis
    this.dense = decode(data, q8 ? "u8" : this.encoding, scale);
    if (q8)
      this.dense = this.dense.map((n, i) =>
        n < 0 ? NaN : low[i % this.last] + step[i % this.last] * n
      );
    return this.dense;
  }

  /** "sums": the sums of a large array over one axis, as an array of the other axes; else null. */
  sums() {
    if (this.encoding !== "sums") return null;
    const { over, type, data } = this.given;
    const without = (list) => list.filter((_, a) => a !== over);
    return new NDArray(this.key, { dtype: this.dtype, axes: without(this.axes),
      shape: without(this.shape), encoding: type, data });
  }

  /** "slices": the kept flat indices of the leading axes with their places, and the numbers. */
  parts() {
    if (this.held) return this.held;
    const { lead, slice_index: index, type, data, scale } = this.given;
    const size = this.shape.slice(lead).reduce((product, n) => product * n, 1);
    const places = new Map([...decode(index, "u32")].map((slice, i) => [slice, i]));
    this.held = { size, places, numbers: decode(data, type, scale) };
    return this.held;
  }

  /** The number at a flat index of "slices"; NaN where the page lacks the slice. */
  partAt(place) {
    const { size, places, numbers } = this.parts();
    const i = places.get(Math.floor(place / size));
    return i === undefined ? NaN : numbers[i * size + (place % size)];
  }

  /** Per slice along the last axis a Map of index -> value; null for the others. */
  slices() {
    if (this.encoding !== "top") return null;
    if (this.kept) return this.kept;
    const count = decode(this.given.count, this.given.count_type || "u16");
    const index = decode(this.given.index, this.given.index_type);
    const value = this.keptValues();
    this.kept = [];
    for (let slice = 0, at = 0; slice < count.length; slice++) {
      const entries = new Map();
      for (let k = 0; k < count[slice]; k++, at++) entries.set(index[at], value[at]);
      this.kept.push(entries);
    }
    return this.kept;
  }

  /** The numbers of "top"; "log8": bytes from least to most by equal factors. */
  keptValues() {
    const { value, value_type: type, scale, least, most } = this.given;
    if (type !== "log8") return decode(value, type, scale);
    return decode(value, "byte").map((n) => least * (most / least) ** (n / 255));
  }

  at(...indices) {
    const place = this.place(indices);
    if (this.omitted) return NaN;
    const values = this.values();
    if (values) return values[place];
    if (this.encoding === "slices") return this.partAt(place);
    const slice = Math.floor(place / this.last);
    const value = this.slices()[slice].get(place % this.last);
    if (value !== undefined) return value;
    return Number.isNaN(this.restAt(slice)) ? NaN : 0; // a slice without numbers is unset
  }

  /** False where the page left the entry out. */
  isKept(...indices) {
    const place = this.place(indices);
    if (this.encoding === "slices")
      return this.parts().places.has(Math.floor(place / this.parts().size));
    if (this.encoding !== "top") return !this.omitted;
    return this.slices()[Math.floor(place / this.last)].has(place % this.last);
  }

  /** The largest |value| along the last axis: [{index, value}], at most n. */
  top(...prefix) {
    const options = typeof prefix[prefix.length - 1] === "object" ? prefix.pop() : {};
    if (this.omitted) return [];
    const start = this.place(prefix);
    const values = this.values();
    const found = [];
    if (values)
      for (let i = 0; i < this.last; i++) found.push({ index: i, value: values[start + i] });
    else if (this.encoding === "slices")
      for (let i = 0; i < this.last; i++) found.push({ index: i, value: this.partAt(start + i) });
    else
      for (const [index, value] of this.slices()[Math.floor(start / this.last)])
        found.push({ index, value });
    const ranked = found.filter((entry) => !Number.isNaN(entry.value));
    ranked.sort((a, b) => Math.abs(b.value) - Math.abs(a.value) || a.index - b.index);
    return ranked.slice(0, options.n || ranked.length);
  }

  /** The sum of what the page lacks of a slice; 0 for dense arrays. */
  rest(...prefix) {
    if (this.encoding !== "top") return 0;
    return this.restAt(Math.floor(this.place(prefix) / this.last));
  }

  restAt(slice) {
    const { rest, rest_type: type, rest_scale: scale } = this.given;
    if (!this.rests) this.rests = decode(rest, type || "f32", scale);
    if (type === "u8" && this.rests[slice] < 0) return NaN;
    return this.rests[slice];
  }

  /** The smallest and largest kept value, and the largest magnitude. */
  range() {
    if (this.extent) return this.extent;
    let low = Infinity;
    let high = -Infinity;
    const take = (value) => {
      if (value < low) low = value;
      if (value > high) high = value;
    };
    if (this.encoding === "top") {
      take(0);
      for (const slice of this.slices()) slice.forEach(take);
    } else if (this.encoding === "slices") {
      this.parts().numbers.forEach(take);
    } else if (!this.omitted) {
      this.values().forEach(take);
    }
    if (low > high) low = high = 0;
    this.extent = { low, high, most: Math.max(Math.abs(low), Math.abs(high)) };
    return this.extent;
  }
}

/** What one plugin left. */
export class Section {
  constructor(run, given) {
    this.run = run;
    this.name = given.name;
    this.version = given.version;
    this.docs = given.docs || null; // the manual's page about it
    this.options = given.options || {};
    this.summary = given.summary || [];
    this.values = new Map(Object.entries(given.values || {}));
    this.axes = new Map();
    this.arrays = new Map();
    this.beside = null; // the section of the same name of the run beside this one
    this.isDifference = false;
    for (const [name, axis] of Object.entries(given.axes || {}))
      this.axes.set(name, new Axis(name, axis));
    for (const [key, array] of Object.entries(given.arrays || {}))
      this.arrays.set(key, new NDArray(key, array));
  }
  axis(name) {
    return this.axes.get(name) || null;
  }
  array(key) {
    return this.arrays.get(key) || null;
  }
  /** The row (index of the run's token) at place i of an axis of rows; null for other axes. */
  rowAt(name, i) {
    const axis = this.axis(name);
    if (!axis || !axis.isNumbers || !/(^|_)(rows|keys)$/.test(name)) return null;
    if (/keys$/.test(name) && this.run.sequences > 1) return null; // positions of any sequence
    const row = axis.number(i);
    return row >= 0 && row < this.run.tokens.length ? row : null;
  }
  /**
   * The place of a row on an axis of rows; null where the axis has other things or lacks the row.
   */
  indexOfRow(name, row) {
    const axis = this.axis(name);
    if (!axis || row === null || this.rowAt(name, 0) === null) return null;
    const { numbers } = axis.given;
    const i = Array.isArray(numbers) ? numbers.indexOf(row) : row - numbers.from;
    return i >= 0 && i < axis.n ? i : null;
  }
  /** True if the array exists, is not omitted, and has exactly these axes (none given: any). */
  has(key, axes) {
    const array = this.arrays.get(key);
    if (!array || array.omitted) return false;
    if (!axes) return true;
    return axes.length === array.axes.length && axes.every((a, i) => a === array.axes[i]);
  }
}

/** One run: its head, tokens and sections. */
export class Run {
  constructor(given) {
    this.label = given.label || "";
    this.version = given.version;
    this.model = given.model;
    this.run = given.run || {};
    this.corpus = given.corpus || null;
    this.tokens = (given.tokens || []).map((token) =>
      token.text === null ? { ...token, text: `#${token.id}` } : token
    ); // a model without a tokenizer has no texts
    this.vocabulary = given.vocabulary || {};
    this.sequences = new Set(this.tokens.map((token) => token.sequence)).size;
    this.sections = (given.sections || []).map((section) => new Section(this, section));
    this.captures = new Map();
    for (const [key, array] of Object.entries(given.captures || {}))
      this.captures.set(key, new NDArray(key, array));
    const captured = captureSection(this);
    if (captured) this.sections.push(captured);
  }
  /** The text of a token id; "#id" where the results have none. */
  tokenText(id) {
    const text = this.vocabulary[id];
    return text === undefined ? `#${id}` : text;
  }
  section(name) {
    return this.sections.find((section) => section.name === name) || null;
  }
}

/** Everything that the data block holds. */
export class Page {
  constructor(given) {
    this.command = given.command || null;
    this.notes = given.notes || [];
    this.runs = given.runs.map((run) => new Run(run));
    if (this.runs.length === 2)
      for (const section of this.runs[0].sections)
        section.beside = this.runs[1].section(section.name);
  }
}
