/* All files of all revisions, several at a time, under one progress bar.
 * Private to cli/hub/ and cli/verbs/run_pull.c. Includes hub_store.h.
 * Threads: main thread only.
 * Ownership: the caller owns the listings. */
#ifndef HUB_DOWNLOAD_H
#define HUB_DOWNLOAD_H

#include "hub_store.h"

/* Called in the order of the listings, when all files of a revision are there. loaded: bytes that
 * this command downloaded of it. */
typedef void (*hub_whole_fn)(
    const hub_store *store, const hub_listing *listing, int64_t loaded, void *payload);

/* Downloads what is missing, in the order of the listings. Checks the room on the disk first. After
 * a failure or Ctrl-C the partial files stay, and the next command continues them. */
psc_status hub_download(const hub_settings *settings, const hub_store *store,
    const char *repository, const hub_listing *listings, int32_t n, hub_whole_fn whole,
    void *payload, psc_error *error);
/* From here on Ctrl-C, SIGTERM and SIGHUP end the work soon; a second one ends the program. */
void hub_catch_signals(void);

#endif
