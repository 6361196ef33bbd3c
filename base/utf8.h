/* UTF-8, and the characters that must not reach a terminal, a log or a page as they are.
 * Private to base/, runtime/, report/ and tests/. Includes nothing of ours.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character that text (bytes > 0) begins with, by Unicode's table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF. Returns its length and sets *c.
 *    0: text ends within a character, all of it (at most 3 bytes) could begin one
 *   -n: the first n bytes (1 to 3) cannot be completed to a character; Unicode replaces them by one
 *       U+FFFD */
int psc_utf8_next(uint32_t *c, const char *text, size_t bytes);
/* The character that text, which is valid UTF-8 and not empty, begins with. */
uint32_t psc_utf8_decode(size_t *length, const char *text);
/* The number of leading bytes that are whole characters. */
size_t psc_utf8_valid(const char *text, size_t bytes);

/* A byte that is not the first of its character. */
static inline bool psc_utf8_is_inner(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Controls, and characters that are invisible or reorder the text around them (utf8.c). */
bool psc_utf8_is_dangerous(uint32_t c);
/* Columns of a terminal that c takes: 0, 1 or 2, by Unicode's East Asian width, not the locale. */
int psc_utf8_columns(uint32_t c);

/* Room for one shown character and a 0. */
enum { PSC_UTF8_SHOWN = 12 };
/* Writes the character that text (bytes > 0) begins with and a 0 into out: as it is, or when it is
 * dangerous as \n, \t, \r, \x1b, \u{202e}, or a byte that is not UTF-8 as \xff. Returns the bytes
 * of text that this shows. */
size_t psc_utf8_show(char out[PSC_UTF8_SHOWN], const char *text, size_t bytes);

#endif
