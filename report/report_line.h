/* A line of a JSONL file for the program, over base/jsonl.h.
 * Private to report/ and cli/.
 * Threads: reentrant.
 * Ownership: the caller releases the value by json_decref. */
#ifndef REPORT_LINE_H
#define REPORT_LINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* The room for psc_report_line's fault. */
#define PSC_REPORT_FAULT (JSON_ERROR_TEXT_LENGTH + 40)

/* The object of a line, read as a corpus reads it, but with each key once; null after filling fault
 * with what follows the line's place: "is not UTF-8". The line may be changed. */
json_t *psc_report_line(char *line, size_t n, char fault[PSC_REPORT_FAULT]);

/* Whether a text has a 0 byte, which a C string cannot have. */
static inline bool psc_report_line_has_zero(const json_t *text) {
    return json_string_length(text) != strlen(json_string_value(text));
}

#endif
