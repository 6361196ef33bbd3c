/* The team does every task once, for any number of threads and for very short jobs. It does not
 * wait for late workers. */
#include "team.h"

#include <criterion/criterion.h>
#include <pthread.h>
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
        cr_assert_eq(atomic_load(&entered), 0, "every thread leaves as often as it enters");
        psc_team_close(&many.team);
        cr_assert_null(many.team);
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
    cr_assert_eq(atomic_load(&entered), 0);
    psc_team_close(&team);
}

/* A child that waits for workers which only its parent has ends by the alarm. */
Test(team, a_child_of_fork_has_workers_of_its_own) {
    many_jobs many = {NULL, 3};
    cr_assert_eq(psc_team_open(&many.team, 3, enter, leave, NULL), PSC_OK);
    psc_team_run(many.team, run_many, &many);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        psc_team_run(many.team, run_many, &many);
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
    psc_team_run(many.team, run_many, &many);
    psc_team_close(&many.team);
}
