/* UTF-8, and the characters that must not reach a terminal, a log or a page unescaped.
 * Private to base/, runtime/, report/ and tests/. Includes nothing of ours.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first character of text (bytes > 0), by Unicode's table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF. Returns its length and sets *c. Otherwise returns
 *    0: text is an incomplete character (at most 3 bytes)
 *   -n: the first n bytes (1 to 3) cannot be completed to a character; Unicode replaces them by one
 *       U+FFFD */
int psc_utf8_next(uint32_t *c, const char *text, size_t bytes);
/* The first character of text, which must be valid UTF-8 and not empty. */
uint32_t psc_utf8_decode(size_t *length, const char *text);
/* The number of leading bytes that are whole characters. */
size_t psc_utf8_valid(const char *text, size_t bytes);

/* True for a byte that is not the first of its character. */
static inline bool psc_utf8_is_inner(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* True for controls, and for characters that are invisible or reorder text around them (utf8.c). */
bool psc_utf8_is_dangerous(uint32_t c);
/* The terminal columns of c: 0, 1 or 2, by Unicode's East Asian width, not the locale. */
int psc_utf8_columns(uint32_t c);

/* Room for one shown character and a 0. */
enum { PSC_UTF8_SHOWN = 12 };
/* Writes the first character of text (bytes > 0) and a 0 to out: unchanged, or when it is dangerous
 * as \n, \t, \r, \x1b, \u{202e}, or a byte that is not UTF-8 as \xff. Returns how many bytes of
 * text this shows. */
size_t psc_utf8_show(char out[PSC_UTF8_SHOWN], const char *text, size_t bytes);

#endif
