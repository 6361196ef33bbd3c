/* What holds for every text that a tokenizer encodes.
 * Private to fuzz/. Includes tokenizer.h.
 * Threads: one at a time.
 * Ownership: nothing is kept. */
#ifndef FUZZ_ENCODE_H
#define FUZZ_ENCODE_H

#include "fuzz.h"
#include "tokenizer.h"

#include <stdlib.h>

/* Encodes a text, checks that the tokens tile it, and decodes them. */
static inline void fuzz_encode(const psc_tokenizer *tokenizer, fuzz_bytes text) {
    psc_token_span *spans = NULL;
    size_t n = 0, bytes = 0;
    char *decoded = NULL;
    psc_error error = {0};
    const psc_status status =
        psc_tokenizer_encode(&spans, &n, tokenizer, (const char *)text.data, text.size, &error);
    fuzz_check(status, &error);
    if (status) return;
    int32_t *ids = calloc(n + 1, sizeof *ids);
    if (!ids) abort();
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        ids[i] = spans[i].id;
        fuzz_expect(spans[i].start == at && spans[i].end >= at, "tokens do not tile the text");
        fuzz_expect(ids[i] >= 0 && ids[i] < psc_tokenizer_size(tokenizer), "an id out of range");
        at = spans[i].end;
        (void)psc_tokenizer_bytes(tokenizer, ids[i], &bytes);
        (void)psc_tokenizer_is_special(tokenizer, ids[i]);
    }
    fuzz_expect(n == 0 || at == text.size, "tokens do not reach the text's end");
    for (int skips = 0; skips < 2; skips++) {
        fuzz_check(
            psc_tokenizer_decode(&decoded, &bytes, tokenizer, ids, n, skips != 0, &error), &error);
        free(decoded);
        decoded = NULL;
    }
    free(ids);
    psc_tokenizer_free_spans(spans);
}

#endif
