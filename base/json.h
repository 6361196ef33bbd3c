/* What jansson 2.14 does not do by itself when memory runs out.
 * Private to base/, runtime/, report/ and tests/.
 * Threads: reentrant.
 * Ownership: the caller frees a text by free(). */
#ifndef JSON_H
#define JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>

/* The value's text; null without memory, or where value is null. json_dumps leaves a key out when
 * its buffer cannot grow. */
static inline char *psc_json_dump(const json_t *value, size_t flags) {
    const size_t size = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = size > 0 ? malloc(size + 1) : NULL;
    if (!text) return NULL;
    text[size] = 0;
    if (json_dumpb(value, text, size, flags) == size) return text;
    free(text);
    return NULL;
}

/* The value of n bytes of JSON; null after filling *why (which may be null) like json_loadb, which
 * must not be called: jansson 2.14 loses bytes of texts and numbers, or writes past its memory,
 * when the buffer of its lexer cannot grow. flags: JSON_REJECT_DUPLICATES, JSON_ALLOW_NUL,
 * JSON_DECODE_INT_AS_REAL. */
json_t *psc_json_load(const char *text, size_t n, size_t flags, json_error_t *why);

/* Why psc_json_load gave null: without memory *why has no sentence. */
static inline bool psc_json_no_memory(const json_error_t *why) {
    return !why->text[0];
}

#endif
