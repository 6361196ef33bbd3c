/* The plugin treebank on sentences of our own: gold spans, projection and baselines by hand; the
 * tables of a session against trees by brute force over captured patterns; what it refuses. */
#include "plugin_fixture.h"
#include "treebank.h"

/* --- a sentence by hand ----------------------------------------------------------------------
 * "The old man, who can't swim, sank."  Tokens (bytes): The| old| m|an|,| who| can|'t| swi|m|,| sank|.
 * ca + n't: the file cuts can't in ca, n't; the token " can" ends inside
 * "n't", so they share a unit.
 * units:   0 The 1 old 2 man 3 , 4 who 5 ca+n't 6 swim 7 , 8 sank 9 .
 * content: 0     1     2         3     4        5        6 */
static const char *const text = "The old man, who can't swim, sank.";
static const uint32_t ends[] = {3, 7, 9, 11, 12, 16, 20, 22, 26, 27, 28, 33, 34};
enum { TOKENS = sizeof ends / sizeof *ends, WORDS = 11 };

#define WORD(s, e, h, tag)                                                                         \
    { s, e, h, "x", "x", tag, "", "", "", "" }
static const psc_word parsed[WORDS] = {
    WORD(0, 3, 2, "DET"),     /* The <- man */
    WORD(4, 7, 2, "ADJ"),     /* old <- man */
    WORD(8, 11, 9, "NOUN"),   /* man <- sank */
    WORD(11, 12, 7, "PUNCT"), /* , <- swim */
    WORD(13, 16, 7, "PRON"),  /* who <- swim */
    WORD(17, 19, 7, "AUX"),   /* ca <- swim */
    WORD(19, 22, 7, "PART"),  /* n't <- swim */
    WORD(23, 27, 2, "VERB"),  /* swim <- man */
    WORD(27, 28, 7, "PUNCT"), /* , <- swim */
    WORD(29, 33, -1, "VERB"), /* sank */
    WORD(33, 34, 9, "PUNCT"), /* . <- sank */
};
static const psc_sentence sentence = {"own", NULL, 34, 0, WORDS, parsed, 0, 0, 1};

static void *zeroed(psc_context *context, uint64_t bytes) {
    (void)context;
    return calloc(1, bytes);
}

static treebank_case made(void) {
    static psc_row rows[TOKENS + 1];
    static psc_host table;
    static treebank_state state;
    table.run_alloc = zeroed;
    state.host = &table;
    for (int i = 0; i < TOKENS; i++) {
        rows[i + 1].start = i ? ends[i - 1] : 0;
        rows[i + 1].end = ends[i];
    }
    treebank_case c = {.rows = rows, .n_tokens = TOKENS, .sentence = &sentence};
    cr_assert_eq(treebank_case_make(&state, &c), 0);
    return c;
}

static void same_spans(int32_t n, const psc_span *got, int32_t n_want, const psc_span *want) {
    cr_assert_eq(n, n_want, "%d spans, not %d", n, n_want);
    for (int32_t i = 0; i < n; i++)
        cr_assert(got[i].begin == want[i].begin && got[i].end == want[i].end, "%d: %d..%d", i,
            got[i].begin, got[i].end);
}

Test(treebank, units_of_a_sentence) {
    static const int32_t of_token[] = {0, 1, 2, 2, 3, 4, 5, 5, 6, 6, 7, 8, 9};
    const treebank_case c = made();
    cr_assert_eq(strlen(text), sentence.bytes);
    cr_assert_eq(c.n_units, 10);
    cr_assert_eq(c.n_content, 7);
    for (int i = 0; i < TOKENS; i++) cr_assert_eq(c.of_token[i], of_token[i], "token %d", i);
    cr_assert_eq(c.of_word[5], 5);
    cr_assert_eq(c.of_word[6], 5);
    cr_assert_eq(c.units[5].n_words, 2);
    cr_assert(!c.units[3].content && !c.units[9].content && c.units[8].content);
}

/* man: The old man who can't swim = 0..5; swim: who can't swim = 3..5;
 * sank: the whole, left out. */
Test(treebank, gold_spans_by_hand) {
    const treebank_case c = made();
    const psc_span want[] = {{0, 5}, {3, 5}};
    psc_span got[WORDS];
    int32_t scratch[4 * WORDS], of[WORDS];
    same_spans(treebank_gold(&c, got, scratch), got, 2, want);
    cr_assert_eq(treebank_yields(&c, got, of, scratch), 2);
    cr_assert(of[0] == 2 && of[1] == 7);
}

/* Token brackets: each line's comment has the content units. */
Test(treebank, projection_by_hand) {
    const treebank_case c = made();
    const psc_bracket brackets[] = {
        {0, 12, 0, -1, 0}, /* the whole: none */
        {0, 1, 0, 0, 0},   /* The old: 0..1 */
        {0, 2, 0, 0, 0},   /* a part of man: none */
        {1, 4, 0, 0, 0},   /* old man, with its comma: 1..2 */
        {3, 5, 0, 0, 0},   /* a part of man: none */
        {4, 9, 0, 0, 0},   /* , who can't swim: 3..5 */
        {5, 10, 0, 0, 0},  /* who can't swim ,: 3..5 again */
        {10, 12, 0, 0, 0}, /* , sank .: one unit, none */
        {6, 7, 0, 0, 0},   /* can't: one unit, none */
        {7, 9, 0, 0, 0},   /* a part of can't: none */
        {8, 11, 0, 0, 0},  /* swim, sank: 5..6 */
    };
    const psc_span want[] = {{0, 1}, {1, 2}, {3, 5}, {5, 6}};
    psc_span got[16];
    same_spans(treebank_project(&c, 11, brackets, got), got, 4, want);
}

Test(treebank, baselines_by_hand) {
    const treebank_case c = made();
    const psc_span right[] = {{1, 6}, {2, 6}, {3, 6}, {4, 6}, {5, 6}};
    const psc_span left[] = {{0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}};
    const psc_span balanced[] = {{0, 1}, {0, 3}, {2, 3}, {4, 5}, {4, 6}};
    /* The old man | who can't swim | sank */
    const psc_span punctuation[] = {{0, 2}, {1, 2}, {3, 5}, {3, 6}, {4, 5}};
    psc_span got[2 * TOKENS];
    uint64_t seed = 7;
    same_spans(treebank_baseline_spans(&c, BASELINE_RIGHT, &seed, got), got, 5, right);
    same_spans(treebank_baseline_spans(&c, BASELINE_LEFT, &seed, got), got, 5, left);
    same_spans(treebank_baseline_spans(&c, BASELINE_BALANCED, &seed, got), got, 5, balanced);
    same_spans(treebank_baseline_spans(&c, BASELINE_PUNCTUATION, &seed, got), got, 5, punctuation);
    cr_assert_eq(seed, 7, "only random trees draw");
}

/* Random trees: binary, nested, and each split of the whole as often as any other. */
Test(treebank, random_trees) {
    const treebank_case c = made();
    uint64_t seed = 1;
    int first[7] = {0};
    for (int round = 0; round < 6000; round++) {
        psc_span got[2 * TOKENS];
        const int32_t n = treebank_baseline_spans(&c, BASELINE_RANDOM, &seed, got);
        int32_t split = 0;
        cr_assert_eq(n, 5);
        for (int32_t i = 0; i < n; i++) {
            for (int32_t j = 0; j < i; j++)
                cr_assert(got[j].begin == got[i].begin || got[j].end < got[i].begin ||
                              got[j].end >= got[i].end,
                    "they cross");
            if (got[i].begin == 0 && got[i].end > split) split = got[i].end;
        }
        first[split]++; /* the left part of the whole */
    }
    for (int i = 0; i < 6; i++) cr_assert(abs(first[i] - 1000) < 150, "%d: %d", i, first[i]);
}

/* --- trees over units ------------------------------------------------------------------------
 * "a bc  d e" in the tokens a| b|c| | d| e: token 3 is white space between words. */
enum { PARTS = 4, PIECES = 6, WHITE = 3 };
static const int32_t piece_of[PIECES] = {0, 1, 1, -1, 2, 3};

/* c(s) of units a..b after s, from all pairs of tokens of units. */
static double cut(double reads[PIECES][PIECES], int32_t a, int32_t s, int32_t b) {
    double sum = 0.0, left = 0.0, right = 0.0;
    for (int32_t k = 0; k < PIECES; k++) {
        const int32_t u = piece_of[k];
        left += u >= a && u <= s;
        right += u > s && u <= b;
        for (int32_t j = 0; j < k && u > s && u <= b; j++)
            if (piece_of[j] >= a && piece_of[j] <= s) sum += reads[k][j];
    }
    return sum / (right * sqrt(left));
}

static void split_units(
    double reads[PIECES][PIECES], int32_t a, int32_t b, int32_t *n, psc_span *out) {
    static const int32_t first[PARTS] = {0, 1, 4, 5}, last[PARTS] = {0, 2, 4, 5};
    int32_t best = a;
    if (a == b) return;
    out[(*n)++] = (psc_span){first[a], last[b]};
    for (int32_t s = a + 1; s < b; s++)
        if (cut(reads, a, s, b) < cut(reads, a, best, b)) best = s;
    split_units(reads, a, best, n, out);
    split_units(reads, best + 1, b, n, out);
}

static treebank_case made_parts(treebank_state *s, psc_host *table, psc_row *rows) {
    static const uint32_t starts[PIECES] = {0, 1, 3, 4, 5, 7};
    static const psc_word words[PARTS] = {
        WORD(0, 1, -1, "X"), WORD(2, 4, 0, "X"), WORD(6, 7, 0, "X"), WORD(8, 9, 0, "X")};
    static const psc_sentence parts = {"own", "a bc  d e", 9, 0, PARTS, words, 0, 0, 1};
    table->run_alloc = zeroed;
    s->host = table;
    for (int i = 0; i < PIECES; i++) {
        rows[i + 1].start = starts[i];
        rows[i + 1].end = i + 1 < PIECES ? starts[i + 1] : 9;
    }
    treebank_case c = {.rows = rows, .n_tokens = PIECES, .sentence = &parts};
    cr_assert_eq(treebank_case_make(s, &c), 0);
    for (int i = 0; i < PIECES; i++) cr_assert_eq(c.of_token[i], piece_of[i]);
    return c;
}

Test(treebank, trees_over_units_leave_tokens_of_none_out) {
    double tables[(PIECES + 1) * (PIECES + 2) / 2] = {0}, sums[64], row[8], half[8];
    int32_t marks[8], unit_at[8];
    psc_bracket tree[8];
    psc_row rows[PIECES + 1] = {{0}};
    psc_host table = {0};
    psc_reads_slot slot = {.capacity = PIECES + 1, .reads = tables};
    psc_reads_sequence sequence = {.n = PIECES + 1};
    treebank_state s = {.marks = marks, .row = row, .sums = sums, .unit_at = unit_at};
    const treebank_case c = made_parts(&s, &table, rows);
    uint64_t seed = 3;
    s.reads.slots = &slot;
    s.reads.sequences = &sequence;
    s.half = half;
    s.tree = tree;
    psc_cuts_weights(0.5, 7, half);
    for (int round = 0; round < 300; round++) {
        double reads[PIECES][PIECES] = {{0}};
        psc_span want[PARTS];
        int32_t n = 0;
        for (int32_t k = 0; k < PIECES; k++)
            for (int32_t j = 0; j < k; j++) {
                reads[k][j] = psc_tree_random_below(&seed, 1000) + (k == WHITE) * 1e6 +
                              (j == WHITE) * psc_tree_random_below(&seed, 100000);
                tables[psc_triangle(k + 1) + j + 1] = reads[k][j];
            }
        split_units(reads, 0, PARTS - 1, &n, want);
        cr_assert_eq(treebank_unit_tree(&s, &c, 0), PARTS - 1);
        for (int32_t i = 0; i < PARTS - 1; i++)
            cr_assert(tree[i].begin == want[i].begin && tree[i].end == want[i].end,
                "round %d: %d..%d, not %d..%d", round, tree[i].begin, tree[i].end, want[i].begin,
                want[i].end);
    }
}

/* --- a session -------------------------------------------------------------------------------
 * Three sentences of five one-byte tokens after BOS, so tokens, units and content units agree. */
enum { SENTENCES = 3, LENGTH = 5, ROWS = LENGTH + 1, LAYERS = 2, HEADS = 4 };
#define ONE(i, h) WORD(i, i + 1, h, "X")
static const psc_word own[SENTENCES][LENGTH] = {
    /* gold 0..1, 3..4 */
    {ONE(0, 1), ONE(1, 2), ONE(2, -1), ONE(3, 4), ONE(4, 2)},
    /* gold 1..4, 2..4, 3..4 */
    {ONE(0, -1), ONE(1, 0), ONE(2, 1), ONE(3, 2), ONE(4, 3)},
    /* gold 0..2, 0..1 */
    {ONE(0, 1), ONE(1, 2), ONE(2, 4), ONE(3, 4), ONE(4, -1)},
};
static const psc_span gold[SENTENCES][3] = {
    {{0, 1}, {3, 4}}, {{1, 4}, {2, 4}, {3, 4}}, {{0, 1}, {0, 2}}};
static const int32_t n_gold[SENTENCES] = {2, 3, 2};
static const int32_t ids[SENTENCES][ROWS] = {
    {0, 17, 5, 79, 41, 8}, {0, 60, 12, 12, 3, 33}, {0, 9, 71, 2, 55, 14}};

static void open_corpus(const char *options, int32_t threads, int32_t chunk) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    how.threads = threads;
    how.chunk = chunk;
    how.n_sequences = SENTENCES;
    how.capacity = 16;
    how.accumulate = 1;
    cr_assert_eq(psc_model_open(&model, MODELS "parallel_f32", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK, "%s", error.message);
    must_load("treebank", options);
}

/* Runs sentences first..last as one batch. */
static psc_status run_sentences(int first, int last) {
    static psc_token tokens[SENTENCES][ROWS];
    psc_sentence labels[SENTENCES];
    psc_input inputs[SENTENCES];
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    char bytes[SENTENCES * LENGTH + 1];
    memset(bytes, 'x', sizeof bytes);
    for (int i = first; i <= last; i++) {
        const uint32_t at = (uint32_t)((i - first) * LENGTH);
        for (int t = 0; t < ROWS; t++)
            tokens[i][t] = (psc_token){ids[i][t], at + (uint32_t)(t ? t - 1 : 0), at + (uint32_t)t};
        labels[i - first] = (psc_sentence){"", "xxxxx", LENGTH, at, LENGTH, own[i], 0, 0, 1};
        inputs[i - first] = (psc_input){i - first, ROWS, tokens[i]};
        psc_session_truncate(session, i - first, 0);
    }
    run.text = bytes;
    run.text_bytes = (size_t)((last - first + 1) * LENGTH);
    run.sentences = labels;
    run.n_sentences = last - first + 1;
    return psc_session_run(session, inputs, last - first + 1, &run, &error);
}

static void must_report(void) {
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

static double number_at(const char *name, int64_t i) {
    char full[64];
    snprintf(full, sizeof full, "treebank.%s", name);
    return ((const double *)must_array(full).data)[i];
}

static int has(int32_t n, const psc_span *spans, int32_t begin, int32_t end) {
    for (int32_t i = 0; i < n; i++)
        if (spans[i].begin == begin && spans[i].end == end) return 1;
    return 0;
}

static double f1_of(int32_t shared, int32_t found, int32_t n) {
    return 2.0 * shared / (found + n);
}

Test(treebank, tables_of_the_baselines) {
    open_corpus("", 1, 0);
    cr_assert_eq(run_sentences(0, 2), PSC_OK, "%s", error.message);
    must_report();
    /* right: 1..4 2..4 3..4 each; shares 1, 3, 0 of 2 + 3 + 2 gold, 9 found */
    cr_assert_float_eq(number_at("f1", BASELINE_RIGHT), 8.0 / 16.0, 1e-15);
    cr_assert_float_eq(number_at("recall", BASELINE_RIGHT), 4.0 / 7.0, 1e-15);
    cr_assert_float_eq(number_at("sentence_f1", BASELINE_RIGHT),
        (f1_of(1, 3, 2) + f1_of(3, 3, 3) + f1_of(0, 3, 2)) / 3.0, 1e-15);
    /* left: 0..1 0..2 0..3; shares 1, 0, 2 */
    cr_assert_float_eq(number_at("f1", BASELINE_LEFT), 6.0 / 16.0, 1e-15);
    /* without punctuation it is right-branching */
    cr_assert_float_eq(number_at("f1", BASELINE_PUNCTUATION), 8.0 / 16.0, 1e-15);
    /* trees of equal lengths are the same for all sentences */
    cr_assert_float_eq(number_at("other_f1", BASELINE_RIGHT), 8.0 / 16.0, 1e-15);
    psc_result_value oracle = {0};
    cr_assert_eq(
        psc_results_find_value(&oracle, psc_session_results(session), 0, "oracle_f1", &error),
        PSC_OK, "%s", error.message);
    cr_assert_float_eq(oracle.numbers[0], 14.0 / 16.0, 1e-15);
    fixture_close();
}

/* The tree of plain attention by brute force: all sums anew for every cut. */
static void split(double reads[ROWS][ROWS], int32_t a, int32_t b, int32_t *n, psc_span *out) {
    double least = INFINITY;
    int32_t best = a;
    if (a == b) return;
    if (b - a + 1 < LENGTH) out[(*n)++] = (psc_span){a - 1, b - 1};
    for (int32_t s = a; s < b; s++) {
        double sum = 0.0;
        for (int32_t k = s + 1; k <= b; k++)
            for (int32_t j = a; j <= s; j++) sum += reads[k][j];
        const double c = sum / ((b - s) * sqrt(s - a + 1));
        if (c >= least) continue;
        least = c;
        best = s;
    }
    split(reads, a, best, n, out);
    split(reads, best + 1, b, n, out);
}

/* The spans of one sentence at one layer, from the pattern that a session
 * without the plugin shows. */
static int32_t brute(int i, int layer, psc_span *out) {
    psc_token tokens[ROWS];
    char name[64];
    double reads[ROWS][ROWS] = {{0}};
    int32_t n = 0;
    open_session("parallel_f32", 0, 1);
    snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern", layer);
    must_capture(name);
    for (int t = 0; t < ROWS; t++) tokens[t] = (psc_token){ids[i][t], 0, 0};
    const psc_input input = {0, ROWS, tokens};
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK, "%s", error.message);
    const float *pattern = must_array(name).data;
    for (int h = 0; h < HEADS; h++)
        for (int k = 0; k < ROWS; k++)
            for (int j = 0; j <= k; j++) reads[k][j] += (double)pattern[(h * ROWS + k) * ROWS + j];
    fixture_close();
    split(reads, 1, LENGTH, &n, out);
    return n;
}

Test(treebank, plain_trees_by_brute_force) {
    psc_span found[LAYERS][SENTENCES][LENGTH];
    int32_t n[LAYERS][SENTENCES];
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < SENTENCES; i++) n[l][i] = brute(i, l, found[l][i]);
    open_corpus("draws=50", 2, 3);
    cr_assert_eq(run_sentences(0, 0), PSC_OK, "%s", error.message);
    cr_assert_eq(run_sentences(1, 2), PSC_OK, "%s", error.message);
    must_report();
    for (int l = 0; l < LAYERS; l++) {
        int32_t shared = 0, beside = 0, all = 0;
        for (int i = 0; i < SENTENCES; i++) {
            const int other = (i + 1) % SENTENCES;
            cr_assert_eq(n[l][i], LENGTH - 2);
            all += n[l][i] + n_gold[i];
            for (int32_t g = 0; g < n_gold[i]; g++) {
                const psc_span *x = &gold[i][g];
                shared += has(n[l][i], found[l][i], x->begin, x->end);
                beside += has(n[l][other], found[l][other], x->begin, x->end);
            }
        }
        const int system = treebank_system(l, VARIANT_PLAIN);
        cr_assert_float_eq(number_at("f1", system), 2.0 * shared / all, 1e-15, "level %d", l);
        cr_assert_float_eq(number_at("other_f1", system), 2.0 * beside / all, 1e-15);
    }
    fixture_close();
}

/* All arrays, over threads, chunks and batches. */
static void collect(double *out, int32_t threads, int32_t chunk, int one_by_one) {
    open_corpus("draws=20,what=all", threads, chunk);
    if (one_by_one)
        for (int i = 0; i < SENTENCES; i++)
            cr_assert_eq(run_sentences(i, i), PSC_OK, "%s", error.message);
    else
        cr_assert_eq(run_sentences(0, 2), PSC_OK, "%s", error.message);
    must_report();
    psc_array array;
    const psc_results *results = psc_session_results(session);
    int64_t at = 0;
    for (int32_t i = 0; psc_results_array_at(&array, results, 0, i, NULL) == PSC_OK; i++) {
        int64_t size = 1;
        for (int a = 0; a < array.n_axes; a++) size *= array.shape[a];
        cr_assert(at + size < 1000);
        memcpy(out + at, array.data, (size_t)size * sizeof *out);
        at += size;
    }
    cr_assert(at > 100);
    fixture_close();
}

Test(treebank, same_bits_for_threads_chunks_batches) {
    static double first[1000], again[1000];
    collect(first, 1, 0, 0);
    collect(again, 3, 2, 1);
    cr_assert_eq(memcmp(first, again, sizeof first), 0);
    collect(again, 2, 5, 0);
    cr_assert_eq(memcmp(first, again, sizeof first), 0);
}

Test(treebank, limit_and_choice) {
    open_corpus("limit=2,level=1,what=spans", 1, 0);
    cr_assert_eq(run_sentences(0, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(run_sentences(0, 2), PSC_OK, "%s", error.message);
    must_report();
    /* right-branching of the first two: shares 1 and 3 */
    cr_assert_float_eq(number_at("f1", BASELINE_RIGHT), 8.0 / 11.0, 1e-15);
    char *summary = NULL;
    size_t bytes = 0;
    cr_assert_eq(psc_results_write_memory(
                     &summary, &bytes, psc_session_results(session), PSC_FORMAT_TEXT, NULL, &error),
        PSC_OK);
    cr_assert(strstr(summary, "level 1 (chosen on other sentences)"), "%s", summary);
    psc_free(summary);
    fixture_close();
}

/* "other" never takes a sentence's own tree. */
Test(treebank, other_leaves_out_sentences_of_a_length_of_their_own) {
    open_corpus("what=spans,draws=20", 1, 0);
    cr_assert_eq(run_sentences(0, 0), PSC_OK, "%s", error.message);
    must_report();
    cr_assert(isnan(number_at("other_f1", BASELINE_RIGHT)));
    cr_assert(isnan(number_at("over_other", 3 * treebank_system(0, VARIANT_READS))));
    cr_assert(isnan(number_at("over_punctuation", 3 * treebank_system(0, VARIANT_READS) + 1)));
    cr_assert_eq(run_sentences(1, 1), PSC_OK, "%s", error.message);
    must_report();
    /* the same tree: right-branching of five units */
    cr_assert_float_eq(number_at("other_f1", BASELINE_RIGHT), 8.0 / 11.0, 1e-15);
    psc_result_value left_out = {0};
    cr_assert_eq(psc_results_find_value(
                     &left_out, psc_session_results(session), 0, "sentences_without_other", &error),
        PSC_OK, "%s", error.message);
    cr_assert_eq(left_out.numbers[0], 0.0);
    fixture_close();
}

/* --- what it refuses ------------------------------------------------------------------------- */

Test(treebank, needs_documents_and_sentences) {
    open_session("parallel_f32", 0, 1);
    REFUSED(
        psc_session_plugin(session, "treebank", NULL, &error), PSC_ERROR_PLUGIN, "verb treebank");
    fixture_close();
    open_corpus("", 1, 0);
    const psc_token tokens[3] = {{0, 0, 0}, {17, 0, 1}, {5, 1, 2}};
    const psc_input input = {0, 3, tokens};
    REFUSED(
        psc_session_run(session, &input, 1, NULL, &error), PSC_ERROR_PLUGIN, "labelled sentences");
    fixture_close();
}

Test(treebank, refuses_unknown_levels) {
    open_session("parallel_f32", 0, 1);
    psc_session_close(&session);
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    how.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK);
    REFUSED(
        psc_session_plugin(session, "treebank", "level=7", &error), PSC_ERROR_PLUGIN, "level=7");
    REFUSED(
        psc_session_plugin(session, "treebank", "levels=9", &error), PSC_ERROR_PLUGIN, "levels");
    fixture_close();
}

Test(treebank, without_a_sentence_that_counts) {
    open_corpus("", 1, 0);
    REFUSED(psc_session_report(session, NULL, &error), PSC_ERROR_PLUGIN, "none of 0 sentences");
    fixture_close();
}
