/* How the hub is reached: the endpoint, the token, and the environment's other variables.
 * Private to cli/hub/ and cli/verbs/run_pull.c. Includes psc_error.h.
 * Threads: main thread only.
 * Ownership: hub_settings_close frees the token. */
#ifndef HUB_SETTINGS_H
#define HUB_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "psc_error.h"

typedef struct hub_settings {
    char endpoint[512];      /* "https://huggingface.co", without a final slash */
    char host[256];          /* of the endpoint, for sentences */
    char *token;             /* sent to the endpoint only, and never printed; null: none */
    char token_from[4096];   /* "HF_TOKEN", or a file; "": no token was found */
    char certificates[4096]; /* a file; "": the system's */
    long patience;           /* seconds without data after which a connection counts as cut */
    bool offline;            /* the user wants no network */
} hub_settings;

/* Reads HF_ENDPOINT, HF_TOKEN and the like. PSC_ERROR_INPUT for a value that cannot be used. */
psc_status hub_settings_read(hub_settings *out, psc_error *error);
void hub_settings_close(hub_settings *settings);

/* --- URLs ------------------------------------------------------------------------------------ */

/* Whether two URLs have the same scheme, host and port. */
bool hub_same_origin(const char *a, const char *b);
/* Whether url is https, or http to this machine itself. */
bool hub_is_private(const char *url);
/* Whether a request may go from one URL to another: https stays https. */
bool hub_may_follow(const char *from, const char *to);
/* The host of a URL, for sentences; "the hub" if it has none. */
void hub_host_of(char *out, size_t size, const char *url);

#endif
