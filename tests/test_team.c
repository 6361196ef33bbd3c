/* The team: every task is done once, whatever the number of threads and however short the jobs. */
#include "team.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

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

/* Every one of the first n was done `times` times; forgets them. */
static void check_done(int64_t n, int times) {
    for (int64_t i = 0; i < MOST; i++)
        cr_assert_eq(atomic_exchange(&done[i], 0), i < n ? times : 0);
}

typedef struct many_jobs {
    psc_team *team;
    int threads;
} many_jobs;

/* A region of many short jobs, each of another size: a worker that comes late must miss its job and
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
