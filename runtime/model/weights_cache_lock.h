/* One process at a time packs weights into a cache folder: others wait, and then find its file.
 * Private to runtime/ and tests/. Includes weights_cache_place.h only.
 * Threads: reentrant; the lock also holds between threads of one process.
 * Ownership: the caller releases what it took; so does the system when a process dies. */
#ifndef WEIGHTS_CACHE_LOCK_H
#define WEIGHTS_CACHE_LOCK_H

#include "weights_cache_place.h"

/* Waits until no other process packs, but at most ten minutes, as that one may have been stopped.
 * Returns the lock; -1 without one: the folder is read-only, has no locks, or the time is over.
 * Then the caller packs for itself. */
int psc_cache_lock_take(const psc_cache_place *place);
/* Removes a lock's file that no process holds: its holder was killed. */
void psc_cache_lock_sweep(const psc_cache_place *place);
/* Removes the lock's file. Does nothing for -1. */
void psc_cache_lock_release(const psc_cache_place *place, int lock);

#endif
