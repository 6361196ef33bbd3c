/* What score adds up over examples, and the results of it.
 * Private to cli/. Includes cli.h and psc.h.
 * Threads: main thread only.
 * Ownership: cli_score_totals_free frees the totals; the caller closes the session of results. */
#ifndef SCORE_TOTALS_H
#define SCORE_TOTALS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli.h"
#include "psc.h"

/* Sums of logs are whole units of 2^-40, so that they do not depend on the order of examples. */
__extension__ typedef __int128 cli_fixed;

/* One example, scored. */
typedef struct cli_scored {
    const char *group, *phenomenon; /* phenomenon null: none */
    int32_t n_choices, answer;
    int32_t guess, guess_by_bytes; /* the choice with the largest sum, and sum per byte */
    bool correct, correct_by_bytes;
    bool tied;             /* another choice has the guess's sum, too */
    double log_p, margin;  /* of the answer; minus that of the best other choice, NaN without one */
    int64_t tokens, bytes; /* of the answer */
} cli_scored;

/* Totals of a group, of a phenomenon, or of all. */
typedef struct cli_score_total {
    char *name;          /* null: all */
    int64_t n, n_chosen; /* examples; those with several choices */
    int64_t correct, correct_by_bytes, tied;
    int64_t tokens, bytes;
    cli_fixed log_p, margin;
    int64_t *confusion; /* [most][most] answer, guess; null for phenomena and all */
} cli_score_total;

typedef struct cli_score_list {
    cli_score_total *list; /* [n] by ascending names */
    int32_t n, room;
} cli_score_list;

typedef struct cli_score_totals {
    cli_score_total all;
    cli_score_list groups, phenomena;
    int32_t most;             /* choices of an example so far, at least 2 */
    int64_t tokens, requests; /* of all continuations; continuations */
} cli_score_totals;

psc_status cli_score_totals_add(
    cli_score_totals *totals, const cli_scored *scored, psc_error *error);
/* Leaves the sections of the command line's editors, and the section `score`, in the results of a new
 * session, *out, opened with options. */
psc_status cli_score_totals_report(psc_session **out, psc_model *model,
    const psc_session_options *options, const cli_score_totals *totals,
    const cli_arguments *arguments, psc_error *error);
void cli_score_totals_free(cli_score_totals *totals);

#endif
