/* The golden model sharded_padded_f16: 3 layers, 2 heads, 16 dimensions, a tokenizer over bytes. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

const char *fuzz_dictionary(void) {
    static const char config[] =
        "{\"d_in\":16,\"d_sae\":4,\"hook_name\":\"blocks.1.hook_resid_post\"}";
    static const char header[] =
        "{\"W_enc\":{\"dtype\":\"F32\",\"shape\":[16,4],\"data_offsets\":"
        "[0,256]},\"W_dec\":{\"dtype\":\"F32\",\"shape\":[4,16],"
        "\"data_offsets\":[256,512]},\"b_enc\":{\"dtype\":\"F32\",\"shape\":"
        "[4],\"data_offsets\":[512,528]},\"b_dec\":{\"dtype\":\"F32\","
        "\"shape\":[16],\"data_offsets\":[528,592]}}\f\f";
    static uint8_t file[sizeof header - 1 + 148 * sizeof(float)];
    if (file[0]) return fuzz_path("dictionary");
    memcpy(file, header, sizeof header - 1);
    for (int i = 0; i < 148; i++) {
        const float value = (float)(i % 9 - 4) / 8;
        memcpy(file + sizeof header - 1 + i * sizeof value, &value, sizeof value);
    }
    fuzz_make_folder("dictionary");
    fuzz_put("dictionary/cfg.json", (fuzz_bytes){(const uint8_t *)config, sizeof config - 1});
    fuzz_put_tensors("dictionary/sae_weights.safetensors", (fuzz_bytes){file, sizeof file});
    return fuzz_path("dictionary");
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
