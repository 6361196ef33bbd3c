/* Error messages: formatted once, with dangerous characters and broken UTF-8 escaped. Text that was
 * escaped before stays as it is. */
#include "psc_error.h"

#include "utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Escapes text, which may end within a character when it was cut. */
static void escape(char *out, size_t size, const char *text, bool is_cut) {
    const char *from = text, *end = text + strlen(text);
    char shown[PSC_UTF8_SHOWN];
    uint32_t c;
    size_t done = 0;
    while (from < end) {
        if (is_cut && psc_utf8_next(&c, from, (size_t)(end - from)) == 0) break;
        from += psc_utf8_show(shown, from, (size_t)(end - from));
        const size_t n = strlen(shown);
        if (n >= size - done) break;
        memcpy(out + done, shown, n);
        done += n;
    }
    out[done] = 0;
}

psc_status psc_fail_va(psc_error *error, psc_status status, const char *format, va_list arguments) {
    if (!error) return status;
    error->status = status;
    if (!format) format = "no reason was given";
    char raw[sizeof error->message];
    const int n = vsnprintf(raw, sizeof raw, format, arguments);
    if (n < 0) raw[0] = 0;
    escape(error->message, sizeof error->message, raw, n >= (int)sizeof raw);
    return status;
}

psc_status(psc_fail)(psc_error *error, psc_status status, const char *format, ...) {
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
