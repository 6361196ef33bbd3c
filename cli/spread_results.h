/* Results as a message to another process: the bytes of a written folder.
 * Private to cli/. Includes setup.h.
 * Threads: main thread only.
 * Ownership: the caller frees bytes by free() and closes results. */
#ifndef SPREAD_RESULTS_H
#define SPREAD_RESULTS_H

#include "setup.h"

psc_status cli_results_pack(
    char **bytes, size_t *n, const cli_delivery *how, const psc_results *results, psc_error *error);
psc_status cli_results_unpack(
    cli_delivery *how, psc_results **results, const char *bytes, size_t n, psc_error *error);

#endif
