/* Bytes wait until they complete a character; a token without text is printed as its number. */
#include "text_stream.h"

#include <stdio.h>
#include <string.h>

#include "report.h"

/* Drops control characters except line breaks and tabs for a terminal: a model's text is
 * untrusted. */
static void put_character(const cli_text_stream *stream, const char *character, size_t n) {
    char shown[16];
    if (!stream->on_terminal || *character == '\n' || *character == '\t') {
        fwrite(character, 1, n, stdout);
        return;
    }
    psc_report_escape(shown, sizeof shown, character, n);
    fputs(shown, stdout);
}

/* Prints complete characters; a byte that cannot begin one becomes U+FFFD. */
static void put_whole(cli_text_stream *stream, bool at_end) {
    while (stream->n_held > 0) {
        int n = psc_report_character(stream->held, stream->n_held);
        if (n == 0 && !at_end) return;
        size_t used = n > 0 ? (size_t)n : 1;
        put_character(stream, n > 0 ? stream->held : "\xef\xbf\xbd", n > 0 ? used : 3);
        memmove(stream->held, stream->held + used, stream->n_held - used);
        stream->n_held -= used;
    }
}

static void put_bytes(cli_text_stream *stream, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        stream->held[stream->n_held++] = bytes[i];
        put_whole(stream, false);
    }
    if (fflush(stdout) != 0) stream->failed = true;
}

void cli_text_stream_token(cli_text_stream *stream, const psc_model *model, int32_t id) {
    size_t n = 0;
    const char *bytes = psc_model_token_bytes(model, id, &n);
    char number[24];
    if (!bytes) { /* no text: a model without a tokenizer, or a padded id */
        snprintf(number, sizeof number, "#%d ", id);
        bytes = number;
        n = strlen(number);
    }
    put_bytes(stream, bytes, n);
}

void cli_text_stream_end(cli_text_stream *stream, bool line) {
    put_whole(stream, true);
    if (line) putchar('\n');
}
