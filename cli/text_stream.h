/* A text on the standard output that grows token by token, whole characters only.
 * Private to cli/. Includes psc.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef TEXT_STREAM_H
#define TEXT_STREAM_H

#include "psc.h"

#include <stdbool.h>

/* Zeroed, except on_terminal: control characters are escaped. */
typedef struct cli_text_stream {
    char held[4]; /* bytes that do not complete a character yet */
    size_t n_held;
    bool on_terminal, failed;
} cli_text_stream;

void cli_text_stream_token(cli_text_stream *stream, const psc_model *model, int32_t id);
/* Prints what is held; line: and a line break. */
void cli_text_stream_end(cli_text_stream *stream, bool line);

#endif
