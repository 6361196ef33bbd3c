/* Runs with interventions in phases, and their golden figures.
 * Private to test_interventions*.c; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: one session and model at a time, static; array views belong to the session. */
#ifndef INTERVENTIONS_FIXTURE_H
#define INTERVENTIONS_FIXTURE_H

#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER PSC_SOURCE_DIR "/tests/golden/interventions/"
#define VALUES "file=" FOLDER "%s_values.safetensors"
enum { MAX_EDITS = 4, N_TARGETS = 4 };

/* A case of tests/tools/make_interventions_golden.py. "%s" in options is the model's name. */
typedef struct intervention_case {
    const char *name;
    const char *edits[MAX_EDITS]; /* "plugin options" */
} intervention_case;

static psc_model *model;
static psc_session *session;
static psc_error error;
static const char *variant;
static psc_tensors *golden;
static psc_token prompt[GOLDEN_MAX_TOKENS], one[GOLDEN_MAX_TOKENS], two[GOLDEN_MAX_TOKENS];
static int32_t n_prompt, n_one, n_two;

static int32_t tokens_of(const char *name, psc_token *out) {
    const psc_tensor *tensor = golden_find(golden, name);
    const int32_t n = (int32_t)(tensor->size / 4);
    for (int32_t i = 0; i < n; i++) {
        out[i] = (psc_token){0};
        memcpy(&out[i].id, tensor->data + 4 * i, 4);
    }
    return n;
}

static inline void open_variant(const char *name, const char *isa, int32_t threads, int32_t chunk) {
    char path[512];
    variant = name;
    snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    golden = golden_open(path);
    model = must_model(golden_path(name, NULL));
    session = must_session(model, isa, threads, chunk);
    n_prompt = tokens_of("tokens", prompt);
    n_one = tokens_of("one", one);
    n_two = tokens_of("two", two);
}

static inline void close_variant(void) {
    psc_session_close(&session);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}

static inline psc_status load(const char *edit) {
    char text[1024], *options;
    snprintf(text, sizeof text, edit, variant);
    options = strchr(text, ' ');
    if (options) *options++ = 0;
    return psc_session_plugin(session, text, options, &error);
}

static inline void must_load(const char *edit) {
    cr_assert_eq(load(edit), PSC_OK, "%s", error.message);
}

/* The targets of the golden files: #5, #7 - #9, next, top:1. */
static inline void add_targets(void) {
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "top:1", &error), PSC_OK);
}

static inline psc_status run_phase(
    const psc_token *tokens, int32_t n, int32_t phase, int32_t source) {
    psc_input input = {0, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    options.source = source;
    options.logits = PSC_ROWS_ALL;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

/* Source prompts one and two, the unchanged prompt, the changed one. */
static inline psc_status run_phases(void) {
    psc_status status = run_phase(one, n_one, PSC_PHASE_SOURCE, 0);
    if (status == PSC_OK) status = run_phase(two, n_two, PSC_PHASE_SOURCE, 1);
    if (status == PSC_OK) status = run_phase(prompt, n_prompt, PSC_PHASE_BASE, 0);
    if (status == PSC_OK) status = run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0);
    return status;
}

static inline void must_run_phases(void) {
    cr_assert_eq(run_phases(), PSC_OK, "%s", error.message);
}

static inline psc_array must_array(const char *name) {
    psc_array array;
    cr_assert_eq(psc_session_array(session, name, &array, &error), PSC_OK, "%s", error.message);
    return array;
}

#endif
