/* --pairs FILE: a set of pairs in place of a prompt.
 * Private to cli/. Includes prompt.h and psc_pairs.h.
 * Threads: main thread only.
 * Ownership: the caller closes the set and the results. */
#ifndef PAIRS_OPTION_H
#define PAIRS_OPTION_H

#include "prompt.h"
#include "psc_pairs.h"

// clang-format off
#define CLI_PAIRS_OPTIONS                                                                          \
    {"pairs", 1, false, "FILE",                                                                    \
        "a set of pairs, a line of JSON each (docs/pairs.md):\n"                                   \
        "{\"clean\": S, \"corrupt\": S, \"target\": T}; means over\n"                              \
        "the set with intervals; - is standard input"},                                            \
    {"align", 1, false, "HOW",                                                                     \
        "how the prompts of a pair are aligned: equal (they are\n"                                 \
        "equally long), end, start or spans; default: equal"},                                     \
    {"batch", 1, false, "N",                                                                       \
        "pairs per pass; results do not depend on it"},                                            \
    {"draws", 1, false, "N",                                                                       \
        "draws of the bootstrap and of the test over pairs;\n"                                     \
        "0: none; default: 10000"},                                                                \
    {"seed", 1, false, "N", "of these draws; default: 0"}
// clang-format on

typedef struct cli_pairs {
    psc_pairs *set; /* null until it is read */
    psc_pairs_options how;
    psc_pairs_run_options run;
    long long batch; /* 0: chosen by the prompts' length */
} cli_pairs;

/* 0, or CLI_USAGE after a sentence: a set is the only prompt, and its options
 * are given with it. Without
 * --pairs: only that. */
int cli_pairs_check(cli_pairs *out, const cli_arguments *arguments);
/* Reads the set of --pairs. bos: a beginning token precedes every prompt. */
psc_status cli_pairs_read(
    cli_pairs *pairs, const psc_model *model, const char *path, bool bos, psc_error *error);
/* The capacity of a session's sequences and their number. */
void cli_pairs_size(psc_session_options *out, const cli_pairs *pairs, const psc_model *model);
/* The tokens of all clean prompts; 0 before the set is read. */
int64_t cli_pairs_tokens(const cli_pairs *pairs);
/* Adds the target of each pair, unless the command line names targets. */
psc_status cli_pairs_target(psc_session *session, const cli_arguments *arguments, psc_error *error);
/* psc_pairs_run under a progress bar. */
psc_status cli_pairs_run(
    psc_results **out, psc_session *session, const cli_pairs *pairs, psc_error *error);

#endif
