/* A sparse dictionary: a byte that names the layout, its cfg.json and its tensors, separated. */
#include "fuzz.h"

#include <stdio.h>

static const struct {
    const char *folder, *weights, *path; /* path: null: the folder */
} layouts[] = {
    {"saelens", "saelens/sae_weights.safetensors", NULL},
    {"layers.1", "layers.1/sae.safetensors", NULL},
    {"layers.1.mlp", "layers.1.mlp/sae.safetensors", NULL},
    {"layers.0.attention", "layers.0.attention/sae.safetensors", NULL},
    {"file", "file/layer_1.safetensors", "file/layer_1.safetensors"},
};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    psc_error error = {0};
    char config[100];
    const unsigned which = fuzz_byte(&rest) % N_LAYOUTS;
    psc_session *session = fuzz_session(0);
    fuzz_make_folder(layouts[which].folder);
    snprintf(config, sizeof config, "%s/cfg.json", layouts[which].folder);
    fuzz_put_if(config, fuzz_part(&rest));
    fuzz_put_tensors(layouts[which].weights, rest);
    const psc_option options[] = {
        {"path", fuzz_path(layouts[which].path ? layouts[which].path : layouts[which].folder)}};
    const psc_status status = psc_session_plugin_options(session, "sae", NULL, options, 1, &error);
    fuzz_check(status, &error);
    if (!status) fuzz_check(fuzz_run(session, 4, &error), &error);
    psc_session_close(&session);
    return 0;
}
