/* A plugin whose callbacks the test provides, in a session on a small model.
 * Private to tests/; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: the fixture is static and is closed by fixture_close. */
#ifndef PLUGIN_FIXTURE_H
#define PLUGIN_FIXTURE_H

#include "psc.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODELS PSC_SOURCE_DIR "/tests/golden/parity/"
#define PLUGIN(name) PSC_TEST_PLUGINS "/" name ".so"

static psc_model *model;
static psc_session *session;
static psc_plugin *bridge;   /* of bridge.so; its callbacks are the test's */
static const psc_host *host; /* the host that open received */
static psc_error error;

/* Ten tokens; the last two are the same. */
static const psc_token ten[10] = {{3, 0, 1}, {17, 1, 2}, {5, 2, 3}, {79, 3, 4}, {0, 4, 5},
    {41, 5, 6}, {8, 6, 7}, {60, 7, 8}, {12, 8, 9}, {12, 9, 10}};

static void open_session(const char *name, int32_t chunk, int32_t threads) {
    char path[512];
    snprintf(path, sizeof path, MODELS "%s", name);
    cr_assert_eq(psc_model_open(&model, path, &error), PSC_OK, "%s", error.message);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.chunk = chunk;
    options.threads = threads;
    options.n_sequences = 3;
    options.capacity = 40;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

static inline void find_bridge(void) {
    void *library = dlopen(PLUGIN("bridge"), RTLD_NOW | RTLD_LOCAL);
    cr_assert(library, "%s", dlerror());
    bridge = dlsym(library, "bridge_plugin");
    cr_assert(bridge);
}

static inline void fixture_open(void) {
    host = NULL;
    open_session("parallel_f32", 3, 2);
    find_bridge();
}

static inline void fixture_close(void) {
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Runs the ten tokens as sequence 0, from its start. */
static inline psc_status run_ten(void) {
    psc_input input = {0, 10, ten};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static inline void must_run_ten(void) {
    cr_assert_eq(run_ten(), PSC_OK, "%s", error.message);
}

static inline void must_load(const char *path, const char *options) {
    cr_assert_eq(psc_session_plugin(session, path, options, &error), PSC_OK, "%s", error.message);
}

static inline void must_capture(const char *point) {
    cr_assert_eq(psc_session_capture(session, point, &error), PSC_OK, "%s", error.message);
}

static inline psc_array must_array(const char *name) {
    psc_array array;
    cr_assert_eq(psc_session_array(session, name, &array, &error), PSC_OK, "%s", error.message);
    return array;
}

static inline psc_result_section must_section(int32_t index) {
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    const psc_results *results = psc_session_results(session);
    cr_assert_eq(
        psc_results_section_at(&section, results, index, &error), PSC_OK, "%s", error.message);
    return section;
}

/* The call returned status, and the message contains each of the words. */
#define REFUSED(call, expected, ...)                                                               \
    do {                                                                                           \
        error.message[0] = 0;                                                                      \
        psc_status got = (call);                                                                   \
        cr_assert_eq(got, expected, "status %d: %s", got, error.message);                          \
        const char *words[] = {__VA_ARGS__};                                                       \
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)                                  \
            cr_assert(                                                                             \
                strstr(error.message, words[w]), "'%s' is not in: %s", words[w], error.message);   \
    } while (0)

#endif
