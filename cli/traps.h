/* Notes on stderr about prompts and targets that are rarely meant as they are written.
 * Private to cli/. Includes prompt.h.
 * Threads: main thread only.
 * Ownership: nothing is kept but which notes were printed. */
#ifndef TRAPS_H
#define TRAPS_H

#include "prompt.h"

/* Prints each note at most once: the text ends with white space; it begins with the beginning token
 * and --bos puts another one in front; the model's tokenizer would put one there; a target that is
 * a token with a space in front, too. place: of the text among several, as in "list, line 2"; null:
 * there is one. Call it after the plugins are loaded, so that a failure is one sentence. */
void cli_trap_notes(const char *place, const cli_prompt *prompt, const psc_model *model,
    const cli_arguments *arguments);

#endif
