/* Wall time since the model was opened; the process's peak memory as the system counts it. */
#include "timing.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static struct timespec begun;
static int64_t skipped;

void cli_time_start(void) {
    clock_gettime(CLOCK_MONOTONIC, &begun);
    skipped = 0;
}

void cli_time_skip(int64_t n) {
    skipped = n;
}

static int64_t peak_memory(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (int64_t)usage.ru_maxrss;
#else
    return (int64_t)usage.ru_maxrss * 1024;
#endif
}

const psc_result_time *cli_time_stop(
    psc_result_time *out, int64_t n, const cli_arguments *arguments) {
    struct timespec now;
    if (!cli_has(arguments, "time")) return NULL;
    clock_gettime(CLOCK_MONOTONIC, &now);
    n -= skipped;
    *out = (psc_result_time)PSC_RESULT_TIME_INIT;
    out->seconds =
        (double)(now.tv_sec - begun.tv_sec) + 1e-9 * (double)(now.tv_nsec - begun.tv_nsec);
    out->tokens_per_second = n > 0 && out->seconds > 0 ? (double)n / out->seconds : NAN;
    out->peak_memory_bytes = peak_memory();
    fprintf(stderr, "pythiascope: time: %.3f s", out->seconds);
    if (!isnan(out->tokens_per_second))
        fprintf(
            stderr, ", %lld tokens, %.1f tokens per second", (long long)n, out->tokens_per_second);
    fprintf(stderr, ", peak memory %.0f MiB\n", (double)out->peak_memory_bytes / (1 << 20));
    return out;
}
