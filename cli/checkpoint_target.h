/* The target of a run over checkpoints that was given none: the token that the last one expects.
 * Private to cli/. Includes checkpoint_list.h.
 * Threads: main thread only.
 * Ownership: cli_target_free frees a choice. */
#ifndef CHECKPOINT_TARGET_H
#define CHECKPOINT_TARGET_H

#include "checkpoint_list.h"

typedef struct cli_target_choice {
    const cli_option *option; /* --target of the verb; null: nothing is to be added */
    char *value;              /* "#312", or "text: old" */
} cli_target_choice;

/* Each checkpoint would explain another top:1, and numbers of different tokens say nothing of the
 * training. Chooses nothing for verbs without a prompt, and where --target or --contrast is given.
 * Says the choice on stderr. */
psc_status cli_target_choose(cli_target_choice *out, const cli_arguments *arguments,
    const cli_checkpoint_list *list, psc_error *error);
/* The verb's --target, which a choice adds. */
const cli_option *cli_target_option(const cli_arguments *arguments);
void cli_target_free(cli_target_choice *choice);

#endif
