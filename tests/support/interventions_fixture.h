/* Runs with interventions in phases, and their golden figures.
 * Private to tests/analysis/; failures are Criterion assertions.
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

#ifndef FOLDER /* of the golden files */
#define FOLDER PSC_SOURCE_DIR "/tests/golden/interventions/"
#endif
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
static psc_token prompt[GOLDEN_MAX_TOKENS], one[GOLDEN_MAX_TOKENS], two[GOLDEN_MAX_TOKENS],
    three[GOLDEN_MAX_TOKENS], four[GOLDEN_MAX_TOKENS];
static int32_t n_prompt, n_one, n_two, n_three, n_four; /* three and four: 0 if there are none */

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
    n_three = psc_tensors_find(golden, "three") ? tokens_of("three", three) : 0;
    n_four = n_three ? tokens_of("four", four) : 0;
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

/* Source prompts one and two (and three and four), the unchanged prompt, the changed one. */
static inline psc_status run_phases(void) {
    psc_status status = run_phase(one, n_one, PSC_PHASE_SOURCE, 0);
    if (status == PSC_OK) status = run_phase(two, n_two, PSC_PHASE_SOURCE, 1);
    if (status == PSC_OK && n_three) status = run_phase(three, n_three, PSC_PHASE_SOURCE, 2);
    if (status == PSC_OK && n_four) status = run_phase(four, n_four, PSC_PHASE_SOURCE, 3);
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

/* --- cases ---------------------------------------------------------------------------------- */

static inline void load_case(const intervention_case *c) {
    for (int i = 0; i < MAX_EDITS && c->edits[i]; i++) must_load(c->edits[i]);
    add_targets();
    must_load("effects rows=all");
}

static inline void compare_logits(const char *name) {
    static const int32_t rows[] = {3, 7, 8};
    const int64_t n = psc_model_get_info(model)->d_vocab;
    char full[64];
    snprintf(full, sizeof full, "%s/logits", name);
    float *want = golden_f32(golden_find(golden, full), (size_t)(3 * n));
    for (int r = 0; r < 3; r++)
        for (int64_t v = 0; v < n; v++) {
            const float got = psc_session_logits(session, rows[r])[v];
            cr_assert(fabs((double)got - want[r * n + v]) <= 2e-4,
                "%s %s row %d logit %d: %.7g, should be %.7g", variant, name, rows[r], (int)v,
                (double)got, (double)want[r * n + v]);
        }
    free(want);
}

/* An array of effects against the float64 figure; NaN where the figure is NaN. */
static inline void compare_figure(const char *name, const char *figure, int64_t n, double limit) {
    char full[64], array_name[64];
    snprintf(full, sizeof full, "%s/%s", name, figure);
    snprintf(array_name, sizeof array_name, "effects.%s", figure);
    const psc_array array = must_array(array_name);
    const double *got = array.data;
    double *want = golden_f64(golden_find(golden, full), (size_t)n);
    cr_assert_eq(array.element, PSC_F64);
    for (int64_t i = 0; i < n; i++)
        cr_assert(isnan(want[i]) ? isnan(got[i])
                                 : fabs(got[i] - want[i]) <= limit * (1.0 + fabs(want[i])),
            "%s %s %s[%d]: %.9g, should be %.9g", variant, name, figure, (int)i, got[i], want[i]);
    free(want);
}

static inline void run_case(const char *name, const intervention_case *c) {
    open_variant(name, NULL, 2, 0);
    load_case(c);
    must_run_phases();
    compare_logits(c->name);
    compare_figure(c->name, "dz", N_TARGETS * n_prompt, 2e-5);
    compare_figure(c->name, "dlog_p", N_TARGETS * n_prompt, 2e-5);
    compare_figure(c->name, "kl", n_prompt, 1e-5);
    compare_figure(c->name, "frozen_ln", N_TARGETS * n_prompt, 2e-5);
    compare_figure(c->name, "recomputed_ln", N_TARGETS * n_prompt, 2e-5);
    close_variant();
}

static inline float *logits_of_case(
    const intervention_case *c, const char *isa, int32_t threads, int32_t chunk, double *kl) {
    open_variant("parallel_f32", isa, threads, chunk);
    load_case(c);
    must_run_phases();
    const size_t n = (size_t)psc_model_get_info(model)->d_vocab;
    float *out = malloc((size_t)n_prompt * n * sizeof *out);
    cr_assert(out);
    for (int32_t r = 0; r < n_prompt; r++)
        memcpy(out + (size_t)r * n, psc_session_logits(session, r), n * sizeof *out);
    memcpy(kl, must_array("effects.kl").data, (size_t)n_prompt * sizeof *kl);
    memcpy(kl + n_prompt, must_array("effects.recomputed_ln").data,
        (size_t)(N_TARGETS * n_prompt) * sizeof *kl);
    return out;
}

/* A case has the same bits for any instruction set, threads and chunks. */
static inline void same_bits(const intervention_case *c) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } ways[] = {{NULL, 1, 1}, {NULL, 3, 4}, {"reference", 2, 0}};
    double kl[5 * 16], other[5 * 16];
    float *first = logits_of_case(c, NULL, 1, 0, kl);
    const size_t bytes = (size_t)n_prompt * 80 * sizeof(float);
    const size_t figures = (size_t)(5 * n_prompt) * sizeof(double);
    close_variant();
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        float *again = logits_of_case(c, ways[w].isa, ways[w].threads, ways[w].chunk, other);
        cr_assert_eq(memcmp(first, again, bytes), 0, "%s: logits, way %zu", c->name, w);
        cr_assert_eq(memcmp(kl, other, figures), 0, "%s: figures, way %zu", c->name, w);
        close_variant();
        free(again);
    }
    free(first);
}

#endif
