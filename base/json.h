/* What jansson 2.14 leaves to its caller when memory runs out.
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

/* Why json_loads or json_loadb gave null: without memory it sets no sentence. */
static inline bool psc_json_no_memory(const json_error_t *why) {
    return !why->text[0];
}

#endif
