/* How long a cache line takes from one processor core to another and back, in nanoseconds.
 * Private to bench/pass.c.
 * Threads: starts one, and ends it.
 * Ownership: nothing is kept.
 *
 * A machine may run two threads on cores that share a cache, or on cores that do not, and may change
 * that at any time. What one thread wrote and the other reads then takes several times as long. */
#ifndef ROUND_TRIP_H
#define ROUND_TRIP_H

#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>

#define TRIPS 500 /* of a turn */
#define TRIP_TURNS 40

typedef struct trip_line {
    _Alignas(128) atomic_int at; /* even: the caller's turn */
} trip_line;

static void *send_back(void *payload) {
    trip_line *line = payload;
    for (int i = 0; i < TRIPS * TRIP_TURNS; i++) {
        while (atomic_load_explicit(&line->at, memory_order_acquire) != 2 * i + 1) continue;
        atomic_store_explicit(&line->at, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

/* The fastest turn's mean: other processes take a core away from slower ones. */
static double bench_round_trip(void) {
    trip_line line = {0};
    pthread_t other;
    double best = 1.0;
    if (pthread_create(&other, NULL, send_back, &line) != 0) bench_fail("cannot start a thread");
    for (int turn = 0, i = 0; turn < TRIP_TURNS; turn++) {
        const double start = bench_now();
        for (const int end = i + TRIPS; i < end; i++) {
            atomic_store_explicit(&line.at, 2 * i + 1, memory_order_release);
            while (atomic_load_explicit(&line.at, memory_order_acquire) != 2 * i + 2) continue;
        }
        const double mean = (bench_now() - start) / TRIPS;
        best = mean < best ? mean : best;
    }
    pthread_join(other, NULL);
    return 1e9 * best;
}

#endif
