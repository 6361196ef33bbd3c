// Labels of the form "kind:what" grouped by their kind: "frozen_ln:0_mlp_out".

/** The kinds of an axis in order: [{kind, indices, names}]; a label without ":" is of kind "". */
export function kindsOf(axis) {
  const kinds = new Map();
  for (let i = 0; i < axis.n; i++) {
    const label = axis.label(i);
    const colon = label.indexOf(":");
    const kind = colon < 0 ? "" : label.slice(0, colon);
    if (!kinds.has(kind)) kinds.set(kind, { kind, indices: [], names: [] });
    kinds.get(kind).indices.push(i);
    kinds.get(kind).names.push(label.slice(colon + 1));
  }
  return [...kinds.values()];
}

/** The index of the kind that a reader wants first: with many labels the one of most. */
export function firstKind(kinds) {
  const found = kinds.findIndex((kind) => kind.kind === "recomputed_ln");
  return Math.max(0, found);
}
