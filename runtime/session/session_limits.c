/* The machine's limits, measured by a session's own team inside one region, as in a pass; and the
 * operations and bytes of a pass. */
#include "arena.h"
#include "spin_fma.h"
#include "psc_limits.h"
#include "session.h"
#include "session_inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READ_BYTES ((size_t)192 << 20) /* larger than a last-level cache */
#define READ_PIECE ((size_t)1 << 19)
#define SPIN_ROUNDS ((uint64_t)20000)
/* Some milliseconds, so that an interruption counts as in a pass. */
#define SPIN_TASKS 256

struct psc_limits {
    psc_session *session;
    float *pool; /* READ_BYTES */
    volatile float sink;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- the loops ------------------------------------------------------------------------------- */

static void spin_task(int64_t task, int thread, void *payload) {
    (void)task, (void)thread;
    psc_limits *l = payload;
    float out = 0.0f;
    psc_spin_fma(&out, l->session->kernels->isa, SPIN_ROUNDS);
    if (out < 0.0f) l->sink = out;
}

/* A piece in two streams. */
static void read_task(int64_t task, int thread, void *payload) {
    (void)thread;
    psc_limits *l = payload;
    const size_t half = READ_PIECE / sizeof(float) / 2;
    const float *from = l->pool + (size_t)task * 2 * half;
    float sum = 0.0f;
    l->session->kernels->dot(&sum, from, from + half, half);
    if (sum < 0.0f) l->sink = sum;
}

typedef struct limit_job {
    psc_limits *limits;
    psc_team_task_fn task;
    int64_t n;
    double seconds;
} limit_job;

/* Wakes the threads before the clock starts. */
static void measure(void *payload) {
    limit_job *job = payload;
    psc_team *team = job->limits->session->team;
    psc_team_tasks(team, 4 * psc_team_threads(team), spin_task, job->limits);
    const double start = now();
    psc_team_tasks(team, job->n, job->task, job->limits);
    job->seconds = now() - start;
}

/* --- limits ---------------------------------------------------------------------------------- */

psc_status psc_limits_open(psc_limits **out, psc_session *session, psc_error *error) {
    psc_limits *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l) l->pool = psc_aligned_alloc(READ_BYTES);
    if (!l || !l->pool) {
        free(l);
        return psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory to measure the read bandwidth (%zu MiB)", READ_BYTES >> 20);
    }
    l->session = session;
    for (size_t i = 0; i < READ_BYTES / sizeof *l->pool; i++) l->pool[i] = (float)(i % 97);
    *out = l;
    return PSC_OK;
}

void psc_limits_close(psc_limits **limits) {
    if (!limits || !*limits) return;
    psc_aligned_free((*limits)->pool);
    free(*limits);
    *limits = NULL;
}

double psc_limits_flops(psc_limits *l) {
    limit_job job = {l, spin_task, SPIN_TASKS, 0.0};
    float out = 0.0f;
    const double each = (double)psc_spin_fma(&out, l->session->kernels->isa, SPIN_ROUNDS);
    psc_team_run(l->session->team, measure, &job);
    return each * SPIN_TASKS / job.seconds;
}

double psc_limits_bandwidth(psc_limits *l) {
    limit_job job = {l, read_task, (int64_t)(READ_BYTES / READ_PIECE), 0.0};
    psc_team_run(l->session->team, measure, &job);
    return (double)READ_BYTES / job.seconds;
}

/* --- the work of a pass ---------------------------------------------------------------------- */

static double elements(const psc_packed *w) {
    return (double)w->out * (double)w->k;
}

static double bytes_of(const psc_packed *w) {
    return elements(w) * (double)psc_dtype_size(w->dtype);
}

psc_status psc_session_work(psc_pass_work *out, const psc_session *session, int32_t n_rows,
    int32_t n_keys, psc_error *error) {
    const uint32_t known = out->struct_size;
    if (known < sizeof out->struct_size)
        return psc_fail(error, PSC_ERROR_INPUT,
            "psc_pass_work.struct_size is not set; start from PSC_PASS_WORK_INIT");
    if (n_rows < 1 || n_rows > n_keys)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a pass of %d rows over %d keys does not exist; rows are 1 to the number of keys",
            (int)n_rows, (int)n_keys);
    const psc_model *m = session->model;
    const psc_config *c = &m->config;
    const double rows = n_rows, before = n_keys - n_rows, width = (double)c->d_model;
    const double pairs = rows * before + 0.5 * rows * (rows + 1.0); /* of a row and a key */
    psc_pass_work work = {.struct_size = known,
        .matmul = 2.0 * elements(&m->unembed),
        .weight_bytes = bytes_of(&m->unembed),
        .cache_bytes = 2.0 * n_keys * width * (double)c->n_layers * sizeof(float)};
    for (size_t l = 0; l < c->n_layers; l++) {
        const bool last = l + 1 == c->n_layers;
        for (int w = 0; w <= PSC_W_OUT; w++) {
            const bool all = !last || w == PSC_W_K || w == PSC_W_V;
            work.matmul += 2.0 * (all ? rows : 1.0) * elements(&m->layers[l].matrix[w]);
            work.weight_bytes += bytes_of(&m->layers[l].matrix[w]);
        }
        work.attention += 4.0 * width * (last ? (double)n_keys : pairs);
    }
    memcpy(out, &work, known < sizeof work ? known : sizeof work);
    return PSC_OK;
}
