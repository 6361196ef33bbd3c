/* A team of threads that work on one run at a time; the caller is thread 0.
 * Private to base/, runtime/ and tests/.
 * Threads: inside a run only the thread that called psc_team_run; outside any one thread.
 * Ownership: the opener closes; payloads are borrowed for the call. */
#ifndef TEAM_H
#define TEAM_H

#include <pthread.h>
#include <stdint.h>

#include "psc_error.h"

/* pthread_create of a thread that blocks every signal: the process's other threads take them. */
int psc_thread_start(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *payload);

typedef struct psc_team psc_team;

/* Part of a range, or one task, on thread 0..n_threads-1. */
typedef void (*psc_team_range_fn)(int64_t begin, int64_t end, int thread, void *payload);
typedef void (*psc_team_task_fn)(int64_t task, int thread, void *payload);
/* The caller calls these around a run, and a worker around a job, to set the floating-point
 * state. */
typedef uint64_t (*psc_team_enter_fn)(void);
typedef void (*psc_team_leave_fn)(uint64_t state);

/* The first run starts the threads. After a fork the child may close the team, and use it without
 * its threads. */
psc_status psc_team_open(psc_team **out, int n_threads, psc_team_enter_fn enter,
    psc_team_leave_fn leave, psc_error *error);
void psc_team_close(psc_team **team);
int psc_team_threads(const psc_team *team);

/* Runs body on the calling thread, while the team waits for jobs from the calls below. Outside
 * psc_team_run these calls are runs of their own. Not reentrant. */
void psc_team_run(psc_team *team, void (*body)(void *payload), void *payload);
/* Calls fn over 0..n-1 in contiguous parts of nearly equal size, at most one per thread. Any free
 * thread takes the next part. Returns when all are done. */
void psc_team_for(psc_team *team, int64_t n, psc_team_range_fn fn, void *payload);
/* Calls fn for each of n tasks. Free threads take them in ascending order. Returns when all are
 * done. */
void psc_team_tasks(psc_team *team, int64_t n, psc_team_task_fn fn, void *payload);

#endif
