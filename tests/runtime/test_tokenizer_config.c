/* The tokens that stand beside tokenizer.json, as transformers reads them
 * (tests/tools/make_tokenizer_config_golden.py), the beginning token, and models whose tokenizer is
 * of another kind: only text is refused. */
#include "failing_json.h"
#include "files.h"
#include "golden.h"
#include "tokenizer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/tokenizer/"
#define BOOKS PSC_SOURCE_DIR "/models/books-5m"

typedef struct folder {
    char path[64];
    char *files[8];
    int n;
} folder;

static folder make_folder(void) {
    folder f = {.path = "/tmp/psc_folder_XXXXXX"};
    cr_assert_not_null(mkdtemp(f.path));
    return f;
}

static const char *add_name(folder *f, const char *name) {
    f->files[f->n] = psc_path_join(f->path, name);
    cr_assert_not_null(f->files[f->n]);
    return f->files[f->n++];
}

static void write_text(folder *f, const char *name, const char *text) {
    FILE *file = fopen(add_name(f, name), "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void write_json(folder *f, const char *name, const json_t *value) {
    cr_assert_eq(json_dump_file(value, add_name(f, name), 0), 0);
}

static void link_file(folder *f, const char *name) {
    char from[256];
    snprintf(from, sizeof from, BOOKS "/%s", name);
    cr_assert_eq(symlink(from, add_name(f, name)), 0);
}

static void remove_folder(folder *f) {
    for (int i = 0; i < f->n; i++) {
        unlink(f->files[i]);
        free(f->files[i]);
    }
    rmdir(f->path);
}

static json_t *load_json(const char *path) {
    json_error_t why;
    json_t *root = json_load_file(path, 0, &why);
    cr_assert_not_null(root, "%s: %s", path, why.text);
    return root;
}

static json_t *changed(const json_t *base, json_t *members) {
    const char *key;
    json_t *root = json_deep_copy(base), *value;
    json_object_foreach(members, key, value) {
        if (strcmp(key, "model"))
            json_object_set(root, key, value);
        else
            json_object_update(json_object_get(root, key), value);
    }
    return root;
}

static void compare(
    const psc_tokenizer *tokenizer, const char *text, const json_t *ids, const char *name) {
    psc_token_span *spans;
    psc_error error;
    size_t n;
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, tokenizer, text, strlen(text), &error), PSC_OK,
        "%s", error.message);
    for (size_t i = 0; i < n && i < json_array_size(ids); i++)
        cr_assert_eq(spans[i].id, json_integer_value(json_array_get(ids, i)),
            "%s: \"%s\", token %zu is %d", name, text, i, spans[i].id);
    cr_assert_eq(n, json_array_size(ids), "%s: \"%s\" has %zu tokens", name, text, n);
    psc_tokenizer_free_spans(spans);
}

static void check_case(const json_t *base, const json_t *item) {
    const char *name = json_string_value(json_object_get(item, "name")), *file;
    const char *refused = json_string_value(json_object_get(item, "refused"));
    json_t *content, *root = changed(base, json_object_get(item, "members"));
    folder f = make_folder();
    psc_tokenizer *tokenizer;
    psc_error error = {0};
    write_json(&f, "tokenizer.json", root);
    json_object_foreach(json_object_get(item, "files"), file, content)
        write_text(&f, file, json_string_value(content));
    psc_status status = psc_tokenizer_open_folder(&tokenizer, f.path, &error);
    remove_folder(&f);
    json_decref(root);
    if (refused) {
        cr_assert_eq(status, PSC_ERROR_INPUT, "%s", name);
        cr_assert_not_null(strstr(error.message, refused), "%s: %s", name, error.message);
        return;
    }
    cr_assert_eq(status, PSC_OK, "%s: %s", name, error.message);
    const json_t *texts = json_object_get(item, "texts"), *ids = json_object_get(item, "ids");
    for (size_t i = 0; i < json_array_size(texts); i++)
        compare(
            tokenizer, json_string_value(json_array_get(texts, i)), json_array_get(ids, i), name);
    const int32_t bos = (int32_t)json_integer_value(json_object_get(item, "bos"));
    cr_assert_eq(psc_tokenizer_bos(tokenizer), bos < 0 ? 0 : bos, "%s", name);
    psc_tokenizer_close(&tokenizer);
}

Test(tokenizer_config, as_transformers) {
    json_t *base = load_json(GOLDEN "small.tokenizer.json");
    json_t *cases = load_json(GOLDEN "config_cases.json");
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(base, json_array_get(cases, i));
    json_decref(cases);
    json_decref(base);
}

static const struct {
    const char *file, *text, *message;
} damaged[] = {
    {"tokenizer_config.json", "{", "tokenizer_config.json is not valid JSON"},
    {"tokenizer_config.json", "[]", "tokenizer_config.json is not a JSON object"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":[]}", "is not an object"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"a\"}}}",
        "\"x\" is not a token"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"367\":{}}}", "\"367\" is not a token"},
    {"tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"367\":{\"content\":\"<x>\",\"lstrip\":1}}}",
        "lstrip must be true or false"},
    {"tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"99999999999999999999\":{\"content\":\"<x>\"}}}",
        "the next free id is 367"},
    {"tokenizer_config.json", "{\"bos_token\":7}", "bos_token is neither a text nor a token"},
    {"added_tokens.json", "{\"<x>\":\"367\"}", "\"<x>\" is not a token with its id"},
    {"special_tokens_map.json", "{\"pad_token\":[]}", "pad_token is neither"},
};

Test(tokenizer_config, each_damaged_file_has_its_sentence) {
    json_t *base = load_json(GOLDEN "small.tokenizer.json");
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        folder f = make_folder();
        psc_tokenizer *tokenizer;
        psc_error error = {0};
        write_json(&f, "tokenizer.json", base);
        write_text(&f, damaged[i].file, damaged[i].text);
        psc_status status = psc_tokenizer_open_folder(&tokenizer, f.path, &error);
        remove_folder(&f);
        cr_assert_eq(status, PSC_ERROR_INPUT, "%s", damaged[i].text);
        cr_assert_not_null(strstr(error.message, damaged[i].message), "%s", error.message);
        cr_assert_null(tokenizer);
    }
    json_decref(base);
}

static size_t count_tokens(const psc_tokenizer *tokenizer, const char *text) {
    psc_token_span *spans = NULL;
    psc_error error = {0};
    size_t n = 0;
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, tokenizer, text, strlen(text), &error), PSC_OK);
    psc_tokenizer_free_spans(spans);
    return n;
}

/* A request of jansson's that fails: no tokenizer, rather than one whose token has lost its flag,
 * and therefore is also found in text that means the same (NFC). */
Test(tokenizer_config, a_named_token_is_special_or_memory_is_short) {
    static const char text[] = "a <\u00e9> b";
    json_t *base = load_json(GOLDEN "small.tokenizer.json");
    folder f = make_folder();
    psc_tokenizer *tokenizer;
    psc_error error = {0};
    write_json(&f, "tokenizer.json", base);
    write_text(&f, "special_tokens_map.json", "{\"eos_token\":{\"content\":\"<e\u0301>\"}}");
    json_fail_at(0);
    cr_assert_eq(psc_tokenizer_open_folder(&tokenizer, f.path, &error), PSC_OK);
    const long n = json_requests;
    const size_t n_tokens = count_tokens(tokenizer, text);
    psc_tokenizer_close(&tokenizer);
    for (long i = 1; i <= n; i++) {
        json_fail_at(i);
        const psc_status status = psc_tokenizer_open_folder(&tokenizer, f.path, &error);
        cr_assert_eq(status, tokenizer ? PSC_OK : PSC_ERROR_MEMORY, "%ld: %s", i, error.message);
        if (!tokenizer) continue;
        cr_assert_eq(count_tokens(tokenizer, text), n_tokens, "request %ld of %ld", i, n);
        psc_tokenizer_close(&tokenizer);
    }
    cr_assert_gt(n, 100);
    remove_folder(&f);
    json_decref(base);
}

/* The embedded model with another tokenizer.json, and another bos_token_id if config. */
static psc_model *open_model(folder *f, const char *tokenizer, int bos) {
    psc_model *model;
    psc_error error = {0};
    json_t *config = load_json(BOOKS "/config.json");
    *f = make_folder();
    link_file(f, "model.safetensors");
    json_object_set_new(config, "bos_token_id", json_integer(bos));
    write_json(f, "config.json", config);
    json_decref(config);
    if (tokenizer) write_text(f, "tokenizer.json", tokenizer);
    cr_assert_eq(psc_model_open(&model, f->path, &error), PSC_OK, "%s", error.message);
    return model;
}

static const struct {
    const char *tokenizer, *reason;
} foreign[] = {
    {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0.0]]},\"normalizer\":"
     "{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"Metaspace\"},\"added_tokens\":[]}",
        "model.type \"Unigram\" is not supported; only BPE is"},
    {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":1},\"unk_token\":\"a\"},\"normalizer\":"
     "null,\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"added_tokens\":[]}",
        "model.type \"WordLevel\""},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[]},\"normalizer\":{\"type\":"
     "\"Lowercase\"}}",
        "normalizer of type \"Lowercase\""},
    {"{\"mod", "tokenizer.json is not valid JSON"},
    {"version https://git-lfs.github.com/spec/v1\noid sha256:"
     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nsize 2113710\n",
        "git lfs pull"},
    {NULL, "has no tokenizer.json"},
};

Test(tokenizer_config, a_foreign_tokenizer_refuses_text_only) {
    if (!golden_embedded()) return;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        folder f;
        psc_model *model = open_model(&f, foreign[i].tokenizer, 3);
        psc_error error = {0};
        psc_token *tokens, given[2] = {{5, 0, 0}, {6, 0, 0}};
        int32_t n;
        cr_assert_not(psc_model_has_tokenizer(model));
        const char *reason = psc_model_tokenizer_reason(model);
        cr_assert_not_null(strstr(reason, foreign[i].reason), "%s", reason);
        cr_assert_eq(psc_model_encode(&tokens, &n, model, "a", 1, false, &error), PSC_ERROR_INPUT);
        cr_assert_not_null(strstr(error.message, reason), "%s", error.message);
        cr_assert_eq(psc_model_bos(model), 3);
        psc_session *session = must_session(model, NULL, 1, 0);
        must_run_one(session, given, 2);
        psc_session_close(&session);
        psc_model_close(&model);
        remove_folder(&f);
    }
}

/* The base tokenizer with "<s>" as an added token 367, perhaps named in the config. */
static int32_t beginning(int bos_of_config, const char *config) {
    folder f;
    json_t *root = load_json(GOLDEN "small.tokenizer.json");
    json_array_append_new(json_object_get(root, "added_tokens"),
        json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", 367, "content", "<s>", "single_word", 0,
            "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    char *text = json_dumps(root, 0);
    psc_model *model = open_model(&f, text, bos_of_config);
    psc_error error = {0};
    psc_token *tokens;
    int32_t n, first;
    if (config) {
        write_text(&f, "tokenizer_config.json", config);
        psc_model_close(&model);
        cr_assert_eq(psc_model_open(&model, f.path, &error), PSC_OK, "%s", error.message);
    }
    cr_assert_eq(psc_model_encode(&tokens, &n, model, "the", 3, true, NULL), PSC_OK);
    first = tokens[0].id;
    cr_assert(n == 2 && tokens[1].id == 364 && first == psc_model_bos(model));
    psc_free(tokens);
    psc_model_close(&model);
    remove_folder(&f);
    free(text);
    json_decref(root);
    return first;
}

Test(tokenizer_config, the_beginning_token) {
    if (!golden_embedded()) return;
    cr_assert_eq(beginning(0, NULL), 0);
    cr_assert_eq(beginning(367, NULL), 367);
    cr_assert_eq(beginning(9, NULL), 0, "not an added token");
    cr_assert_eq(beginning(0, "{\"bos_token\":\"<s>\"}"), 367);
    cr_assert_eq(beginning(367, "{\"bos_token\":null}"), 367);
}
