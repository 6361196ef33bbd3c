/* Processes that do one work together: messages between rank 0 and the workers, one reduction, and
 * an end in bounded time. MPI is in cluster_mpi.c alone.
 * Private to cli/ and tests/. Includes psc_error.h.
 * Threads: main thread only. One more thread, which cluster_open starts, sends signs of life.
 * Ownership: a message's bytes belong to whoever took it (cluster_drop). */
#ifndef CLUSTER_H
#define CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "psc_error.h"

/* --- launched.c: what the environment says, without MPI -------------------------------------- */

typedef struct cluster_launch {
    const char *by; /* "mpirun of Open MPI", ...; null: as the only process */
    int rank, size;
    bool with_mpi; /* else MPI would make each of them a world of its own */
} cluster_launch;

cluster_launch cluster_launched(void);

/* --- the processes --------------------------------------------------------------------------- */

/* Whether this program was built with MPI. */
bool cluster_is_built(void);
/* Joins the other processes; afterwards every failure ends all of them. silence: seconds without a
 * sign of life after which a process counts as lost. */
psc_status cluster_open(double silence, psc_error *error);
/* Whether there are several processes, and whether this is one that works for rank 0. */
bool cluster_is_on(void);
bool cluster_is_worker(void);
int cluster_rank(void);
int cluster_size(void);
/* Leaves: rank 0 waits for all workers to end. code, sentence: how this process ended. Where
 * rank 0 has no failure of its own, it says a worker's, as "rank 2 on HOST: SENTENCE", or
 * which one is lost, and returns that exit code. With a process lost it ends the program
 * instead of returning. */
int cluster_close(int code, const char *sentence, void (*say)(const char *sentence));
/* Whether the work cannot go on: cluster_take then says why. */
bool cluster_is_over(void);

/* --- messages -------------------------------------------------------------------------------- */

enum {                  /* from 16 on; lower ones are of cluster_mpi.c */
    CLUSTER_BEGIN = 16, /* to a worker: what the work is */
    CLUSTER_READY,      /* from a worker: it can begin */
    CLUSTER_WORK,       /* to a worker: a piece of work */
    CLUSTER_DONE,       /* from a worker: that piece is done */
    CLUSTER_REDUCE,     /* to a worker: cluster_reduce follows */
    CLUSTER_STOP,       /* from a worker: a signal asks the run to end */
    CLUSTER_FINISH,     /* to a worker: there is no more work */
};

typedef struct cluster_message {
    int kind, from; /* kind 0: none */
    char *bytes;    /* [n] */
    size_t n;
} cluster_message;

/* Copies the bytes and sends them in the background. */
psc_status cluster_send(int to, int kind, const void *bytes, size_t n, psc_error *error);
/* The next message, of kind 0 if none has come; wait waits for one, for a tenth of a
 * second. Both fail once a process is lost or has failed: PSC_ERROR_CANCELLED in a worker
 * when rank 0 has ended the run. */
psc_status cluster_take(cluster_message *out, psc_error *error);
psc_status cluster_wait(cluster_message *out, psc_error *error);
void cluster_drop(cluster_message *message);

/* --- the reduction --------------------------------------------------------------------------- */

/* n slots of `bytes` bytes in each process; add adds n slots at `from` to those at `to`. */
typedef struct cluster_slots {
    void *slots; /* 16-byte aligned; afterwards rank 0 has the sum, the workers what they had */
    int64_t n;
    size_t bytes;
    psc_status (*add)(void *to, const void *from, int64_t n, void *payload, psc_error *error);
    void *payload;
} cluster_slots;

/* All processes call it in the same order with equal n and bytes. A failed add
 * is that rank's error. */
psc_status cluster_reduce(const cluster_slots *slots, psc_error *error);

/* Process p has filled values[bounds[p]] to values[bounds[p + 1] - 1], bounds [size + 1];
 * afterwards every process has all. All call it with the same bounds. */
psc_status cluster_gather(float *values, const int64_t *bounds, psc_error *error);

#endif
