/* The beginning-of-text token in front of a text, when a plugin needs it.
 * Private to cli/. Includes interventions.h.
 * Threads: main thread only.
 * Ownership: nothing is kept; the prompts own their tokens. */
#ifndef BOS_H
#define BOS_H

#include "interventions.h"

typedef struct cli_bos {
    char plugin[80]; /* the first plugin that needs the token; "": none does */
    bool added;
    char token[64]; /* its text, for messages; set by cli_bos_add and cli_bos_name */
} cli_bos;

/* Looks at the verb's one plugin, or if that is null at those of the arguments. Ignores what cannot
 * be loaded: loading it into the session says why. Fails without memory only. */
psc_status cli_bos_find(
    cli_bos *out, const cli_arguments *arguments, const char *plugin, psc_error *error);
/* Puts the token in front of the prompt and of those source prompts that lack it, if a plugin needs
 * it and the model has one. Refuses ids of the caller that do not begin with it. */
psc_status cli_bos_add(cli_bos *bos, const psc_model *model, cli_prompt *prompt,
    cli_sources *sources, psc_error *error);
/* Sets the text of the model's beginning token, for a note without cli_bos_add. */
void cli_bos_name(cli_bos *bos, const psc_model *model);
/* Says on stderr that the token was added in front of `what`. Call it after the plugins are
 * loaded, so that a failure is one sentence. */
void cli_bos_note(const cli_bos *bos, const char *what);

#endif
