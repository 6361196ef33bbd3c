/* The team does every task once, for any number of threads and for very short jobs. It does not
 * wait for late workers. */
#include "team.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 97
#define JOBS 3000

static atomic_int done[MOST];
static atomic_int inside, entered;

static uint64_t enter(void) {
    atomic_fetch_add(&entered, 1);
    return 7;
}

static void leave(uint64_t state) {
    if (state == 7) atomic_fetch_sub(&entered, 1);
}

static void one_task(int64_t task, int thread, void *payload) {
    cr_assert(thread >= 0 && thread < *(int *)payload);
    atomic_fetch_add(&done[task], 1);
}

static void one_part(int64_t begin, int64_t end, int thread, void *payload) {
    cr_assert(begin < end && thread < *(int *)payload);
    atomic_fetch_add(&inside, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&done[i], 1);
}

/* Asserts that each of the first n tasks was done `times` times; resets the counts. */
static void check_done(int64_t n, int times) {
    for (int64_t i = 0; i < MOST; i++)
        cr_assert_eq(atomic_exchange(&done[i], 0), i < n ? times : 0);
}

typedef struct many_jobs {
    psc_team *team;
    int threads;
} many_jobs;

/* A region of many short jobs of different sizes: a worker that comes late must skip its job and
 * take the next. */
static void run_many(void *payload) {
    many_jobs *many = payload;
    for (int j = 0; j < JOBS; j++) {
        int64_t n = j % (MOST + 1);
        psc_team_tasks(many->team, n, one_task, &many->threads);
        psc_team_for(many->team, n, one_part, &many->threads);
        check_done(n, 2);
    }
}

Test(team, many_short_jobs) {
    for (int threads = 1; threads <= 5; threads++) {
        many_jobs many = {NULL, threads};
        cr_assert_eq(psc_team_open(&many.team, threads, enter, leave, NULL), PSC_OK);
        cr_assert_eq(psc_team_threads(many.team), threads);
        for (int region = 0; region < 3; region++) psc_team_run(many.team, run_many, &many);
        psc_team_close(&many.team);
        cr_assert_null(many.team);
        cr_assert_eq(atomic_load(&entered), 0, "every thread leaves as often as it enters");
    }
}

static pthread_t caller;
static atomic_bool body_over, waited_for;

/* A preempted worker: it arrives after the body is over. */
static uint64_t enter_late(void) {
    const struct timespec nap = {.tv_nsec = 1000000};
    if (pthread_equal(pthread_self(), caller)) return 0;
    for (int i = 0; i < 5000 && !atomic_load(&body_over); i++) nanosleep(&nap, NULL);
    if (!atomic_load(&body_over)) atomic_store(&waited_for, true);
    return 0;
}

static void leave_nothing(uint64_t state) {
    (void)state;
}

static void run_many_and_tell(void *payload) {
    run_many(payload);
    atomic_store(&body_over, true);
}

Test(team, late_threads_are_not_waited_for) {
    many_jobs many = {NULL, 3};
    caller = pthread_self();
    cr_assert_eq(psc_team_open(&many.team, 3, enter_late, leave_nothing, NULL), PSC_OK);
    psc_team_run(many.team, run_many_and_tell, &many);
    cr_assert(!atomic_load(&waited_for), "jobs were not done without the late threads");
    psc_team_close(&many.team);
}

Test(team, a_job_outside_a_region_opens_its_own) {
    int threads = 3;
    psc_team *team = NULL;
    cr_assert_eq(psc_team_open(&team, threads, enter, leave, NULL), PSC_OK);
    for (int64_t n = 0; n <= MOST; n++) {
        atomic_store(&inside, 0);
        psc_team_for(team, n, one_part, &threads);
        cr_assert_leq(atomic_load(&inside), n < threads ? n : threads);
        check_done(n, 1);
        psc_team_tasks(team, n, one_task, &threads);
        check_done(n, 1);
    }
    psc_team_close(&team);
    cr_assert_eq(atomic_load(&entered), 0);
}

/* Waits for a child; its exit code, or -1 when it does not end within a minute. */
static int exit_of(pid_t child) {
    const struct timespec nap = {.tv_nsec = 10000000};
    for (int i = 0, status; i < 6000; i++, nanosleep(&nap, NULL))
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    kill(child, SIGKILL);
    return -1;
}

static bool all_done(int64_t n) {
    bool all = true;
    for (int64_t i = 0; i < MOST; i++) all = all && atomic_exchange(&done[i], 0) == (i < n);
    return all;
}

/* What a child of a fork can do: use the team that it has without its threads, close it, and open
 * another. */
static int work_in_child(psc_team **team, int threads) {
    psc_team_tasks(*team, MOST, one_task, &threads);
    if (!all_done(MOST)) return 2;
    psc_team_close(team);
    if (*team || psc_team_open(team, threads, enter, leave, NULL) != PSC_OK) return 3;
    for (int i = 0; i < 100; i++) {
        psc_team_for(*team, MOST, one_part, &threads);
        if (!all_done(MOST)) return 4;
    }
    psc_team_close(team);
    return 7;
}

static atomic_int present;

static void take_part(int64_t task, int thread, void *payload) {
    (void)task;
    (void)payload;
    const struct timespec nap = {.tv_nsec = 1000000};
    atomic_fetch_or(&present, 1 << thread);
    nanosleep(&nap, NULL); /* so that the others take some */
}

/* Returns when every thread has worked. A thread that is only starting may hold a lock of the
 * address sanitizer, which no child of a fork can ever take. */
static void wait_for_all(psc_team *team, int threads) {
    atomic_store(&present, 0);
    for (int i = 0; i < 1000 && atomic_load(&present) != (1 << threads) - 1; i++)
        psc_team_tasks(team, 2 * threads, take_part, NULL);
    cr_assert_eq(atomic_load(&present), (1 << threads) - 1, "not every thread started");
}

#ifndef __SANITIZE_THREAD__ /* which knows no threads that start after a fork */
Test(team, a_child_of_a_fork_works_on) {
    int threads = 3;
    psc_team *team = NULL;
    cr_assert_eq(psc_team_open(&team, threads, enter, leave, NULL), PSC_OK);
    wait_for_all(team, threads);
    for (int i = 0; i < 20; i++) { /* workers spin at some forks, sleep at others */
        psc_team_tasks(team, MOST, one_task, &threads);
        check_done(MOST, 1);
        pid_t child = fork();
        if (child == 0) _exit(work_in_child(&team, threads));
        cr_assert_eq(exit_of(child), 7);
    }
    psc_team_tasks(team, MOST, one_task, &threads);
    check_done(MOST, 1);
    psc_team_close(&team);
}

typedef struct forking {
    psc_team *team;
    int threads;
    pid_t child;
} forking;

static void fork_and_work(void *payload) {
    forking *f = payload;
    psc_team_tasks(f->team, MOST, one_task, &f->threads);
    f->child = fork();
    psc_team_for(f->team, MOST, one_part, &f->threads);
}

Test(team, a_fork_inside_of_a_run) {
    forking f = {NULL, 3, 0};
    cr_assert_eq(psc_team_open(&f.team, f.threads, enter, leave, NULL), PSC_OK);
    wait_for_all(f.team, f.threads);
    for (int i = 0; i < 20; i++) {
        psc_team_run(f.team, fork_and_work, &f);
        if (f.child == 0) {
            for (int k = 0; k < MOST; k++)
                if (atomic_exchange(&done[k], 0) != 2) _exit(1);
            _exit(work_in_child(&f.team, f.threads));
        }
        check_done(MOST, 2);
        cr_assert_eq(exit_of(f.child), 7);
    }
    psc_team_close(&f.team);
}
#endif

static void count_blocked(int64_t task, int thread, void *payload) {
    (void)task;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (thread > 0 && !sigismember(&blocked, SIGINT)) atomic_fetch_add((atomic_int *)payload, 1);
    const struct timespec nap = {.tv_nsec = 1000000};
    nanosleep(&nap, NULL); /* so that workers take some */
}

Test(team, workers_take_no_signal) {
    atomic_int open_workers = 0;
    psc_team *team = NULL;
    cr_assert_eq(psc_team_open(&team, 4, enter, leave, NULL), PSC_OK);
    psc_team_tasks(team, MOST, count_blocked, &open_workers);
    psc_team_close(&team);
    cr_assert_eq(atomic_load(&open_workers), 0);
}
