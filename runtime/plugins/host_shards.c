/* The host's calls for rows of a corpus on disk, and what they will take. */
#include "host.h"
#include "row_shards.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define MOST_VALUES (INT64_C(1) << 40) /* of a row */

/* The instance's shards, if it may call here; null after setting the error. */
static psc_shards *shards_of(psc_context **given, int32_t where, const char *call) {
    if (!psc_host_may(given, call, where)) return NULL;
    if (!(*given)->shards)
        psc_host_fail(*given, PSC_ERROR_PLUGIN, "%s needs shards_open in open", call);
    return (*given)->shards;
}

/* --- opening --------------------------------------------------------------------------------- */

static const char *fault_of_array(const psc_shard_array *a) {
    int64_t values = 1;
    if (!a->name || !a->name[0]) return "has no name";
    if (a->n_axes < 1 || a->n_axes > 3) return "does not have 1 to 3 axes after the rows";
    for (int32_t i = 0; i < a->n_axes; i++) {
        if (a->shape[i] < 1 || a->shape[i] > MOST_VALUES / values)
            return "has an axis out of range";
        values *= a->shape[i];
    }
    return NULL;
}

static const char *fault_of(const psc_shard_options *o) {
    const char *fault = NULL;
    if (o->struct_size < sizeof *o) return "struct_size is too small";
    if (!o->folder || !o->folder[0]) return "the folder has no name";
    if (o->element < PSC_SHARD_F32 || o->element > PSC_SHARD_BF16) return "the element is unknown";
    if (o->rows < 1) return "a shard needs rows";
    if (!(o->share >= 0.0 && o->share <= 1.0)) return "share is not within 0 and 1";
    if (!o->arrays || o->n_arrays < 1 || o->n_arrays > 1 << 20) return "there are no arrays";
    for (int32_t i = 0; !fault && i < o->n_arrays; i++) fault = fault_of_array(&o->arrays[i]);
    return fault;
}

int psc_host_shards_open(psc_context *context, const psc_shard_options *options) {
    psc_error error = {PSC_OK, ""};
    if (!psc_host_may(&context, "shards_open", PSC_IN_OPEN)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "shards_open", "options", options)) return PSC_ERROR_PLUGIN;
    const char *fault = fault_of(options);
    if (fault) return psc_host_fail(context, PSC_ERROR_PLUGIN, "shards_open: %s", fault);
    if (!context->session->options.accumulate || context->shards)
        return psc_host_fail(context, PSC_ERROR_STATE,
            "shards_open is called once, in a session that accumulates over documents");
    psc_status status = psc_shards_make(context, options, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

/* --- a run ----------------------------------------------------------------------------------- */

static psc_status check_limit(const psc_shards *s, int64_t rows, psc_error *error) {
    const uint64_t bytes = psc_shards_bytes(s, rows);
    if (bytes <= s->most_bytes) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%lld rows take %.3g GB, and the limit is %.3g GB; allow more, or keep fewer rows or "
        "points",
        (long long)rows, 1e-9 * (double)bytes, 1e-9 * (double)s->most_bytes);
}

/* The columns that say what a row is. */
static psc_status put_columns(
    psc_context *context, psc_shards *s, int32_t n, const int32_t *index, psc_error *error) {
    int64_t *document = s->scratch, *start = document + n, *end = start + n;
    int32_t *token = (int32_t *)(end + n), *position = token + n;
    for (int32_t i = 0; i < n; i++) {
        const psc_row *row = &context->session->rows[index[i]];
        const bool known = row->end > row->start && row->end < UINT32_MAX;
        if (psc_host_place(context, row, &document[i], &position[i]))
            return context->session->error->status;
        start[i] = known ? (int64_t)row->start : -1;
        end[i] = known ? (int64_t)row->end : -1;
        token[i] = row->token;
    }
    const void *const columns[PSC_SHARD_COLUMNS] = {document, start, end, token, position};
    psc_status status = PSC_OK;
    for (int32_t c = 0; status == PSC_OK && c < PSC_SHARD_COLUMNS; c++)
        status = psc_shards_put(s, c, 0, n, columns[c], error);
    return status;
}

static psc_status make_scratch(psc_shards *s, int32_t n, psc_error *error) {
    const uint64_t bytes = (uint64_t)n * 32;
    if (bytes <= s->most_scratch) return PSC_OK;
    free(s->scratch);
    s->scratch = malloc((size_t)bytes);
    s->most_scratch = s->scratch ? bytes : 0;
    return s->scratch ? PSC_OK
                      : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %d rows", (int)n);
}

int psc_host_shards_rows(psc_context *context, int32_t n, const int32_t *index) {
    psc_error error = {PSC_OK, ""};
    psc_shards *s = shards_of(&context, PSC_IN_RUN_BEGIN, "shards_rows");
    if (!s) return PSC_ERROR_STATE;
    if (!psc_host_list(context, "shards_rows", "index", n, sizeof *index, index))
        return PSC_ERROR_PLUGIN;
    for (int32_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= context->session->n_rows ||
            (i > 0 && index[i] <= index[i - 1]))
            return psc_host_fail(context, PSC_ERROR_PLUGIN,
                "shards_rows: index %d is out of order or range", (int)i);
    psc_status status = psc_shards_begin(context, &error);
    s->base = status == PSC_OK ? psc_shards_counted(context) : 0;
    if (status == PSC_OK) status = check_limit(s, s->base + n, &error);
    if (status == PSC_OK) status = make_scratch(s, n, &error);
    if (status == PSC_OK && n > 0) status = put_columns(context, s, n, index, &error);
    if (context->session->error->status != PSC_OK) return context->session->error->status;
    if (status != PSC_OK) return psc_host_pass(context, &error);
    s->n_run = n;
    return 0;
}

int psc_host_shards_write(
    psc_context *context, int32_t array, int32_t first, int32_t n, const void *values) {
    psc_error error = {PSC_OK, ""};
    psc_shards *s = shards_of(&context, PSC_IN_EVENT | PSC_IN_RUN_END, "shards_write");
    if (!s) return PSC_ERROR_STATE;
    if (!psc_host_list(context, "shards_write", "values", n, 2, values)) return PSC_ERROR_PLUGIN;
    if (array < 0 || array >= s->n_columns - PSC_SHARD_COLUMNS || first < 0 || n > s->n_run - first)
        return psc_host_fail(context, PSC_ERROR_PLUGIN,
            "shards_write: array %d has no rows %d to %d of this run", (int)array, (int)first,
            (int)first + (int)n - 1);
    psc_status status = psc_shards_put(s, array + PSC_SHARD_COLUMNS, first, n, values, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

int psc_host_shards_close(psc_context *context, int64_t *rows) {
    psc_error error = {PSC_OK, ""};
    if (!shards_of(&context, PSC_IN_REPORT, "shards_close")) return PSC_ERROR_STATE;
    psc_status status = psc_shards_finish(context, rows, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

/* --- foretelling ----------------------------------------------------------------------------- */

/* Whether the disk has room for bytes more. */
static psc_status check_disk(const psc_shards *s, uint64_t bytes, psc_error *error) {
    struct statvfs disk;
    char *parent = strdup(s->folder), *slash = parent ? strrchr(parent, '/') : NULL;
    if (slash) slash[slash == parent] = 0;
    const bool known =
        statvfs(s->folder, &disk) == 0 || (parent && statvfs(slash ? parent : ".", &disk) == 0);
    free(parent);
    const double room = known ? (double)disk.f_bavail * (double)disk.f_frsize : 0.0;
    if (!known || (double)bytes <= room) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the rows take %.3g GB more, and the disk of %s has %.3g GB; keep fewer rows or points, or "
        "name a folder on another disk",
        1e-9 * (double)bytes, s->folder, 1e-9 * room);
}

psc_status psc_session_foretell(
    uint64_t *bytes, const psc_session *session, int64_t tokens, psc_error *error) {
    *bytes = 0;
    for (int32_t i = 0; i < session->n_contexts; i++) {
        const psc_context *context = session->contexts[i];
        const psc_shards *s = context->shards;
        if (!s) continue;
        const double expected = (double)tokens * s->share;
        const int64_t rows = expected < (double)tokens ? (int64_t)expected + 1 : tokens;
        const uint64_t whole = psc_shards_bytes(s, rows);
        const uint64_t present = psc_shards_bytes(s, psc_shards_counted(context));
        psc_status status = check_limit(s, rows, error);
        if (status == PSC_OK) status = check_disk(s, whole > present ? whole - present : 0, error);
        if (status != PSC_OK) return psc_error_prefix(error, status, context->name);
        *bytes += whole;
    }
    return PSC_OK;
}
