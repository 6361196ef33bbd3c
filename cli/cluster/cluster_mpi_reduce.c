/* The calls of all processes. The reduction: MPI_Ireduce with an operation of our own, piece by
 * piece, so that no process needs a second copy of large tables. Slots are elements of the
 * datatype, so MPI never cuts one. */
#include "cluster_mpi.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE = 4 << 20 }; /* most bytes of a piece */

/* MPI gives the operation no payload. */
static struct {
    const cluster_slots *slots;
    char *aligned; /* [a piece] for slots that MPI keeps at odd places */
    psc_status status;
    psc_error error;
} current;

static void add_slots(void *from, void *to, int *n, MPI_Datatype *type) {
    const cluster_slots *s = current.slots;
    (void)type;
    if (current.status) return;
    const size_t bytes = (size_t)*n * s->bytes;
    void *place = (uintptr_t)to % 16 ? current.aligned : to;
    if (place != to) memcpy(place, to, bytes);
    current.status = s->add(place, from, *n, s->payload, &current.error);
    if (place != to) memcpy(to, place, bytes);
}

/* Between two looks at a call of all processes. Large messages move in pieces, one or a few per
 * look: with a sleep between them 4 MiB took 0.4 s. */
static void rest(double begin) {
    const struct timespec nap = {0, 50000};
    if (cluster_now() - begin < 0.2)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

/* Waits for the request as long as every process is there. */
static psc_status finish(MPI_Request *request, psc_error *error) {
    cluster_world *w = &cluster_here;
    psc_status status = PSC_OK;
    const double begin = cluster_now();
    int done = 0;
    while (!status && !done) {
        pthread_mutex_lock(&w->gate);
        if (MPI_Test(request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            status = psc_fail(error, PSC_ERROR_IO, "MPI failed in a call of all processes");
        if (!done) cluster_step();
        if (!done && !status) status = cluster_trouble(error);
        if (status) w->broken = true;
        pthread_mutex_unlock(&w->gate);
        if (!done) rest(begin);
    }
    return status;
}

static psc_status reduce_piece(
    char *slots, int n, MPI_Datatype type, MPI_Op operation, psc_error *error) {
    cluster_world *w = &cluster_here;
    MPI_Request request = MPI_REQUEST_NULL;
    pthread_mutex_lock(&w->gate);
    const int failed =
        w->rank == 0 ? MPI_Ireduce(MPI_IN_PLACE, slots, n, type, operation, 0, w->comm, &request)
                     : MPI_Ireduce(slots, NULL, n, type, operation, 0, w->comm, &request);
    if (failed) w->broken = true;
    pthread_mutex_unlock(&w->gate);
    if (failed) return psc_fail(error, PSC_ERROR_IO, "MPI cannot add up the totals");
    return finish(&request, error);
}

psc_status cluster_reduce(const cluster_slots *slots, psc_error *error) {
    cluster_world *w = &cluster_here;
    const int64_t at_once = slots->bytes < PIECE ? PIECE / (int64_t)slots->bytes : 1;
    const size_t room = (size_t)at_once * slots->bytes;
    MPI_Datatype type;
    MPI_Op operation;
    psc_status status = PSC_OK;
    current.slots = slots;
    current.status = PSC_OK;
    current.aligned = malloc((room + 15) / 16 * 16);
    if (!current.aligned || room > INT32_MAX) {
        free(current.aligned);
        w->broken = true; /* the others wait for this one */
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to add up the totals");
    }
    pthread_mutex_lock(&w->gate);
    MPI_Type_contiguous((int)slots->bytes, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    MPI_Op_create(add_slots, 1, &operation);
    pthread_mutex_unlock(&w->gate);
    for (int64_t at = 0; !status && at < slots->n; at += at_once) {
        const int64_t left = slots->n - at;
        char *from = (char *)slots->slots + (size_t)at * slots->bytes;
        status = reduce_piece(from, (int)(left < at_once ? left : at_once), type, operation, error);
    }
    pthread_mutex_lock(&w->gate);
    MPI_Op_free(&operation);
    MPI_Type_free(&type);
    pthread_mutex_unlock(&w->gate);
    free(current.aligned);
    if (!status && current.status) {
        status = current.status;
        if (error) *error = current.error;
    }
    return status;
}

psc_status cluster_gather(float *values, const int64_t *bounds, psc_error *error) {
    cluster_world *w = &cluster_here;
    MPI_Request request = MPI_REQUEST_NULL;
    int *counts = calloc(2 * (size_t)w->size, sizeof *counts), *places = counts + w->size;
    if (!counts || bounds[w->size] > INT32_MAX) {
        free(counts);
        w->broken = true;
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to share the variants");
    }
    for (int p = 0; p < w->size; p++) {
        counts[p] = (int)(bounds[p + 1] - bounds[p]);
        places[p] = (int)bounds[p];
    }
    pthread_mutex_lock(&w->gate);
    const int failed = MPI_Iallgatherv(
        MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, counts, places, MPI_FLOAT, w->comm, &request);
    if (failed) w->broken = true;
    pthread_mutex_unlock(&w->gate);
    psc_status status = failed ? psc_fail(error, PSC_ERROR_IO, "MPI cannot share the variants")
                               : finish(&request, error);
    if (!w->broken) free(counts); /* else MPI may still read them */
    return status;
}
