/* Text on a terminal: its width in columns, cutting, wrapping.
 * Private to report/ and tests/.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef TERMINAL_TEXT_H
#define TERMINAL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Columns that text takes; broken UTF-8 counts one per byte. */
int psc_text_columns(const char *text);
/* Prints text in a field of `columns`, cut with an ellipsis or padded on the right. */
void psc_text_field(FILE *out, const char *text, int columns);
/* Prints text wrapped at spaces to `width` columns, every line indented by `indent`. A token in
 * quotes stays on one line, and so do "@22 ' the'", "' the' 0.1", "p = 0.1", "3 %". */
void psc_text_wrap(FILE *out, const char *text, int indent, int width);
/* The same, behind what the line has up to `column`; only further lines are indented. */
void psc_text_continue(FILE *out, const char *text, int column, int indent, int width);
/* 4129 as "4,129". Returns out. */
const char *psc_text_commas(int64_t number, char out[32]);

#endif
