// The places of a corpus where a neuron (or another part) is largest: each context as text with its
// peak marked. Matches X_tokens [..., contexts, window] with X_value [..., contexts].
import { choiceOf, redrawOn } from "../parts/choose.js";
import { colorScale } from "../parts/colorscale.js";
import { ink } from "../parts/colors.js";
import { el } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { number, short, visible } from "../parts/scales.js";

const MOST = 400; // parts in the list
const NARROW = 700; // pixels: below, the peaks are not under each other

/** {tokens, value, document, position} arrays of each set of contexts. */
function setsOf(section) {
  const found = [];
  for (const tokens of section.arrays.values()) {
    const n = tokens.axes.length;
    if (!/_tokens$/.test(tokens.key) || tokens.omitted || tokens.axes[n - 2] !== "contexts")
      continue;
    const stem = tokens.key.slice(0, -"_tokens".length);
    const axes = tokens.axes.slice(0, -1);
    if (!section.has(`${stem}_value`, axes)) continue;
    const more = (name) =>
      section.has(`${stem}_${name}`, axes) ? section.array(`${stem}_${name}`) : null;
    found.push({
      stem,
      tokens,
      value: section.array(`${stem}_value`),
      document: more("document"),
      position: more("position"),
      key: more("key"),
      axes: axes.slice(0, -1),
    });
  }
  return found;
}

/** The name of a part: "L3N17" of layers and neurons, else its labels. */
function partName(section, axes, indices) {
  const labels = axes.map((name, a) => section.axis(name).label(indices[a]));
  if (axes.join() === "layers,neurons") return `L${labels[0]}N${labels[1]}`;
  if (axes.join() === "layers,heads") return `L${labels[0]}H${labels[1]}`;
  return labels.join(", ");
}

/** All parts that the page has, those with the largest context first. */
function partsOf(section, set) {
  const shape = set.value.shape.slice(0, -1);
  const parts = [];
  const visit = (indices) => {
    if (indices.length < shape.length) {
      for (let i = 0; i < shape[indices.length]; i++) visit([...indices, i]);
      return;
    }
    const largest = set.value.at(...indices, 0);
    if (!Number.isNaN(largest) && set.tokens.isKept(...indices, 0, 0))
      parts.push({ indices, largest, name: partName(section, set.axes, indices) });
  };
  visit([]);
  return parts.sort((a, b) => b.largest - a.largest);
}

/** The index within the window of the token that has the value: the one numbered 0. */
function peakOf(section, set) {
  const window = section.axis(set.tokens.axes[set.tokens.axes.length - 1]);
  const at = window.indexOf("0");
  return at < 0 ? window.n - 1 : at;
}

/** The name of a document where the plugin gave it, else its number. */
function documentName(section, number) {
  const list = (key) => [section.values.get(key)].flat();
  const at = list("document_numbers").indexOf(number);
  return at < 0 ? `document ${number}` : list("document_names")[at];
}

function line(section, set, indices, c, peak, color) {
  const text = (w) => {
    const id = set.tokens.at(...indices, c, w);
    return id >= 0 ? visible(section.run.tokenText(id)) : "";
  };
  const window = Array.from({ length: set.tokens.shape[set.tokens.shape.length - 1] }, (_, w) =>
    text(w)
  );
  const at = (array) => (array ? array.at(...indices, c) : -1);
  const [position, key] = [at(set.position), at(set.key)];
  const read = position >= 0 && key >= 0 ? peak + key - position : -1;
  const part = (name, from, to) =>
    el(
      "span",
      { class: name },
      window
        .slice(from, to)
        .map((one, w) => el("span", from + w === read ? { class: "read" } : null, one))
        .filter((one) => one.textContent)
    );
  const place = [
    set.document && documentName(section, set.document.at(...indices, c)),
    set.position && `@${position}`,
    key >= 0 && `reads ${key === position ? "itself" : `@${key}`}`,
  ]
    .filter(Boolean)
    .join(", ");
  return el(
    "li",
    { class: "context" },
    el("span", { class: "value" }, short(set.value.at(...indices, c))),
    el(
      "span",
      { class: "words" },
      part("before", 0, peak),
      el("mark", { style: { background: color, color: ink(color) } }, window[peak]),
      part("after", peak + 1)
    ),
    el("span", { class: "muted" }, place)
  );
}

function drawContexts(area, width, section, set, part) {
  const n = set.value.shape[set.value.shape.length - 1];
  const values = Array.from({ length: n }, (_, c) => set.value.at(...part.indices, c));
  const scale = colorScale(values.filter((value) => !Number.isNaN(value)));
  const peak = peakOf(section, set);
  area.append(
    el(
      "ol",
      { class: width < NARROW ? "contexts" : "contexts aligned" },
      values.map((value, c) =>
        Number.isNaN(value) ? null : line(section, set, part.indices, c, peak, scale.color(value))
      )
    )
  );
}

function tableOf(section, set, part) {
  const n = set.value.shape[set.value.shape.length - 1];
  const window = set.tokens.shape[set.tokens.shape.length - 1];
  const rows = Array.from({ length: n }, (_, c) => {
    const ids = Array.from({ length: window }, (__, w) => set.tokens.at(...part.indices, c, w));
    return [
      part.name,
      c,
      number(set.value.at(...part.indices, c)),
      set.document ? number(set.document.at(...part.indices, c)) : "-",
      set.position ? number(set.position.at(...part.indices, c)) : "-",
      ids
        .filter((id) => id >= 0)
        .map((id) => visible(section.run.tokenText(id)))
        .join(""),
    ];
  });
  return {
    head: ["part", "context", "value", "document", "position", "text"],
    rows: rows.filter((row) => row[2] !== "-"),
  };
}

/** A text field that takes a part's name, with the parts of the page as suggestions. */
function partField(parts, chosen, stem) {
  const id = `parts-${stem}-${Math.random().toString(36).slice(2)}`;
  const input = el("input", {
    list: id,
    value: parts[chosen.value].name,
    size: 9,
    spellcheck: "false",
  });
  const told = el("span", { class: "muted", role: "status" });
  input.addEventListener("change", () => {
    const name = input.value.trim().toLowerCase();
    const found = parts.findIndex((part) => part.name.toLowerCase() === name);
    told.textContent = found < 0 ? `The page has no contexts of "${input.value.trim()}".` : "";
    if (found >= 0) chosen.set(found);
  });
  const list = el(
    "datalist",
    { id },
    parts
      .slice(0, MOST)
      .map((part) => el("option", { value: part.name }, `largest ${short(part.largest)}`))
  );
  const step = (by, text, label) =>
    el(
      "button",
      {
        type: "button",
        "aria-label": label,
        on: { click: () => chosen.set(Math.min(parts.length - 1, Math.max(0, chosen.value + by))) },
      },
      text
    );
  chosen.on((i) => {
    input.value = parts[i].name;
    told.textContent = "";
  });
  return el(
    "span",
    { class: "pick" },
    el("label", null, "Show ", input),
    list,
    step(-1, "‹", "Previous, with a larger value"),
    step(1, "›", "Next, with a smaller value"),
    told
  );
}

function contextFrame(place, section, page, set) {
  const parts = partsOf(section, set);
  if (!parts.length) return;
  const listed = section.axis("listed");
  const first = listed ? parts.findIndex((part) => part.name === listed.label(0)) : 0;
  const chosen = choiceOf(page, section, `${set.stem}_part`, Math.max(0, first));
  redrawOn(
    frame(place, {
      title: "Contexts with the largest values",
      caption:
        `The marked token has the value${set.key ? "; the framed token is read" : ""}. ${short(
          parts.length
        )} to choose from; the arrows go from ` + "the largest value to the smallest.",
      label: `Contexts of ${parts.length} parts, one part at a time`,
      controls: [partField(parts, chosen, set.stem)],
      draw: (area, width) => drawContexts(area, width, section, set, parts[chosen.value]),
      table: () => tableOf(section, set, parts[chosen.value]),
    }),
    [chosen]
  );
}

export const contexts = {
  name: "contexts",
  match(section) {
    const sets = setsOf(section);
    if (!sets.length) return null;
    return {
      arrays: sets
        .flatMap((set) => [set.tokens, set.value, set.document, set.position, set.key])
        .filter(Boolean)
        .map((array) => array.key),
      title: "Contexts",
    };
  },
  draw(place, section, page) {
    for (const set of setsOf(section)) contextFrame(place, section, page, set);
  },
};
