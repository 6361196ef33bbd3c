/* config.json and generation_config.json, separated. A config that fits the tiny model's weights
 * opens them and runs two tokens. */
#include "config.h"
#include "fuzz.h"

#include <stdio.h>
#include <unistd.h>

static void link_weights(void) {
    char from[4096], name[64];
    for (int i = 1; i <= 3; i++) {
        snprintf(from, sizeof from, "%s/model-%05d-of-00003.safetensors", fuzz_model_folder(), i);
        snprintf(name, sizeof name, "config/model-%05d-of-00003.safetensors", i);
        fuzz_expect(symlink(from, fuzz_path(name)) == 0, "cannot link the weights");
    }
    snprintf(from, sizeof from, "%s/model.safetensors.index.json", fuzz_model_folder());
    fuzz_expect(symlink(from, fuzz_path("config/model.safetensors.index.json")) == 0, "no link");
}

static void run(psc_model *model) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_error error = {0};
    const psc_token tokens[2] = {{.id = 0}, {.id = 1}};
    const psc_input input = {0, 2, tokens};
    options.threads = 1;
    options.capacity = 2;
    psc_status status = psc_session_open(&session, model, &options, &error);
    fuzz_check(status, &error);
    if (!status) fuzz_check(psc_session_run(session, &input, 1, NULL, &error), &error);
    psc_session_close(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int made;
    fuzz_bytes rest = {data, size};
    psc_config config;
    psc_error error = {0};
    psc_model *model = NULL;
    fuzz_make_folder("config");
    if (!made++) link_weights();
    fuzz_put("config/config.json", fuzz_part(&rest));
    fuzz_put_if("config/generation_config.json", rest);
    psc_status status = psc_config_read(&config, fuzz_path("config"), &error);
    fuzz_check(status, &error);
    if (status) return 0;
    fuzz_expect(config.n_heads > 0 && config.d_head * config.n_heads == config.d_model, "heads");
    fuzz_expect(config.rotary_dims <= config.d_head && config.rotary_dims % 2 == 0, "rotary");
    fuzz_expect(config.n_ends <= PSC_MAX_EOS && config.n_eos <= PSC_MAX_EOS, "ends");
    fuzz_check(psc_model_open(&model, fuzz_path("config"), &error), &error);
    if (model) run(model);
    psc_model_close(&model);
    return 0;
}
