/* tokenizer.json files made here: every option, and every flaw that ends in one sentence. */
#include "tokenizer_fixture.h"

#define ADDED(id, content, rest)                                                                   \
    "{\"id\":" id ",\"content\":" content ",\"single_word\":false,\"lstrip\":false,"               \
    "\"rstrip\":false,\"normalized\":false,\"special\":" rest "}"

#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define SPLIT(pattern, behavior)                                                                   \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":" pattern           \
    ",\"behavior\":\"" behavior "\",\"invert\":false}," BYTES "]}"
#define REGEX(pattern) SPLIT("{\"Regex\":\"" pattern "\"}", "Isolated")

#define IN_TWO(list, part)                                                                         \
    "{\"type\":\"Sequence\",\"" list "\":[{\"type\":\"Sequence\",\"" list "\":[" part "]}]}"
#define IN_EIGHT(list, part) IN_TWO(list, IN_TWO(list, IN_TWO(list, IN_TWO(list, part))))
#define THREE_DIGITS                                                                               \
    "{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"Digits\",\"individual_digits\":" \
    "true},{\"type\":\"Digits\",\"individual_digits\":false}"
#define NINE_DIGITS THREE_DIGITS "," THREE_DIGITS "," THREE_DIGITS

static const struct {
    const char *path, *value; /* JSON; null: removes the member */
    psc_status status;
    const char *message; /* text that the sentence must contain */
} bad[] = {
    {"model", NULL, PSC_ERROR_INPUT, "model is missing"},
    {"model", "3", PSC_ERROR_INPUT, "model is not an object"},
    {"model.type", "\"Unigram\"", PSC_ERROR_SUPPORT, "model.type \"Unigram\""},
    {"model.type", "5", PSC_ERROR_INPUT, "model.type is not a string"},
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
    {"model.merges", "[[1, \"a\"]]", PSC_ERROR_INPUT, "model.merges[0] is neither"},
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
    {"normalizer", IN_EIGHT("normalizers", "{\"type\":\"Sequence\"}"), PSC_ERROR_SUPPORT,
        "normalizer of type \"Sequence\" is not supported"},
    {"pre_tokenizer", NULL, PSC_ERROR_SUPPORT, "pre_tokenizer is missing; only ByteLevel"},
    {"pre_tokenizer", "[]", PSC_ERROR_INPUT, "pre_tokenizer is not an object with a type"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":{}}", PSC_ERROR_INPUT,
        "pre_tokenizer.pretokenizers is not an array"},
    {"pre_tokenizer", IN_EIGHT("pretokenizers", "{\"type\":\"Sequence\"}"), PSC_ERROR_SUPPORT,
        "pre_tokenizer of type \"Sequence\" is not supported"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[" NINE_DIGITS "," BYTES "]}",
        PSC_ERROR_SUPPORT, "pre_tokenizer has more than 8 steps"},
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
    {"pre_tokenizer", SPLIT("{\"Regex\":5}", "Isolated"), PSC_ERROR_INPUT,
        "not a Regex or a String"},
    {"pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":1}",
        PSC_ERROR_INPUT, "pre_tokenizer.behavior is not a string"},
    {"pre_tokenizer",
        "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Isolated\",\"invert\":0}",
        PSC_ERROR_INPUT, "pre_tokenizer.invert must be true or false"},
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
    {"post_processor", "{}", PSC_ERROR_INPUT, "post_processor is not an object with a type"},
    {"post_processor", "{\"type\":\"Sequence\"}", PSC_ERROR_INPUT,
        "post_processor.processors is not an array"},
    {"post_processor",
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"RobertaProcessing\"},null]}",
        PSC_ERROR_SUPPORT, "post_processor of type \"RobertaProcessing\""},
    {"post_processor", IN_EIGHT("processors", "{\"type\":\"Sequence\"}"), PSC_ERROR_SUPPORT,
        "post_processor of type \"Sequence\""},
    {"decoder", "{\"type\":1}", PSC_ERROR_INPUT, "decoder is not an object with a type"},
    {"decoder", IN_EIGHT("decoders", "{\"type\":\"Sequence\"}"), PSC_ERROR_SUPPORT,
        "decoder of type \"Sequence\""},
    {"decoder", "{\"type\":\"Sequence\",\"decoders\":[]}", PSC_ERROR_INPUT, "not an array of"},
    {"decoder", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"}]}", PSC_ERROR_SUPPORT,
        "Fuse"},
    {"decoder", "{\"type\":\"WordPiece\"}", PSC_ERROR_SUPPORT, "decoder of type \"WordPiece\""},
    {"added_tokens", "{}", PSC_ERROR_INPUT, "added_tokens is not an array"},
    {"added_tokens", "[7]", PSC_ERROR_INPUT, "added_tokens[0] is not an object"},
    {"added_tokens", "[{\"content\":\"<x>\"}]", PSC_ERROR_INPUT, "added_tokens[0].id is missing"},
    {"added_tokens", "[{\"id\":259}]", PSC_ERROR_INPUT, "added_tokens[0].content is missing"},
    {"added_tokens", "[" ADDED("259", "7", "true") "]", PSC_ERROR_INPUT,
        "added_tokens[0].content is empty or not a string"},
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

/* Two members that are wrong together. */
static void refuse_both(const char *path, const char *value, const char *other, const char *also,
    psc_status status, const char *message) {
    json_t *root = base();
    psc_tokenizer *t;
    psc_error error = {0};
    set_member(root, path, value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL);
    set_member(root, other, json_loads(also, JSON_DECODE_ANY, NULL));
    cr_assert_eq(open_json(&t, root, &error), status, "%s: %s", path, error.message);
    const char *after = strstr(error.message, ": "); /* the path's end */
    cr_assert(after && strcmp(after + 2, message) == 0, "%s", error.message);
    cr_assert_null(t);
}

Test(tokenizer_files, members_that_are_wrong_together) {
    refuse_both("model.vocab.q", NULL, "model.byte_fallback", "true", PSC_ERROR_SUPPORT,
        "model.byte_fallback is true and model.vocab has no entry for the byte 0x71, which is not "
        "supported");
    refuse_both("model.vocab.bc", "259", "added_tokens", "[" ADDED("259", "\"<x>\"", "true") "]",
        PSC_ERROR_INPUT,
        "added_tokens[0].id has the next free id 259, which is already another token's id");
    refuse_both("model.vocab.bc", "400", "added_tokens", "[" ADDED("258", "\"<x>\"", "true") "]",
        PSC_ERROR_INPUT, "added_tokens[0].id is 258, but the next free id is 259");
    refuse_both("model.vocab.bc", "4194303", "added_tokens",
        "[" ADDED("4194303", "\"bc\"", "true") "," ADDED("4194304", "\"<x>\"", "true") "]",
        PSC_ERROR_INPUT, "added_tokens contains id 4194304; the largest allowed id is 4194303");
}

Test(tokenizer_files, the_longest_added_token) {
    for (int bytes = 1024; bytes <= 1025; bytes++) {
        char content[1028], value[1400];
        json_t *root = base();
        psc_tokenizer *t;
        psc_error error = {0};
        memset(content, 'x', sizeof content);
        snprintf(value, sizeof value, "[" ADDED("259", "\"%.*s\"", "true") "]", bytes, content);
        set_member(root, "added_tokens", json_loads(value, 0, NULL));
        const psc_status status = open_json(&t, root, &error);
        cr_assert_eq(status, bytes == 1024 ? PSC_OK : PSC_ERROR_SUPPORT, "%s", error.message);
        if (status)
            cr_assert(
                strstr(error.message, "added_tokens[0].id has a token longer than 1024 bytes"),
                "%s", error.message);
        psc_tokenizer_close(&t);
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

/* Compares the ids of the text (-1 ends them) and the last end; closes the tree. */
static void expect_tree(json_t *root, const char *text, const int32_t *want) {
    psc_tokenizer *t;
    psc_token_span *spans;
    psc_error error = {0};
    size_t n, i = 0;
    cr_assert_eq(open_json(&t, root, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, text, strlen(text), NULL), PSC_OK);
    for (; i < n && want[i] >= 0; i++)
        cr_assert_eq(spans[i].id, want[i], "token %zu of \"%s\" is %d", i, text, spans[i].id);
    cr_assert(i == n && want[i] < 0, "\"%s\" has %zu tokens", text, n);
    cr_assert_eq(n ? spans[n - 1].end : 0, strlen(text));
    psc_tokenizer_free_spans(spans);
    psc_tokenizer_close(&t);
}

/* The base with one member changed. */
static void expect_ids(const char *path, const char *value, const char *text, const int32_t *want) {
    json_t *root = base();
    if (path) set_member(root, path, value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL);
    expect_tree(root, text, want);
}

/* The base with two members changed. */
static void expect_both(const char *path, const char *value, const char *other, const char *also,
    const char *text, const int32_t *want) {
    json_t *root = base();
    set_member(root, path, value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL);
    set_member(root, other, json_loads(also, JSON_DECODE_ANY, NULL));
    expect_tree(root, text, want);
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
    expect_ids("post_processor",
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},null]}", "bc", IDS(258));
    expect_ids("model.type", NULL, "bc", IDS(258));
    expect_ids("model.dropout", "0", "bc", IDS(258));
    expect_ids("model.unk_token", NULL, "bc", IDS(258));
    expect_ids("model.end_of_word_suffix", "\"\"", "bc", IDS(258));
    expect_ids("decoder", "null", "bc", IDS(258));
    expect_ids("decoder", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"}]}", "bc",
        IDS(258));
    expect_ids(
        "normalizer", IN_EIGHT("normalizers", "{\"type\":\"NFC\"}"), "e\xcc\x81", IDS(0xc3, 0xa9));
    expect_ids("pre_tokenizer", IN_EIGHT("pretokenizers", BYTES), "bc", IDS(258));
}

/* Bytes without an entry become the unknown token; with fuse_unk one for each run of them. An entry
 * whose text is not in the byte alphabet has an id, but no text becomes it. */
Test(tokenizer_files, unknown_bytes) {
    expect_both(
        "model.vocab.q", NULL, "model.unk_token", "\"ab\"", "aqqbq", IDS('a', 256, 256, 'b', 256));
    expect_both("model.vocab.\xc5\xb5", "259", "model.ignore_merges", "true", "\xc5\xb5 abc",
        IDS(0xc5, 0xb5, ' ', 257));
    json_t *root = base();
    set_member(root, "model.vocab.q", NULL);
    set_member(root, "model.unk_token", json_string("ab"));
    set_member(root, "model.fuse_unk", json_true());
    expect_tree(root, "aqqbq", IDS('a', 256, 'b', 256));
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

/* Ids that are not in ascending order; a hole in the ids; texts that are the same after NFC. */
Test(tokenizer_files, ids_of_added_tokens) {
    expect_ids("added_tokens",
        "[" ADDED("259", "\"<x>\"", "true") "," ADDED("257", "\"abc\"", "true") "]", "<x>abcc",
        IDS(259, 257, 'c'));
    expect_both("model.vocab.bc", "400", "added_tokens", "[" ADDED("259", "\"<x>\"", "true") "]",
        "<x>bc", IDS(259, 400));
    expect_ids("added_tokens",
        "[" TOKEN("259", "xe\xcc\x81", "false", "false", "false", "true") "," TOKEN(
            "260", "x\xc3\xa9", "false", "false", "false", "true") "]",
        "axe\xcc\x81x\xc3\xa9", IDS('a', 259, 259));
}

#define MARK(single, left, right) "[" TOKEN("259", "<m>", single, left, right, "false") "]"

Test(tokenizer_files, words_beside_added_tokens) {
    static const char *const single = MARK("true", "false", "false");
    expect_ids("added_tokens", single, "<m>", IDS(259));
    expect_ids("added_tokens", single, "\xc3\xa9<m>", IDS(0xc3, 0xa9, '<', 'm', '>'));
    expect_ids("added_tokens", single, "<m>\xc3\xa9", IDS('<', 'm', '>', 0xc3, 0xa9));
    expect_ids("added_tokens", single, "\xe2\x80\x83<m>-", IDS(0xe2, 0x80, 0x83, 259, '-'));
}

/* Tokens that strip white space, and are white space themselves: what another one covers is left
 * out with lstrip, and has an empty range without it. */
Test(tokenizer_files, white_space_beside_added_tokens) {
    expect_ids("added_tokens", MARK("false", "true", "true"), "a \xe2\x80\x83<m>\xe3\x80\x80\tb",
        IDS('a', 259, 'b'));
    expect_ids("added_tokens", MARK("false", "true", "false"), " <m>", IDS(259));
    expect_ids("added_tokens", MARK("false", "false", "true"), "<m> ", IDS(259));
    expect_ids("added_tokens", MARK("false", "true", "true"), "<m> <m>", IDS(259, 259));
    expect_ids("added_tokens", "[" TOKEN("259", " ", "false", "true", "true", "false") "]",
        "a    b", IDS('a', 259, 'b'));
    expect_ids("added_tokens", "[" TOKEN("259", " ", "false", "false", "true", "false") "]",
        "a   b", IDS('a', 259, 259, 259, 'b'));
}
