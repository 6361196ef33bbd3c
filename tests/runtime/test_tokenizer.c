/* The tokenizer against golden data of the tokenizers library (tests/tools/make_tokenizer_golden.py
 * describes the files), and its own guarantee: ranges that tile the text. */
#include "tokenizer.h"

#include "files.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/tokenizer/"
#define BOOKS PSC_SOURCE_DIR "/models/books-5m/tokenizer.json"

/* A golden file during reading. */
typedef struct reader {
    char *data;
    size_t size, at;
} reader;

static psc_tokenizer *open_tokenizer(const char *path) {
    psc_error error;
    psc_tokenizer *tokenizer;
    cr_assert_eq(psc_tokenizer_open(&tokenizer, path, &error), PSC_OK, "%s", error.message);
    return tokenizer;
}

static reader open_golden(const char *path, const char *magic) {
    reader r = {0};
    psc_error error;
    cr_assert_eq(
        psc_read_file(&r.data, &r.size, path, 1 << 24, &error), PSC_OK, "%s", error.message);
    cr_assert(r.size >= 8 && !memcmp(r.data, magic, 8), "%s", path);
    r.at = 8;
    return r;
}

static uint32_t read_number(reader *r, int bytes) {
    uint32_t value = 0;
    cr_assert_leq(r->at + (size_t)bytes, r->size);
    for (int i = 0; i < bytes; i++) value |= (uint32_t)(unsigned char)r->data[r->at++] << 8 * i;
    return value;
}

static uint32_t read_varint(reader *r) {
    uint32_t value = 0, byte;
    for (int shift = 0; shift < 32; shift += 7) {
        byte = read_number(r, 1);
        value |= (byte & 127) << shift;
        if (byte < 128) break;
    }
    return value;
}

static const char *read_bytes(reader *r, size_t n) {
    cr_assert_leq(r->at + n, r->size);
    r->at += n;
    return r->data + r->at - n;
}

/* The library's tokens of one string; offsets in bytes. */
typedef struct expected {
    uint32_t n;
    int32_t ids[8192];
    uint32_t starts[8192], ends[8192];
} expected;

/* The byte offset of each character, then the text's end. */
static size_t char_starts(uint32_t *out, const char *text, size_t bytes) {
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80) out[n++] = (uint32_t)i;
    out[n] = (uint32_t)bytes;
    return n;
}

static void read_expected(expected *e, reader *r, const uint32_t *chars) {
    uint32_t done = 0;
    e->n = read_varint(r);
    cr_assert_leq(e->n, 8192);
    for (uint32_t i = 0; i < e->n; i++) e->ids[i] = (int32_t)read_number(r, 2);
    for (uint32_t i = 0; i < e->n; i++) {
        uint32_t code = read_number(r, 1);
        uint32_t start = code == 0xff ? read_varint(r) : done + (code >> 4) - 4;
        done = code == 0xff ? read_varint(r) : start + (code & 15);
        e->starts[i] = chars[start];
        e->ends[i] = chars[done];
    }
}

/* The greatest of n ascending marks at or below byte, the least at or above byte. */
static uint32_t mark_below(const uint32_t *marks, size_t n, uint32_t byte) {
    while (n > 1 && marks[n - 1] > byte) n--;
    return marks[n - 1];
}

static uint32_t mark_above(const uint32_t *marks, size_t n, uint32_t byte) {
    size_t i = 0;
    while (i + 1 < n && marks[i] < byte) i++;
    return marks[i];
}

static bool is_unchanged(
    const psc_tokenizer *tokenizer, const expected *e, const char *text, size_t bytes) {
    char *decoded;
    size_t n;
    cr_assert_eq(psc_tokenizer_decode(&decoded, &n, tokenizer, e->ids, e->n, false, NULL), PSC_OK);
    bool is_same = n == bytes && !memcmp(decoded, text, n);
    free(decoded);
    return is_same;
}

/* Compares ranges as tokenizer.h defines them. In text that NFC does not change, our ranges rounded
 * outward to whole characters are the library's. Elsewhere the library's ranges have gaps after a
 * composed character, so both are rounded to the starts of its ranges. */
static void compare_ranges(const psc_token_span *spans, const expected *e, const uint32_t *chars,
    size_t n_chars, bool unchanged, size_t index) {
    static uint32_t starts[8193];
    const uint32_t *marks = chars;
    size_t n = n_chars + 1;
    if (!unchanged) {
        n = 0;
        for (uint32_t i = 0; i < e->n; i++)
            if (n == 0 || e->starts[i] > starts[n - 1]) starts[n++] = e->starts[i];
        starts[n++] = chars[n_chars];
        marks = starts;
    }
    for (uint32_t i = 0; i < e->n; i++) {
        uint32_t end = mark_above(marks, n, e->ends[i]);
        bool inside = spans[i].start >= e->starts[i] && spans[i].end <= end;
        if (!unchanged && spans[i].start == spans[i].end && inside) continue;
        cr_assert(mark_below(marks, n, spans[i].start) == e->starts[i] &&
                      mark_above(marks, n, spans[i].end) == end,
            "string %zu, token %u: range %u-%u, expected %u-%u", index, i, spans[i].start,
            spans[i].end, e->starts[i], end);
    }
}

static void compare_string(
    const psc_tokenizer *tokenizer, reader *golden, const char *text, size_t bytes, size_t index) {
    static expected e;
    static uint32_t chars[65536];
    psc_token_span *spans;
    psc_error error;
    size_t n;
    cr_assert_lt(bytes, 65536);
    size_t n_chars = char_starts(chars, text, bytes);
    read_expected(&e, golden, chars);
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, tokenizer, text, bytes, &error), PSC_OK, "%s",
        error.message);
    for (size_t i = 0; i < n && i < e.n; i++)
        cr_assert_eq(spans[i].id, e.ids[i], "string %zu \"%.*s\", token %zu: id %d, expected %d",
            index, (int)bytes, text, i, spans[i].id, e.ids[i]);
    cr_assert_eq(
        n, e.n, "string %zu \"%.*s\": %zu tokens, expected %u", index, (int)bytes, text, n, e.n);
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        cr_assert(spans[i].start == at && spans[i].end >= at, "string %zu, token %zu", index, i);
        at = spans[i].end;
    }
    cr_assert_eq(at, bytes);
    compare_ranges(spans, &e, chars, n_chars, is_unchanged(tokenizer, &e, text, bytes), index);
    psc_tokenizer_free_spans(spans);
}

static void compare_decodings(const psc_tokenizer *tokenizer, reader *golden) {
    uint32_t cases = read_number(golden, 4);
    cr_assert_geq(cases, 500);
    for (uint32_t k = 0; k < cases; k++) {
        int32_t ids[64];
        char *text;
        size_t bytes;
        bool skip = read_number(golden, 1);
        uint32_t n = read_varint(golden);
        cr_assert_leq(n, 64);
        for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)read_number(golden, 2);
        uint32_t length = read_varint(golden);
        const char *want = read_bytes(golden, length);
        cr_assert_eq(psc_tokenizer_decode(&text, &bytes, tokenizer, ids, n, skip, NULL), PSC_OK);
        cr_assert(bytes == length && !memcmp(text, want, length) && text[bytes] == 0,
            "decoding %u: \"%s\", expected \"%.*s\"", k, text, (int)length, want);
        free(text);
    }
}

static void compare_with_golden(const char *path, const char *golden_path) {
    psc_tokenizer *tokenizer = open_tokenizer(path);
    reader strings = open_golden(GOLDEN "strings.bin", "PSCTKS1\n");
    reader golden = open_golden(golden_path, "PSCTKG1\n");
    uint32_t n = read_number(&strings, 4);
    cr_assert_eq(n, read_number(&golden, 4));
    cr_assert_geq(n, 10000);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bytes = read_varint(&strings);
        compare_string(tokenizer, &golden, read_bytes(&strings, bytes), bytes, i);
    }
    compare_decodings(tokenizer, &golden);
    cr_assert(strings.at == strings.size && golden.at == golden.size);
    free(strings.data);
    free(golden.data);
    psc_tokenizer_close(&tokenizer);
    cr_assert_null(tokenizer);
}

Test(tokenizer, pythia_as_the_library) {
    compare_with_golden(GOLDEN "gpt-neox-20b.tokenizer.json", GOLDEN "pythia.bin");
}

Test(tokenizer, books_as_the_library) {
    compare_with_golden(BOOKS, GOLDEN "books.bin");
}

static void expect_spans(
    const psc_tokenizer *tokenizer, const char *text, const psc_token_span *want, size_t n_want) {
    psc_token_span *spans;
    size_t n;
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, tokenizer, text, strlen(text), NULL), PSC_OK);
    cr_assert_eq(n, n_want, "%zu tokens", n);
    for (size_t i = 0; i < n; i++)
        cr_assert(spans[i].id == want[i].id && spans[i].start == want[i].start &&
                      spans[i].end == want[i].end,
            "%d %u-%u", spans[i].id, spans[i].start, spans[i].end);
    psc_tokenizer_free_spans(spans);
}

/* The rules of tokenizer.h, checked directly. */
Test(tokenizer, ranges_by_hand) {
    psc_tokenizer *t = open_tokenizer(GOLDEN "gpt-neox-20b.tokenizer.json");
    expect_spans(t, "e\u0301x", (psc_token_span[]){{860, 0, 3}, {89, 3, 4}}, 2);
    expect_spans(t, "\u8a9e", (psc_token_span[]){{19119, 0, 2}, {241, 2, 3}}, 2);
    expect_spans(
        t, "\u1100\u1161\u11a8x", (psc_token_span[]){{26532, 0, 6}, {212, 6, 9}, {89, 9, 10}}, 3);
    expect_spans(t, "\u0958", (psc_token_span[]){{24381, 0, 1}, {2483, 1, 2}, {122, 2, 3}}, 3);
    expect_spans(t, "a<|endoftext|>  b",
        (psc_token_span[]){{66, 0, 1}, {0, 1, 14}, {50276, 14, 16}, {67, 16, 17}}, 4);
    psc_tokenizer_close(&t);
}

Test(tokenizer, queries) {
    psc_tokenizer *t = open_tokenizer(GOLDEN "gpt-neox-20b.tokenizer.json");
    size_t n;
    cr_assert_eq(psc_tokenizer_size(t), 50277);
    cr_assert_eq(psc_tokenizer_bos(t), 0);
    cr_assert(psc_tokenizer_is_special(t, 0) && psc_tokenizer_is_special(t, 1));
    cr_assert(!psc_tokenizer_is_special(t, 50276) && !psc_tokenizer_is_special(t, -1));
    cr_assert(!psc_tokenizer_is_special(t, 60000));
    cr_assert_str_eq(psc_tokenizer_bytes(t, 340, &n), " y");
    cr_assert_eq(n, 2);
    cr_assert_str_eq(psc_tokenizer_bytes(t, 50276, &n), "  ");
    cr_assert_null(psc_tokenizer_bytes(t, 50277, &n));
    cr_assert_null(psc_tokenizer_bytes(t, -1, &n));
    psc_tokenizer_close(&t);
}

Test(tokenizer, text_that_is_not_utf8) {
    static const struct {
        const char *text;
        size_t bytes, offset;
    } cases[] = {{"\x80", 1, 0}, {"ab\xc0\x80", 4, 2}, {"abcdefghi\xed\xa0\x80", 12, 9},
        {"a\xf4\x90\x80\x80", 5, 1}, {"\xe2\x82", 2, 0}, {"\xc3\xa9\xff", 3, 2},
        {"\xe0\x80\x80", 3, 0}};
    psc_tokenizer *t = open_tokenizer(BOOKS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        psc_token_span *spans;
        size_t n;
        psc_error error;
        char want[80];
        cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, cases[i].text, cases[i].bytes, &error),
            PSC_ERROR_INPUT);
        snprintf(
            want, sizeof want, "the text is not valid UTF-8 at byte offset %zu", cases[i].offset);
        cr_assert_str_eq(error.message, want);
        cr_assert_null(spans);
    }
    psc_tokenizer_close(&t);
}

Test(tokenizer, negative_id_is_an_error) {
    psc_tokenizer *t = open_tokenizer(BOOKS);
    char *text;
    size_t n;
    psc_error error;
    cr_assert_eq(
        psc_tokenizer_decode(&text, &n, t, (int32_t[]){5, -3}, 2, false, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "token 1 has the negative id -3");
    psc_tokenizer_close(&t);
}

/* A megabyte of one word, one run of spaces, or one run of marks to reorder: none may hang. */
Test(tokenizer, long_runs, .timeout = 60) {
    enum { BYTES = 1 << 20 };
    static const char *const units[] = {"a", "qz", " ", "\u0301\u0323", "\u8a9e", "'"};
    psc_tokenizer *t = open_tokenizer(GOLDEN "gpt-neox-20b.tokenizer.json");
    char *text = malloc(BYTES);
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++) {
        size_t unit = strlen(units[k]), bytes = BYTES / unit * unit, n;
        psc_token_span *spans;
        for (size_t i = 0; i < bytes; i++) text[i] = units[k][i % unit];
        cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, text, bytes, NULL), PSC_OK);
        cr_assert_eq(spans[n - 1].end, bytes);
        psc_tokenizer_free_spans(spans);
    }
    free(text);
    psc_tokenizer_close(&t);
}

/* The first tokens of a text: those of the whole, which has more exactly if there are more. */
Test(tokenizer, first_tokens_of_a_text) {
    static const char text[] =
        "One <|endoftext|> and e\u0301 two 12,000 words.\n   Not <|padding|> more";
    psc_tokenizer *t = open_tokenizer(GOLDEN "gpt-neox-20b.tokenizer.json");
    psc_token_span *all, *first;
    size_t n_all, n;
    cr_assert_eq(psc_tokenizer_encode(&all, &n_all, t, text, sizeof text - 1, NULL), PSC_OK);
    for (size_t most = 0; most <= n_all + 2; most++) {
        cr_assert_eq(
            psc_tokenizer_encode_first(&first, &n, t, text, sizeof text - 1, most, NULL), PSC_OK);
        cr_assert_eq(n > most, n_all > most, "%zu of %zu", most, n_all);
        cr_assert_eq(memcmp(first, all, (n < most ? n : most) * sizeof *all), 0, "%zu", most);
        psc_tokenizer_free_spans(first);
    }
    psc_tokenizer_free_spans(all);
    psc_tokenizer_close(&t);
}

/* Of a long text no more than is needed to know that it is too long. */
Test(tokenizer, long_runs_cut_short) {
    enum { BYTES = 8 << 20, MOST = 100 };
    static const char *const units[] = {"a", " ", "\u0301\u0323", "e\u0301 ", "<|endoftext|>"};
    psc_tokenizer *t = open_tokenizer(GOLDEN "gpt-neox-20b.tokenizer.json");
    char *text = malloc(BYTES);
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++) {
        size_t unit = strlen(units[k]), bytes = BYTES / unit * unit, n;
        psc_token_span *spans;
        for (size_t i = 0; i < bytes; i++) text[i] = units[k][i % unit];
        cr_assert_eq(psc_tokenizer_encode_first(&spans, &n, t, text, bytes, MOST, NULL), PSC_OK);
        cr_assert_gt(n, MOST);
        cr_assert_lt(n, bytes / 32, "%zu tokens of %s", n, units[k]);
        psc_tokenizer_free_spans(spans);
        text[bytes - 1] = (char)0xff; /* the whole text is checked */
        cr_assert_eq(
            psc_tokenizer_encode_first(&spans, &n, t, text, bytes, MOST, NULL), PSC_ERROR_INPUT);
    }
    free(text);
    psc_tokenizer_close(&t);
}

typedef struct job {
    const psc_tokenizer *tokenizer;
    size_t tokens;
} job;

static void *encode_often(void *payload) {
    static const char text[] = "A text that two threads read, e\u0301 and <|endoftext|> and 1234.";
    job *j = payload;
    for (int i = 0; i < 300; i++) {
        psc_token_span *spans;
        size_t n = 0;
        if (psc_tokenizer_encode(&spans, &n, j->tokenizer, text, sizeof text - 1, NULL))
            return NULL;
        j->tokens += n;
        psc_tokenizer_free_spans(spans);
    }
    return NULL;
}

Test(tokenizer, two_threads_share_one) {
    psc_tokenizer *t = open_tokenizer(BOOKS);
    job jobs[2] = {{t, 0}, {t, 0}};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, encode_often, &jobs[0]), 0);
    encode_often(&jobs[1]);
    pthread_join(thread, NULL);
    cr_assert(jobs[0].tokens > 0 && jobs[0].tokens == jobs[1].tokens);
    psc_tokenizer_close(&t);
}
