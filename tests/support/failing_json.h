/* jansson's memory: what it holds, how often it asks, and the request that fails.
 * Private to tests/.
 * Threads: none; Criterion runs each test in a process of its own.
 * Ownership: memory is malloc's, so that free() may free what jansson gave. */
#ifndef FAILING_JSON_H
#define FAILING_JSON_H

#include <jansson.h>
#include <stdlib.h>

static long json_held, json_requests, json_fails_at; /* 0: none fails */

static inline void *json_give(size_t bytes) {
    void *memory = ++json_requests == json_fails_at ? NULL : malloc(bytes);
    json_held += memory != NULL;
    return memory;
}

static inline void json_take_back(void *memory) {
    json_held -= memory != NULL;
    free(memory);
}

/* From here on requests are counted; the n-th fails. */
static inline void json_fail_at(long n) {
    json_set_alloc_funcs(json_give, json_take_back);
    json_requests = 0;
    json_fails_at = n;
}

#endif
