/* JSON for the program, over base/json.h and base/jsonl.h.
 * Private to report/ and cli/.
 * Threads: reentrant.
 * Ownership: the caller releases a value by json_decref, a text by free(). */
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

/* The value of n bytes; null after filling *why, whose text is empty without memory. */
json_t *psc_report_value(const char *text, size_t n, json_error_t *why);
/* The text of an array or object, without spaces; null without memory. */
char *psc_report_value_text(const json_t *value);

/* Whether a text has a 0 byte, which a C string cannot have. */
static inline bool psc_report_line_has_zero(const json_t *text) {
    return json_string_length(text) != strlen(json_string_value(text));
}

#endif
