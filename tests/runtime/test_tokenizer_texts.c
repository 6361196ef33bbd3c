/* Texts at the borders of what one call does: too long, long with a limit of tokens, long enough
 * for the cache of words, with long runs of marks; and what ids without an entry give. */
#include "tokenizer_fixture.h"

static psc_error error;

static psc_tokenizer *must_open(json_t *root) {
    psc_tokenizer *t;
    cr_assert_eq(open_json(&t, root, &error), PSC_OK, "%s", error.message);
    return t;
}

/* The base with the added token "<m>" (259), which takes the white space after it. */
static psc_tokenizer *open_marked(void) {
    json_t *root = base();
    set_member(root, "added_tokens",
        json_loads("[{\"id\":259,\"content\":\"<m>\",\"single_word\":false,\"lstrip\":false,"
                   "\"rstrip\":true,\"normalized\":false,\"special\":true}]",
            0, NULL));
    return must_open(root);
}

/* --- lengths --------------------------------------------------------------------------------- */

Test(tokenizer_texts, too_long) {
    psc_token_span *spans = (psc_token_span *)&error;
    size_t n = 7;
    psc_tokenizer *t = must_open(base());
    cr_assert_eq(
        psc_tokenizer_encode(&spans, &n, t, "", ((size_t)256 << 20) + 1, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(
        error.message, "the text has 268435457 bytes; the limit per call is 268435456");
    cr_assert(!spans && n == 0);
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, "ab\xff", 3, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "the text is not valid UTF-8 at byte offset 2");
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, "", 0, &error), PSC_OK);
    cr_assert(!spans && n == 0);
    psc_tokenizer_close(&t);
}

/* The first tokens are those of the whole text, wherever the bytes that are looked at end. */
static void check_first(const psc_tokenizer *t, const char *text, size_t bytes, size_t most) {
    psc_token_span *whole, *first;
    size_t n_whole, n;
    cr_assert_eq(psc_tokenizer_encode(&whole, &n_whole, t, text, bytes, &error), PSC_OK);
    cr_assert_eq(psc_tokenizer_encode_first(&first, &n, t, text, bytes, most, &error), PSC_OK);
    cr_assert(
        n_whole > most ? n > most : n == n_whole, "%zu of %zu tokens, most %zu", n, n_whole, most);
    for (size_t i = 0; i < most && i < n_whole; i++)
        cr_assert(first[i].id == whole[i].id && first[i].end == whole[i].end, "token %zu", i);
    psc_tokenizer_free_spans(whole);
    psc_tokenizer_free_spans(first);
}

enum { LONG = 100000 };

Test(tokenizer_texts, the_first_tokens_of_a_long_text) {
    static const char *const parts[] = {"ab 1", "\xe2\x82\xac", "q\xc3\xa9\xe2\x80\x83", " "};
    psc_tokenizer *t = open_marked();
    char *text = malloc(LONG + 8);
    cr_assert_not_null(text);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        size_t bytes = 0;
        while (bytes < LONG) {
            memcpy(text + bytes, parts[p], strlen(parts[p]));
            bytes += strlen(parts[p]);
        }
        for (size_t most = 1; most < 14; most++) check_first(t, text, bytes, most);
        check_first(t, text, bytes, LONG);
    }
    /* one token has almost all of the text: the bytes that are usually enough are not */
    memset(text, ' ', LONG);
    memcpy(text, "<m>", 3);
    memcpy(text + LONG - 2, "ab", 2);
    for (size_t most = 1; most < 4; most++) check_first(t, text, LONG, most);
    free(text);
    psc_tokenizer_close(&t);
}

/* A limit of tokens ends the pieces of the pre-tokenizer's steps, too. */
Test(tokenizer_texts, the_first_tokens_of_cut_pieces) {
    json_t *root = base();
    set_member(root, "pre_tokenizer",
        json_loads("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
                   "\"individual_digits\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":"
                   "false}]}",
            0, NULL));
    psc_tokenizer *t = must_open(root);
    for (size_t most = 0; most < 14; most++) check_first(t, "ab12 abc 345 q", 14, most);
    psc_tokenizer_close(&t);
}

/* --- the cache of words ---------------------------------------------------------------------- */

/* Words of one length that share slots of the cache, of many tokens, and too long for it: each has
 * the ids that it has alone. */
Test(tokenizer_texts, the_cache_changes_nothing) {
    psc_tokenizer *t = must_open(base());
    enum { WORDS = 9000 };
    psc_token_span *spans, *alone;
    size_t n, n_alone, at = 0, bytes = 0;
    char *text = malloc(WORDS * 40);
    cr_assert_not_null(text);
    for (int i = 0; i < WORDS; i++) {
        const char *const word = i % 9 == 0   ? "abcabcabcabcabcabcabcabcabcabcabcabc"
                                 : i % 9 == 4 ? "qwertyuiopas"
                                              : "";
        bytes += (size_t)sprintf(
            text + bytes, " %s%c%c%c", word, 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26);
    }
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, text, bytes, &error), PSC_OK);
    for (size_t from = 0, to; from < bytes; from = to) {
        for (to = from + 1; to < bytes && text[to] != ' ';) to++;
        cr_assert_eq(
            psc_tokenizer_encode(&alone, &n_alone, t, text + from, to - from, &error), PSC_OK);
        for (size_t i = 0; i < n_alone; i++, at++)
            cr_assert(at < n && spans[at].id == alone[i].id && spans[at].end == from + alone[i].end,
                "byte %zu", from);
        psc_tokenizer_free_spans(alone);
    }
    cr_assert_eq(at, n);
    psc_tokenizer_free_spans(spans);
    free(text);
    psc_tokenizer_close(&t);
}

/* --- marks ----------------------------------------------------------------------------------- */

/* Runs of marks are sorted by class in two ways, by their number: U+0323
 * (220) before U+0301 (230). */
Test(tokenizer_texts, marks_are_ordered) {
    psc_tokenizer *t = must_open(base());
    for (int pairs = 1; pairs < 20; pairs++) {
        char text[128] = "q";
        int32_t want[128] = {'q'};
        psc_token_span *spans;
        size_t n, n_want = 1;
        for (int i = 0; i < pairs; i++) strcat(text, "\xcc\x81\xcc\xa3");
        for (int i = 0; i < pairs; i++) want[n_want++] = 0xcc, want[n_want++] = 0xa3;
        for (int i = 0; i < pairs; i++) want[n_want++] = 0xcc, want[n_want++] = 0x81;
        cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, text, strlen(text), &error), PSC_OK);
        cr_assert_eq(n, n_want);
        for (size_t i = 0; i < n; i++) cr_assert_eq(spans[i].id, want[i], "%d, %zu", pairs, i);
        psc_tokenizer_free_spans(spans);
    }
    psc_tokenizer_close(&t);
}

/* --- ids ------------------------------------------------------------------------------------- */

Test(tokenizer_texts, ids_without_an_entry) {
    static const int32_t ids[] = {'a', 259, 300, 257, INT32_MAX}, negative[] = {'a', -1};
    json_t *root = base();
    char *text = (char *)&error;
    size_t bytes = 7;
    set_member(root, "model.vocab.bc", json_integer(300));
    psc_tokenizer *t = must_open(root);
    cr_assert_eq(psc_tokenizer_size(t), 301);
    cr_assert_null(psc_tokenizer_bytes(t, 259, &bytes), "a hole");
    cr_assert_eq(bytes, 0);
    cr_assert_null(psc_tokenizer_bytes(t, 301, &bytes));
    cr_assert_null(psc_tokenizer_bytes(t, -1, &bytes));
    cr_assert_str_eq(psc_tokenizer_bytes(t, 300, &bytes), "bc");
    cr_assert_eq(bytes, 2);
    cr_assert(!psc_tokenizer_is_special(t, -1) && !psc_tokenizer_is_special(t, 301));
    cr_assert_eq(psc_tokenizer_decode(&text, &bytes, t, ids, 5, false, &error), PSC_OK);
    cr_assert_str_eq(text, "abcabc");
    free(text);
    cr_assert_eq(
        psc_tokenizer_decode(&text, &bytes, t, negative, 2, false, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "token 1 has the negative id -1");
    cr_assert(!text && bytes == 0);
    psc_tokenizer_close(&t);
}

/* --- the beginning token --------------------------------------------------------------------- */

/* A template tells of tokens in front only if it begins with a special one. */
Test(tokenizer_texts, templates_with_a_token_in_front) {
    static const struct {
        const char *single;
        bool adds;
    } cases[] = {{"[{\"SpecialToken\":{\"id\":\"a\",\"type_id\":0}},{\"Sequence\":{}}]", true},
        {"[{\"Sequence\":{}},{\"SpecialToken\":{\"id\":\"a\"}}]", false}, {"[]", false},
        {"{}", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char processor[200];
        json_t *root = base();
        snprintf(processor, sizeof processor,
            "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
            "\"TemplateProcessing\",\"single\":%s}]}",
            cases[i].single);
        set_member(root, "post_processor", json_loads(processor, 0, NULL));
        psc_tokenizer *t = must_open(root);
        cr_assert_eq(psc_tokenizer_adds_bos(t), cases[i].adds, "%s", cases[i].single);
        psc_tokenizer_close(&t);
    }
}

/* <|endoftext|> is the beginning token where nothing names another; a token
 * of its length is not. */
Test(tokenizer_texts, the_end_of_text_begins) {
    static const char *const contents[] = {"<|endoftexx|>", "<|endoftext|>"};
    for (int i = 0; i < 2; i++) {
        json_t *root = base();
        set_member(root, "added_tokens",
            json_pack("[{s:i,s:s,s:b,s:b,s:b,s:b,s:b}]", "id", 259, "content", contents[i],
                "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
        psc_tokenizer *t = must_open(root);
        cr_assert_eq(psc_tokenizer_bos(t), i == 1 ? 259 : -1);
        cr_assert_eq(psc_tokenizer_bos_of(t, 7), i == 1 ? 259 : 7);
        cr_assert_not(psc_tokenizer_names_bos(t));
        psc_tokenizer_close(&t);
    }
}
