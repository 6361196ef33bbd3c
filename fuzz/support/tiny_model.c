/* The golden model sharded_padded_f16: 3 layers, 2 heads, 16 dimensions, a tokenizer over bytes. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

const char *fuzz_model_folder(void) {
    return PSC_SOURCE_DIR "/tests/golden/parity/sharded_padded_f16";
}

psc_model *fuzz_model(void) {
    static psc_model *model;
    psc_error error = {0};
    if (!model && psc_model_open(&model, fuzz_model_folder(), &error) != PSC_OK)
        fuzz_expect(0, error.message);
    return model;
}

psc_session *fuzz_session(int accumulate) {
    psc_session *session = NULL;
    psc_error error = {0};
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = FUZZ_CONTEXT;
    options.accumulate = accumulate;
    if (psc_session_open(&session, fuzz_model(), &options, &error) != PSC_OK)
        fuzz_expect(0, error.message);
    return session;
}

psc_status fuzz_run(psc_session *session, int32_t n, psc_error *error) {
    psc_token tokens[FUZZ_CONTEXT];
    for (int32_t i = 0; i < n; i++) tokens[i] = (psc_token){.id = i == 0 ? 0 : 33 + i};
    const psc_input input = {0, n, tokens};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, NULL, error);
}
