/* Sessions: opening, the client's hooks, and access to the last run. The run itself: run.c. */
#include "session.h"

#include "model_header.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A longer chunk reads the weights less often. Its buffers, which the session holds, take at most
 * CHUNK_BYTES unless the chunk is the shortest. */
#define LONGEST_CHUNK 512
#define SHORTEST_CHUNK 128
#define CHUNK_BYTES ((size_t)32 << 20)
#define DEFAULT_RETAINED_CAP ((uint64_t)2 << 30)
/* Room that a session allocates at the start: rows of a run, and rows of logits. */
#define MOST_ROWS (1 << 20)
#define MOST_LOGITS 16
#define MAX_THREADS 1024
#define MAX_CHUNK 65536
#define MAX_SEQUENCES 65536
#define MAX_SHARED (1 << 30)
#define MAX_PARTS 65536 /* as psc_corpus.h */

const char *psc_version(void) {
    return PSC_VERSION;
}

static uint64_t enter_fp(void) {
    return psc_fp_enter().saved;
}

static void leave_fp(uint64_t saved) {
    psc_fp_leave((psc_fp_state){saved});
}

/* The kernel table of that name; the error for any other name lists the available ones. */
static psc_status choose_isa(const psc_kernels **kernels, const char *name, psc_error *error) {
    uint32_t mask = psc_isa_mask();
    if (!name) {
        *kernels = psc_kernels_for(psc_isa_best(mask));
        return PSC_OK;
    }
    char known[64] = "";
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        if (strcmp(name, psc_isa_name((psc_isa)isa)) == 0) {
            *kernels = psc_kernels_for((psc_isa)isa);
            if (*kernels) return PSC_OK;
        }
        if (!(mask >> isa & 1)) continue;
        strncat(known, known[0] ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, psc_isa_name((psc_isa)isa), sizeof known - strlen(known) - 1);
    }
    return psc_fail(error, PSC_ERROR_SUPPORT,
        "instruction set '%.40s' is not available here: this machine and build have %s", name,
        known);
}

static psc_status check_range(int32_t value, int32_t most, const char *what, psc_error *error) {
    if (value >= 0 && value <= most) return PSC_OK;
    return psc_fail(
        error, PSC_ERROR_INPUT, "%s must be from 1 to %d, not %d", what, (int)most, (int)value);
}

static int32_t default_chunk(const psc_config *c) {
    int32_t chunk = LONGEST_CHUNK;
    size_t row = psc_forward_row_bytes(c);
    while (chunk > SHORTEST_CHUNK && (size_t)chunk * row > CHUNK_BYTES) chunk /= 2;
    return chunk;
}

/* Fills in defaults and checks ranges. */
static psc_status resolve(psc_session_options *out, const psc_session_options *given,
    const psc_model *model, psc_error *error) {
    *out = (psc_session_options)PSC_SESSION_OPTIONS_INIT;
    if (given)
        memcpy(out, given, given->struct_size < sizeof *out ? given->struct_size : sizeof *out);
    psc_status status = check_range(out->threads, MAX_THREADS, "threads", error);
    if (status == PSC_OK) status = check_range(out->chunk, MAX_CHUNK, "chunk", error);
    if (status == PSC_OK)
        status = check_range(out->n_sequences, MAX_SEQUENCES, "n_sequences", error);
    if (status == PSC_OK) status = check_range(out->capacity, model->info.n_ctx, "capacity", error);
    if (status == PSC_OK)
        status = check_range(out->shared_tokens, MAX_SHARED, "shared_tokens", error);
    if (status == PSC_OK) status = check_range(out->n_parts, MAX_PARTS, "n_parts", error);
    if (status == PSC_OK) status = check_range(out->part, out->n_parts, "part", error);
    if (status != PSC_OK) return status;
    if (out->threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        out->threads = cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : (int32_t)cores;
    }
    if (out->chunk == 0) out->chunk = default_chunk(&model->config);
    if (out->n_sequences == 0) out->n_sequences = 1;
    if (out->capacity == 0) out->capacity = model->info.n_ctx;
    if (out->retained_cap == 0) out->retained_cap = DEFAULT_RETAINED_CAP;
    return PSC_OK;
}

psc_status psc_session_open(
    psc_session **out, psc_model *model, const psc_session_options *options, psc_error *error) {
    *out = NULL;
    psc_status status = psc_model_check_weights(model, error);
    if (status) return status;
    psc_session *s = calloc(1, sizeof *s);
    if (!s) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a session");
    s->model = model;
    const psc_model_info *info = &model->info;
    status = resolve(&s->options, options, model, error);
    if (status == PSC_OK) status = choose_isa(&s->kernels, s->options.isa, error);
    if (status == PSC_OK)
        status = psc_team_open(&s->team, s->options.threads, enter_fp, leave_fp, error);
    if (status == PSC_OK)
        status = psc_registry_open(
            &s->registry, info->n_layers, info->n_heads, info->parallel_residual, error);
    if (status == PSC_OK)
        status = psc_registry_open(
            &s->gradients, info->n_layers, info->n_heads, info->parallel_residual, error);
    if (status == PSC_OK) psc_registry_set_gradients(s->gradients);
    if (status == PSC_OK && s->options.check_plugins) {
        psc_registry_check_writes(s->registry);
        psc_registry_check_writes(s->gradients);
    }
    if (status == PSC_OK)
        status = psc_kv_cache_open(&s->cache, s->options.n_sequences, info->n_layers, info->n_heads,
            info->d_head, s->options.capacity, s->options.shared_tokens, error);
    if (status == PSC_OK)
        status = psc_rotary_extend(&s->rotary, &model->rotary, (size_t)s->options.capacity, error);
    int64_t most = (int64_t)s->options.n_sequences * s->options.capacity;
    if (status == PSC_OK && s->options.shared_tokens) most = (int64_t)s->cache->shared;
    if (status == PSC_OK && s->options.chunk > most) s->options.chunk = (int32_t)most;
    if (status == PSC_OK)
        status = psc_forward_open(&s->forward, model, &s->rotary, s->kernels, s->team, s->registry,
            s->cache, s->options.chunk, error);
    if (status == PSC_OK) psc_forward_touch(s->forward);
    if (status == PSC_OK) status = psc_results_open(&s->results, error);
    int32_t logits = s->options.n_sequences < MOST_LOGITS ? s->options.n_sequences : MOST_LOGITS;
    if (status == PSC_OK)
        status =
            psc_session_reserve(s, most < MOST_ROWS ? (int32_t)most : MOST_ROWS, logits, error);
    if (status != PSC_OK) {
        psc_session_close(&s);
        return status;
    }
    s->options.isa = s->kernels->isa_name;
    *out = s;
    return PSC_OK;
}

void psc_session_close(psc_session **out) {
    psc_session *s = *out;
    if (!s) return;
    psc_contexts_close(s);
    psc_captures_free(s);
    psc_destinations_free(&s->copies);
    psc_destinations_free(&s->gradient_copies);
    psc_gradient_close(&s->gradient);
    psc_targets_clear(s);
    psc_results_close(&s->results);
    psc_forward_close(&s->forward);
    psc_rotary_close(&s->rotary);
    psc_kv_cache_close(&s->cache);
    psc_shared_rows_close(s);
    psc_registry_close(&s->registry);
    psc_registry_close(&s->gradients);
    psc_team_close(&s->team);
    free(s->rows);
    free(s->own_logits);
    free(s->logit_rows);
    free(s->wanted);
    free(s);
    *out = NULL;
}

int32_t psc_session_threads(const psc_session *session) {
    return session->options.threads;
}

const char *psc_session_isa(const psc_session *session) {
    return session->kernels->isa_name;
}

psc_status psc_session_plugin(
    psc_session *session, const char *name_or_path, const char *options, psc_error *error) {
    return psc_contexts_add(session, NULL, name_or_path, options, NULL, 0, error);
}

psc_status psc_session_plugin_options(psc_session *session, const char *name_or_path,
    const char *text, const psc_option *options, int32_t n, psc_error *error) {
    return psc_contexts_add(session, NULL, name_or_path, text, options, n, error);
}

psc_status psc_session_plugin_object(psc_session *session, const psc_plugin *plugin,
    const psc_option *options, int32_t n, psc_error *error) {
    if (!plugin) return psc_fail(error, PSC_ERROR_INPUT, "the plugin is a null pointer");
    return psc_contexts_add(session, plugin, NULL, NULL, options, n, error);
}

psc_status psc_session_target(psc_session *session, const char *target, psc_error *error) {
    return psc_targets_add(session, target, error);
}

psc_status psc_session_contrast(
    psc_session *session, const char *a, const char *b, psc_error *error) {
    return psc_targets_add_contrast(session, a, b, error);
}

psc_status psc_session_capture(psc_session *session, const char *point, psc_error *error) {
    if (session->options.accumulate)
        return psc_fail(error, PSC_ERROR_STATE,
            "%s cannot be captured over a corpus: a captured tensor belongs to one run", point);
    return psc_captures_add(session, point, error);
}

static psc_status add_hook(psc_session *session, psc_point point, bool editor,
    const psc_filter *filter, psc_event_fn callback, void *payload, psc_error *error) {
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "a hook cannot be added in a callback");
    psc_subscriber client = {.owner = payload};
    return psc_registry_add(psc_session_registry(session, filter), point, editor, filter, callback,
        payload, &client, error);
}

psc_status psc_session_observe(psc_session *session, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload, psc_error *error) {
    return add_hook(session, point, false, filter, callback, payload, error);
}

psc_status psc_session_edit(psc_session *session, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload, psc_error *error) {
    return add_hook(session, point, true, filter, callback, payload, error);
}

void psc_session_unhook(psc_session *session, const void *payload) {
    if (psc_session_busy(session)) return;
    psc_registry_remove(session->registry, payload);
    psc_registry_remove(session->gradients, payload);
}

int32_t psc_session_length(const psc_session *session, int32_t sequence) {
    if (sequence < 0 || sequence >= session->options.n_sequences) return 0;
    return session->cache->lengths[sequence];
}

void psc_session_truncate(psc_session *session, int32_t sequence, int32_t n) {
    if (sequence < 0 || sequence >= session->options.n_sequences || n < 0) return;
    if (psc_session_busy(session)) return;
    if (n < session->cache->lengths[sequence]) session->cache->lengths[sequence] = n;
}

const float *psc_session_logits(const psc_session *session, int32_t index) {
    for (int32_t i = 0; i < session->n_logit_rows; i++)
        if (session->logit_rows[i] == index)
            return session->logits + (size_t)i * session->model->config.d_vocab;
    return NULL;
}

const psc_results *psc_session_results(const psc_session *session) {
    return session->results;
}

psc_status psc_session_take_results(psc_results **out, psc_session *session, psc_error *error) {
    *out = NULL;
    if (psc_session_busy(session))
        return psc_fail(
            error, PSC_ERROR_STATE, "psc_session_take_results cannot be called from a callback");
    if (!psc_results_version(session->results))
        return psc_fail(error, PSC_ERROR_STATE,
            "the session has no results to take: it has not run yet, its last run failed, or they were taken");
    return psc_results_take(out, session->results, error);
}

static psc_status check_adoption(
    const psc_session *session, const psc_session *other, const char *prefix, psc_error *error) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const size_t n = prefix ? strlen(prefix) : 0;
    if (psc_session_busy(session) || psc_session_busy(other))
        return psc_fail(
            error, PSC_ERROR_STATE, "psc_session_adopt cannot be called from a callback");
    if (session == other)
        return psc_fail(error, PSC_ERROR_STATE, "a session cannot adopt its own results");
    if (!psc_results_version(session->results) || !psc_results_version(other->results))
        return psc_fail(error, PSC_ERROR_STATE,
            "%s session has no results: it has not run yet, or its last run failed",
            psc_results_version(session->results) ? "the other" : "the adopting");
    if (n < 1 || n > 64 || strspn(prefix, plain) != n)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the prefix '%.64s' must have 1 to 64 letters, digits, '_' or '-'",
            prefix ? prefix : "");
    return PSC_OK;
}

psc_status psc_session_adopt(
    psc_session *session, const psc_session *other, const char *prefix, psc_error *error) {
    psc_status status = check_adoption(session, other, prefix, error);
    if (status != PSC_OK) return status;
    return psc_results_adopt(session->results, other->results, prefix, error);
}

psc_status psc_session_array(
    const psc_session *session, const char *name, psc_array *out, psc_error *error) {
    return psc_results_find_array(out, session->results, name, error);
}
