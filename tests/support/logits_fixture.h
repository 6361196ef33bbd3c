/* Runs of the plugin logits, its arrays and its section of the results.
 * Private to test_logits*.c; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: one session and model at a time, static; array views belong to the session. */
#ifndef LOGITS_FIXTURE_H
#define LOGITS_FIXTURE_H

#include "golden.h"
#include "logits.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE_EPS PSC_SOURCE_DIR "/tests/golden/logits/large_eps"

/* Equal to tests/tools/make_logits_golden.py. */
static const psc_token six[6] = {
    {3, 0, 0}, {41, 0, 0}, {7, 0, 0}, {19, 0, 0}, {60, 0, 0}, {2, 0, 0}};

static psc_model *model;
static psc_session *session;
static psc_error error;
static const char *prefix = "logits"; /* of the arrays and the section */

static inline void start(const char *folder, const char *isa, int32_t threads, int32_t chunk) {
    model = must_model(folder);
    session = must_session(model, isa, threads, chunk);
}

static inline void stop(void) {
    psc_session_close(&session);
    psc_model_close(&model);
}

static inline void load_logits(const char *options) {
    cr_assert_eq(
        psc_session_plugin(session, "logits", options, &error), PSC_OK, "%s", error.message);
}

static inline void add_target(const char *target) {
    cr_assert_eq(psc_session_target(session, target, &error), PSC_OK, "%s", error.message);
}

/* The targets of the golden files. */
static inline void add_targets(void) {
    add_target("#5");
    add_target("top:2");
    add_target("next");
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK, "%s", error.message);
}

/* The caller owns the view's name; null data if no such array exists. */
static inline psc_array array_or_none(const char *name) {
    char full[128];
    psc_array out = {0};
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    if (psc_session_array(session, full, &out, &error) != PSC_OK) out.data = NULL;
    return out;
}

static inline psc_array array_of(const char *name) {
    psc_array out = array_or_none(name);
    cr_assert(out.data, "%s: %s", name, error.message);
    return out;
}

static inline int64_t elements_of(const psc_array *array) {
    int64_t n = 1;
    for (int i = 0; i < array->n_axes; i++) n *= array->shape[i];
    return n;
}

static inline int32_t section_of(void) {
    int32_t section = -1;
    cr_assert_eq(psc_results_find_section(&section, psc_session_results(session), prefix, &error),
        PSC_OK, "%s", error.message);
    return section;
}

static inline psc_result_axis axis_of(const char *name) {
    psc_result_axis axis;
    cr_assert_eq(
        psc_results_find_axis(&axis, psc_session_results(session), section_of(), name, &error),
        PSC_OK, "%s", error.message);
    return axis;
}

static inline double value_of(const char *name) {
    psc_result_value value;
    cr_assert_eq(
        psc_results_find_value(&value, psc_session_results(session), section_of(), name, &error),
        PSC_OK, "%s", error.message);
    cr_assert(value.kind == PSC_VALUE_NUMBER, "%s is not a number", name);
    return value.numbers[0];
}

/* Whether a sentence of the summary contains words. */
static inline int summary_says(const char *words) {
    const psc_results *results = psc_session_results(session);
    const int32_t section = section_of();
    psc_result_item item;
    for (int32_t i = 0; psc_results_item_at(&item, results, section, i, NULL) == PSC_OK; i++)
        if (item.sentence && strstr(item.sentence, words)) return 1;
    return 0;
}

static const char *const level_suffix[] = {"", ".head", ".layer"};

/* Recomputes every sum from the arrays with the plugin's own check; returns the largest error
 * relative to 1 + sum |share|. drop >= 0: omits that component. scale: scales the shares. */
static inline double worst_sum(const char *suffix, int64_t drop, int with_constant, double scale) {
    char name[64];
    snprintf(name, sizeof name, "contributions%s", suffix);
    psc_array shares = array_of(name);
    const float *z = array_of("values").data, *constant = array_of("constant").data;
    const int64_t n = shares.shape[2], rows = shares.shape[0] * shares.shape[1];
    float *copy = malloc((size_t)n * sizeof(float));
    double worst = 0.0;
    cr_assert(copy);
    for (int64_t at = 0; at < rows; at++) {
        double sum = 0.0, sum_abs = 0.0, relative = 0.0;
        if (isnan(z[at])) continue;
        memcpy(copy, (const float *)shares.data + at * n, (size_t)n * sizeof(float));
        if (drop >= 0) copy[drop] = 0.0f;
        for (int64_t i = 0; i < n; i++) {
            sum += copy[i] * scale;
            sum_abs += fabs(copy[i] * scale);
        }
        logits_gap(
            (double)z[at], with_constant ? (double)constant[at] : 0.0, sum, sum_abs, &relative);
        cr_assert(!isnan(relative));
        if (relative > worst) worst = relative;
    }
    free(copy);
    return worst;
}

#endif
