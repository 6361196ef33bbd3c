// The figures in the order in which they may claim a section's arrays: the special before the
// generic. To add one, write its file and list it here.
import { activationsFigure } from "./activations_figure.js";
import { agreement } from "./agreement.js";
import { attention } from "./attention.js";
import { attentionScores } from "./attention_scores.js";
import { attentionStatistics } from "./attention_statistics.js";
import { attributionFigure } from "./attribution_figure.js";
import { bins } from "./bins.js";
import { changesFigure } from "./changes_figure.js";
import { circuitFigure } from "./circuit_figure.js";
import { composition } from "./composition.js";
import { checkpoints } from "./checkpoints.js";
import { isStacked } from "./checkpoints_data.js";
import { contexts } from "./contexts.js";
import { copying } from "./copying.js";
import { curves } from "./curves.js";
import { denominatorsFigure } from "./denominators_figure.js";
import { distributions } from "./distributions.js";
import { edgesFigure } from "./edges_figure.js";
import { forms } from "./forms.js";
import { genericBars } from "./generic_bars.js";
import { genericGrid } from "./generic_grid.js";
import { genericLines } from "./generic_lines.js";
import { genericSummary } from "./generic_summary.js";
import { genericTable, genericTexts } from "./generic_table.js";
import { genericText } from "./generic_text.js";
import { genericValues } from "./generic_values.js";
import { gradientFigure } from "./gradient_figure.js";
import { lensFigure } from "./lens_figure.js";
import { listed } from "./listed.js";
import { network } from "./network.js";
import { overExamples } from "./over_examples.js";
import { partition } from "./partition.js";
import { partitionTotals } from "./partition_totals.js";
import { probe } from "./probe.js";
import { roles } from "./roles.js";
import { scores } from "./scores.js";
import { sharesFigure } from "./shares_figure.js";
import { spans } from "./spans.js";
import { spectra } from "./spectra.js";
import { strategiesFigure } from "./strategies_figure.js";
import { strategiesTotals } from "./strategies_totals.js";
import { sweep } from "./sweep.js";
import { totals } from "./totals.js";
import { vocabulary } from "./vocabulary.js";
import { words } from "./words.js";

const FIGURES = [
  sharesFigure,
  denominatorsFigure,
  lensFigure,
  activationsFigure,
  changesFigure,
  strategiesFigure,
  strategiesTotals,
  circuitFigure,
  attributionFigure,
  gradientFigure,
  sweep,
  spans,
  agreement,
  attention,
  network,
  edgesFigure,
  attentionScores,
  attentionStatistics,
  partition,
  roles,
  partitionTotals,
  probe,
  forms,
  words,
  scores,
  listed,
  vocabulary,
  contexts,
  spectra,
  copying,
  composition,
  totals,
  bins,
  distributions,
  curves,
];
const GENERIC = [
  genericText,
  genericTexts,
  genericGrid,
  genericBars,
  genericLines,
  genericValues,
  genericTable,
  genericSummary,
];

/** The ids of the targets are named by the figures of what they are targets of. */
function isKnownElsewhere(array) {
  return array.key === "target_ids" && array.axes[array.axes.length - 1] === "ids";
}

/** What special figures see of a section: not the arrays over checkpoints. */
function unstacked(section, free, values) {
  const arrays = new Map([...free].filter(([, array]) => !isStacked(array)));
  return Object.assign(Object.create(section), { arrays, values });
}

/**
 * What figure.match() answers, and the figure that draws it; no match where it throws, so that
 * other figures get the arrays.
 */
function matchOf(figure, section) {
  try {
    const over = overExamples(figure, section);
    if (over) return { drawn: over.figure, match: over.match };
    return { drawn: figure, match: figure.match(section) };
  } catch (error) {
    console.error(error);
    return { drawn: figure, match: null };
  }
}

/**
 * The figures of a section: [{figure, title, arrays, values}]. Each array belongs to one figure; a
 * figure may also claim values, whose names match() returns as "values".
 */
export function figuresOf(section) {
  const found = [];
  const free = new Map([...section.arrays].filter(([, array]) => !isKnownElsewhere(array)));
  const values = new Map(section.values);
  const view = Object.assign(Object.create(section), { arrays: free, values });
  for (const figure of [checkpoints, ...FIGURES, ...GENERIC]) {
    const isSpecial = FIGURES.includes(figure);
    const { drawn, match } = matchOf(figure, isSpecial ? unstacked(section, free, values) : view);
    if (!match) continue;
    const { title, arrays } = match;
    found.push({ figure: drawn, title, arrays, values: match.values || [] });
    for (const key of match.arrays) free.delete(key);
    for (const key of match.values || []) values.delete(key);
  }
  return found;
}
