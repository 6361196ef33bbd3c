// The captures of a run (`--capture`) as a section, so that figures match them by their axes.
import { Axis, Section } from "../data.js";

// The axes of a captured tensor, by the end of its name.
const AXES = [
  [/attn\.hook_(pattern|attn_scores)$/, ["heads", "rows", "keys"]],
  [/attn\.hook_(q|k|v|z|rot_q|rot_k)$/, ["rows", "heads", "d_head"]],
  [/attn\.hook_result$/, ["rows", "heads", "d_model"]],
  [/mlp\.hook_(pre|post)$/, ["rows", "neurons"]],
  [/hook_scale$/, ["rows", "one"]],
  [/hook_logits$/, ["rows", "d_vocab"]],
  [/./, ["rows", "d_model"]],
];

/** The section's axis of this name and length; another length gets a name of its own. */
function axisOf(section, name, n) {
  const known = section.axis(name);
  if (known && known.n === n) return name;
  const unique = known && known.n !== n ? `${name} (${n})` : name;
  section.axes.set(unique, new Axis(unique, { n, numbers: { from: 0 } }));
  return unique;
}

function namesOf(shape, known) {
  return known.length === shape.length ? known : shape.map((_, i) => `axis ${i}`);
}

/** A Section "captures" whose arrays have axes; null if the run has no captures. */
export function captureSection(run) {
  if (run.captures.size === 0) return null;
  const section = new Section(run, { name: "captures", version: run.version });
  const checkpoints = run.sections.map((one) => one.axis("checkpoints")).find(Boolean);
  for (const [key, array] of run.captures) {
    const known = AXES.find(([end]) => end.test(key))[1];
    const stacked = checkpoints && known.length + 1 === array.shape.length;
    const names = namesOf(array.shape, stacked ? ["checkpoints", ...known] : known);
    if (stacked) section.axes.set("checkpoints", checkpoints);
    array.axes = names.map((name, i) => axisOf(section, name, array.shape[i]));
    section.arrays.set(key, array);
  }
  return section;
}
