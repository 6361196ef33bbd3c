/* JSON: psc_json_load must give what jansson's json_loadb gives, values and sentences alike, with
 * every choice of flags; a line of JSONL must load or name its fault. */
#include "fuzz.h"
#include "json.h"
#include "jsonl.h"

#include <string.h>

static void compare(const char *text, size_t n, size_t flags) {
    json_error_t ours, theirs;
    json_t *a = psc_json_load(text, n, flags, &ours), *b = json_loadb(text, n, flags, &theirs);
    fuzz_expect(!a == !b, "jansson takes it and the own loader does not, or the reverse");
    if (a) {
        char *x = json_dumps(a, JSON_COMPACT), *y = json_dumps(b, JSON_COMPACT);
        fuzz_expect(json_equal(a, b), "other values than jansson's");
        fuzz_expect(x && y && strcmp(x, y) == 0, "other texts than jansson's");
        free(x);
        free(y);
    } else if (!strstr(theirs.text, "invalid escape near")) { /* it may show half of a character */
        fuzz_expect(strcmp(ours.text, theirs.text) == 0, "another sentence than jansson's");
        fuzz_expect(json_error_code(&ours) == json_error_code(&theirs), "another code");
        fuzz_expect(ours.line == theirs.line && ours.column == theirs.column, "another place");
    }
    json_decref(a);
    json_decref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t kinds[] = {JSON_REJECT_DUPLICATES, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
        0, JSON_DECODE_INT_AS_REAL};
    json_error_t why;
    char *line = fuzz_text((fuzz_bytes){data, size});
    if (!memchr(line, 0, size)) /* jansson passes over a 0 byte that follows a number */
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) compare(line, size, kinds[i]);
    else
        json_decref(psc_json_load(line, size, JSON_ALLOW_NUL, &why));
    json_t *value = psc_json_line(line, size, JSON_REJECT_DUPLICATES, &why);
    fuzz_expect(value || why.text[0], "a line without a value or a fault");
    if (!value) (void)psc_json_line_fault(&why);
    json_decref(value);
    free(line);
    return 0;
}
