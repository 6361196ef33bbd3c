/* The plugin `words`: are words of several tokens units for the model?
 *
 *   brackets   the share of words of several tokens that the tree of minimal cuts of a level has as
 *              a bracket (kit/cuts.h; R of kit/reads.h, power 1/2), beside adjacent tokens of two
 *              words and what a random tree would have
 *   closure    closure(t-1 | t) = -mean_{h, k > t} A_k,t-1: later rows stop reading a piece whose
 *              word has gone on. AUROC for "t continues the word of t-1"
 *   lists      pieces of words that later rows go on reading, ends of words that they do not read
 *
 * This file has the options and the plugin's life. Words are the run's labels, or are found by the
 * bytes of the tokens (words_units.c). Over documents all totals are accumulators. */
#include "words.h"

#include <stddef.h>

static const char *const words_names[] = {"all", "letters", NULL};

static const psc_option_description words_options[] = {
    {"levels", "each", "each layer, or levels like 1+2/3/L2H5", PSC_OPTION_TEXT,
        offsetof(words_state, levels_text), 0, 0, NULL},
    {"words", "all", "words that count: all, or those of letters only", PSC_OPTION_WORD,
        offsetof(words_state, letters), 0, 0, words_names},
    {"top", "6", "pairs of tokens listed per level and kind", PSC_OPTION_COUNT,
        offsetof(words_state, top), 0, WORDS_TOP, NULL},
    {"memory", "1024", "most MiB of the reads of all sequences of a run", PSC_OPTION_COUNT,
        offsetof(words_state, memory), 1, 1 << 24, NULL},
    {0},
};

static int open_totals(words_state *s) {
    const psc_host *host = s->host;
    s->n_counts = words_bins(s, s->levels.n, 0);
    if (!host->accumulating(s->context)) return 0;
    s->counter = host->accumulator(s->context, "counts", PSC_ACCUMULATE_COUNT, s->n_counts, 0);
    if (s->counter < 0) return -1;
    s->sum = host->accumulator(s->context, "chance", PSC_ACCUMULATE_SUM, WORDS_KINDS, 0);
    if (s->sum < 0 || s->top == 0) return s->sum < 0 ? -1 : 0;
    s->list = host->accumulator(
        s->context, "pairs", PSC_ACCUMULATE_TOP, 2 * (int64_t)s->levels.n, s->top);
    return s->list < 0 ? -1 : 0;
}

static int words_open(psc_context *context, const psc_host *host, void **state) {
    words_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    if (psc_levels_parse(context, host, "levels", s->levels_text, &s->levels) ||
        psc_reads_open(&s->reads, context, host, &s->levels, 0, 1, s->memory))
        return -1;
    return open_totals(s);
}

static int make_scratch(words_state *s) {
    const psc_host *host = s->host;
    int32_t longest = 1;
    for (int32_t i = 0; i < s->reads.n; i++)
        if (s->reads.sequences[i].n > longest) longest = s->reads.sequences[i].n;
    const uint64_t room = (uint64_t)longest + 1;
    s->tree = host->run_alloc(s->context, room * sizeof *s->tree);
    s->at = host->run_alloc(s->context, room * sizeof *s->at);
    s->weights = host->run_alloc(s->context, room * sizeof *s->weights);
    s->counts = host->run_alloc(s->context, (uint64_t)s->n_counts * sizeof *s->counts);
    s->chance = host->run_alloc(s->context, WORDS_KINDS * sizeof *s->chance);
    if (!s->tree || !s->at || !s->weights || !s->counts || !s->chance) return -1;
    if (s->reads.n > 0) s->bos = s->reads.sequences[0].tokens[0];
    for (int32_t i = 0; i <= longest; i++) s->at[i] = i + 1;
    psc_cuts_weights(0.5, longest, s->weights);
    return 0;
}

static int make_lists(words_state *s) {
    const uint64_t n = 2 * (uint64_t)s->levels.n, k = (uint64_t)s->top;
    if (s->host->accumulating(s->context) || s->top == 0) return 0;
    s->lists = s->host->run_alloc(s->context, n * sizeof *s->lists);
    psc_ranked *entries = s->host->run_alloc(s->context, n * k * sizeof *entries);
    if (!s->lists || !entries) return -1;
    for (uint64_t i = 0; i < n; i++) s->lists[i] = (psc_top_list){entries + i * k, (int32_t)k, 0};
    return 0;
}

static int words_run_begin(psc_context *context, void *state) {
    words_state *s = state;
    (void)context;
    return psc_reads_begin(&s->reads) || make_scratch(s) || make_lists(s) ? -1 : 0;
}

static int words_run_end(psc_context *context, void *state, int status) {
    words_state *s = state;
    if (status) return 0;
    if (psc_reads_end(&s->reads)) return -1;
    for (int32_t i = 0; i < s->reads.n; i++) {
        words_case c;
        if (words_case_make(s, i, &c)) return -1;
        if (s->letters) words_keep_letters(s, i, &c);
        if (words_add(s, i, &c)) return -1;
    }
    if (!s->host->accumulating(context)) return 0;
    return s->host->accumulate(context, s->counter, 0, s->n_counts, s->counts);
}

static int words_report(psc_context *context, void *state) {
    (void)context;
    return words_report_all(state);
}

const psc_plugin *psc_builtin_words(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "words",
        .summary = "whether words of several tokens are units: brackets, and closure, how little "
                   "later rows read a piece whose word has gone on",
        .options = words_options,
        .needs_bos = 1,
        .corpus = PSC_CORPUS_YES,
        .open = words_open,
        .run_begin = words_run_begin,
        .run_end = words_run_end,
        .report = words_report,
        .points = "attn.hook_v attn.hook_pattern",
    };
    return &plugin;
}
