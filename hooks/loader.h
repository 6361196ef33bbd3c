/* The handshake with a plugin: checks of a psc_plugin before the host calls anything in it.
 * Private to hooks/, runtime/ and tests/. psc_plugin_load is declared in psc_hooks.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef LOADER_H
#define LOADER_H

#include "psc_hooks.h"

/* Larger than any structure of this ABI may grow: a plugin that says so did not set it. */
#define PSC_MOST_STRUCTURE 4096
/* Most options that one plugin may describe. */
#define PSC_MAX_OPTIONS 256

/* Checks ABI, struct_size, names and option descriptions. The message names origin (a path or
 * "built-in"). PSC_ERROR_PLUGIN when something is wrong. */
psc_status psc_plugin_check(const psc_plugin *plugin, const char *origin, psc_error *error);

#endif
