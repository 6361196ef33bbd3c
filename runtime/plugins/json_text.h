/* Texts of any bytes as JSON values; broken UTF-8 becomes U+FFFD.
 * Private to runtime/.
 * Threads: reentrant.
 * Ownership: the caller gets a new reference. */
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

/* A JSON string; a null text becomes "". Null without memory. */
static inline json_t *psc_json_text(const char *text) {
    char *clean = psc_text_cleaned(text ? text : "", text ? strlen(text) : 0);
    json_t *value = clean ? json_string(clean) : NULL;
    free(clean);
    return value;
}

#endif
