/* Messages over MPI. No call here waits for another process: sends and receives are nonblocking,
 * and a step looks at all of them. A process that is cut off therefore never stops another one. */
#include "cluster_mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put(parcels *list, parcel *one) {
    if (!list->end) list->end = &list->first;
    one->next = NULL;
    *list->end = one;
    list->end = &one->next;
}

/* Takes the parcel at *place out of its list. */
static parcel *take(parcels *list, parcel **place) {
    parcel *one = *place;
    *place = one->next;
    if (list->end == &one->next) list->end = place;
    return one;
}

static void drop(parcel *one) {
    free(one->message.bytes);
    free(one);
}

double cluster_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cluster_nap(int *naps) {
    const struct timespec time = {0, *naps < 20 ? 50000 : 500000};
    ++*naps;
    nanosleep(&time, NULL);
}

void cluster_lose(int rank) {
    cluster_world *w = &cluster_here;
    if (w->peers[rank].lost || w->peers[rank].ended) return;
    w->peers[rank].lost = true;
    if (w->lost < 0) {
        w->lost = rank;
        w->lost_since = cluster_now();
    }
}

/* --- sending --------------------------------------------------------------------------------- */

bool cluster_post(int to, int kind, const void *bytes, size_t n) {
    cluster_world *w = &cluster_here;
    parcel *one = malloc(sizeof *one);
    char *copy = malloc(n + 1);
    if (!one || !copy) {
        free(one);
        free(copy);
        return false;
    }
    if (n > 0) memcpy(copy, bytes, n);
    one->message = (cluster_message){kind, to, copy, n};
    if (MPI_Isend(copy, (int)n, MPI_BYTE, to, kind, w->comm, &one->request) != MPI_SUCCESS) {
        cluster_lose(to);
        drop(one);
        return true;
    }
    put(&w->sending, one);
    return true;
}

/* Frees what has been sent. What waits for a lost process stays: MPI may still read it. */
static void test_sending(void) {
    cluster_world *w = &cluster_here;
    for (parcel **place = &w->sending.first; *place;) {
        int done = 0;
        if (MPI_Test(&(*place)->request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            cluster_lose((*place)->message.from);
            done = 1;
        }
        if (done)
            drop(take(&w->sending, place));
        else
            place = &(*place)->next;
    }
}

/* --- receiving ------------------------------------------------------------------------------- */

/* A worker's end: its code, whether it left a reduction behind, and its sentence. */
static void take_end(const cluster_message *m) {
    cluster_world *w = &cluster_here;
    w->peers[m->from].ended = true;
    if (m->n < 2) return;
    if (m->bytes[1]) w->broken = true;
    if (m->bytes[0] == 0 || w->failed >= 0) return;
    w->failed = m->from;
    w->failed_code = (unsigned char)m->bytes[0];
    snprintf(w->failed_sentence, sizeof w->failed_sentence, "%.*s", (int)(m->n - 2), m->bytes + 2);
}

static void dispatch(parcel *one) {
    cluster_world *w = &cluster_here;
    const cluster_message *m = &one->message;
    if (m->kind >= CLUSTER_BEGIN) {
        put(&w->inbox, one);
        return;
    }
    if (m->kind == KIND_QUIT) w->quit = true;
    if (m->kind == KIND_ENDED) take_end(m);
    drop(one);
}

/* Begins to receive what has arrived. */
static void begin_receiving(void) {
    cluster_world *w = &cluster_here;
    for (;;) {
        MPI_Message handle;
        MPI_Status from;
        int there = 0, n = 0;
        if (MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, w->comm, &there, &handle, &from) !=
                MPI_SUCCESS ||
            !there)
            return;
        w->peers[from.MPI_SOURCE].heard = cluster_now();
        MPI_Get_count(&from, MPI_BYTE, &n);
        parcel *one = malloc(sizeof *one);
        char *bytes = malloc((size_t)n + 1);
        if (!one || !bytes) { /* the message cannot be taken, so the run cannot go on */
            fputs("pythiascope: not enough memory for a message of another process\n", stderr);
            MPI_Abort(w->comm, 1);
        }
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without memory nothing was received
        one->message = (cluster_message){from.MPI_TAG, from.MPI_SOURCE, bytes, (size_t)n};
        if (MPI_Imrecv(bytes, n, MPI_BYTE, &handle, &one->request) != MPI_SUCCESS) {
            cluster_lose(from.MPI_SOURCE);
            drop(one);
            continue;
        }
        put(&w->receiving, one);
    }
}

/* Hands over what is whole, in the order of each sender. */
static void test_receiving(void) {
    cluster_world *w = &cluster_here;
    for (parcel *one = w->receiving.first; one; one = one->next)
        w->peers[one->message.from].blocked = false;
    for (parcel **place = &w->receiving.first; *place;) {
        peer *sender = &w->peers[(*place)->message.from];
        int done = 0;
        if (!sender->blocked &&
            MPI_Test(&(*place)->request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            cluster_lose((*place)->message.from);
            done = 0;
        }
        sender->blocked = !done;
        if (done)
            dispatch(take(&w->receiving, place));
        else
            place = &(*place)->next;
    }
}

/* --- signs of life --------------------------------------------------------------------------- */

static void pulse(int to) {
    peer *p = &cluster_here.peers[to];
    int done = 1;
    if (p->ended || p->lost) return;
    if (p->pulse != MPI_REQUEST_NULL) MPI_Test(&p->pulse, &done, MPI_STATUS_IGNORE);
    if (done &&
        MPI_Isend(NULL, 0, MPI_BYTE, to, KIND_PULSE, cluster_here.comm, &p->pulse) != MPI_SUCCESS)
        cluster_lose(to);
}

/* Rank 0 looks at all workers, a worker at rank 0. */
static void look_around(double now) {
    cluster_world *w = &cluster_here;
    const int first = w->rank == 0 ? 1 : 0, end = w->rank == 0 ? w->size : 1;
    /* Whoever was stopped itself has heard nothing meanwhile. */
    const bool slept = now - w->stepped > w->silence / 2;
    const bool due = now - w->pulsed > w->silence / 10;
    for (int i = first; i < end; i++) {
        if (slept) w->peers[i].heard = now;
        if (now - w->peers[i].heard > w->silence) cluster_lose(i);
        if (due) pulse(i);
    }
    if (due) w->pulsed = now;
    w->stepped = now;
}

void cluster_step(void) {
    const double now = cluster_now();
    test_sending();
    begin_receiving();
    test_receiving();
    look_around(now);
}

psc_status cluster_trouble(psc_error *error) {
    const cluster_world *w = &cluster_here;
    if (w->rank != 0) {
        if (w->quit) return psc_fail(error, PSC_ERROR_CANCELLED, "rank 0 has ended the run");
        if (w->lost < 0) return PSC_OK;
        return psc_fail(error, PSC_ERROR_IO, "rank 0 on %s has been silent for %g seconds",
            w->peers[0].host, w->silence);
    }
    if (w->failed >= 0)
        return psc_fail(error, w->failed_code == 2 ? PSC_ERROR_INPUT : PSC_ERROR_STATE,
            "rank %d on %s: %s", w->failed, w->peers[w->failed].host, w->failed_sentence);
    if (w->lost < 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO,
        "rank %d on %s has been silent for %g seconds, so the run ends; a state file has the work up "
        "to its last save",
        w->lost, w->peers[w->lost].host, w->silence);
}

/* --- for the program ------------------------------------------------------------------------- */

psc_status cluster_send(int to, int kind, const void *bytes, size_t n, psc_error *error) {
    cluster_world *w = &cluster_here;
    if (n > INT32_MAX)
        return psc_fail(error, PSC_ERROR_SUPPORT, "a message of %zu bytes is too long", n);
    pthread_mutex_lock(&w->gate);
    const bool posted = cluster_post(to, kind, bytes, n);
    pthread_mutex_unlock(&w->gate);
    if (posted) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a message");
}

psc_status cluster_take(cluster_message *out, psc_error *error) {
    cluster_world *w = &cluster_here;
    *out = (cluster_message){0};
    pthread_mutex_lock(&w->gate);
    cluster_step();
    psc_status status = cluster_trouble(error);
    if (w->quit && w->inbox.first) status = PSC_OK; /* what rank 0 said before that comes first */
    if (!status && w->inbox.first) {
        parcel *one = take(&w->inbox, &w->inbox.first);
        *out = one->message;
        free(one);
    }
    pthread_mutex_unlock(&w->gate);
    return status;
}

psc_status cluster_wait(cluster_message *out, psc_error *error) {
    const double end = cluster_now() + 0.1;
    psc_status status = cluster_take(out, error);
    for (int naps = 0; !status && out->kind == 0 && cluster_now() < end;) {
        cluster_nap(&naps);
        status = cluster_take(out, error);
    }
    return status;
}

void cluster_drop(cluster_message *message) {
    free(message->bytes);
    *message = (cluster_message){0};
}
