/* What the hub has of a model: its revisions, and the files of one with sizes and hashes.
 * Private to cli/hub/ and cli/verbs/run_pull.c. Includes hub_settings.h.
 * Threads: main thread only.
 * Ownership: hub_listing_close and hub_revisions_close free what a listing holds. */
#ifndef HUB_LISTING_H
#define HUB_LISTING_H

#include "hub_settings.h"

#include <stdint.h>

typedef struct hub_file {
    char name[136]; /* of letters, digits, '.', '_' and '-' */
    char hash[65];  /* SHA-256 of the bytes; of small files git's SHA-1 of the blob */
    bool is_large;  /* hash is the SHA-256 */
    int64_t size;
} hub_file;

/* The files that a model needs, of one commit. */
typedef struct hub_listing {
    char revision[128];
    char commit[65];
    char subject[320]; /* "EleutherAI/pythia-160m@step3000", for sentences */
    hub_file *files;
    int32_t n;
} hub_listing;

/* Asks the hub for a revision's files and chooses those that a model needs. PSC_ERROR_IO for a
 * model or revision that is not there, PSC_ERROR_SUPPORT for a model of another kind. */
psc_status hub_listing_get(hub_listing *out, const hub_settings *settings, const char *repository,
    const char *revision, psc_error *error);
void hub_listing_close(hub_listing *listing);
/* Whether a file of this name would be read as part of a model. */
bool hub_listing_may_have(const char *name);

/* The number of a training step's revision, "step3000", at most LLONG_MAX; -1 for another one. */
long long hub_step(const char *revision);

/* Branches and tags, training steps first in ascending order. */
typedef struct hub_revisions {
    char **names;
    int32_t n, n_steps;
} hub_revisions;
psc_status hub_revisions_get(
    hub_revisions *out, const hub_settings *settings, const char *repository, psc_error *error);
void hub_revisions_close(hub_revisions *revisions);

#endif
