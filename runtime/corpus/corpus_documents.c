/* The documents of a corpus, one open at a time. A text file is checked as UTF-8 from start to end
 * and then read in pieces; a JSONL line is read whole, up to 16 MiB. A document that cannot be read
 * is skipped, noted and counted; with strict it is an error. */
#include "corpus.h"

#include "arena.h"
#include "utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_READ, LINE_BLANK, LINE_TOO_LONG, LINE_END };

static const char *path_of(const psc_corpus *c) {
    return c->files[c->at.file].path;
}

void corpus_name_document(char out[600], const psc_corpus *c) {
    if (c->source.next)
        snprintf(out, 600, "document %" PRId64, c->at.document);
    else
        snprintf(out, 600, "%s", path_of(c));
}

psc_status corpus_leave_out(psc_corpus *c, psc_error *error, const char *format, ...) {
    psc_error sentence;
    va_list arguments;
    va_start(arguments, format);
    psc_fail_va(&sentence, PSC_ERROR_INPUT, format, arguments);
    va_end(arguments);
    if (c->strict) return psc_fail(error, PSC_ERROR_INPUT, "%s", sentence.message);
    c->at.skipped++;
    char note[sizeof sentence.message + 16];
    snprintf(note, sizeof note, "%s; skipped", sentence.message);
    if (c->note) c->note(note, c->payload);
    return PSC_OK;
}

static psc_status read_failed(const psc_corpus *c, psc_error *error) {
    if (ferror(c->stream))
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path_of(c), strerror(errno));
    return psc_fail(error, PSC_ERROR_IO, "%s was truncated while it was being read", path_of(c));
}

void corpus_close_stream(psc_corpus *c) {
    if (c->stream) fclose(c->stream);
    c->stream = NULL;
}

static psc_status open_stream(psc_corpus *c, int64_t offset, psc_error *error) {
    if (!c->stream) c->stream = fopen(path_of(c), "rb");
    if (!c->stream)
        return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path_of(c), strerror(errno));
    if (fseeko(c->stream, (off_t)offset, SEEK_SET) != 0)
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path_of(c), strerror(errno));
    c->line_end = offset;
    return PSC_OK;
}

/* --- text files ------------------------------------------------------------------------------ */

/* *valid: the number of leading bytes of the file that are UTF-8. */
static psc_status check_utf8(psc_corpus *c, int64_t *valid, psc_error *error) {
    const int64_t size = c->files[c->at.file].size;
    size_t kept = 0;
    psc_status status = open_stream(c, 0, error);
    *valid = 0;
    for (int64_t done = 0; done < size && status == PSC_OK;) {
        size_t room = CORPUS_PIECE - kept;
        size_t want = size - done < (int64_t)room ? (size_t)(size - done) : room;
        if (fread(c->piece + kept, 1, want, c->stream) != want) return read_failed(c, error);
        done += (int64_t)want;
        size_t have = kept + want, good = psc_utf8_valid(c->piece, have);
        *valid += (int64_t)good;
        kept = have - good; /* a character that the buffer cuts has at most 3 bytes here */
        if (kept > 3) return PSC_OK;
        memmove(c->piece, c->piece + good, kept);
    }
    return status;
}

static psc_status begin_text(psc_corpus *c, psc_error *error) {
    const int64_t size = c->files[c->at.file].size;
    int64_t valid = 0;
    psc_status status = check_utf8(c, &valid, error);
    if (status != PSC_OK) return status;
    if (valid < size)
        return corpus_leave_out(c, error, "%s is not UTF-8 at byte %" PRId64, path_of(c), valid);
    c->at.document = c->at.next;
    c->text_bytes = size;
    return PSC_OK;
}

/* --- JSONL ----------------------------------------------------------------------------------- */

/* Reads one line, without its end, into c->line and sets *kind. */
static psc_status read_line(psc_corpus *c, int *kind, size_t *n, psc_error *error) {
    bool blank = true;
    int byte = EOF;
    *n = 0;
    *kind = LINE_READ;
    while ((byte = getc_unlocked(c->stream)) != EOF && byte != '\n') {
        c->line_end++;
        if (*n >= CORPUS_LINE) {
            *kind = LINE_TOO_LONG;
            continue;
        }
        if (*n == c->line_capacity && !psc_grow((void **)&c->line, &c->line_capacity, *n + 1, 1))
            return psc_fail(
                error, PSC_ERROR_MEMORY, "not enough memory for a line of %s", path_of(c));
        c->line[(*n)++] = (char)byte;
        if (byte != ' ' && byte != '\t' && byte != '\r') blank = false;
    }
    if (byte == '\n') c->line_end++;
    if (ferror(c->stream)) return read_failed(c, error);
    if (byte == EOF && *n == 0)
        *kind = LINE_END;
    else if (blank && *kind == LINE_READ)
        *kind = LINE_BLANK;
    return PSC_OK;
}

/* Copies the line's text to c->text; for a line without one, *why says why. */
static psc_status take_text(psc_corpus *c, size_t n, const char **why, psc_error *error) {
    json_error_t problem;
    *why = NULL;
    json_t *object = json_loadb(c->line, n, JSON_ALLOW_NUL, &problem);
    json_t *field = json_is_object(object) ? json_object_get(object, c->field) : NULL;
    if (!object && json_error_code(&problem) == json_error_invalid_utf8)
        *why = "is not UTF-8";
    else if (!json_is_object(object))
        *why = "is not a JSON object";
    else if (!json_is_string(field))
        *why = "has no string in the field";
    if (!*why) {
        c->text_bytes = (int64_t)json_string_length(field);
        c->text = malloc((size_t)c->text_bytes + 1);
        if (c->text) memcpy(c->text, json_string_value(field), (size_t)c->text_bytes);
    }
    json_decref(object);
    if (*why || c->text) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a line of %s", path_of(c));
}

static psc_status begin_line(psc_corpus *c, int kind, size_t n, psc_error *error) {
    const char *why = "is longer than 16 MiB";
    psc_status status = PSC_OK;
    if (kind == LINE_READ) status = take_text(c, n, &why, error);
    if (status != PSC_OK) return status;
    if (why)
        return corpus_leave_out(c, error, "%s: line %" PRId64 " %s%s%.60s%s", path_of(c),
            c->at.line + 1, why, strstr(why, "field") ? " '" : "",
            strstr(why, "field") ? c->field : "", strstr(why, "field") ? "'" : "");
    c->at.document = c->at.next;
    return PSC_OK;
}

/* --- from document to document --------------------------------------------------------------- */

bool corpus_is_ours(const psc_corpus *c) {
    return c->n_shards == 0 || c->at.next % c->n_shards == c->shard - 1;
}

static void next_file(psc_corpus *c) {
    corpus_close_stream(c);
    c->at.file++;
    c->at.line = c->at.offset = 0;
}

/* Moves past the line. */
static void pass_line(psc_corpus *c) {
    c->at.offset = c->line_end;
    c->at.line++;
}

static psc_status try_line(psc_corpus *c, psc_error *error) {
    int kind = LINE_END;
    size_t n = 0;
    psc_status status = PSC_OK;
    if (!c->stream || c->line_end != c->at.offset) status = open_stream(c, c->at.offset, error);
    if (status == PSC_OK) status = read_line(c, &kind, &n, error);
    if (status != PSC_OK) return status;
    if (kind == LINE_END)
        next_file(c);
    else if (kind == LINE_BLANK)
        pass_line(c);
    else {
        if (corpus_is_ours(c)) status = begin_line(c, kind, n, error);
        c->at.next++;
        if (c->at.document < 0) pass_line(c);
    }
    return status;
}

static psc_status try_text(psc_corpus *c, psc_error *error) {
    psc_status status = corpus_is_ours(c) ? begin_text(c, error) : PSC_OK;
    c->at.next++;
    if (c->at.document < 0) next_file(c);
    return status;
}

static psc_status try_document(psc_corpus *c, psc_error *error) {
    if (c->source.next) return corpus_try_source(c, error);
    return c->files[c->at.file].jsonl ? try_line(c, error) : try_text(c, error);
}

psc_status corpus_next_document(psc_corpus *c, psc_error *error) {
    psc_status status = PSC_OK;
    while (status == PSC_OK && c->at.document < 0 && c->at.file < c->n_files)
        status = try_document(c, error);
    if (status != PSC_OK || c->at.document < 0) return status;
    c->at.documents++;
    c->at.first = c->at.piece = c->at.skip = 0;
    c->read_to = 0;
    return PSC_OK;
}

psc_status corpus_reopen_document(psc_corpus *c, psc_error *error) {
    if (c->source.next) return corpus_reopen_source(c, error);
    const corpus_file *file = &c->files[c->at.file];
    int kind = LINE_READ;
    size_t n = 0;
    const char *why = NULL;
    psc_status status = open_stream(c, c->at.offset, error);
    if (status != PSC_OK) return status;
    if (!file->jsonl) {
        c->text_bytes = file->size;
        return PSC_OK;
    }
    status = read_line(c, &kind, &n, error);
    if (status == PSC_OK && kind == LINE_READ) status = take_text(c, n, &why, error);
    if (status == PSC_OK && !c->text)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s: line %" PRId64 " has changed since the state file was written", file->path,
            c->at.line + 1);
    return status;
}

void corpus_leave_document(psc_corpus *c) {
    free(c->text);
    c->text = NULL;
    c->at.document = -1;
    if (c->source.next) return;
    if (c->files[c->at.file].jsonl)
        pass_line(c);
    else
        next_file(c);
}

/* --- pieces ---------------------------------------------------------------------------------- */

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The end of a full piece that more text follows (psc_corpus.h). */
static size_t cut(const char *text, size_t n) {
    for (size_t i = n - 2; i >= n / 2; i--)
        if (text[i] == ' ' && is_word(text[i - 1]) && is_word(text[i + 1])) return i;
    while (n > 1 && psc_utf8_is_inner(text[n - 1])) n--;
    return (unsigned char)text[n - 1] >= 0x80 && n > 1 ? n - 1 : n;
}

psc_status corpus_read_piece(const char **out, size_t *bytes, psc_corpus *c, psc_error *error) {
    const int64_t left = c->text_bytes - c->read_to;
    size_t n = left < CORPUS_PIECE ? (size_t)left : CORPUS_PIECE;
    const char *text = c->source.next ? c->source.document.text : c->text;
    if (text) {
        *out = text + c->read_to;
    } else {
        psc_status status = open_stream(c, c->read_to, error);
        if (status != PSC_OK) return status;
        if (fread(c->piece, 1, n, c->stream) != n) return read_failed(c, error);
        *out = c->piece;
    }
    *bytes = left > CORPUS_PIECE ? cut(*out, n) : n;
    return PSC_OK;
}
