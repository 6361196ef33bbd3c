/* --time: how long the work took, and the memory it needed.
 * Private to cli/. Includes cli.h and psc_results.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef TIMING_H
#define TIMING_H

#include "cli.h"
#include "psc_results.h"

#include <stdint.h>

/* The work begins; an earlier beginning is forgotten. cli_open_model calls it. */
void cli_time_start(void);
/* The work on one of several checkpoints is done, over n tokens. cli_time_stop then adds the times
 * of all, each since its own start, and counts their tokens in place of the n that it is given. */
void cli_time_keep(int64_t n);
/* n of the tokens that cli_time_stop will be given were counted before the work: a resumed run. */
void cli_time_skip(int64_t n);
/* With --time: fills *out for work over n tokens (0: none), prints it as one line on the standard
 * error and returns out. Otherwise returns null. */
const psc_result_time *cli_time_stop(
    psc_result_time *out, int64_t n, const cli_arguments *arguments);

// clang-format off
#define CLI_TIME_OPTION                                                                            \
    {"time", 0, false, "",                                                                         \
        "print seconds, tokens per second and peak memory, and\n"                                  \
        "add them to results.json"}
// clang-format on

#endif
