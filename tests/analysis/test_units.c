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
static int touches(
    const psc_row *rows, const psc_word_unit *unit, const psc_sentence *sentence, int32_t word) {
    const uint32_t begin = sentence->start + sentence->words[word].start;
    const uint32_t end = sentence->start + sentence->words[word].end;
    for (int32_t t = unit->first; t <= unit->last; t++)
        if (rows[t].start < end && begin < rows[t].end) return 1;
    return 0;
}

static void show_units(const psc_row *rows, const psc_word_units *all) {
    char *out = shown;
    shown[0] = 0;
    for (int32_t u = 0; u < all->n; u++) {
        const uint32_t begin = rows[all->units[u].first].start, end = rows[all->units[u].last].end;
        out += sprintf(out, all->units[u].content ? "%s%.*s" : "%s(%.*s)", u ? "|" : "",
            (int)(end - begin), text + begin);
    }
}

static int check_labelled(const psc_row *rows, int32_t n) {
    static const int32_t n_words[] = {1, 1, 1, 2, 2, 1, 1}, word[] = {0, 1, 0, 1, 3, 5, 6};
    psc_word_units all;
    int32_t of_word[2][N_WORDS];
    if (psc_word_units_open(context, host, rows, 1, n, &all)) return -1;
    for (int s = 0; s < 2; s++) psc_word_units_add(&all, &sentences[s], of_word[s]);
    show_units(rows, &all);
    for (int s = 0; s < 2; s++)
        for (int32_t w = 0; w < sentences[s].n; w++)
            for (int32_t u = 0; u < all.n; u++)
                cr_assert_eq(of_word[s][w] == u, touches(rows, &all.units[u], &sentences[s], w),
                    "word %d, unit %d of %s", w, u, shown);
    cr_assert_eq(all.of_row[0], -1);
    for (int32_t r = 1, u = -1; r < n; r++) {
        if (u + 1 < all.n && r == all.units[u + 1].first) u++;
        cr_assert_eq(all.of_row[r], u >= 0 && r <= all.units[u].last ? u : -1, "row %d", r);
    }
    for (int32_t u = 0; u < all.n; u++) {
        cr_assert_eq(all.units[u].n_words, n_words[u], "unit %d of %s", u, shown);
        cr_assert_eq(all.units[u].word, word[u], "unit %d of %s", u, shown);
    }
    return 0;
}

/* The rows from 3 on are missing: their words are in no unit. */
static int check_cut(const psc_row *rows, int32_t n) {
    psc_word_units all;
    int32_t of_word[N_WORDS];
    (void)n;
    if (psc_word_units_open(context, host, rows, 1, 3, &all)) return -1;
    psc_word_units_add(&all, &sentences[0], of_word);
    cr_assert(of_word[0] == 0 && of_word[1] == 1);
    psc_word_units_add(&all, &sentences[1], of_word);
    for (int32_t w = 0; w < sentences[1].n; w++) cr_assert_eq(of_word[w], -1);
    cr_assert_eq(all.n, 2);
    return 0;
}

/* A window that begins inside a word: row 0 has no bytes, and no word. */
static int check_window(const psc_row *rows, int32_t n) {
    psc_row window[3];
    psc_word_units all;
    int32_t of_word[N_WORDS];
    cr_assert(n > 3);
    for (int i = 1; i < 3; i++) window[i] = rows[i + 1];
    window[0] = rows[0];
    window[0].start = window[0].end = rows[2].start + 2; /* after the space, in "said" */
    window[1].start = window[0].end;
    if (psc_word_units_open(context, host, window, 1, 3, &all)) return -1;
    psc_word_units_add(&all, &sentences[0], of_word);
    cr_assert(of_word[0] == -1 && of_word[1] == 0);
    cr_assert(all.units[0].first == 1 && all.of_row[0] == -1);
    return 0;
}

Test(units, labelled_words) {
    run_on(text, check_labelled);
    cr_assert_str_eq(shown, "He| said| Grumbold| cannot| thank| me|(.)");
    run_on(text, check_cut);
    run_on(text, check_window);
    fixture_close();
}

Test(units, punctuation) {
    static const struct {
        const char *upos, *form;
        int is;
    } cases[] = {{"PUNCT", "word", 1}, {"SYM", "%", 0}, {"", "...", 1}, {"", "a.", 0}, {"", "7", 0},
        {"", "\xe2\x80\x94", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const psc_word word = {.upos = cases[i].upos, .form = cases[i].form};
        cr_assert_eq(psc_word_is_punctuation(&word), cases[i].is, "%s", cases[i].form);
    }
}
