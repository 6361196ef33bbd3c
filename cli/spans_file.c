/* JSONL with labelled spans. A sentence, its words, texts and features are one block of memory. */
#include "spans_file.h"

#include "input.h"
#include "report_line.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The most memory that all texts and spans may take. */
#define MOST_BYTES ((size_t)1 << 30)
enum { MOST_LABEL = 127 };

typedef struct reader {
    cli_spans *out;
    const char *path;
    FILE *file;
    char *line; /* [room] */
    size_t room, used, total;
    int32_t number, capacity;
    psc_error *error;
} reader;

/* A span of a line as it is checked. */
typedef struct span {
    uint32_t start, end;
    const char *label, *task; /* of the line's JSON */
} span;

bool cli_spans_is(const char *path) {
    const size_t n = strlen(path);
    return n > 6 && strcmp(path + n - 6, ".jsonl") == 0;
}

static psc_status no_memory(reader *r) {
    return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for %s", r->path);
}

static psc_status bad(const reader *r, const char *what) {
    return psc_fail(r->error, PSC_ERROR_INPUT, "%s:%d: %s", r->path, (int)r->number, what);
}

/* --- lines ----------------------------------------------------------------------------------- */

/* Reads the next line without its end; *got is false at the end of the file. */
static psc_status read_line(reader *r, bool *got) {
    int c = 0;
    r->used = 0;
    r->number++;
    while ((c = getc(r->file)) != EOF && c != '\n') {
        if (r->used == CLI_SPANS_LINE) return bad(r, "the line is longer than 16 MiB");
        if (r->used + 1 >= r->room) {
            const size_t room = r->room ? 2 * r->room : 4096;
            char *line = realloc(r->line, room);
            if (!line) return no_memory(r);
            r->line = line;
            r->room = room;
        }
        r->line[r->used++] = (char)c;
    }
    if (ferror(r->file)) return psc_fail(r->error, PSC_ERROR_IO, "cannot read %s", r->path);
    *got = c != EOF || r->used > 0;
    return PSC_OK;
}

static bool is_blank(const reader *r) {
    for (size_t i = 0; i < r->used; i++)
        if (!isspace((unsigned char)r->line[i])) return false;
    return true;
}

/* --- spans ----------------------------------------------------------------------------------- */

static bool is_name(const char *text) {
    size_t n = 0;
    for (; text[n]; n++)
        if (!isalnum((unsigned char)text[n]) && text[n] != '_' && text[n] != '-') return false;
    return n > 0 && n < 64;
}

static psc_status take_span(
    reader *r, const json_t *json, const char *text, size_t bytes, span *out) {
    const json_t *start = json_object_get(json, "start"), *end = json_object_get(json, "end");
    const json_t *task = json_object_get(json, "task"), *label = json_object_get(json, "label");
    out->label = json_string_value(label);
    out->task = task ? json_string_value(task) : "label";
    if (!json_is_integer(start) || !json_is_integer(end))
        return bad(r, "a span needs the whole numbers \"start\" and \"end\"");
    if (!out->label || !*out->label || strchr(out->label, '|'))
        return bad(r, "a span needs a \"label\", a text without |");
    if (psc_report_line_has_zero(label)) return bad(r, "a span's label has a 0 byte");
    if (strlen(out->label) > MOST_LABEL) return bad(r, "a span's label is longer than 127 bytes");
    if (!out->task || !is_name(out->task) || (task && psc_report_line_has_zero(task)))
        return bad(r, "a span's \"task\" needs 1 to 63 letters, digits, _ or -");
    const json_int_t from = json_integer_value(start), to = json_integer_value(end);
    if (from < 0 || from >= to || to > (json_int_t)bytes)
        return bad(r, "a span needs 0 <= start < end <= the bytes of the text");
    if (((unsigned char)text[from] & 0xc0) == 0x80 || ((unsigned char)text[to] & 0xc0) == 0x80)
        return bad(r, "a span begins or ends inside a character; count bytes of UTF-8");
    out->start = (uint32_t)from;
    out->end = (uint32_t)to;
    return PSC_OK;
}

static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    const int task = strcmp(x->task, y->task);
    return task ? task : strcmp(x->label, y->label);
}

static psc_status note_task(reader *r, const char *name) {
    cli_spans *out = r->out;
    for (int32_t i = 0; i < out->n_tasks; i++)
        if (strcmp(out->tasks[i], name) == 0) return PSC_OK;
    if (out->n_tasks == CLI_SPANS_TASKS) return bad(r, "the spans have more than 16 tasks");
    snprintf(out->tasks[out->n_tasks], sizeof out->tasks[0], "%s", name);
    out->n_tasks++;
    return PSC_OK;
}

/* --- sentences ------------------------------------------------------------------------------- */

/* Lays a sentence out in one block: words, features, the text. */
static psc_status add_sentence(
    reader *r, const char *text, size_t bytes, const span *spans, int32_t n) {
    cli_spans *out = r->out;
    size_t size = (size_t)n * sizeof(psc_word) + bytes + 1;
    for (int32_t i = 0; i < n; i++) size += strlen(spans[i].task) + strlen(spans[i].label) + 2;
    r->total += size;
    if (r->total > MOST_BYTES) return bad(r, "the texts and spans need more than 1 GiB");
    if (out->n == r->capacity) {
        const size_t capacity = r->capacity ? 2 * (size_t)r->capacity : 256;
        psc_sentence *sentences = realloc(out->sentences, capacity * sizeof *sentences);
        if (sentences) out->sentences = sentences;
        void **blocks = sentences ? realloc(out->blocks, capacity * sizeof *blocks) : NULL;
        if (!blocks) return no_memory(r);
        out->blocks = blocks;
        r->capacity = (int32_t)capacity;
    }
    psc_word *words = malloc(size);
    if (!words) return no_memory(r);
    char *to = (char *)(words + n);
    memcpy(to, text, bytes + 1);
    out->blocks[out->n] = words;
    out->sentences[out->n++] =
        (psc_sentence){"", to, (uint32_t)bytes, 0, n, words, 0, 0, r->number};
    to += bytes + 1;
    for (int32_t i = 0; i < n; i++) {
        const span *s = &spans[i];
        words[i] = (psc_word){s->start, s->end, i ? 0 : -1, "", "", "", "", to, "", ""};
        to += sprintf(to, "%s=%s", s->task, s->label) + 1;
    }
    return PSC_OK;
}

static psc_status take_line(reader *r, const json_t *json) {
    const json_t *text = json_object_get(json, "text"), *list = json_object_get(json, "spans");
    if (!json_is_string(text) || !json_is_array(list))
        return bad(r, "a line needs {\"text\": \"...\", \"spans\": [...]}");
    if (psc_report_line_has_zero(text)) return bad(r, "the text has a 0 byte");
    const size_t n = json_array_size(list), bytes = json_string_length(text);
    psc_status status = PSC_OK;
    if (n == 0) return PSC_OK;
    span *spans = calloc(n, sizeof *spans);
    if (!spans) return no_memory(r);
    for (size_t i = 0; !status && i < n; i++) {
        status = take_span(r, json_array_get(list, i), json_string_value(text), bytes, &spans[i]);
        if (!status) status = note_task(r, spans[i].task);
    }
    if (!status) {
        qsort(spans, n, sizeof *spans, by_place);
        status = add_sentence(r, json_string_value(text), bytes, spans, (int32_t)n);
    }
    free(spans);
    return status;
}

static psc_status read_all(reader *r) {
    bool got = true;
    psc_status status = PSC_OK;
    while (!(status = read_line(r, &got)) && got) {
        char fault[PSC_REPORT_FAULT], what[PSC_REPORT_FAULT + 16];
        if (is_blank(r)) continue;
        json_t *json = psc_report_line(r->line, r->used, fault);
        if (!json) snprintf(what, sizeof what, "the line %s", fault);
        status = json ? take_line(r, json) : bad(r, what);
        json_decref(json);
        if (status) return status;
    }
    if (!status && r->out->n == 0)
        status = psc_fail(r->error, PSC_ERROR_INPUT, "%s has no spans", r->path);
    return status;
}

psc_status cli_spans_read(cli_spans *out, const char *path, psc_error *error) {
    reader r = {.out = out, .path = path, .error = error};
    *out = (cli_spans){0};
    out->tasks = calloc(CLI_SPANS_TASKS, sizeof *out->tasks);
    if (!out->tasks) return no_memory(&r);
    psc_status status = cli_input_open(&r.file, path, error);
    if (status) return status;
    status = read_all(&r);
    fclose(r.file);
    free(r.line);
    return status;
}

void cli_spans_free(cli_spans *spans) {
    for (int32_t i = 0; i < spans->n; i++) free(spans->blocks[i]);
    free(spans->blocks);
    free(spans->sentences);
    free(spans->tasks);
    *spans = (cli_spans){0};
}
