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

static int32_t longest_sequence(const psc_session *s, int32_t *n_positions) {
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
    const int32_t longest = longest_sequence(context->session, &v->n_positions);
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

/* Bytes of a pass of the most rows. */
static double pass_bytes(const psc_context *context) {
    const psc_variants *v = context->variants;
    const psc_model *model = context->session->model;
    const double wide = (double)model->info.d_model * sizeof(float) * (v->kept_z >= 0 ? 4 : 2);
    return v->most_rows * (wide + (double)psc_forward_row_bytes(&model->config));
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

/* Bytes of the edges of the largest batch, which later calls count. */
static double edge_bytes(const psc_context *context) {
    const psc_session *s = context->session;
    const int32_t most = context->variants->most_rows, together = psc_edge_rows_together(s);
    return (double)psc_edge_bytes(s, most < together ? most : together, ROWS_TOGETHER);
}

/* Chooses the slots of the cache, so that logits and edges fit, too, if a slot remains, and counts
 * all buffers. */
static psc_status count_buffers(
    psc_context *context, int32_t n_variants, bool edges, double logits, psc_error *error) {
    psc_variants *v = context->variants;
    const double rows = pass_bytes(context),
                 all = rows + logits + (edges ? edge_bytes(context) : 0.0);
    int32_t n = n_variants < MOST_SLOTS ? n_variants : MOST_SLOTS;
    while (n > 1 && (cache_bytes(context, n) > CACHE_BYTES ||
                        all + cache_bytes(context, n) > room_of(context->session)))
        n--;
    v->n_slots = n;
    return count(context, rows + cache_bytes(context, n), logits, error);
}

psc_status psc_variant_buffers_open(
    psc_context *context, int32_t n_variants, bool edges, bool all_logits, psc_error *error) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    if (v->forward) return PSC_OK;
    const double logits = logits_bytes(context, all_logits);
    if (count_buffers(context, n_variants, edges, logits, error) != PSC_OK) return PSC_ERROR_MEMORY;
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
            v->registry, v->cache, v->most_rows, error);
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
