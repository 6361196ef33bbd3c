// The head, the table of contents and the foot of the page.
import { el } from "./dom.js";
import { themeButton } from "./themes.js";
import { visible } from "./scales.js";

const EXCERPT = 160; // characters of the text in the head

/** The model's name; pages of older versions have only its folder's path. */
function nameOf(model) {
  if (model && model.name) return model.name;
  const parts = String((model && model.path) || "")
    .split(/[\\/]/)
    .filter(Boolean);
  return parts.length ? parts[parts.length - 1] : "model";
}

function plural(n, thing) {
  return `${n.toLocaleString("en-US")} ${thing}${n === 1 ? "" : "s"}`;
}

/** What ran, in a few words. */
function factsOf(run) {
  const facts = [];
  if (run.tokens.length) facts.push(plural(run.tokens.length, "token"));
  if (run.sequences > 1) facts.push(plural(run.sequences, "sequence"));
  const { documents, tokens } = run.corpus || {};
  if (documents) facts.push(plural(documents, "document"), plural(tokens || 0, "token"));
  const config = (run.model && run.model.config) || {};
  if (config.n_layers)
    facts.push(`${plural(config.n_layers, "layer")} × ${plural(config.n_heads, "head")}`);
  return facts;
}

/** What two runs are, and whether their tokens differ. */
function labelsOf(page) {
  if (page.runs.length < 2) return page.runs[0].label;
  const [first, second] = page.runs;
  const same =
    first.tokens.length === second.tokens.length &&
    first.tokens.every((token, row) => token.id === second.tokens[row].id);
  return (
    `${first.label || "this run"} beside ${second.label || "another run"}` +
    (same ? "" : "; their tokens differ, and rows with the same number are compared")
  );
}

function excerpt(run) {
  const text = run.tokens
    .slice(0, EXCERPT)
    .map((token) => token.text)
    .join("");
  if (!text.trim()) return null;
  const cut = text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
  return el("p", { class: "excerpt" }, visible(cut).replace(/\u00b7/g, " "));
}

/**
 * The head of the page: the model, what ran on what, the theme's button. more: further controls.
 */
export function head(page, more) {
  const run = page.runs[0];
  const labels = labelsOf(page);
  document.title = `pythiascope: ${nameOf(run.model)}`;
  return el(
    "header",
    { class: "page-head" },
    el(
      "div",
      { class: "head-line" },
      el(
        "h1",
        null,
        el("span", { class: "brand" }, "pythiascope"),
        " ",
        nameOf(run.model)
      ),
      el("div", { class: "head-tools" }, more, themeButton())
    ),
    el(
      "p",
      { class: "facts-line" },
      [...factsOf(run), run.sections.map((s) => s.name).join(" ")]
        .filter(Boolean)
        .map((fact) => el("span", null, fact))
    ),
    labels ? el("p", { class: "labels" }, labels) : null,
    excerpt(run)
  );
}

/** Links to sections and their figures. entries: [{id, title, figures: [{id, title}]}]. */
export function contents(entries) {
  const link = ({ id, title }) => el("a", { href: `#${id}` }, title);
  return el(
    "nav",
    { class: "contents", "aria-label": "Sections" },
    el(
      "ol",
      null,
      entries.map((entry) =>
        el(
          "li",
          null,
          link(entry),
          entry.figures && entry.figures.length
            ? el(
                "ol",
                null,
                entry.figures.map((figure) => el("li", null, link(figure)))
              )
            : null
        )
      )
    )
  );
}

function optionsOf(section) {
  const options = Object.entries(section.options);
  const text = options
    .map(([key, value]) => `${key}=${value === "" ? "(none)" : value}`)
    .join("  ");
  return el(
    "tr",
    null,
    el("th", { scope: "row" }, `${section.name} ${section.version || ""}`),
    el("td", null, text || "no options")
  );
}

function aboutRun(run, title) {
  const model = run.model || {};
  const facts = Object.entries({
    model: model.name,
    folder: model.path,
    hash: model.hash,
    version: run.version && `pythiascope ${run.version}`,
    ...run.run,
  }).filter(([, value]) => value !== undefined && value !== null);
  return el(
    "section",
    { class: "about" },
    el("h3", null, title),
    el(
      "dl",
      { class: "facts" },
      facts.map(([name, value]) =>
        el("div", null, el("dt", null, name.replace(/_/g, " ")), el("dd", null, String(value)))
      )
    ),
    el(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": `Options: ${title}` },
      el(
        "table",
        null,
        el("caption", null, "Plugins and their options"),
        el("tbody", null, run.sections.map(optionsOf))
      )
    )
  );
}

/** The foot: command, models, versions, options, and what the page lacks. text: the terminal's. */
export function foot(page, text) {
  const two = page.runs.length === 2;
  return el(
    "footer",
    { class: "foot", id: "about" },
    el("h2", null, "About this page"),
    page.command ? el("pre", { class: "command", tabindex: "0" }, page.command) : null,
    page.notes.length
      ? el(
          "section",
          null,
          el("h3", null, "What this page lacks"),
          el(
            "ul",
            null,
            page.notes.map((note) => el("li", null, note))
          )
        )
      : null,
    page.runs.map((run, i) =>
      aboutRun(run, two ? run.label || (i ? "The run beside" : "This run") : "The run")
    ),
    text
  );
}
