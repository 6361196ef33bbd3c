/* Reads options of the kind TEXT whose value is a position or a range of positions. The host reads
 * all other kinds. */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads a decimal position; null if text does not start with one or it exceeds every position. */
static const char *parse_position(const char *text, int32_t *out) {
    int64_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
        if (value >= INT32_MAX) return NULL;
    }
    *out = (int32_t)value;
    return p == text ? NULL : p;
}

int psc_option_position(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t end, int32_t *out) {
    const char *rest = parse_position(value, out);
    if (rest && !*rest && *out < end) return 0;
    return host->fail(context, "%s=%.40s is not a whole number in 0..%d", key, value, (int)end - 1);
}

int psc_option_positions(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t *begin, int32_t *end) {
    int32_t last = 0;
    const char *rest = parse_position(value, begin);
    last = *begin;
    if (rest && *rest == '-') rest = parse_position(rest + 1, &last);
    *end = last + 1;
    if (rest && !*rest && last >= *begin) return 0;
    return host->fail(
        context, "%s=%.40s is not all, or positions A or A-B (both included)", key, value);
}

void psc_rows_text(char *out, size_t size, const psc_filter *choice) {
    const int begin = choice->row_begin, last = choice->row_end - 1;
    if (choice->rows != PSC_ROWS_RANGE)
        snprintf(out, size, choice->rows == PSC_ROWS_ALL ? "all" : "last");
    else if (begin == last)
        snprintf(out, size, "%d", begin);
    else
        snprintf(out, size, "%d-%d", begin, last);
}
