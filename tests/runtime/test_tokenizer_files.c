/* tokenizer.json files made here: every option, and every flaw that ends in one sentence. The base
 * is a vocabulary of the 256 bytes, a few merges and no added tokens. */
#include "tokenizer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sets the member that path ("model.vocab") names, or deletes it if value is null. */
static void set_member(json_t *root, const char *path, json_t *value) {
    char copy[128], *part = copy, *dot;
    snprintf(copy, sizeof copy, "%s", path);
    for (; (dot = strchr(part, '.')); part = dot + 1) {
        *dot = 0;
        root = json_object_get(root, part);
    }
    if (value)
        cr_assert_eq(json_object_set_new(root, part, value), 0);
    else
        json_object_del(root, part);
}

/* The character of a byte in the byte alphabet, as UTF-8. */
static void coded(char out[4], int byte) {
    int c = byte;
    if (byte <= 0x20) c = 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) c = 0x121 + byte - 0x7f;
    if (byte == 0xad) c = 0x143;
    if (c < 0x80) {
        snprintf(out, 4, "%c", c);
    } else {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        out[2] = 0;
    }
}

static json_t *base(void) {
    json_t *root = json_loads(
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],"
        "\"normalizer\":{\"type\":\"NFC\"},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":"
        "true},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
        "\"dropout\":null,\"unk_token\":null,\"vocab\":{},\"merges\":[\"a b\",[\"ab\",\"c\"],\"b "
        "c\"]}}",
        0, NULL);
    cr_assert_not_null(root);
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    for (int i = 0; i < 256; i++) {
        char key[4];
        coded(key, i);
        json_object_set_new(vocab, key, json_integer(i));
    }
    json_object_set_new(vocab, "ab", json_integer(256));
    json_object_set_new(vocab, "abc", json_integer(257));
    json_object_set_new(vocab, "bc", json_integer(258));
    return root;
}

static psc_status open_bytes(
    psc_tokenizer **out, const char *data, size_t bytes, psc_error *error) {
    char path[] = "/tmp/psc_tokenizer_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, bytes), (ssize_t)bytes);
    close(fd);
    psc_status status = psc_tokenizer_open(out, path, error);
    unlink(path);
    return status;
}

static psc_status open_json(psc_tokenizer **out, json_t *root, psc_error *error) {
    char *data = json_dumps(root, 0);
    cr_assert_not_null(data);
    psc_status status = open_bytes(out, data, strlen(data), error);
    free(data);
    json_decref(root);
    return status;
}

#define ADDED(id, content, rest)                                                                   \
    "{\"id\":" id ",\"content\":" content ",\"single_word\":false,\"lstrip\":false,"               \
    "\"rstrip\":false,\"normalized\":false,\"special\":" rest "}"

#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define SPLIT(pattern, behavior)                                                                   \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":" pattern           \
    ",\"behavior\":\"" behavior "\",\"invert\":false}," BYTES "]}"
#define REGEX(pattern) SPLIT("{\"Regex\":\"" pattern "\"}", "Isolated")

static const struct {
    const char *path, *value; /* JSON; null: removes the member */
    psc_status status;
    const char *message; /* text that the sentence must contain */
} bad[] = {
    {"model", NULL, PSC_ERROR_INPUT, "model is missing"},
    {"model", "3", PSC_ERROR_INPUT, "model is not an object"},
    {"model.type", "\"Unigram\"", PSC_ERROR_SUPPORT, "model.type \"Unigram\""},
    {"model.vocab", NULL, PSC_ERROR_INPUT, "model.vocab is missing"},
    {"model.vocab", "[]", PSC_ERROR_INPUT, "model.vocab is not an object"},
    {"model.vocab", "{}", PSC_ERROR_INPUT, "no entry for the byte 0x00"},
    {"model.vocab.q", NULL, PSC_ERROR_INPUT, "no entry for the byte 0x71"},
    {"model.vocab.ab", "5", PSC_ERROR_INPUT, "already another entry's id"},
    {"model.vocab.ab", "-1", PSC_ERROR_INPUT, "model.vocab[\"ab\"] is -1"},
    {"model.vocab.ab", "2147483648", PSC_ERROR_INPUT, "is 2147483648; ids are"},
    {"model.vocab.ab", "4194304", PSC_ERROR_INPUT, "ids are 0 to 4194303"},
    {"model.vocab.ab", "1.5", PSC_ERROR_INPUT, "is not an integer"},
    {"model.vocab.ab", "\"x\"", PSC_ERROR_INPUT, "is not an integer"},
    {"model.vocab.ab", NULL, PSC_ERROR_INPUT, "the result \"ab\" is not in model.vocab"},
    {"model.merges", NULL, PSC_ERROR_INPUT, "model.merges is missing"},
    {"model.merges", "{}", PSC_ERROR_INPUT, "model.merges is not an array"},
    {"model.merges", "[\"a\"]", PSC_ERROR_INPUT, "model.merges[0] is neither"},
    {"model.merges", "[\"a b c\"]", PSC_ERROR_INPUT, "model.merges[0] is neither"},
    {"model.merges", "[\"a b\", 3]", PSC_ERROR_INPUT, "model.merges[1] is neither"},
    {"model.merges", "[[\"a\"]]", PSC_ERROR_INPUT, "model.merges[0] is neither"},
    {"model.merges", "[[\"a\", \"b\", \"c\"]]", PSC_ERROR_INPUT, "model.merges[0] is neither"},
    {"model.merges", "[[\"a\", 1]]", PSC_ERROR_INPUT, "model.merges[0] is neither"},
    {"model.merges", "[\"zz b\"]", PSC_ERROR_INPUT, "the left side \"zz\" is not in"},
    {"model.merges", "[\"a zz\"]", PSC_ERROR_INPUT, "the right side \"zz\" is not in"},
    {"model.merges", "[\"b a\"]", PSC_ERROR_INPUT, "the result \"ba\" is not in"},
    {"model.dropout", "0.1", PSC_ERROR_SUPPORT, "model.dropout is not supported"},
    {"model.dropout", "true", PSC_ERROR_INPUT, "model.dropout must be a number"},
    {"model.unk_token", "\"zz\"", PSC_ERROR_INPUT, "model.unk_token \"zz\" is not in"},
    {"model.unk_token", "4", PSC_ERROR_INPUT, "model.unk_token must be a string"},
    {"model.continuing_subword_prefix", "\"##\"", PSC_ERROR_SUPPORT, "continuing_subword_prefix"},
    {"model.end_of_word_suffix", "\"</w>\"", PSC_ERROR_SUPPORT, "end_of_word_suffix"},
    {"model.end_of_word_suffix", "[]", PSC_ERROR_INPUT, "end_of_word_suffix must be a string"},
    {"model.byte_fallback", "1", PSC_ERROR_INPUT, "model.byte_fallback must be true or false"},
    {"model.fuse_unk", "\"no\"", PSC_ERROR_INPUT, "model.fuse_unk must be true or false"},
    {"model.ignore_merges", "0", PSC_ERROR_INPUT, "model.ignore_merges must be true or false"},
    {"normalizer", "{\"type\":\"NFKC\"}", PSC_ERROR_SUPPORT, "normalizer of type \"NFKC\""},
    {"normalizer", "\"NFC\"", PSC_ERROR_INPUT, "normalizer is not an object with a type"},
    {"normalizer", "{\"type\":\"Sequence\"}", PSC_ERROR_INPUT, "normalizers is not an array"},
    {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}",
        PSC_ERROR_SUPPORT, "Lowercase"},
    {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":[null]}", PSC_ERROR_INPUT,
        "normalizers[0] is not an object"},
    {"pre_tokenizer", "null", PSC_ERROR_SUPPORT, "pre_tokenizer is null"},
    {"pre_tokenizer", "{\"type\":\"Whitespace\"}", PSC_ERROR_SUPPORT, "Whitespace"},
    {"pre_tokenizer.add_prefix_space", "1", PSC_ERROR_INPUT, "must be true or false"},
    {"pre_tokenizer.add_prefix_space", NULL, PSC_ERROR_INPUT, "add_prefix_space is missing"},
    {"pre_tokenizer.use_regex", "null", PSC_ERROR_INPUT, "use_regex must be true or false"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}]}",
        PSC_ERROR_INPUT, "individual_digits is missing"},
    {"pre_tokenizer", "{\"type\":\"Digits\",\"individual_digits\":true}", PSC_ERROR_SUPPORT,
        "has no ByteLevel"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES ",{\"type\":\"Digits\"}]}",
        PSC_ERROR_SUPPORT, "Digits after ByteLevel"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES "," BYTES "]}",
        PSC_ERROR_SUPPORT, "ByteLevel after ByteLevel"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Metaspace\"}]}",
        PSC_ERROR_SUPPORT, "Metaspace"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[null]}", PSC_ERROR_INPUT,
        "a part of pre_tokenizer is not an object"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[]}", PSC_ERROR_SUPPORT,
        "has no ByteLevel"},
    {"pre_tokenizer", SPLIT("\"x\"", "Isolated"), PSC_ERROR_INPUT, "not a Regex or a String"},
    {"pre_tokenizer", SPLIT("{\"String\":\"\"}", "Isolated"), PSC_ERROR_SUPPORT, "has 0 bytes"},
    {"pre_tokenizer", SPLIT("{\"String\":\"x\"}", "Removed"), PSC_ERROR_SUPPORT, "\"Removed\""},
    {"pre_tokenizer", REGEX("x*"), PSC_ERROR_SUPPORT, "matches the empty text"},
    {"pre_tokenizer", REGEX("a\\\\w"), PSC_ERROR_SUPPORT, "\"\\w\" at byte 1"},
    {"pre_tokenizer", REGEX("\\\\p{Lu}"), PSC_ERROR_SUPPORT, "\"\\p\" at byte 0"},
    {"pre_tokenizer", REGEX("(?<=a)b"), PSC_ERROR_SUPPORT, "\"(?<\" at byte 0"},
    {"pre_tokenizer", REGEX("(?i)b"), PSC_ERROR_SUPPORT, "\"(?i\" at byte 0"},
    {"pre_tokenizer", REGEX("(?i:ss)"), PSC_ERROR_SUPPORT, "\"s\" at byte 5"},
    {"pre_tokenizer", REGEX("(?i:[a])"), PSC_ERROR_SUPPORT, "\"[\" at byte 4"},
    {"pre_tokenizer", REGEX("(a"), PSC_ERROR_INPUT, "an open group"},
    {"pre_tokenizer", REGEX("a)"), PSC_ERROR_SUPPORT, "\")\" at byte 1"},
    {"pre_tokenizer", REGEX("[a"), PSC_ERROR_SUPPORT, "\"[\" at byte 0"},
    {"pre_tokenizer", REGEX("[a[b]]"), PSC_ERROR_SUPPORT, "\"[\" at byte 2"},
    {"pre_tokenizer", REGEX("[a&&b]"), PSC_ERROR_SUPPORT, "\"&\" at byte 2"},
    {"pre_tokenizer", REGEX("[^\\\\S]"), PSC_ERROR_SUPPORT, "\"\\S\" at byte 2"},
    {"pre_tokenizer", REGEX("[z-a]"), PSC_ERROR_SUPPORT, "PCRE2 cannot compile"},
    {"pre_tokenizer", REGEX("^a"), PSC_ERROR_SUPPORT, "\"^\" at byte 0"},
    {"pre_tokenizer", REGEX("*a"), PSC_ERROR_SUPPORT, "\"*\" at byte 0"},
    {"pre_tokenizer", REGEX("a{2"), PSC_ERROR_SUPPORT, "\"{\" at byte 1"},
    {"pre_tokenizer", REGEX("a{2,1}"), PSC_ERROR_SUPPORT, "\"{\" at byte 1"},
    {"pre_tokenizer", REGEX("a{9999}"), PSC_ERROR_SUPPORT, "\"{\" at byte 1"},
    {"pre_tokenizer", REGEX("a{2}+"), PSC_ERROR_SUPPORT, "\"+\" at byte 4"},
    {"pre_tokenizer", REGEX("a\\\\"), PSC_ERROR_SUPPORT, "at byte 1"},
    {"post_processor", "{\"type\":\"BertProcessing\"}", PSC_ERROR_SUPPORT, "BertProcessing"},
    {"decoder", "{\"type\":\"Sequence\",\"decoders\":[]}", PSC_ERROR_INPUT, "not an array of"},
    {"decoder", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"}]}", PSC_ERROR_SUPPORT,
        "Fuse"},
    {"decoder", "{\"type\":\"WordPiece\"}", PSC_ERROR_SUPPORT, "decoder of type \"WordPiece\""},
    {"added_tokens", "{}", PSC_ERROR_INPUT, "added_tokens is not an array"},
    {"added_tokens", "[7]", PSC_ERROR_INPUT, "added_tokens[0] is not an object"},
    {"added_tokens", "[" ADDED("259", "\"\"", "true") "]", PSC_ERROR_INPUT, "content is empty"},
    {"added_tokens", "[" ADDED("\"x\"", "\"<x>\"", "true") "]", PSC_ERROR_INPUT, "id is not an"},
    {"added_tokens", "[" ADDED("259", "\"<x>\"", "1") "]", PSC_ERROR_INPUT, "special must be true"},
    {"added_tokens", "[{\"id\":259,\"content\":\"<x>\"}]", PSC_ERROR_INPUT, "is missing"},
    {"added_tokens", "[" ADDED("5", "\"<x>\"", "true") "]", PSC_ERROR_INPUT, "another token's id"},
    {"added_tokens", "[" ADDED("-1", "\"<x>\"", "true") "]", PSC_ERROR_INPUT,
        "next free id is 259"},
    {"added_tokens", "[" ADDED("99999999999", "\"<x>\"", "true") "]", PSC_ERROR_INPUT, "next free"},
    {"added_tokens", "[" ADDED("259", "\"ab\"", "true") "]", PSC_ERROR_INPUT, "the id 256"},
    {"added_tokens", "[" ADDED("259", "\"<x>\"", "true") "," ADDED("260", "\"<x>\"", "false") "]",
        PSC_ERROR_INPUT, "added_tokens[1].content is listed twice"},
};

Test(tokenizer_files, each_wrong_field_has_its_sentence) {
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *root = base(), *value = NULL;
        psc_tokenizer *t;
        psc_error error = {0};
        if (bad[i].value) value = json_loads(bad[i].value, JSON_DECODE_ANY, NULL);
        set_member(root, bad[i].path, value);
        psc_status status = open_json(&t, root, &error);
        cr_assert_eq(status, bad[i].status, "%s = %s: %d %s", bad[i].path,
            bad[i].value ? bad[i].value : "absent", status, error.message);
        cr_assert_not_null(strstr(error.message, bad[i].message), "%s", error.message);
        cr_assert_not_null(strstr(error.message, "/tmp/psc_tokenizer_"), "%s", error.message);
        cr_assert_null(t);
    }
}

Test(tokenizer_files, broken_files) {
    psc_tokenizer *t;
    psc_error error;
    json_t *root = base();
    char *data = json_dumps(root, 0);
    size_t bytes = strlen(data), step = bytes / 97;
    json_decref(root);
    for (size_t n = 0; n < bytes; n += step) /* truncated at every offset */
        cr_assert_eq(open_bytes(&t, data, n, &error), PSC_ERROR_INPUT, "%zu bytes", n);
    free(data);
    cr_assert_eq(open_bytes(&t, "[]", 2, &error), PSC_ERROR_INPUT);
    cr_assert_not_null(strstr(error.message, "the file is not a JSON object"));
    cr_assert_eq(open_bytes(&t, "{\"a\":1,\"a\":2}", 13, &error), PSC_ERROR_INPUT);
    cr_assert_not_null(strstr(error.message, "duplicate object key"));
    cr_assert_eq(open_bytes(&t, "{\"a\":1} x", 9, &error), PSC_ERROR_INPUT);
    cr_assert_eq(open_bytes(&t, "{\"a\":\"\xff\"}", 9, &error), PSC_ERROR_INPUT);
    char *deep = malloc(200000);
    memset(deep, '[', 200000);
    cr_assert_eq(open_bytes(&t, deep, 200000, &error), PSC_ERROR_INPUT);
    cr_assert_not_null(strstr(error.message, "not valid JSON: line 1"), "%s", error.message);
    free(deep);
    cr_assert_neq(psc_tokenizer_open(&t, "/nonexistent/tokenizer.json", &error), PSC_OK);
    cr_assert_neq(psc_tokenizer_open(&t, "/tmp", &error), PSC_OK);
    cr_assert_null(t);
}

Test(tokenizer_files, a_huge_file_is_refused_unread) {
    char path[] = "/tmp/psc_tokenizer_XXXXXX";
    int fd = mkstemp(path);
    psc_tokenizer *t;
    psc_error error;
    cr_assert(fd >= 0 && ftruncate(fd, (off_t)257 << 20) == 0);
    close(fd);
    cr_assert_neq(psc_tokenizer_open(&t, path, &error), PSC_OK);
    cr_assert_null(t);
    unlink(path);
}

/* Opens the base with one member changed; compares ids (-1 ends them) and the last end. */
static void expect_ids(const char *path, const char *value, const char *text, const int32_t *want) {
    psc_tokenizer *t;
    psc_token_span *spans;
    psc_error error = {0};
    size_t n, i = 0;
    json_t *root = base();
    if (path) set_member(root, path, json_loads(value, JSON_DECODE_ANY, NULL));
    cr_assert_eq(open_json(&t, root, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, text, strlen(text), NULL), PSC_OK);
    for (; i < n && want[i] >= 0; i++)
        cr_assert_eq(spans[i].id, want[i], "token %zu of \"%s\" is %d", i, text, spans[i].id);
    cr_assert(i == n && want[i] < 0, "\"%s\" has %zu tokens", text, n);
    cr_assert_eq(n ? spans[n - 1].end : 0, strlen(text));
    psc_tokenizer_free_spans(spans);
    psc_tokenizer_close(&t);
}

#define IDS(...)                                                                                   \
    (int32_t[]) {                                                                                  \
        __VA_ARGS__, -1                                                                            \
    }
#define TOKEN(id, content, single, left, right, normal)                                            \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":" single ",\"lstrip\":" left       \
    ",\"rstrip\":" right ",\"normalized\":" normal ",\"special\":false}"

Test(tokenizer_files, options) {
    expect_ids(NULL, NULL, "abc bc", IDS(257, 32, 258));
    expect_ids("normalizer", "null", "e\xcc\x81", IDS('e', 0xcc, 0x81));
    expect_ids("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}",
        "e\xcc\x81", IDS(0xc3, 0xa9));
    expect_ids("model.merges", "[\"#version: 0.2\",\"b c\",\"a b\"]", "abc", IDS('a', 258));
    expect_ids("model.ignore_merges", "true", "abc", IDS(257));
    expect_ids("pre_tokenizer.add_prefix_space", "true", "abc abc", IDS(32, 257, 32, 257));
    expect_ids("pre_tokenizer.use_regex", "false", "a1b", IDS('a', '1', 'b'));
    expect_ids("pre_tokenizer",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":"
        "false}]}",
        "bc", IDS(258));
    expect_ids("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}", "bc", IDS(258));
}

Test(tokenizer_files, added_tokens) {
    expect_ids("added_tokens", "[" TOKEN("259", "<m>", "false", "true", "true", "false") "]",
        "a  <m>\tb", IDS('a', 259, 'b'));
    expect_ids("added_tokens", "[" TOKEN("259", "<m>", "true", "false", "false", "false") "]",
        "<m>a <m>", IDS('<', 'm', '>', 'a', ' ', 259));
    expect_ids("added_tokens",
        "[" TOKEN("259", "xy", "false", "false", "false", "false") "," TOKEN(
            "260", "xyz", "false", "false", "false", "false") "]",
        "xyxyz", IDS(259, 260));
    expect_ids("added_tokens", "[" TOKEN("259", "x\xc3\xa9", "false", "false", "false", "true") "]",
        "xe\xcc\x81", IDS(259));
    expect_ids("added_tokens",
        "[" TOKEN("259", "x\xc3\xa9", "false", "false", "false", "false") "]",
        "xe\xcc\x81x\xc3\xa9", IDS('x', 0xc3, 0xa9, 259));
}
