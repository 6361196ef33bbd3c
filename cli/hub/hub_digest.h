/* The two hashes of the hub: SHA-256 of large files, git's SHA-1 of small ones.
 * Private to cli/hub/. Includes hub_listing.h.
 * Threads: main thread only.
 * Ownership: hub_digest_close frees the state. */
#ifndef HUB_DIGEST_H
#define HUB_DIGEST_H

#include "hub_listing.h"

typedef struct hub_digest {
    void *state;
    bool failed;
} hub_digest;

/* Begins the hash of a file's bytes: SHA-256(bytes), or SHA-1("blob <size>" 0 bytes). */
psc_status hub_digest_open(hub_digest *out, const hub_file *file, psc_error *error);
void hub_digest_add(hub_digest *digest, const void *data, size_t size);
/* Whether the hash of all that was added is the file's. Frees the state. */
bool hub_digest_matches(hub_digest *digest, const hub_file *file);
void hub_digest_close(hub_digest *digest);
/* Adds the first `bytes` bytes of an open file, from its start. False after a read error, or when
 * the user interrupts. */
bool hub_digest_add_file(hub_digest *digest, int fd, int64_t bytes);

#endif
