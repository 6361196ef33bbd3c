/* The plugin `treebank`: how far trees of minimal cuts agree with a treebank, beside
 * trees that know nothing of the model. The verb `treebank` runs labelled sentences,
 * one a sequence, BOS first.
 *
 *   spans     F1, S-F1 and recall of brackets against contiguous yields, by level
 *   words     multi-token words as brackets      shared    brackets that two levels share
 *   revision  trees of every prefix              windows   sentences' borders that brackets cross
 *   heads     necessity, sufficiency, reads      links     effects against UD's edges
 *
 * Results of sentences are kept until the report, because "other" compares a sentence with the tree
 * of another one, and the bootstrap draws sentences. They are in no accumulator, so totals can be
 * neither saved nor merged. The accumulator of sequences makes the host refuse runs after one that
 * failed halfway, and shows the report that sequences are missing. */
#include "treebank.h"

#include <string.h>

static const char *const parts[] = {"spans", "words", "shared", "revision", "windows", "heads",
    "links", "comparisons", "all", NULL};
static const psc_option_description treebank_options[] = {
    {"levels", "each", "levels: each layer, or a list as for spans", PSC_OPTION_TEXT,
        offsetof(treebank_state, levels_text), 0, 0, NULL},
    {"what", "spans+words+shared", "parts that are computed", PSC_OPTION_WORDS,
        offsetof(treebank_state, what), 0, 0, parts},
    {"level", "", "the level chosen on other sentences", PSC_OPTION_TEXT,
        offsetof(treebank_state, chosen_text), 0, 0, NULL},
    {"plain", "yes", "also trees over plain attention", PSC_OPTION_YES_NO,
        offsetof(treebank_state, plain), 0, 0, NULL},
    {"limit", "0", "the first N sentences that the tables take; 0: all", PSC_OPTION_COUNT,
        offsetof(treebank_state, limit), 0, INT32_MAX, NULL},
    {"draws", "1000", "samples of the bootstrap", PSC_OPTION_COUNT, offsetof(treebank_state, draws),
        1, 100000, NULL},
    {"seed", "1", "of random trees and samples", PSC_OPTION_COUNT, offsetof(treebank_state, seed),
        0, INT32_MAX, NULL},
    {"memory", "1024", "most MiB of reads", PSC_OPTION_COUNT, offsetof(treebank_state, memory), 1,
        1 << 20, NULL},
    {0},
};

/* --- open ------------------------------------------------------------------------------------ */

static int find_chosen(treebank_state *s) {
    s->chosen = -1;
    for (int32_t l = 0; l < s->levels.n; l++)
        if (strcmp(s->levels.names[l], s->chosen_text) == 0) s->chosen = l;
    if (s->chosen < 0 && *s->chosen_text)
        return s->host->fail(s->context, "level=%.40s is not one of levels=%.80s; name one of them",
            s->chosen_text, s->levels_text);
    return 0;
}

static int treebank_open(psc_context *context, const psc_host *host, void **state) {
    treebank_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    if (!host->accumulating(context))
        return host->fail(context,
            "treebank needs labelled sentences; use the verb treebank with a CoNLL-U file");
    if (psc_levels_parse(context, host, "levels", s->levels_text, &s->levels) || find_chosen(s))
        return -1;
    const uint64_t n = (uint64_t)s->levels.n;
    s->n_systems = s->first_comparison = N_BASELINES + N_VARIANTS * s->levels.n;
    if (s->what & TREEBANK_COMPARISONS) s->n_systems += treebank_comparisons_count(s);
    s->random = s->window_random = (uint64_t)s->seed;
    s->words = host->life_alloc(context, (n + 1) * sizeof *s->words);
    s->pair_words = host->life_alloc(context, (n + 1) * sizeof *s->pair_words);
    s->pairs = host->life_alloc(context, (n + 1) * sizeof *s->pairs);
    s->shared = host->life_alloc(context, n * n * sizeof *s->shared);
    s->revised = host->life_alloc(context, n * sizeof *s->revised);
    s->lag = host->life_alloc(context, n * sizeof *s->lag);
    s->crossing = host->life_alloc(context, (n + 2) * sizeof *s->crossing);
    s->heads.need_reads = host->life_alloc(context, n * sizeof(double));
    s->heads.ud_reads = host->life_alloc(context, n * sizeof(double));
    if (!s->heads.need_reads || !s->heads.ud_reads || treebank_links_open(s)) return -1;
    if (!s->words || !s->pair_words || !s->pairs || !s->shared || !s->revised || !s->lag ||
        !s->crossing)
        return -1;
    psc_levels layers;
    if ((s->what & TREEBANK_COMPARISONS) &&
        (treebank_comparisons_make(s) ||
            psc_levels_parse(context, host, "levels", "each", &layers) ||
            psc_reads_open(&s->patterns, context, host, &layers, 1, 0, s->memory)))
        return -1;
    s->counter = host->accumulator(context, "sequences", PSC_ACCUMULATE_COUNT, 1, 0);
    if (s->counter < 0) return -1;
    if (s->plain && psc_reads_open(&s->plain_reads, context, host, &s->levels, 1, 0, s->memory))
        return -1;
    return psc_reads_open(&s->reads, context, host, &s->levels, 0, 0, s->memory);
}

/* --- a run ----------------------------------------------------------------------------------- */

static int is_full(const treebank_state *s) {
    return s->limit > 0 && s->n >= s->limit;
}

/* Scratch for sequences of up to n rows and sentences of up to n_words words. */
static int make_scratch(treebank_state *s, int32_t n, int32_t n_words) {
    const psc_host *host = s->host;
    const uint64_t rows = (uint64_t)n, most = (uint64_t)(n_words > n ? n_words : n);
    s->trees = host->run_alloc(s->context, (uint64_t)s->levels.n * sizeof *s->trees);
    for (int32_t l = 0; s->trees && l < s->levels.n; l++)
        if (!(s->trees[l] = host->run_alloc(s->context, rows * sizeof **s->trees))) return -1;
    s->tree = host->run_alloc(s->context, rows * sizeof *s->tree);
    s->spans = host->run_alloc(s->context, 4 * most * sizeof *s->spans);
    s->marks = host->run_alloc(s->context, 5 * most * sizeof *s->marks);
    s->at = host->run_alloc(s->context, (rows + 1) * sizeof *s->at);
    s->half = host->run_alloc(s->context, (rows + 1) * sizeof *s->half);
    s->whole = host->run_alloc(s->context, (rows + 1) * sizeof *s->whole);
    s->row = host->run_alloc(s->context, rows * sizeof *s->row);
    s->sums = host->run_alloc(s->context, (uint64_t)psc_triangle(n) * sizeof *s->sums);
    s->unit_at = host->run_alloc(s->context, (rows + 1) * sizeof *s->unit_at);
    if (!s->trees || !s->tree || !s->spans || !s->marks || !s->at || !s->half || !s->whole ||
        !s->row || !s->sums || !s->unit_at)
        return -1;
    for (int32_t t = 0; t <= n; t++) s->at[t] = t + 1;
    psc_cuts_weights(0.5, n, s->half);
    psc_cuts_weights(1.0, n, s->whole);
    return 0;
}

static int treebank_begin(psc_context *context, void *state) {
    treebank_state *s = state;
    int32_t n_sentences = 0, longest = 0, most_words = 0;
    const psc_sentence *sentences = s->host->sentences(context, &n_sentences);
    if (!sentences)
        return s->host->fail(context,
            "treebank needs labelled sentences; use the verb treebank with a CoNLL-U file");
    if (is_full(s)) return 0;
    if (psc_reads_begin(&s->reads) || (s->plain && psc_reads_begin(&s->plain_reads))) return -1;
    for (int32_t i = 0; i < s->reads.n; i++)
        if (s->reads.sequences[i].n > longest) longest = s->reads.sequences[i].n;
    for (int32_t i = 0; i < n_sentences; i++)
        if (sentences[i].n > most_words) most_words = sentences[i].n;
    if ((s->what & TREEBANK_COMPARISONS) &&
        (psc_reads_begin(&s->patterns) || treebank_comparisons_begin(s, longest)))
        return -1;
    const int links = (s->what & TREEBANK_LINKS) && !treebank_links_done(s);
    s->causal = links || ((s->what & TREEBANK_HEADS) && !treebank_heads_done(s));
    if (s->causal && psc_knockouts_begin(context, s->host, &s->knockouts)) return -1;
    if (links && psc_frozen_links_begin(&s->frozen, &s->knockouts.base)) return -1;
    return make_scratch(s, longest, most_words);
}

static int add_sentence(treebank_state *s, treebank_case *c) {
    if (treebank_case_make(s, c)) return -1;
    s->n_seen++;
    if (c->n_content < TREEBANK_LEAST || c->n_content > TREEBANK_MOST) {
        s->n_outside++;
        return 0;
    }
    if ((s->what & TREEBANK_COMPARISONS) && treebank_comparisons_open(s, c)) return -1;
    for (int32_t l = 0; l < s->levels.n; l++)
        treebank_tree(s, c->sequence, l, c->n_tokens, s->trees[l]);
    const int32_t rows = c->n_tokens + 1;
    const int is_short =
        rows >= TREEBANK_ROWS_LEAST && rows <= TREEBANK_ROWS_MOST && s->n_short < TREEBANK_SHORT;
    s->n_short += is_short;
    if (s->what & TREEBANK_WORDS) treebank_words_add(s, c);
    if ((s->what & TREEBANK_WORDS) && is_short) treebank_pairs_add(s, c);
    if (s->what & TREEBANK_SHARED) treebank_shared_add(s, c);
    if ((s->what & TREEBANK_REVISION) && is_short) treebank_revision_add(s, c);
    if ((s->what & TREEBANK_HEADS) && treebank_heads_wants(s, c) && treebank_heads_add(s, c))
        return -1;
    if ((s->what & TREEBANK_LINKS) && treebank_links_wants(s, c) && treebank_links_add(s, c))
        return -1;
    return treebank_spans_add(s, c);
}

/* The sentence in which a row's bytes begin. */
static const psc_sentence *sentence_of(
    const psc_sentence *sentences, int32_t n, const psc_row *row) {
    int32_t low = 0;
    while (n - low > 1) {
        const int32_t middle = low + (n - low) / 2;
        if (sentences[middle].start <= row->start)
            low = middle;
        else
            n = middle;
    }
    return &sentences[low];
}

static double count_sequences(const treebank_state *s) {
    int32_t n_rows = 0;
    const psc_row *rows = s->host->rows(s->context, &n_rows);
    double n = 0.0;
    for (int32_t r = 0; r < n_rows; r++) n += r == 0 || rows[r].sequence != rows[r - 1].sequence;
    return n;
}

static int treebank_end(psc_context *context, void *state, int status) {
    treebank_state *s = state;
    int32_t n_sentences = 0, n_rows = 0;
    if (status) return 0;
    const double n_sequences = count_sequences(s);
    if (s->host->accumulate(context, s->counter, 0, 1, &n_sequences)) return -1;
    s->n_sequences += n_sequences;
    if (is_full(s)) return 0;
    const psc_sentence *sentences = s->host->sentences(context, &n_sentences);
    const psc_row *rows = s->host->rows(context, &n_rows);
    if (psc_reads_end(&s->reads) || (s->plain && psc_reads_end(&s->plain_reads)) ||
        ((s->what & TREEBANK_COMPARISONS) && psc_reads_end(&s->patterns)))
        return -1;
    for (int32_t i = 0; i < s->reads.n && !is_full(s); i++) {
        const psc_reads_sequence *sequence = &s->reads.sequences[i];
        treebank_case c = {.sequence = i, .rows = rows + sequence->row};
        c.n_tokens = sequence->n - 1;
        if (c.n_tokens < 1) continue;
        if (s->what & TREEBANK_WINDOWS) treebank_windows_add(s, i, c.rows, sequence->n);
        c.sentence = sentence_of(sentences, n_sentences, &c.rows[1]);
        if ((s->what & ~(uint32_t)TREEBANK_WINDOWS) && add_sentence(s, &c)) return -1;
    }
    return 0;
}

/* --- the report ------------------------------------------------------------------------------ */

static int treebank_report(psc_context *context, void *state) {
    treebank_state *s = state;
    const psc_host *host = s->host;
    double n_sequences = 0.0;
    if (host->accumulated(context, s->counter, 0, 1, &n_sequences)) return -1;
    if (n_sequences != s->n_sequences)
        return host->fail(context,
            "treebank keeps its sentences in memory, so totals cannot be loaded or merged; run all "
            "sentences in one session");
    if (s->n == 0 && s->n_windows == 0)
        return host->fail(context, "none of %d sentences has %d to %d content units",
            (int)s->n_seen, TREEBANK_LEAST, TREEBANK_MOST);
    if (host->axis_labels(context, "levels", s->levels.n, s->levels.names) ||
        host->value_number(context, "sentences", s->n) ||
        host->value_number(context, "sentences_outside", s->n_outside) ||
        host->value_number(context, "tokens", (double)s->n_tokens))
        return -1;
    if ((s->what & TREEBANK_SPANS) && treebank_spans_report(s)) return -1;
    if ((s->what & TREEBANK_WORDS) && treebank_words_report(s)) return -1;
    if ((s->what & TREEBANK_SHARED) && treebank_shared_report(s)) return -1;
    if ((s->what & TREEBANK_REVISION) && treebank_revision_report(s)) return -1;
    if ((s->what & TREEBANK_HEADS) && treebank_heads_report(s)) return -1;
    if ((s->what & TREEBANK_LINKS) && treebank_links_report(s)) return -1;
    return s->what & TREEBANK_WINDOWS ? treebank_windows_report(s) : 0;
}

const psc_plugin *psc_builtin_treebank(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "treebank",
        .summary = "agreement of the model's brackets with labelled sentences (verb treebank)",
        .points = "attn.hook_v attn.hook_pattern",
        .options = treebank_options,
        .corpus = PSC_CORPUS_YES,
        .open = treebank_open,
        .run_begin = treebank_begin,
        .run_end = treebank_end,
        .report = treebank_report,
        .needs_bos = 1,
    };
    return &plugin;
}
