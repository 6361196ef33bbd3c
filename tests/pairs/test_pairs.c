/* Sets of pairs: what a line becomes, which tokens are aligned, how rows are named; every refusal
 * with its line. */
#include "pairs_fixture.h"

#include "pairs.h"

TestSuite(pairs, .init = fixture_open, .fini = pairs_fixture_close);

#define LINE(rest) "{\"clean\": [1, 2, 3], \"target\": 4" rest "}\n"

Test(pairs, a_line_is_a_pair) {
    must_read_pairs("\xef\xbb\xbf{\"clean\": [3, 1, 4], \"corrupt\": [3, 5, 4], \"target\": 7, "
                    "\"contrast\": 8, \"id\": \"x\", \"group\": \"g\"}\r\n\n"
                    "  \t\n{\"clean\": [9, 9], \"corrupt\": [9, 2], \"target\": 1, \"id\": 12}",
        PSC_ALIGN_EQUAL);
    cr_assert_eq(psc_pairs_count(pairs), 2);
    cr_assert_eq(psc_pairs_longest(pairs), 3);
    cr_assert(psc_pairs_have_source(pairs));
    const psc_pair first = must_pair(0), second = must_pair(1);
    cr_assert(first.n_clean == 3 && first.n_corrupt == 3 && first.a == 7 && first.b == 8);
    cr_assert(first.clean[1].id == 1 && first.corrupt[1].id == 5 && first.clean[1].end == 0);
    cr_assert(strcmp(first.id, "x") == 0 && strcmp(first.group, "g") == 0 && first.line == 1);
    for (int i = 0; i < 3; i++) cr_assert_eq(first.source_positions[i], i);
    cr_assert(strcmp(second.id, "12") == 0 && !second.group && second.line == 4);
    cr_assert_eq(second.b, -1);
}

Test(pairs, an_id_is_the_line_without_one) {
    must_read_pairs("\n" LINE(""), PSC_ALIGN_EQUAL);
    const psc_pair pair = must_pair(0);
    cr_assert_str_eq(pair.id, "2");
    cr_assert(!psc_pairs_have_source(pairs) && !pair.corrupt && !pair.source_positions);
    psc_pair none = PSC_PAIR_INIT;
    REFUSED(psc_pairs_at(&none, pairs, 1, &error), PSC_ERROR_INPUT, "pair 1");
    REFUSED(psc_pairs_at(&none, pairs, -1, &error), PSC_ERROR_INPUT, "pair -1");
}

static const char unequal[] = "{\"clean\": [1, 2, 3, 4], \"corrupt\": [5, 6], \"target\": 0}\n"
                              "{\"clean\": [1, 2], \"corrupt\": [5, 6, 7], \"target\": 0}\n";

static void expect_positions(int32_t i, const int32_t *expected) {
    const psc_pair pair = must_pair(i);
    for (int32_t p = 0; p < pair.n_clean; p++)
        cr_assert_eq(pair.source_positions[p], expected[p], "position %d of pair %d is with %d", p,
            i, pair.source_positions[p]);
}

static void expect_name(int32_t i, int32_t position, const char *expected) {
    char name[64];
    const int32_t place = psc_pairs_place(pairs, i, position);
    cr_assert((place >= 0) == (expected != NULL));
    if (!expected) return;
    psc_pairs_place_name(name, sizeof name, pairs, place);
    cr_assert_str_eq(name, expected);
}

Test(pairs, ends_are_aligned) {
    must_read_pairs(unequal, PSC_ALIGN_END);
    expect_positions(0, (int32_t[]){-1, -1, 0, 1});
    expect_positions(1, (int32_t[]){1, 2});
    expect_name(0, 3, "-1");
    expect_name(0, 0, "-4");
    expect_name(1, 0, "-2");
    expect_name(1, 2, NULL);
    cr_assert_eq(psc_pairs_place(pairs, 0, 2), psc_pairs_place(pairs, 1, 0));
}

Test(pairs, starts_are_aligned) {
    must_read_pairs(unequal, PSC_ALIGN_START);
    expect_positions(0, (int32_t[]){0, 1, -1, -1});
    expect_positions(1, (int32_t[]){0, 1});
    expect_name(0, 3, "3");
    expect_name(1, 0, "0");
}

Test(pairs, spans_are_aligned) {
    must_read_pairs(
        "{\"clean\": [1, 2, 3, 4, 5], \"corrupt\": [6, 7, 8, 9], \"target\": 0, \"spans\": "
        "{\"subject\": {\"clean\": [1, 2], \"corrupt\": [0, 1]}, \"verb\": [3, 3]}}\n"
        "{\"clean\": [1, 2, 3], \"corrupt\": [4, 5, 6], \"target\": 0, \"spans\": "
        "{\"verb\": [0, 0], \"subject\": [1, 1]}}\n",
        PSC_ALIGN_SPANS);
    expect_positions(0, (int32_t[]){-1, 0, 1, 3, 3}); /* the verb is the corrupt prompt's last */
    expect_positions(1, (int32_t[]){0, 1, 2});
    expect_name(0, 0, NULL);
    expect_name(0, 1, "subject[0]");
    expect_name(0, 2, "subject[1]");
    expect_name(0, 3, "verb[0]");
    expect_name(0, 4, "-1");
    expect_name(1, 0, "verb[0]");
    expect_name(1, 1, "subject[0]");
    expect_name(1, 2, "-1");
    cr_assert_eq(psc_pairs_place_count(pairs), 4);
}

#define REFUSED_LINE(text, align, ...)                                                             \
    REFUSED(read_pairs(text, align, 0), PSC_ERROR_INPUT, __VA_ARGS__);                             \
    cr_assert_null(pairs)

Test(pairs, refuses_lines) {
    REFUSED_LINE("", 0, "set.jsonl", "no pairs");
    REFUSED_LINE("\n \n", 0, "no pairs");
    REFUSED_LINE(LINE("") "[]\n", 0, "set.jsonl:2: ", "not a JSON object");
    REFUSED_LINE(LINE("") "{\"clean\"\n", 0, "set.jsonl:2: ", "not a JSON object");
    REFUSED_LINE("{\"clean\": \"\xff\"}\n", 0, "set.jsonl:1: ", "not UTF-8");
    REFUSED_LINE("{\"target\": 4}\n", 0, ":1: ", "has no \"clean\"");
    REFUSED_LINE("{\"clean\": [1]}\n", 0, ":1: ", "has no \"target\"");
    REFUSED_LINE(LINE(", \"corupt\": [1]"), 0, ":1: ", "unknown key \"corupt\"");
    REFUSED_LINE(LINE(", \"target\": 5"), 0, ":1: ", "duplicate");
    REFUSED_LINE("{\"clean\": 5, \"target\": 1}\n", 0, "neither a text nor a list");
    REFUSED_LINE("{\"clean\": [], \"target\": 1}\n", 0, "the clean prompt is empty");
    REFUSED_LINE(LINE(", \"corrupt\": []"), 0, "the corrupt prompt is empty");
    REFUSED_LINE("{\"clean\": [1, -1], \"target\": 1}\n", 0, "entry 1 of \"clean\"");
    REFUSED_LINE("{\"clean\": [1, 1e3], \"target\": 1}\n", 0, "entry 1 of \"clean\"");
    REFUSED_LINE("{\"clean\": [99999999999999999999], \"target\": 1}\n", 0, "entry 0");
    REFUSED_LINE("{\"clean\": \"text\", \"target\": 1}\n", 0, "the clean prompt: ", "tokenizer");
    REFUSED_LINE("{\"clean\": [1], \"target\": 100000}\n", 0, "\"target\" is 100000");
    REFUSED_LINE("{\"clean\": [1], \"target\": [1]}\n", 0, "\"target\" is neither");
    REFUSED_LINE("{\"clean\": [1], \"target\": \" x\"}\n", 0, "target ' x'", "no tokenizer");
    REFUSED_LINE(LINE(", \"contrast\": 4"), 0, "the same token");
    REFUSED_LINE(LINE(", \"id\": \"\""), 0, "\"id\" is not a text");
    REFUSED_LINE(LINE(", \"group\": 3"), 0, "\"group\" is not a text");
}

Test(pairs, refuses_sets) {
    REFUSED_LINE(LINE(", \"id\": \"a\"") LINE("") LINE(", \"id\": \"a\""), 0,
        "set.jsonl:3: ", "\"a\"", "line 1");
    REFUSED_LINE(
        LINE("") LINE(", \"id\": 1"), 0, "set.jsonl:2: ", "line 1"); /* its line's number */
    REFUSED_LINE(LINE("") LINE(", \"corrupt\": [1, 2, 3]"), 0, "set.jsonl:2: ", "has a corrupt");
    REFUSED_LINE(LINE(", \"corrupt\": [1, 2, 3]") LINE(""), 0, "set.jsonl:2: ", "lacks");
    REFUSED_LINE(unequal, PSC_ALIGN_EQUAL, "set.jsonl:1: ", "4 tokens", "2", "align them by end");
    REFUSED_LINE(LINE(""), 4, "alignment 4");
}

Test(pairs, refuses_spans) {
    REFUSED_LINE(LINE(""), PSC_ALIGN_SPANS, ":1: ", "has no \"spans\"");
    REFUSED_LINE(LINE(", \"spans\": [1]"), PSC_ALIGN_SPANS, "not an object");
    REFUSED_LINE(LINE(", \"spans\": {\"\": [0, 1]}"), 0, "name of a span");
    REFUSED_LINE(LINE(", \"spans\": {\"s\": [1]}"), 0, "\"s\" is not [first, last]");
    REFUSED_LINE(LINE(", \"spans\": {\"s\": [2, 1]}"), 0, "[2, 1]", "positions 0 to 2");
    REFUSED_LINE(LINE(", \"spans\": {\"s\": [0, 3]}"), 0, "[0, 3]", "clean prompt");
    REFUSED_LINE(LINE(", \"spans\": {\"s\": [-1, 0]}"), 0, "[-1, 0]");
    REFUSED_LINE(
        LINE(", \"spans\": {\"s\": {\"clean\": [0, 0], \"other\": [0, 0]}}"), 0, "another key");
    REFUSED_LINE(LINE(", \"spans\": {\"s\": [0, 1], \"t\": [1, 2]}"), PSC_ALIGN_SPANS, "overlap");
    REFUSED_LINE(LINE(", \"corrupt\": [1, 2], \"spans\": {\"s\": [0, 2]}"), PSC_ALIGN_SPANS,
        "corrupt prompt", "0 to 1");
    REFUSED_LINE(LINE(", \"corrupt\": [1, 2], \"spans\": {\"s\": {\"clean\": [0, 1], \"corrupt\": "
                      "[0, 0]}}"),
        PSC_ALIGN_SPANS, "2 tokens", "1 in the corrupt");
    REFUSED_LINE(LINE(", \"corrupt\": [1, 2], \"spans\": {\"s\": {\"clean\": [0, 1]}}"),
        PSC_ALIGN_SPANS, "not [first, last]");
}

Test(pairs, a_prompt_fits_the_context) {
    const int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    char *text = malloc(64 + 3 * (size_t)n_ctx), *at = text;
    at += sprintf(at, "{\"target\": 1, \"clean\": [1");
    for (int32_t i = 1; i < n_ctx; i++) at += sprintf(at, ",1");
    strcpy(at, "]}");
    cr_assert_eq(read_pairs(text, 0, 0), PSC_OK, "%s", error.message);
    strcpy(at, ",1]}");
    REFUSED_LINE(text, 0, "set.jsonl:1: ", "context");
    free(text);
}
