/* A lock on a file that one process at a time reads, resumes from and writes: a corpus run's state.
 * Private to cli/.
 * Threads: the main thread.
 * Ownership: cli_lock_release frees what cli_lock_take made; so does the system when a process
 * dies. */
#ifndef LOCK_H
#define LOCK_H

#include "psc_error.h"

typedef struct cli_lock {
    char *path; /* the lock's own file, PATH.lock; null: not locked */
    int file;
} cli_lock;

/* Fails if another process holds the lock of `path`. If the lock file cannot be made, or the file
 * system has no locks, succeeds without a lock. */
psc_status cli_lock_take(cli_lock *out, const char *path, psc_error *error);
void cli_lock_release(cli_lock *lock);

#endif
