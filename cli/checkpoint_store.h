/* Finished checkpoints of a run with --out DIR, kept in DIR.steps until DIR is written.
 * Private to cli/. Includes lock.h and setup.h.
 * Threads: main thread only.
 * Ownership: cli_checkpoint_store_close frees a store; the folder stays. */
#ifndef CHECKPOINT_STORE_H
#define CHECKPOINT_STORE_H

#include "lock.h"
#include "setup.h"

typedef struct cli_checkpoint_store {
    char *folder; /* DIR.steps; null: without --out nothing is kept */
    cli_lock lock;
} cli_checkpoint_store;

/* Makes the folder, or takes up the one of an earlier run of the same command. Other options, other
 * documents, another target (nullable) or version of the program are refused. base: the model's
 * name without the checkpoints, which may differ. */
psc_status cli_checkpoint_store_open(cli_checkpoint_store *out, const cli_arguments *arguments,
    const char *base, const char *target, psc_error *error);
/* *out: the results that were kept; null: none were. */
psc_status cli_checkpoint_store_read(
    psc_results **out, const cli_checkpoint_store *store, const char *label, psc_error *error);
psc_status cli_checkpoint_store_keep(const cli_checkpoint_store *store, const char *label,
    const psc_results *results, psc_error *error);
/* Removes the folder, when it is no longer needed. */
void cli_checkpoint_store_remove(const cli_checkpoint_store *store);
void cli_checkpoint_store_close(cli_checkpoint_store *store);

#endif
