/* Lists of documents as sources of a corpus.
 * Private to tests/runtime/; failures are Criterion assertions.
 * Threads: one at a time.
 * Ownership: a list borrows its documents; places are freed with psc_free. */
#ifndef SOURCE_FIXTURE_H
#define SOURCE_FIXTURE_H

#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <string.h>

static psc_error error;

typedef struct list {
    const psc_source_document *documents;
    int32_t n, at;
    int32_t fails_at; /* before this document, once; -1: never */
    int32_t calls_after_end;
    psc_corpus **own; /* not null: the source uses its own corpus */
} list;

static inline int next_of(psc_source_document *out, void *payload) {
    list *l = payload;
    psc_window window;
    cr_assert_eq(out->struct_size, sizeof *out);
    if (l->own) {
        cr_assert_eq(psc_corpus_next(&window, *l->own, &error), PSC_ERROR_STATE);
        cr_assert(strstr(error.message, "must not use its own corpus"), "%s", error.message);
    }
    if (l->at == l->fails_at) {
        l->fails_at = -1;
        return 1;
    }
    l->calls_after_end += l->at > l->n;
    if (l->at >= l->n)
        out->end = 1;
    else
        *out = l->documents[l->at];
    l->at++;
    return 0;
}

#define TEXT(t)                                                                                    \
    { sizeof(psc_source_document), t, sizeof(t) - 1, NULL, 0, 0, NULL }
#define LIST(documents)                                                                            \
    { documents, sizeof(documents) / sizeof *(documents), 0, -1, 0, NULL }

static inline psc_corpus *must_open(
    const psc_model *model, list *l, const psc_corpus_options *options) {
    psc_corpus *c = NULL;
    cr_assert_eq(psc_corpus_open_source(&c, model, next_of, l, options, &error), PSC_OK, "%s",
        error.message);
    return c;
}

static inline int32_t must_next(psc_window *out, psc_corpus *c) {
    cr_assert_eq(psc_corpus_next(out, c, &error), PSC_OK, "%s", error.message);
    return out->n;
}

static inline void finish(psc_corpus *c) {
    psc_window window;
    while (must_next(&window, c) > 0) {
    }
}

static inline void assert_same_totals(const psc_corpus_totals *a, const psc_corpus_totals *b) {
    cr_assert_eq(a->documents, b->documents);
    cr_assert_eq(a->skipped, b->skipped);
    cr_assert_eq(a->windows, b->windows);
    cr_assert_eq(a->tokens, b->tokens);
    cr_assert_eq(a->window, b->window);
    cr_assert_eq(a->bos, b->bos);
    cr_assert_eq(a->limit, b->limit);
}

static inline char *place_of(const psc_corpus *c) {
    char *place = NULL;
    cr_assert_eq(psc_corpus_tell(&place, c, &error), PSC_OK, "%s", error.message);
    return place;
}

static const int32_t some_ids[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};
#define IDS(from, count)                                                                           \
    { sizeof(psc_source_document), NULL, 0, some_ids + (from), count, 0, NULL }
static const psc_source_document five[] = {IDS(0, 7), IDS(2, 1), IDS(0, 0), IDS(1, 9), IDS(3, 4)};

static inline psc_model *small_model(void) {
    return must_model(golden_path("parallel_f32", NULL)); /* it has no tokenizer */
}

static inline psc_corpus_options windows_of(int32_t window) {
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    o.window = window;
    return o;
}

#endif
