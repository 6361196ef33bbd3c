/* The tokens that stand beside tokenizer.json, as transformers reads them:
 *   added_tokens_decoder of tokenizer_config.json, by ascending id; it replaces flags
 *   without that key: special_tokens_map.json over the config's names, then added_tokens.json
 *   then the tokens that are named: bos_token, ..., other keys that end in _token, extra ones
 * The beginning token is the one named bos_token. */
#include "tokenizer_private.h"

#include "files.h"
#include "json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)8 << 20)

static const char *const names[] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
enum { N_NAMES = sizeof names / sizeof names[0] };

/* Reads a JSON object; *out stays null if the file is missing. Files of transformers have integers
 * beyond 64 bits (model_max_length), so integers of the config become reals. */
static psc_status read_object(
    json_t **out, const char *folder, const char *name, size_t flags, psc_error *error) {
    char *path = psc_path_join(folder, name), *data = NULL;
    size_t size;
    json_error_t where;
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_status status = PSC_OK;
    if (!psc_path_exists(path)) goto done;
    status = psc_read_file(&data, &size, path, MAX_FILE, error);
    if (status) goto done;
    *out = psc_json_load(data, size, flags, &where);
    if (!*out && psc_json_no_memory(&where))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
    else if (!*out)
        status =
            psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d, column %d: %.160s",
                path, where.line, where.column, where.text);
    else if (!json_is_object(*out))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not a JSON object", path);
done:
    free(data);
    free(path);
    return status;
}

/* The content of a token that is written as a text or as an object; null for anything else. */
static const char *content_of(const json_t *token) {
    const json_t *text = json_is_object(token) ? json_object_get(token, "content") : token;
    return json_string_value(text);
}

/* The flags of a token, with the defaults of transformers: normalized unless special. */
static psc_status read_flags(psc_added_flags *out, const json_t *token, bool is_special,
    const char *where, psc_error *error) {
    *out = (psc_added_flags){.special = is_special};
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"special", &out->special}, {"single_word", &out->single_word},
        {"lstrip", &out->lstrip}, {"rstrip", &out->rstrip}, {"normalized", &out->normalized}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        const json_t *value = json_object_get(token, flags[i].name);
        if (json_is_boolean(value))
            *flags[i].flag = json_is_true(value);
        else if (value && !json_is_null(value))
            return psc_fail(
                error, PSC_ERROR_INPUT, "%s: %s must be true or false", where, flags[i].name);
        else if (flags[i].flag == &out->normalized)
            out->normalized = !out->special;
    }
    return PSC_OK;
}

/* --- added_tokens_decoder and added_tokens.json ----------------------------------------------- */

typedef struct listed {
    long long id;
    const char *content;
    const json_t *token; /* null: by_id has content only */
} listed;

static int by_id(const void *a, const void *b) {
    const long long x = ((const listed *)a)->id, y = ((const listed *)b)->id;
    return (x > y) - (x < y);
}

/* Reads {"50277": {"content": ...}}, or {"content": 50277}, into out, ascending by id. */
static psc_status list_tokens(
    listed *out, json_t *object, bool is_decoder, const char *file, psc_error *error) {
    const char *key;
    json_t *value;
    size_t n = 0;
    json_object_foreach(object, key, value) {
        char *end = NULL;
        listed *token = &out[n++];
        token->id = is_decoder ? strtoll(key, &end, 10) : json_integer_value(value);
        token->content = is_decoder ? content_of(value) : key;
        token->token = is_decoder ? value : NULL;
        if (is_decoder ? end == key || *end || !json_is_object(value) || !token->content
                       : !json_is_integer(value))
            return psc_fail(
                error, PSC_ERROR_INPUT, "%s: \"%.80s\" is not a token with its id", file, key);
    }
    qsort(out, n, sizeof *out, by_id);
    return PSC_OK;
}

static bool is_token(const json_t *value, const char *content) {
    const char *other = content_of(value);
    return other && !strcmp(other, content);
}

/* Whether the config names this token, which makes it special. */
static bool is_named(const json_t *config, const char *content) {
    const json_t *extra = json_object_get(config, "extra_special_tokens");
    if (!json_array_size(extra)) extra = json_object_get(config, "additional_special_tokens");
    for (int i = 0; i < N_NAMES; i++)
        if (is_token(json_object_get(config, names[i]), content)) return true;
    for (size_t i = 0; i < json_array_size(extra); i++)
        if (is_token(json_array_get(extra, i), content)) return true;
    return false;
}

/* The tokens of added_tokens_decoder (is_decoder) or of added_tokens.json. */
static psc_status add_listed(psc_added_loader *loader, json_t *object, bool is_decoder,
    const json_t *config, psc_error *error) {
    const char *file =
        is_decoder ? "tokenizer_config.json's added_tokens_decoder" : "added_tokens.json";
    const size_t n = json_object_size(object);
    listed *tokens = calloc(n + 1, sizeof *tokens);
    if (!tokens) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %s", file);
    psc_status status = list_tokens(tokens, object, is_decoder, file, error);
    for (size_t i = 0; i < n && !status; i++) {
        psc_added_flags flags;
        char where[200];
        const char *content = tokens[i].content;
        snprintf(where, sizeof where, "%s: the id of \"%.80s\"", file, content);
        if (!*content) continue;
        status = read_flags(
            &flags, tokens[i].token, !is_decoder && is_named(config, content), where, error);
        if (!status)
            status =
                psc_tk_add_token(loader, content, &flags, tokens[i].id, is_decoder, where, error);
    }
    free(tokens);
    return status;
}

/* --- named tokens ----------------------------------------------------------------------------- */

static psc_status add_named(
    psc_added_loader *loader, const json_t *token, const char *name, psc_error *error) {
    psc_added_flags flags;
    char where[160];
    const char *content = content_of(token);
    if (!token || json_is_null(token)) return PSC_OK;
    snprintf(where, sizeof where, "tokenizer_config.json: %.80s", name);
    if (!content)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is neither a text nor a token", where);
    if (!*content) return PSC_OK;
    psc_status status = read_flags(&flags, token, json_is_string(token), where, error);
    flags.special = true;
    return status ? status
                  : psc_tk_add_token(loader, content, &flags, PSC_ANY_ID, false, where, error);
}

static bool is_standard(const char *name) {
    for (int i = 0; i < N_NAMES; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static psc_status add_extra(psc_added_loader *loader, json_t *config, psc_error *error) {
    const char *name = "extra_special_tokens", *key;
    json_t *value, *extra = json_object_get(config, name);
    psc_status status = PSC_OK;
    if (!json_array_size(extra) && !json_object_size(extra)) {
        name = "additional_special_tokens";
        extra = json_object_get(config, name);
    }
    json_object_foreach(config, key, value) {
        if (!status && json_is_string(value) && psc_path_ends(key, "_token") && !is_standard(key))
            status = add_named(loader, value, key, error);
    }
    json_object_foreach(extra, key, value) {
        if (!status) status = add_named(loader, value, name, error);
    }
    for (size_t i = 0; i < json_array_size(extra) && !status; i++)
        status = add_named(loader, json_array_get(extra, i), name, error);
    return status;
}

/* Puts the names of special_tokens_map.json into the config; they win. */
static psc_status merge_map(json_t *config, const char *folder, psc_error *error) {
    json_t *map = NULL, *value;
    const char *key;
    psc_status status = read_object(&map, folder, "special_tokens_map.json", 0, error);
    bool failed = false;
    json_object_foreach(map, key, value) {
        if (json_is_object(value) && strcmp(key, "extra_special_tokens") != 0)
            failed = json_object_set_new(value, "special", json_true()) != 0 || failed;
    }
    if (!status && map && (failed || json_object_update(config, map) != 0))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for special_tokens_map.json");
    json_decref(map);
    return status;
}

/* transformers' class for GPT-NeoX takes add_prefix_space from here. */
static void take_prefix_space(psc_tokenizer *tokenizer, const json_t *config) {
    const json_t *given = json_object_get(config, "add_prefix_space");
    const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
    if (json_is_boolean(given) && class && !strncmp(class, "GPTNeoXTokenizer", 16))
        tokenizer->prefix_space = json_is_true(given);
}

static psc_status load(
    psc_added_loader *loader, json_t *config, const char *folder, psc_error *error) {
    json_t *decoder = json_object_get(config, "added_tokens_decoder"), *added = NULL;
    psc_status status = PSC_OK;
    if (decoder && !json_is_object(decoder))
        return psc_fail(error, PSC_ERROR_INPUT,
            "tokenizer_config.json's added_tokens_decoder is not an object");
    if (!decoder) status = merge_map(config, folder, error);
    if (!decoder && !status) status = read_object(&added, folder, "added_tokens.json", 0, error);
    if (!status) status = add_listed(loader, decoder ? decoder : added, decoder, config, error);
    for (int i = 0; i < N_NAMES && !status; i++)
        status = add_named(loader, json_object_get(config, names[i]), names[i], error);
    if (!status) status = add_extra(loader, config, error);
    json_decref(added);
    return status;
}

psc_status psc_tk_load_config(psc_added_loader *loader, const char *folder, psc_error *error) {
    json_t *config = NULL;
    psc_status status =
        read_object(&config, folder, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, error);
    if (!status && !config && !(config = json_object()))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for tokenizer_config.json");
    if (!status) status = load(loader, config, folder, error);
    if (!status) {
        const char *bos = content_of(json_object_get(config, "bos_token"));
        if (bos && *bos) loader->tokenizer->named_bos = psc_tk_added_id(loader, bos);
        take_prefix_space(loader->tokenizer, config);
    }
    json_decref(config);
    return status;
}
