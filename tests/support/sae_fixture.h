/* Sessions with the plugin sae and its values.
 * Private to tests/: test_sae.c and test_sae_corpus.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller. */
#ifndef SAE_FIXTURE_H
#define SAE_FIXTURE_H

#include "ln_mlp_fixture.h"

#define SAE PSC_SOURCE_DIR "/tests/golden/sae/"

static inline double value_of(const psc_session *session, const char *name) {
    const psc_results *results = psc_session_results(session);
    psc_result_value value;
    psc_error error = {0};
    int32_t section = -1;
    cr_assert_eq(psc_results_find_section(&section, results, "sae", &error), PSC_OK);
    cr_assert_eq(psc_results_find_value(&value, results, section, name, &error), PSC_OK, "%s: %s",
        name, error.message);
    return value.kind == PSC_VALUE_NUMBER ? value.numbers[0] : (double)NAN;
}

static inline void load(psc_session *session, const char *options) {
    psc_error error = {0};
    cr_assert_eq(psc_session_plugin(session, "sae", options, &error), PSC_OK, "%s", error.message);
}

#endif
