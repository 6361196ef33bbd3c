/* Wall time since the model was opened, of several checkpoints since each was; the process's peak
 * memory as the system counts it. */
#include "timing.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "say.h"

static struct timespec begun;
static int64_t skipped;

/* Of checkpoints that are finished. */
static bool has_kept;
static double kept_seconds;
static int64_t kept_tokens;

static double seconds_so_far(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begun.tv_sec) + 1e-9 * (double)(now.tv_nsec - begun.tv_nsec);
}

void cli_time_start(void) {
    clock_gettime(CLOCK_MONOTONIC, &begun);
    skipped = 0;
}

void cli_time_skip(int64_t n) {
    skipped = n;
}

void cli_time_keep(int64_t n) {
    has_kept = true;
    kept_seconds += seconds_so_far();
    kept_tokens += n - skipped;
    cli_time_start();
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
    if (!cli_has(arguments, "time")) return NULL;
    n = has_kept ? kept_tokens : n - skipped;
    *out = (psc_result_time)PSC_RESULT_TIME_INIT;
    out->seconds = kept_seconds + seconds_so_far();
    out->tokens_per_second = n > 0 && out->seconds > 0 ? (double)n / out->seconds : NAN;
    out->peak_memory_bytes = peak_memory();
    char speed[80] = "";
    if (!isnan(out->tokens_per_second))
        snprintf(speed, sizeof speed, ", %lld tokens, %.1f tokens per second", (long long)n,
            out->tokens_per_second);
    cli_say("time: %.3f s%s, peak memory %.0f MiB", out->seconds, speed,
        (double)out->peak_memory_bytes / (1 << 20));
    return out;
}
