/* The plugin words: brackets, closure and lists of labelled sequences against float64 by brute
 * force, also of words of letters; words by the bytes of tokens; the same bits for any batches,
 * threads and chunks; refusals. */
#include "golden.h"
#include "plugin_fixture.h"
#include "reads.h"

enum { SEQUENCES = 2, LONG = 16, SHORT = 9, LEVELS = 3, WIDE = 40 };

/* Words of the long sequence: first and last token, tag, and the bytes of two that share token 8.
 * Tokens have two bytes each. */
typedef struct piece {
    uint32_t start, end;
    const char *upos;
} piece;
static const piece pieces[SEQUENCES][10] = {
    {{0, 4, "NOUN"}, {4, 6, "DET"}, {6, 12, "NOUN"}, {12, 14, "PUNCT"}, {14, 15, "VERB"},
        {15, 16, "PART"}, {16, 20, "ADJ"}, {20, 22, "NOUN"}, {22, 26, "VERB"}, {26, 30, "NOUN"}},
    {{0, 2, "DET"}, {2, 8, "NOUN"}, {8, 12, "VERB"}, {12, 16, "PUNCT"}}};
static const int n_pieces[SEQUENCES] = {10, 4};
/* Each position's unit; content: not punctuation; single: of one word. A test may set others. */
static int unit_of[SEQUENCES][WIDE] = {
    {-1, 0, 0, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7, 7, 8, 8}, {-1, 0, 1, 1, 1, 2, 2, 3, 3}};
static int content[SEQUENCES][WIDE] = {{1, 1, 1, 0, 1, 1, 1, 1, 1}, {1, 1, 1, 0}};
static int single[SEQUENCES][WIDE] = {{1, 1, 1, 1, 0, 1, 1, 1, 1}, {1, 1, 1, 1}};
static int32_t length[SEQUENCES] = {LONG, SHORT};
static int n_sequences = SEQUENCES;

static char text[64];
static psc_word labelled[SEQUENCES][10];
static psc_sentence labels[SEQUENCES];
static psc_token tokens[SEQUENCES][LONG];
static psc_input inputs[SEQUENCES];

static void make_sequences(void) {
    uint32_t at = 0;
    for (size_t i = 0; i + 1 < sizeof text; i++) text[i] = (char)('a' + i % 26);
    for (int q = 0; q < SEQUENCES; q++) {
        for (int w = 0; w < n_pieces[q]; w++)
            labelled[q][w] = (psc_word){.start = pieces[q][w].start,
                .end = pieces[q][w].end,
                .head = w == 0 ? -1 : 0,
                .form = "x",
                .lemma = "",
                .upos = pieces[q][w].upos,
                .xpos = "",
                .feats = "",
                .deprel = "",
                .misc = ""};
        labels[q] = (psc_sentence){.id = "",
            .text = text + at,
            .bytes = 2u * (uint32_t)(length[q] - 1),
            .start = at,
            .n = n_pieces[q],
            .words = labelled[q]};
        for (int32_t t = 0; t < length[q]; t++)
            tokens[q][t] = (psc_token){t == 0 ? 0 : (7 * q + 11 * t + t * t % 5) % 80,
                t == 0 ? 0 : at + 2u * (uint32_t)(t - 1), t == 0 ? 0 : at + 2u * (uint32_t)t};
        inputs[q] = (psc_input){q, length[q], tokens[q]};
        at += labels[q].bytes;
    }
}

static void open_words(int32_t accumulate, int32_t threads, int32_t chunk) {
    make_sequences();
    cr_assert_eq(
        psc_model_open(&model, MODELS "parallel_f32", &error), PSC_OK, "%s", error.message);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = accumulate;
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = SEQUENCES;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

static psc_status run_some(int begin, int n) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = text;
    options.text_bytes = strlen(text);
    options.sentences = labels;
    options.n_sentences = SEQUENCES;
    for (int i = 0; i < SEQUENCES; i++) psc_session_truncate(session, i, 0);
    return psc_session_run(session, inputs + begin, n, &options, &error);
}

/* --- brute force, in the run_end of a plugin of the test's own --------------------------------- */

static psc_reads reads;
static psc_levels levels;
static double hits[LEVELS][3], cases[3], expected_auroc[LEVELS];
static double closures[LEVELS][2][64];
static int n_closures[2], later[2][64];

static int brute_open(psc_context *c, const psc_host *h, void **state) {
    (void)state;
    return psc_levels_parse(c, h, "levels", "0,1,L0H1", &levels) ||
           psc_reads_open(&reads, c, h, &levels, 0, 1, 64);
}

static int brute_begin(psc_context *c, void *state) {
    (void)c, (void)state;
    return psc_reads_begin(&reads);
}

/* What positions s+1..b read of a..s, per cell and with the power 1/2. */
static double cut(int q, int32_t level, int a, int s, int b) {
    double sum = 0.0;
    for (int k = s + 1; k <= b; k++)
        for (int j = a; j <= s; j++) sum += psc_reads_row(&reads, q, level, k)[j];
    return sum / ((b - s) * sqrt(s - a + 1));
}

/* Whether the tree of [a, b] has the bracket [x, y]. */
static int has(int q, int32_t level, int a, int b, int x, int y) {
    int best = a;
    if (a == x && b == y) return 1;
    if (x < a || y > b || b - a < 1) return 0;
    for (int s = a + 1; s < b; s++)
        if (cut(q, level, a, s, b) < cut(q, level, a, best, b)) best = s;
    return has(q, level, a, best, x, y) || has(q, level, best + 1, b, x, y);
}

static void add_case(int q, int kind, int x, int y) {
    cases[kind] += 1.0;
    for (int32_t l = 0; l < LEVELS; l++) hits[l][kind] += has(q, l, 1, length[q] - 1, x, y);
}

static void brackets_of(int q) {
    for (int x = 1; x < length[q]; x++) {
        const int u = unit_of[q][x];
        int y = x;
        while (y + 1 < length[q] && unit_of[q][y + 1] == u) y++;
        if (unit_of[q][x - 1] != u && content[q][u] && single[q][u] && y > x) {
            add_case(q, 0, x, y);
            if (y == x + 1) add_case(q, 1, x, y);
        }
        if (x > 1 && unit_of[q][x - 1] != u && content[q][u] && content[q][unit_of[q][x - 1]])
            add_case(q, 2, x - 1, x);
    }
}

static void closures_of(int q) {
    for (int t = 2; t < length[q]; t++) {
        const int a = unit_of[q][t - 1], b = unit_of[q][t];
        if (!content[q][a] || !single[q][a] || !content[q][b] || !single[q][b]) continue;
        const int at = n_closures[a == b]++;
        later[a == b][at] = t + 3 < length[q];
        for (int32_t l = 0; l < LEVELS; l++)
            closures[l][a == b][at] = psc_reads_closure(&reads, q, l, t);
    }
}

static int brute_end(psc_context *c, void *state, int status) {
    (void)c, (void)state;
    if (status) return 0;
    if (psc_reads_end(&reads)) return -1;
    for (int q = 0; q < n_sequences; q++) {
        brackets_of(q);
        closures_of(q);
    }
    for (int32_t l = 0; l < LEVELS; l++) {
        double won = 0.0;
        for (int i = 0; i < n_closures[1]; i++)
            for (int k = 0; k < n_closures[0]; k++) {
                const double over = closures[l][1][i] - closures[l][0][k];
                won += over > 0.0 ? 1.0 : over == 0.0 ? 0.5 : 0.0;
            }
        expected_auroc[l] = won / (n_closures[1] * n_closures[0]);
    }
    return 0;
}

static double list_number(const char *name, int32_t place) {
    const psc_results *results = psc_session_results(session);
    psc_result_value value;
    for (int32_t i = 0; psc_results_value_at(&value, results, 0, i, NULL) == PSC_OK; i++)
        if (strcmp(value.name, name) == 0) return place < value.n ? value.numbers[place] : NAN;
    return NAN;
}

/* The largest -closure of pieces with three later rows, or the largest closure of ends. */
static void check_lists(int32_t level) {
    for (int continuing = 0; continuing < 2; continuing++) {
        char name[64];
        double best = -2.0;
        for (int i = 0; i < n_closures[continuing]; i++) {
            const double x = closures[level][continuing][i];
            if (later[continuing][i] && (continuing ? -x : x) > best) best = continuing ? -x : x;
        }
        snprintf(name, sizeof name, continuing ? "read_on_closure.%d" : "not_read_closure.%d",
            (int)level);
        cr_assert_eq(list_number(name, 0), continuing ? -best : best);
    }
}

static void load_both(const char *options) {
    find_bridge();
    must_load("words", options);
    bridge->open = brute_open;
    bridge->run_begin = brute_begin;
    bridge->run_end = brute_end;
    must_load(PLUGIN("bridge"), NULL);
}

static void check_figures(void) {
    const double *rate = must_array("words.brackets").data, *n = must_array("words.cases").data;
    const double *auroc = must_array("words.auroc").data,
                 *bound = must_array("words.auroc_error").data;
    cr_assert(n_closures[0] > 2 && n_closures[1] > 2);
    for (int kind = 0; kind < 3; kind++) cr_assert_eq(n[kind], cases[kind], "kind %d", kind);
    for (int32_t l = 0; l < LEVELS; l++) {
        for (int kind = 0; kind < 3; kind++)
            cr_assert(fabs(rate[l * 3 + kind] - hits[l][kind] / cases[kind]) < 1e-12);
        cr_assert(fabs(auroc[l] - expected_auroc[l]) <= bound[l] + 1e-12, "%g, should be %g",
            auroc[l], expected_auroc[l]);
        check_lists(l);
    }
}

Test(words, figures_against_float64) {
    open_words(0, 2, 5);
    load_both("levels=0\\,1\\,L0H1,top=4");
    cr_assert_eq(run_some(0, SEQUENCES), PSC_OK, "%s", error.message);
    check_figures();
    cr_assert(hits[0][0] + hits[1][0] + hits[2][0] > 0.0);
    double chance = 0.0;
    static const int several[7][3] = {
        {0, 1, 2}, {0, 4, 6}, {0, 9, 10}, {0, 12, 13}, {0, 14, 15}, {1, 2, 4}, {1, 5, 6}};
    for (int i = 0; i < 7; i++)
        chance += psc_tree_chance(length[several[i][0]] - 1, several[i][1] - 1, several[i][2] - 1);
    cr_assert(fabs(((const double *)must_array("words.random_tree").data)[0] - chance / 7) < 1e-12);
    fixture_close();
}

/* --- words of letters ------------------------------------------------------------------------- */

static const char letters_text[] =
    "Old Grumbold doesn't, cannot gallop over meadows nor 1024 caf\xc3\xa9s, Nobodyson fooled Mp3";
static const struct {
    const char *form, *upos;
    bool letters;
} letters_words[] = {{"Old", "ADJ", true}, {"Grumbold", "PROPN", true}, {"does", "AUX", true},
    {"n't", "PART", false}, {",", "PUNCT", false}, {"can", "AUX", true}, {"not", "PART", true},
    {"gallop", "VERB", true}, {"over", "ADP", true}, {"meadows", "NOUN", true},
    {"nor", "CCONJ", true}, {"1024", "NUM", false}, {"caf\xc3\xa9s", "NOUN", true},
    {",", "PUNCT", false}, {"Nobodyson", "PROPN", true}, {"fooled", "VERB", true},
    {"Mp3", "NOUN", false}};
enum { LETTERS_WORDS = sizeof letters_words / sizeof *letters_words };
static psc_word letters_labels[LETTERS_WORDS];

static psc_sentence label_letters(void) {
    uint32_t at = 0;
    for (int w = 0; w < LETTERS_WORDS; w++) {
        at += letters_text[at] == ' ';
        letters_labels[w] = labelled[0][0];
        letters_labels[w].start = at;
        letters_labels[w].end = at += (uint32_t)strlen(letters_words[w].form);
        letters_labels[w].head = w == 0 ? -1 : 0;
        letters_labels[w].form = letters_words[w].form;
        letters_labels[w].upos = letters_words[w].upos;
    }
    return (psc_sentence){
        .id = "", .text = letters_text, .bytes = at, .n = LETTERS_WORDS, .words = letters_labels};
}

static bool touches(const psc_token *token, int w) {
    return token->start < letters_labels[w].end && token->end > letters_labels[w].start;
}

/* A token is of the unit before if a word touches both; a unit counts if its only word is of
 * letters. The number of units of several words. */
static int place_letters(const psc_token *encoded, int32_t n) {
    int unit = -1, shared = 0;
    n_sequences = 1;
    length[0] = n;
    for (int32_t t = 1; t < n; t++) {
        bool same = false;
        for (int w = 0; t > 1 && w < LETTERS_WORDS; w++)
            same |= touches(&encoded[t], w) && touches(&encoded[t - 1], w);
        unit_of[0][t] = same ? unit : ++unit;
    }
    for (int u = 0; u <= unit; u++) {
        int n_words = 0;
        bool letters = false;
        for (int w = 0; w < LETTERS_WORDS; w++) {
            bool in = false;
            for (int32_t t = 1; t < n; t++) in |= unit_of[0][t] == u && touches(&encoded[t], w);
            n_words += in;
            letters |= in && letters_words[w].letters;
        }
        shared += n_words > 1;
        content[0][u] = single[0][u] = n_words == 1 && letters;
    }
    return shared;
}

Test(words, letters_against_float64) {
    if (!golden_embedded()) cr_skip_test("no weights");
    make_sequences();
    model = must_model(golden_embedded());
    session = must_session(model, NULL, 1, 0);
    load_both("levels=0\\,1\\,L0H1,top=4,words=letters");
    psc_token *encoded = NULL;
    int32_t n = 0;
    psc_sentence sentence = label_letters();
    cr_assert_eq(
        psc_model_encode(&encoded, &n, model, letters_text, strlen(letters_text), true, &error),
        PSC_OK, "%s", error.message);
    cr_assert(n <= WIDE);
    cr_assert_eq(place_letters(encoded, n), 2, "does|n't and can|not share tokens");
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = letters_text;
    options.text_bytes = strlen(letters_text);
    options.sentences = &sentence;
    options.n_sentences = 1;
    const psc_input input = {0, n, encoded};
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    check_figures();
    cr_assert(cases[0] > 2.0 && cases[2] > 2.0);
    psc_free(encoded);
    fixture_close();
}

/* --- bits ------------------------------------------------------------------------------------- */

/* documents: totals over documents are rounded to their grid. */
static void compare(int keep, int documents) {
    static const char *const names[] = {
        "words.brackets", "words.random_tree", "words.auroc", "words.auroc_error"};
    static double first[2][4][64];
    for (int m = 0; m < 4; m++) {
        const psc_array array = must_array(names[m]);
        size_t bytes = sizeof(double);
        for (int axis = 0; axis < array.n_axes; axis++) bytes *= (size_t)array.shape[axis];
        cr_assert_leq(bytes, sizeof first[0][m]);
        if (keep) memcpy(first[documents][m], array.data, bytes);
        cr_assert_eq(
            memcmp(first[documents][m], array.data, bytes), 0, "%s has other bits", names[m]);
    }
}

/* One run of a text, and documents in batches. */
Test(words, batches_threads_chunks_same_bits) {
    static const int32_t ways[][4] = {
        {0, 2, 1, 0}, {1, 2, 3, 1}, {1, 1, 2, 7}, {1, 2, 1, 4}, {0, 2, 3, 3}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        open_words(ways[w][0], ways[w][2], ways[w][3]);
        must_load("words", "top=3");
        for (int at = 0; at < SEQUENCES; at += ways[w][1])
            cr_assert_eq(run_some(at, ways[w][1]), PSC_OK, "%s", error.message);
        if (ways[w][0])
            cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
        compare(w < 2, ways[w][0]);
        fixture_close();
    }
}

/* --- words by bytes, refusals ----------------------------------------------------------------- */

/* letters: only words of letters count. */
static void check_by_bytes(bool letters) {
    static const char sentence[] = "A giant named Grumbold, 1024 and Nobody";
    model = must_model(golden_embedded());
    session = must_session(model, NULL, 1, 0);
    must_load("words", letters ? "top=0,words=letters" : "top=0");
    psc_token *encoded = NULL;
    int32_t n = 0, several = 0, across = 0, numbers = 0, size = 1;
    cr_assert_eq(psc_model_encode(&encoded, &n, model, sentence, strlen(sentence), true, &error),
        PSC_OK, "%s", error.message);
    for (int32_t t = 2; t <= n; t++) { /* here a word begins at a space or is the comma */
        const char c = t < n ? sentence[encoded[t].start] : ' ';
        const int begins = c == ' ' || c == ',';
        const bool number = strchr("1024", sentence[encoded[t - 1].end - 1]) != NULL;
        const bool next = t < n && strchr("1024", sentence[encoded[t].end - 1]) != NULL;
        several += begins && size > 1 && !(letters && number);
        across += begins && t < n && c != ',' && sentence[encoded[t - 1].start] != ',' &&
                  !(letters && (number || next));
        numbers += number && size > 1;
        size = begins ? 1 : size + 1;
    }
    must_run_one(session, encoded, n);
    const double *cases_found = must_array("words.cases").data;
    cr_assert_gt(several, letters ? 1 : 2);
    cr_assert_gt(numbers, 0, "the number has one token");
    cr_assert_eq(cases_found[0], several);
    cr_assert_eq(cases_found[2], across);
    psc_free(encoded);
    fixture_close();
}

Test(words, without_labels_by_the_bytes_of_tokens) {
    if (!golden_embedded()) cr_skip_test("no weights");
    check_by_bytes(false);
    check_by_bytes(true);
}

Test(words, short_sequences_and_refusals) {
    open_words(0, 1, 0);
    must_load("words", NULL);
    for (int32_t n = 1; n < 4; n++) {
        inputs[0].n = n;
        cr_assert_eq(run_some(0, 1), PSC_OK, "%s", error.message);
    }
    fixture_close();
    open_words(0, 1, 0);
    REFUSED(psc_session_plugin(session, "words", "levels=9", &error), PSC_ERROR_PLUGIN, "levels");
    REFUSED(psc_session_plugin(session, "words", "top=65", &error), PSC_ERROR_INPUT, "top");
    REFUSED(
        psc_session_plugin(session, "words", "words=x", &error), PSC_ERROR_INPUT, "all, letters");
    fixture_close();
}
