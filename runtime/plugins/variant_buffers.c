/* What a run's variants need, counted as retained: opened with the first variants, dropped with the
 * run. */
#include "variant_buffers.h"

#include "gradients.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES ((uint64_t)512 << 20) /* for all slots, unless one slot alone needs more */
/* Bytes of a run's z and MLP outputs, for starts inside a layer. */
#define MOST_KEPT ((uint64_t)64 << 20)

/* What psc_variant_buffers_open and later calls have opened. */
static void close_buffers(psc_context *context) {
    psc_variants *v = context->variants;
    void *arrays[] = {v->rows, v->wanted, v->shown, v->first};
    float *floats[] = {v->resid, v->z, v->mlp, v->picked, v->logits, v->changed};
    context->session->retained_bytes -= v->bytes + v->edges.bytes;
    psc_forward_close(&v->forward);
    psc_registry_close(&v->registry);
    psc_kv_cache_close(&v->cache);
    psc_kv_cache_close(&v->own);
    psc_edge_buffers_free(&v->edges);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) psc_aligned_free(floats[i]);
    const int retained = v->retained, kept_z = v->kept_z, kept_mlp = v->kept_mlp;
    const int32_t most_rows = v->most_rows, n_positions = v->n_positions;
    memset(v, 0, sizeof *v); /* too large for a copy on a small stack */
    v->retained = retained;
    v->kept_z = kept_z;
    v->kept_mlp = kept_mlp;
    v->most_rows = most_rows;
    v->n_positions = n_positions;
}

bool psc_variant_release(psc_context *context) {
    const psc_variants *v = context->variants;
    if (!v || !v->forward) return false;
    close_buffers(context);
    return true;
}

void psc_host_drop_variants(psc_context *context) {
    if (!context->variants) return;
    close_buffers(context);
    free(context->variants);
    context->variants = NULL;
}

/* Retains z and the MLP's output if they are small beside what a plugin may retain. */
static int retain_inside(psc_context *context) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    const uint64_t used = s->retained_bytes, cap = s->options.retained_cap;
    const uint64_t each = (uint64_t)info->d_model * sizeof(float) + sizeof(psc_row);
    const uint64_t bytes = 2 * (uint64_t)(info->n_layers - 1) * (uint64_t)s->n_rows * each;
    int32_t layers[256];
    psc_filter filter = PSC_FILTER_INIT;
    v->kept_z = v->kept_mlp = -1;
    if (!info->parallel_residual || info->n_layers < 2 || info->n_layers > 256 ||
        bytes > MOST_KEPT || used > cap || bytes > (cap - used) / 16)
        return 0;
    for (int32_t l = 0; l + 1 < info->n_layers; l++) layers[l] = l;
    filter.layers = layers;
    filter.n_layers = info->n_layers - 1;
    v->kept_z = psc_host_retain(context, PSC_HOOK_Z, &filter);
    v->kept_mlp = v->kept_z < 0 ? -1 : psc_host_retain(context, PSC_HOOK_MLP_OUT, &filter);
    return v->kept_mlp < 0 ? PSC_ERROR_MEMORY : 0;
}

int32_t psc_longest_sequence(const psc_session *s, int32_t *n_positions) {
    int32_t longest = 0, length = 0;
    *n_positions = 0;
    for (int32_t r = 0; r < s->n_rows; r++) {
        length = r > 0 && s->rows[r].sequence == s->rows[r - 1].sequence ? length + 1 : 1;
        if (length > longest) longest = length;
        if (s->rows[r].position >= *n_positions) *n_positions = s->rows[r].position + 1;
    }
    return longest;
}

int psc_host_prepare_variants(psc_context *context) {
    if (!psc_host_may(&context, "prepare_variants", PSC_IN_RUN_BEGIN)) return PSC_ERROR_STATE;
    if (context->variants) return 0;
    psc_variants *v = calloc(1, sizeof *v);
    if (!v) return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for variants");
    context->variants = v;
    const int32_t longest = psc_longest_sequence(context->session, &v->n_positions);
    v->most_rows = longest > ROWS_TOGETHER ? longest : ROWS_TOGETHER;
    v->retained = psc_host_retain(context, PSC_HOOK_RESID_PRE, NULL);
    return v->retained < 0 ? PSC_ERROR_MEMORY : retain_inside(context);
}

/* --- buffers --------------------------------------------------------------------------------- */

/* Bytes of the cache of n slots. */
static double cache_bytes(const psc_context *context, int32_t n) {
    const psc_model_info *info = &context->session->model->info;
    const int32_t n_positions = context->variants->n_positions;
    return psc_kv_cache_bytes(n, info->n_layers, info->n_heads, info->d_head, n_positions);
}

/* Bytes of a pass, and of the most rows of a batch. */
static double pass_bytes(const psc_context *context) {
    const psc_variants *v = context->variants;
    const psc_session *s = context->session;
    const size_t wide = (size_t)s->model->info.d_model * sizeof(float) * (v->kept_z >= 0 ? 4 : 2);
    const size_t row = sizeof *v->rows + sizeof *v->shown + sizeof *v->first + sizeof *v->wanted;
    return v->most_rows * (double)(wide + row) +
           psc_forward_bytes(&s->model->config, ROWS_TOGETHER, v->n_positions, s->team);
}

static double logits_bytes(const psc_context *context, bool all) {
    const int32_t rows = all ? context->variants->most_rows : ROWS_TOGETHER;
    return (double)rows * context->session->model->info.d_vocab * sizeof(float);
}

static double room_of(const psc_session *s) {
    const uint64_t cap = s->options.retained_cap, used = s->retained_bytes;
    return cap > used ? (double)(cap - used) : 0.0;
}

/* Counts bytes as retained; a failure if these and those that follow are beyond the cap. */
static psc_status count(psc_context *context, double bytes, double later, psc_error *error) {
    psc_session *s = context->session;
    while (bytes + later > room_of(s) && psc_gradient_release(context)) continue;
    if (bytes + later > room_of(s))
        return psc_fail(error, PSC_ERROR_MEMORY,
            "variants of %d rows need %.0f bytes; the cap (retained_cap, --retain) leaves %.0f; "
            "run fewer tokens or raise it",
            (int)s->n_rows, bytes + later, room_of(s));
    s->retained_bytes += (uint64_t)bytes;
    context->variants->bytes += (uint64_t)bytes;
    return PSC_OK;
}

double psc_variant_least_bytes(const psc_context *context) {
    const psc_variants *v = context->variants;
    if (!v || v->forward) return 0.0;
    return pass_bytes(context) + cache_bytes(context, 1) + logits_bytes(context, false);
}

/* Bytes of the cache of a batch of variants of few rows. */
static double own_bytes(const psc_context *context) {
    const psc_model_info *info = &context->session->model->info;
    return psc_kv_cache_bytes(1, info->n_layers, info->n_heads, info->d_head, ROWS_TOGETHER);
}

/* Bytes that later calls count: the logits, the cache of variants of few rows, and edges of all
 * senders, which need less where the cap does not leave them. */
static double later_bytes(const psc_context *context, int32_t n_variants, bool edges, bool all) {
    const psc_session *s = context->session;
    const psc_variants *v = context->variants;
    const int32_t together = psc_edge_rows_together(s),
                  most = ROWS_TOGETHER < together ? ROWS_TOGETHER : together,
                  slots = n_variants < ROWS_TOGETHER ? n_variants : ROWS_TOGETHER;
    double bytes = v->own ? 0.0 : own_bytes(context);
    if (!v->logits || (all && !v->all_logits))
        bytes += logits_bytes(context, all) - (v->logits ? logits_bytes(context, false) : 0.0);
    const double of_edges = edges ? (double)psc_edge_bytes(s, v->most_rows, most, slots) : 0.0;
    return bytes + (of_edges > (double)v->edges.bytes ? of_edges - (double)v->edges.bytes : 0.0);
}

/* Chooses the slots of the cache, at most `most`, so that what later calls open fits, too, if a
 * slot remains. Counts all buffers. */
static psc_status count_buffers(
    psc_context *context, int32_t most, double later, bool all_logits, psc_error *error) {
    psc_variants *v = context->variants;
    const double rows = pass_bytes(context), all = rows + later;
    int32_t n = most;
    while (
        all + cache_bytes(context, 1) > room_of(context->session) && psc_gradient_release(context))
        continue;
    while (n > 1 && (cache_bytes(context, n) > CACHE_BYTES ||
                        all + cache_bytes(context, n) > room_of(context->session)))
        n--;
    v->n_slots = n;
    v->most_slots = most;
    return count(context, rows + cache_bytes(context, n), logits_bytes(context, all_logits), error);
}

/* Whether buffers are open that have the slots and leave room for what the call needs, or cannot
 * leave more. */
static bool serve(psc_context *context, int32_t slots, double later) {
    const psc_variants *v = context->variants;
    if (!v->forward || slots > v->most_slots) return false;
    while (later > room_of(context->session) && psc_gradient_release(context)) continue;
    return later <= room_of(context->session) || v->n_slots == 1;
}

psc_status psc_variant_buffers_open(
    psc_context *context, const psc_variant_call *call, bool all_logits, psc_error *error) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    const int32_t slots = call->slots < MOST_SLOTS ? call->slots : MOST_SLOTS;
    double later = later_bytes(context, call->n, call->edges, all_logits);
    if (serve(context, slots, later)) return PSC_OK;
    close_buffers(context);
    later = later_bytes(context, call->n, call->edges, all_logits);
    if (count_buffers(context, slots, later, all_logits, error) != PSC_OK) return PSC_ERROR_MEMORY;
    size_t rows = (size_t)v->most_rows;
    v->rows = malloc(rows * sizeof *v->rows);
    v->shown = malloc(rows * sizeof *v->shown);
    v->first = malloc(rows * sizeof *v->first);
    v->wanted = malloc(rows * sizeof *v->wanted);
    v->resid = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
    v->changed = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
    if (!v->rows || !v->shown || !v->first || !v->wanted || !v->resid || !v->changed)
        return psc_fail(
            error, PSC_ERROR_MEMORY, "not enough memory for variants of %d rows", (int)s->n_rows);
    if (v->kept_z >= 0) {
        v->z = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
        v->mlp = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
        if (!v->z || !v->mlp)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for variants of %d rows",
                (int)s->n_rows);
    }
    psc_status status = psc_registry_open(
        &v->registry, info->n_layers, info->n_heads, info->parallel_residual, error);
    if (status == PSC_OK)
        status = psc_kv_cache_open(&v->cache, v->n_slots, info->n_layers, info->n_heads,
            info->d_head, v->n_positions, 0, error);
    if (status == PSC_OK)
        status = psc_forward_open(&v->forward, s->model, &s->rotary, s->kernels, s->team,
            v->registry, v->cache, ROWS_TOGETHER, error);
    return status;
}

psc_status psc_variant_logits_open(psc_context *context, bool all, psc_error *error) {
    psc_variants *v = context->variants;
    if (v->logits && (v->all_logits || !all)) return PSC_OK;
    const double bytes = logits_bytes(context, all);
    const double before = v->logits ? logits_bytes(context, false) : 0.0;
    if (count(context, bytes - before, 0.0, error) != PSC_OK) return PSC_ERROR_MEMORY;
    psc_aligned_free(v->logits);
    v->logits = psc_aligned_alloc((uint64_t)bytes);
    v->all_logits = all;
    if (v->logits) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the logits of variants");
}

bool psc_variant_own_open(psc_context *context) {
    psc_variants *v = context->variants;
    const psc_model_info *info = &context->session->model->info;
    if (v->own) return true;
    return count(context, own_bytes(context), 0.0, NULL) == PSC_OK &&
           psc_kv_cache_open(&v->own, 1, info->n_layers, info->n_heads, info->d_head, ROWS_TOGETHER,
               0, NULL) == PSC_OK;
}

float *psc_variant_picked(psc_context *context, size_t floats) {
    psc_variants *v = context->variants;
    psc_error error = {PSC_OK, ""};
    if (floats <= v->picked_floats) return v->picked;
    if (count(context, (double)(floats - v->picked_floats) * sizeof(float), 0.0, &error) ==
        PSC_OK) {
        psc_aligned_free(v->picked);
        v->picked = psc_aligned_alloc(floats * sizeof *v->picked);
        v->picked_floats = floats;
        if (v->picked) return v->picked;
        psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for the logits of variants");
    }
    psc_host_pass(context, &error);
    return NULL;
}

psc_status psc_variant_shown_open(
    psc_context *context, const psc_variant_batch *batch, int32_t *most, psc_error *error) {
    psc_variants *v = context->variants;
    for (;; *most = (*most + 1) / 2) {
        const double bytes =
            psc_forward_show_bytes(v->forward, v->rows, batch->n_rows, *most, false);
        const double more = bytes - (double)v->shown_bytes;
        const bool last = batch->shares || *most == 1;
        if (more > 0.0 && count(context, more, 0.0, last ? error : NULL) != PSC_OK) {
            if (last) return PSC_ERROR_MEMORY;
            continue;
        }
        if (more > 0.0) v->shown_bytes = (uint64_t)bytes;
        return PSC_OK;
    }
}

psc_status psc_variant_edges_fill(psc_context *context, const psc_variant_batch *batch,
    psc_edge_pass *out, int32_t *most, psc_error *error) {
    psc_variants *v = context->variants;
    psc_status status;
    do
        status = psc_edge_buffers_fill(
            &v->edges, context->session, batch, v->most_rows, out, most, error);
    while (status == PSC_ERROR_MEMORY && psc_gradient_release(context));
    return status;
}
