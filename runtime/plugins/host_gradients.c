/* host->gradients: the gradient of a metric of the run, and of the run with changes.
 *
 *   the run itself   the pass kept what a backward pass reads (prepare_gradients); T metrics are T
 *                    backward passes
 *   with changes     sequences of a pass of their own (gradient_batches.c)
 *
 * An event of the pass has the rows of all its sequences; each variant is shown its own. */
#include "gradients.h"

#include <stdlib.h>
#include <string.h>

void psc_host_drop_gradients(psc_context *context) {
    psc_gradients *g = context->gradients;
    if (!g) return;
    context->session->retained_bytes -= g->bytes;
    psc_gradient_batches_free(g);
    psc_backward_close(&g->own);
    psc_registry_close(&g->registry);
    free(g->own_rows);
    psc_aligned_free(g->own_logits);
    free(g->parts.list);
    free(g->parts.rows);
    free(g);
    context->gradients = NULL;
}

/* Bytes that the cap leaves. */
static double room(const psc_context *context) {
    const psc_session *s = context->session;
    const uint64_t cap = s->options.retained_cap;
    return cap > s->retained_bytes ? (double)(cap - s->retained_bytes) : 0.0;
}

psc_status psc_gradient_count(
    psc_context *context, uint64_t *counted, double bytes, int32_t n_rows, psc_error *error) {
    psc_gradients *g = context->gradients;
    const double more = bytes - (double)*counted;
    if (more <= 0.0) return PSC_OK;
    if (more > room(context))
        return psc_fail(error, PSC_ERROR_MEMORY,
            "the gradient of %d rows needs %.0f bytes; the cap (retained_cap, --retain) leaves "
            "%.0f; run fewer tokens or raise it",
            (int)n_rows, more, room(context));
    *counted += (uint64_t)more;
    g->bytes += (uint64_t)more;
    context->session->retained_bytes += (uint64_t)more;
    return PSC_OK;
}

bool psc_gradient_forget(psc_context *context) {
    psc_gradients *g = context->gradients;
    if (!g || !g->own) return false;
    const uint64_t before = (uint64_t)psc_backward_held(g->own);
    psc_error error = {PSC_OK, ""};
    if (psc_backward_forget(g->own, &error) != PSC_OK) {
        psc_backward_close(&g->own);
        psc_host_pass(context, &error);
        return false;
    }
    const uint64_t freed = before - (uint64_t)psc_backward_held(g->own);
    g->bytes -= freed;
    context->session->retained_bytes -= freed;
    return freed > 0;
}

bool psc_gradient_release(psc_context *context) {
    psc_gradients *g = context->gradients;
    if (!g || g->counted == 0) return psc_gradient_forget(context);
    psc_gradient_batches_free(g);
    g->bytes -= g->counted;
    context->session->retained_bytes -= g->counted;
    g->counted = 0;
    return true;
}

/* --- before the run -------------------------------------------------------------------------- */

static psc_status open_own(psc_context *context, psc_error *error) {
    psc_session *s = context->session;
    psc_gradients *g = context->gradients;
    const psc_backward_parts parts = {
        s->model, &s->rotary, s->kernels, s->team, s->forward, g->registry, NULL, s->cache};
    const int32_t n_vocab = s->model->info.d_vocab;
    psc_status status = psc_backward_open(&g->own, &parts, error);
    if (status != PSC_OK) return status;
    int32_t n_keys = 0;
    for (int32_t r = 0; r < s->n_rows; r++)
        if (s->rows[r].position >= n_keys) n_keys = s->rows[r].position + 1;
    const double own = (double)g->n_own * n_vocab * sizeof(float);
    uint64_t counted = 0;
    double bytes = own + psc_backward_bytes(g->own, s->n_rows, g->n_own, n_keys, false);
    /* where the cap is too small otherwise, for variants after it, too */
    const double later = psc_variant_least_bytes(context);
    const bool recompute = bytes + later > room(context);
    if (recompute) bytes = own + psc_backward_bytes(g->own, s->n_rows, g->n_own, n_keys, true);
    if (later > 0.0 && bytes + later > room(context))
        return psc_fail(error, PSC_ERROR_MEMORY,
            "the gradient of %d rows and variants after it need %.0f bytes; the cap (retained_cap, "
            "--retain) leaves %.0f; run fewer tokens or raise it",
            (int)s->n_rows, bytes + later, room(context));
    status = psc_gradient_count(context, &counted, bytes, s->n_rows, error);
    if (status != PSC_OK) return status;
    g->own_logits =
        psc_aligned_alloc((uint64_t)g->n_own * (uint64_t)n_vocab * sizeof *g->own_logits);
    if (!g->own_logits)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a gradient");
    return psc_backward_begin(
        g->own, &s->copies, s->rows, s->n_rows, g->own_rows, g->n_own, recompute, error);
}

/* Whether rows [n] of the run ascend. */
static bool are_rows(const psc_session *s, int32_t n, const int32_t *rows) {
    for (int32_t i = 0; i < n; i++)
        if (rows[i] < (i ? rows[i - 1] + 1 : 0) || rows[i] >= s->n_rows) return false;
    return true;
}

int psc_host_prepare_gradients(psc_context *context, int32_t n, const int32_t *rows) {
    if (!psc_host_may(&context, "prepare_gradients", PSC_IN_RUN_BEGIN)) return PSC_ERROR_STATE;
    if (!psc_host_list(context, "prepare_gradients", "the list of rows", n, sizeof *rows, rows))
        return PSC_ERROR_PLUGIN;
    psc_session *s = context->session;
    if (context->gradients)
        return psc_host_fail(context, PSC_ERROR_STATE, "prepare_gradients was called twice");
    if (!are_rows(s, n, rows))
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "prepare_gradients: the rows must be ascending numbers from 0 to %d",
            (int)s->n_rows - 1);
    psc_gradients *g = context->gradients = calloc(1, sizeof *g);
    if (!g) return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for a gradient");
    const psc_model_info *info = &s->model->info;
    psc_error error = {PSC_OK, ""};
    psc_status status = psc_registry_open(
        &g->registry, info->n_layers, info->n_heads, info->parallel_residual, &error);
    if (status == PSC_OK) psc_registry_set_gradients(g->registry);
    if (status == PSC_OK && n > 0) {
        g->n_own = n;
        g->own_rows = malloc((size_t)n * sizeof *g->own_rows);
        if (g->own_rows) memcpy(g->own_rows, rows, (size_t)n * sizeof *rows);
        status = g->own_rows
                     ? open_own(context, &error)
                     : psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for %d rows", (int)n);
    }
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

/* --- showing --------------------------------------------------------------------------------- */

/* Shows each variant the rows of an event that are its own. */
static int on_event(const psc_event *event, void *payload) {
    psc_context *context = payload;
    psc_gradients *g = context->gradients;
    const int32_t begin = event->rows[0].index, end = begin + event->n_rows;
    for (int32_t i = 0; i < g->n_slots; i++) {
        const psc_gradient_slot *slot = &g->slots[i];
        const int32_t from = slot->first > begin ? slot->first : begin;
        const int32_t last = slot->first + slot->n_rows;
        const int32_t to = last < end ? last : end;
        if (from >= to) continue;
        psc_event shown = *event;
        shown.n_rows = to - from;
        shown.rows = context->session->rows + slot->row_begin + (from - slot->first);
        shown.tensor.data += (from - begin) * event->tensor.stride[0];
        shown.tensor.shape[0] = shown.n_rows;
        if (g->request->fn(slot->number, &shown, g->request->payload) != 0 ||
            context->session->error->status != PSC_OK) {
            g->failed = true;
            return -1;
        }
    }
    return 0;
}

psc_status psc_gradient_subscribe(
    psc_context *context, psc_registry *registry, int32_t point, psc_error *error) {
    const psc_subscriber subscriber = {.name = context->name, .owner = context, .transient = true};
    if (point >= 0 && point < PSC_POINT_COUNT)
        return psc_registry_add(
            registry, (psc_point)point, false, NULL, on_event, context, &subscriber, error);
    return psc_fail(error, PSC_ERROR_INPUT, "gradients: hook point %d does not exist", (int)point);
}

psc_status psc_gradient_subscribe_points(psc_context *context, psc_error *error) {
    psc_registry *registry = context->gradients->registry;
    const psc_gradient_request *request = context->gradients->request;
    psc_status status = PSC_OK;
    for (int32_t i = 0; i < request->n_points && status == PSC_OK; i++)
        if (request->points[i] < PSC_POINT_VALUES)
            status = psc_gradient_subscribe(context, registry, request->points[i], error);
    return status;
}

static int is_stopped(void *payload) {
    return psc_session_stopped(payload);
}

int psc_gradient_back(psc_context *context, psc_backward *backward) {
    psc_gradients *g = context->gradients;
    psc_error error = {PSC_OK, ""};
    double total;
    psc_status status = psc_backward_run(
        backward, &total, g->parts.list, g->parts.n, NULL, is_stopped, context->session, &error);
    if (g->failed) return -1;
    if (status != PSC_OK) return psc_host_pass(context, &error);
    for (int32_t i = 0; i < g->n_slots; i++)
        psc_gradient_metric_value(
            g->request, &g->slots[i], &g->parts, psc_backward_values(backward));
    return 0;
}

/* --- the run itself -------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Logits that an earlier pass has overwritten; the first one saves them. */
static void restore_logits(psc_context *context, bool first) {
    const psc_gradients *g = context->gradients;
    const size_t n_vocab = (size_t)context->session->model->info.d_vocab;
    for (int32_t i = 0; i < g->n_own; i++) {
        float *pass = psc_backward_logits(g->own, i), *own = g->own_logits + (size_t)i * n_vocab;
        memcpy(first ? own : pass, first ? pass : own, n_vocab * sizeof *own);
    }
}

static int of_the_run(psc_context *context, int32_t number) {
    psc_gradients *g = context->gradients;
    const psc_metric metric = psc_gradient_metric_at(g->request, number);
    g->n_slots = 1;
    g->parts.n = 0;
    g->slots[0] = (psc_gradient_slot){.number = number, .n_rows = context->session->n_rows};
    if (!g->own)
        return psc_host_fail(
            context, PSC_ERROR_STATE, "gradients of the run itself need rows in prepare_gradients");
    int failed = psc_gradient_metric_add(context, number, &metric, &g->slots[0], &g->parts);
    if (failed) return failed;
    for (int32_t i = 0; i < g->parts.n; i++) {
        psc_metric_part *part = &g->parts.list[i];
        const int32_t *at =
            bsearch(&part->slot, g->own_rows, (size_t)g->n_own, sizeof *g->own_rows, compare);
        if (!at)
            return psc_host_fail(context, PSC_ERROR_INPUT,
                "gradients: metric %d, term %d: row %d was not named in prepare_gradients",
                (int)number, (int)i, (int)part->slot);
        part->slot = (int32_t)(at - g->own_rows);
    }
    g->slots[0].n_parts = g->parts.n;
    psc_error error = {PSC_OK, ""};
    psc_registry_end_run(g->registry);
    psc_status status = psc_gradient_subscribe_points(context, &error);
    const psc_session *s = context->session;
    if (status == PSC_OK)
        status = psc_gradient_count(context, &g->shown,
            psc_backward_show_bytes(g->own, NULL, s->rows, s->n_rows), s->n_rows, &error);
    if (status != PSC_OK) return psc_host_pass(context, &error);
    restore_logits(context, !g->saved);
    g->saved = true;
    return psc_gradient_back(context, g->own);
}

/* --- all of them ----------------------------------------------------------------------------- */

static int refuse(psc_context *context, const psc_gradient_request *request) {
    if (context->turn.in_variants)
        return psc_host_fail(context, PSC_ERROR_STATE,
            "gradients was called inside a callback of variants or gradients");
    if (!context->gradients)
        return psc_host_fail(
            context, PSC_ERROR_STATE, "gradients needs a call of prepare_gradients in run_begin");
    if (psc_registry_any_editor(context->session->registry))
        return psc_host_fail(
            context, PSC_ERROR_STATE, "gradients cannot be computed in an edited run");
    if (!psc_host_list(context, "gradients", "the list of metrics", request->n,
            sizeof *request->metrics, request->metrics) ||
        !psc_host_list(context, "gradients", "the list of points", request->n_points,
            sizeof *request->points, request->points) ||
        !psc_host_given(context, "gradients", "a function", (const void *)(uintptr_t)request->fn) ||
        (request->n > 0 && !psc_host_size(context, "gradients", "the metric",
                               request->metrics->struct_size, PSC_METRIC_BYTES)))
        return PSC_ERROR_PLUGIN;
    return 0;
}

static int compute(psc_context *context) {
    const psc_gradient_request *request = context->gradients->request;
    for (int32_t next = 0; next < request->n;) {
        psc_variant variant = {0};
        if (request->variants) variant = psc_variant_at(request->variants, next);
        if (variant.edges)
            return psc_host_fail(context, PSC_ERROR_INPUT,
                "gradients: variant %d has edges, which have no gradient", (int)next);
        const int returned = variant.n_changes == 0 ? of_the_run(context, next++)
                                                    : psc_gradient_batch(context, &next);
        if (returned != 0) return returned;
        if (psc_session_stopped(context->session)) return PSC_ERROR_CANCELLED;
    }
    return 0;
}

int psc_host_gradients(psc_context *context, int32_t n, const psc_variant *variants,
    const psc_metric *metrics, int32_t n_points, const int32_t *points, psc_gradient_fn fn,
    void *payload) {
    if (!psc_host_may(&context, "gradients", PSC_IN_RUN_END)) return PSC_ERROR_STATE;
    const psc_gradient_request request = {variants, metrics, n, n_points, points, fn, payload};
    int returned = refuse(context, &request);
    if (returned || n == 0) return returned;
    psc_gradients *g = context->gradients;
    g->request = &request;
    g->failed = false;
    context->turn.inside++; /* fn may leave by a jump */
    context->turn.in_variants = true;
    returned = compute(context);
    context->turn.in_variants = false;
    context->turn.inside--;
    g->request = NULL;
    return returned;
}
