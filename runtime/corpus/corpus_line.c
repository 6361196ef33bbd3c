/* A line of a JSONL file, and its text: one string field of a JSON object. */
#include "corpus.h"

#include "arena.h"
#include "json.h"
#include "jsonl.h"

#include <stdlib.h>
#include <string.h>

/* --- lines ----------------------------------------------------------------------------------- */

/* Appends n bytes; a line that is too long keeps its first ones. */
static psc_status append(psc_corpus *c, corpus_line *out, const char *data, size_t n,
    const char *name, psc_error *error) {
    if (n > CORPUS_LINE - out->n) {
        n = CORPUS_LINE - out->n;
        out->kind = LINE_TOO_LONG;
    }
    if (!psc_grow((void **)&c->line, &c->line_capacity, out->n + n + 1, 1))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a line of %s", name);
    memcpy(c->line + out->n, data, n);
    out->n += n;
    return PSC_OK;
}

static bool is_blank(const char *line, size_t n) {
    size_t i = 0;
    while (i < n && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r')) i++;
    return i == n;
}

psc_status corpus_pass_line(int *kind, corpus_stream *stream, psc_error *error) {
    psc_status status = PSC_OK;
    const char *data = NULL, *end = NULL;
    size_t n = 0, length = 0;
    *kind = LINE_END;
    do {
        status = corpus_stream_peek(&data, &n, stream, error);
        if (status != PSC_OK || n == 0) break;
        end = memchr(data, '\n', n);
        if (end) n = (size_t)(end - data);
        length += n;
        if (*kind != LINE_READ)
            *kind = length <= CORPUS_LINE && is_blank(data, n) ? LINE_BLANK : LINE_READ;
        corpus_stream_skip(stream, n + (end != NULL));
    } while (!end);
    return status;
}

psc_status corpus_read_line(
    corpus_line *out, psc_corpus *c, corpus_stream *stream, const char *name, psc_error *error) {
    psc_status status = PSC_OK;
    const char *data = NULL, *end = NULL;
    size_t n = 0, read = 0;
    *out = (corpus_line){LINE_READ, 0};
    do {
        status = corpus_stream_peek(&data, &n, stream, error);
        if (status != PSC_OK || n == 0) break;
        end = memchr(data, '\n', n);
        if (end) n = (size_t)(end - data);
        status = append(c, out, data, n, name, error);
        corpus_stream_skip(stream, n + (end != NULL));
        read += n;
    } while (status == PSC_OK && !end);
    if (status != PSC_OK) return status;
    if (!end && read == 0)
        out->kind = LINE_END;
    else if (out->kind == LINE_READ && is_blank(c->line, out->n))
        out->kind = LINE_BLANK;
    return PSC_OK;
}

/* --- the field ------------------------------------------------------------------------------- */

static const char *fault_of(const json_t *object, const json_t *field, const json_error_t *why) {
    if (!object && psc_json_line_fault(why)) return psc_json_line_fault(why);
    if (!json_is_object(object)) return "is not a JSON object";
    return json_is_string(field) ? NULL : "has no string in the field";
}

/* Keeps the field's text as c->text. */
static psc_status take_field(psc_corpus *c, size_t n, const char **why, psc_error *error) {
    json_error_t problem;
    json_t *object = psc_json_line(c->line, n, JSON_ALLOW_NUL, &problem);
    const bool no_memory = !object && psc_json_no_memory(&problem);
    const json_t *field = json_is_object(object) ? json_object_get(object, c->field) : NULL;
    *why = fault_of(object, field, &problem);
    if (!no_memory && !*why) {
        c->text_bytes = (int64_t)json_string_length(field);
        c->text = malloc((size_t)c->text_bytes + 1);
        if (c->text) memcpy(c->text, json_string_value(field), (size_t)c->text_bytes);
    }
    json_decref(object);
    if (!no_memory && (*why || c->text)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a line");
}

psc_status corpus_take_line(
    char fault[CORPUS_FAULT], psc_corpus *c, const corpus_line *line, psc_error *error) {
    const char *why = "is longer than 16 MiB";
    psc_status status = PSC_OK;
    if (line->kind == LINE_READ) status = take_field(c, line->n, &why, error);
    const bool named = why && strstr(why, "field");
    if (named)
        snprintf(fault, CORPUS_FAULT, "%s '%.60s'", why, c->field);
    else
        snprintf(fault, CORPUS_FAULT, "%s", why ? why : "");
    return status;
}
