/* The folder of packed weights as an open descriptor, and what in it can be believed.
 * Private to runtime/. Includes psc_error.h only.
 * Threads: reentrant; any number of processes may use one folder at once.
 * Ownership: the caller closes places, partial files and descriptors. */
#ifndef WEIGHTS_CACHE_PLACE_H
#define WEIGHTS_CACHE_PLACE_H

#include "psc_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Trust: folder, images and records must belong to the effective user or to root, and neither group
 * nor others may write to them. Each is opened first, following no link, and then examined through
 * the descriptor from which it is read. So nothing can change between the check and the use. Root's
 * own are believed because root can do all this without a cache: a machine's administrator may
 * offer a folder that others only read. */
typedef struct psc_cache_place {
    char *path; /* for sentences; null: closed */
    int fd;
} psc_cache_place;

/* PSC_ERROR_INPUT: the folder is there and cannot be trusted; the sentence says why. With `make` a
 * missing folder is made with its parents, for this user alone; without, *missing is set. A folder
 * is never made in one that belongs to another user, such as another's home. */
psc_status psc_cache_place_open(
    psc_cache_place *out, bool *missing, const char *dir, bool make, psc_error *error);
/* Does nothing for a closed place. */
void psc_cache_place_close(psc_cache_place *place);

/* Opens a regular file of the folder for reading, if it can be trusted; -1 after setting error, and
 * errno to 0 if it cannot be trusted. */
int psc_cache_place_read(
    struct stat *info, const psc_cache_place *place, const char *name, psc_error *error);
/* The whole file, of at most cap bytes, and a 0 byte; null if it cannot be read or
 * trusted, or is not there. *failed: errno of a file that could not be read, or 0. The
 * caller frees it by free(). */
char *psc_cache_place_text(
    size_t *size, int *failed, const psc_cache_place *place, const char *name, size_t cap);

/* A file in the making: making-<pid>-<n>.partial, readable by this user alone, locked by its maker.
 * Several processes may make the same file: each makes its own, and the last rename wins. */
typedef struct psc_cache_partial {
    const psc_cache_place *place;
    char name[48]; /* "" after the rename */
    int fd;        /* -1: closed */
} psc_cache_partial;

psc_status psc_cache_partial_open(
    psc_cache_partial *out, const psc_cache_place *place, psc_error *error);
/* Writes all of size bytes at offset `at`; nonzero on failure. */
int psc_cache_partial_put(
    const psc_cache_partial *partial, const void *data, size_t size, uint64_t at);
/* Sets the mode, syncs the file and gives it its name; nonzero on failure. */
int psc_cache_partial_rename(psc_cache_partial *partial, const char *name, mode_t mode);
/* Removes the file unless it was renamed. Does nothing if closed. */
void psc_cache_partial_close(psc_cache_partial *partial);
/* Removes an incomplete file whose maker ended. */
void psc_cache_remove_abandoned(const psc_cache_place *place, const char *name);

#endif
