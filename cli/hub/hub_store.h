/* Where files go: the Hugging Face cache, or a plain folder.
 * Private to cli/hub/ and cli/verbs/run_pull.c. Includes hub_listing.h.
 * Threads: main thread only; several processes may store the same files.
 * Ownership: nothing is kept open. */
#ifndef HUB_STORE_H
#define HUB_STORE_H

#include "hub_listing.h"

typedef struct hub_store {
    char root[4096];  /* ".../models--OWNER--NAME", or the folder of --to */
    bool is_plain;    /* files of their own names, no links */
    bool has_folders; /* plain: a folder per revision */
} hub_store;

/* The places of one file. */
typedef struct hub_target {
    char whole[4608];   /* gets its name when the file is complete and checked */
    char partial[4608]; /* what has arrived; kept for the next command */
    char lock[4608];    /* "": the partial file itself is locked */
} hub_target;

/* The folder in which a model's own files end up. */
void hub_store_folder(char *out, size_t size, const hub_store *store, const hub_listing *listing);
/* Makes the folders for a listing. */
psc_status hub_store_prepare(const hub_store *store, const hub_listing *listing, psc_error *error);
psc_status hub_store_target(hub_target *out, const hub_store *store, const hub_listing *listing,
    const hub_file *file, psc_error *error);
/* Whether the whole file is there: in the cache by its size, in a plain folder by its hash. */
bool hub_store_has(const hub_store *store, const hub_target *target, const hub_file *file);
/* Whether nothing is left to do for a file. */
bool hub_store_is_done(const hub_store *store, const hub_listing *listing, const hub_file *file);
/* For a file that is not done: refuses a plain folder that has another under its name. */
psc_status hub_store_check_name(
    const hub_store *store, const hub_listing *listing, const hub_file *file, psc_error *error);
/* Refuses a plain folder with a file of a model that the listing lacks: it would be taken for
 * one of this revision. */
psc_status hub_store_check_others(
    const hub_store *store, const hub_listing *listing, psc_error *error);
/* Links the snapshot's name to the whole file. */
psc_status hub_store_link(
    const hub_store *store, const hub_listing *listing, const hub_file *file, psc_error *error);
/* Writes refs/REVISION once all files are there. */
psc_status hub_store_finish(const hub_store *store, const hub_listing *listing, psc_error *error);
/* Refuses if the disk has less room than `needed` bytes and a reserve. */
psc_status hub_store_check_room(const hub_store *store, int64_t needed, psc_error *error);
/* "cannot write <path>: <reason of errno>", and what to do. */
psc_status hub_store_say(const hub_store *store, const char *path, psc_error *error);

#endif
