/* Text to tokens: cut added tokens out of the text; normalize the text between them; cut added
 * tokens out of that; split the rest by the pre-tokenizer's steps and into words by the pattern;
 * merge the bytes of each word. Every token appends a span that starts where the previous one ends,
 * so spans tile the text. It remains to find the source byte of each token's end. */
#include "tokenizer_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT ((size_t)256 << 20)
#define LONG_TEXT ((size_t)64 << 10)
#define CACHE_SLOTS 4096
#define CACHE_WORD 24
#define CACHE_TOKENS 6
#define CACHE_FROM 2048 /* for a shorter text, clearing the cache costs more than it saves */

/* The tokens of a short word that this call has merged before. bytes == 0: free. */
typedef struct cached_word {
    uint8_t bytes, n;
    char word[CACHE_WORD];
    uint8_t token_bytes[CACHE_TOKENS];
    int32_t ids[CACHE_TOKENS];
} cached_word;

typedef struct encoder {
    const psc_tokenizer *tokenizer;
    psc_token_span *spans;
    size_t n_spans, capacity, most; /* more than most: the rest of the text is left out */
    psc_pieces raw, inner;
    psc_normal_text normal;
    char *prefixed;
    size_t prefixed_capacity;
    psc_word_scratch word;
    cached_word *cache; /* null: none */
    void *match;
} encoder;

/* A run of plain text to split: its byte i is byte start + i - shift of the normalized piece, which
 * starts at byte base of the source. shift is 1 when a space was put in front. */
typedef struct run {
    const psc_normal_text *normal;
    size_t base, start, shift;
} run;

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens of the text");
}

/* Appends a token that ends at source byte end. A piece that ends before the previous token (an
 * added token that another one's rstrip covers) gets an empty range. */
static psc_status push_span(encoder *e, int32_t id, size_t end, psc_error *error) {
    uint32_t start = e->n_spans ? e->spans[e->n_spans - 1].end : 0;
    if (!psc_grow((void **)&e->spans, &e->capacity, e->n_spans + 1, sizeof(psc_token_span)))
        return no_memory(error);
    uint32_t stop = end > start ? (uint32_t)end : start;
    e->spans[e->n_spans++] = (psc_token_span){id, start, stop};
    return PSC_OK;
}

static bool is_enough(const encoder *e) {
    return e->n_spans > e->most;
}

/* The source byte of byte at of a run. */
static size_t source_of(const run *r, size_t at) {
    return r->base + psc_tk_map(r->normal, r->start + (at > r->shift ? at - r->shift : 0));
}

/* Stores the tokens of a word in its cache slot, if they are few. */
static void remember(
    cached_word *slot, const char *word, size_t bytes, const psc_word_scratch *tokens) {
    if (tokens->n > CACHE_TOKENS) return;
    slot->bytes = (uint8_t)bytes;
    slot->n = (uint8_t)tokens->n;
    memcpy(slot->word, word, bytes);
    for (size_t i = 0; i < tokens->n; i++) {
        slot->ids[i] = tokens->symbols[i].id;
        slot->token_bytes[i] = (uint8_t)tokens->symbols[i].bytes;
    }
}

/* Appends the tokens of the word that starts at byte at of the run. */
static psc_status encode_word(
    encoder *e, const run *r, const char *word, size_t bytes, size_t at, psc_error *error) {
    const psc_tokenizer *tokenizer = e->tokenizer;
    cached_word *slot = NULL;
    psc_status status = PSC_OK;
    if (tokenizer->ignore_merges) {
        int32_t id = *psc_tk_word_slot(tokenizer, word, bytes);
        if (id >= 0) return push_span(e, id, source_of(r, at + bytes), error);
    }
    if (e->cache && bytes <= CACHE_WORD) slot = &e->cache[psc_tk_hash(word, bytes) % CACHE_SLOTS];
    if (slot && slot->bytes == bytes && !memcmp(slot->word, word, bytes)) {
        for (size_t i = 0; i < slot->n && !status; i++) {
            at += slot->token_bytes[i];
            status = push_span(e, slot->ids[i], source_of(r, at), error);
        }
        return status;
    }
    status = psc_tk_merge_word(&e->word, tokenizer, word, bytes, error);
    if (status) return status;
    if (slot) remember(slot, word, bytes, &e->word);
    for (size_t i = 0; i < e->word.n && !status; i++) {
        at += e->word.symbols[i].bytes;
        status = push_span(e, e->word.symbols[i].id, source_of(r, at), error);
    }
    return status;
}

/* Appends the tokens of a piece that the pre-tokenizer's steps leave whole. */
static psc_status encode_piece(
    encoder *e, run r, const char *text, size_t bytes, psc_error *error) {
    psc_status status = PSC_OK;
    if (e->tokenizer->prefix_space && text[0] != ' ') {
        if (!psc_grow((void **)&e->prefixed, &e->prefixed_capacity, bytes + 1, 1))
            return no_memory(error);
        e->prefixed[0] = ' ';
        memcpy(e->prefixed + 1, text, bytes);
        text = e->prefixed;
        bytes++;
        r.shift = 1;
    }
    for (size_t at = 0, end = bytes; at < bytes && !status && !is_enough(e); at = end) {
        if (e->tokenizer->use_regex)
            status =
                psc_tk_next_word(&end, e->tokenizer->pattern, e->match, text, bytes, at, error);
        if (!status) status = encode_word(e, &r, text + at, end - at, at, error);
    }
    return status;
}

/* Cuts a run of plain normalized text by the steps from `step` on; appends the pieces' tokens. */
static psc_status encode_run(
    encoder *e, run r, const char *text, size_t bytes, int32_t step, psc_error *error) {
    psc_cutter cutter;
    if (step == e->tokenizer->n_steps) return encode_piece(e, r, text, bytes, error);
    psc_status status =
        psc_tk_cut_begin(&cutter, &e->tokenizer->steps[step], e->match, text, bytes, error);
    for (size_t at = 0, end = 0; at < bytes && !status && !is_enough(e); at = end) {
        run part = r;
        status = psc_tk_cut_next(&end, &cutter, error);
        part.start += at;
        if (!status) status = encode_run(e, part, text + at, end - at, step + 1, error);
    }
    return status;
}

/* Appends the tokens of the text between two added tokens of the source. */
static psc_status encode_plain(
    encoder *e, const char *text, size_t bytes, size_t base, psc_error *error) {
    bool changed = false;
    psc_status status = PSC_OK;
    e->normal.n_points = 0;
    if (e->tokenizer->nfc) status = psc_tk_nfc(&e->normal, &changed, text, bytes, error);
    if (changed) {
        text = e->normal.text;
        bytes = e->normal.bytes;
    }
    if (!status)
        status = psc_tk_find_added(&e->inner, &e->tokenizer->normalized, text, bytes, error);
    for (size_t i = 0; i < e->inner.n && !status && !is_enough(e); i++) {
        psc_piece piece = e->inner.at[i];
        run r = {&e->normal, base, piece.start, 0};
        size_t n = piece.end - piece.start;
        status = piece.id >= 0 ? push_span(e, piece.id, source_of(&r, n), error)
                               : encode_run(e, r, text + piece.start, n, 0, error);
    }
    return status;
}

static psc_status encode(encoder *e, const char *text, size_t bytes, psc_error *error) {
    psc_status status = psc_tk_find_added(&e->raw, &e->tokenizer->raw, text, bytes, error);
    for (size_t i = 0; i < e->raw.n && !status && !is_enough(e); i++) {
        psc_piece piece = e->raw.at[i];
        status = piece.id >= 0 ? push_span(e, piece.id, piece.end, error)
                               : encode_plain(e, text + piece.start, piece.end - piece.start,
                                     piece.start, error);
    }
    return status;
}

static void free_encoder(encoder *e) {
    free(e->spans);
    free(e->raw.at);
    free(e->inner.at);
    psc_tk_free_text(&e->normal);
    free(e->prefixed);
    free(e->word.symbols);
    free(e->word.heap);
    free(e->cache);
    psc_tk_free_match(e->match);
}

/* Bytes of a text that have more than `most` tokens, unless white space belongs to an added token
 * or unknown bytes are fused. NFC makes at most three bytes of what was longer. */
static size_t enough_bytes(const psc_tokenizer *tokenizer, size_t most) {
    size_t longest = 1;
    for (int32_t i = 0; i < tokenizer->size; i++)
        if (tokenizer->entries[i].bytes > longest) longest = tokenizer->entries[i].bytes;
    return most < SIZE_MAX / longest / 4 ? (most + 2) * longest * 3 : SIZE_MAX;
}

static psc_status encode_text(psc_token_span **spans, size_t *n, const psc_tokenizer *tokenizer,
    const char *text, size_t bytes, size_t most, psc_error *error) {
    encoder e = {.tokenizer = tokenizer, .most = most, .match = psc_tk_new_match()};
    if (bytes >= CACHE_FROM) e.cache = calloc(CACHE_SLOTS, sizeof *e.cache); /* may be null */
    psc_status status = e.match ? encode(&e, text, bytes, error) : no_memory(error);
    if (!status) {
        assert(bytes == 0 || is_enough(&e) || (e.n_spans && e.spans[e.n_spans - 1].end == bytes));
        *spans = e.spans;
        *n = e.n_spans;
        e.spans = NULL;
    }
    free_encoder(&e);
    return status;
}

psc_status psc_tokenizer_encode(psc_token_span **spans, size_t *n, const psc_tokenizer *tokenizer,
    const char *text, size_t bytes, psc_error *error) {
    return psc_tokenizer_encode_first(spans, n, tokenizer, text, bytes, SIZE_MAX, error);
}

psc_status psc_tokenizer_encode_first(psc_token_span **spans, size_t *n,
    const psc_tokenizer *tokenizer, const char *text, size_t bytes, size_t most, psc_error *error) {
    *spans = NULL;
    *n = 0;
    if (bytes > MAX_TEXT)
        return psc_fail(error, PSC_ERROR_INPUT, "the text has %zu bytes; the limit per call is %zu",
            bytes, MAX_TEXT);
    size_t valid = psc_utf8_valid(text, bytes);
    if (valid < bytes)
        return psc_fail(
            error, PSC_ERROR_INPUT, "the text is not valid UTF-8 at byte offset %zu", valid);
    size_t enough = bytes > LONG_TEXT && most < bytes ? enough_bytes(tokenizer, most) : bytes;
    while (enough < bytes && enough > 0 && psc_utf8_is_inner(text[enough])) enough--;
    if (enough < bytes) { /* one word may have all of the text, and merging it costs memory */
        psc_status status = encode_text(spans, n, tokenizer, text, enough, most, error);
        if (status || *n > most) return status;
        psc_tokenizer_free_spans(*spans);
        *spans = NULL;
        *n = 0;
    }
    return encode_text(spans, n, tokenizer, text, bytes, most, error);
}

void psc_tokenizer_free_spans(psc_token_span *spans) {
    free(spans);
}

void psc_tokenizer_close(psc_tokenizer **tokenizer) {
    psc_tokenizer *t = *tokenizer;
    if (!t) return;
    free(t->entries);
    free(t->bytes);
    free(t->merges);
    free(t->words);
    psc_tk_free_added(&t->raw);
    psc_tk_free_added(&t->normalized);
    for (int32_t i = 0; i < t->n_steps; i++) psc_tk_free_pattern(t->steps[i].pattern);
    psc_tk_free_pattern(t->pattern);
    free(t);
    *tokenizer = NULL;
}

int32_t psc_tokenizer_size(const psc_tokenizer *tokenizer) {
    return tokenizer->size;
}

const char *psc_tokenizer_bytes(const psc_tokenizer *tokenizer, int32_t id, size_t *bytes) {
    *bytes = 0;
    if (id < 0 || id >= tokenizer->size || !tokenizer->entries[id].flags) return NULL;
    *bytes = tokenizer->entries[id].bytes;
    return tokenizer->bytes + tokenizer->entries[id].offset;
}

bool psc_tokenizer_is_special(const psc_tokenizer *tokenizer, int32_t id) {
    return id >= 0 && id < tokenizer->size && tokenizer->entries[id].flags & PSC_ENTRY_SPECIAL;
}

int32_t psc_tokenizer_bos_of(const psc_tokenizer *tokenizer, int32_t config_id) {
    if (tokenizer->named_bos >= 0) return tokenizer->named_bos;
    const bool is_known = config_id >= 0 && config_id < tokenizer->size;
    if (is_known && tokenizer->entries[config_id].flags & PSC_ENTRY_ADDED) return config_id;
    return tokenizer->end_of_text >= 0 ? tokenizer->end_of_text : config_id;
}

bool psc_tokenizer_names_bos(const psc_tokenizer *tokenizer) {
    return tokenizer->named_bos >= 0;
}

int32_t psc_tokenizer_bos(const psc_tokenizer *tokenizer) {
    return psc_tokenizer_bos_of(tokenizer, -1);
}

bool psc_tokenizer_adds_bos(const psc_tokenizer *tokenizer) {
    return tokenizer->adds_bos;
}
