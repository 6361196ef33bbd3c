/* A lock on a file that one process at a time reads, resumes from and writes: a corpus run's state.
 * Private to cli/.
 * Threads: the main thread.
 * Ownership: cli_lock_release frees what cli_lock_take made; so does the system when a process
 * dies. */
#ifndef LOCK_H
#define LOCK_H

#include "psc_error.h"

#include <stdbool.h>

typedef struct cli_lock {
    char *path; /* the lock's own file, PATH.lock; null: not locked */
    int file;
} cli_lock;

/* Fails if another process holds the lock of `path`, or if the lock file cannot be made: then the
 * file beside it could not be written either, or another user holds it. Where the file system has
 * no locks it succeeds without one and notes that. what, option: for sentences, such as "the state
 * file x" and "--state". */
psc_status cli_lock_take(
    cli_lock *out, const char *path, const char *what, const char *option, psc_error *error);
void cli_lock_release(cli_lock *lock);

/* The file behind `path`, whose links are followed: the one to lock and to replace. *exists: it is
 * there; only ENOENT means that it is not. Refuses what is not a regular file, and a path that
 * cannot be examined. The caller frees *out by free(). */
psc_status cli_lock_find(
    char **out, bool *exists, const char *path, const char *what, psc_error *error);

#endif
