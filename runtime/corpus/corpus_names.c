/* The names of documents: each file keeps the number of its first document, so that a number leads
 * to its file. A place in a corpus has both for the files that were begun, so that resumed and
 * merged results have the names of one run:
 *
 *   "files": [["books/alice.md", 0, false], ["docs.jsonl", 1, true]]   path, first, JSONL
 *
 * Paths are written as psc_utf8_show shows them. */
#include "corpus.h"

#include "json.h"
#include "utf8.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MOST_NAME 4200 /* bytes: a path of 4096 and what follows it */

struct psc_corpus_names {
    const corpus_file *files;
    corpus_file *own; /* files, when they were read from a place */
    int64_t n, next;  /* next: documents from here on have no name */
    char text[MOST_NAME];
};

/* --- a name ---------------------------------------------------------------------------------- */

/* Appends text to out, character by character as far as there is room. */
static void show(char *out, size_t size, const char *text) {
    size_t used = 0;
    for (size_t left = strlen(text); left > 0;) {
        char shown[PSC_UTF8_SHOWN];
        const size_t taken = psc_utf8_show(shown, text, left), n = strlen(shown);
        if (used + n >= size) break;
        memcpy(out + used, shown, n);
        used += n;
        text += taken;
        left -= taken;
    }
    out[used] = 0;
}

/* The last file whose first document is at most `number`; null when it is unknown. */
static const corpus_file *find(const corpus_file *files, int64_t n, int64_t number) {
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (files[middle].first <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && files[low - 1].first >= 0 ? &files[low - 1] : NULL;
}

static void write_name(
    char *out, size_t size, const corpus_file *files, int64_t n, int64_t number) {
    if (size == 0) return;
    out[0] = 0;
    const corpus_file *file = number >= 0 ? find(files, n, number) : NULL;
    if (!file || (!file->jsonl && file->first != number)) return;
    char tail[48] = "";
    if (file->jsonl) snprintf(tail, sizeof tail, ", document %" PRId64, number - file->first + 1);
    const size_t kept = strlen(tail) < size ? size - strlen(tail) : 0;
    if (kept == 0) return;
    show(out, kept, file->path);
    const size_t shown = strlen(out);
    snprintf(out + shown, size - shown, "%s", tail);
}

void psc_corpus_document_name(char *out, size_t size, const psc_corpus *c, int64_t number) {
    const bool known = number < c->at.next;
    write_name(out, size, c->files, known ? corpus_named(c) : 0, number);
}

int64_t corpus_named(const psc_corpus *c) {
    return c->files && c->n_files <= CORPUS_NAMED ? c->n_files : 0;
}

/* --- names for a report ---------------------------------------------------------------------- */

/* The document_name of psc_corpus_totals. */
static const char *name_of(int64_t number, void *payload) {
    psc_corpus_names *names = payload;
    const int64_t n = number < names->next ? names->n : 0;
    write_name(names->text, sizeof names->text, names->files, n, number);
    return names->text;
}

void psc_corpus_names_give(psc_corpus_totals *totals, psc_corpus_names *names) {
    const size_t needed =
        offsetof(psc_corpus_totals, document_payload) + sizeof totals->document_payload;
    if (totals->struct_size < needed) return;
    totals->document_name = names ? name_of : NULL;
    totals->document_payload = names;
}

psc_corpus_names *corpus_names_make(void) {
    return calloc(1, sizeof(psc_corpus_names));
}

void corpus_names_update(const psc_corpus *c) {
    c->names->files = c->files;
    c->names->n = corpus_named(c);
    c->names->next = c->at.next;
}

static void free_files(corpus_file *files, int64_t n) {
    for (int64_t i = 0; files && i < n; i++) free(files[i].path);
    free(files);
}

void psc_corpus_names_close(psc_corpus_names **names) {
    if (!names || !*names) return;
    free_files((*names)->own, (*names)->n);
    free(*names);
    *names = NULL;
}

/* --- in a place ------------------------------------------------------------------------------ */

/* Whether something of file i has been read at `at`. */
static bool is_begun(const psc_corpus *c, int64_t i, const corpus_place *at) {
    if (i != at->file) return i < at->file;
    return c->files[i].first != CORPUS_AHEAD &&
           (at->line > 0 || at->offset > 0 || at->document >= 0 || c->files[i].first < at->next ||
               at == &c->at);
}

bool corpus_names_tell(json_t *place, const psc_corpus *c, const corpus_place *at) {
    const int64_t n = corpus_named(c);
    if (n == 0) return true;
    json_t *files = json_array();
    bool complete = files != NULL;
    for (int64_t i = 0; i < n && complete && is_begun(c, i, at); i++) {
        char path[MOST_NAME];
        show(path, sizeof path, c->files[i].path);
        complete =
            json_array_append_new(files, json_pack("[s, I, b]", path, (json_int_t)c->files[i].first,
                                             (int)c->files[i].jsonl)) == 0;
    }
    return json_object_set_new(place, "files", files) == 0 && complete;
}

static psc_status invalid(const char *what, psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_INPUT, "the recorded position in the corpus is invalid: files %s", what);
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the names of documents");
}

/* One file; least: the first document of the file before it. */
static psc_status read_file(
    corpus_file *out, const json_t *entry, int64_t least, int64_t next, psc_error *error) {
    const char *path = json_string_value(json_array_get(entry, 0));
    const json_t *first = json_array_get(entry, 1), *jsonl = json_array_get(entry, 2);
    if (!path || !json_is_integer(first) || !json_is_boolean(jsonl) || json_array_size(entry) != 3)
        return invalid("has an entry that is not a path, a number and whether it is JSONL", error);
    *out = (corpus_file){.first = json_integer_value(first), .jsonl = json_is_true(jsonl)};
    if (out->first < least || out->first > next)
        return invalid("has a document's number that is out of order", error);
    out->path = strdup(path);
    return out->path ? PSC_OK : no_memory(error);
}

static psc_status read_files(
    psc_corpus_names *out, const json_t *list, int64_t next, psc_error *error) {
    const size_t n = json_array_size(list);
    psc_status status = PSC_OK;
    if (!list) return PSC_OK; /* an older version's, or a source's */
    if (!json_is_array(list) || n > CORPUS_NAMED) return invalid("must be a list", error);
    out->own = calloc(n + 1, sizeof *out->own);
    if (!out->own) return no_memory(error);
    out->files = out->own;
    out->next = next;
    for (int64_t least = -1; status == PSC_OK && out->n < (int64_t)n; out->n++) {
        status =
            read_file(&out->own[out->n], json_array_get(list, (size_t)out->n), least, next, error);
        least = out->own[out->n].first;
    }
    return status;
}

/* A place that psc_corpus_seek or psc_corpus_add_part has accepted, or will check. */
static psc_status read_names(psc_corpus_names **out, const char *text, psc_error *error) {
    json_error_t why;
    *out = corpus_names_make();
    if (!*out) return no_memory(error);
    json_t *place = psc_json_load(text, strlen(text), JSON_REJECT_DUPLICATES, &why);
    psc_status status = PSC_OK;
    if (!place && psc_json_no_memory(&why))
        status = no_memory(error);
    else if (!json_is_object(place))
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the recorded position in the corpus is invalid: it is not a JSON object");
    else
        status = read_files(*out, json_object_get(place, "files"),
            json_integer_value(json_object_get(place, "next")), error);
    json_decref(place);
    if (status != PSC_OK) psc_corpus_names_close(out);
    return status;
}

/* The parts number their documents alike, so the part that came furthest has all names. */
psc_status psc_corpus_names_add(psc_corpus_names **names, const char *place, psc_error *error) {
    psc_corpus_names *more;
    psc_status status = read_names(&more, place, error);
    if (status != PSC_OK) return status;
    if (!*names || more->next > (*names)->next) {
        psc_corpus_names *former = *names;
        *names = more;
        more = former;
    }
    psc_corpus_names_close(&more);
    return PSC_OK;
}

/* Files of a place without names: those passed and the open one are unknown. */
psc_status corpus_names_seek(
    psc_corpus *c, const corpus_place *at, const char *place, psc_error *error) {
    psc_corpus_names *names;
    psc_status status = read_names(&names, place, error);
    if (status != PSC_OK) return status;
    const bool begun = at->line > 0 || at->offset > 0 || at->document >= 0;
    if (names->n > c->n_files) status = invalid("has more entries than the corpus", error);
    for (int64_t i = 0; i < c->n_files && status == PSC_OK && !c->source.next; i++) {
        const bool passed = i < at->file || (i == at->file && begun);
        c->files[i].first = i < names->n ? names->files[i].first : passed ? -1 : CORPUS_AHEAD;
    }
    psc_corpus_names_close(&names);
    return status;
}
