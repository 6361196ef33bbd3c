/* The top level of tokenizer.json: reads the settings of byte-level GPT-NeoX tokenizers, and
 * refuses by name any setting that would tokenize differently. */
#include "tokenizer_private.h"

#include "file_kind.h"
#include "files.h"
#include "json.h"

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
    if (strcmp(type, "Sequence") != 0 || depth == MAX_NESTING)
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

/* Whether a template begins with a special token: the library would put it in front. */
static bool begins_with_special(const json_t *template) {
    const json_t *first = json_array_get(json_object_get(template, "single"), 0);
    return json_object_get(first, "SpecialToken") != NULL;
}

/* Accepts post-processors that change no id: ByteLevel changes offsets only, and this code does not
 * add a template's special tokens, which *adds_bos notes. */
static psc_status check_post_processor(
    bool *adds_bos, const json_t *item, int depth, psc_error *error) {
    if (is_absent(item)) return PSC_OK;
    const char *type = type_of(item, "post_processor", error);
    if (!type) return PSC_ERROR_INPUT;
    const bool is_template = !strcmp(type, "TemplateProcessing");
    if (is_template && begins_with_special(item)) *adds_bos = true;
    if (is_template || !strcmp(type, "ByteLevel")) return PSC_OK;
    if (strcmp(type, "Sequence") != 0 || depth == MAX_NESTING)
        return not_supported("post_processor", type, error);
    const json_t *parts = json_object_get(item, "processors");
    if (!json_is_array(parts))
        return psc_fail(error, PSC_ERROR_INPUT, "post_processor.processors is not an array");
    psc_status status = PSC_OK;
    for (size_t i = 0; i < json_array_size(parts) && !status; i++)
        status = check_post_processor(adds_bos, json_array_get(parts, i), depth + 1, error);
    return status;
}

/* Ids do not depend on the decoder; their text is the tokens' own bytes. A decoder that does not
 * begin with ByteLevel belongs to another kind of tokenizer. */
static psc_status check_decoder(const json_t *item, int depth, psc_error *error) {
    if (is_absent(item)) return PSC_OK;
    const char *type = type_of(item, "decoder", error);
    if (!type) return PSC_ERROR_INPUT;
    if (!strcmp(type, "ByteLevel")) return PSC_OK;
    if (strcmp(type, "Sequence") != 0 || depth == MAX_NESTING)
        return not_supported("decoder", type, error);
    const json_t *parts = json_object_get(item, "decoders");
    if (json_array_size(parts) == 0)
        return psc_fail(error, PSC_ERROR_INPUT, "decoder.decoders is not an array of decoders");
    return check_decoder(json_array_get(parts, 0), depth + 1, error);
}

static int32_t find_end_of_text(const psc_tokenizer *tokenizer) {
    static const char content[] = "<|endoftext|>";
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const psc_token_entry *entry = &tokenizer->entries[id];
        if (entry->flags && entry->bytes == sizeof content - 1 &&
            !memcmp(tokenizer->bytes + entry->offset, content, sizeof content - 1))
            return id;
    }
    return -1;
}

static psc_status load(psc_added_loader *loader, const json_t *root, psc_error *error) {
    psc_tokenizer *tokenizer = loader->tokenizer;
    if (!json_is_object(root))
        return psc_fail(error, PSC_ERROR_INPUT, "the file is not a JSON object");
    const json_t *model = json_object_get(root, "model");
    psc_status status = psc_tk_check_model(model, error); /* the kind of a foreign tokenizer */
    if (!status) status = load_normalizer(tokenizer, json_object_get(root, "normalizer"), 0, error);
    if (!status)
        status =
            psc_tk_load_pre_tokenizer(tokenizer, json_object_get(root, "pre_tokenizer"), error);
    if (!status)
        status = check_post_processor(
            &tokenizer->adds_bos, json_object_get(root, "post_processor"), 0, error);
    if (!status) status = check_decoder(json_object_get(root, "decoder"), 0, error);
    if (!status) status = psc_tk_load_model(tokenizer, model, error);
    loader->vocab = json_object_get(model, "vocab");
    if (!status) status = psc_tk_load_added(loader, json_object_get(root, "added_tokens"), error);
    if (!status) status = psc_tk_compile_words(&tokenizer->pattern, error);
    return status;
}

static psc_status parse(json_t **root, const char *path, psc_error *error) {
    json_error_t where;
    char *data = NULL;
    size_t size = 0;
    psc_status status = psc_read_file(&data, &size, path, MAX_FILE, error);
    if (!status)
        status = psc_file_kind_refuse(psc_file_kind_of((unsigned char *)data, size), path, error);
    if (!status) *root = psc_json_load(data, size, JSON_REJECT_DUPLICATES, &where);
    free(data);
    if (status) return status;
    if (*root) return PSC_OK;
    if (psc_json_no_memory(&where))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
    return psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d, column %d: %.160s",
        path, where.line, where.column, where.text);
}

/* folder: of the files beside path, or null. */
static psc_status open_with(
    psc_tokenizer **out, const char *path, const char *folder, psc_error *error) {
    json_t *root = NULL;
    psc_added_loader loader = {.greatest = -1};
    *out = NULL;
    psc_status status = parse(&root, path, error);
    if (status) return status;
    psc_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    loader.tokenizer = tokenizer;
    loader.known = json_object();
    if (!tokenizer || !loader.known) {
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
        goto fail;
    }
    tokenizer->named_bos = -1;
    status = load(&loader, root, error);
    if (status) psc_error_prefix(error, status, path);
    if (!status && folder) status = psc_tk_load_config(&loader, folder, error);
    if (!status) status = psc_tk_build_trie(&tokenizer->raw, error);
    if (!status) status = psc_tk_build_trie(&tokenizer->normalized, error);
    if (status) goto fail;
    tokenizer->end_of_text = find_end_of_text(tokenizer);
    *out = tokenizer;
    tokenizer = NULL;
fail:
    json_decref(loader.known);
    json_decref(root);
    psc_tokenizer_close(&tokenizer);
    return status;
}

psc_status psc_tokenizer_open(psc_tokenizer **out, const char *path, psc_error *error) {
    return open_with(out, path, NULL, error);
}

psc_status psc_tokenizer_open_folder(psc_tokenizer **out, const char *folder, psc_error *error) {
    char *path = psc_path_join(folder, "tokenizer.json");
    *out = NULL;
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_status status = open_with(out, path, folder, error);
    free(path);
    return status;
}
