/* The handshake with a plugin: what a psc_plugin must hold before anything in it is called.
 * Private to hooks/, runtime/ and tests/. psc_plugin_load is declared in psc_hooks.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef LOADER_H
#define LOADER_H

#include "psc_hooks.h"

/* Most options that one plugin may describe. */
#define PSC_MAX_OPTIONS 256

/* Checks ABI, struct_size, names and option descriptions; origin (a path or "built-in") stands in
 * the message. PSC_ERROR_PLUGIN when something is wrong. */
psc_status psc_plugin_check(const psc_plugin *plugin, const char *origin, psc_error *error);

#endif
