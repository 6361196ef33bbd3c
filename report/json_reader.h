/* Members of JSON objects as typed values, checked: a wrong one gives a sentence with its place.
 * Private to report/. Includes psc_error.h only; jansson holds the values.
 * Threads: reentrant.
 * Ownership: everything read is borrowed from the document. */
#ifndef JSON_READER_H
#define JSON_READER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "psc_error.h"

/* An object of a document, and where it is. */
typedef struct psc_json_at {
    const char *path; /* of the file, for sentences */
    json_t *object;
    psc_error *error;
    char place[200]; /* "plugins.logits.", "" for the whole document */
} psc_json_at;

/* Sets the sentence "PATH: PLACEkey what" and returns PSC_ERROR_INPUT. */
psc_status psc_json_bad(const psc_json_at *at, const char *key, const char *what);
psc_status psc_json_no_room(const psc_json_at *at);
#ifdef __clang_analyzer__ /* as in psc_error.h */
#define psc_json_no_room(at) (psc_json_no_room(at), PSC_ERROR_MEMORY)
#endif

/* The members of that key; PSC_ERROR_INPUT if it is missing or of another kind. */
psc_status psc_json_enter(psc_json_at *out, const psc_json_at *at, const char *key);
psc_status psc_json_get_list(json_t **out, const psc_json_at *at, const char *key);
psc_status psc_json_get_integer(
    int64_t *out, const psc_json_at *at, const char *key, int64_t low, int64_t high);
/* 0 to INT32_MAX. */
psc_status psc_json_get_count(int32_t *out, const psc_json_at *at, const char *key);
/* null is NaN. */
psc_status psc_json_get_real(double *out, const psc_json_at *at, const char *key);
/* 0 or 1. */
psc_status psc_json_get_flag(int32_t *out, const psc_json_at *at, const char *key);
psc_status psc_json_get_text(const char **out, const psc_json_at *at, const char *key);

/* Whether value is a text without a 0 byte, which a C text cannot hold. */
bool psc_json_is_text(const json_t *value);
/* Whether value is a number or null, which is NaN. */
bool psc_json_is_real(const json_t *value);
double psc_json_real_of(const json_t *value);

#endif
