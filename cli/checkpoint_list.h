/* The checkpoints that --model names: "NAME@step0,step1000" or "NAME@all-steps".
 * Private to cli/. Includes cli.h.
 * Threads: main thread only.
 * Ownership: cli_checkpoint_list_free frees a list. */
#ifndef CHECKPOINT_LIST_H
#define CHECKPOINT_LIST_H

#include "cli.h"

typedef struct cli_checkpoint_list {
    char *base;    /* "NAME" */
    char **labels; /* [n], "step1000" */
    char **models; /* [n], "NAME@step1000", as --model takes one */
    int n;
} cli_checkpoint_list;

/* Whether model (nullable) names several checkpoints: it is not a folder, and after its last '@' it
 * has a comma or "all-steps". */
bool cli_names_checkpoints(const char *model);
/* all-steps are the revisions on this machine, in ascending order of their numbers. */
psc_status cli_checkpoint_list_read(cli_checkpoint_list *out, const char *model, psc_error *error);
void cli_checkpoint_list_free(cli_checkpoint_list *list);

#endif
