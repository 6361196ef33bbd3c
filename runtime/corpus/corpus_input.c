/* A stream that is read once, such as standard input, as a source of documents (corpus_source.c):
 * JSONL if its first byte that is not blank is a brace, one document per line; otherwise the whole
 * of it is one document, kept in memory. Compressed streams are decompressed. */
#include "corpus.h"

#include "arena.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TEXT ((size_t)256 << 20) /* bytes of a stream of plain text */

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Looks at the beginning of the stream. */
static psc_status begin(psc_corpus *c, psc_error *error) {
    const char *data = NULL;
    size_t n = 0, i = 0;
    psc_status status = corpus_stream_peek(&data, &n, c->input.stream, error);
    while (status == PSC_OK && i < n && is_space(data[i])) i++;
    c->input.jsonl = c->input.jsonl || (status == PSC_OK && i < n && data[i] == '{');
    c->input.begun = true;
    c->files[0].jsonl = c->input.jsonl;
    return status;
}

/* The next line with a document; out->end after the last one. */
static psc_status next_line(psc_source_document *out, psc_corpus *c, psc_error *error) {
    corpus_line line = {LINE_BLANK, 0};
    char why[CORPUS_FAULT];
    psc_status status = PSC_OK;
    while (status == PSC_OK && line.kind == LINE_BLANK) {
        status = corpus_read_line(&line, c, c->input.stream, c->input.name, error);
        c->input.line++;
    }
    if (status != PSC_OK) return status;
    out->end = line.kind == LINE_END;
    if (out->end) return PSC_OK;
    status = corpus_take_line(why, c, &line, error);
    c->input.text = c->text;
    c->text = NULL;
    out->text = c->input.text;
    out->bytes = out->text ? (size_t)c->text_bytes : 0;
    snprintf(c->input.fault, sizeof c->input.fault, "(line %" PRId64 " of %.60s) %.180s",
        c->input.line, c->input.name, why);
    if (!out->text) out->fault = c->input.fault;
    return status;
}

/* All of it. */
static psc_status whole_text(psc_source_document *out, psc_corpus *c, psc_error *error) {
    size_t room = 0, bytes = 0, n = 0;
    const char *data = NULL;
    psc_status status = PSC_OK;
    c->input.ended = true;
    while ((status = corpus_stream_peek(&data, &n, c->input.stream, error)) == PSC_OK && n > 0) {
        if (bytes + n > MOST_TEXT)
            return psc_fail(error, PSC_ERROR_MEMORY,
                "%s has more than %zu MiB of plain text; save it in a file, or write JSONL",
                c->input.name, MOST_TEXT >> 20);
        if (!psc_grow((void **)&c->input.text, &room, bytes + n, 1))
            return psc_fail(
                error, PSC_ERROR_MEMORY, "not enough memory for the text of %s", c->input.name);
        memcpy(c->input.text + bytes, data, n);
        bytes += n;
        corpus_stream_skip(c->input.stream, n);
    }
    out->text = c->input.text;
    out->bytes = bytes;
    return status;
}

/* A psc_source_fn; payload: the corpus. Damaged data are one document that cannot be read. */
static int next_of_input(psc_source_document *out, void *payload) {
    psc_corpus *c = payload;
    psc_error *error = &c->input.error;
    psc_status status = PSC_OK;
    free(c->input.text);
    c->input.text = NULL;
    if (c->input.ended) {
        out->end = 1;
        return 0;
    }
    if (!c->input.begun) status = begin(c, error);
    if (status == PSC_OK)
        status = c->input.jsonl ? next_line(out, c, error) : whole_text(out, c, error);
    if (status == PSC_OK) return 0;
    c->input.ended = true;
    if (status != PSC_ERROR_INPUT) return 1;
    snprintf(c->input.fault, sizeof c->input.fault, "(%.220s)", error->message);
    *out = (psc_source_document){.struct_size = sizeof *out, .fault = c->input.fault};
    error->status = PSC_OK;
    return 0;
}

psc_status psc_corpus_open_stream(psc_corpus **out, const psc_model *model, FILE *stream,
    const char *name, const psc_corpus_options *options, psc_error *error) {
    *out = NULL;
    if (!stream || !name) return psc_fail(error, PSC_ERROR_INPUT, "the stream or its name is null");
    psc_status status = psc_corpus_open_source(out, model, next_of_input, NULL, options, error);
    if (status != PSC_OK) return status;
    psc_corpus *c = *out;
    c->source.payload = c;
    c->input.name = strdup(name);
    c->files = calloc(1, sizeof *c->files); /* names the documents; first is 0 */
    if (c->files) c->files[0].path = strdup(name);
    c->input.jsonl = options && options->field;
    if (!c->input.name || !c->files || !c->files[0].path)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a corpus");
    else
        status = corpus_stream_take(&c->input.stream, stream, c->input.name, error);
    if (status != PSC_OK) psc_corpus_close(out);
    return status;
}
