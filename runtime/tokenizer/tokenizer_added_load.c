/* Collecting the added tokens, with the ids that the library gives them: of the vocabulary if it
 * has the content, else from the vocabulary's size on, one after the other. */
#include "tokenizer_private.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONTENT 1024

/* A value of loader->known: the id below 2^24, the token's set at bit 24, its index above. */
static json_t *pack_place(int32_t id, bool is_normalized, size_t index) {
    return json_integer((json_int_t)((uint64_t)index << 25 | (uint64_t)is_normalized << 24 |
                                     (uint64_t)(uint32_t)id));
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for added_tokens");
}

int32_t psc_tk_added_id(const psc_added_loader *loader, const char *content) {
    const json_t *known = json_object_get(loader->known, content);
    return known ? (int32_t)(json_integer_value(known) & 0xffffff) : -1;
}

/* Puts the token in the set in which it is matched. */
static psc_status keep(psc_added_loader *loader, int32_t id, const char *content,
    const psc_added_flags *flags, psc_error *error) {
    psc_tokenizer *tokenizer = loader->tokenizer;
    psc_added_set *set = flags->normalized ? &tokenizer->normalized : &tokenizer->raw;
    psc_added_token token = {
        NULL, strlen(content), id, flags->single_word, flags->lstrip, flags->rstrip};
    psc_normal_text normal = {0};
    bool changed = false;
    psc_status status = PSC_OK;
    const char *text = content;
    if (flags->normalized && tokenizer->nfc)
        status = psc_tk_nfc(&normal, &changed, content, token.bytes, error);
    if (changed) {
        text = normal.text;
        token.bytes = normal.bytes;
    }
    if (!status &&
        (!psc_grow((void **)&set->tokens, &set->capacity, set->n_tokens + 1, sizeof token) ||
            !(token.content = malloc(token.bytes + 1))))
        status = no_memory(error);
    if (!status) {
        memcpy(token.content, text, token.bytes);
        set->tokens[set->n_tokens++] = token;
        if (json_object_set_new(
                loader->known, content, pack_place(id, flags->normalized, set->n_tokens - 1)))
            status = no_memory(error);
    }
    psc_tk_free_text(&normal);
    return status;
}

static void forget(psc_added_loader *loader, const char *content) {
    const uint64_t place = (uint64_t)json_integer_value(json_object_get(loader->known, content));
    psc_tokenizer *tokenizer = loader->tokenizer;
    psc_added_set *set = place >> 24 & 1 ? &tokenizer->normalized : &tokenizer->raw;
    set->tokens[place >> 25].bytes = 0;
}

/* The id of a content that is not an added token yet. */
static psc_status choose_id(int32_t *out, const psc_added_loader *loader, const char *content,
    int64_t claimed, const char *where, psc_error *error) {
    const psc_tokenizer *tokenizer = loader->tokenizer;
    const json_t *of_vocab = json_object_get(loader->vocab, content);
    const int32_t next =
        loader->greatest < tokenizer->n_present ? tokenizer->n_present : loader->greatest + 1;
    *out = of_vocab ? (int32_t)json_integer_value(of_vocab) : next;
    const bool is_taken =
        *out < tokenizer->size && tokenizer->entries[*out].flags != 0 && !of_vocab;
    if (claimed == PSC_ANY_ID || claimed == *out) {
        if (!is_taken) return PSC_OK;
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s has the next free id %d, which is already another token's id", where, (int)*out);
    }
    if (of_vocab)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is %lld, but model.vocab gives its content the id %d", where, (long long)claimed,
            (int)*out);
    if (claimed >= 0 && claimed < tokenizer->size && tokenizer->entries[claimed].flags)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is %lld, which is already another token's id",
            where, (long long)claimed);
    return psc_fail(error, PSC_ERROR_INPUT, "%s is %lld, but the next free id is %d", where,
        (long long)claimed, (int)next);
}

psc_status psc_tk_add_token(psc_added_loader *loader, const char *content,
    const psc_added_flags *flags, int64_t claimed, bool replace, const char *where,
    psc_error *error) {
    psc_tokenizer *tokenizer = loader->tokenizer;
    const uint32_t bits = PSC_ENTRY_ADDED | (flags->special ? PSC_ENTRY_SPECIAL : 0u);
    int32_t id = psc_tk_added_id(loader, content);
    if (strlen(content) > MAX_CONTENT)
        return psc_fail(
            error, PSC_ERROR_SUPPORT, "%s has a token longer than %d bytes", where, MAX_CONTENT);
    if (id >= 0 && claimed != PSC_ANY_ID && claimed != id)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is %lld, but tokenizer.json gives its content the id %d", where, (long long)claimed,
            (int)id);
    if (id >= 0) {
        tokenizer->entries[id].flags |= bits;
        if (!replace) return PSC_OK;
        forget(loader, content);
        return keep(loader, id, content, flags, error);
    }
    psc_status status = choose_id(&id, loader, content, claimed, where, error);
    if (status) return status;
    status = psc_tk_add_entry(tokenizer, id, content, strlen(content), bits, "added_tokens", error);
    if (id > loader->greatest) loader->greatest = id;
    return status ? status : keep(loader, id, content, flags, error);
}

/* --- added_tokens of tokenizer.json ----------------------------------------------------------- */

static psc_status read_flag(
    bool *out, const json_t *item, size_t i, const char *name, psc_error *error) {
    const json_t *value = json_object_get(item, name);
    *out = json_is_true(value);
    if (json_is_boolean(value)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu].%s %s", i, name,
        value ? "must be true or false" : "is missing");
}

static psc_status load_token(
    psc_added_loader *loader, const json_t *item, size_t i, psc_error *error) {
    psc_added_flags flags;
    char where[48];
    if (!json_is_object(item))
        return psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu] is not an object", i);
    const json_t *id = json_object_get(item, "id"), *content = json_object_get(item, "content");
    if (!json_is_integer(id))
        return psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu].id is %s", i,
            id ? "not an integer" : "missing");
    if (!json_is_string(content) || json_string_length(content) == 0)
        return psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu].content is %s", i,
            content ? "empty or not a string" : "missing");
    const char *text = json_string_value(content);
    if (psc_tk_added_id(loader, text) >= 0)
        return psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu].content is listed twice", i);
    psc_status status = read_flag(&flags.single_word, item, i, "single_word", error);
    if (!status) status = read_flag(&flags.lstrip, item, i, "lstrip", error);
    if (!status) status = read_flag(&flags.rstrip, item, i, "rstrip", error);
    if (!status) status = read_flag(&flags.normalized, item, i, "normalized", error);
    if (!status) status = read_flag(&flags.special, item, i, "special", error);
    if (status) return status;
    const json_int_t value = json_integer_value(id);
    snprintf(where, sizeof where, "added_tokens[%zu].id", i);
    return psc_tk_add_token(loader, text, &flags, value, false, where, error);
}

psc_status psc_tk_load_added(
    psc_added_loader *loader, const struct json_t *tokens, psc_error *error) {
    psc_status status = PSC_OK;
    if (tokens && !json_is_array(tokens))
        return psc_fail(error, PSC_ERROR_INPUT, "added_tokens is not an array");
    for (size_t i = 0; i < json_array_size(tokens) && !status; i++)
        status = load_token(loader, json_array_get(tokens, i), i, error);
    return status;
}
