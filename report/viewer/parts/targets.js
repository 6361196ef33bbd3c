// Targets of a section at a row: their texts, with the token that "next" or "top:1" stands for.
import { visible } from "./scales.js";

/** A target's label: "next", "' he' - ' she'"; it has quotes, so its spaces stay. */
function plain(label) {
  return label.split(" ").map(visible).join(" ");
}

/** The texts of the targets. */
export function targetTexts(section) {
  const targets = section.axis("targets");
  return Array.from({ length: targets.n }, (_, t) => plain(targets.label(t)));
}

/** The sentence in place of a drawing where a row lacks the target. */
export function noTarget(section) {
  return section.isDifference ? "The two runs do not have the same target at this row."
    : "This row has no such target.";
}

/** The last of n row indices at which target t exists; n - 1 where that is not known. */
export function lastWithTarget(section, t, n) {
  const ids = section.array("target_ids");
  if (!ids || ids.omitted || ids.shape.length !== 3 || ids.shape[1] !== n) return n - 1;
  for (let i = n - 1; i >= 0; i--) if (ids.at(t, i, 0) >= 0) return i;
  return n - 1;
}

/** The target's text; with its token at index i of target_ids' row axis, where that is known. */
export function targetAt(section, t, i) {
  const label = section.axis("targets").label(t);
  const ids = section.array("target_ids");
  if (!ids || ids.omitted || ids.shape.length !== 3 || !/^(next|top:\d+)$/.test(label))
    return plain(label);
  const id = ids.at(t, i, 0);
  return id < 0 ? `${label} (none here)` : `${label}, ${visible(section.run.tokenText(id))}`;
}
