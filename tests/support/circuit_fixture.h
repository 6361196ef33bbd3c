/* Runs of the plugin circuit on a pair of prompts.
 * Private to tests/: test_circuit.c and test_circuit_files.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller. */
#ifndef CIRCUIT_FIXTURE_H
#define CIRCUIT_FIXTURE_H

#include "ln_mlp_fixture.h"

#define N 10

static const int32_t base_ids[N] = {3, 17, 5, 79, 0, 41, 8, 60, 12, 12};
static const int32_t other_ids[N] = {3, 17, 44, 79, 1, 41, 9, 60, 30, 12};
static psc_error error;

static inline psc_status run_phase(
    psc_session *session, const int32_t *ids, int32_t n, int32_t phase) {
    psc_token tokens[N] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = ids[i];
    psc_input input = {0, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static inline psc_session *open_circuit(
    psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "circuit", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    return session;
}

static inline psc_session *tested(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = open_circuit(model, options, how);
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    return session;
}

static inline double number(const psc_session *session, const char *name) {
    const psc_results *results = psc_session_results(session);
    int32_t section;
    psc_result_value value;
    cr_assert_eq(psc_results_find_section(&section, results, "circuit", &error), PSC_OK);
    cr_assert_eq(
        psc_results_find_value(&value, results, section, name, &error), PSC_OK, "%s", name);
    return value.numbers[0];
}

#endif
