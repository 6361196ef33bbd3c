/* The loader of JSON beside jansson's own: one byte of flags, then the text. Both take or refuse it,
 * with the same value or for the same reason. A text with a 0 byte is only read: jansson passes over
 * one that follows a number. */
#include "fuzz.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t flags[] = {JSON_REJECT_DUPLICATES, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
        0, JSON_DECODE_INT_AS_REAL};
    fuzz_bytes rest = {data, size};
    json_error_t ours, theirs;
    const size_t how = flags[fuzz_byte(&rest) % 4];
    char *text = fuzz_text(rest);
    json_t *a = psc_json_load(text, rest.size, how, &ours);
    if (!memchr(text, 0, rest.size)) {
        json_t *b = json_loadb(text, rest.size, how, &theirs);
        if (!a != !b || (a && !json_equal(a, b))) abort();
        if (!a && json_error_code(&ours) != json_error_code(&theirs)) abort();
        json_decref(b);
    }
    json_decref(a);
    free(text);
    return 0;
}
