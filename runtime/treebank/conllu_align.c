/* Words in their text, by bytes: blanks, then exactly the next token's form, and so on to the end.
 * The words of a multiword token are cut out of it where their forms concatenate to it. */
#include "conllu.h"

#include "utf8.h"

#include <string.h>

/* Unicode's blanks; a text may have a no-break space where the forms have none. */
static bool is_blank(uint32_t c) {
    return c == ' ' || c == '\t' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static uint32_t skip_blanks(const char *text, uint32_t at, uint32_t bytes) {
    while (at < bytes) {
        size_t length;
        uint32_t c = psc_utf8_decode(&length, text + at);
        if (!is_blank(c)) break;
        at += (uint32_t)length;
    }
    return at;
}

/* The tokens' forms with one space between them, unless SpaceAfter=No. */
static psc_status rebuild(conllu_reader *r) {
    uint64_t bytes = 0;
    for (size_t t = 0; t < r->n_tokens; t++) bytes += (uint64_t)r->tokens[t].bytes + 1;
    if (r->pool_bytes + bytes > PSC_TREEBANK_SENTENCE)
        return conllu_fail(r, PSC_ERROR_INPUT, r->first_line, "the sentence has more than %u bytes",
            (unsigned)PSC_TREEBANK_SENTENCE);
    if (!psc_grow((void **)&r->pool, &r->pool_capacity, r->pool_bytes + (size_t)bytes, 1))
        return conllu_no_memory(r);
    char *text = r->pool + r->pool_bytes, *at = text;
    for (size_t t = 0; t < r->n_tokens; t++) {
        const conllu_token *token = &r->tokens[t];
        memcpy(at, r->pool + token->form, token->bytes);
        at += token->bytes;
        if (token->space_after && t + 1 < r->n_tokens) *at++ = ' ';
    }
    *at = 0;
    r->text = (uint32_t)r->pool_bytes;
    r->text_bytes = (uint32_t)(at - text);
    r->pool_bytes += r->text_bytes + 1;
    return PSC_OK;
}

/* Gives the token's words their bytes. */
static void cut_words(conllu_reader *r, const conllu_token *token, uint32_t start) {
    const char *form = r->pool + token->form;
    uint32_t sum = 0;
    bool cut = true;
    for (int32_t i = 0; i < token->n && cut; i++) {
        conllu_word *w = &r->words[token->first + i];
        size_t n = strlen(r->pool + w->form);
        cut = n <= token->bytes - sum && memcmp(form + sum, r->pool + w->form, n) == 0;
        if (!cut) break;
        w->start = start + sum;
        w->end = w->start + (uint32_t)n;
        sum += (uint32_t)n;
    }
    if (cut && sum == token->bytes) return;
    for (int32_t i = 0; i < token->n; i++) {
        conllu_word *w = &r->words[token->first + i];
        w->start = start;
        w->end = start + token->bytes;
    }
}

psc_status conllu_align(conllu_reader *r) {
    psc_status status = r->has_text ? PSC_OK : rebuild(r);
    if (status != PSC_OK) return status;
    const char *text = r->pool + r->text;
    uint32_t at = 0;
    for (size_t t = 0; t < r->n_tokens; t++) {
        const conllu_token *token = &r->tokens[t];
        at = skip_blanks(text, at, r->text_bytes);
        if (token->bytes > r->text_bytes - at ||
            memcmp(text + at, r->pool + token->form, token->bytes) != 0)
            return conllu_fail(r, PSC_ERROR_INPUT, token->line,
                "the form '%.60s' does not stand at byte %u of the text, which has '%.60s' there",
                r->pool + token->form, (unsigned)at, text + at);
        cut_words(r, token, at);
        at += token->bytes;
    }
    at = skip_blanks(text, at, r->text_bytes);
    if (at < r->text_bytes)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "\"# text\" continues with '%.60s' after the last word", text + at);
    return PSC_OK;
}
