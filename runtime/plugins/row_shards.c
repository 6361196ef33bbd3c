/* Rows of a corpus as shards. Row number r of the part lies in shard r / rows at r mod
 * rows. The host's accumulator counts the rows of the runs that succeeded, so a state file
 * knows where to go on. */
#include "row_shards.h"

#include "files.h"
#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the shards of a plugin");
}

bool psc_shards_merging(const psc_session *session) {
    return session->options.n_parts > 1 && session->options.part == 0;
}

/* --- opening --------------------------------------------------------------------------------- */

static bool add_column(psc_shards *s, const char *name, const char *dtype, uint64_t element,
    const psc_shard_array *array) {
    psc_shard_column *c = &s->columns[s->n_columns++];
    *c = (psc_shard_column){.name = strdup(name), .dtype = dtype, .row_bytes = element};
    for (int32_t i = 0; array && i < array->n_axes; i++) {
        c->shape[c->n_axes++] = array->shape[i];
        c->row_bytes *= (uint64_t)array->shape[i];
    }
    s->row_bytes += c->row_bytes;
    return c->name != NULL;
}

static psc_status add_columns(psc_shards *s, const psc_shard_options *o, psc_error *error) {
    static const char *const elements[] = {"F32", "F16", "BF16"};
    const uint64_t element = o->element == PSC_SHARD_F32 ? 4 : 2;
    char *header;
    size_t size;
    s->columns = calloc((size_t)o->n_arrays + PSC_SHARD_COLUMNS, sizeof *s->columns);
    bool ok = s->columns && add_column(s, "document", "I64", 8, NULL);
    ok = ok && add_column(s, "byte_start", "I64", 8, NULL);
    ok = ok && add_column(s, "byte_end", "I64", 8, NULL);
    ok = ok && add_column(s, "token_ids", "I32", 4, NULL);
    ok = ok && add_column(s, "position", "I32", 4, NULL);
    for (int32_t i = 0; ok && i < o->n_arrays; i++)
        ok = add_column(s, o->arrays[i].name, elements[o->element], element, &o->arrays[i]);
    if (!ok) return no_memory(error);
    psc_status status = psc_shard_header(&header, &size, s, s->rows, error);
    if (status != PSC_OK) return status;
    free(header);
    uint64_t at = size;
    for (int32_t i = 0; i < s->n_columns; i++) {
        s->columns[i].offset = at;
        at += (uint64_t)s->rows * s->columns[i].row_bytes;
    }
    return PSC_OK;
}

/* "activations", of part 2 of 3 "activations-2-of-3". */
static char *stem_of(const psc_context *context) {
    const psc_session_options *o = &context->session->options;
    char total[16], stem[PSC_SHARD_NAME];
    const int width = snprintf(total, sizeof total, "%d", (int)o->n_parts);
    snprintf(stem, sizeof stem, "%.64s", context->plugin->name);
    if (o->part > 0 && o->n_parts > 1)
        snprintf(stem, sizeof stem, "%.64s-%0*d-of-%s", context->plugin->name, width, (int)o->part,
            total);
    return strdup(stem);
}

/* Two instances of a session need folders of their own. */
static psc_status check_alone(const psc_context *context, psc_error *error) {
    const psc_session *session = context->session;
    for (int32_t i = 0; i < session->n_contexts; i++) {
        const psc_shards *other = session->contexts[i]->shards;
        if (other && strcmp(other->folder, context->shards->folder) == 0)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the folder %s is already that of plugin %s; name another one", other->folder,
                session->contexts[i]->name);
    }
    return PSC_OK;
}

psc_status psc_shards_make(
    psc_context *context, const psc_shard_options *options, psc_error *error) {
    psc_shards *s = context->shards = calloc(1, sizeof *s);
    if (!s) return no_memory(error);
    s->fd = s->lock = -1;
    s->number = -1;
    s->n_run = -1;
    s->rows = options->rows;
    s->share = options->share;
    s->most_bytes = options->most_bytes;
    s->folder = strdup(options->folder);
    s->stem = stem_of(context);
    s->n_name = strlen(context->plugin->name);
    if (!s->folder || !s->stem) return no_memory(error);
    psc_status status = add_columns(s, options, error);
    if (status == PSC_OK) status = check_alone(context, error);
    if (status == PSC_OK)
        status = psc_shards_check_folder(s, psc_shards_merging(context->session), error);
    if (status != PSC_OK) return status;
    s->counter = psc_accumulators_add(
        &context->accumulators, "shard_rows", PSC_ACCUMULATE_COUNT, 1, 0, error);
    return s->counter < 0 ? error->status : PSC_OK;
}

void psc_shards_free(psc_shards **shards) {
    psc_shards *s = *shards;
    if (!s) return;
    for (int32_t i = 0; i < s->n_columns; i++) free(s->columns[i].name);
    if (s->fd >= 0) close(s->fd);
    psc_shards_unlock(s);
    free(s->columns);
    free(s->folder);
    free(s->stem);
    free(s->scratch);
    free(s);
    *shards = NULL;
}

/* --- rows ------------------------------------------------------------------------------------ */

int64_t psc_shards_counted(const psc_context *context) {
    int64_t n;
    memcpy(&n, context->accumulators.list[context->shards->counter].slots, sizeof n);
    return n;
}

uint64_t psc_shards_bytes(const psc_shards *s, int64_t n) {
    const uint64_t shards = (uint64_t)(n / s->rows + (n % s->rows > 0));
    return shards * s->columns[0].offset + (uint64_t)n * s->row_bytes;
}

/* What no state file counts is not overwritten: it may be a run's whose state was not named. */
static psc_status check_fresh(const psc_context *context, psc_error *error) {
    const psc_shards *s = context->shards;
    char *index;
    int64_t found = 0;
    psc_status status = psc_shards_index_path(&index, s, error);
    if (status != PSC_OK) return status;
    const bool finished = psc_path_exists(index);
    free(index);
    if (!finished && context->session->resumed) return PSC_OK;
    status = psc_shards_remove_from(s, 0, true, &found, error);
    if (status != PSC_OK || (found == 0 && !finished)) return status;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the folder %s has the rows of an earlier run; name a new one, or go on with the --state "
        "file of that run",
        s->folder);
}

/* The whole shards before the place exist. */
static psc_status check_before(const psc_shards *s, int64_t n, psc_error *error) {
    const uint64_t full = s->columns[0].offset + (uint64_t)s->rows * s->row_bytes;
    psc_status status = PSC_OK;
    for (int64_t i = 0; status == PSC_OK && i < n; i++) {
        char *path;
        psc_file_facts facts;
        status = psc_shard_path(&path, s, i, true, error);
        if (status != PSC_OK) return status;
        if (!psc_file_examine(&facts, path) || facts.size != full)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "%s is missing or has another size than the state file says; begin anew with a new "
                "folder and state",
                path);
        free(path);
    }
    return status;
}

psc_status psc_shards_begin(psc_context *context, psc_error *error) {
    psc_shards *s = context->shards;
    const int64_t counted = psc_shards_counted(context), n = counted / s->rows;
    int64_t found;
    char *index;
    if (s->begun) return PSC_OK;
    psc_status status = psc_shards_lock(s, error);
    if (status == PSC_OK && counted == 0) status = check_fresh(context, error);
    if (status == PSC_OK) status = check_before(s, n, error);
    if (status == PSC_OK && counted % s->rows > 0)
        status = psc_shard_reopen(s, n, counted % s->rows, error);
    if (status == PSC_OK)
        status = psc_shards_remove_from(s, n + (counted % s->rows > 0), false, &found, error);
    if (status == PSC_OK) status = psc_shards_index_path(&index, s, error);
    if (status != PSC_OK) {
        psc_shards_unlock(s);
        return status;
    }
    (void)unlink(index); /* there is none while the run goes on */
    free(index);
    s->begun = true;
    return PSC_OK;
}

psc_status psc_shards_put(
    psc_shards *s, int32_t column, int32_t first, int32_t n, const void *values, psc_error *error) {
    const psc_shard_column *c = &s->columns[column];
    const char *from = values;
    int64_t row = s->base + first;
    for (int64_t left = n; left > 0;) {
        const int64_t at = row % s->rows, some = left < s->rows - at ? left : s->rows - at;
        psc_status status = psc_shard_open(s, row / s->rows, error);
        const uint64_t bytes = (uint64_t)some * c->row_bytes;
        if (status == PSC_OK)
            status = psc_shard_write(
                s->fd, from, bytes, c->offset + (uint64_t)at * c->row_bytes, s->folder, error);
        if (status != PSC_OK) return status;
        from += bytes;
        row += some;
        left -= some;
    }
    return PSC_OK;
}

psc_status psc_shards_commit(psc_context *context, psc_error *error) {
    psc_shards *s = context->shards;
    if (!s || s->n_run < 0) return PSC_OK;
    const int64_t end = s->base + s->n_run;
    const double more = s->n_run;
    psc_status status = PSC_OK;
    s->n_run = -1;
    context->session->run_accumulated = true;
    for (int64_t i = s->base / s->rows; status == PSC_OK && i < end / s->rows; i++) {
        status = psc_shard_open(s, i, error);
        if (status == PSC_OK) status = psc_shard_close(s, s->rows, error);
    }
    if (status == PSC_OK)
        status = psc_accumulator_add(&context->accumulators.list[s->counter], 0, 1, &more, error);
    return status == PSC_OK ? status : psc_error_prefix(error, status, context->name);
}

psc_status psc_shards_sync(psc_context *context, psc_error *error) {
    psc_shards *s = context->shards;
    if (!s || !s->begun) return PSC_OK;
    if (s->fd >= 0 && fsync(s->fd) != 0)
        return psc_fail(
            error, PSC_ERROR_IO, "cannot write the shards of %s: %s", s->folder, strerror(errno));
    psc_folder_sync(s->folder);
    return PSC_OK;
}

psc_status psc_shards_finish(psc_context *context, int64_t *rows, psc_error *error) {
    psc_shards *s = context->shards;
    int64_t found;
    if (psc_shards_merging(context->session)) return psc_shards_index_merge(context, rows, error);
    const int64_t n = psc_shards_counted(context), last = n / s->rows, rest = n % s->rows;
    psc_status status = psc_shards_begin(context, error);
    if (status == PSC_OK && rest > 0) status = psc_shard_open(s, last, error);
    if (status == PSC_OK && rest > 0) status = psc_shard_close(s, rest, error);
    if (status == PSC_OK)
        status = psc_shards_remove_from(s, last + (rest > 0), false, &found, error);
    if (status == PSC_OK) status = psc_shards_index(context, n, error);
    if (status != PSC_OK) return status;
    psc_folder_sync(s->folder);
    psc_shards_unlock(s);
    s->begun = false;
    if (rows) *rows = n;
    return PSC_OK;
}
