/* Cutting a text by a pattern. A step of the pre-tokenizer finds the pattern's matches from left to
 * right; they and the text between them are pieces, which its behavior keeps or joins. The words of
 * ByteLevel are found one by one, anchored at the end of the previous one. */
#include "tokenizer_private.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

void *psc_tk_new_match(void) {
    return pcre2_match_data_create(1, NULL);
}

void psc_tk_free_match(void *match) {
    pcre2_match_data_free(match);
}

/* The first match at or after byte at, or [bytes, bytes) if there is none. */
static psc_status find(psc_piece *out, const void *pattern, void *match, const char *text,
    size_t bytes, size_t at, uint32_t options, psc_error *error) {
    const int n = pcre2_match(
        pattern, (PCRE2_SPTR)text, bytes, at, PCRE2_NO_UTF_CHECK | options, match, NULL);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
    *out = (psc_piece){-1, bytes, bytes};
    if (n == PCRE2_ERROR_NOMATCH && !options) return PSC_OK;
    if (n == PCRE2_ERROR_NOMEMORY || n == PCRE2_ERROR_HEAPLIMIT)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to split the text");
    if (n < 0 || range[0] < at || range[1] <= range[0] || range[1] > bytes)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "PCRE2 could not split the text at byte %zu (error %d)", at, n);
    *out = (psc_piece){0, range[0], range[1]};
    return PSC_OK;
}

/* The end of ` ?\p{L}+` at byte `at`, if its letters and the next character are ASCII; else `at`.
 * This covers most words of English text, several times faster than PCRE2. */
static size_t ascii_word(const char *text, size_t bytes, size_t at) {
    size_t i = at + (text[at] == ' '), first = i;
    while (i < bytes && (unsigned char)((text[i] | 0x20) - 'a') < 26) i++;
    return i > first && (i == bytes || (unsigned char)text[i] < 0x80) ? i : at;
}

psc_status psc_tk_next_word(size_t *end, const void *pattern, void *match, const char *text,
    size_t bytes, size_t at, psc_error *error) {
    psc_piece found;
    *end = ascii_word(text, bytes, at);
    if (*end > at) return PSC_OK;
    psc_status status = find(&found, pattern, match, text, bytes, at, PCRE2_ANCHORED, error);
    *end = found.end;
    return status;
}

/* Whether two pieces that follow each other become one. */
static bool joins(psc_split_behavior behavior, bool is_match, bool next_is_match) {
    switch (behavior) {
    case PSC_SPLIT_CONTIGUOUS:
        return is_match == next_is_match;
    case PSC_SPLIT_WITH_PREVIOUS:
        return !is_match && next_is_match;
    case PSC_SPLIT_WITH_NEXT:
        return is_match && !next_is_match;
    default:
        return false;
    }
}

psc_status psc_tk_cut_begin(psc_cutter *out, const psc_split_step *step, void *match,
    const char *text, size_t bytes, psc_error *error) {
    *out = (psc_cutter){step, match, text, bytes, 0, {0}};
    return find(&out->next, step->pattern, match, text, bytes, 0, 0, error);
}

psc_status psc_tk_cut_next(size_t *end, psc_cutter *cutter, psc_error *error) {
    const psc_split_step *step = cutter->step;
    psc_status status = PSC_OK;
    for (bool first = true, kind = false; cutter->at < cutter->bytes && !status; first = false) {
        const bool is_match = cutter->at == cutter->next.start;
        const bool counts = is_match != step->invert;
        if (!first && !joins(step->behavior, kind, counts)) break;
        kind = counts;
        cutter->at = is_match ? cutter->next.end : cutter->next.start;
        if (is_match)
            status = find(&cutter->next, step->pattern, cutter->match, cutter->text, cutter->bytes,
                cutter->at, 0, error);
    }
    *end = cutter->at;
    return status;
}
