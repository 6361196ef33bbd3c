/* Error messages: formatted once, cleaned of dangerous characters and broken UTF-8. */
#include "psc_error.h"

#include "utf8.h"

#include <stdio.h>
#include <string.h>

/* Replaces each dangerous character, and each byte that is not UTF-8, by '?' in place. */
static void clean(char *text) {
    const char *from = text, *end = text + strlen(text);
    while (from < end) {
        uint32_t c;
        int n = psc_utf8_next(&c, from, (size_t)(end - from));
        size_t length = n > 0 ? (size_t)n : 1;
        if (n <= 0 || psc_utf8_is_dangerous(c))
            *text++ = '?';
        else
            for (size_t i = 0; i < length; i++) *text++ = from[i];
        from += length;
    }
    *text = 0;
}

psc_status psc_fail_va(psc_error *error, psc_status status, const char *format, va_list arguments) {
    if (!error) return status;
    error->status = status;
    if (!format) format = "no reason was given";
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
