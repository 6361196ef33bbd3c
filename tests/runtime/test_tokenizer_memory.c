/* A tokenizer that is opened, texts and ids that pass through it, and patterns, while memory runs
 * out: each request fails in turn, once and for good. A call gives the same as with memory, or
 * PSC_ERROR_MEMORY with a sentence and nothing. */
#include "failing_malloc.h"
#include "tokenizer_fixture.h"

#include "tokenizer_private.h"

#define FLAGS(single, left, right, normal)                                                         \
    "\"single_word\":" single ",\"lstrip\":" left ",\"rstrip\":" right ",\"normalized\":" normal
#define MARKS "\xcc\x81\xcc\xa3\xcc\x81\xcc\xa3\xcc\x81\xcc\xa3\xcc\x81\xcc\xa3"

static psc_error error;

/* Words with merges, composed and reordered characters, added tokens of both sets, digits. */
static const char text[] = "abc bc <r>  x\xc3\xa9 xe\xcc\x81 12 e" MARKS MARKS MARKS
                           " abcabcabcabcabcabcabcabcabcabc <c> <e> \xe2\x80\x83z";

/* A tokenizer with every kind of step, set and table. */
static void make_folder(void) {
    json_t *root = base();
    set_member(root, "model.ignore_merges", json_true());
    set_member(root, "model.vocab.\xc5\xb5", json_integer(259)); /* not in the byte alphabet */
    set_member(root, "pre_tokenizer",
        json_loads(
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
            "\"Regex\":\"[\\\\s-]{1,}|(?:q.)+?\"},\"behavior\":\"Isolated\",\"invert\":false},"
            "{\"type\":\"Split\",\"pattern\":{\"String\":\"zz\"},\"behavior\":"
            "\"MergedWithNext\",\"invert\":true},"
            "{\"type\":\"Digits\",\"individual_digits\":true},"
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]}",
            0, NULL));
    set_member(root, "added_tokens",
        json_loads("[{\"id\":260,\"content\":\"<r>\",\"special\":true," FLAGS("false", "true",
                       "true", "false") "},{\"id\":261,\"content\":\"xe\xcc\x81\",\"special\":"
                                        "false," FLAGS("true", "false", "false", "true") "}]",
            0, NULL));
    make_tokenizer_folder(root);
}

static psc_tokenizer *must_open(void) {
    psc_tokenizer *t;
    cr_assert_eq(
        psc_tokenizer_open_folder(&t, tokenizer_folder, &error), PSC_OK, "%s", error.message);
    return t;
}

static void must_fail(psc_status status, long i, long n) {
    cr_assert_eq(status, PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n, error.message);
    cr_assert(strstr(error.message, "not enough memory"), "%s", error.message);
}

static void check_same_spans(
    const psc_token_span *a, size_t n_a, const psc_token_span *b, size_t n_b, long i) {
    cr_assert_eq(n_a, n_b, "request %ld: %zu tokens", i, n_a);
    cr_assert_eq(memcmp(a, b, n_a * sizeof *a), 0, "request %ld", i);
}

/* --- opening --------------------------------------------------------------------------------- */

static void fail_open(bool on) {
    psc_tokenizer *whole = must_open(), *t;
    psc_token_span *want, *got;
    size_t n_want, n_got;
    memory_fail_at(0, false);
    t = must_open();
    const long n = memory_back();
    psc_tokenizer_close(&t);
    cr_assert_eq(psc_tokenizer_encode(&want, &n_want, whole, text, strlen(text), NULL), PSC_OK);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        const psc_status status = psc_tokenizer_open_folder(&t, tokenizer_folder, &error);
        memory_back();
        if (status) must_fail(status, i, n);
        cr_assert_eq(status, t ? PSC_OK : PSC_ERROR_MEMORY, "request %ld of %ld", i, n);
        if (!t) continue;
        cr_assert_eq(psc_tokenizer_bos(t), psc_tokenizer_bos(whole));
        cr_assert_eq(psc_tokenizer_encode(&got, &n_got, t, text, strlen(text), NULL), PSC_OK);
        check_same_spans(got, n_got, want, n_want, i);
        psc_tokenizer_free_spans(got);
        psc_tokenizer_close(&t);
    }
    cr_assert(!MEMORY_FAILS || n > 300, "%ld requests", n);
    psc_tokenizer_free_spans(want);
    psc_tokenizer_close(&whole);
}

Test(tokenizer_memory, a_folder_with_names) {
    make_folder();
    write_beside("tokenizer_config.json",
        "{\"bos_token\":\"<b>\",\"additional_special_tokens\":[\"<e>\",\"<c>\"],\"my_token\":"
        "\"<m>\"}");
    write_beside("special_tokens_map.json",
        "{\"bos_token\":\"<r>\",\"eos_token\":{\"content\":\"<e>\",\"lstrip\":true},"
        "\"extra_special_tokens\":{\"image_token\":\"<i>\"}}");
    write_beside("added_tokens.json", "{\"<c>\":262,\"\":9,\"<d>\":263}");
    fail_open(false);
    fail_open(true);
    remove_tokenizer_folder();
}

Test(tokenizer_memory, a_folder_with_a_list) {
    make_folder();
    write_beside("tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"260\":{\"content\":\"<r>\",\"normalized\":true},\"261\":{"
        "\"content\":\"xe\xcc\x81\",\"special\":true,\"normalized\":false},\"262\":{\"content\":"
        "\"<c>\"},\"7\":{\"content\":\"\"}},\"bos_token\":\"<c>\"}");
    fail_open(false);
    fail_open(true);
    remove_tokenizer_folder();
}

/* --- texts ----------------------------------------------------------------------------------- */

static void fail_encode(const psc_tokenizer *t, const char *from, size_t bytes, bool on) {
    psc_token_span *want, *got;
    size_t n_want, n_got;
    memory_fail_at(0, false);
    cr_assert_eq(psc_tokenizer_encode(&want, &n_want, t, from, bytes, &error), PSC_OK);
    const long n = memory_back();
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        const psc_status status = psc_tokenizer_encode(&got, &n_got, t, from, bytes, &error);
        memory_back();
        if (status) {
            must_fail(status, i, n);
            cr_assert(!got && n_got == 0);
            continue;
        }
        check_same_spans(got, n_got, want, n_want, i);
        psc_tokenizer_free_spans(got);
    }
    cr_assert(!MEMORY_FAILS || n > 5, "%ld requests", n);
    psc_tokenizer_free_spans(want);
}

/* The same text often: long enough for the cache of words. */
static char *repeated(int times) {
    char *out = calloc((size_t)times, sizeof text);
    cr_assert(out);
    for (int i = 0; i < times; i++) strcat(out, text);
    return out;
}

Test(tokenizer_memory, texts) {
    make_folder();
    write_beside("tokenizer_config.json", "{\"added_tokens_decoder\":{}}");
    psc_tokenizer *t = must_open();
    char *longer = repeated(30);
    for (int on = 0; on < 2; on++) {
        fail_encode(t, text, strlen(text), on);
        fail_encode(t, longer, strlen(longer), on);
        fail_encode(t, "e" MARKS MARKS MARKS, 1 + 3 * strlen(MARKS), on); /* the first growth */
        fail_encode(t, "abcabcq", 7, on);
    }
    free(longer);
    psc_tokenizer_close(&t);
    remove_tokenizer_folder();
}

static void fail_decode(const psc_tokenizer *t, const int32_t *ids, size_t n_ids, bool on) {
    char *want, *got;
    size_t n_want, n_got;
    memory_fail_at(0, false);
    cr_assert_eq(psc_tokenizer_decode(&want, &n_want, t, ids, n_ids, true, &error), PSC_OK);
    const long n = memory_back();
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        const psc_status status = psc_tokenizer_decode(&got, &n_got, t, ids, n_ids, true, &error);
        memory_back();
        must_fail(status, i, n);
        cr_assert(!got && n_got == 0);
    }
    cr_assert(!MEMORY_FAILS || n > 0);
    free(want);
}

Test(tokenizer_memory, ids) {
    static const int32_t broken[] = {0xe2, 0x82, 'a', 257, 260, 0xf0};
    int32_t many[400];
    make_folder();
    psc_tokenizer *t = must_open();
    for (int i = 0; i < 400; i++) many[i] = 257;
    for (int on = 0; on < 2; on++) {
        fail_decode(t, broken, 6, on);
        fail_decode(t, many, 400, on);
        fail_decode(t, many, 0, on); /* an empty text has its 0 byte */
    }
    psc_tokenizer_close(&t);
    remove_tokenizer_folder();
}

/* --- patterns -------------------------------------------------------------------------------- */

static void fail_pattern(const char *pattern, bool is_literal, bool on) {
    void *compiled;
    memory_fail_at(0, false);
    cr_assert_eq(
        psc_tk_compile_pattern(&compiled, pattern, strlen(pattern), is_literal, &error), PSC_OK);
    const long n = memory_back();
    psc_tk_free_pattern(compiled);
    for (long i = 1; i <= n; i++) {
        compiled = NULL;
        memory_fail_at(i, on);
        const psc_status status =
            psc_tk_compile_pattern(&compiled, pattern, strlen(pattern), is_literal, &error);
        memory_back();
        if (status) must_fail(status, i, n); /* else memory for faster matching was missing */
        cr_assert_eq(status == PSC_OK, compiled != NULL);
        psc_tk_free_pattern(compiled);
    }
}

Test(tokenizer_memory, patterns) {
    static const char *const patterns[] = {"[a-z\\s]+", "\\S", "(?:a|b)*c", "[^-\\p{L}\\p{N}]{2,}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa[a-c]", "a(?i:b)++", ".|\\p{N}\\p{N}\\p{N}"};
    for (int on = 0; on < 2; on++) {
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
            fail_pattern(patterns[i], false, on);
        fail_pattern("a literal text of several characters", true, on);
    }
}
