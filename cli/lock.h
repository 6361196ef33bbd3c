/* A lock on a file that one process at a time reads, goes on from and writes: a corpus run's state.
 * Private to cli/.
 * Threads: the main thread.
 * Ownership: cli_lock_release frees what cli_lock_take made; the system does when a process dies.
 */
#ifndef LOCK_H
#define LOCK_H

#include "psc_error.h"

typedef struct cli_lock {
    char *path; /* the lock's own file, PATH.lock; null: nothing is locked */
    int file;
} cli_lock;

/* Fails when another process holds the lock of `path`. Where no lock file can be made, or the file
 * system knows no locks, nothing is locked and nothing fails. */
psc_status cli_lock_take(cli_lock *out, const char *path, psc_error *error);
void cli_lock_release(cli_lock *lock);

#endif
