/* A verb over several checkpoints of a model: once for each, one model open at a time, and the
 * results as one.
 * Private to cli/. Includes cli.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef CHECKPOINTS_H
#define CHECKPOINTS_H

#include "cli.h"

/* Whether --model, --control or the model of info or bench names several checkpoints. */
bool cli_has_checkpoints(const cli_arguments *arguments);
/* Runs the verb for each checkpoint and delivers the stack. With --out DIR finished checkpoints are
 * kept in DIR.steps until DIR is written; the same command continues from there. Returns an exit
 * code. */
int cli_run_checkpoints(const cli_arguments *arguments);

#endif
