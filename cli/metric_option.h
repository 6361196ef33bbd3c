/* The option --metric: a metric of the targets, whose gradient a run takes.
 * Private to cli/.
 * Threads: one.
 * Ownership: cli_metric_free frees what cli_metric_read made. */
#ifndef METRIC_OPTION_H
#define METRIC_OPTION_H

#include "cli.h"
#include "prompt.h"

/* The metric of the arguments for a prompt; without --metric it has no terms. PSC_ERROR_INPUT for
 * an unknown kind and for rows that the prompt does not have. */
psc_status cli_metric_read(
    psc_metric *metric, const cli_arguments *arguments, const cli_prompt *prompt, psc_error *error);
void cli_metric_free(psc_metric *metric);
/* A note of the memory that the gradient takes, where it is not small. */
void cli_metric_announce(psc_session *session, const psc_metric *metric, const cli_prompt *prompt);

#endif
