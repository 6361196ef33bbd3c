/* The download of one file: resumed where an earlier one ended, checked before it gets its name.
 * Private to cli/hub/. Includes hub_digest.h, hub_request.h and hub_store.h.
 * Threads: main thread only; another process that downloads the same file is waited for.
 * Ownership: hub_transfer_close closes files and frees the rest; a partial file stays. */
#ifndef HUB_TRANSFER_H
#define HUB_TRANSFER_H

#include "hub_digest.h"
#include "hub_request.h"
#include "hub_store.h"

typedef struct hub_transfer {
    const hub_store *store;
    const hub_listing *listing;
    const hub_file *file;
    hub_target target;
    hub_request request;
    hub_digest digest;
    int fd, lock;      /* -1: not open */
    int64_t at;        /* bytes of the partial file, all in the digest */
    int64_t before;    /* at, when the last attempt that counts began */
    int64_t discarded; /* bytes of answers that are not the file */
    int resets;        /* attempts that began from nothing after a damaged file */
    int write_error;   /* errno of a failed write */
    bool is_locked;
    bool too_long, is_odd; /* more bytes than announced; another range than asked for */
} hub_transfer;

typedef enum hub_start {
    HUB_READY,  /* to be sent; at == size: nothing is missing but the check */
    HUB_BUSY,   /* another process downloads it: try later */
    HUB_HERE,   /* the file is there */
    HUB_BROKEN, /* error is set */
} hub_start;

hub_start hub_transfer_open(hub_transfer *out, const hub_settings *settings, const hub_store *store,
    const hub_listing *listing, const hub_file *file, const char *repository, psc_error *error);
/* Sets up the request for the bytes that are missing. */
psc_status hub_transfer_prepare(hub_transfer *transfer, psc_error *error);
/* After a sending: HUB_DONE when the file has its name. */
hub_verdict hub_transfer_judge(
    long *pause, hub_transfer *transfer, CURLcode code, psc_error *error);
/* Checks a file of which no byte is missing, and gives it its name. */
hub_verdict hub_transfer_finish(long *pause, hub_transfer *transfer, psc_error *error);
void hub_transfer_close(hub_transfer *transfer);

#endif
