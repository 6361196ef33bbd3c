/* Error messages: formatted once, cleaned of control characters and broken UTF-8. */
#include "psc_error.h"

#include <stdio.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at s, or 0 (overlong forms and surrogates are not valid). */
static size_t utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7f;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0;
    if (s[0] == 0xed && s[1] > 0x9f) return 0;
    if (s[0] == 0xf0 && s[1] < 0x90) return 0;
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0;
    return n;
}

static void clean(char *text) {
    for (unsigned char *s = (unsigned char *)text; *s;) {
        size_t n = utf8_length(s);
        if (n == 0) {
            *s = '?';
            n = 1;
        }
        s += n;
    }
}

psc_status psc_fail_va(psc_error *error, psc_status status, const char *format, va_list arguments) {
    if (!error) return status;
    error->status = status;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    clean(error->message);
    return status;
}

psc_status psc_fail(psc_error *error, psc_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    psc_fail_va(error, status, format, arguments);
    va_end(arguments);
    return status;
}

psc_status psc_error_prefix(psc_error *error, psc_status status, const char *prefix) {
    if (!error) return status;
    char old[sizeof error->message];
    memcpy(old, error->message, sizeof old);
    return psc_fail(error, status, "%s: %s", prefix, old);
}
