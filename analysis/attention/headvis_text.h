/* JSON of HeadVis's files, put at the end of a text that grows.
 * Private to analysis/attention/ and tests/; built on psc_plugin.h alone.
 * Threads: one at a time per text.
 * Ownership: the caller frees a text's data by free(). */
#ifndef HEADVIS_TEXT_H
#define HEADVIS_TEXT_H

#include "attention_contexts.h"
#include "growing.h"

/* Adds n bytes as UTF-8: U+FFFD stands for what is not UTF-8, as decoders in Python have it, and
 * for a 0 byte, which databases refuse in a text. */
void headvis_add_clean(psc_growing *text, const char *bytes, size_t n);
/* The same as a JSON string. */
void headvis_put_string(psc_growing *text, const char *bytes, size_t n);
/* A number rounded to four decimals; null if it is not finite. */
void headvis_put_number(psc_growing *text, double value);
/* A whole number >= 0; units of 1/HEADVIS_UNIT as a number. */
void headvis_put_whole(psc_growing *text, int64_t value);
void headvis_put_units(psc_growing *text, int64_t units);
/* A token's own text, or #ID when it has none. */
void headvis_add_token(const headvis *v, psc_growing *text, int32_t token);
/* The file of that name in the folder; takes the text's data. Nonzero after an error. */
int headvis_put_file(const headvis *v, const char *name, psc_growing *text);

#endif
