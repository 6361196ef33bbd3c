/* JSON onto a stream, laid out to be read: a member per line, values of a list on wrapped lines.
 * Private to report/; jansson gives values their text.
 * Threads: reentrant.
 * Ownership: a writer borrows its stream; values are taken over. */
#ifndef JSON_WRITER_H
#define JSON_WRITER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct psc_json {
    FILE *out;
    int depth;        /* of the object that is open */
    bool first;       /* it has no member yet */
    bool no_memory;   /* then what was written is no JSON */
    bool one_line;    /* the list that is open */
    int64_t n_listed; /* its values so far */
    size_t column;
    char *text; /* of one value */
    size_t room;
} psc_json;

/* Frees the writer's memory; false when memory ran out. The stream's errors are the stream's. */
bool psc_json_close(psc_json *json);

/* The members of an object stand between open and close; key null: the whole document. */
void psc_json_object(psc_json *json, const char *key);
void psc_json_end(psc_json *json);
/* A member whose value is a scalar, on one line. value null: memory ran out. */
void psc_json_member(psc_json *json, const char *key, json_t *value);
/* A member that is a list of n scalars, given one by one and ended by psc_json_list_end; up to
 * eight stand on one line. */
void psc_json_list(psc_json *json, const char *key, int64_t n);
void psc_json_listed(psc_json *json, json_t *value);
void psc_json_list_end(psc_json *json);
/* The same for objects, one per line; a list without any is psc_json_list's. */
void psc_json_object_listed(psc_json *json, json_t *value);
void psc_json_objects_end(psc_json *json);

/* A JSON string of any bytes: each that is not UTF-8 becomes U+FFFD. */
json_t *psc_json_bytes(const char *bytes, size_t n);
json_t *psc_json_string(const char *text);
/* A JSON number, or null where value is not finite. */
json_t *psc_json_real(double value);

#endif
