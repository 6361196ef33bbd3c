/* Gradients of variants: each is a whole sequence of a pass of its own, from the embedding on, and
 * the backward pass goes through all of them at once. Rows before the run's are copied to its
 * cache:
 *
 *   rows of slot 0 | rows of slot 1 | ...      at most ROWS_TOGETHER, unless one alone has more
 *
 * The forward pass takes ROWS_TOGETHER of them at a time. Where retained_cap is too small to keep
 * queries and pre-activations, the backward pass computes them again. A row's bits do not depend on
 * its neighbors (docs/numerics.md), so neither do a variant's. */
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
    g->rows = NULL;
    g->wanted = NULL;
}

/* --- buffers --------------------------------------------------------------------------------- */

static int32_t chunk_of(int32_t n_rows) {
    return n_rows < ROWS_TOGETHER ? n_rows : ROWS_TOGETHER;
}

/* Bytes of what passes over n sequences of `longest` rows need beside the backward pass's own. */
static double bytes_of(const psc_context *context, int32_t n, int32_t longest) {
    const psc_session *s = context->session;
    const psc_gradients *g = context->gradients;
    const psc_model_info *info = &s->model->info;
    return psc_kv_cache_bytes(n, info->n_layers, info->n_heads, info->d_head, g->n_keys) +
           psc_forward_bytes(&s->model->config, chunk_of(n * longest), g->n_keys, s->team) +
           (double)n * longest * (sizeof *g->rows + sizeof *g->wanted);
}

/* Counts what n sequences of `longest` rows need, whose batches have a row of the metric each. */
static psc_status count_room(psc_context *context, const psc_backward *backward, int32_t n,
    int32_t longest, bool recompute, psc_error *error) {
    psc_gradients *g = context->gradients;
    g->n_sequences = n;
    g->most_rows = n * longest;
    g->around = bytes_of(context, n, longest);
    const double block = psc_backward_bytes(backward, n * longest, n, g->n_keys, recompute);
    return psc_gradient_count(context, &g->counted, g->around + block, n * longest, error);
}

/* Frees what other calls of the plugin can have again; false if there is nothing. */
static bool free_others(psc_context *context) {
    return psc_variant_release(context) || psc_gradient_forget(context);
}

/* As many sequences of `longest` rows as the cap leaves room for, at most n. Where one does not
 * fit, other calls' buffers go, and then the variants recompute. */
static psc_status choose_room(psc_context *context, int32_t n, int32_t longest, psc_error *error) {
    psc_session *s = context->session;
    const psc_backward_parts parts = {
        s->model, &s->rotary, s->kernels, s->team, NULL, context->gradients->registry, NULL, NULL};
    psc_backward *counted;
    psc_status status = psc_backward_open(&counted, &parts, error);
    if (status != PSC_OK) return status;
    do {
        int32_t fewer = n;
        while ((status = count_room(context, counted, fewer, longest, false, NULL)) != PSC_OK &&
               fewer > 1)
            fewer /= 2;
    } while (status != PSC_OK && free_others(context));
    if (status != PSC_OK) status = count_room(context, counted, 1, longest, true, error);
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
            g->editors, g->cache, chunk_of(g->most_rows), error);
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
    const int32_t longest = psc_longest_sequence(context->session, &g->n_keys);
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

/* Adds variants with changes from *next on, at most `most`. */
static int make_batch(psc_context *context, psc_variant_batch *batch, int32_t most, int32_t *next) {
    psc_gradients *g = context->gradients;
    *batch = (psc_variant_batch){
        .slots = g->variants, .n_layers = context->session->model->info.n_layers};
    g->parts.n = 0;
    for (; *next < g->request->n && batch->n_slots < most; ++*next) {
        const psc_variant variant = psc_variant_at(g->request->variants, *next);
        psc_variant_span span;
        if (variant.n_changes == 0) break;
        psc_status status = psc_variant_check(context, *next, &variant, &span);
        if (status != PSC_OK) return status;
        const int failed = add(context, batch, &variant, *next, span.sequence);
        if (failed) return failed;
    }
    g->n_slots = batch->n_slots;
    psc_gradient_metric_place(&g->parts);
    return 0;
}

/* --- its passes ------------------------------------------------------------------------------ */

/* The batch's editors, and the points whose values or gradients are requested. */
static psc_status subscribe(
    psc_context *context, const psc_variant_batch *batch, psc_error *error) {
    const psc_gradients *g = context->gradients;
    const psc_gradient_request *request = g->request;
    psc_status status = psc_variant_subscribe(g->editors, context, batch, false, error);
    if (status == PSC_OK) status = psc_variant_subscribe(g->registry, context, batch, true, error);
    if (status == PSC_OK) status = psc_gradient_subscribe_points(context, error);
    for (int32_t i = 0; i < request->n_points && status == PSC_OK; i++)
        if (request->points[i] >= PSC_POINT_VALUES)
            status = psc_gradient_subscribe(
                context, g->editors, request->points[i] - PSC_POINT_VALUES, error);
    return status;
}

static psc_status count_batch(
    psc_context *context, const psc_variant_batch *batch, bool recompute, psc_error *error) {
    psc_gradients *g = context->gradients;
    const psc_backward *b = g->backward;
    const int32_t n = batch->n_rows;
    const double need = psc_backward_bytes(b, n, g->parts.n_rows, g->n_keys, recompute);
    const double held = psc_backward_held(b), block = need > held ? need : held;
    const double edits = psc_backward_edit_bytes(b, g->rows, n, recompute);
    const double bytes =
        g->around + block + edits + psc_backward_show_bytes(b, NULL, g->rows, n) +
        psc_forward_show_bytes(g->forward, g->rows, n, ROWS_TOGETHER, !recompute || edits > 0.0);
    return psc_gradient_count(context, &g->counted, bytes, n, error);
}

/* Counts the batch's bytes; sets *recompute where it does not fit otherwise. */
static psc_status reserve(
    psc_context *context, const psc_variant_batch *batch, bool *recompute, psc_error *error) {
    const psc_gradients *g = context->gradients;
    psc_status status = subscribe(context, batch, error);
    *recompute = false;
    if (status != PSC_OK) return status;
    do
        if (count_batch(context, batch, false, NULL) == PSC_OK) return PSC_OK;
    while (free_others(context));
    *recompute = true;
    psc_backward_trim(g->backward, 0.0);
    return count_batch(context, batch, true, error);
}

/* The forward pass, which keeps what the backward pass reads. */
static psc_status run_forward(
    psc_context *context, const psc_variant_batch *batch, bool recompute, psc_error *error) {
    psc_gradients *g = context->gradients;
    psc_status status = psc_destinations_clear(&g->kept, batch->n_layers, error);
    if (status == PSC_OK)
        status = psc_backward_begin(g->backward, &g->kept, g->rows, batch->n_rows, g->parts.rows,
            g->parts.n_rows, recompute, error);
    const psc_pass pass = {.sink = {.wanted = g->wanted}, .copies = &g->kept};
    const int32_t chunks = (batch->n_rows - 1) / ROWS_TOGETHER + 1;
    for (int32_t i = 0, r = 0, n; i < chunks && status == PSC_OK; i++, r += n) {
        n = (batch->n_rows - r) / (chunks - i);
        status = psc_forward_chunk(g->forward, g->rows + r, n, &pass, error);
    }
    return status;
}

int psc_gradient_batch(psc_context *context, int32_t *next) {
    psc_gradients *g = context->gradients;
    psc_error error = {PSC_OK, ""};
    if (open_buffers(context, &error) != PSC_OK) return psc_host_pass(context, &error);
    psc_variant_batch batch;
    bool recompute;
    psc_status status;
    const int32_t first = *next;
    for (int32_t most = g->n_sequences;; most = batch.n_slots / 2) { /* fewer, if they do not fit */
        *next = first;
        const int failed = make_batch(context, &batch, most, next);
        if (failed) return failed;
        status = reserve(context, &batch, &recompute, &error);
        if (status != PSC_ERROR_MEMORY || batch.n_slots == 1) break;
    }
    if (status == PSC_OK) status = run_forward(context, &batch, recompute, &error);
    if (g->failed) return -1;
    if (status != PSC_OK) return psc_host_pass(context, &error);
    return psc_gradient_back(context, g->backward);
}
