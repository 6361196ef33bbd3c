/* Runs of a plugin that calls the host at the beginning and at the end of a run.
 * Private to tests/: test_host.c and test_host_math.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: that of plugin_fixture.h, whose session runs. */
#ifndef HOST_FIXTURE_H
#define HOST_FIXTURE_H

#include "plugin_fixture.h"

static psc_context *context;
static int (*at_end)(void);
static int (*at_begin)(void);

static inline int host_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    return 0;
}

static inline int host_begin(psc_context *given, void *state) {
    (void)given, (void)state;
    return at_begin ? at_begin() : 0;
}

static inline int host_end(psc_context *given, void *state, int status) {
    (void)given, (void)state;
    return status == 0 && at_end ? at_end() : 0;
}

/* One run of ten rows with begin and end called from run_begin and run_end. */
static inline psc_status run_with(int (*begin)(void), int (*end)(void)) {
    at_begin = begin;
    at_end = end;
    if (!host) {
        bridge->open = host_open;
        bridge->run_begin = host_begin;
        bridge->run_end = host_end;
        must_load(PLUGIN("bridge"), NULL);
    }
    return run_ten();
}

/* A captured array of the current run. */
static inline const float *captured(const char *name) {
    return must_array(name).data;
}

#endif
