/* Kinds of tokenizer.json beside Pythia's: the tokenizers library's ids and ranges by their hashes
 * (tests/tools/make_tokenizer_kinds_golden.py). */
#include "tokenizer.h"

#include "files.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/tokenizer/"
enum { EVERY = 5, MAX_TEXT = 65536 };

typedef struct reader {
    char *data;
    size_t size, at;
} reader;

static reader open_golden(const char *path, const char *magic) {
    reader r = {0};
    psc_error error;
    cr_assert_eq(
        psc_read_file(&r.data, &r.size, path, 1 << 24, &error), PSC_OK, "%s", error.message);
    cr_assert(r.size >= 8 && !memcmp(r.data, magic, 8), "%s", path);
    r.at = 8;
    return r;
}

static uint32_t read_number(reader *r) {
    uint32_t value = 0;
    cr_assert_leq(r->at + 4, r->size);
    for (int i = 0; i < 4; i++) value |= (uint32_t)(unsigned char)r->data[r->at++] << 8 * i;
    return value;
}

static uint32_t read_length(reader *r) {
    uint32_t value = 0, byte = 128;
    for (int shift = 0; byte > 127; shift += 7) {
        byte = (unsigned char)r->data[r->at++];
        value |= (byte & 127) << shift;
    }
    return value;
}

static json_t *load_json(const char *path) {
    json_error_t why;
    json_t *root = json_load_file(path, JSON_DECODE_ANY, &why);
    cr_assert_not_null(root, "%s: %s", path, why.text);
    return root;
}

/* The base tokenizer with members replaced; those of "model" one by one. */
static psc_tokenizer *open_kind(const json_t *base, json_t *members) {
    char path[] = "/tmp/psc_tokenizer_XXXXXX";
    psc_tokenizer *tokenizer;
    psc_error error;
    const char *key;
    json_t *root = json_deep_copy(base), *value;
    json_object_foreach(members, key, value) {
        if (strcmp(key, "model"))
            json_object_set(root, key, value);
        else
            json_object_update(json_object_get(root, key), value);
    }
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(json_dumpfd(root, fd, 0), 0);
    close(fd);
    json_decref(root);
    cr_assert_eq(psc_tokenizer_open(&tokenizer, path, &error), PSC_OK, "%s", error.message);
    unlink(path);
    return tokenizer;
}

static uint32_t add_bytes(uint32_t hash, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) hash = (hash ^ (value >> 8 * i & 255)) * 0x01000193u;
    return hash;
}

/* The number of characters that begin before byte `at`. */
static uint32_t characters_before(const char *text, size_t at) {
    uint32_t n = 0;
    for (size_t i = 0; i < at; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

/* Ranges rounded outward to whole characters, as tokenizer.h says. */
static uint32_t hash_of(
    const psc_token_span *spans, size_t n, const char *text, size_t bytes, bool with_ranges) {
    uint32_t hash = 0x811c9dc5u;
    for (size_t i = 0; i < n; i++) hash = add_bytes(hash, (uint32_t)spans[i].id, 2);
    for (size_t i = 0; i < n && with_ranges; i++) {
        const size_t start = spans[i].start;
        const bool inner = start < bytes && ((unsigned char)text[start] & 0xc0) == 0x80;
        hash = add_bytes(hash, characters_before(text, start) - inner, 4);
        hash = add_bytes(hash, characters_before(text, spans[i].end), 4);
    }
    return hash;
}

static bool decodes_to(const psc_tokenizer *tokenizer, const psc_token_span *spans, size_t n,
    const char *text, size_t bytes) {
    static int32_t ids[MAX_TEXT];
    char *decoded;
    size_t length;
    for (size_t i = 0; i < n; i++) ids[i] = spans[i].id;
    cr_assert_eq(psc_tokenizer_decode(&decoded, &length, tokenizer, ids, n, false, NULL), PSC_OK);
    const bool same = length == bytes && !memcmp(decoded, text, bytes);
    free(decoded);
    return same;
}

static void compare(const psc_tokenizer *tokenizer, uint32_t want, const char *text, size_t bytes,
    const char *kind, uint32_t index) {
    psc_token_span *spans;
    psc_error error;
    size_t n, at = 0;
    cr_assert_leq(bytes, MAX_TEXT);
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, tokenizer, text, bytes, &error), PSC_OK, "%s",
        error.message);
    for (size_t i = 0; i < n; i++) {
        cr_assert(spans[i].start == at && spans[i].end >= at, "%s, string %u", kind, index);
        at = spans[i].end;
    }
    const bool ranges = decodes_to(tokenizer, spans, n, text, bytes);
    const uint32_t hash = hash_of(spans, n, text, bytes, ranges);
    cr_assert_eq(hash, want, "%s, string %u: \"%.*s\"", kind, index, (int)bytes, text);
    psc_tokenizer_free_spans(spans);
}

Test(tokenizer_kinds, as_the_library, .timeout = 300) {
    json_t *base = load_json(GOLDEN "gpt-neox-20b.tokenizer.json");
    json_t *kinds = load_json(GOLDEN "kinds.json");
    reader golden = open_golden(GOLDEN "kinds.bin", "PSCTKK1\n");
    cr_assert_eq(read_number(&golden), json_array_size(kinds));
    const uint32_t n = read_number(&golden);
    cr_assert_geq(n, 2000);
    for (size_t k = 0; k < json_array_size(kinds); k++) {
        const json_t *kind = json_array_get(kinds, k);
        psc_tokenizer *tokenizer = open_kind(base, json_object_get(kind, "members"));
        reader strings = open_golden(GOLDEN "strings.bin", "PSCTKS1\n");
        const uint32_t n_strings = read_number(&strings);
        for (uint32_t i = 0; i < n_strings; i++) {
            const uint32_t bytes = read_length(&strings);
            if (i % EVERY == 0)
                compare(tokenizer, read_number(&golden), strings.data + strings.at, bytes,
                    json_string_value(json_object_get(kind, "name")), i);
            strings.at += bytes;
        }
        free(strings.data);
        psc_tokenizer_close(&tokenizer);
    }
    cr_assert_eq(golden.at, golden.size);
    free(golden.data);
    json_decref(kinds);
    json_decref(base);
}
