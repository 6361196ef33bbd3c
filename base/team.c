/* Thread 0 is the caller and hands out jobs; the team's own threads, the workers, wait for them.
 *
 * A job is a list of tasks. Its door is one word: generation, an open bit, the number of workers
 * inside. A worker that sees a new generation enters if the door is still open, and takes tasks
 * until none is left. The caller takes tasks too, then shuts the door and waits for the workers
 * inside. It does not wait for a worker that was preempted before it entered. A waiting worker
 * spins briefly, then sleeps on a condition variable.
 *
 * The workers start with the first run and live until the team closes. A fork leaves them behind:
 * in the child the caller does every job alone, and a team that opens there has workers again.
 * That is why this is not an OpenMP region, whose threads a child waits for without end. */
#include "team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* Reads of the door before a worker sleeps: some tens of microseconds. */
#define SPINS 100000
/* Reads of the door between two reads of the clock by the caller: some microseconds. Then the
 * length of one sleep when the caller has waited too long. */
#define CALLER_SPINS 5000
#define NAP_NANOSECONDS 50000
/* Of a worker, as a main thread has: plugins' code runs there, too. */
#define STACK_BYTES ((size_t)8 << 20)

#define INSIDE UINT64_C(0x7fffffff)
#define OPEN UINT64_C(0x80000000)
#define GENERATION UINT64_C(0x100000000)

typedef struct worker {
    psc_team *team;
    pthread_t id;
    int thread;    /* 1..n_workers */
    uint64_t seen; /* the generation before its first job */
} worker;

struct psc_team {
    int n_threads; /* asked for */
    int active;    /* threads in the open run; 0: none is open */
    worker *workers;
    int n_workers; /* started; fewer than asked for when the system has no more */
    bool started;
    unsigned born; /* forks of this process before the team opened */
    psc_team_enter_fn enter;
    psc_team_leave_fn leave;

    /* the job; the caller writes it while no worker is inside */
    psc_team_range_fn range; /* null: task */
    psc_team_task_fn task;
    int64_t n; /* of the range, or tasks */
    void *payload;
    int64_t n_tasks;
    atomic_llong next_task;

    _Alignas(64) atomic_uint_least64_t door;
    atomic_bool quit;
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

/* How often this process is the child of a fork. */
static atomic_uint forks;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void count_fork(void) {
    atomic_fetch_add(&forks, 1);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, count_fork);
}

/* Whether this process is a child of the one that opened the team: it has no workers. */
static bool is_orphan(const psc_team *team) {
    return atomic_load_explicit(&forks, memory_order_relaxed) != team->born;
}

psc_status psc_team_open(psc_team **out, int n_threads, psc_team_enter_fn enter,
    psc_team_leave_fn leave, psc_error *error) {
    *out = NULL;
    psc_team *team = calloc(1, sizeof *team);
    if (team) team->workers = calloc((size_t)n_threads, sizeof *team->workers);
    if (!team || !team->workers) {
        free(team);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a team of threads");
    }
    pthread_once(&fork_once, watch_forks);
    team->born = atomic_load(&forks);
    team->n_threads = n_threads;
    team->enter = enter;
    team->leave = leave;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    *out = team;
    return PSC_OK;
}

int psc_team_threads(const psc_team *team) {
    return team->n_threads;
}

/* Part `part` of 0..n-1 in n_tasks parts of nearly equal size. */
static void do_part(const psc_team *team, int64_t part, int thread) {
    int64_t share = team->n / team->n_tasks, rest = team->n % team->n_tasks;
    int64_t begin = part * share + (part < rest ? part : rest);
    team->range(begin, begin + share + (part < rest), thread, team->payload);
}

static void do_tasks(psc_team *team, int thread) {
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&team->next_task, 1, memory_order_relaxed);
        if (task >= team->n_tasks) return;
        if (team->range)
            do_part(team, task, thread);
        else
            team->task(task, thread, team->payload);
    }
}

static uint64_t generation(uint64_t door) {
    return door / GENERATION;
}

/* Waits for a generation other than seen. */
static uint64_t wait_for_job(psc_team *team, uint64_t seen) {
    for (int i = 0; i < SPINS; i++) {
        uint64_t door = atomic_load_explicit(&team->door, memory_order_acquire);
        if (generation(door) != seen) return door;
    }
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers, 1);
    while (generation(atomic_load(&team->door)) == seen)
        pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
    return atomic_load(&team->door);
}

/* A new generation; its door stays shut when it only announces the end of the team. */
static void publish(psc_team *team, bool open) {
    uint64_t next = generation(atomic_load_explicit(&team->door, memory_order_relaxed)) + 1;
    atomic_store(&team->door, next * GENERATION + (open ? OPEN : 0));
    if (atomic_load(&team->sleepers) == 0) return;
    pthread_mutex_lock(&team->mutex); /* now a sleeper is before its check or in the wait */
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

/* Takes part in the job of a generation, unless it is over before the worker has entered. */
static void join_job(psc_team *team, int thread, uint64_t seen) {
    uint64_t state = team->enter();
    uint64_t door = atomic_load(&team->door);
    while (generation(door) == seen && (door & OPEN)) {
        if (!atomic_compare_exchange_weak(&team->door, &door, door + 1)) continue;
        do_tasks(team, thread);
        team->leave(state);
        atomic_fetch_sub_explicit(&team->door, 1, memory_order_release);
        return;
    }
    team->leave(state);
}

static void *work(void *payload) {
    worker *self = payload;
    psc_team *team = self->team;
    for (uint64_t seen = self->seen;;) {
        uint64_t door = wait_for_job(team, seen);
        if (atomic_load(&team->quit)) return NULL;
        seen = generation(door);
        if (door & OPEN) join_job(team, self->thread, seen);
    }
}

int psc_thread_start(
    pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *payload) {
    sigset_t all, former;
    sigfillset(&all);
    /* but not the thread's own faults: blocked, these would end the process before any handler */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    const int failed = pthread_create(thread, attributes, run, payload);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    return failed;
}

static void start_workers(psc_team *team) {
    team->started = true;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (team->n_workers < team->n_threads - 1) {
        worker *next = &team->workers[team->n_workers];
        next->team = team;
        next->thread = team->n_workers + 1;
        next->seen = generation(atomic_load(&team->door));
        if (psc_thread_start(&next->id, &attributes, work, next) != 0) break;
        team->n_workers++;
    }
    pthread_attr_destroy(&attributes);
}

void psc_team_close(psc_team **team) {
    psc_team *t = *team;
    if (!t) return;
    if (!is_orphan(t)) {
        atomic_store(&t->quit, true);
        publish(t, false);
        for (int i = 0; i < t->n_workers; i++) pthread_join(t->workers[i].id, NULL);
        pthread_mutex_destroy(&t->mutex);
        pthread_cond_destroy(&t->wake);
    }
    free(t->workers);
    free(t);
    *team = NULL;
}

void psc_team_run(psc_team *team, void (*body)(void *payload), void *payload) {
    if (!team->started && !is_orphan(team)) start_workers(team);
    uint64_t state = team->enter();
    team->active = 1 + team->n_workers;
    body(payload);
    team->active = 0;
    team->leave(state);
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Shuts the door and waits for the workers inside. A worker more than 1/8 slower than the caller,
 * whose part began at `begin`, has probably been preempted for milliseconds, so the caller sleeps
 * instead of spinning. A yield would give away the rest of the caller's own time slice. */
static void wait_for_workers(psc_team *team, double begin) {
    const struct timespec nap = {.tv_nsec = NAP_NANOSECONDS};
    uint64_t door = atomic_fetch_and(&team->door, ~OPEN) & INSIDE;
    double done = door ? seconds_now() : 0.0, patience = (done - begin) / 8 + 10e-6;
    for (int i = 1; door != 0; i++) {
        if (i % CALLER_SPINS == 0 && seconds_now() - done > patience) nanosleep(&nap, NULL);
        door = atomic_load_explicit(&team->door, memory_order_acquire) & INSIDE;
    }
}

/* Runs the current job inside the run. The caller runs a single task itself and wakes no
 * worker. */
static void run_job(void *payload) {
    psc_team *team = payload;
    if (is_orphan(team)) team->active = 1;
    if (team->range) team->n_tasks = team->n < team->active ? team->n : team->active;
    atomic_store_explicit(&team->next_task, 0, memory_order_relaxed);
    bool alone = team->active == 1 || team->n_tasks == 1;
    const double begin = alone ? 0.0 : seconds_now();
    if (!alone) publish(team, true);
    do_tasks(team, 0);
    if (alone) return;
    wait_for_workers(team, begin);
}

static void start(psc_team *team, void *payload) {
    team->payload = payload;
    if (team->active)
        run_job(team);
    else
        psc_team_run(team, run_job, team);
}

void psc_team_for(psc_team *team, int64_t n, psc_team_range_fn fn, void *payload) {
    if (n <= 0) return;
    team->range = fn;
    team->n = n;
    start(team, payload);
}

void psc_team_tasks(psc_team *team, int64_t n, psc_team_task_fn fn, void *payload) {
    if (n <= 0) return;
    team->range = NULL;
    team->task = fn;
    team->n_tasks = n;
    start(team, payload);
}
