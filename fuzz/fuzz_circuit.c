/* A circuit in a JSON file, which the plugin circuit tests on two prompts. What it writes of the
 * circuit must be read again as the same circuit. */
#include "fuzz.h"

#include <math.h>

/* Runs the circuit in a file; the session has its results. */
static psc_status run_circuit(psc_session *session, const char *path, psc_error *error) {
    const psc_option options[] = {{"file", path}, {"minimal", "0"}};
    psc_token tokens[2][4] = {{{.id = 0}, {.id = 33}, {.id = 34}, {.id = 35}},
        {{.id = 0}, {.id = 33}, {.id = 44}, {.id = 35}}};
    static const int phases[] = {PSC_PHASE_SOURCE, PSC_PHASE_CHANGED};
    psc_status status = psc_session_plugin_options(session, "circuit", NULL, options, 2, error);
    fuzz_expect(status == PSC_OK, "the options are refused");
    for (int i = 0; i < 2 && !status; i++) {
        const psc_input input = {0, 4, tokens[i]};
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.phase = phases[i];
        psc_session_truncate(session, 0, 0);
        status = psc_session_run(session, &input, 1, &run, error);
    }
    fuzz_check(status, error);
    return status;
}

/* The metric of the circuit. */
static double circuit_value(const psc_session *session) {
    const psc_results *results = psc_session_results(session);
    psc_result_value value = {0};
    int32_t section = -1;
    fuzz_expect(psc_results_find_section(&section, results, "circuit", NULL) == PSC_OK &&
                    psc_results_find_value(&value, results, section, "circuit", NULL) == PSC_OK,
        "the circuit has no value");
    return value.numbers ? value.numbers[0] : NAN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    psc_error error = {0};
    psc_session *session = fuzz_session(0), *again = NULL;
    psc_result_file file;
    if (run_circuit(session, fuzz_put("circuit.json", (fuzz_bytes){data, size}), &error) ==
        PSC_OK) {
        fuzz_expect(
            psc_results_file_at(&file, psc_session_results(session), 0, NULL) == PSC_OK, "no file");
        const fuzz_bytes written = {(const uint8_t *)file.bytes, file.n};
        again = fuzz_session(0);
        fuzz_expect(run_circuit(again, fuzz_put("again.json", written), &error) == PSC_OK,
            "the written circuit is refused");
        const double a = circuit_value(session), b = circuit_value(again);
        fuzz_expect(a == b || (isnan(a) && isnan(b)), "the written circuit is another one");
    }
    psc_session_close(&again);
    psc_session_close(&session);
    return 0;
}
