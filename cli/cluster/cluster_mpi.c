/* Joining and leaving the processes of MPI, and the thread that gives signs of life.
 *
 *   open: MPI_Init, who is where        close: worker ENDED -> rank 0;  rank 0 QUIT -> workers
 *
 * MPI itself does not notice a host that is cut off: a receive would wait for hours.
 * Here every process says something every tenth of the allowed silence, from a thread,
 * however long a pass takes. */
#include "cluster_mpi.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

cluster_world cluster_here = {.gate = PTHREAD_MUTEX_INITIALIZER, .lost = -1, .failed = -1};

bool cluster_is_built(void) {
    return true;
}

bool cluster_is_on(void) {
    return cluster_here.is_open && cluster_here.size > 1;
}

bool cluster_is_worker(void) {
    return cluster_is_on() && cluster_here.rank > 0;
}

int cluster_rank(void) {
    return cluster_here.is_open ? cluster_here.rank : 0;
}

int cluster_size(void) {
    return cluster_here.is_open ? cluster_here.size : 1;
}

bool cluster_is_over(void) {
    cluster_world *w = &cluster_here;
    pthread_mutex_lock(&w->gate);
    cluster_step();
    const bool over = cluster_trouble(NULL) != PSC_OK;
    pthread_mutex_unlock(&w->gate);
    return over;
}

/* --- the thread ------------------------------------------------------------------------------ */

/* Ends the program where nothing else can: a worker whose rank 0 is gone and whose main thread does
 * not notice, and a process that MPI does not let go. */
static void end_if_stuck(double now) {
    const cluster_world *w = &cluster_here;
    if (w->rank > 0 && w->lost >= 0 && now - w->lost_since > w->silence) {
        cluster_end_launcher();
        _exit(1);
    }
    if (w->leaving > 0 && now - w->leaving > w->silence) _exit(w->exit_code ? w->exit_code : 1);
}

static void *live(void *unused) {
    cluster_world *w = &cluster_here;
    const struct timespec nap = {0, 5000000};
    (void)unused;
    for (bool stop = false; !stop;) {
        nanosleep(&nap, NULL);
        pthread_mutex_lock(&w->gate);
        if (w->leaving <= 0) cluster_step();
        end_if_stuck(cluster_now());
        stop = w->stop;
        pthread_mutex_unlock(&w->gate);
    }
    return NULL;
}

/* The program's own threads receive its signals. */
static psc_status start_thread(psc_error *error) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&cluster_here.thread, NULL, live, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "cannot start a thread: %s", strerror(failed));
}

/* --- joining --------------------------------------------------------------------------------- */

static psc_status meet(psc_error *error) {
    cluster_world *w = &cluster_here;
    char host[MPI_MAX_PROCESSOR_NAME + 1] = "", *hosts = NULL;
    int length = 0;
    MPI_Get_processor_name(host, &length);
    w->peers = calloc((size_t)w->size, sizeof *w->peers);
    hosts = calloc((size_t)w->size, sizeof w->peers->host);
    if (!w->peers || !hosts) {
        free(hosts);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %d processes", w->size);
    }
    host[sizeof w->peers->host - 1] = 0;
    MPI_Allgather(
        host, sizeof w->peers->host, MPI_CHAR, hosts, sizeof w->peers->host, MPI_CHAR, w->comm);
    for (int i = 0; i < w->size; i++) {
        memcpy(
            w->peers[i].host, hosts + (size_t)i * sizeof w->peers->host, sizeof w->peers->host - 1);
        w->peers[i].heard = cluster_now();
        w->peers[i].pulse = MPI_REQUEST_NULL;
    }
    free(hosts);
    w->stepped = w->pulsed = cluster_now();
    return PSC_OK;
}

psc_status cluster_open(double silence, psc_error *error) {
    cluster_world *w = &cluster_here;
    int level = 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS)
        return psc_fail(error, PSC_ERROR_IO, "MPI cannot start");
    MPI_Comm_dup(MPI_COMM_WORLD, &w->comm);
    MPI_Comm_set_errhandler(w->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(w->comm, &w->rank);
    MPI_Comm_size(w->comm, &w->size);
    w->is_open = true;
    w->silence = silence;
    if (level < MPI_THREAD_SERIALIZED)
        return psc_fail(error, PSC_ERROR_SUPPORT, "this MPI does not support threads");
    psc_status status = meet(error);
    return status ? status : start_thread(error);
}

/* --- leaving --------------------------------------------------------------------------------- */

/* Whether all workers have ended or are lost; of a worker: whether rank 0 has
 * let it go or is lost. */
static bool is_over(void) {
    const cluster_world *w = &cluster_here;
    if (w->rank > 0) return w->quit || w->lost >= 0;
    for (int i = 1; i < w->size; i++)
        if (!w->peers[i].ended && !w->peers[i].lost) return false;
    return true;
}

/* Sends this process's end and waits for the others'. */
static void say_end(int code, const char *sentence) {
    cluster_world *w = &cluster_here;
    char end[1100];
    const int n = snprintf(end + 2, sizeof end - 2, "%s", sentence ? sentence : "");
    end[0] = (char)code;
    end[1] = (char)w->broken;
    pthread_mutex_lock(&w->gate);
    if (w->rank > 0) cluster_post(0, KIND_ENDED, end, 2 + (size_t)n);
    for (int i = 1; w->rank == 0 && i < w->size; i++)
        if (!w->peers[i].lost) cluster_post(i, KIND_QUIT, NULL, 0);
    pthread_mutex_unlock(&w->gate);
    for (int naps = 0;;) {
        pthread_mutex_lock(&w->gate);
        cluster_step();
        const bool over = is_over();
        pthread_mutex_unlock(&w->gate);
        if (over) return;
        cluster_nap(&naps);
    }
}

/* Ends MPI. A process that is lost, or a reduction left behind, would make it wait: then the
 * launcher is told to end all. */
static void end_mpi(int code) {
    cluster_world *w = &cluster_here;
    pthread_mutex_lock(&w->gate);
    w->exit_code = code;
    w->leaving = cluster_now();
    pthread_mutex_unlock(&w->gate); /* from here on the thread calls no MPI */
    if (w->lost >= 0) {
        const struct timespec nap = {0, 500000000};
        cluster_end_launcher();
        nanosleep(&nap, NULL); /* mpirun passes the sentence on before it ends the job */
    }
    if (w->lost < 0 && !w->broken) {
        MPI_Comm_free(&w->comm);
        MPI_Finalize();
    } else if (w->rank == 0) {
        MPI_Abort(MPI_COMM_WORLD, code ? code : 1);
    } else {
        _exit(code ? code : 1);
    }
    pthread_mutex_lock(&w->gate);
    w->stop = true;
    pthread_mutex_unlock(&w->gate);
    pthread_join(w->thread, NULL);
}

int cluster_close(int code, const char *sentence, void (*say)(const char *sentence)) {
    cluster_world *w = &cluster_here;
    psc_error error = {PSC_OK, ""};
    if (!w->is_open) return code;
    say_end(code, sentence);
    if (w->rank == 0 && code == 0 && cluster_trouble(&error)) {
        say(error.message);
        code = w->failed >= 0 ? w->failed_code : 1;
    }
    (void)fflush(NULL);
    end_mpi(code);
    w->is_open = false;
    return code;
}
