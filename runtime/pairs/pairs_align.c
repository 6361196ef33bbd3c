/* Which token of the corrupt prompt belongs to which of the clean one, and the names of rows.
 *
 *   end, equal   position p of n  <->  p - n + m of m tokens;   named p - n: ..., -2, -1
 *   start        p <-> p;                                       named p: 0, 1, ...
 *   spans        first + i <-> first' + i, last <-> last;       named NAME[i], and -1
 *
 * A place numbers the names of a set: from the longest prompt's first row on, or span after span. */
#include "pairs.h"

#include <stdio.h>

const char *psc_align_name(int32_t align) {
    static const char *const names[] = {"equal", "end", "start", "spans"};
    return align >= 0 && align < 4 ? names[align] : "?";
}

static psc_status check_spans(const psc_pairs *pairs, const psc_pair_entry *e, psc_error *error) {
    if (e->n_spans == 0)
        return psc_pairs_fail(pairs, e->line, error,
            "has no \"spans\", which alignment by spans needs; add them, or align by end or start");
    for (int32_t i = 0; i < e->n_spans; i++)
        for (int32_t k = 0; k < i; k++) {
            const psc_pair_span *a = &e->spans[i], *b = &e->spans[k];
            const bool clean = a->clean < b->clean + b->n && b->clean < a->clean + a->n;
            const bool corrupt = e->n_corrupt > 0 && a->corrupt < b->corrupt + b->n &&
                                 b->corrupt < a->corrupt + a->n;
            if (clean || corrupt)
                return psc_pairs_fail(pairs, e->line, error,
                    "the spans \"%.60s\" and \"%.60s\" overlap in the %s prompt",
                    pairs->spans[b->name].text, pairs->spans[a->name].text,
                    clean ? "clean" : "corrupt");
        }
    return PSC_OK;
}

psc_status psc_pairs_align(psc_pairs *pairs, psc_pair_entry *e, psc_error *error) {
    const int32_t n = e->n_clean, m = e->n_corrupt, align = pairs->options.align;
    if (align == PSC_ALIGN_SPANS) {
        const psc_status status = check_spans(pairs, e, error);
        if (status) return status;
    }
    if (m == 0) return PSC_OK;
    if (align == PSC_ALIGN_EQUAL && n != m)
        return psc_pairs_fail(pairs, e->line, error,
            "the clean prompt has %d token%s and the corrupt one %d; align them by end, start or "
            "spans",
            (int)n, n == 1 ? "" : "s", (int)m);
    e->source = psc_arena_alloc(&pairs->own, (uint64_t)n * sizeof *e->source);
    if (!e->source) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the pairs");
    for (int32_t p = 0; p < n; p++) {
        const int32_t q = align == PSC_ALIGN_START ? p : p - n + m;
        e->source[p] = q >= 0 && q < m ? q : -1;
        if (align == PSC_ALIGN_SPANS && p + 1 < n) e->source[p] = -1;
    }
    for (int32_t s = 0; align == PSC_ALIGN_SPANS && s < e->n_spans; s++)
        for (int32_t i = 0; i < e->spans[s].n; i++)
            e->source[e->spans[s].clean + i] = e->spans[s].corrupt + i;
    return PSC_OK;
}

/* --- names ----------------------------------------------------------------------------------- */

int32_t psc_pairs_place_count(const psc_pairs *pairs) {
    int32_t n = 1;
    if (pairs->options.align != PSC_ALIGN_SPANS) return pairs->longest_clean;
    for (int32_t s = 0; s < pairs->n_spans; s++) n += pairs->spans[s].most;
    return n;
}

int32_t psc_pairs_place(const psc_pairs *pairs, int32_t i, int32_t position) {
    const psc_pair_entry *e = &pairs->entries[i];
    if (position < 0 || position >= e->n_clean) return -1;
    if (pairs->options.align == PSC_ALIGN_START) return position;
    if (pairs->options.align != PSC_ALIGN_SPANS)
        return pairs->longest_clean - e->n_clean + position;
    for (int32_t s = 0; s < e->n_spans; s++) {
        const int32_t k = position - e->spans[s].clean;
        if (k >= 0 && k < e->spans[s].n) return pairs->spans[e->spans[s].name].place + k;
    }
    return position + 1 == e->n_clean ? psc_pairs_place_count(pairs) - 1 : -1;
}

void psc_pairs_place_name(char *out, size_t size, const psc_pairs *pairs, int32_t place) {
    if (pairs->options.align == PSC_ALIGN_START) {
        snprintf(out, size, "%d", (int)place);
        return;
    }
    for (int32_t s = 0; pairs->options.align == PSC_ALIGN_SPANS && s < pairs->n_spans; s++) {
        const psc_pair_name *span = &pairs->spans[s];
        if (place < span->place || place >= span->place + span->most) continue;
        snprintf(out, size, "%s[%d]", span->text, (int)(place - span->place));
        return;
    }
    snprintf(out, size, "%d", (int)(place - psc_pairs_place_count(pairs)));
}
