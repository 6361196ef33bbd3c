/* The tokens of a JSON text in memory, as jansson reads them, with jansson's own sentences.
 * Private to base/json*.c.
 * Threads: reentrant.
 * Ownership: the text belongs to the caller; psc_json_scan_free frees what the scanner holds. */
#ifndef JSON_SCAN_H
#define JSON_SCAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Tokens are {}[]:, themselves and these. */
enum {
    JSON_SCAN_END = 0,
    JSON_SCAN_INVALID = '?',
    JSON_SCAN_STRING = 's',
    JSON_SCAN_INTEGER = 'i',
    JSON_SCAN_REAL = 'r',
    JSON_SCAN_TRUE = 't',
    JSON_SCAN_FALSE = 'f',
    JSON_SCAN_NULL = 'n'
};

typedef struct psc_json_scan {
    const char *text; /* [n] */
    size_t n, flags;
    size_t start, at; /* the token is [start, at) */
    char token;
    char *bytes; /* [room] the string, decoded, and a 0 byte */
    size_t room, length;
    json_int_t integer;
    double real;
    bool no_memory;
    json_error_t *why; /* the first fault's sentence; "" before it */
} psc_json_scan;

void psc_json_scan_begin(
    psc_json_scan *scan, const char *text, size_t n, size_t flags, json_error_t *why);
/* Reads the next token. JSON_SCAN_INVALID: the fault is noted, unless it is the kind of token. */
void psc_json_scan_next(psc_json_scan *scan);
/* Notes the first fault, with its place and the token. */
void psc_json_scan_fault(psc_json_scan *scan, enum json_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void psc_json_scan_free(psc_json_scan *scan);

#endif
