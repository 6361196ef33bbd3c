/* Sets of pairs of token ids on the small model of plugin_fixture.h.
 * Private to tests/; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: the fixture is static; the caller closes results. */
#ifndef PAIRS_FIXTURE_H
#define PAIRS_FIXTURE_H

#include "plugin_fixture.h"
#include "psc_pairs.h"

static psc_pairs *pairs;

static inline psc_status read_pairs(const char *text, int32_t align, int32_t bos) {
    psc_pairs_options options = PSC_PAIRS_OPTIONS_INIT;
    options.align = align;
    options.bos = bos;
    psc_pairs_close(&pairs);
    return psc_pairs_read(&pairs, model, text, strlen(text), "set.jsonl", &options, &error);
}

static inline void must_read_pairs(const char *text, int32_t align) {
    cr_assert_eq(read_pairs(text, align, 0), PSC_OK, "%s", error.message);
}

static inline psc_pair must_pair(int32_t i) {
    psc_pair pair = PSC_PAIR_INIT;
    cr_assert_eq(psc_pairs_at(&pair, pairs, i, &error), PSC_OK, "%s", error.message);
    return pair;
}

/* Another session of the same model. */
static inline void open_for_pairs(int32_t sequences, int32_t threads, int32_t chunk) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = sequences;
    options.threads = threads;
    options.chunk = chunk;
    options.capacity = 40;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "example", &error), PSC_OK, "%s", error.message);
}

static inline void pairs_fixture_close(void) {
    psc_pairs_close(&pairs);
    fixture_close();
}

static inline psc_array array_of(const psc_results *results, const char *name) {
    psc_array array;
    cr_assert_eq(
        psc_results_find_array(&array, results, name, &error), PSC_OK, "%s", error.message);
    return array;
}

static inline size_t bytes_of(const psc_array *a) {
    size_t n = a->element == PSC_F64 ? 8 : 4;
    for (int i = 0; i < a->n_axes; i++) n *= (size_t)a->shape[i];
    return n;
}

#endif
