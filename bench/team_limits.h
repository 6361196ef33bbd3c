/* The machine's limits, measured by a session's own team: fused multiply-adds in registers, and
 * reading more memory than a cache holds, in the same kind of pages as weights. Private to bench/.
 * Threads: call outside a run; all threads of the team work, inside one region as in a pass.
 * Ownership: the session is borrowed; bench_limits_free frees the memory that was read. */
#ifndef TEAM_LIMITS_H
#define TEAM_LIMITS_H

#include "arena.h"
#include "bench.h"
#include "limits.h"
#include "session_inside.h"

#define BENCH_READ_BYTES ((size_t)192 << 20) /* larger than a last-level cache */
#define BENCH_READ_PIECE ((size_t)1 << 19)
#define BENCH_SPIN_ROUNDS ((uint64_t)20000)
/* Some milliseconds, so that an interruption counts as in a pass. */
#define BENCH_SPIN_TASKS 256

typedef struct bench_limits {
    psc_session *session;
    float *pool; /* BENCH_READ_BYTES, allocated at first use */
    volatile float sink;
} bench_limits;

static inline void bench_spin_task(int64_t task, int thread, void *payload) {
    (void)task, (void)thread;
    bench_limits *l = payload;
    float out = 0.0f;
    psc_spin_fma(&out, l->session->kernels->isa, BENCH_SPIN_ROUNDS);
    if (out < 0.0f) l->sink = out;
}

/* A piece in two streams. */
static inline void bench_read_task(int64_t task, int thread, void *payload) {
    (void)thread;
    bench_limits *l = payload;
    const size_t half = BENCH_READ_PIECE / sizeof(float) / 2;
    const float *from = l->pool + (size_t)task * 2 * half;
    float sum = 0.0f;
    l->session->kernels->dot(&sum, from, from + half, half);
    if (sum < 0.0f) l->sink = sum;
}

typedef struct bench_limit_job {
    bench_limits *limits;
    psc_team_task_fn task;
    int64_t n;
    double seconds;
} bench_limit_job;

/* Wakes the threads before the clock starts. */
static inline void bench_limit_body(void *payload) {
    bench_limit_job *job = payload;
    psc_team *team = job->limits->session->team;
    psc_team_tasks(team, 4 * psc_team_threads(team), bench_spin_task, job->limits);
    const double start = bench_now();
    psc_team_tasks(team, job->n, job->task, job->limits);
    job->seconds = bench_now() - start;
}

/* Operations per second, all threads. */
static inline double bench_peak(bench_limits *l) {
    bench_limit_job job = {l, bench_spin_task, BENCH_SPIN_TASKS, 0.0};
    float out = 0.0f;
    const double each = (double)psc_spin_fma(&out, l->session->kernels->isa, BENCH_SPIN_ROUNDS);
    psc_team_run(l->session->team, bench_limit_body, &job);
    return each * BENCH_SPIN_TASKS / job.seconds;
}

/* Bytes read per second, all threads. */
static inline double bench_bandwidth(bench_limits *l) {
    bench_limit_job job = {l, bench_read_task, (int64_t)(BENCH_READ_BYTES / BENCH_READ_PIECE), 0.0};
    if (!l->pool) {
        l->pool = psc_aligned_alloc(BENCH_READ_BYTES);
        if (!l->pool) bench_fail("out of memory");
        for (size_t i = 0; i < BENCH_READ_BYTES / sizeof *l->pool; i++)
            l->pool[i] = (float)(i % 97);
    }
    psc_team_run(l->session->team, bench_limit_body, &job);
    return (double)BENCH_READ_BYTES / job.seconds;
}

static inline void bench_limits_free(bench_limits *l) {
    psc_aligned_free(l->pool);
    l->pool = NULL;
}

#endif
