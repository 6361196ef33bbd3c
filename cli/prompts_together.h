/* generate with several prompts: their sequences are decoded together and share each read of the
 * weights. A prompt's tokens are those of a run of its own.
 * Private to cli/. Includes prompts.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef PROMPTS_TOGETHER_H
#define PROMPTS_TOGETHER_H

#include "prompts.h"

/* Sequences that are decoded together without --batch. */
#define CLI_TOGETHER 16

typedef struct cli_generation {
    psc_session_options session_options;
    psc_sampler sampler; /* at the beginning of each prompt's draws */
    long long n;         /* most tokens to add to a prompt */
    long long batch;     /* most sequences that are decoded together */
} cli_generation;

/* Whether nothing but tokens is asked for: no plugin, target, intervention or folder, which belong
 * to a run of one prompt. */
bool cli_prompts_are_plain(const cli_prompts *prompts, const cli_arguments *arguments);
/* Continues all prompts and prints them in their order: the text of the first one that is not
 * finished as it comes; with --json an object per prompt, when it is finished. The prompts have
 * been tried (cli_prompts_try). */
psc_status cli_prompts_together(const cli_generation *how, cli_prompts *prompts, psc_model *model,
    const cli_arguments *arguments, psc_error *error);

#endif
