/* psc_json_load gives what json_loadb gives, values and sentences alike, and says so when memory
 * runs out: each request for memory fails in turn, once and for good. */
#include "failing_malloc.h"
#include "json.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *const documents[] = {"{}", "[]", " [ ] ", "[1]", "{\"a\": 1}",
    "{\"text\": \"a text that is longer than sixteen bytes\", \"n\": -12345678901234567}",
    "{\"a\": [true, false, null, {\"b\": [[], {}]}], \"c\": \"\"}",
    "[0, -0, 0.0, 1e5, 1E+5, 1.25e-3, 123456789012345678, 0.1000000000000000055511151231257827]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\", \"h\xc3\xa9\xe2\x82\xac\"]",
    "{\"a key of more than sixteen bytes \\u00e9\": {\"another key of some length\": [[[[1]]]]}}",
    "[\"nul \\u0000 in a text\"]", "{\"nul\\u0000\": 1}", "{\"a\": 1, \"b\": 2, \"a\": 3}"};

enum { N_DOCUMENTS = sizeof documents / sizeof *documents };

static const size_t kinds[] = {
    JSON_REJECT_DUPLICATES, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, 0, JSON_DECODE_INT_AS_REAL};

static uint32_t state = 1;

static uint32_t draw(uint32_t n) {
    state = state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)state * n >> 32);
}

/* The two agree; a sentence that shows half of a character is not compared. */
static void compare(const char *text, size_t n, size_t flags) {
    json_error_t ours, theirs;
    json_t *a = psc_json_load(text, n, flags, &ours), *b = json_loadb(text, n, flags, &theirs);
    cr_assert_eq(!a, !b, "%.*s: %s, not %s", (int)n, text, ours.text, theirs.text);
    if (a) {
        char *x = json_dumps(a, JSON_COMPACT), *y = json_dumps(b, JSON_COMPACT);
        cr_assert(json_equal(a, b), "%.*s", (int)n, text);
        cr_assert_str_eq(x, y);
        free(x);
        free(y);
    } else if (!strstr(theirs.text, "invalid escape near")) {
        cr_assert_str_eq(
            ours.text, theirs.text, "%.*s: %s, not %s", (int)n, text, ours.text, theirs.text);
        cr_assert_eq(
            json_error_code(&ours), json_error_code(&theirs), "%.*s: %s", (int)n, text, ours.text);
        cr_assert_eq(ours.line, theirs.line);
        cr_assert_eq(ours.column, theirs.column);
    }
    json_decref(a);
    json_decref(b);
}

static void compare_all(const char *text, size_t n) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) compare(text, n, kinds[i]);
}

Test(json_load, the_values_of_jansson) {
    for (int i = 0; i < N_DOCUMENTS; i++)
        for (size_t n = 0; n <= strlen(documents[i]); n++) compare_all(documents[i], n);
}

Test(json_load, the_sentences_of_jansson) {
    static const char *const bad[] = {"", "1", "tru", "[tru]", "[true\xff]", "[\xff]", "[\xc3\xa9]",
        "[01]", "[-]", "[1.]", "[1e]", "[1e+]", "[.5]", "[+1]", "[99999999999999999999]",
        "[-99999999999999999999]", "[1e999]", "[-1e999]", "[1e-999]", "[\"\x01\"]", "[\"\n\"]",
        "[\"\\x\"]", "[\"\\u12g4\"]", "[\"\\ud800\"]", "[\"\\udc00\"]", "[\"\\ud800\\u0041\"]",
        "[\"\\ud800\\", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\" 1}", "{\"a\":}", "{\"a\":1,}",
        "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "[1]x", "[1][2]", "{]", "[}", "[1}", "{\"a\":1]",
        "[\"ab\xed\xa0\x80\"]", "[\"\xc0\x80\"]", "\xef\xbb\xbf[]", "\n\n [\n1,\n  x]", "[nul",
        "[\"a text of more than twenty bytes\" 1]", "[NaN]", "[Infinity]", "[-Infinity]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) compare_all(bad[i], strlen(bad[i]));
    compare_all("\0[]", 3);
    compare_all("[\"\0\"]", 5);
}

Test(json_load, texts_that_are_changed) {
    static const char bytes[] = "{}[]:,\"\\u0019eE.+- \n\xc3\xa9\xff\x01tfn";
    char text[256];
    for (int i = 0; i < 40000; i++) {
        const char *document = documents[draw(N_DOCUMENTS)];
        size_t n = strlen(document);
        memcpy(text, document, n);
        for (uint32_t j = draw(3) + 1; j > 0 && n > 0; j--) {
            const size_t at = draw((uint32_t)n);
            const char c = bytes[draw(sizeof bytes - 1)];
            if (draw(3) == 0) {
                memmove(text + at, text + at + 1, --n - at);
            } else if (draw(2) == 0 && n < sizeof text) {
                memmove(text + at + 1, text + at, n++ - at);
                text[at] = c;
            } else {
                text[at] = c;
            }
        }
        compare_all(text, n);
    }
}

Test(json_load, depth) {
    char text[2 * 2050];
    for (size_t n = 2046; n <= 2050; n++) {
        memset(text, '[', n);
        memset(text + n, ']', n);
        compare_all(text, 2 * n);
        memset(text, '[', n);
        compare_all(text, n);
        text[n] = '1';
        compare_all(text, n + 1);
    }
}

/* --- without memory -------------------------------------------------------------------------- */

static void fail_each(const char *text, bool on) {
    json_error_t why;
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, length = strlen(text);
    memory_fail_at(0, false);
    json_t *whole = psc_json_load(text, length, flags, &why);
    const long n = memory_back();
    const bool valid = whole != NULL;
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        json_t *value = psc_json_load(text, length, flags, &why);
        memory_back();
        const char *said = why.text[0] ? why.text : "nothing";
        cr_assert_null(value, "%s: request %ld of %ld", text, i, n);
        cr_assert_eq(
            psc_json_no_memory(&why), true, "%s: request %ld of %ld: %s", text, i, n, said);
        cr_assert_eq(json_error_code(&why), json_error_out_of_memory);
    }
    cr_assert(!MEMORY_FAILS || !valid || n > 1);
    json_decref(whole);
}

Test(json_load, without_memory) {
    json_object_seed(1);
    for (int i = 0; i < N_DOCUMENTS; i++) {
        fail_each(documents[i], false);
        fail_each(documents[i], true);
    }
}
