/* Added tokens: matched in a text from left to right, at each byte the longest, without overlap;
 * then single_word, lstrip and rstrip apply, in the library's order. A trie finds the longest
 * match; a token's content is short, so this is linear in the text. */
#include "tokenizer_private.h"

#include <stdlib.h>

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
        if (token->bytes == 0) continue; /* replaced */
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
