/* What a run's variants need, counted as retained: opened with the first variants, dropped with the
 * run. */
#include "variant_buffers.h"

#include <stdlib.h>

#define CACHE_BYTES ((uint64_t)512 << 20) /* for all slots, unless one slot alone needs more */
/* Bytes of a run's z and MLP outputs, for starts inside a layer. */
#define MOST_KEPT ((uint64_t)64 << 20)

void psc_host_drop_variants(psc_context *context) {
    psc_variants *v = context->variants;
    if (!v) return;
    context->session->retained_bytes -= v->bytes;
    psc_forward_close(&v->forward);
    psc_registry_close(&v->registry);
    psc_kv_cache_close(&v->cache);
    psc_kv_cache_close(&v->own);
    psc_edge_buffers_free(&v->edges);
    free(v->rows);
    psc_aligned_free(v->resid);
    psc_aligned_free(v->z);
    psc_aligned_free(v->mlp);
    free(v->picked);
    free(v->wanted);
    psc_aligned_free(v->logits);
    free(v->shown);
    free(v->first);
    psc_aligned_free(v->changed);
    free(v);
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
        bytes > MOST_KEPT || used > cap || bytes > (cap - used) / 4)
        return 0;
    for (int32_t l = 0; l + 1 < info->n_layers; l++) layers[l] = l;
    filter.layers = layers;
    filter.n_layers = info->n_layers - 1;
    v->kept_z = psc_host_retain(context, PSC_HOOK_Z, &filter);
    v->kept_mlp = v->kept_z < 0 ? -1 : psc_host_retain(context, PSC_HOOK_MLP_OUT, &filter);
    return v->kept_mlp < 0 ? PSC_ERROR_MEMORY : 0;
}

int psc_host_prepare_variants(psc_context *context) {
    if (!psc_host_may(&context, "prepare_variants", PSC_IN_RUN_BEGIN)) return PSC_ERROR_STATE;
    if (context->variants) return 0;
    psc_variants *v = calloc(1, sizeof *v);
    if (!v) return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for variants");
    context->variants = v;
    v->retained = psc_host_retain(context, PSC_HOOK_RESID_PRE, NULL);
    return v->retained < 0 ? PSC_ERROR_MEMORY : retain_inside(context);
}

/* --- buffers --------------------------------------------------------------------------------- */

static int32_t longest_sequence(const psc_session *s, int32_t *last_position) {
    int32_t longest = 0, length = 0;
    *last_position = 0;
    for (int32_t r = 0; r < s->n_rows; r++) {
        length = r > 0 && s->rows[r].sequence == s->rows[r - 1].sequence ? length + 1 : 1;
        if (length > longest) longest = length;
        if (s->rows[r].position > *last_position) *last_position = s->rows[r].position;
    }
    return longest;
}

/* Bytes of the cache of n slots with `capacity` positions. */
static double cache_bytes(const psc_model_info *info, int32_t n, int32_t capacity) {
    return psc_kv_cache_bytes(n, info->n_layers, info->n_heads, info->d_head, capacity);
}

static double room_of(const psc_session *s) {
    const uint64_t cap = s->options.retained_cap, used = s->retained_bytes;
    return cap > used ? (double)(cap - used) : 0.0;
}

/* Counts bytes as retained; a failure beyond the cap. */
static psc_status count(psc_context *context, double bytes, psc_error *error) {
    psc_session *s = context->session;
    if (bytes > room_of(s))
        return psc_fail(error, PSC_ERROR_MEMORY,
            "variants of %d rows need %.0f bytes; the cap (retained_cap, --retain) leaves %.0f; "
            "run fewer tokens or raise it",
            (int)s->n_rows, bytes, room_of(s));
    s->retained_bytes += (uint64_t)bytes;
    context->variants->bytes += (uint64_t)bytes;
    return PSC_OK;
}

/* Bytes that later calls count: logits, and the edges of the largest batch. */
static double later_bytes(const psc_context *context, bool edges, bool all_logits) {
    const psc_session *s = context->session;
    const int32_t most = context->variants->most_rows, together = psc_edge_rows_together(s);
    const double logits = (double)(all_logits ? most : ROWS_TOGETHER) * s->model->info.d_vocab;
    const uint64_t of_edges =
        edges ? psc_edge_bytes(s, most < together ? most : together, ROWS_TOGETHER) : 0;
    return logits * sizeof(float) + (double)of_edges;
}

/* Chooses the slots of a cache of `capacity` positions, so that `later` bytes fit, too, if a slot
 * remains, and counts all buffers. */
static psc_status count_buffers(
    psc_context *context, int32_t capacity, int32_t n_variants, double later, psc_error *error) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    const double wide = (double)info->d_model * sizeof(float) * (v->kept_z >= 0 ? 4 : 2);
    const double rows = v->most_rows * (wide + (double)psc_forward_row_bytes(&s->model->config));
    int32_t n = n_variants < MOST_SLOTS ? n_variants : MOST_SLOTS;
    while (n > 1 && (cache_bytes(info, n, capacity) > CACHE_BYTES ||
                        rows + later + cache_bytes(info, n, capacity) > room_of(s)))
        n--;
    v->n_slots = n;
    return count(context, rows + cache_bytes(info, n, capacity), error);
}

psc_status psc_variant_buffers_open(
    psc_context *context, int32_t n_variants, bool edges, bool all_logits, psc_error *error) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    if (v->forward) return PSC_OK;
    int32_t last_position, longest = longest_sequence(s, &last_position);
    v->most_rows = longest > ROWS_TOGETHER ? longest : ROWS_TOGETHER;
    const double later = later_bytes(context, edges, all_logits);
    if (count_buffers(context, last_position + 1, n_variants, later, error) != PSC_OK)
        return PSC_ERROR_MEMORY;
    size_t rows = (size_t)v->most_rows;
    v->rows = malloc(rows * sizeof *v->rows);
    v->shown = malloc(rows * sizeof *v->shown);
    v->first = malloc(rows * sizeof *v->first);
    v->wanted = malloc(rows * sizeof *v->wanted);
    v->resid = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
    v->changed = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
    if (!v->rows || !v->shown || !v->first || !v->wanted || !v->resid || !v->changed)
        return psc_fail(
            error, PSC_ERROR_MEMORY, "not enough memory for variants of %d rows", (int)longest);
    if (v->kept_z >= 0) {
        v->z = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
        v->mlp = psc_aligned_alloc(rows * (size_t)info->d_model * sizeof(float));
        if (!v->z || !v->mlp)
            return psc_fail(
                error, PSC_ERROR_MEMORY, "not enough memory for variants of %d rows", (int)longest);
    }
    psc_status status = psc_registry_open(
        &v->registry, info->n_layers, info->n_heads, info->parallel_residual, error);
    if (status == PSC_OK)
        status = psc_kv_cache_open(&v->cache, v->n_slots, info->n_layers, info->n_heads,
            info->d_head, last_position + 1, 0, error);
    if (status == PSC_OK)
        status = psc_forward_open(&v->forward, s->model, &s->rotary, s->kernels, s->team,
            v->registry, v->cache, v->most_rows, error);
    return status;
}

psc_status psc_variant_logits_open(psc_context *context, bool all, psc_error *error) {
    psc_variants *v = context->variants;
    if (v->logits && (v->all_logits || !all)) return PSC_OK;
    const size_t rows = (size_t)(all ? v->most_rows : ROWS_TOGETHER);
    const size_t row = (size_t)context->session->model->info.d_vocab * sizeof(float);
    const size_t before = v->logits ? ROWS_TOGETHER * row : 0;
    if (count(context, (double)(rows * row - before), error) != PSC_OK) return PSC_ERROR_MEMORY;
    psc_aligned_free(v->logits);
    v->logits = psc_aligned_alloc(rows * row);
    v->all_logits = all;
    if (v->logits) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the logits of variants");
}

psc_status psc_variant_edges_fill(
    psc_context *context, const psc_variant_batch *batch, psc_edge_pass *out, psc_error *error) {
    psc_variants *v = context->variants;
    const uint64_t before = v->edges.bytes;
    const psc_status status =
        psc_edge_buffers_fill(&v->edges, context->session, batch, v->most_rows, out, error);
    context->session->retained_bytes += v->edges.bytes - before;
    v->bytes += v->edges.bytes - before;
    return status;
}
