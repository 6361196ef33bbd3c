/* A CoNLL-U file line by line: a comment, a word, or the blank line that ends a sentence. */
#include "conllu.h"

#include "files.h"
#include "utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

psc_status(conllu_fail)(
    const conllu_reader *r, psc_status status, int32_t line, const char *format, ...) {
    char prefix[700];
    va_list arguments;
    va_start(arguments, format);
    psc_fail_va(r->error, status, format, arguments);
    va_end(arguments);
    snprintf(prefix, sizeof prefix, "%.600s:%d", r->path, (int)(line ? line : r->number));
    return psc_error_prefix(r->error, status, prefix);
}

psc_status conllu_no_memory(const conllu_reader *r) {
    return conllu_fail(r, PSC_ERROR_MEMORY, 0, "not enough memory for the sentence");
}

psc_status conllu_keep(uint32_t *out, conllu_reader *r, const char *bytes, size_t n) {
    size_t end = r->pool_bytes + n + 1;
    if (end > PSC_TREEBANK_SENTENCE)
        return conllu_fail(r, PSC_ERROR_INPUT, 0, "the sentence has more than %u bytes",
            (unsigned)PSC_TREEBANK_SENTENCE);
    if (!psc_grow((void **)&r->pool, &r->pool_capacity, end, 1)) return conllu_no_memory(r);
    *out = (uint32_t)r->pool_bytes;
    memcpy(r->pool + r->pool_bytes, bytes, n);
    r->pool[end - 1] = 0;
    r->pool_bytes = end;
    return PSC_OK;
}

/* --- lines ----------------------------------------------------------------------------------- */

/* What a line must be before its columns are read. */
static psc_status check_line(const conllu_reader *r) {
    size_t valid = psc_utf8_valid(r->line, r->line_bytes);
    if (valid < r->line_bytes)
        return conllu_fail(
            r, PSC_ERROR_INPUT, 0, "byte %zu of the line is not valid UTF-8", valid + 1);
    if (memchr(r->line, 0, r->line_bytes))
        return conllu_fail(r, PSC_ERROR_INPUT, 0, "the line contains a 0 byte");
    return PSC_OK;
}

/* The next line without its end ("\n" or "\r\n"); *more is false at the end of the file. */
static psc_status read_line(bool *more, conllu_reader *r) {
    size_t n = 0;
    int c;
    if (r->number == INT32_MAX)
        return conllu_fail(r, PSC_ERROR_INPUT, 0, "the file has more than %d lines", INT32_MAX - 1);
    r->number++;
    while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
        if (n == PSC_TREEBANK_LINE)
            return conllu_fail(r, PSC_ERROR_INPUT, 0, "the line has more than %u bytes",
                (unsigned)PSC_TREEBANK_LINE);
        r->line[n++] = (char)c;
    }
    if (ferror(r->file))
        return conllu_fail(r, PSC_ERROR_IO, 0, "cannot read the line: %s", strerror(errno));
    *more = c != EOF || n > 0;
    if (n > 0 && r->line[n - 1] == '\r') n--;
    if (r->number == 1 && n >= 3 && memcmp(r->line, "\xef\xbb\xbf", 3) == 0)
        memmove(r->line, r->line + 3, n -= 3); /* a byte order mark */
    r->line[n] = 0;
    r->line_bytes = n;
    return check_line(r);
}

static psc_status read_all(conllu_reader *r) {
    bool more = true;
    psc_status status = PSC_OK;
    while (status == PSC_OK) {
        status = read_line(&more, r);
        if (status != PSC_OK || !more) break;
        if (r->line_bytes == 0) {
            if (r->first_line) status = conllu_end_sentence(r);
            continue;
        }
        if (!r->first_line) r->first_line = r->number;
        status = r->line[0] == '#' ? conllu_take_comment(r) : conllu_take_word(r);
    }
    if (status == PSC_OK && r->first_line) status = conllu_end_sentence(r); /* no blank line */
    if (status == PSC_OK && r->treebank->n == 0)
        status = psc_fail(r->error, PSC_ERROR_INPUT, "%s contains no sentence", r->path);
    return status;
}

/* --- treebanks ------------------------------------------------------------------------------- */

/* Looks before it opens: opening a pipe would wait for a writer. */
static psc_status open_file(conllu_reader *r) {
    psc_file_facts facts;
    if (psc_path_exists(r->path) && !psc_file_examine(&facts, r->path))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s is not a regular file", r->path);
    r->file = fopen(r->path, "rb");
    if (!r->file)
        return psc_fail(r->error, PSC_ERROR_IO, "cannot open %s: %s", r->path, strerror(errno));
    return PSC_OK;
}

psc_status psc_treebank_open(psc_treebank **out, const char *path, psc_error *error) {
    psc_treebank *treebank = *out = NULL;
    conllu_reader r = {.path = path, .error = error};
    psc_status status = open_file(&r);
    if (status != PSC_OK) return status;
    uint32_t empty;
    r.treebank = treebank = calloc(1, sizeof *treebank);
    r.line = malloc((size_t)PSC_TREEBANK_LINE + 1);
    status = r.treebank && r.line ? conllu_keep(&empty, &r, "", 0) : conllu_no_memory(&r);
    if (status == PSC_OK) {
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without a status there is memory
        treebank->arena.cap = PSC_TREEBANK_BYTES;
        status = read_all(&r);
    }
    fclose(r.file);
    free(r.line);
    free(r.pool);
    free(r.words);
    free(r.tokens);
    if (status != PSC_OK) psc_treebank_close(&treebank);
    *out = treebank;
    return status;
}

void psc_treebank_close(psc_treebank **treebank) {
    if (!*treebank) return;
    psc_arena_clear(&(*treebank)->arena);
    free((*treebank)->sentences);
    free(*treebank);
    *treebank = NULL;
}

const psc_sentence *psc_treebank_sentences(const psc_treebank *treebank, int32_t *n) {
    *n = (int32_t)treebank->n;
    return treebank->sentences;
}
