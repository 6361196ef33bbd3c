/* A measurement as one line of JSON on standard output, which bench/extras.py reads.
 * Private to bench/.
 * Threads: main thread only.
 * Ownership: the object is taken over. */
#ifndef JSON_LINE_H
#define JSON_LINE_H

#include "bench.h"

#include <jansson.h>
#include <stdio.h>

/* Null: memory ran out, or a text is not UTF-8. */
static inline void bench_json_line(json_t *object) {
    if (!object || json_dumpf(object, stdout, JSON_REAL_PRECISION(9)) != 0)
        bench_fail("no JSON: no memory, or the model's path is not UTF-8");
    putchar('\n');
    json_decref(object);
}

/* The first n values; null without memory. */
static inline json_t *bench_json_values(const double *values, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n && list; i++)
        if (json_array_append_new(list, json_real(values[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

#endif
