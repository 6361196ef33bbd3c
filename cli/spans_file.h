/* Texts with labelled spans, from a JSONL file, as sentences whose words are the spans.
 * Private to cli/. Includes psc.h and cli.h; the source also jansson.
 * Threads: main thread only.
 * Ownership: cli_spans_free frees everything. */
#ifndef SPANS_FILE_H
#define SPANS_FILE_H

#include "cli.h"
#include "psc.h"

/* One line of the file is {"text": "...", "spans": [{"start": 0, "end": 4, "label": "..."}, ...]},
 * start and end in bytes of the UTF-8 text, the end excluded. A span may name its "task"; without
 * it is "label". A span becomes a word with the feature task=label. */
typedef struct cli_spans {
    psc_sentence *sentences; /* [n] in the file's order; those without spans are left out */
    int32_t n;
    char (*tasks)[64]; /* [n_tasks] in the order of their first use */
    int32_t n_tasks;
    void **blocks; /* [n] what the sentences point to */
} cli_spans;

enum { CLI_SPANS_TASKS = 16 };
#define CLI_SPANS_LINE ((size_t)16 << 20) /* most bytes of a line */

/* Nonzero for a path that ends in .jsonl. */
bool cli_spans_is(const char *path);
/* An error is one sentence that begins with "file:line:". */
psc_status cli_spans_read(cli_spans *out, const char *path, psc_error *error);
void cli_spans_free(cli_spans *spans);

#endif
