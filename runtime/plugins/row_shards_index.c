/* The index of shards: index.json of a whole corpus or of merged parts,
 * index-I-of-N.json of a part.
 *
 *   {"format": "pythiascope rows 1", "model": {...}, "plugin": {...}, "corpus": {...}, "rows": n,
 *    "row_bytes": b, "arrays": [{"name", "dtype", "shape"}], "shards": [{"file", "rows", "bytes",
 *    "first": {"document", "position"}, "last": {...}}]}
 *
 * first and last name the rows at a shard's ends, so that a reader finds a document's shard. */
#include "files.h"
#include "json.h"
#include "json_text.h"
#include "row_shards.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT "pythiascope rows 1"
#define INDEX_CAP ((size_t)1 << 30)
enum { DOCUMENT = 0, POSITION = 4 }; /* columns */

static psc_status no_memory(const psc_shards *s, psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the index of %s", s->folder);
}

static bool put(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0;
}

/* --- what a run was -------------------------------------------------------------------------- */

/* The files, and the number of each one's first document. */
static json_t *files_of(const psc_session *session) {
    const psc_corpus_totals *t = session->report_totals;
    json_t *files = json_array();
    char last[600] = "";
    const int64_t n = session->document_name && t ? session->numbered : 0;
    bool ok = files != NULL;
    for (int64_t d = 0; ok && d < n; d++) {
        char path[600];
        snprintf(path, sizeof path, "%s", session->document_name(d, session->document_payload));
        for (char *line = strstr(path, ", document "), *next; line; line = next) {
            next = strstr(line + 1, ", document ");
            if (!next) *line = 0;
        }
        if (!path[0] || strcmp(path, last) == 0) continue;
        memcpy(last, path, sizeof last);
        json_t *name = psc_json_text(path);
        ok = json_array_append_new(files,
                 json_pack("{s:o, s:I}", "path", name, "first_document", (json_int_t)d)) == 0;
    }
    if (ok) return files;
    json_decref(files);
    return NULL;
}

static json_t *corpus_of(const psc_session *session) {
    const psc_corpus_totals *t = session->report_totals;
    json_t *corpus = json_object(), *files = files_of(session);
    bool ok = put(corpus, "documents", json_integer(t ? t->documents : 0)) &&
              put(corpus, "documents_skipped", json_integer(t ? t->skipped : 0)) &&
              put(corpus, "windows", json_integer(t ? t->windows : 0)) &&
              put(corpus, "tokens", json_integer(t ? t->tokens : 0)) &&
              put(corpus, "window", json_integer(t ? t->window : 0)) &&
              put(corpus, "bos", json_boolean(t && t->bos)) &&
              put(corpus, "stopped", json_boolean(t && t->stopped));
    ok = put(corpus, "files", files) && ok;
    if (ok) return corpus;
    json_decref(corpus);
    return NULL;
}

static json_t *plugin_of(const psc_context *context) {
    json_t *plugin = json_object(), *options = json_object();
    bool ok = put(plugin, "name", psc_json_text(context->plugin->name)) &&
              put(plugin, "version", psc_json_text(psc_version()));
    for (int32_t i = 0; ok && i < context->n_options; i++)
        ok = put(options, context->options[i].key, psc_json_text(context->options[i].value));
    ok = put(plugin, "options", options) && ok;
    if (ok) return plugin;
    json_decref(plugin);
    return NULL;
}

static json_t *arrays_of(const psc_shards *s) {
    json_t *arrays = json_array();
    bool ok = arrays != NULL;
    for (int32_t i = 0; ok && i < s->n_columns; i++) {
        json_t *shape = json_array();
        for (int32_t k = 0; ok && k < s->columns[i].n_axes; k++)
            ok = json_array_append_new(shape, json_integer(s->columns[i].shape[k])) == 0;
        ok =
            json_array_append_new(arrays, json_pack("{s:s, s:s, s:o}", "name", s->columns[i].name,
                                              "dtype", s->columns[i].dtype, "shape", shape)) == 0 &&
            ok;
    }
    if (ok) return arrays;
    json_decref(arrays);
    return NULL;
}

/* --- shards ---------------------------------------------------------------------------------- */

/* Document and position of row r of a shard of n rows, whose data begin at `data`. */
static json_t *row_of(const psc_shards *s, int fd, int64_t n, uint64_t data, int64_t r) {
    int64_t document = 0;
    int32_t position = 0;
    uint64_t at = data;
    for (int32_t i = 0; i < POSITION; i++) at += (uint64_t)n * s->columns[i].row_bytes;
    if (pread(fd, &document, 8, (off_t)(data + 8 * (uint64_t)r)) != 8 ||
        pread(fd, &position, 4, (off_t)(at + 4 * (uint64_t)r)) != 4)
        return NULL;
    return json_pack("{s:I, s:i}", "document", (json_int_t)document, "position", (int)position);
}

static psc_status add_shard(
    json_t *shards, const psc_shards *s, int64_t number, int64_t n, psc_error *error) {
    char *path, *header = NULL;
    size_t size = 0;
    psc_status status = psc_shard_path(&path, s, number, true, error);
    if (status == PSC_OK) status = psc_shard_header(&header, &size, s, n, error);
    if (status != PSC_OK) {
        free(path);
        return status;
    }
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    json_t *first = fd >= 0 ? row_of(s, fd, n, size, 0) : NULL;
    json_t *last = fd >= 0 ? row_of(s, fd, n, size, n - 1) : NULL;
    if (!first || !last) {
        status = psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
        json_decref(first);
        json_decref(last);
    } else {
        const json_int_t rows = n, bytes = (json_int_t)size + rows * (json_int_t)s->row_bytes;
        json_t *entry = json_pack("{s:s, s:I, s:I, s:o, s:o}", "file", strrchr(path, '/') + 1,
            "rows", rows, "bytes", bytes, "first", first, "last", last);
        if (json_array_append_new(shards, entry) != 0) status = no_memory(s, error);
    }
    if (fd >= 0) close(fd);
    free(header);
    free(path);
    return status;
}

/* --- files ----------------------------------------------------------------------------------- */

/* "index.json", or with a part "index-2-of-3.json". */
static psc_status index_path(char **out, const psc_shards *s, const char *part, psc_error *error) {
    char name[PSC_SHARD_NAME + 16];
    snprintf(name, sizeof name, "index%s.json", part);
    *out = psc_path_join(s->folder, name);
    return *out ? PSC_OK : no_memory(s, error);
}

psc_status psc_shards_index_path(char **out, const psc_shards *s, psc_error *error) {
    return index_path(out, s, s->stem + s->n_name, error);
}

static psc_status write_index(
    const json_t *index, const psc_shards *s, const char *path, psc_error *error) {
    char *text = psc_json_dump(index, JSON_INDENT(1));
    if (!text) return no_memory(s, error);
    psc_status status = psc_write_file(path, text, strlen(text), error);
    free(text);
    return status;
}

/* The index without shards. */
static json_t *head_of(const psc_context *context, int64_t rows) {
    const psc_shards *s = context->shards;
    const psc_model *model = context->session->model;
    json_t *index = json_object();
    const bool ok = put(index, "format", json_string(FORMAT)) &&
                    put(index, "model",
                        json_pack("{s:o, s:s}", "name", psc_json_text(model->info.name), "hash",
                            model->info.hash)) &&
                    put(index, "plugin", plugin_of(context)) &&
                    put(index, "corpus", corpus_of(context->session)) &&
                    put(index, "rows", json_integer(rows)) &&
                    put(index, "rows_per_shard", json_integer(s->rows)) &&
                    put(index, "row_bytes", json_integer((json_int_t)s->row_bytes)) &&
                    put(index, "arrays", arrays_of(s)) && put(index, "shards", json_array());
    if (ok) return index;
    json_decref(index);
    return NULL;
}

psc_status psc_shards_index(const psc_context *context, int64_t rows, psc_error *error) {
    const psc_shards *s = context->shards;
    char *path = NULL;
    json_t *index = head_of(context, rows), *shards = json_object_get(index, "shards");
    psc_status status = index ? PSC_OK : no_memory(s, error);
    for (int64_t i = 0; status == PSC_OK && i * s->rows < rows; i++)
        status = add_shard(
            shards, s, i, rows - i * s->rows < s->rows ? rows - i * s->rows : s->rows, error);
    if (status == PSC_OK) status = psc_shards_index_path(&path, s, error);
    if (status == PSC_OK) status = write_index(index, s, path, error);
    free(path);
    json_decref(index);
    return status;
}

/* --- merging --------------------------------------------------------------------------------- */

static psc_status add_part(json_t *index, const psc_shards *s, int32_t part, int32_t n_parts,
    int64_t *rows, psc_error *error) {
    char name[48], total[16], *path, *text = NULL;
    size_t size = 0, i;
    json_t *shard;
    const int width = snprintf(total, sizeof total, "%d", (int)n_parts);
    snprintf(name, sizeof name, "-%0*d-of-%s", width, (int)part, total);
    psc_status status = index_path(&path, s, name, error);
    if (status != PSC_OK) return status;
    status = psc_read_file(&text, &size, path, INDEX_CAP, error);
    json_t *own = status == PSC_OK ? psc_json_load(text, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (status == PSC_OK &&
        (!json_equal(json_object_get(own, "arrays"), json_object_get(index, "arrays")) ||
            !json_is_array(json_object_get(own, "shards"))))
        status = psc_fail(error, PSC_ERROR_INPUT,
            "%s is not the index of this run's part; run the part again", path);
    json_array_foreach(json_object_get(own, "shards"), i, shard) {
        if (status == PSC_OK && json_array_append(json_object_get(index, "shards"), shard) != 0)
            status = no_memory(s, error);
    }
    *rows += json_integer_value(json_object_get(own, "rows"));
    json_decref(own);
    free(text);
    free(path);
    return status;
}

psc_status psc_shards_index_merge(const psc_context *context, int64_t *out, psc_error *error) {
    const psc_shards *s = context->shards;
    const int32_t n = context->session->options.n_parts;
    const int64_t counted = psc_shards_counted(context);
    int64_t rows = 0;
    char *path = NULL;
    json_t *index = head_of(context, counted);
    psc_status status = index ? PSC_OK : no_memory(s, error);
    for (int32_t i = 1; status == PSC_OK && i <= n; i++)
        status = add_part(index, s, i, n, &rows, error);
    if (status == PSC_OK && rows != counted)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the parts in the folder %s have %" PRId64 " rows, but their states count %" PRId64
            "; run the parts again",
            s->folder, rows, counted);
    if (status == PSC_OK) status = index_path(&path, s, "", error);
    if (status == PSC_OK) status = write_index(index, s, path, error);
    if (out) *out = rows;
    free(path);
    json_decref(index);
    return status;
}
