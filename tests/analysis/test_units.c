/* Units of texts (analysis/kit/units.c): words by their bytes, characters that tokens split, and
 * labelled words against a search over all words and tokens. */
#include "golden.h"
#include "plugin_fixture.h"
#include "units.h"

enum { MOST = 64 };

static psc_context *context;
static psc_token *tokens;
static int32_t n_tokens, ids[MOST];
static const char *run_text;
static int (*check)(const psc_row *rows, int32_t n);
static psc_units units;

static int units_open(psc_context *c, const psc_host *h, void **state) {
    (void)state;
    context = c;
    host = h;
    return 0;
}

static int units_run_begin(psc_context *c, void *state) {
    int32_t n = 0;
    const psc_row *rows = host->rows(c, &n);
    (void)state;
    for (int32_t t = 0; t < n; t++) ids[t] = rows[t].token;
    return check(rows, n);
}

/* Runs the text on the embedded model; `by` looks at its rows. */
static void run_on(const char *text, int (*by)(const psc_row *, int32_t)) {
    if (!model) {
        find_bridge();
        bridge->open = units_open;
        bridge->run_begin = units_run_begin;
        model = must_model(golden_embedded());
        session = must_session(model, NULL, 1, 0);
        must_load(PLUGIN("bridge"), NULL);
    }
    run_text = text;
    check = by;
    cr_assert_eq(
        psc_model_encode(&tokens, &n_tokens, model, text, strlen(text), true, &error), PSC_OK);
    cr_assert_leq(n_tokens, MOST);
    psc_input input = {0, n_tokens, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = text;
    options.text_bytes = strlen(text);
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    psc_free(tokens);
}

/* The units' texts, joined by |; units that are punctuation only are in brackets. */
static char shown[1024];

static void show(const psc_row *rows, int32_t n) {
    char *to = shown;
    cr_assert_eq(units.begin[0], 1);
    cr_assert_eq(units.begin[units.n], n);
    for (int32_t u = 0; u < units.n; u++) {
        cr_assert_lt(units.begin[u], units.begin[u + 1]);
        const uint32_t from = rows[units.begin[u]].start, end = rows[units.begin[u + 1] - 1].end;
        to += sprintf(to, units.content[u] ? "%s%.*s" : "%s(%.*s)", u ? "|" : "", (int)(end - from),
            run_text + from);
    }
}

static int show_words(const psc_row *rows, int32_t n) {
    if (psc_units_words(context, host, ids, n, &units)) return -1;
    show(rows, n);
    return 0;
}

static int show_tokens(const psc_row *rows, int32_t n) {
    if (psc_units_tokens(context, host, ids, n, &units)) return -1;
    cr_assert_eq(units.n, n - 1);
    for (int32_t u = 0; u < units.n; u++) cr_assert_eq(units.begin[u], u + 1);
    show(rows, n);
    return 0;
}

Test(units, words) {
    static const char *const cases[][2] = {
        {"The old man gave a red apple, and she thanked him.",
            "The| old| man| gave| a| red| apple|(,)| and| she| thanked| him|(.)"},
        {"Grumbold's \"cat\" cost $5 in 1999!",
            "Grumbold|'s|( \")|cat|(\")| cost|( )|$|5| in| 1999|(!)"},
        {"caf\xc3\xa9 na\xc3\xafve \xe2\x80\x9cyes\xe2\x80\x9d \xe2\x80\x94 no",
            "caf\xc3\xa9| na\xc3\xafve|( )|(\xe2\x80\x9c)|yes|(\xe2\x80\x9d)|( )|(\xe2\x80\x94)| no"},
        {"\xd0\xbc\xd0\xb8\xd1\x80 \xe4\xb8\x96\xe7\x95\x8c\xe3\x80\x82",
            "\xd0\xbc\xd0\xb8\xd1\x80|( )|\xe4\xb8\x96\xe7\x95\x8c|(\xe3\x80\x82)"},
        {"one\ntwo\n\nthree", "one|(\n)|two|(\n)|(\n)|three"},
        {"a", "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_on(cases[i][0], show_words);
        cr_assert_str_eq(shown, cases[i][1]);
    }
    run_on(
        "\xf0\x9f\x98\x80\xf0\x9f\x98\x81 no", show_words); /* each character is several tokens */
    cr_assert_str_eq(shown, "\xf0\x9f\x98\x80\xf0\x9f\x98\x81| no");
    fixture_close();
}

Test(units, tokens) {
    run_on("a red, \xe2\x80\x9c\x3f", show_tokens);
    cr_assert(strstr(shown, "a| red|(,)"), "%s", shown);
    run_on("7 $ ;", show_tokens);
    cr_assert_str_eq(shown, "7|( )|$|( )|(;)");
    fixture_close();
}

/* --- labelled words -------------------------------------------------------------------------- */

enum { N_WORDS = 9 };
/* "He said" ("He", "said"), then a sentence with a word that two words share ("cannot": can + not,
 * the same bytes), a word inside a token, an empty one; " xyz " is in no sentence. */
static const char text[] = "He said:  xyz  Grumbold cannot thank me.";
static psc_word first[2] = {
    {.start = 0, .end = 2, .upos = "PRON"}, {.start = 3, .end = 7, .upos = "VERB"}};
static psc_word second[N_WORDS - 2] = {{.start = 0, .end = 8, .upos = "PROPN"},
    {.start = 9, .end = 15, .upos = "AUX"}, {.start = 9, .end = 15, .upos = "PART"},
    {.start = 16, .end = 19, .upos = "VERB"}, {.start = 19, .end = 21, .upos = "PART"},
    {.start = 22, .end = 24, .upos = "PRON"}, {.start = 24, .end = 25, .upos = "PUNCT"}};
static const psc_sentence sentences[2] = {
    {.text = text, .bytes = 8, .start = 0, .n = 2, .words = first},
    {.text = text + 15, .bytes = 25, .start = 15, .n = N_WORDS - 2, .words = second}};

/* Whether the word has a byte of the unit. */
static int touches(const psc_row *rows, int32_t unit, uint32_t begin, uint32_t end) {
    for (int32_t t = units.begin[unit]; t < units.begin[unit + 1]; t++)
        if (rows[t].start < end && begin < rows[t].end) return 1;
    return 0;
}

static int check_labelled(const psc_row *rows, int32_t n) {
    psc_unit_words words;
    int32_t number = 0;
    if (psc_units_labelled(context, host, rows, n, sentences, 2, &units, &words)) return -1;
    show(rows, n);
    cr_assert_eq(words.n, N_WORDS);
    for (int s = 0; s < 2; s++)
        for (int32_t w = 0; w < sentences[s].n; w++, number++) {
            const psc_word *word = &sentences[s].words[w];
            for (int32_t u = 0; u < units.n; u++)
                cr_assert_eq(words.unit[number] == u,
                    touches(
                        rows, u, sentences[s].start + word->start, sentences[s].start + word->end),
                    "word %d, unit %d of %s", number, u, shown);
            const int32_t unit = words.unit[number];
            cr_assert(number >= words.first_word[unit] && number < words.first_word[unit + 1]);
        }
    cr_assert_eq(words.first_word[units.n], N_WORDS);
    return 0;
}

/* The rows from `cut` on are missing: their words are in no unit. */
static int check_cut(const psc_row *rows, int32_t n) {
    psc_unit_words words;
    (void)n;
    if (psc_units_labelled(context, host, rows, 4, sentences, 2, &units, &words)) return -1;
    show(rows, 4);
    for (int32_t w = 0; w < N_WORDS; w++) cr_assert_eq(words.unit[w], w < 2 ? w : -1);
    cr_assert_eq(words.first_word[units.n], 2);
    return 0;
}

Test(units, labelled_words) {
    run_on(text, check_labelled);
    cr_assert_str_eq(shown, "He| said|(:)|  x|y|z|  Grumbold| cannot| thank| me|(.)");
    run_on(text, check_cut);
    cr_assert_str_eq(shown, "He| said|(:)");
    fixture_close();
}
