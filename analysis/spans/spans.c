/* The plugin `spans`: the trees of minimal cuts of a text, one per level.
 *
 *   R_kj = sum_h A^h_kj |W_O,h v_j|                                     (kit/reads.h)
 *   [a, b] is split after the s with the least
 *   c(s) = sum_{k=s+1..b} sum_{j=a..s} R_kj / ((b - s) (s - a + 1)^g)   (kit/cuts.h)
 *
 * This file holds the options and the plugin's life. spans_trees.c makes units and trees,
 * spans_prefixes.c follows them over prefixes, spans_steps.c over the runs of a session;
 * spans_effects.c, spans_heads.c and spans_links.c say what later rows owe to units;
 * spans_arrays.c, spans_summary.c and spans_corpus.c show them; spans_show.c in the notations. */
#include "spans_show.h"

#include <string.h>

static const char *const unit_words[] = {"tokens", "words", NULL};
static const char *const read_words[] = {"norm", "weight", NULL};
static const char *const head_words[] = {"none", "reads", "causal", "residual", NULL};
static const char *const link_words[] = {"none", "frozen", "causal", NULL};

#define FIELD(name) offsetof(spans_state, name)
static const psc_option_description spans_options[] = {
    {"levels", "each", "each layer, or levels like 1+2/3 or L2H5: sums of layers or heads",
        PSC_OPTION_TEXT, FIELD(levels_text), 0, 0, NULL},
    {"units", "tokens", "what spans consist of: tokens, or words made of tokens", PSC_OPTION_WORD,
        FIELD(unit), 0, 0, unit_words},
    {"reads", "norm", "norm: attention times the length of what is written; weight: attention",
        PSC_OPTION_WORD, FIELD(read), 0, 0, read_words},
    {"power", "0.5", "g: 0.5 leans to right-branching, 1 to left-branching", PSC_OPTION_NUMBER,
        FIELD(power), 0, 8, NULL},
    {"range", "all", "positions of the trees: all, or A-B (both included)", PSC_OPTION_TEXT,
        FIELD(range_text), 0, 0, NULL},
    {"prefixes", "no", "yes: the trees of every prefix, and when each bracket appears",
        PSC_OPTION_YES_NO, FIELD(prefixes), 0, 0, NULL},
    {"closure", "no", "yes: how little later rows read the piece before each row",
        PSC_OPTION_YES_NO, FIELD(closure), 0, 0, NULL},
    {"heads", "none",
        "heads of spans by later rows' reads, by knock-outs, or by the residual as a comparison",
        PSC_OPTION_WORD, FIELD(effects.heads), 0, 0, head_words},
    {"after", "0", "heads=causal: rows after a span that count; 0: all", PSC_OPTION_COUNT,
        FIELD(effects.after), 0, 1 << 20, NULL},
    {"of", "", "heads: the units of the span at positions A-B, one by one", PSC_OPTION_TEXT,
        FIELD(effects.of_text), 0, 0, NULL},
    {"links", "none",
        "what a unit's prediction owes to reading another unit: knock-outs, or frozen",
        PSC_OPTION_WORDS, FIELD(effects.links), 0, 0, link_words},
    {"distance", "0", "links: most units from one end to the other; 0: any", PSC_OPTION_COUNT,
        FIELD(effects.distance), 0, 1 << 20, NULL},
    {"labels", "", "a CoNLL-U file whose sentences make the text: labels of spans", PSC_OPTION_TEXT,
        FIELD(shown.labels), 0, 0, NULL},
    {"xml", "", "a file for the XML of docs/structure.rng", PSC_OPTION_TEXT, FIELD(shown.xml), 0, 0,
        NULL},
    {"top", "8", "brackets listed in the summary", PSC_OPTION_COUNT, FIELD(top), 0, 64, NULL},
    {"memory", "2048", "most MiB of the tables, T^2 doubles per level", PSC_OPTION_COUNT,
        FIELD(memory), 1, 1 << 20, NULL},
    {0},
};

static int spans_open(psc_context *context, const psc_host *host, void **state) {
    spans_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    if (strcmp(s->range_text, "all") != 0 &&
        psc_option_positions(context, host, "range", s->range_text, &s->range_begin, &s->range_end))
        return -1;
    if (s->range_end > 0 && s->range_begin == 0)
        return host->fail(context,
            "range=%.40s is outside the text: position 0 is <|endoftext|>, the text begins at 1",
            s->range_text);
    if (psc_levels_parse(context, host, "levels", s->levels_text, &s->levels) ||
        psc_reads_open(
            &s->reads, context, host, &s->levels, s->read == READ_WEIGHT, s->closure, s->memory))
        return -1;
    if (spans_effects_open(s) || spans_show_open(s)) return -1;
    return host->accumulating(context) ? spans_corpus_open(s) : 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int spans_run_begin(psc_context *context, void *state) {
    spans_state *s = state;
    s->rows = s->host->rows(context, &s->n_rows);
    if (psc_reads_begin(&s->reads) || spans_units(s) || spans_effects_begin(s)) return -1;
    return spans_show_begin(s);
}

static int spans_run_end(psc_context *context, void *state, int status) {
    spans_state *s = state;
    if (status) return 0;
    if (psc_reads_end(&s->reads) || spans_make_trees(s)) return -1;
    if (s->prefixes && spans_follow_prefixes(s)) return -1;
    if (s->host->accumulating(context)) return spans_corpus_add(s);
    return spans_arrays(s) || spans_effects_find(s) ? -1 : 0;
}

static int spans_report(psc_context *context, void *state) {
    spans_state *s = state;
    if (s->host->accumulating(context)) return spans_corpus_report(s);
    return spans_show(s) || spans_summary(s) || spans_effects_summary(s) ? -1 : 0;
}

const psc_plugin *psc_builtin_spans(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "spans",
        .summary = "the structure of a text, level by level: trees of spans, cut where later rows "
                   "read the least of earlier ones",
        .points =
            "attn.hook_pattern attn.hook_v attn.hook_attn_scores hook_resid_pre hook_resid_post "
            "hook_logits",
        .options = spans_options,
        .corpus = PSC_CORPUS_YES,
        .open = spans_open,
        .run_begin = spans_run_begin,
        .run_end = spans_run_end,
        .report = spans_report,
        .needs_bos = 1,
    };
    return &plugin;
}
