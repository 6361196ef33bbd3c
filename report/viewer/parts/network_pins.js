// A pinned node in the list under a network: its mark, its numbers, a name of the reader's own.
import { button, el } from "./dom.js";
import { shapeOf } from "./network_paint.js";

/** on: {named(name), unpinned()}. color: of the node's mark; given: the reader's name so far. */
export function pinItem(node, text, given, color, on) {
  const input = el("input", {
    type: "text",
    value: given,
    maxlength: 40,
    placeholder: "name",
    "aria-label": `Name of ${node.name}`,
    on: { input: () => on.named(input.value) },
  });
  const mark = el("path", { d: shapeOf(node.kind, 6), style: { fill: color } });
  return el(
    "li",
    null,
    el("svg", { width: 14, height: 14, viewBox: "-8 -8 16 16", "aria-hidden": "true" }, mark),
    el("span", null, text),
    input,
    button("Unpin", on.unpinned, { "aria-label": `Unpin ${node.name}` })
  );
}
