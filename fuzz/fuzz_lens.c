/* The folder of an affine lens: config.json and params.safetensors, separated. */
#include "fuzz.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    psc_error error = {0};
    psc_session *session = fuzz_session(0);
    fuzz_make_folder("lens");
    fuzz_put_if("lens/config.json", fuzz_part(&rest));
    fuzz_put_tensors("lens/params.safetensors", rest);
    const psc_option options[] = {{"lens", fuzz_path("lens")}, {"rows", "all"}};
    const psc_status status = psc_session_plugin_options(session, "lens", NULL, options, 2, &error);
    fuzz_check(status, &error);
    if (!status) fuzz_check(fuzz_run(session, 4, &error), &error);
    psc_session_close(&session);
    return 0;
}
