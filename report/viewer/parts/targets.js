// Targets of a section at a row: their texts, with the token that "next" or "top:1" stands for.
import { readable } from "./scales.js";

/** A target's label with the token that it stands for: "' and' (top:1)". */
function resolved(section, label, id) {
  return `'${readable(section.run.tokenText(id))}' (${label})`;
}

/** Whether a label names a token only with a row: "next", "top:1". */
const isOpen = (label) => /^(next|top:\d+)$/.test(label);

/** The array of the targets' ids, or null. */
function idsOf(section) {
  const ids = section.array("target_ids");
  return ids && !ids.omitted && ids.shape.length === 3 ? ids : null;
}

/** The one token that target t is at all rows that have one; -1: there are several, or none. */
function onlyId(ids, t) {
  let found = -1;
  for (let i = 0; ids && i < ids.shape[1]; i++) {
    const id = ids.at(t, i, 0);
    if (id < 0) continue;
    if (found >= 0 && id !== found) return -1;
    found = id;
  }
  return found;
}

/** The texts of the targets; with its token where one that is open is the same at all rows. */
export function targetTexts(section) {
  const targets = section.axis("targets");
  return Array.from({ length: targets.n }, (_, t) => {
    const label = targets.label(t);
    const id = isOpen(label) ? onlyId(idsOf(section), t) : -1;
    return id < 0 ? readable(label) : resolved(section, label, id);
  });
}

/** The sentence in place of a drawing where a row lacks the target. */
export function noTarget(section) {
  return section.isDifference ? "The two runs do not have the same target at this row."
    : "This row has no such target.";
}

/** The last of n row indices at which target t exists; n - 1 where that is not known. */
export function lastWithTarget(section, t, n) {
  const ids = idsOf(section);
  if (!ids || ids.shape[1] !== n) return n - 1;
  for (let i = n - 1; i >= 0; i--) if (ids.at(t, i, 0) >= 0) return i;
  return n - 1;
}

/** The target's text; with its token at index i of target_ids' row axis, where that is known. */
export function targetAt(section, t, i) {
  const label = section.axis("targets").label(t);
  const ids = idsOf(section);
  if (!ids || !isOpen(label)) return readable(label);
  const id = ids.at(t, i, 0);
  return id < 0 ? `${label} (none here)` : resolved(section, label, id);
}
