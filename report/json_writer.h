/* JSON onto a stream, laid out for reading (one member per line, the values of a list wrapped), or
 * compact on one line, or inside an HTML page.
 * Private to report/; jansson formats the values.
 * Threads: reentrant.
 * Ownership: a writer borrows its stream; it takes over values. */
#ifndef JSON_WRITER_H
#define JSON_WRITER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct psc_json {
    FILE *out;
    bool compact;   /* everything on one line */
    bool page;      /* compact, without spaces; characters that mean something in markup, and those
                         that are invisible or reorder text, are escaped */
    int depth;      /* of the open object */
    bool first;     /* it has no member yet */
    bool no_memory; /* if so, the output is not valid JSON */
    bool one_line;  /* the open list */
    int64_t n_listed; /* its values so far */
    size_t column;
    size_t digits; /* of numbers; 0: 17 */
    char *text;    /* of one value */
    size_t room;
} psc_json;

/* Frees the writer's memory; false if memory ran out. The caller checks the stream for errors. */
bool psc_json_close(psc_json *json);

/* An object's members come between open and close; key null: the whole document. */
void psc_json_object(psc_json *json, const char *key);
void psc_json_end(psc_json *json);
/* An object in a list; psc_json_end ends it. */
void psc_json_object_in_list(psc_json *json, bool is_first);
/* A member whose text the caller writes onto the stream in between. It needs no escapes: base64. */
void psc_json_open_text(psc_json *json, const char *key);
void psc_json_close_text(psc_json *json);
/* A member with a scalar value, on one line. value null: memory ran out. */
void psc_json_member(psc_json *json, const char *key, json_t *value);
/* A number as people write it, 1e-5: with 15 digits if they give it back. */
void psc_json_written(psc_json *json, const char *key, double value);
/* A member that is a list of n scalars. psc_json_listed adds each; psc_json_list_end ends the list.
 * Up to eight values share one line. */
void psc_json_list(psc_json *json, const char *key, int64_t n);
void psc_json_listed(psc_json *json, json_t *value);
void psc_json_list_end(psc_json *json);
/* The same for objects and long texts, one per line: psc_json_list begins the list,
 * psc_json_objects_end ends it. */
void psc_json_object_listed(psc_json *json, json_t *value);
void psc_json_objects_end(psc_json *json);

/* Whether a page has c as \u0041. */
bool psc_json_escapes(uint32_t c);
/* A JSON string from any bytes; each byte that is not UTF-8 becomes U+FFFD. */
json_t *psc_json_bytes(const char *bytes, size_t n);
json_t *psc_json_string(const char *text);
/* A JSON number, or null if value is not finite. */
json_t *psc_json_real(double value);

#endif
