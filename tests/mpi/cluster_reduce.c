/* The time of one reduction of sums of 128 bits into rank 0, as corpus makes it at each save.
 * usage: mpirun -n N cluster_reduce MEGABYTES [REPEATS] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cluster.h"
#include "psc_spread.h"

static psc_status add(void *to, const void *from, int64_t n, void *payload, psc_error *error) {
    return psc_totals_add(payload, to, from, n, error);
}

static void say(const char *sentence) {
    fprintf(stderr, "%s\n", sentence);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char **argv) {
    const double megabytes = argc > 1 ? atof(argv[1]) : 6.6;
    const int repeats = argc > 2 ? atoi(argv[2]) : 10;
    psc_totals table = {.struct_size = sizeof table,
        .n = (int64_t)(megabytes * 1e6 / 16),
        .slot_bytes = 16,
        .plugin = "bench",
        .name = "sums"};
    cluster_slots slots = {.n = table.n, .bytes = 16, .add = add, .payload = &table};
    psc_error error = {PSC_OK, ""};
    psc_status status = cluster_open(60, &error);
    double least = 1e9;
    slots.slots = calloc((size_t)table.n, 16);
    if (!slots.slots) return 1;
    for (int i = 0; !status && i < repeats; i++) {
        const double begin = now();
        status = cluster_reduce(&slots, &error);
        if (now() - begin < least) least = now() - begin;
    }
    if (!status && cluster_rank() == 0)
        printf("%d ranks, %.1f MB each: %.1f ms, %.2f GB/s of one rank's totals\n", cluster_size(),
            megabytes, 1e3 * least, 1e-3 * megabytes / least);
    if (status) say(error.message);
    free(slots.slots);
    return cluster_close(status ? 1 : 0, error.message, say);
}
