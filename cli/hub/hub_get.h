/* Small answers of the hub as JSON.
 * Private to cli/hub/. Includes hub_request.h.
 * Threads: main thread only.
 * Ownership: the caller frees *out by json_decref. */
#ifndef HUB_GET_H
#define HUB_GET_H

#include "hub_request.h"

#include <jansson.h>

/* GET of a path below the endpoint, again after faults that pass. no_revision (nullable): set where
 * the hub says that the model has no such revision; the call then fails without a sentence. */
psc_status hub_get_json(json_t **out, bool *no_revision, const hub_settings *settings,
    const char *path, const char *subject, psc_error *error);
/* Waits; returns early when the user interrupts. */
void hub_wait(long milliseconds);

#endif
