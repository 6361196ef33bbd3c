/* Gradients of variants: each is a whole sequence of a pass of its own, from the embedding on, and
 * the backward pass goes through all of them at once. Rows before the run's are copied to its
 * cache:
 *
 *   rows of slot 0 | rows of slot 1 | ...      at most ROWS_TOGETHER, unless one alone has more
 *
 * A row's bits do not depend on its neighbors (docs/numerics.md), so neither do a variant's. */
#include "gradients.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_TOGETHER 256

void psc_gradient_batches_free(psc_gradients *g) {
    psc_backward_close(&g->backward);
    psc_forward_close(&g->forward);
    psc_registry_close(&g->editors);
    psc_kv_cache_close(&g->cache);
    psc_destinations_free(&g->kept);
    free(g->rows);
    free(g->wanted);
}

/* --- buffers --------------------------------------------------------------------------------- */

/* The rows of the longest sequence of the run. */
static int32_t longest_sequence(const psc_session *s, int32_t *n_keys) {
    int32_t longest = 1, length = 0;
    *n_keys = 0;
    for (int32_t r = 0; r < s->n_rows; r++) {
        length = r > 0 && s->rows[r].sequence == s->rows[r - 1].sequence ? length + 1 : 1;
        if (length > longest) longest = length;
        if (s->rows[r].position >= *n_keys) *n_keys = s->rows[r].position + 1;
    }
    return longest;
}

/* Bytes of what passes over n sequences of `longest` rows need beside the backward pass's own. */
static double bytes_of(const psc_context *context, int32_t n, int32_t longest) {
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    return psc_kv_cache_bytes(
               n, info->n_layers, info->n_heads, info->d_head, context->gradients->n_keys) +
           (double)n * longest * (double)psc_forward_row_bytes(&s->model->config);
}

/* As many sequences of `longest` rows as the cap leaves room for, at most n. */
static psc_status choose_room(psc_context *context, int32_t n, int32_t longest, psc_error *error) {
    psc_session *s = context->session;
    psc_gradients *g = context->gradients;
    const psc_backward_parts parts = {
        s->model, &s->rotary, s->kernels, s->team, NULL, g->registry, NULL, NULL};
    psc_backward *counted;
    psc_status status = psc_backward_open(&counted, &parts, error);
    for (; status == PSC_OK; n /= 2) {
        g->n_sequences = n;
        g->most_rows = n * longest;
        g->around = bytes_of(context, n, longest);
        const double bytes =
            g->around + psc_backward_bytes(counted, n * longest, n, g->n_keys, false);
        status = psc_gradient_count(context, &g->counted, bytes, n * longest, n > 1 ? NULL : error);
        if (status == PSC_OK || n == 1) break;
        status = PSC_OK;
    }
    psc_backward_close(&counted);
    return status;
}

static psc_status open_passes(psc_context *context, psc_error *error) {
    psc_session *s = context->session;
    psc_gradients *g = context->gradients;
    const psc_model_info *info = &s->model->info;
    psc_status status = psc_registry_open(
        &g->editors, info->n_layers, info->n_heads, info->parallel_residual, error);
    if (status == PSC_OK)
        status = psc_kv_cache_open(&g->cache, g->n_sequences, info->n_layers, info->n_heads,
            info->d_head, g->n_keys, 0, error);
    if (status == PSC_OK)
        status = psc_forward_open(&g->forward, s->model, &s->rotary, s->kernels, s->team,
            g->editors, g->cache, g->most_rows, error);
    if (status != PSC_OK) return status;
    const psc_backward_parts parts = {
        s->model, &s->rotary, s->kernels, s->team, g->forward, g->registry, g->editors, g->cache};
    return psc_backward_open(&g->backward, &parts, error);
}

/* The first call of a run opens what all calls use: room for as many sequences as the cap
 * leaves. */
static psc_status open_buffers(psc_context *context, psc_error *error) {
    psc_gradients *g = context->gradients;
    if (g->rows) return PSC_OK;
    const int32_t longest = longest_sequence(context->session, &g->n_keys);
    int32_t n = ROWS_TOGETHER / longest;
    n = n < 1 ? 1 : n > PSC_GRADIENT_SLOTS ? PSC_GRADIENT_SLOTS : n;
    psc_status status = choose_room(context, n, longest, error);
    if (status == PSC_OK) status = open_passes(context, error);
    if (status != PSC_OK) return status;
    g->rows = malloc((size_t)g->most_rows * sizeof *g->rows);
    g->wanted = calloc((size_t)g->most_rows, sizeof *g->wanted);
    if (g->rows && g->wanted) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %d rows", (int)g->most_rows);
}

/* --- a batch --------------------------------------------------------------------------------- */

/* Adds variant `number` with its whole sequence. */
static int add(psc_context *context, psc_variant_batch *batch, const psc_variant *variant,
    int32_t number, int32_t sequence) {
    psc_gradients *g = context->gradients;
    const psc_session *s = context->session;
    const int32_t index = batch->n_slots++;
    psc_gradient_slot *slot = &g->slots[index];
    int32_t first = 0, n = 0;
    while (s->rows[first].sequence != sequence) first++;
    while (first + n < s->n_rows && s->rows[first + n].sequence == sequence) n++;
    *slot = (psc_gradient_slot){.number = number,
        .row_begin = first,
        .n_rows = n,
        .first = batch->n_rows,
        .first_part = g->parts.n};
    psc_variant_slot *changed = &g->variants[index];
    psc_variant_place(changed, variant, batch->n_layers);
    changed->number = number;
    changed->row_begin = first;
    changed->n_rows = n;
    if (s->rows[first].position > 0)
        psc_kv_cache_copy(g->cache, index, s->cache, sequence, s->rows[first].position, 0);
    for (int32_t r = 0; r < n; r++) {
        g->rows[batch->n_rows + r] = s->rows[first + r];
        g->rows[batch->n_rows + r].index = batch->n_rows + r;
        g->rows[batch->n_rows + r].sequence = index;
    }
    batch->n_rows += n;
    const psc_metric metric = psc_gradient_metric_at(g->request, number);
    const int failed = psc_gradient_metric_add(context, number, &metric, slot, &g->parts);
    slot->n_parts = g->parts.n - slot->first_part;
    return failed;
}

/* The points whose values are requested, too. */
static psc_status subscribe_values(psc_context *context, psc_error *error) {
    const psc_gradients *g = context->gradients;
    const psc_gradient_request *request = g->request;
    psc_status status = PSC_OK;
    for (int32_t i = 0; i < request->n_points && status == PSC_OK; i++)
        if (request->points[i] >= PSC_POINT_VALUES)
            status = psc_gradient_subscribe(
                context, g->editors, request->points[i] - PSC_POINT_VALUES, error);
    return status;
}

/* The forward pass, which keeps what the backward pass reads. */
static psc_status run_forward(
    psc_context *context, const psc_variant_batch *batch, psc_error *error) {
    psc_gradients *g = context->gradients;
    psc_gradient_metric_place(&g->parts);
    psc_status status = psc_destinations_clear(&g->kept, batch->n_layers, error);
    if (status == PSC_OK) status = psc_variant_subscribe(g->editors, context, batch, false, error);
    if (status == PSC_OK) status = psc_variant_subscribe(g->registry, context, batch, true, error);
    if (status == PSC_OK) status = psc_gradient_subscribe_points(context, error);
    const double bytes =
        g->around +
        psc_backward_bytes(g->backward, batch->n_rows, g->parts.n_rows, g->n_keys, false) +
        psc_backward_edit_bytes(g->backward, g->rows, batch->n_rows) +
        psc_backward_show_bytes(g->backward, NULL, g->rows, batch->n_rows);
    if (status == PSC_OK)
        status = psc_gradient_count(context, &g->counted, bytes, batch->n_rows, error);
    if (status == PSC_OK)
        status = psc_backward_begin(g->backward, &g->kept, g->rows, batch->n_rows, g->parts.rows,
            g->parts.n_rows, false, error);
    if (status == PSC_OK) status = subscribe_values(context, error);
    const psc_pass pass = {.sink = {.wanted = g->wanted}, .copies = &g->kept};
    if (status == PSC_OK)
        status = psc_forward_chunk(g->forward, g->rows, batch->n_rows, &pass, error);
    return status;
}

int psc_gradient_batch(psc_context *context, int32_t *next) {
    psc_gradients *g = context->gradients;
    psc_error error = {PSC_OK, ""};
    if (open_buffers(context, &error) != PSC_OK) return psc_host_pass(context, &error);
    psc_variant_batch batch = {
        .slots = g->variants, .n_layers = context->session->model->info.n_layers};
    g->parts.n = 0;
    for (; *next < g->request->n && batch.n_slots < g->n_sequences; ++*next) {
        const psc_variant variant = psc_variant_at(g->request->variants, *next);
        psc_variant_span span;
        if (variant.n_changes == 0) break;
        psc_status status = psc_variant_check(context, *next, &variant, &span);
        if (status != PSC_OK) return status;
        const int failed = add(context, &batch, &variant, *next, span.sequence);
        if (failed) return failed;
    }
    g->n_slots = batch.n_slots;
    psc_status status = run_forward(context, &batch, &error);
    if (g->failed) return -1;
    if (status != PSC_OK) return psc_host_pass(context, &error);
    return psc_gradient_back(context, g->backward);
}
