/* State files: the totals of an accumulating session, as one file that appears whole or not at all.
 *
 *   "PSCSTATE", u32 format, u32 0, u64 bytes of header, client, data; header; client; data;
 *   XXH3-128 of all that
 *
 * Numbers are little-endian. header is JSON: the origin of the totals (model, SLEEF, targets,
 * plugins with versions, options and accumulators) and the counts of windows and tokens. client is
 * the caller's, such as its position in a corpus. data holds the accumulators' slots as in memory,
 * plugin by plugin. */
#include "files.h"
#include "json.h"
#include "json_text.h"
#include "row_shards.h"
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* To be raised when the layout or the rounding of the sums changes. Up to 2: version 0.1.0. */
#define FORMAT 3
#define FIXED_BYTES 40
#define HASH_BYTES 16

static const char MAGIC[8] = "PSCSTATE";

/* --- the origin of the totals ---------------------------------------------------------------- */

static void put(json_t *object, bool *ok, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0) *ok = false;
}

static void append(json_t *array, bool *ok, json_t *value) {
    if (json_array_append_new(array, value) != 0) *ok = false;
}

static json_t *plugin_object(const psc_context *context, bool *ok) {
    json_t *plugin = json_object(), *options = json_object(), *tables = json_array();
    put(plugin, ok, "name", psc_json_text(context->plugin->name));
    put(plugin, ok, "version", psc_json_text(context->plugin->version));
    for (int32_t i = 0; i < context->n_options; i++)
        put(options, ok, context->options[i].key, psc_json_text(context->options[i].value));
    for (int32_t i = 0; i < context->accumulators.n; i++) {
        const psc_accumulator *a = &context->accumulators.list[i];
        json_t *table = json_array();
        append(table, ok, psc_json_text(a->name));
        append(table, ok, json_integer((json_int_t)a->kind));
        append(table, ok, json_integer(a->n));
        append(table, ok, json_integer(a->k));
        if (a->extra) append(table, ok, json_integer((json_int_t)a->extra));
        append(tables, ok, table);
    }
    if (context->contents) {
        char text[17];
        snprintf(text, sizeof text, "%016" PRIx64, context->contents);
        put(plugin, ok, "contents", psc_json_text(text));
    }
    put(plugin, ok, "options", options);
    put(plugin, ok, "accumulators", tables);
    return plugin;
}

/* Null when memory runs out. */
static json_t *header_of(const psc_session *session) {
    bool ok = true;
    json_t *header = json_object(), *targets = json_array(), *plugins = json_array();
    json_t *ids = json_array();
    for (int32_t i = 0; i < session->targets.n; i++) {
        append(targets, &ok, psc_json_text(session->targets.targets[i].label));
        append(ids, &ok, json_integer(session->targets.targets[i].a));
        append(ids, &ok, json_integer(session->targets.targets[i].b));
    }
    for (int32_t i = 0; i < session->n_contexts; i++)
        append(plugins, &ok, plugin_object(session->contexts[i], &ok));
    put(header, &ok, "model", psc_json_text(session->model->info.hash));
    put(header, &ok, "sleef", psc_json_text(psc_sleef_version()));
    put(header, &ok, "targets", targets);
    put(header, &ok, "target_ids", ids);
    put(header, &ok, "plugins", plugins);
    put(header, &ok, "windows", json_integer(session->windows));
    put(header, &ok, "tokens", json_integer(session->tokens));
    if (ok) return header;
    json_decref(header);
    return NULL;
}

/* The header without the counts. */
json_t *psc_state_origin(const psc_session *session) {
    json_t *header = header_of(session);
    if (!header) return NULL;
    (void)json_object_del(header, "windows");
    (void)json_object_del(header, "tokens");
    return header;
}

/* --- the file -------------------------------------------------------------------------------- */

static void store64(unsigned char *to, uint64_t value) {
    for (int i = 0; i < 8; i++) to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t load64(const unsigned char *from) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value |= (uint64_t)from[i] << (8 * i);
    return value;
}

/* A checked state file in memory; client and data point into bytes. */
typedef struct state_file {
    char *bytes;
    json_t *header;
    const char *client, *data;
    uint64_t n_client, n_data;
} state_file;

static void close_file(state_file *file) {
    json_decref(file->header);
    free(file->bytes);
    *file = (state_file){0};
}

static psc_status damaged(const char *path, const char *how, psc_error *error) {
    return psc_fail(error, PSC_ERROR_INPUT, "the state file %s is damaged: %s", path, how);
}

static psc_status other_format(const char *path, uint64_t format, psc_error *error) {
    return psc_fail(error, PSC_ERROR_SUPPORT,
        "the state file %s was made by %s (format %" PRIu64
        "), but version %s reads format %d; start with a new file",
        path, format < FORMAT ? "version 0.1.0" : "a later version", format, psc_version(), FORMAT);
}

static psc_status check_bytes(state_file *file, size_t size, const char *path, psc_error *error) {
    const unsigned char *bytes = (const unsigned char *)file->bytes;
    if (size < sizeof MAGIC || memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not a pythiascope state file", path);
    if (size < FIXED_BYTES + HASH_BYTES) return damaged(path, "it is truncated", error);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(bytes, size - HASH_BYTES));
    if (memcmp(hash.digest, bytes + size - HASH_BYTES, HASH_BYTES) != 0)
        return damaged(path, "its checksum does not match its content", error);
    uint64_t format = load64(bytes + 8), room = size - FIXED_BYTES - HASH_BYTES;
    if (format != FORMAT) return other_format(path, format, error);
    uint64_t n_header = load64(bytes + 16);
    file->n_client = load64(bytes + 24);
    file->n_data = load64(bytes + 32);
    if (n_header > room || file->n_client > room - n_header ||
        file->n_data != room - n_header - file->n_client)
        return damaged(path, "its sections do not match its size", error);
    file->client = file->bytes + FIXED_BYTES + n_header;
    file->data = file->client + file->n_client;
    json_error_t why;
    file->header =
        psc_json_load(file->bytes + FIXED_BYTES, (size_t)n_header, JSON_REJECT_DUPLICATES, &why);
    if (!file->header && psc_json_no_memory(&why))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the state of %s", path);
    return json_is_object(file->header) ? PSC_OK
                                        : damaged(path, "its header is not a JSON object", error);
}

static psc_status open_file(state_file *file, const char *path, psc_error *error) {
    size_t size = 0;
    *file = (state_file){0};
    psc_status status = psc_read_file(&file->bytes, &size, path, SIZE_MAX / 4, error);
    if (status == PSC_OK) status = check_bytes(file, size, path, error);
    if (status != PSC_OK) close_file(file);
    return status;
}

/* --- saving ---------------------------------------------------------------------------------- */

static uint64_t data_bytes(const psc_session *session) {
    uint64_t bytes = 0;
    for (int32_t i = 0; i < session->n_contexts; i++)
        for (int32_t j = 0; j < session->contexts[i]->accumulators.n; j++)
            bytes += session->contexts[i]->accumulators.list[j].bytes;
    return bytes;
}

static void copy_data(const psc_session *session, unsigned char *to) {
    for (int32_t i = 0; i < session->n_contexts; i++) {
        for (int32_t j = 0; j < session->contexts[i]->accumulators.n; j++) {
            const psc_accumulator *a = &session->contexts[i]->accumulators.list[j];
            memcpy(to, a->slots, (size_t)a->bytes);
            to += a->bytes;
        }
    }
}

psc_status psc_session_state_save(const psc_session *session, const char *path, const void *client,
    size_t bytes, psc_error *error) {
    if (psc_session_busy(session))
        return psc_fail(
            error, PSC_ERROR_STATE, "psc_session_state_save cannot be called from a callback");
    psc_status status = psc_accumulation_check(session, error);
    for (int32_t i = 0; i < session->n_contexts && status == PSC_OK; i++)
        status = psc_shards_sync(session->contexts[i], error); /* the rows that the state counts */
    if (status != PSC_OK) return status;
    json_t *json = header_of(session);
    char *header = psc_json_dump(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    const uint64_t n_header = header ? strlen(header) : 0, n_data = data_bytes(session);
    const uint64_t size = FIXED_BYTES + n_header + bytes + n_data + HASH_BYTES;
    unsigned char *file = header ? malloc((size_t)size) : NULL;
    if (!file) {
        free(header);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the state file %s", path);
    }
    memcpy(file, MAGIC, sizeof MAGIC);
    store64(file + 8, FORMAT);
    store64(file + 16, n_header);
    store64(file + 24, bytes);
    store64(file + 32, n_data);
    memcpy(file + FIXED_BYTES, header, (size_t)n_header);
    if (bytes > 0) memcpy(file + FIXED_BYTES + n_header, client, bytes);
    copy_data(session, file + FIXED_BYTES + n_header + bytes);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(file, (size_t)(size - HASH_BYTES)));
    memcpy(file + size - HASH_BYTES, hash.digest, HASH_BYTES);
    status = psc_write_file(path, file, (size_t)size, error);
    free(header);
    free(file);
    return status;
}

/* --- mismatches ------------------------------------------------------------------------------ */

static const char *string_of(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static psc_status check_plugin(
    const json_t *theirs, const json_t *ours, const char *path, psc_error *error) {
    const char *name = string_of(ours, "name");
    if (strcmp(string_of(theirs, "version"), string_of(ours, "version")) != 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s was made with version %.60s of plugin %s, but this is version %.60s",
            path, string_of(theirs, "version"), name, string_of(ours, "version"));
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(ours, "options"), key, value) {
        const char *other = string_of(json_object_get(theirs, "options"), key);
        if (strcmp(other, json_string_value(value)) != 0)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the state file %s was made with %s=%.100s for plugin %s, not %s=%.100s", path, key,
                other, name, key, json_string_value(value));
    }
    if (!json_equal(json_object_get(theirs, "options"), json_object_get(ours, "options")))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s was made with different options of plugin %s", path, name);
    const char *contents = string_of(theirs, "contents"); /* older states have none */
    if (*contents && strcmp(contents, string_of(ours, "contents")) != 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s was made when the files that plugin %s reads had other contents; put "
            "them back, or begin anew",
            path, name);
    if (!json_equal(json_object_get(theirs, "accumulators"), json_object_get(ours, "accumulators")))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s has different accumulators for plugin %s", path, name);
    return PSC_OK;
}

/* "logits, ln" from an array of objects with a name, or of strings; "none" from an empty one. */
static void list_names(char *out, size_t size, const json_t *array) {
    size_t used = 0, i;
    json_t *entry;
    snprintf(out, size, "none");
    json_array_foreach(array, i, entry) {
        const char *name =
            json_is_string(entry) ? json_string_value(entry) : string_of(entry, "name");
        int n = snprintf(out + used, size - used, "%s%s", i ? ", " : "", name);
        used += n > 0 ? (size_t)n : 0;
        if (used >= size) break;
    }
}

static psc_status check_names(
    const json_t *theirs, const json_t *ours, const char *key, const char *path, psc_error *error) {
    char a[200], b[200];
    list_names(a, sizeof a, json_object_get(theirs, key));
    list_names(b, sizeof b, json_object_get(ours, key));
    if (strcmp(a, b) == 0 && json_array_size(json_object_get(theirs, key)) ==
                                 json_array_size(json_object_get(ours, key)))
        return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "the state file %s was made with the %s %s, not %s",
        path, key, a, b);
}

static psc_status check_header(
    const json_t *theirs, const json_t *ours, const char *path, psc_error *error) {
    if (strcmp(string_of(theirs, "model"), string_of(ours, "model")) != 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s was made with model %.40s, but this is model %.40s", path,
            string_of(theirs, "model"), string_of(ours, "model"));
    if (strcmp(string_of(theirs, "sleef"), string_of(ours, "sleef")) != 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s was made with SLEEF %.40s, but this is SLEEF %.40s", path,
            string_of(theirs, "sleef"), string_of(ours, "sleef"));
    psc_status status = check_names(theirs, ours, "plugins", path, error);
    if (status == PSC_OK) status = check_names(theirs, ours, "targets", path, error);
    if (status == PSC_OK &&
        !json_equal(json_object_get(theirs, "target_ids"), json_object_get(ours, "target_ids")))
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the state file %s was made with different targets of the same names", path);
    const json_t *plugins = json_object_get(ours, "plugins");
    for (size_t i = 0; i < json_array_size(plugins) && status == PSC_OK; i++)
        status = check_plugin(json_array_get(json_object_get(theirs, "plugins"), i),
            json_array_get(plugins, i), path, error);
    return status;
}

/* --- loading --------------------------------------------------------------------------------- */

/* The header's count, which does not overflow with what the session has. */
static psc_status take_count(int64_t *out, const json_t *header, const char *key, int64_t present,
    const char *path, psc_error *error) {
    const int64_t most = (int64_t)1 << 60;
    const json_t *count = json_object_get(header, key);
    *out = json_integer_value(count);
    if (!json_is_integer(count) || *out < 0 || *out > most - present)
        return damaged(path, "its counts are missing or out of range", error);
    return PSC_OK;
}

static psc_status add_data(
    psc_session *session, const state_file *file, const char *path, psc_error *error) {
    const char *from = file->data;
    for (int32_t i = 0; i < session->n_contexts; i++) {
        for (int32_t j = 0; j < session->contexts[i]->accumulators.n; j++) {
            psc_accumulator *a = &session->contexts[i]->accumulators.list[j];
            psc_status status = psc_accumulator_merge(a, from, error);
            if (status != PSC_OK) return psc_error_prefix(error, status, path);
            from += a->bytes;
        }
    }
    return PSC_OK;
}

static void clear_totals(psc_session *session) {
    session->windows = session->tokens = 0;
    for (int32_t i = 0; i < session->n_contexts; i++)
        for (int32_t j = 0; j < session->contexts[i]->accumulators.n; j++)
            psc_accumulator_clear(&session->contexts[i]->accumulators.list[j]);
}

/* Everything is checked before the totals change. */
static psc_status add_file(psc_session *session, const state_file *file, bool replace,
    const char *path, psc_error *error) {
    int64_t windows = 0, tokens = 0;
    psc_status status =
        take_count(&windows, file->header, "windows", replace ? 0 : session->windows, path, error);
    if (status == PSC_OK)
        status =
            take_count(&tokens, file->header, "tokens", replace ? 0 : session->tokens, path, error);
    if (status == PSC_OK && file->n_data != data_bytes(session))
        status = damaged(path, "its data does not match its accumulators", error);
    if (status != PSC_OK) return status;
    if (replace) clear_totals(session);
    status = add_data(session, file, path, error);
    session->windows += windows;
    session->tokens += tokens;
    session->spoilt = status != PSC_OK;
    return status;
}

static psc_status take_file(
    psc_session *session, const char *path, bool replace, psc_error *error) {
    state_file file;
    psc_status status = psc_accumulation_check(session, error);
    if (status == PSC_OK && psc_session_busy(session))
        status = psc_fail(error, PSC_ERROR_STATE, "a state file cannot be loaded in a callback");
    if (status == PSC_OK) status = psc_targets_imply(session, error);
    if (status != PSC_OK) return status;
    json_t *ours = header_of(session);
    if (!ours)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the state of %s", path);
    status = open_file(&file, path, error);
    if (status == PSC_OK) status = check_header(file.header, ours, path, error);
    if (status == PSC_OK) status = add_file(session, &file, replace, path, error);
    if (status == PSC_OK) session->resumed = true;
    json_decref(ours);
    close_file(&file);
    return status;
}

psc_status psc_session_state_load(psc_session *session, const char *path, psc_error *error) {
    return take_file(session, path, true, error);
}

psc_status psc_session_state_merge(psc_session *session, const char *path, psc_error *error) {
    return take_file(session, path, false, error);
}

psc_status psc_state_client(void **out, size_t *bytes, const char *path, psc_error *error) {
    state_file file;
    *out = NULL;
    *bytes = 0;
    psc_status status = open_file(&file, path, error);
    if (status != PSC_OK) return status;
    char *copy = malloc((size_t)file.n_client + 1);
    if (copy) {
        memcpy(copy, file.client, (size_t)file.n_client);
        copy[file.n_client] = 0;
        *bytes = (size_t)file.n_client;
    } else {
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the state of %s", path);
    }
    *out = copy;
    close_file(&file);
    return status;
}
