/* What the bench programs share: a clock, order statistics, refusal.
 * Private to bench/.
 * Threads: none; each program is one thread and the session's team.
 * Ownership: nothing is kept. */
#ifndef BENCH_H
#define BENCH_H

#include "psc.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Processor time of the process if one thread works, so that other processes disturb it little. */
static inline double bench_seconds(int threads) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int bench_by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts values. */
static inline double bench_quantile(double *values, int n, double q) {
    qsort(values, (size_t)n, sizeof *values, bench_by_value);
    return values[(int)(q * (n - 1) + 0.5)];
}

static inline void bench_fail(const char *text) {
    fprintf(stderr, "bench: %s\n", text);
    exit(1);
}

static inline void bench_check(psc_status status, const psc_error *error) {
    if (status != PSC_OK) bench_fail(error->message);
}

/* The bench's prompt, equal in every contender: ids spread over the vocabulary. */
static inline int32_t bench_token(int position, int n_vocab) {
    return (int32_t)((2654435761u * (unsigned)(position + 1)) % (unsigned)n_vocab);
}

#endif
