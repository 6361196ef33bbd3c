/* Split patterns: what they match and how their pieces join; each construct that could mean another
 * thing in PCRE2 is refused with its place; the classes of characters beside added tokens. */
#include "tokenizer_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static psc_error error;

static void *must_compile(const char *pattern, bool is_literal) {
    void *compiled;
    cr_assert_eq(psc_tk_compile_pattern(&compiled, pattern, strlen(pattern), is_literal, &error),
        PSC_OK, "%s: %s", pattern, error.message);
    return compiled;
}

/* The text with a bar between the pieces of the step. */
static void check_step(psc_split_step step, const char *text, const char *expected) {
    char cut[256];
    psc_cutter cutter;
    void *match = psc_tk_new_match();
    const size_t bytes = strlen(text);
    size_t used = 0;
    cr_assert_eq(psc_tk_cut_begin(&cutter, &step, match, text, bytes, &error), PSC_OK);
    for (size_t at = 0, end; at < bytes; at = end) {
        cr_assert_eq(psc_tk_cut_next(&end, &cutter, &error), PSC_OK, "%s", error.message);
        cr_assert(end > at && end <= bytes);
        used += (size_t)snprintf(
            cut + used, sizeof cut - used, "%s%.*s", at ? "|" : "", (int)(end - at), text + at);
    }
    cr_assert_str_eq(cut, expected);
    psc_tk_free_match(match);
}

/* --- what a pattern matches ------------------------------------------------------------------ */

static const struct {
    const char *pattern, *text, *pieces;
} matches[] = {
    /* escapes: of a character below '0', between digits and letters, between the cases, above */
    {"\\-\\ ", "a- b", "a|- |b"},
    {"\\:\\@", "a:@b", "a|:@|b"},
    {"\\_\\\\", "a_\\b", "a|_\\|b"},
    {"\\{\\~\\}", "a{~}b", "a|{~}|b"},
    {"\\t\\n\\r", "a\t\n\rb", "a|\t\n\r|b"},
    {"\\f\\v\\a", "a\f\v\ab", "a|\f\v\a|b"},
    /* classes */
    {"\\s\\S", "ab c", "ab| c"},
    {"\\d+\\D", "a12b3", "a|12b|3"},
    {"\\p{L}\\P{L}", "ab1c", "a|b1|c"},
    {"\\p{Letter}\\p{^L}", "ab1c", "a|b1|c"},
    {"\\p{N}\\P{N}",
        "1\xc2\xbd"
        "a",
        "1|\xc2\xbd"
        "a"},
    {"\\p{Number}\\p{^N}", "12a", "1|2a"},
    {"\\p{Nd}.",
        "\xc2\xbd"
        "1a\n",
        "\xc2\xbd|1a|\n"},
    {"a.c", "abcac\na\nc", "abc|ac\na\nc"},
    /* sets */
    {"[\\s-]+", "a -b", "a| -|b"},
    {"[-a]+", "b-ab", "b|-a|b"},
    {"[^-a]+", "a-bc", "a-|bc"},
    {"[a\\-c]+", "b-acb", "b|-ac|b"},
    {"[ab-]+", "c-abc", "c|-ab|c"},
    {"[a-c\\]]+", "d]bad", "d|]ba|d"},
    {"[\\d_]+", "a1_b", "a|1_|b"},
    {"[^\\s\\p{L}\\p{N}]+", "a?! b", "a|?!| b"},
    {"[\xc3\xa0-\xc3\xbf]+", "a\xc3\xa9z", "a|\xc3\xa9|z"},
    /* groups */
    {"(?:ab|cd)+e", "xabcde", "x|abcde"},
    {"(ab)c", "xabcx", "x|abc|x"},
    {"(?i:'S|'t)", "a's'T'm", "a|'s|'T|'m"},
    {"(?i:a(?i:b1)c)d", "xAB1Cd", "x|AB1Cd"},
    {"(?i:a(?:b)c)D", "abcdABCD", "abcd|ABCD"},
    {"a(?=b)", "abac", "a|bac"},
    {"a(?!b)", "abac", "ab|a|c"},
    /* repetition */
    {"a{2}", "aaa", "aa|a"},
    {"a{2,}", "abaaaa", "ab|aaaa"},
    {"a{1,2}b", "aaab", "a|aab"},
    {"a+?b*", "aab", "a|ab"},
    {"a++b?", "caab", "c|aab"},
    {"ba*", "cbaa", "c|baa"},
};

Test(tokenizer_split, what_a_pattern_matches) {
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++) {
        psc_split_step step = {must_compile(matches[i].pattern, false), PSC_SPLIT_ISOLATED, false};
        check_step(step, matches[i].text, matches[i].pieces);
        psc_tk_free_pattern(step.pattern);
    }
}

Test(tokenizer_split, a_literal_text_matches_itself) {
    psc_split_step step = {must_compile("[a.\xc3\xa9*", true), PSC_SPLIT_ISOLATED, false};
    check_step(step, "x[a.\xc3\xa9*[ab", "x|[a.\xc3\xa9*|[ab");
    psc_tk_free_pattern(step.pattern);
}

/* --- how pieces join ------------------------------------------------------------------------- */

static const struct {
    psc_split_behavior behavior;
    const char *pieces, *inverted;
} behaviors[] = {
    {PSC_SPLIT_ISOLATED, "ab|1|2|c|3", "ab|1|2|c|3"},
    {PSC_SPLIT_CONTIGUOUS, "ab|12|c|3", "ab|12|c|3"},
    {PSC_SPLIT_WITH_PREVIOUS, "ab1|2|c3", "ab|1|2c|3"},
    {PSC_SPLIT_WITH_NEXT, "ab|1|2c|3", "ab1|2|c3"},
};

Test(tokenizer_split, how_pieces_join) {
    void *pattern = must_compile("\\d", false);
    for (size_t i = 0; i < sizeof behaviors / sizeof *behaviors; i++) {
        const psc_split_behavior behavior = behaviors[i].behavior;
        check_step((psc_split_step){pattern, behavior, false}, "ab12c3", behaviors[i].pieces);
        check_step((psc_split_step){pattern, behavior, true}, "ab12c3", behaviors[i].inverted);
    }
    psc_tk_free_pattern(pattern);
}

/* --- what is refused ------------------------------------------------------------------------- */

static const struct {
    const char *pattern, *shown;
    int at;
} refused[] = {
    /* escapes */
    {"\\0", "\\0", 0},
    {"a\\b", "\\b", 1},
    {"\\Q", "\\Q", 0},
    {"a\\\x7f", "\\\\x7f", 1},
    {"ab\\", "\\", 2},
    {"(?i:\xc3\xa9)", "\xc3\xa9", 4},
    /* the longest part that folds to one character */
    {"(?i:a|st)", "t", 7},
    {"(?i:fI)", "I", 5},
    /* classes and sets without regard to case */
    {"(?i:\\s)", "\\s", 4},
    {"(?i:a.)", ".", 5},
    {"(?i:\\P{L})", "\\P{L}", 4},
    /* sets */
    {"[", "[", 0},
    {"a[^", "[", 1},
    {"[a-", "[", 0},
    {"[\\s", "[", 0},
    {"[\\s-", "[", 0},
    {"[a-b-", "[", 0},
    {"[]a]", "]", 1},
    {"[a\\", "\\", 2},
    {"[a\\w]", "\\w", 2},
    {"[\\s-a]", "-", 3},
    {"[a-\\s]", "\\", 3},
    {"[a-[b]]", "[", 3},
    {"[a--]", "-", 3},
    {"[a-\\w]", "\\", 3},
    {"[a-b-c]", "-", 4},
    {"[[:alpha:]]", "[", 1},
    /* groups */
    {"(*FAIL)", "(*F", 0},
    {"a(?", "(?", 1},
    {"(?>a)", "(?>", 0},
    {"(?P<n>a)", "(?P", 0},
    {"(a))", ")", 3},
    /* anchors */
    {"a$", "$", 1},
    {"a|^b", "^", 2},
    /* repetition */
    {"{2}", "{", 0},
    {"(?:{2})", "{", 3},
    {"a|?", "?", 2},
    {"(?:+)", "+", 3},
    {"a{x}", "{", 1},
    {"a{-1}", "{", 1},
    {"a{ 1}", "{", 1},
    {"a{,3}", "{", 1},
    {"a{2,x}", "{", 1},
    {"a{2, 3}", "{", 1},
    {"a{2,3", "{", 1},
    {"a{1,1001}", "{", 1},
    {"a{2}{3}", "{", 4},
    {"a???", "?", 3},
    {"a+*", "*", 2},
    {"a*{2}", "{", 2},
};

Test(tokenizer_split, each_refused_construct_has_its_place) {
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *pattern = refused[i].pattern;
        char expected[160];
        void *compiled = NULL;
        snprintf(expected, sizeof expected,
            "pre_tokenizer's pattern has \"%s\" at byte %d, which is not supported",
            refused[i].shown, refused[i].at);
        cr_assert_eq(psc_tk_compile_pattern(&compiled, pattern, strlen(pattern), false, &error),
            PSC_ERROR_SUPPORT, "%s", pattern);
        cr_assert_str_eq(error.message, expected, "%s: %s", pattern, error.message);
        cr_assert_null(compiled);
    }
}

Test(tokenizer_split, open_groups_and_lengths) {
    void *compiled = NULL;
    char *longest = malloc(4097);
    cr_assert_not_null(longest);
    memset(longest, 'a', 4097);
    cr_assert_eq(psc_tk_compile_pattern(&compiled, "a(", 2, false, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "pre_tokenizer's pattern has an open group at its end");
    cr_assert_eq(
        psc_tk_compile_pattern(&compiled, "(?:a(?i:b)", 10, false, &error), PSC_ERROR_INPUT);
    for (int is_literal = 0; is_literal < 2; is_literal++) {
        cr_assert_eq(psc_tk_compile_pattern(&compiled, longest, 4097, is_literal, &error),
            PSC_ERROR_SUPPORT);
        cr_assert_str_eq(
            error.message, "pre_tokenizer's pattern has 4097 bytes; 1 to 4096 are supported");
        cr_assert_eq(
            psc_tk_compile_pattern(&compiled, "", 0, is_literal, &error), PSC_ERROR_SUPPORT);
    }
    cr_assert_null(compiled);
    cr_assert_eq(psc_tk_compile_pattern(&compiled, longest, 4096, true, &error), PSC_OK, "%s",
        error.message);
    psc_tk_free_pattern(compiled);
    free(longest);
}

/* PCRE2 gives up after its limit of attempts, or without room for them. */
Test(tokenizer_split, a_text_that_takes_too_long) {
    char text[4096];
    psc_cutter cutter;
    void *match = psc_tk_new_match();
    psc_split_step step = {must_compile("(?:a|aa)+[bc]d", false), PSC_SPLIT_ISOLATED, false};
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 2, "ed", 2);
    cr_assert_eq(
        psc_tk_cut_begin(&cutter, &step, match, text, sizeof text, &error), PSC_ERROR_SUPPORT);
    cr_assert(strstr(error.message, "PCRE2 could not split the text at byte 0 (error -"), "%s",
        error.message);
    psc_tk_free_match(match);
    psc_tk_free_pattern(step.pattern);
}

/* --- classes --------------------------------------------------------------------------------- */

Test(tokenizer_split, white_space) {
    static const uint32_t spaces[] = {' ', '\t', '\r', 0x85, 0xa0, 0x1680, 0x2000, 0x200a, 0x2028,
        0x2029, 0x202f, 0x205f, 0x3000};
    static const uint32_t others[] = {0, 8, 14, '!', 'a', 0x7f, 0x84, 0xa1, 0x180e, 0x1fff, 0x200b,
        0x2030, 0x3001, 0xfeff, 0x10ffff};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        cr_expect(psc_tk_is_space(spaces[i]), "U+%04x", (unsigned)spaces[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect_not(psc_tk_is_space(others[i]), "U+%04x", (unsigned)others[i]);
}

Test(tokenizer_split, characters_of_words) {
    static const uint32_t words[] = {'a', 'Z', '_', '0', 0xe9, 0x300, 0x1c5, 0x2b0, 0x488, 0x903,
        0x2160, 0x4e00, 0x200c, 0x200d, 0x24b6, 0x24e9, 0x1f130, 0x1f149, 0x1f150, 0x1f169, 0x1f170,
        0x1f189};
    static const uint32_t others[] = {' ', '-', '+', 0xb2, 0xbd, 0x200b, 0x200e, 0x24b5, 0x24ea,
        0x1f12f, 0x1f14a, 0x1f14f, 0x1f16a, 0x1f16f, 0x1f18a, 0x1f600, 0xe000};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_expect(psc_tk_is_word(words[i]), "U+%04x", (unsigned)words[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect_not(psc_tk_is_word(others[i]), "U+%04x", (unsigned)others[i]);
}
