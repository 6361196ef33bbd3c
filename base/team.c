/* One OpenMP region a run: thread 0 is the caller and hands out jobs, the others wait for them.
 * A job is published by a generation counter; who waits spins a little, then sleeps on a condition,
 * so that the team is quick alone and harmless beside busy processes. */
#include "team.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* Looks at the counter before a worker sleeps: some tens of microseconds. */
#define SPINS 20000
/* Looks before the caller, whose own part is done, yields its core to a worker. */
#define CALLER_SPINS 2000

struct psc_team {
    int n_threads; /* asked for */
    int active;    /* in the open region; 0: none is open */
    psc_team_enter_fn enter;
    psc_team_leave_fn leave;

    /* the job, written by the caller before the generation */
    psc_team_range_fn range;
    psc_team_task_fn task;
    int64_t n;
    void *payload;
    bool quit;
    atomic_llong next_task;

    atomic_uint generation; /* of the newest job */
    atomic_int pending;     /* workers that have not finished it */
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

psc_status psc_team_open(psc_team **out, int n_threads, psc_team_enter_fn enter,
    psc_team_leave_fn leave, psc_error *error) {
    *out = NULL;
    psc_team *team = calloc(1, sizeof *team);
    if (!team) return psc_fail(error, PSC_ERROR_MEMORY, "no memory for a team of threads");
    team->n_threads = n_threads;
    team->enter = enter;
    team->leave = leave;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    *out = team;
    return PSC_OK;
}

void psc_team_close(psc_team **team) {
    if (!*team) return;
    pthread_mutex_destroy(&(*team)->mutex);
    pthread_cond_destroy(&(*team)->wake);
    free(*team);
    *team = NULL;
}

int psc_team_threads(const psc_team *team) {
    return team->n_threads;
}

/* Part `thread` of 0..n-1 in `parts` parts of nearly equal size. */
static void do_range(const psc_team *team, int thread) {
    int64_t share = team->n / team->active, rest = team->n % team->active;
    int64_t begin = thread * share + (thread < rest ? thread : rest);
    int64_t end = begin + share + (thread < rest);
    if (begin < end) team->range(begin, end, thread, team->payload);
}

static void do_job(psc_team *team, int thread) {
    if (team->range) {
        do_range(team, thread);
        return;
    }
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&team->next_task, 1, memory_order_relaxed);
        if (task >= team->n) break;
        team->task(task, thread, team->payload);
    }
}

/* Waits for a generation other than seen; returns it. */
static unsigned wait_for_job(psc_team *team, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        unsigned now = atomic_load_explicit(&team->generation, memory_order_acquire);
        if (now != seen) return now;
    }
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->generation) == seen) pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
    return atomic_load_explicit(&team->generation, memory_order_acquire);
}

static void publish(psc_team *team) {
    atomic_store_explicit(&team->pending, team->active - 1, memory_order_relaxed);
    atomic_fetch_add(&team->generation, 1);
    if (atomic_load(&team->sleepers) == 0) return;
    pthread_mutex_lock(&team->mutex); /* a sleeper is either before its check or in the wait */
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

static void work(psc_team *team, int thread, unsigned seen) {
    for (;;) {
        seen = wait_for_job(team, seen);
        bool quit = team->quit;
        if (!quit) do_job(team, thread);
        atomic_fetch_sub_explicit(&team->pending, 1, memory_order_release);
        if (quit) return;
    }
}

void psc_team_run(psc_team *team, void (*body)(void *payload), void *payload) {
    unsigned seen = atomic_load(&team->generation);
    team->quit = false;
#pragma omp parallel num_threads(team->n_threads)
    {
        int thread = omp_get_thread_num();
        uint64_t state = team->enter();
        if (thread == 0) {
            team->active = omp_get_num_threads();
            body(payload);
            team->quit = true;
            if (team->active > 1) publish(team);
        } else {
            work(team, thread, seen);
        }
        team->leave(state);
    }
    team->active = 0;
}

/* Runs the job that is set, inside the region. */
static void run_job(psc_team *team) {
    /* One part is the caller's own affair: nobody is woken for it. */
    if (team->active == 1 || team->n <= 1) {
        int active = team->active;
        team->active = 1;
        do_job(team, 0);
        team->active = active;
        return;
    }
    publish(team);
    do_job(team, 0);
    for (int i = 0; atomic_load_explicit(&team->pending, memory_order_acquire) > 0; i++)
        if (i >= CALLER_SPINS) sched_yield();
}

static void run_job_body(void *payload) {
    run_job(payload);
}

static void start(psc_team *team, int64_t n, void *payload) {
    team->n = n;
    team->payload = payload;
    atomic_store_explicit(&team->next_task, 0, memory_order_relaxed);
    if (team->active)
        run_job(team);
    else
        psc_team_run(team, run_job_body, team);
}

void psc_team_for(psc_team *team, int64_t n, psc_team_range_fn fn, void *payload) {
    if (n <= 0) return;
    team->range = fn;
    start(team, n, payload);
}

void psc_team_tasks(psc_team *team, int64_t n, psc_team_task_fn fn, void *payload) {
    if (n <= 0) return;
    team->range = NULL;
    team->task = fn;
    start(team, n, payload);
}
