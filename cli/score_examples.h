/* The examples of the verb score, from JSONL files, one at a time.
 * Private to cli/. Includes psc.h; the source also jansson.
 * Threads: main thread only.
 * Ownership: the reader owns its file and line; cli_example_free frees an example. */
#ifndef SCORE_EXAMPLES_H
#define SCORE_EXAMPLES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "psc.h"

enum { CLI_SCORE_CHOICES = 256 }; /* most of an example */

/* n bytes, which may hold 0 bytes. */
typedef struct cli_score_text {
    const char *bytes;
    size_t n;
} cli_score_text;

/* A line of a file; its texts belong to `object`. */
typedef struct cli_example {
    json_t *object;
    const char *path; /* of its file; lives as long as the reader's list */
    int64_t line;     /* from 1 */
    size_t bytes;     /* of the line */
    cli_score_text prefix;
    cli_score_text choices[CLI_SCORE_CHOICES]; /* [n_choices]; one: the last word of a text */
    int32_t n_choices, answer;
    bool pair;                      /* good and bad, which may be equal */
    bool published;                 /* a pair of BLiMP: one may be the beginning of the other */
    const char *group, *phenomenon; /* null: none given */
    const json_t *id;               /* a text or a whole number; null: none given */
} cli_example;

typedef struct cli_examples {
    char **paths; /* [n_paths] files */
    int32_t n_paths, at;
    int64_t limit; /* most examples of each file */
    bool allow_beginnings;
    FILE *file; /* paths[at]; null between files */
    char *line; /* [room] */
    size_t room;
    int64_t number, taken; /* lines and examples of the file so far */
} cli_examples;

/* Lists the files: paths as given, - for standard input, and of a folder its files NAME.jsonl by
 * ascending names, without hidden ones. */
psc_status cli_examples_open(
    cli_examples *out, const char *const *paths, int32_t n, psc_error *error);
void cli_examples_close(cli_examples *examples);
/* The next example; *got is false after the last. An error names file and line. */
psc_status cli_examples_next(cli_example *out, bool *got, cli_examples *examples, psc_error *error);
void cli_example_free(cli_example *example);
/* PSC_ERROR_INPUT with "FILE, line 3: " in front of the sentence. */
psc_status cli_example_fail(const cli_example *example, psc_error *error, const char *format, ...)
    PSC_PRINTF(3, 4);

#endif
