/* Vectors from files: the editor and its place in one line, then a safetensors file, separated. "@"
 * in the line stands for the file: "steer embed:file=@,index=1". */
#include "fuzz.h"
#include "interventions.h"
#include "setup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    psc_error error = {0};
    size_t n = 0;
    const fuzz_bytes line = fuzz_part(&rest);
    if (line.size > 0 && memchr(line.data, '/', line.size)) return 0;
    psc_session *session = fuzz_session(0);
    const char *path = fuzz_put_tensors("vectors.safetensors", rest);
    char *text = fuzz_replace(&n, line, "@", path), *space = strchr(text, ' ');
    if (space) *space = 0;
    const char *place = space ? space + 1 : "";
    const psc_status status = cli_is_intervention(text)
                                  ? cli_intervention_add(session, text, place, &error)
                                  : cli_add_plugin(session, place, &error);
    fuzz_check(status, &error);
    if (!status) fuzz_check(fuzz_run(session, 4, &error), &error);
    psc_session_close(&session);
    free(text);
    return 0;
}
