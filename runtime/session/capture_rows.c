/* Rows of a capture: the text after "rows=", and the rows of a sequence that it names.
 *
 *   -1         the last row; a negative number counts from the end
 *   1+4+7      three rows
 *   2-5        rows 2 to 5
 *   all        every row */
#include "session.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 7 };

static psc_status bad(const char *name, const char *item, psc_error *error) {
    const size_t n = strcspn(item, "+");
    return psc_fail(error, PSC_ERROR_INPUT,
        "capture %.80s: rows '%.*s' must be a row such as 4 or -1, or a range such as 2-5; join "
        "several by +",
        name, (int)(n < 40 ? n : 40), item);
}

/* A number with at most MOST_DIGITS digits; returns their end, or null. */
static const char *number(int32_t *out, const char *text) {
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || n > MOST_DIGITS) return NULL;
    *out = (int32_t)strtol(text, NULL, 10);
    return text + n;
}

/* One item: rows first to last; returns its end, or null. */
static const char *item(int32_t *first, int32_t *last, const char *text) {
    const bool from_end = *text == '-';
    const char *end = number(first, text + from_end);
    *last = *first;
    if (!end) return NULL;
    if (from_end) {
        *first = *last = -*first;
        return *first == 0 ? NULL : end;
    }
    if (*end != '-') return end;
    end = number(last, end + 1);
    return end && *last >= *first ? end : NULL;
}

psc_status psc_capture_rows_parse(
    psc_capture_rows *out, const char *text, const char *name, psc_error *error) {
    *out = (psc_capture_rows){NULL, 0};
    if (strcmp(text, "all") == 0) return PSC_OK;
    int32_t *list = malloc(PSC_CAPTURE_ROWS * sizeof *list), n = 0, first = 0, last = 0;
    if (!list) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    for (;;) {
        const char *end = item(&first, &last, text);
        psc_status status = end && (*end == '+' || *end == 0) ? PSC_OK : bad(name, text, error);
        if (status == PSC_OK && (int64_t)last - first >= PSC_CAPTURE_ROWS - n)
            status = psc_fail(
                error, PSC_ERROR_INPUT, "capture %.80s: more than %d rows", name, PSC_CAPTURE_ROWS);
        if (status != PSC_OK) {
            free(list);
            return status;
        }
        while (first <= last) list[n++] = first++;
        if (*end == 0) break;
        text = end + 1;
    }
    int32_t *fitting = realloc(list, (size_t)n * sizeof *list);
    *out = (psc_capture_rows){fitting ? fitting : list, n};
    return PSC_OK;
}

static int ascending(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

psc_status psc_capture_rows_resolve(int32_t **out, int32_t *count, const psc_capture_rows *rows,
    bool joined, int32_t n, const char *name, psc_error *error) {
    psc_status status = PSC_OK;
    *count = rows->list ? rows->n : n;
    *out = malloc((size_t)*count * sizeof **out + 1);
    if (!*out) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    for (int32_t i = 0; i < *count; i++) {
        const int32_t row = rows->list ? rows->list[i] : i;
        (*out)[i] = row < 0 ? n + row : row;
        if ((*out)[i] >= 0 && (*out)[i] < n) continue;
        status = psc_fail(error, PSC_ERROR_INPUT,
            "capture %.80s: row %d does not exist; the text has rows 0 to %d", name, (int)row,
            (int)n - 1);
        break;
    }
    if (status == PSC_OK) qsort(*out, (size_t)*count, sizeof **out, ascending);
    int32_t kept = 0;
    for (int32_t i = 0; status == PSC_OK && i < *count; i++) {
        if (kept == 0 || (*out)[i] != (*out)[kept - 1])
            (*out)[kept++] = (*out)[i];
        else if (!joined)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "capture %.80s: row %d is named twice; name it once", name, (int)(*out)[i]);
    }
    *count = kept;
    if (status == PSC_OK) return PSC_OK;
    free(*out);
    *out = NULL;
    return status;
}
