// Attention patterns: the weights of rows x keys per head, whatever the order of an array's axes,
// dense or with small weights left out.
//
// A row i counts along the axis "rows"; a key k along "keys", which are positions of the row's
// sequence. The first key is position 0, where most heads rest (the attention sink).

export const FIRST = ["shown", "hidden", "divided out"];

const MOST_HEADS = 4096;
const CAPTURE = /^blocks\.(\d+)\.(.+)$/;
const KEPT_MATRICES = 12;

/** The arrays of a section that are patterns: [{title, keys of arrays}], one figure each. */
export function patternGroups(section) {
  const groups = new Map();
  for (const array of section.arrays.values()) {
    const count = (name) => array.axes.filter((axis) => axis === name).length;
    if (array.omitted || array.dtype === "I32" || count("rows") !== 1 || count("keys") !== 1)
      continue;
    const plane = section.axis("rows").n * section.axis("keys").n;
    if (plane === 0 || array.size / plane > MOST_HEADS) continue;
    const capture = CAPTURE.exec(array.key);
    const title = capture ? capture[2] : array.key;
    if (!groups.has(title)) groups.set(title, { title, keys: [] });
    groups.get(title).keys.push(array.key);
  }
  return [...groups.values()];
}

/** Row-major strides of an array by the name of the axis. */
function stridesOf(array) {
  const strides = {};
  let stride = 1;
  for (let a = array.shape.length - 1; a >= 0; a--) {
    strides[array.axes[a]] = stride;
    stride *= array.shape[a];
  }
  return strides;
}

/** The indices of a flat place. */
function indicesOf(array, place) {
  const indices = [];
  for (let a = array.shape.length - 1; a >= 0; a--) {
    indices.unshift(place % array.shape[a]);
    place = Math.floor(place / array.shape[a]);
  }
  return indices;
}

/** The entry at a flat place; NaN where unset, 0 where the page leaves it out. */
function read(array, place) {
  const values = array.values();
  if (values) return values[place];
  const value = array.slices()[Math.floor(place / array.last)].get(place % array.last);
  return value === undefined ? 0 : value;
}

/** The heads of one array: down the axis "layers" (or the first), across all others. */
function headsOf(section, array, givenDown) {
  const strides = stridesOf(array);
  const others = array.axes.filter((axis) => axis !== "rows" && axis !== "keys");
  const downAt = Math.max(0, others.indexOf("layers"));
  const downAxis = givenDown === null && others.length > 1 ? others.splice(downAt, 1)[0] : null;
  let across = [{ label: "", offset: 0 }];
  for (const name of others)
    across = across.flatMap(({ label, offset }) =>
      Array.from({ length: section.axis(name).n }, (_, i) => ({
        label: label ? `${label} ${section.axis(name).label(i)}` : section.axis(name).label(i),
        offset: offset + i * strides[name],
      }))
    );
  const n = downAxis ? section.axis(downAxis).n : 1;
  const heads = [];
  for (let d = 0; d < n; d++)
    across.forEach(({ label, offset }, a) =>
      heads.push({
        array,
        rowStride: strides.rows,
        keyStride: strides.keys,
        down: d,
        across: a,
        acrossLabel: label,
        base: offset + (downAxis ? d * strides[downAxis] : 0),
        downLabel:
          givenDown === null ? (downAxis ? section.axis(downAxis).label(d) : "") : givenDown,
      })
    );
  return {
    heads,
    n,
    downName: downAxis || (givenDown === null ? "" : "layers"),
    acrossName: others.join(" "),
  };
}

function labelOf(head, downName, acrossName) {
  if (downName === "layers" && acrossName === "heads")
    return `L${head.downLabel}H${head.acrossLabel}`;
  const parts = [
    [downName, head.downLabel],
    [acrossName, head.acrossLabel],
  ];
  return parts
    .filter(([name]) => name)
    .map((part) => part.join(" "))
    .join(", ");
}

/** The pattern of a group of arrays. */
export class Pattern {
  /** keys: of the section's arrays; several are layers in their order. */
  constructor(section, keys) {
    this.section = section;
    this.tokens = section.run.tokens;
    this.rowsAxis = section.axis("rows");
    this.keysAxis = section.axis("keys");
    this.arrays = keys.map((key) => section.array(key));
    this.heads = [];
    this.down = 0;
    for (const key of keys) this.addHeads(key);
    this.across = Math.max(...this.heads.map((head) => head.across)) + 1;
    this.isSparse = this.arrays.some((array) => array.encoding === "top");
    this.signed = section.isDifference || this.arrays.some((array) => array.range().low < 0);
    const most = Math.max(...this.arrays.map((array) => array.range().most));
    this.most = !this.signed && most <= 1.001 ? 1 : most || 1;
    this.canDivide = !this.signed && most <= 1.001;
    this.sequences = this.findSequences();
    this.matrices = new Map();
  }

  addHeads(key) {
    const capture = CAPTURE.exec(key);
    const found = headsOf(this.section, this.section.array(key), capture ? capture[1] : null);
    this.downName = found.downName;
    this.acrossName = found.acrossName;
    for (const head of found.heads) {
      head.down += this.down;
      head.label = labelOf(head, found.downName, found.acrossName);
    }
    this.heads.push(...found.heads);
    this.down += found.n;
  }

  /** The run's row of row i of the axis. */
  runRow(i) {
    const number = this.rowsAxis.number(i);
    return number === null ? i : number;
  }

  /** [{id, rows: [i ascending by position], keys: their number, runRow: position -> row}] */
  findSequences() {
    const found = new Map();
    this.place = new Map(); // row of the run -> {sequence, index in its rows}
    for (let i = 0; i < this.rowsAxis.n; i++) {
      const token = this.tokens[this.runRow(i)];
      const id = token ? token.sequence : 0;
      if (!found.has(id)) found.set(id, { id, rows: [], runRow: new Map(), longest: 0 });
      const sequence = found.get(id);
      sequence.rows.push(i);
      const position = token ? token.position : i;
      sequence.runRow.set(position, this.runRow(i));
      sequence.longest = Math.max(sequence.longest, position + 1);
    }
    const sequences = [...found.values()];
    sequences.forEach((sequence, s) => {
      sequence.keys = 0;
      while (sequence.keys < this.keysAxis.n && this.position(sequence.keys) < sequence.longest)
        sequence.keys++;
      sequence.rows.forEach((i, index) => this.place.set(this.runRow(i), { sequence: s, index }));
    });
    return sequences;
  }

  /** The position of key k. */
  position(k) {
    const number = this.keysAxis.number(k);
    return number === null ? k : number;
  }

  /** The run's row that key k of a sequence is; null if the run lacks it. */
  keyRow(sequence, k) {
    const row = sequence.runRow.get(this.position(k));
    return row === undefined ? null : row;
  }

  text(row) {
    const token = row === null ? null : this.tokens[row];
    return token ? token.text : "";
  }

  /** The key of a position; -1 where there is none. */
  keyAt(position) {
    if (this.keysAxis.number(position) === position || this.keysAxis.number(0) === null)
      return position < this.keysAxis.n ? position : -1;
    return this.keysAxis.indexOf(position);
  }

  /** The position of the row at an index of a sequence. */
  positionOf(sequence, index) {
    const token = this.tokens[this.runRow(sequence.rows[index])];
    return token ? token.position : index;
  }

  /** The weight as the array has it. */
  weight(head, i, k) {
    return read(head.array, head.base + i * head.rowStride + k * head.keyStride);
  }

  /** False where the page leaves the weight out. */
  isKept(head, i, k) {
    const { array } = head;
    if (array.encoding !== "top") return true;
    const place = head.base + i * head.rowStride + k * head.keyStride;
    return array.slices()[Math.floor(place / array.last)].has(place % array.last);
  }

  /** What a row's weights are multiplied by; first: of FIRST. */
  scaleOf(head, i, first) {
    if (first !== "divided out" || !this.canDivide || this.position(0) !== 0) return 1;
    const left = 1 - this.weight(head, i, 0);
    return left > 1e-6 ? 1 / left : 0;
  }

  /** The weight that is shown; first: of FIRST. */
  shown(head, i, k, first) {
    if (first !== "shown" && this.position(k) === 0) return 0;
    const weight = this.weight(head, i, k);
    return weight ? weight * this.scaleOf(head, i, first) : weight;
  }

  /** Calls take(k, weight) for each kept key of row i that is not 0 or unset; first: of FIRST. */
  each(head, i, first, take) {
    const scale = this.scaleOf(head, i, first);
    const skip = first !== "shown" && this.position(0) === 0;
    const start = head.base + i * head.rowStride;
    if (head.array.encoding === "top" && head.keyStride === 1) {
      for (const [k, weight] of head.array.slices()[Math.floor(start / head.array.last)])
        if (weight && !(skip && k === 0)) take(k, weight * scale);
      return;
    }
    const values = head.array.values();
    for (let k = skip ? 1 : 0, at = start + k * head.keyStride; k < this.keysAxis.n; k++) {
      const weight = values ? values[at] : read(head.array, at);
      if (weight && !Number.isNaN(weight)) take(k, weight * scale);
      at += head.keyStride;
    }
  }

  /** [rows, keys] of a head, or of all heads: chosen is an index, "max" or "mean". */
  matrix(chosen, sequence, first) {
    const name = `${chosen} ${sequence.id} ${first}`;
    if (this.matrices.has(name)) return this.matrices.get(name);
    const { rows, keys } = sequence;
    const out = new Float32Array(rows.length * keys);
    const heads = typeof chosen === "number" ? [this.heads[chosen]] : this.heads;
    rows.forEach((i, r) => {
      const base = r * keys;
      for (const head of heads)
        this.each(head, i, first, (k, weight) => {
          if (k >= keys) return;
          if (chosen !== "max") out[base + k] += weight / heads.length;
          else if (Math.abs(weight) > Math.abs(out[base + k])) out[base + k] = weight;
        });
    });
    if (this.matrices.size >= KEPT_MATRICES)
      this.matrices.delete(this.matrices.keys().next().value);
    this.matrices.set(name, out);
    return out;
  }

  /**
   * Per head of a sequence {first: mean weight of the first key, strongest: {row index, key,
   * weight} of the largest weight at another key, or null}.
   */
  summaries(sequence) {
    if (!sequence.summaries)
      sequence.summaries = this.heads.map((head) => {
        let sum = 0;
        let strongest = null;
        sequence.rows.forEach((i, r) =>
          this.each(head, i, "shown", (k, weight) => {
            if (this.position(k) === 0) sum += weight;
            else if (!strongest || Math.abs(weight) > Math.abs(strongest.weight))
              strongest = { r, k, weight };
          })
        );
        return { first: sum / sequence.rows.length, strongest };
      });
    return sequence.summaries;
  }

  /** The mean over all rows of all heads of what the page leaves out; 0 if it has all. */
  meanLeftOut() {
    let sum = 0;
    let n = 0;
    for (const head of this.heads) {
      if (head.array.encoding !== "top" || head.keyStride !== 1) continue;
      for (let i = 0; i < this.rowsAxis.n; i++, n++)
        sum += head.array.rest(...indicesOf(head.array, head.base + i * head.rowStride)) || 0;
    }
    return n ? sum / n : 0;
  }
}
