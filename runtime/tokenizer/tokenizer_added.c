/* Added tokens: matched in a text from left to right, at each byte the longest, without overlap;
 * then single_word, lstrip and rstrip apply, in the library's order. A trie finds the longest
 * match; a token's content is short, so this is linear in the text. */
#include "tokenizer_private.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONTENT 1024

/* The node for byte below parent, new if needed. The caller has made room for it. */
static uint32_t child_of(psc_added_set *set, uint32_t parent, unsigned char byte) {
    uint32_t *link = parent == 0 ? &set->first[byte] : &set->nodes[parent].child;
    while (*link && set->nodes[*link].byte != byte) link = &set->nodes[*link].sibling;
    if (*link == 0) {
        *link = set->n_nodes;
        set->nodes[set->n_nodes++] = (psc_trie_node){0, 0, -1, byte};
    }
    return *link;
}

psc_status psc_tk_build_trie(psc_added_set *set, psc_error *error) {
    size_t room = 1;
    for (size_t i = 0; i < set->n_tokens; i++) room += set->tokens[i].bytes;
    set->nodes = calloc(room, sizeof *set->nodes);
    if (!set->nodes) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for added_tokens");
    set->n_nodes = 1;
    for (size_t i = 0; i < set->n_tokens; i++) {
        const psc_added_token *token = &set->tokens[i];
        uint32_t node = 0;
        for (size_t j = 0; j < token->bytes; j++)
            node = child_of(set, node, (unsigned char)token->content[j]);
        if (set->nodes[node].token < 0) set->nodes[node].token = (int32_t)i;
    }
    return PSC_OK;
}

void psc_tk_free_added(psc_added_set *set) {
    for (size_t i = 0; i < set->n_tokens; i++) free(set->tokens[i].content);
    free(set->tokens);
    free(set->nodes);
}

/* The longest token that starts at text, or -1. */
static int32_t longest_match(const psc_added_set *set, const char *text, size_t bytes) {
    int32_t found = -1;
    uint32_t node = set->first[(unsigned char)text[0]];
    for (size_t i = 1; node; i++) {
        if (set->nodes[node].token >= 0) found = set->nodes[node].token;
        if (i == bytes) break;
        node = set->nodes[node].child;
        while (node && set->nodes[node].byte != (unsigned char)text[i])
            node = set->nodes[node].sibling;
    }
    return found;
}

/* The start of the character that ends at end (> 0). */
static size_t previous_char(const char *text, size_t end, uint32_t *c) {
    size_t length;
    do end--;
    while (psc_utf8_is_inner(text[end]));
    *c = psc_utf8_decode(&length, text + end);
    return end;
}

static bool is_single_word(const char *text, size_t bytes, size_t start, size_t stop) {
    uint32_t c;
    size_t length;
    if (start > 0) {
        previous_char(text, start, &c);
        if (psc_tk_is_word(c)) return false;
    }
    return stop == bytes || !psc_tk_is_word(psc_utf8_decode(&length, text + stop));
}

/* The start of the white space that ends at start, but not before limit. */
static size_t strip_left(const char *text, size_t start, size_t limit) {
    while (start > limit) {
        uint32_t c;
        size_t previous = previous_char(text, start, &c);
        if (!psc_tk_is_space(c)) break;
        start = previous;
    }
    return start > limit ? start : limit;
}

/* The end of the white space that starts at stop. *known is the end of the last such run: otherwise
 * tokens that strip, and are spaces themselves, would walk the same run repeatedly. */
static size_t strip_right(const char *text, size_t bytes, size_t stop, size_t *known) {
    size_t length, at = stop;
    if (stop <= *known) return *known;
    while (at < bytes && psc_tk_is_space(psc_utf8_decode(&length, text + at))) at += length;
    *known = at;
    return at;
}

static bool add_piece(psc_pieces *out, int32_t id, size_t start, size_t end) {
    if (!psc_grow((void **)&out->at, &out->capacity, out->n + 1, sizeof(psc_piece))) return false;
    out->at[out->n++] = (psc_piece){id, start, end};
    return true;
}

psc_status psc_tk_find_added(
    psc_pieces *out, const psc_added_set *set, const char *text, size_t bytes, psc_error *error) {
    size_t done = 0, known = 0;
    bool is_room = true;
    out->n = 0;
    for (size_t at = 0; at < bytes && set->n_tokens && is_room;) {
        int32_t i = longest_match(set, text + at, bytes - at);
        if (i < 0) {
            at++;
            continue;
        }
        const psc_added_token *token = &set->tokens[i];
        size_t start = at, stop = at + token->bytes;
        at = stop;
        if (token->single_word && !is_single_word(text, bytes, start, stop)) continue;
        if (token->lstrip) start = strip_left(text, start, done);
        if (token->rstrip) stop = strip_right(text, bytes, stop, &known);
        if (start >= stop) continue; /* the previous token's white space covers all of it */
        if (done < start) is_room = add_piece(out, -1, done, start);
        is_room = is_room && add_piece(out, token->id, start, stop);
        done = stop;
    }
    if (done < bytes) is_room = is_room && add_piece(out, -1, done, bytes);
    if (!is_room) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to split the text");
    return PSC_OK;
}

/* --- loading --------------------------------------------------------------------------------- */

static psc_status read_flag(
    bool *out, const json_t *item, size_t i, const char *name, psc_error *error) {
    const json_t *value = json_object_get(item, name);
    *out = json_is_true(value);
    if (json_is_boolean(value)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu].%s %s", i, name,
        value ? "must be true or false" : "is missing");
}

/* The library numbers added tokens itself: by the vocabulary if it has the content, else from the
 * vocabulary's size on. A file with different ids would therefore mean different tokens here. */
static psc_status check_id(const psc_tokenizer *tokenizer, int32_t greatest, const json_t *known,
    json_int_t id, size_t i, psc_error *error) {
    if (known) {
        if (json_integer_value(known) == id) return PSC_OK;
        return psc_fail(error, PSC_ERROR_INPUT,
            "added_tokens[%zu].id is %lld, but model.vocab gives its content the id %lld", i,
            (long long)id, (long long)json_integer_value(known));
    }
    if (id >= 0 && id < tokenizer->size && tokenizer->entries[id].flags)
        return psc_fail(error, PSC_ERROR_INPUT,
            "added_tokens[%zu].id is %lld, which is already another token's id", i, (long long)id);
    int32_t next = greatest < tokenizer->n_present ? tokenizer->n_present : greatest + 1;
    if (id == next) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "added_tokens[%zu].id is %lld, but the next free id is %d", i, (long long)id, (int)next);
}

/* Puts the token in the set in which it is matched. */
static psc_status keep(psc_tokenizer *tokenizer, psc_added_token token, bool is_normalized,
    const char *content, psc_error *error) {
    psc_normal_text normal = {0};
    bool changed = false;
    psc_status status = PSC_OK;
    token.bytes = strlen(content);
    if (is_normalized && tokenizer->nfc)
        status = psc_tk_nfc(&normal, &changed, content, token.bytes, error);
    if (changed) {
        content = normal.text;
        token.bytes = normal.bytes;
    }
    if (!status) {
        token.content = malloc(token.bytes);
        if (!token.content)
            status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for added_tokens");
    }
    if (!status) {
        memcpy(token.content, content, token.bytes);
        psc_added_set *set = is_normalized ? &tokenizer->normalized : &tokenizer->raw;
        set->tokens[set->n_tokens++] = token;
    }
    psc_tk_free_text(&normal);
    return status;
}

static psc_status load_token(psc_tokenizer *tokenizer, const json_t *item, size_t i,
    const json_t *vocab, int32_t *greatest, psc_error *error) {
    psc_added_token token = {0};
    bool is_normalized, is_special;
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
    if (json_string_length(content) > MAX_CONTENT)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "added_tokens[%zu].content is longer than %d bytes", i, MAX_CONTENT);
    psc_status status = read_flag(&token.single_word, item, i, "single_word", error);
    if (!status) status = read_flag(&token.lstrip, item, i, "lstrip", error);
    if (!status) status = read_flag(&token.rstrip, item, i, "rstrip", error);
    if (!status) status = read_flag(&is_normalized, item, i, "normalized", error);
    if (!status) status = read_flag(&is_special, item, i, "special", error);
    const json_t *known = json_object_get(vocab, text);
    json_int_t value = json_integer_value(id);
    if (!status) status = check_id(tokenizer, *greatest, known, value, i, error);
    if (status) return status;
    token.id = (int32_t)value;
    if (token.id > *greatest) *greatest = token.id;
    uint32_t flags = PSC_ENTRY_ADDED | (is_special ? PSC_ENTRY_SPECIAL : 0u);
    status = psc_tk_add_entry(
        tokenizer, token.id, text, json_string_length(content), flags, "added_tokens", error);
    return status ? status : keep(tokenizer, token, is_normalized, text, error);
}

/* Refuses a content that is listed twice. */
static psc_status check_twice(const json_t *tokens, psc_error *error) {
    json_t *seen = json_object();
    psc_status status =
        seen ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for added_tokens");
    for (size_t i = 0; i < json_array_size(tokens) && !status; i++) {
        const char *content =
            json_string_value(json_object_get(json_array_get(tokens, i), "content"));
        if (!content) continue; /* load_token reports it */
        if (json_object_get(seen, content))
            status =
                psc_fail(error, PSC_ERROR_INPUT, "added_tokens[%zu].content is listed twice", i);
        else if (json_object_set_new(seen, content, json_true()))
            status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for added_tokens");
    }
    json_decref(seen);
    return status;
}

psc_status psc_tk_load_added(psc_tokenizer *tokenizer, const struct json_t *tokens,
    const struct json_t *vocab, psc_error *error) {
    if (tokens && !json_is_array(tokens))
        return psc_fail(error, PSC_ERROR_INPUT, "added_tokens is not an array");
    size_t n = json_array_size(tokens);
    int32_t greatest = -1;
    tokenizer->raw.tokens = calloc(n + 1, sizeof(psc_added_token));
    tokenizer->normalized.tokens = calloc(n + 1, sizeof(psc_added_token));
    if (!tokenizer->raw.tokens || !tokenizer->normalized.tokens)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for added_tokens");
    psc_status status = check_twice(tokens, error);
    for (size_t i = 0; i < n && !status; i++)
        status = load_token(tokenizer, json_array_get(tokens, i), i, vocab, &greatest, error);
    if (!status) status = psc_tk_build_trie(&tokenizer->raw, error);
    if (!status) status = psc_tk_build_trie(&tokenizer->normalized, error);
    return status;
}
