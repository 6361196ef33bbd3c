/* The session in one of several processes (psc_spread.h): its totals as tables of slots, one per
 * accumulator, and its part of the variants. */
#include "json.h"
#include "psc_spread.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static psc_status check(const psc_session *session, psc_error *error) {
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "the totals cannot be taken in a callback");
    return psc_accumulation_check(session, error);
}

int32_t psc_session_totals_count(const psc_session *session) {
    int32_t n = 0;
    for (int32_t i = 0; i < session->n_contexts; i++) n += session->contexts[i]->accumulators.n;
    return n;
}

psc_status psc_session_totals_at(
    psc_totals *out, psc_session *session, int32_t number, psc_error *error) {
    int32_t left = number;
    psc_status status = check(session, error);
    if (status != PSC_OK) return status;
    for (int32_t i = 0; number >= 0 && i < session->n_contexts; i++) {
        const psc_context *context = session->contexts[i];
        if (left >= context->accumulators.n) {
            left -= context->accumulators.n;
            continue;
        }
        const psc_accumulator *a = &context->accumulators.list[left];
        const psc_totals table = {.struct_size = out->struct_size,
            .kind = (int32_t)a->kind,
            .entries = a->k,
            .n = a->n,
            .slot_bytes = a->n > 0 ? a->bytes / (uint64_t)a->n : 0,
            .extra = a->extra,
            .slots = a->slots,
            .plugin = context->name,
            .name = a->name};
        memcpy(out, &table, out->struct_size < sizeof table ? out->struct_size : sizeof table);
        return PSC_OK;
    }
    return psc_fail(error, PSC_ERROR_INPUT,
        "the session has %d tables of totals, but number %d was asked for",
        (int)psc_session_totals_count(session), (int)number);
}

psc_status psc_totals_add(
    const psc_totals *table, void *to, const void *from, int64_t n, psc_error *error) {
    psc_accumulator a = {.kind = (psc_accumulate)table->kind,
        .n = n,
        .k = table->entries,
        .extra = table->extra,
        .slots = to,
        .bytes = (uint64_t)n * table->slot_bytes};
    const size_t length = strlen(table->name);
    memcpy(a.name, table->name, length < sizeof a.name ? length : sizeof a.name - 1);
    return psc_accumulator_merge(&a, from, error);
}

void psc_session_totals_counts(int64_t *windows, int64_t *tokens, const psc_session *session) {
    *windows = session->windows;
    *tokens = session->tokens;
}

psc_status psc_session_totals_count_more(
    psc_session *session, int64_t windows, int64_t tokens, psc_error *error) {
    const int64_t most = (int64_t)1 << 60;
    psc_status status = check(session, error);
    if (status != PSC_OK) return status;
    if (windows < 0 || tokens < 0 || windows > most - session->windows ||
        tokens > most - session->tokens)
        return psc_fail(error, PSC_ERROR_INPUT, "the counts of the totals are out of range");
    session->windows += windows;
    session->tokens += tokens;
    return PSC_OK;
}

psc_status psc_session_totals_clear(psc_session *session, psc_error *error) {
    psc_status status = check(session, error);
    if (status != PSC_OK) return status;
    session->windows = session->tokens = 0;
    for (int32_t i = 0; i < session->n_contexts; i++)
        for (int32_t j = 0; j < session->contexts[i]->accumulators.n; j++)
            psc_accumulator_clear(&session->contexts[i]->accumulators.list[j]);
    return PSC_OK;
}

psc_status psc_session_totals_identity(char out[33], psc_session *session, psc_error *error) {
    psc_status status = check(session, error);
    if (status == PSC_OK) status = psc_targets_imply(session, error);
    for (int32_t i = 0; status == PSC_OK && i < session->n_contexts; i++)
        if (session->contexts[i]->shards)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "plugin %s writes rows in the order of the corpus, so its processes need parts of "
                "their own: pass --shard auto, and merge",
                session->contexts[i]->name);
    if (status != PSC_OK) return status;
    json_t *origin = psc_state_origin(session);
    char *text = origin ? psc_json_dump(origin, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(origin);
    if (!text) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the totals' origin");
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(text, strlen(text)));
    free(text);
    for (size_t i = 0; i < sizeof hash.digest; i++)
        snprintf(out + 2 * i, 3, "%02x", hash.digest[i]);
    return PSC_OK;
}

psc_status psc_session_share(psc_session *session, const psc_share *share, psc_error *error) {
    psc_share taken = {0};
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "variants cannot be shared in a callback");
    memcpy(&taken, share, share->struct_size < sizeof taken ? share->struct_size : sizeof taken);
    if (taken.part < 0 || taken.part >= taken.n_parts || !taken.gather)
        return psc_fail(error, PSC_ERROR_INPUT, "part %d of %d of the variants does not exist",
            (int)taken.part, (int)taken.n_parts);
    session->share = taken;
    return PSC_OK;
}
