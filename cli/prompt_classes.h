/* Labelled prompts: read, split into training and held-out ones, run class by class.
 * Private to cli/. Includes prompts.h.
 * Threads: main thread only.
 * Ownership: cli_classes_free frees everything. */
#ifndef PROMPT_CLASSES_H
#define PROMPT_CLASSES_H

#include "prompts.h"

enum { CLI_CLASSES = 256 }; /* most labels */

typedef struct cli_classed {
    const cli_text *text;
    const char *path; /* of its file */
    int32_t of_class, held;
    uint64_t hash; /* of the seed and the text's bytes */
    cli_prompt prompt;
} cli_classed;

typedef struct cli_classes {
    cli_prompts files[2];
    int32_t n_files;
    const char *labels[CLI_CLASSES]; /* [n_labels] ascending by bytes; of two files minus, plus */
    int32_t n_labels;
    cli_classed *list; /* [n] training before held out, then by class, hash and text */
    int32_t n, longest;
    uint64_t hash; /* of the set of labels and texts, whatever their order */
} cli_classes;

/* Reads FILE, whose lines are objects with "text" and "label", or the files of prompts plus and
 * minus (then file is null). */
psc_status cli_classes_read(
    cli_classes *out, const char *file, const char *plus, const char *minus, psc_error *error);
/* Holds out the prompts whose hash of seed and text is in the first `part` (0..1) of all numbers,
 * so that equal texts stay together; sorts the list and tokenizes it. */
psc_status cli_classes_split(cli_classes *classes, const psc_model *model, double part,
    uint64_t seed, bool bos, psc_error *error);
/* Runs of PSC_PHASE_SOURCE, source 2 c + held, `batch` prompts each. */
psc_status cli_classes_run(
    const cli_classes *classes, psc_session *session, int32_t batch, psc_error *error);
void cli_classes_free(cli_classes *classes);

#endif
