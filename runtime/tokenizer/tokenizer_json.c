/* The top level of tokenizer.json: reads the settings of byte-level GPT-NeoX tokenizers, and
 * refuses by name any setting that would tokenize differently. */
#include "tokenizer_private.h"

#include "files.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The largest known tokenizer.json has 33 MB; parsing takes about twenty times the file's size. */
#define MAX_FILE ((size_t)64 << 20)
#define MAX_NESTING 8

static psc_status not_supported(const char *field, const char *type, psc_error *error) {
    return psc_fail(error, PSC_ERROR_SUPPORT, "%s of type \"%.80s\" is not supported", field, type);
}

/* The "type" of a component, or null with a message. */
static const char *type_of(const json_t *item, const char *field, psc_error *error) {
    const char *type = json_string_value(json_object_get(item, "type"));
    if (!type) psc_fail(error, PSC_ERROR_INPUT, "%s is not an object with a type", field);
    return type;
}

static bool is_absent(const json_t *item) {
    return !item || json_is_null(item);
}

static psc_status load_normalizer(
    psc_tokenizer *tokenizer, const json_t *item, int depth, psc_error *error) {
    if (is_absent(item)) return PSC_OK;
    const char *type = type_of(item, "normalizer", error);
    if (!type) return PSC_ERROR_INPUT;
    if (!strcmp(type, "NFC")) {
        tokenizer->nfc = true;
        return PSC_OK;
    }
    if (strcmp(type, "Sequence") || depth == MAX_NESTING)
        return not_supported("normalizer", type, error);
    const json_t *parts = json_object_get(item, "normalizers");
    if (!json_is_array(parts))
        return psc_fail(error, PSC_ERROR_INPUT, "normalizer.normalizers is not an array");
    psc_status status = PSC_OK;
    for (size_t i = 0; i < json_array_size(parts) && !status; i++) {
        const json_t *part = json_array_get(parts, i);
        status = json_is_object(part) ? load_normalizer(tokenizer, part, depth + 1, error)
                                      : psc_fail(error, PSC_ERROR_INPUT,
                                            "normalizer.normalizers[%zu] is not an object", i);
    }
    return status;
}

static psc_status read_flag(
    bool *out, const json_t *item, const char *name, bool is_needed, psc_error *error) {
    const json_t *value = json_object_get(item, name);
    if (json_is_boolean(value)) *out = json_is_true(value);
    if (json_is_boolean(value) || (!value && !is_needed)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "pre_tokenizer.%s %s", name,
        value ? "must be true or false" : "is missing");
}

static psc_status load_pre_tokenizer(
    psc_tokenizer *tokenizer, const json_t *item, int depth, psc_error *error) {
    if (is_absent(item))
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "pre_tokenizer is %s; only ByteLevel is supported", item ? "null" : "missing");
    const char *type = type_of(item, "pre_tokenizer", error);
    if (!type) return PSC_ERROR_INPUT;
    if (!strcmp(type, "ByteLevel")) {
        tokenizer->use_regex = true;
        psc_status status =
            read_flag(&tokenizer->prefix_space, item, "add_prefix_space", true, error);
        return status ? status : read_flag(&tokenizer->use_regex, item, "use_regex", false, error);
    }
    if (strcmp(type, "Sequence") || depth == MAX_NESTING)
        return not_supported("pre_tokenizer", type, error);
    const json_t *parts = json_object_get(item, "pretokenizers");
    if (!json_is_array(parts))
        return psc_fail(error, PSC_ERROR_INPUT, "pre_tokenizer.pretokenizers is not an array");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *name = type_of(part, "a part of pre_tokenizer", error);
        if (!name) return PSC_ERROR_INPUT;
        if (strcmp(name, "ByteLevel") && strcmp(name, "Sequence"))
            return not_supported("pre_tokenizer", name, error);
    }
    if (json_array_size(parts) != 1)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "pre_tokenizer is a Sequence of %zu parts; only one ByteLevel is supported",
            json_array_size(parts));
    return load_pre_tokenizer(tokenizer, json_array_get(parts, 0), depth + 1, error);
}

/* Accepts post-processors that change no id: ByteLevel changes offsets only, and this code does not
 * add a template's special tokens. */
static psc_status check_post_processor(const json_t *item, int depth, psc_error *error) {
    if (is_absent(item)) return PSC_OK;
    const char *type = type_of(item, "post_processor", error);
    if (!type) return PSC_ERROR_INPUT;
    if (!strcmp(type, "ByteLevel") || !strcmp(type, "TemplateProcessing")) return PSC_OK;
    if (strcmp(type, "Sequence") || depth == MAX_NESTING)
        return not_supported("post_processor", type, error);
    const json_t *parts = json_object_get(item, "processors");
    if (!json_is_array(parts))
        return psc_fail(error, PSC_ERROR_INPUT, "post_processor.processors is not an array");
    psc_status status = PSC_OK;
    for (size_t i = 0; i < json_array_size(parts) && !status; i++)
        status = check_post_processor(json_array_get(parts, i), depth + 1, error);
    return status;
}

static psc_status check_decoder(const json_t *item, psc_error *error) {
    if (is_absent(item))
        return psc_fail(error, PSC_ERROR_SUPPORT, "decoder is %s; only ByteLevel is supported",
            item ? "null" : "missing");
    const char *type = type_of(item, "decoder", error);
    if (!type) return PSC_ERROR_INPUT;
    return strcmp(type, "ByteLevel") ? not_supported("decoder", type, error) : PSC_OK;
}

static int32_t find_bos(const psc_tokenizer *tokenizer) {
    static const char bos[] = "<|endoftext|>";
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const psc_token_entry *entry = &tokenizer->entries[id];
        if (entry->flags && entry->bytes == sizeof bos - 1 &&
            !memcmp(tokenizer->bytes + entry->offset, bos, sizeof bos - 1))
            return id;
    }
    return -1;
}

static psc_status load(psc_tokenizer *tokenizer, const json_t *root, psc_error *error) {
    if (!json_is_object(root))
        return psc_fail(error, PSC_ERROR_INPUT, "the file is not a JSON object");
    const json_t *model = json_object_get(root, "model");
    psc_status status = load_normalizer(tokenizer, json_object_get(root, "normalizer"), 0, error);
    if (!status)
        status = load_pre_tokenizer(tokenizer, json_object_get(root, "pre_tokenizer"), 0, error);
    if (!status) status = check_post_processor(json_object_get(root, "post_processor"), 0, error);
    if (!status) status = check_decoder(json_object_get(root, "decoder"), error);
    if (!status) status = psc_tk_load_model(tokenizer, model, error);
    if (!status)
        status = psc_tk_load_added(tokenizer, json_object_get(root, "added_tokens"),
            json_object_get(model, "vocab"), error);
    if (!status) status = psc_tk_compile_pattern(&tokenizer->pattern, error);
    if (!status) tokenizer->bos = find_bos(tokenizer);
    return status;
}

static psc_status parse(
    json_t **root, const char *path, const char *data, size_t size, psc_error *error) {
    json_error_t where;
    *root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &where);
    if (*root) return PSC_OK;
    if (json_error_code(&where) == json_error_out_of_memory)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
    return psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d, column %d: %.160s",
        path, where.line, where.column, where.text);
}

psc_status psc_tokenizer_open(psc_tokenizer **out, const char *path, psc_error *error) {
    char *data = NULL;
    size_t size = 0;
    json_t *root = NULL;
    psc_tokenizer *tokenizer = NULL;
    *out = NULL;
    psc_status status = psc_read_file(&data, &size, path, MAX_FILE, error);
    if (status) return status;
    status = parse(&root, path, data, size, error);
    free(data);
    if (status) return status;
    tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) {
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
        goto fail;
    }
    status = load(tokenizer, root, error);
    if (status) {
        psc_error_prefix(error, status, path);
        goto fail;
    }
    json_decref(root);
    *out = tokenizer;
    return PSC_OK;
fail:
    json_decref(root);
    psc_tokenizer_close(&tokenizer);
    return status;
}
