/* What generate shows after the prompt and after each token: the results of the plugins.
 * Private to cli/. Includes prompt.h.
 * Threads: main thread only.
 * Ownership: cli_steps_close frees the text. */
#ifndef STEPS_H
#define STEPS_H

#include "prompt.h"

typedef struct cli_steps {
    const cli_arguments *arguments;
    const psc_model *model;
    bool shown; /* --plugin, --json or --out: steps instead of a stream of text */
    bool json;  /* one object per line */
    char *text; /* the prompt and the tokens after it; null for a prompt of ids */
    size_t bytes, room;
    int32_t n;                  /* tokens after the prompt */
    psc_generated_token *drawn; /* [n] */
    int32_t room_drawn, n_prompt;
    int32_t number;            /* of the prompt, in objects; 0: there is one */
    psc_generation generation; /* settings and end; the rest once results are written */
    char *command;
} cli_steps;

/* limit: most tokens to draw. */
void cli_steps_open(cli_steps *out, const psc_model *model, const psc_sampler *sampler,
    int64_t limit, const cli_arguments *arguments);
void cli_steps_close(cli_steps *steps);
/* Refuses plugins' options that need the whole text in one run. */
psc_status cli_steps_check(const cli_arguments *arguments, psc_error *error);
/* Begins the text with the prompt's. Does nothing if no steps are shown. */
psc_status cli_steps_prompt(cli_steps *steps, const cli_prompt *prompt, psc_error *error);
/* A drawn token: appends its bytes to the text, gives it its range of them, and keeps what the
 * logits of row `index` of the last run say of it. */
psc_status cli_steps_token(cli_steps *steps, const psc_session *session, int32_t index,
    psc_token *token, psc_error *error);
/* Prints the step's results under the token that was run; token null: the prompt. */
psc_status cli_steps_show(
    cli_steps *steps, const psc_session *session, const psc_token *token, psc_error *error);
/* Prints the object of a prompt of several that were decoded together:
 * settings, text and tokens. */
psc_status cli_steps_show_prompt(
    cli_steps *steps, const psc_session *session, int32_t number, psc_error *error);
/* Prints a token that was drawn but does not fit the context; with --json an object with it and the
 * results of the step before. */
psc_status cli_steps_show_last(
    cli_steps *steps, const psc_session *session, const psc_token *token, psc_error *error);
/* Adds to a plugin's sentence in which step it failed. Returns status. */
psc_status cli_steps_error(const cli_steps *steps, psc_status status, psc_error *error);
/* Writes the last step's results into the folder of --out. */
psc_status cli_steps_end(cli_steps *steps, const psc_session *session, psc_error *error);

#endif
