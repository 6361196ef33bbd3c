/* The targets of a run as they were resolved: for each row whose logits z [V] the plugins selected,
 * and each target with ids there,
 *
 *   rank = 1 + the number of tokens before it in the order of top:K,  p = exp(z_id - log sum exp z)
 *
 * The observer is passive: no logits are computed for it. */
#include "session_inside.h"

#include <math.h>
#include <string.h>

static bool is_selected(const psc_session *s, const psc_row *row) {
    return psc_registry_wants(s->registry, PSC_HOOK_LOGITS, -1, row, 1);
}

static bool has_entries(const psc_session *s, const psc_row *row) {
    return s->facts.last_only ? row->next < 0 : is_selected(s, row);
}

/* The ids of a target at the row; false if it has none there. */
static bool ids_at(const psc_session *s, int32_t t, const psc_row *row, int32_t ids[2]) {
    const psc_target *target = &s->targets.targets[t];
    if (target->kind == PSC_TARGET_TOP) {
        ids[0] = s->facts.first_ids[target->rank];
        ids[1] = -1;
        return true;
    }
    return psc_targets_ids(s, t, row, NULL, ids, NULL) == PSC_OK && ids[0] >= 0;
}

static void fill(psc_result_target *out, const psc_session *s, const psc_target *target,
    const float *z, double log_z, const int32_t ids[2]) {
    const int32_t n = s->model->info.d_vocab;
    const bool is_top = target->kind == PSC_TARGET_TOP;
    out->struct_size = sizeof *out;
    out->id = ids[0];
    out->minus_id = ids[1];
    out->rank = is_top ? target->rank + 1 : psc_targets_rank(z, n, ids[0]);
    out->logit = z[ids[0]];
    out->p = exp(out->logit - log_z);
    if (ids[1] < 0) return;
    out->minus_rank = psc_targets_rank(z, n, ids[1]);
    out->minus_logit = z[ids[1]];
    out->minus_p = exp(out->minus_logit - log_z);
}

static void take_row(psc_session *s, const psc_row *row, const float *z) {
    psc_target_facts *facts = &s->facts;
    double log_z = NAN;
    int32_t ids[2];
    s->kernels->log_sum_exp(&log_z, z, (size_t)s->model->info.d_vocab);
    if (facts->n_ranks > 0)
        psc_targets_first_ids(facts->first_ids, z, s->model->info.d_vocab, facts->n_ranks);
    for (int32_t t = 0; t < s->targets.n && s->results->n_targets < facts->room; t++) {
        if (!ids_at(s, t, row, ids)) continue;
        psc_result_target *out = &s->results->targets[s->results->n_targets++];
        fill(out, s, &s->targets.targets[t], z, log_z, ids);
        out->row = row->index;
        out->name = facts->names[t];
    }
}

static int on_logits(const psc_event *event, void *payload) {
    psc_session *s = payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        if (has_entries(s, &event->rows[r]) && is_selected(s, &event->rows[r]))
            take_row(s, &event->rows[r], event->tensor.data + r * event->tensor.stride[0]);
    return 0;
}

/* Copies of the targets' labels in the results; null without memory. */
static const char *const *keep_names(const psc_session *s) {
    const char **names =
        psc_arena_alloc(&s->results->own, (uint64_t)s->targets.n * sizeof *names + 1);
    for (int32_t t = 0; names && t < s->targets.n; t++) {
        const char *label = s->targets.targets[t].label;
        names[t] = psc_results_keep(s->results, label, strlen(label));
        if (!names[t]) return NULL;
    }
    return names;
}

/* The number of entries, and whether only last rows have any. */
static void plan(psc_session *s) {
    psc_target_facts *facts = &s->facts;
    int64_t all = 0, last = 0;
    for (int32_t r = 0; r < s->n_rows; r++) {
        if (!is_selected(s, &s->rows[r])) continue;
        all += s->targets.n;
        if (s->rows[r].next < 0) last += s->targets.n;
    }
    facts->last_only = all > PSC_MOST_RESULT_TARGETS;
    if (facts->last_only) all = last < PSC_MOST_RESULT_TARGETS ? last : PSC_MOST_RESULT_TARGETS;
    facts->room = (int32_t)all;
    facts->n_ranks = 0;
    for (int32_t t = 0; t < s->targets.n; t++) {
        const psc_target *target = &s->targets.targets[t];
        if (target->kind == PSC_TARGET_TOP && target->rank >= facts->n_ranks)
            facts->n_ranks = target->rank + 1;
    }
}

psc_status psc_target_facts_begin(psc_session *s, psc_error *error) {
    const psc_subscriber self = {.owner = &s->facts, .transient = true, .passive = true};
    if (!s->facts.asked || s->options.accumulate) return PSC_OK;
    plan(s);
    if (s->facts.room == 0) return PSC_OK;
    s->facts.names = keep_names(s);
    if (!s->facts.names || !psc_results_make_targets(s->results, s->facts.room))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the targets' results");
    return psc_registry_add(s->registry, PSC_HOOK_LOGITS, false, NULL, on_logits, s, &self, error);
}

/* *out: the token's text as UTF-8, or null if it has none. */
static psc_status keep_text(const char **out, const psc_session *s, int32_t id, psc_error *error) {
    size_t n = 0;
    const char *bytes = id < 0 ? NULL : psc_model_token_bytes(s->model, id, &n);
    *out = NULL;
    if (!bytes) return PSC_OK;
    char *text = psc_results_keep(s->results, NULL, psc_text_clean_whole(NULL, bytes, n));
    if (!text) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    psc_text_clean_whole(text, bytes, n);
    *out = text;
    return PSC_OK;
}

psc_status psc_target_facts_end(psc_session *s, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t i = 0; status == PSC_OK && i < s->results->n_targets; i++) {
        psc_result_target *target = &s->results->targets[i];
        status = keep_text(&target->text, s, target->id, error);
        if (status == PSC_OK) status = keep_text(&target->minus_text, s, target->minus_id, error);
    }
    return status;
}
