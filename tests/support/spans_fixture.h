/* Golden sentences and trees, and the brackets that a run of the plugin spans leaves.
 * Private to test_spans*.c; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller; one golden file at a time, static. */
#ifndef SPANS_FIXTURE_H
#define SPANS_FIXTURE_H

#include "ln_mlp_fixture.h"

#define STRUCTURE PSC_SOURCE_DIR "/tests/golden/structure/trees.safetensors"

enum { N_SENTENCES = 100, N_LEVELS = 5, MOST = 128, N_PRIORS = 4 };
static psc_error error;
static psc_tensors *golden;

/* Numbers of the golden file, of any type. */
static inline double golden_at(const char *name, int64_t i) {
    const psc_tensor *t = golden_find(golden, name);
    return strcmp(t->dtype, "U8") == 0 ? (double)((const uint8_t *)t->data)[i] : tensor_at(t, i);
}

static inline int64_t start_of(const char *name, int64_t i) {
    return (int64_t)golden_at(name, i);
}

static inline psc_session *open_spans(
    psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "spans", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    return session;
}

/* The tokens of golden sentence i, with BOS; returns their number. */
static inline int32_t sentence_tokens(int32_t i, psc_token *out) {
    const int64_t from = start_of("token_start", i), end = start_of("token_start", i + 1);
    for (int64_t t = from; t < end; t++)
        out[t - from] = (psc_token){.id = (int32_t)golden_at("tokens", t)};
    return (int32_t)(end - from);
}

/* Runs n <= 3 golden sentences from `first` on as sequences 0.. */
static inline void run_sentences(psc_session *session, int32_t first, int32_t n) {
    static psc_token tokens[3][MOST];
    psc_input inputs[3];
    for (int32_t i = 0; i < n; i++) {
        inputs[i] = (psc_input){i, sentence_tokens(first + i, tokens[i]), tokens[i]};
        psc_session_truncate(session, i, 0);
    }
    cr_assert_eq(psc_session_run(session, inputs, n, NULL, &error), PSC_OK, "%s", error.message);
}

/* The brackets of a run's only sequence, [levels][spans]. */
typedef struct trees {
    int64_t n_levels, n;
    int first[N_LEVELS][MOST], last[N_LEVELS][MOST];
} trees;

static inline void read_trees(trees *out, const psc_session *session) {
    const psc_array brackets = must_array(session, "spans.brackets");
    out->n_levels = brackets.shape[0];
    out->n = brackets.shape[1];
    for (int64_t l = 0; l < out->n_levels; l++)
        for (int64_t i = 0; i < out->n; i++) {
            out->first[l][i] = (int)array_at(&brackets, 2 * (l * out->n + i));
            out->last[l][i] = (int)array_at(&brackets, 2 * (l * out->n + i) + 1);
        }
}

/* The bracket's index, or -1. */
static inline int find_bracket(const trees *t, int64_t level, int first, int last) {
    for (int i = 0; i < (int)t->n; i++)
        if (t->first[level][i] == first && t->last[level][i] == last) return i;
    return -1;
}

#endif
