/* Reads JSON step by step, for lists of edges: nothing is kept, nothing is allocated.
 * Private to analysis/circuit/. Includes nothing of ours.
 * Threads: one at a time per text.
 * Ownership: the caller owns the text, which a 0 byte ends. */
#ifndef CIRCUIT_JSON_H
#define CIRCUIT_JSON_H

#include <stddef.h>

typedef struct circuit_json {
    const char *at;
    int line; /* from 1 */
    int bad;  /* what was read so far is not JSON; all further calls return 0 */
} circuit_json;

/* Whether the next value begins with c: [ { " t f n, a digit or -. */
int circuit_json_next(circuit_json *json, char c);
/* Steps over c, if it is next. */
int circuit_json_take(circuit_json *json, char c);
/* A string: out receives at most size - 1 bytes of it, with a 0; a longer one ends in "...". */
int circuit_json_string(circuit_json *json, char *out, size_t size);
/* The key of an entry of an object, and its colon. */
int circuit_json_key(circuit_json *json, char *out, size_t size);
/* A number. */
int circuit_json_number(circuit_json *json, double *out);
/* true, false or null; *out is 1 for true. */
int circuit_json_word(circuit_json *json, int *out);
/* Any value, at most 64 deep. */
int circuit_json_skip(circuit_json *json);
/* After an entry of a list that `close` ends: 1 if another one follows, else 0. */
int circuit_json_more(circuit_json *json, char close);

#endif
