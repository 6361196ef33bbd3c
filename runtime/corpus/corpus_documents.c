/* The documents of a corpus, one open at a time. A text file is checked as UTF-8 from start to end
 * and then read in pieces; a JSONL line is read whole, up to 16 MiB. A document that cannot be read
 * is skipped, noted and counted; with strict it is an error. Where a JSONL file cannot be read on
 * (damaged, cut short, an error of the disk), its rest is one such document. */
#include "corpus.h"

#include "utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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
    if (!c->source.next && !corpus_counts(c, c->at.document < 0 ? c->at.next : c->at.document))
        return PSC_OK;
    c->at.skipped++;
    if (c->notes > PSC_CORPUS_NOTES) return PSC_OK;
    char note[sizeof sentence.message + 16];
    snprintf(note, sizeof note, "%s; skipped", sentence.message);
    if (c->notes++ == PSC_CORPUS_NOTES)
        snprintf(note, sizeof note, "further documents that cannot be read are only counted");
    if (c->note) c->note(note, c->payload);
    return PSC_OK;
}

void corpus_close_stream(psc_corpus *c) {
    corpus_stream_close(&c->stream);
    c->piece_bytes = 0;
}

/* Opens the file if it is not open, and moves to the offset. */
static psc_status open_stream(psc_corpus *c, int64_t offset, psc_error *error) {
    psc_status status = PSC_OK;
    if (!c->stream) status = corpus_stream_open(&c->stream, path_of(c), error);
    if (status == PSC_OK) status = corpus_stream_seek(c->stream, offset, error);
    return status;
}

/* --- text files ------------------------------------------------------------------------------ */

/* Reads the file once: its size, and *valid, the number of leading bytes that are UTF-8. */
static psc_status check_utf8(psc_corpus *c, int64_t *valid, int64_t *size, psc_error *error) {
    size_t kept = 0, n = 0;
    const char *data = NULL;
    psc_status status = open_stream(c, 0, error);
    *valid = *size = 0;
    c->piece_bytes = 0;
    while (status == PSC_OK && kept <= 3) {
        status = corpus_stream_peek(&data, &n, c->stream, error);
        if (status != PSC_OK || n == 0) break;
        if (n > CORPUS_PIECE - kept) n = CORPUS_PIECE - kept;
        memcpy(c->piece + kept, data, n);
        corpus_stream_skip(c->stream, n);
        *size += (int64_t)n;
        size_t have = kept + n, good = psc_utf8_valid(c->piece, have);
        *valid += (int64_t)good;
        kept = have - good; /* a character that the buffer cuts has at most 3 bytes here */
        memmove(c->piece, c->piece + good, kept);
    }
    return status;
}

/* At the end of the file: whether it is as long as when it was listed. */
static psc_status check_size(const psc_corpus *c, psc_error *error) {
    const int64_t listed = c->files[c->at.file].size, read = corpus_stream_read(c->stream);
    if (read >= listed) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%s was cut short: it has %" PRId64 " of the %" PRId64
        " bytes that it had when it was listed",
        path_of(c), read, listed);
}

static psc_status begin_text(psc_corpus *c, psc_error *error) {
    int64_t valid = 0, size = 0;
    psc_error why = {PSC_OK, ""};
    psc_status status = check_utf8(c, &valid, &size, &why);
    if (status == PSC_OK && valid == size) status = check_size(c, &why);
    if (status == PSC_ERROR_INPUT) return corpus_leave_out(c, error, "%s", why.message);
    if (status != PSC_OK) return psc_fail(error, status, "%s", why.message);
    if (valid < size)
        return corpus_leave_out(c, error, "%s is not UTF-8 at byte %" PRId64 "%s", path_of(c),
            valid, corpus_stream_guess(c->stream));
    c->at.document = c->at.next;
    c->text_bytes = size;
    return PSC_OK;
}

/* --- from document to document --------------------------------------------------------------- */

static void next_file(psc_corpus *c) {
    corpus_close_stream(c);
    c->behind += c->files[c->at.file].size;
    c->at.file++;
    c->at.line = c->at.offset = 0;
}

/* Moves past the line. */
static void pass_line(psc_corpus *c) {
    c->at.offset = corpus_stream_offset(c->stream);
    c->at.line++;
}

static psc_status begin_line(psc_corpus *c, const corpus_line *line, psc_error *error) {
    char fault[CORPUS_FAULT];
    psc_status status = corpus_take_line(fault, c, line, error);
    if (status != PSC_OK) return status;
    if (fault[0])
        return corpus_leave_out(
            c, error, "%s: line %" PRId64 " %s", path_of(c), c->at.line + 1, fault);
    c->at.document = c->at.next;
    return PSC_OK;
}

/* The file cannot be read from here on: its rest is one document, which is left out. */
static psc_status leave_rest(psc_corpus *c, const psc_error *why, psc_error *error) {
    psc_status status = PSC_OK;
    char after[40] = "";
    if (c->at.line > 0) snprintf(after, sizeof after, ", after line %" PRId64, c->at.line);
    /* What failed now may not have failed when the documents of a sample were counted. */
    const bool failed = !c->stream || corpus_stream_has_failed(c->stream);
    if (corpus_is_ours(c) || (failed && corpus_is_of_this_part(c)))
        status = corpus_leave_out(c, error, "%s%s", why->message, after);
    if (status != PSC_OK) return status;
    c->at.next++;
    next_file(c);
    return status;
}

static psc_status try_line(psc_corpus *c, psc_error *error) {
    corpus_line line = {LINE_END, 0};
    psc_error why = {PSC_OK, ""};
    const bool ours = corpus_is_ours(c);
    psc_status status = open_stream(c, c->at.offset, &why);
    if (status == PSC_OK)
        status = ours ? corpus_read_line(&line, c, c->stream, path_of(c), &why)
                      : corpus_pass_line(&line.kind, c->stream, &why);
    if (status == PSC_OK && line.kind == LINE_END) status = check_size(c, &why);
    if (status == PSC_ERROR_INPUT) return leave_rest(c, &why, error);
    if (status != PSC_OK) return psc_fail(error, status, "%s", why.message);
    if (line.kind == LINE_END)
        next_file(c);
    else if (line.kind == LINE_BLANK)
        pass_line(c);
    else {
        if (ours) status = begin_line(c, &line, error);
        if (status != PSC_OK) return status;
        c->at.next++;
        if (c->at.document < 0) pass_line(c);
    }
    return status;
}

static psc_status try_text(psc_corpus *c, psc_error *error) {
    psc_status status = corpus_is_ours(c) ? begin_text(c, error) : PSC_OK;
    if (status != PSC_OK) return status; /* a later call tries it again */
    c->at.next++;
    if (c->at.document < 0) next_file(c);
    return status;
}

/* A file that could not be examined when it was listed. */
static psc_status try_unreadable(psc_corpus *c, psc_error *error) {
    psc_status status = PSC_OK;
    if (corpus_is_ours(c))
        status = corpus_leave_out(c, error, "%s %s", path_of(c), c->files[c->at.file].fault);
    if (status != PSC_OK) return status;
    c->at.next++;
    next_file(c);
    return status;
}

static psc_status try_document(psc_corpus *c, psc_error *error) {
    if (c->source.next) return corpus_try_source(c, error);
    corpus_file *file = &c->files[c->at.file];
    if (file->first == CORPUS_AHEAD) file->first = c->at.next;
    if (file->fault) return try_unreadable(c, error);
    return file->jsonl ? try_line(c, error) : try_text(c, error);
}

psc_status corpus_next_document(psc_corpus *c, psc_error *error) {
    psc_status status = PSC_OK;
    if (c->sample.n > 0 && c->sample.population < 0) status = corpus_draw(c, error);
    while (status == PSC_OK && c->at.document < 0 && c->at.file < c->n_files)
        status = try_document(c, error);
    if (status != PSC_OK || c->at.document < 0) return status;
    c->at.documents += c->source.next || corpus_counts(c, c->at.document);
    c->at.first = c->at.piece = c->at.skip = 0;
    c->read_to = 0;
    return PSC_OK;
}

/* Finds a text file's size again. */
static psc_status reopen_text(psc_corpus *c, psc_error *error) {
    int64_t valid = 0, size = 0;
    psc_status status = check_utf8(c, &valid, &size, error);
    if (status != PSC_OK) return status;
    c->text_bytes = size;
    if (valid == size) return PSC_OK;
    return psc_fail(
        error, PSC_ERROR_INPUT, "%s has changed since the state file was written", path_of(c));
}

psc_status corpus_reopen_document(psc_corpus *c, psc_error *error) {
    if (c->source.next) return corpus_reopen_source(c, error);
    char fault[CORPUS_FAULT];
    corpus_line line = {LINE_END, 0};
    const bool jsonl = c->files[c->at.file].jsonl;
    if (!jsonl && c->at.document < 0) return PSC_OK;
    if (!jsonl) return reopen_text(c, error);
    psc_status status = open_stream(c, c->at.offset, error);
    if (c->at.document < 0) return status; /* between two lines */
    if (status == PSC_OK) status = corpus_read_line(&line, c, c->stream, path_of(c), error);
    if (status == PSC_OK && line.kind == LINE_READ)
        status = corpus_take_line(fault, c, &line, error);
    if (status == PSC_OK && !c->text)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s: line %" PRId64 " has changed since the state file was written", path_of(c),
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

/* Fills c->piece with n bytes of the file from read_to on, keeping what it has of them. */
static psc_status fill_piece(psc_corpus *c, size_t n, psc_error *error) {
    const int64_t end = c->piece_at + (int64_t)c->piece_bytes;
    size_t have = 0;
    if (c->piece_bytes > 0 && c->read_to >= c->piece_at && c->read_to < end) {
        have = (size_t)(end - c->read_to);
        memmove(c->piece, c->piece + (c->read_to - c->piece_at), have);
    }
    psc_status status = open_stream(c, c->read_to + (int64_t)have, error);
    c->piece_at = c->read_to;
    while (status == PSC_OK && have < n) {
        const char *data = NULL;
        size_t some = 0;
        status = corpus_stream_peek(&data, &some, c->stream, error);
        if (status == PSC_OK && some == 0)
            status = psc_fail(
                error, PSC_ERROR_INPUT, "%s was cut short while it was being read", path_of(c));
        if (status != PSC_OK) break;
        if (some > n - have) some = n - have;
        memcpy(c->piece + have, data, some);
        corpus_stream_skip(c->stream, some);
        have += some;
    }
    c->piece_bytes = have;
    return status;
}

psc_status corpus_read_piece(const char **out, size_t *bytes, psc_corpus *c, psc_error *error) {
    const int64_t left = c->text_bytes - c->read_to;
    const size_t n = left < CORPUS_PIECE ? (size_t)left : CORPUS_PIECE;
    const char *text = c->source.next ? c->source.document.text : c->text;
    psc_status status = PSC_OK;
    *out = text ? text + c->read_to : c->piece;
    if (!text) status = fill_piece(c, n, error);
    if (status == PSC_OK) *bytes = left > CORPUS_PIECE ? cut(*out, n) : n;
    return status;
}
