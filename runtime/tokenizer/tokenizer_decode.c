/* Ids back to text: the tokens' bytes in a row, with U+FFFD for each maximal part of a broken
 * character, as in the library. */
#include "tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

typedef struct growing {
    char *at;
    size_t n, capacity;
} growing;

/* Appends a token's bytes. Like the library, it decodes an added token's text from the byte
 * alphabet if all of it is in that alphabet, so Latin-1 characters may become broken bytes. */
static bool append_token(growing *out, const psc_tokenizer *tokenizer, int32_t id) {
    const psc_token_entry *entry = &tokenizer->entries[id];
    const char *text = tokenizer->bytes + entry->offset;
    if (!psc_grow((void **)&out->at, &out->capacity, out->n + entry->bytes + 1, 1)) return false;
    size_t n = entry->bytes;
    if (!(entry->flags & PSC_ENTRY_ADDED) || !psc_tk_uncode(out->at + out->n, &n, text, n)) {
        n = entry->bytes;
        memcpy(out->at + out->n, text, n);
    }
    out->n += n;
    return true;
}

/* Copies bytes as UTF-8 and replaces broken parts. */
static bool mend(growing *out, const char *bytes, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t valid = psc_utf8_valid(bytes + at, n - at);
        if (!psc_grow((void **)&out->at, &out->capacity, out->n + valid + 4, 1)) return false;
        memcpy(out->at + out->n, bytes + at, valid);
        out->n += valid;
        at += valid;
        if (at == n) break;
        uint32_t c;
        int broken = psc_utf8_next(&c, bytes + at, n - at);
        memcpy(out->at + out->n, "\xef\xbf\xbd", 3);
        out->n += 3;
        at += broken < 0 ? (size_t)-broken : n - at; /* 0: the text ends within a character */
    }
    if (!psc_grow((void **)&out->at, &out->capacity, out->n + 1, 1)) return false;
    out->at[out->n] = 0;
    return true;
}

psc_status psc_tokenizer_decode(char **text, size_t *bytes, const psc_tokenizer *tokenizer,
    const int32_t *ids, size_t n, bool skip_special, psc_error *error) {
    growing raw = {0}, mended = {0};
    psc_status status = PSC_OK;
    *text = NULL;
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0) {
            status = psc_fail(
                error, PSC_ERROR_INPUT, "token %zu has the negative id %d", i, (int)ids[i]);
            goto fail;
        }
        bool is_known = ids[i] < tokenizer->size && tokenizer->entries[ids[i]].flags;
        if (!is_known || (skip_special && psc_tokenizer_is_special(tokenizer, ids[i]))) continue;
        if (!append_token(&raw, tokenizer, ids[i])) goto memory;
    }
    if (!mend(&mended, raw.at, raw.n)) goto memory;
    free(raw.at);
    *text = mended.at;
    *bytes = mended.n;
    return PSC_OK;
memory:
    status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the text of %zu tokens", n);
fail:
    free(raw.at);
    free(mended.at);
    return status;
}
