/* A verb in several processes that mpirun or srun started: whether it is one work of all of them,
 * and how each of them ends.
 * Private to cli/. Includes cli.h and psc.h.
 * Threads: main thread only.
 * Ownership: nothing is kept but this process's last sentence. */
#ifndef SPREAD_H
#define SPREAD_H

#include "cli.h"
#include "psc.h"

// clang-format off
#define CLI_SPREAD_OPTIONS                                                                         \
    {"mpi", 1, false, "WHEN",                                                                      \
        "auto: the processes that mpirun started share the\n"                                      \
        "work; no: each works alone; yes: for a launcher that\n"                                   \
        "is not recognized; default: auto"},                                                       \
    {"mpi-timeout", 1, false, "S",                                                                 \
        "seconds of silence after which a process counts as\n"                                     \
        "lost; default: 60"}
// clang-format on

/* Before cli_parse: a process that is not the first keeps its sentences. */
void cli_spread_prepare(const cli_verb *verb);
/* After it, whatever it returned: joins the other processes if they share the work. Returns code,
 * or the exit code of its own failure. */
int cli_spread_begin(const cli_arguments *arguments, int code);
/* With several processes, which all run the same session: shares its variants among them. */
psc_status cli_spread_share(psc_session *session, psc_error *error);
/* All processes: rank 0's text is the others' *text, too, which the caller frees. */
psc_status cli_spread_tell(char **text, psc_error *error);
/* Leaves them; returns the exit code. */
int cli_spread_end(int code);

#endif
