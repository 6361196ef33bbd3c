/* The component `edit` of what edges carry: what editors added between the writers and v.
 *
 *   edit = A_kj P(gamma1 * w) . (sum of after - before in the stream before l)/(sigma_j sigma_f)
 *        + A_kj (gamma1 * w) . (after - before) at ln1.hook_normalized / sigma_f
 *        + A_kj (W_O,h^T u) . (after - before) at hook_v / sigma_f
 *
 * The stream's differences are those of hook_resid_pre of layers up to l, and of hook_attn_out,
 * hook_resid_mid and hook_resid_post of layers before l, at the row that is read. Edits of the
 * writers' own points (hook_embed, hook_mlp_out and all points before them) and of ln1.hook_scale
 * need no correction, because their edited values are retained. Edits of q, k, scores and pattern
 * need none either: the weight contains them. */
#include "edges.h"

#include <string.h>

/* Differences [layers, keys, width] of one kind, allocated at the first edit. */
static float *differences(edges_state *s, float **table, int64_t width) {
    const uint64_t n = (uint64_t)s->model->n_layers * (uint64_t)s->n_keys * (uint64_t)width;
    if (!*table) *table = s->host->run_alloc(s->context, n * sizeof **table);
    return *table;
}

/* Adds after - before to the rows of a layer; a tensor with heads is laid out head by head. */
static int keep(
    edges_state *s, const psc_event *event, float **table, int32_t layer, int64_t width) {
    const psc_view *x = &event->tensor, *y = &event->before;
    const int64_t inner = x->shape[x->n_axes - 1];
    if (!y->data || layer >= s->model->n_layers) return 0;
    float *all = differences(s, table, width);
    if (!all) return -1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t position = event->rows[r].position;
        if (position >= s->n_keys) continue;
        float *to = all + (layer * (int64_t)s->n_keys + position) * width;
        for (int64_t i = 0; i < width; i++) {
            const int64_t head = i / inner, at = i % inner;
            const float *after = x->data + r * x->stride[0] + (head ? head * x->stride[1] : 0);
            const float *before = y->data + r * y->stride[0] + (head ? head * y->stride[1] : 0);
            to[i] += after[at] - before[at];
        }
    }
    return 0;
}

static int on_before_layer(const psc_event *event, void *payload) {
    edges_state *s = payload;
    return keep(s, event, &s->edits.stream, event->layer, s->model->d_model);
}

static int on_within_layer(const psc_event *event, void *payload) {
    edges_state *s = payload;
    return keep(s, event, &s->edits.stream, event->layer + 1, s->model->d_model);
}

static int on_normalized(const psc_event *event, void *payload) {
    edges_state *s = payload;
    return keep(s, event, &s->edits.normalized, event->layer, s->model->d_model);
}

static int on_value(const psc_event *event, void *payload) {
    edges_state *s = payload;
    const int64_t width = (int64_t)s->model->n_heads * s->model->d_head;
    return keep(s, event, &s->edits.value, event->layer, width);
}

static const struct {
    psc_point point;
    psc_event_fn callback;
} POINTS[] = {
    {PSC_HOOK_RESID_PRE, on_before_layer},
    {PSC_HOOK_ATTN_OUT, on_within_layer},
    {PSC_HOOK_RESID_MID, on_within_layer},
    {PSC_HOOK_RESID_POST, on_within_layer},
    {PSC_HOOK_LN1_NORMALIZED, on_normalized},
    {PSC_HOOK_V, on_value},
};
#define N_POINTS (sizeof POINTS / sizeof POINTS[0])

int edges_edits_observe(edges_state *s) {
    psc_filter filter = PSC_FILTER_INIT;
    filter.edited_only = 1;
    memset(&s->edits, 0, sizeof s->edits);
    for (size_t i = 0; i < N_POINTS; i++) {
        if (POINTS[i].point == PSC_HOOK_RESID_MID && s->model->parallel_residual) continue;
        if (s->host->observe(s->context, POINTS[i].point, &filter, POINTS[i].callback, s))
            return -1;
    }
    return 0;
}

int edges_edits_expected(const edges_state *s) {
    for (size_t i = 0; i < N_POINTS; i++)
        if (s->host->has_editor(s->context, POINTS[i].point)) return 1;
    return 0;
}

double edges_edit_share(const edges_state *s, int32_t layer, int32_t source, const float *stream,
    const float *normalized, const float *value) {
    const int64_t n = s->model->d_model, width = (int64_t)s->model->n_heads * s->model->d_head;
    const int64_t row = layer * (int64_t)s->n_keys + source;
    double sum = 0.0;
    for (int32_t l = 0; s->edits.stream && l <= layer; l++)
        sum += psc_dot_striped(n, stream, s->edits.stream + (l * (int64_t)s->n_keys + source) * n);
    if (s->edits.normalized) sum += psc_dot_striped(n, normalized, s->edits.normalized + row * n);
    if (s->edits.value) sum += psc_dot_striped(width, value, s->edits.value + row * width);
    return sum;
}
