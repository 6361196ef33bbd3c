/* The inside of a cluster over MPI: who is there, what is on its way, who was heard of when.
 * Private to cli/cluster/.
 * Threads: every call of MPI and every access happens behind world.gate.
 * Ownership: world owns everything. */
#ifndef CLUSTER_MPI_H
#define CLUSTER_MPI_H

#include <mpi.h>
#include <pthread.h>

#include "cluster.h"

enum { KIND_PULSE = 1, KIND_ENDED, KIND_QUIT }; /* tags below those of cluster.h */

/* A message on its way, or in the inbox. */
typedef struct parcel {
    struct parcel *next;
    MPI_Request request;
    cluster_message message; /* from: of a parcel to send, its destination */
} parcel;

typedef struct parcels {
    parcel *first, **end; /* end: where the next one is put */
} parcels;

/* Where a process stands, in the eyes of this one. */
typedef struct peer {
    char host[64];
    double heard;      /* when, in seconds */
    MPI_Request pulse; /* the last sign of life sent to it */
    bool ended, lost;
    bool blocked; /* while parcels are received: an earlier one is not whole yet */
} peer;

typedef struct cluster_world {
    pthread_mutex_t gate;
    bool is_open;
    MPI_Comm comm;
    int rank, size;
    peer *peers; /* [size] */
    double silence, stepped, pulsed;
    parcels sending, receiving, inbox;
    int lost;   /* a rank that was lost, -1: none; lost_since: when that was noticed */
    int failed; /* the first worker that said it failed, -1: none */
    int failed_code;
    char failed_sentence[1024];
    double lost_since;
    bool quit;   /* a worker: rank 0 has ended the run */
    bool broken; /* a reduction was left behind: MPI cannot be finalized */
    pthread_t thread;
    bool stop;      /* the thread ends */
    double leaving; /* when cluster_close began to finalize, 0: not yet */
    int exit_code;
} cluster_world;

extern cluster_world cluster_here;

double cluster_now(void);
/* Behind the gate: sends, receives, gives a sign of life, and looks who is silent. */
void cluster_step(void);
/* Why the work cannot go on, or PSC_OK. */
psc_status cluster_trouble(psc_error *error);
/* Behind the gate; false without memory. */
bool cluster_post(int to, int kind, const void *bytes, size_t n);
void cluster_lose(int rank);
/* In a program that is about to end: makes sure that its mpirun, or its
 * daemon, ends within seconds. */
void cluster_end_launcher(void);
/* Sleeps between two looks: short at first. */
void cluster_nap(int *naps);

#endif
