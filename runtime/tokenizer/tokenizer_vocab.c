/* The BPE model of tokenizer.json: vocab (text -> id) and merges. Texts are in the byte alphabet,
 * where each character means a byte: printable Latin-1 characters mean themselves, U+0100 and up
 * the other bytes in order. Tables hold the bytes. */
#include "tokenizer_private.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int psc_tk_byte_of(uint32_t c) {
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c < 0x100 || c > 0x143) return -1;
    if (c <= 0x120) return (int)c - 0x100;        /* 0x00 to 0x20 */
    if (c <= 0x142) return (int)c - 0x121 + 0x7f; /* 0x7f to 0xa0 */
    return 0xad;
}

bool psc_tk_uncode(char *out, size_t *n, const char *text, size_t bytes) {
    *n = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        int byte = psc_tk_byte_of(psc_utf8_decode(&length, text + at));
        if (byte < 0) return false;
        out[(*n)++] = (char)byte;
    }
    return true;
}

psc_status psc_tk_add_entry(psc_tokenizer *tokenizer, int32_t id, const char *text, size_t bytes,
    uint32_t flags, const char *field, psc_error *error) {
    if (id < 0 || id >= PSC_TOKENIZER_IDS)
        return psc_fail(error, PSC_ERROR_INPUT, "%s contains id %d; the largest allowed id is %d",
            field, (int)id, PSC_TOKENIZER_IDS - 1);
    size_t capacity = tokenizer->capacity;
    bool is_room = psc_grow((void **)&tokenizer->entries, &capacity, (size_t)id + 1,
                       sizeof(psc_token_entry)) &&
                   psc_grow((void **)&tokenizer->bytes, &tokenizer->bytes_capacity,
                       tokenizer->n_bytes + bytes + 1, 1);
    for (size_t i = tokenizer->capacity; i < capacity && tokenizer->entries; i++)
        tokenizer->entries[i] = (psc_token_entry){0};
    tokenizer->capacity = (uint32_t)capacity;
    if (!is_room) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %s", field);
    psc_token_entry *entry = &tokenizer->entries[id];
    memcpy(tokenizer->bytes + tokenizer->n_bytes, text, bytes);
    tokenizer->bytes[tokenizer->n_bytes + bytes] = 0;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): psc_grow made room for it
    entry->offset = (uint32_t)tokenizer->n_bytes;
    entry->bytes = (uint32_t)bytes;
    entry->flags = flags | PSC_ENTRY_PRESENT;
    tokenizer->n_bytes += bytes + 1;
    if (id >= tokenizer->size) tokenizer->size = id + 1;
    return PSC_OK;
}

/* Checks an id of the vocabulary and returns it, or -1. */
static int32_t read_id(
    const psc_tokenizer *tokenizer, const char *key, const json_t *value, psc_error *error) {
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value))
        psc_fail(error, PSC_ERROR_INPUT, "model.vocab[\"%.80s\"] is not an integer", key);
    else if (id < 0 || id >= PSC_TOKENIZER_IDS)
        psc_fail(error, PSC_ERROR_INPUT, "model.vocab[\"%.80s\"] is %lld; ids are 0 to %d", key,
            (long long)id, PSC_TOKENIZER_IDS - 1);
    else if (id < tokenizer->size && tokenizer->entries[id].flags)
        psc_fail(error, PSC_ERROR_INPUT,
            "model.vocab[\"%.80s\"] is %lld, which is already another entry's id", key,
            (long long)id);
    else
        return (int32_t)id;
    return -1;
}

static psc_status load_vocab(psc_tokenizer *tokenizer, json_t *vocab, psc_error *error) {
    const char *key;
    json_t *value;
    char *coded = NULL;
    size_t capacity = 0;
    psc_status status = PSC_OK;
    for (int i = 0; i < 256; i++) tokenizer->byte_ids[i] = -1;
    json_object_foreach(vocab, key, value) {
        size_t bytes = strlen(key), n;
        int32_t id = read_id(tokenizer, key, value, error);
        if (id < 0) status = PSC_ERROR_INPUT;
        if (!status && !psc_grow((void **)&coded, &capacity, bytes + 1, 1))
            status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for model.vocab");
        if (status) break;
        bool is_coded = psc_tk_uncode(coded, &n, key, bytes);
        status = psc_tk_add_entry(tokenizer, id, is_coded ? coded : key, is_coded ? n : bytes,
            is_coded ? PSC_ENTRY_CODED : 0, "model.vocab", error);
        if (status) break;
        if (is_coded && n == 1) tokenizer->byte_ids[(unsigned char)coded[0]] = id;
        tokenizer->n_present++;
    }
    free(coded);
    return status;
}

/* The id of text in the vocabulary, or -1. */
static int32_t lookup(const json_t *vocab, const char *text) {
    const json_t *value = json_object_get(vocab, text);
    return value ? (int32_t)json_integer_value(value) : -1;
}

/* Splits merge i into its two sides: "a b" or ["a", "b"]. *text receives both and the joined text,
 * each with a 0 byte after it. */
static psc_status read_merge(char **text, size_t *capacity, const char *sides[3],
    const json_t *item, size_t i, psc_error *error) {
    const char *a = json_string_value(json_is_array(item) ? json_array_get(item, 0) : item);
    const char *b = json_is_array(item) ? json_string_value(json_array_get(item, 1)) : NULL;
    size_t a_bytes = a ? strlen(a) : 0;
    if (a && json_is_string(item)) {
        const char *space = strchr(a, ' ');
        if (space && !strchr(space + 1, ' ')) {
            a_bytes = (size_t)(space - a);
            b = space + 1;
        }
    }
    if (!a || !b || (json_is_array(item) && json_array_size(item) != 2))
        return psc_fail(
            error, PSC_ERROR_INPUT, "model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]", i);
    size_t b_bytes = strlen(b);
    if (!psc_grow((void **)text, capacity, 2 * (a_bytes + b_bytes) + 3, 1))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for model.merges");
    char *second = *text + a_bytes + 1, *joined = second + b_bytes + 1;
    memcpy(*text, a, a_bytes);
    (*text)[a_bytes] = 0;
    memcpy(second, b, b_bytes + 1);
    memcpy(joined, a, a_bytes); // NOLINT(bugprone-not-null-terminated-result): b brings its 0
    memcpy(joined + a_bytes, b, b_bytes + 1);
    sides[0] = *text, sides[1] = second, sides[2] = joined;
    return PSC_OK;
}

static psc_status load_merge(psc_tokenizer *tokenizer, char **text, size_t *capacity,
    const json_t *vocab, const json_t *item, size_t i, uint32_t *rank, psc_error *error) {
    static const char *const names[] = {"left side", "right side", "result"};
    const char *sides[3];
    int32_t ids[3];
    const char *whole = json_string_value(item);
    if (whole && !strncmp(whole, "#version", 8)) return PSC_OK; /* merges.txt's first line */
    psc_status status = read_merge(text, capacity, sides, item, i, error);
    if (status) return status;
    for (int k = 0; k < 3; k++) {
        ids[k] = lookup(vocab, sides[k]);
        if (ids[k] < 0)
            return psc_fail(error, PSC_ERROR_INPUT,
                "model.merges[%zu]: the %s \"%.80s\" is not in model.vocab", i, names[k], sides[k]);
    }
    psc_merge *slot = psc_tk_merge_slot(tokenizer, ids[0], ids[1]);
    *slot = (psc_merge){ids[0], ids[1], ids[2], (*rank)++}; /* the later of two equal pairs wins */
    return PSC_OK;
}

static psc_status load_merges(
    psc_tokenizer *tokenizer, const json_t *vocab, const json_t *merges, psc_error *error) {
    size_t n = json_array_size(merges), slots = 16;
    while (slots < 2 * n) slots *= 2;
    tokenizer->merge_mask = (uint32_t)(slots - 1);
    tokenizer->merges = malloc(slots * sizeof(psc_merge));
    if (!tokenizer->merges)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for model.merges");
    for (size_t i = 0; i < slots; i++) tokenizer->merges[i].result = -1;
    char *text = NULL;
    size_t capacity = 0;
    uint32_t rank = 0;
    psc_status status = PSC_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = load_merge(
            tokenizer, &text, &capacity, vocab, json_array_get(merges, i), i, &rank, error);
    free(text);
    return status;
}

/* With ignore_merges, a word that is an entry becomes that token without merging. */
static psc_status index_words(psc_tokenizer *tokenizer, psc_error *error) {
    size_t slots = 16;
    while (slots < 2 * (size_t)tokenizer->size) slots *= 2;
    tokenizer->word_mask = (uint32_t)(slots - 1);
    tokenizer->words = malloc(slots * sizeof(int32_t));
    if (!tokenizer->words)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for model.vocab");
    for (size_t i = 0; i < slots; i++) tokenizer->words[i] = -1;
    for (int32_t id = 0; id < tokenizer->size; id++) {
        const psc_token_entry *entry = &tokenizer->entries[id];
        if (entry->flags & PSC_ENTRY_CODED)
            *psc_tk_word_slot(tokenizer, tokenizer->bytes + entry->offset, entry->bytes) = id;
    }
    return PSC_OK;
}

/* Reads an optional flag; absent means false. */
static psc_status read_option(bool *out, const json_t *model, const char *name, psc_error *error) {
    const json_t *value = json_object_get(model, name);
    *out = json_is_true(value);
    if (!value || json_is_boolean(value)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "model.%s must be true or false", name);
}

/* Refuses options of the library's BPE that byte-level models do not use. */
static psc_status check_options(const json_t *model, psc_error *error) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *dropout = json_object_get(model, "dropout");
    if (dropout && !json_is_null(dropout) && !json_is_number(dropout))
        return psc_fail(error, PSC_ERROR_INPUT, "model.dropout must be a number or null");
    if (json_number_value(dropout) != 0)
        return psc_fail(error, PSC_ERROR_SUPPORT, "model.dropout is not supported");
    for (int i = 0; i < 2; i++) {
        const json_t *affix = json_object_get(model, affixes[i]);
        if (affix && !json_is_null(affix) && !json_is_string(affix))
            return psc_fail(
                error, PSC_ERROR_INPUT, "model.%s must be a string or null", affixes[i]);
        if (json_string_length(affix) > 0)
            return psc_fail(error, PSC_ERROR_SUPPORT, "model.%s is not supported", affixes[i]);
    }
    return PSC_OK;
}

/* Every byte of UTF-8 needs a token, its own or the unknown one; otherwise text would be lost. With
 * byte_fallback it needs its own, so that the fallback never acts. */
static psc_status check_alphabet(
    psc_tokenizer *tokenizer, const json_t *model, const json_t *vocab, psc_error *error) {
    const json_t *unknown = json_object_get(model, "unk_token");
    tokenizer->unknown = -1;
    if (unknown && !json_is_null(unknown)) {
        if (!json_is_string(unknown))
            return psc_fail(error, PSC_ERROR_INPUT, "model.unk_token must be a string or null");
        tokenizer->unknown = lookup(vocab, json_string_value(unknown));
        if (tokenizer->unknown < 0)
            return psc_fail(error, PSC_ERROR_INPUT,
                "model.unk_token \"%.80s\" is not in model.vocab", json_string_value(unknown));
    }
    bool falls_back;
    psc_status status = read_option(&falls_back, model, "byte_fallback", error);
    for (int i = 0; i < 256 && !status; i++) {
        if (tokenizer->byte_ids[i] >= 0 || i == 0xc0 || i == 0xc1 || i >= 0xf5) continue;
        if (falls_back)
            status = psc_fail(error, PSC_ERROR_SUPPORT,
                "model.byte_fallback is true and model.vocab has no entry for the byte 0x%02x, "
                "which is not supported",
                i);
        else if (tokenizer->unknown < 0)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "model.vocab has no entry for the byte 0x%02x and model.unk_token is missing", i);
    }
    return status;
}

psc_status psc_tk_check_model(const struct json_t *model, psc_error *error) {
    if (!json_is_object(model))
        return psc_fail(error, PSC_ERROR_INPUT, "model is %s", model ? "not an object" : "missing");
    const json_t *type = json_object_get(model, "type");
    if (type && !json_is_string(type))
        return psc_fail(error, PSC_ERROR_INPUT, "model.type is not a string");
    if (type && strcmp(json_string_value(type), "BPE") != 0)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "model.type \"%.80s\" is not supported; only BPE is", json_string_value(type));
    return PSC_OK;
}

psc_status psc_tk_load_model(
    psc_tokenizer *tokenizer, const struct json_t *model, psc_error *error) {
    json_t *vocab = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_object(vocab))
        return psc_fail(
            error, PSC_ERROR_INPUT, "model.vocab is %s", vocab ? "not an object" : "missing");
    if (!json_is_array(merges))
        return psc_fail(
            error, PSC_ERROR_INPUT, "model.merges is %s", merges ? "not an array" : "missing");
    psc_status status = check_options(model, error);
    if (!status) status = read_option(&tokenizer->fuse_unknown, model, "fuse_unk", error);
    if (!status) status = read_option(&tokenizer->ignore_merges, model, "ignore_merges", error);
    if (!status) status = load_vocab(tokenizer, vocab, error);
    if (!status) status = check_alphabet(tokenizer, model, vocab, error);
    if (!status) status = load_merges(tokenizer, vocab, merges, error);
    if (!status && tokenizer->ignore_merges) status = index_words(tokenizer, error);
    return status;
}
