/* A corpus over several processes: rank 0 reads it and deals batches of windows, every process runs
 * batches, and the totals are reduced into rank 0.
 * Private to cli/. Includes cluster.h, window_batch.h, psc_corpus.h and psc_spread.h.
 * Threads: main thread only.
 * Ownership: the session, the corpus and the payload are the caller's;
 * cluster_windows_close frees the rest. */
#ifndef CLUSTER_WINDOWS_H
#define CLUSTER_WINDOWS_H

#include "cluster.h"
#include "psc_corpus.h"
#include "psc_spread.h"
#include "window_batch.h"

typedef struct cluster_windows {
    psc_session *session; /* with shared room for batch.most windows of batch.tokens */
    psc_corpus *corpus;   /* null in a worker */
    window_batch batch;
    bool (*stopped)(void *payload); /* whether a signal asks the run to end */
    bool (*is_due)(
        void *payload); /* rank 0: whether to save; the others are null in a worker, too */
    psc_status (*save)(void *payload, psc_error *error);
    void (*show)(void *payload); /* of the progress */
    void *payload;

    int32_t *waiting;  /* [size] batches dealt to each worker and not done */
    bool ended;        /* the corpus, or its limit */
    bool asked;        /* a worker has received a signal */
    psc_status status; /* of dealing while a batch runs */
    psc_error error;
    char *own, *dealt; /* [room] batches as messages: this process's, and one for a worker */
    size_t room;
    psc_input *inputs; /* [batch.most] */
    psc_document *documents;
    int32_t *repeated; /* [batch.most] */
    psc_token *tokens; /* [batch.tokens] */
} cluster_windows;

/* Rank 0, with its corpus open: tells the workers what they need to open a session. */
psc_status cluster_windows_begin(const window_batch *batch, psc_error *error);
/* A worker, with its model open: receives the batch of rank 0. */
psc_status cluster_windows_ask(window_batch *batch, psc_error *error);
/* All processes, with their sessions open: compares what the totals belong to. */
psc_status cluster_windows_open(cluster_windows *w, psc_error *error);
void cluster_windows_close(cluster_windows *w);
/* Rank 0: runs the corpus up to its end or a signal. Then and at each save all totals are in its
 * session, for all windows that were read. */
psc_status cluster_windows_read(cluster_windows *w, psc_error *error);
/* A worker: runs batches until rank 0 has no more. */
psc_status cluster_windows_serve(cluster_windows *w, psc_error *error);

#endif
