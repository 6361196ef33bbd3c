/* A line of a JSONL file as others write it, with numbers that JSON or a 64-bit parser has not.
 * Private to base/, runtime/, report/ and tests/.
 * Threads: reentrant.
 * Ownership: the caller releases the value by json_decref. */
#ifndef JSONL_H
#define JSONL_H

#include <jansson.h>
#include <stddef.h>

/* The line's value; null after filling *why, whose text is empty without memory. flags: of
 * psc_json_load. Python's NaN, Infinity and -Infinity and numbers out of range are read as the real
 * number 0.0; the line is changed for that. Texts keep every byte. */
json_t *psc_json_line(char *line, size_t n, size_t flags, json_error_t *why);
/* "is not UTF-8" and the like, for faults of characters; null for others. The text is static. */
const char *psc_json_line_fault(const json_error_t *why);

#endif
