/* What the components of a run wrote, kept for psc_edges and for attributions:
 *
 *   [rows, N] each   embed; per layer z, mlp_out, resid_pre (sequential: resid_mid); at last the
 *                    final resid_post
 *
 * Of the last layer's writes only the rows of the metric matter: nothing else reads them. In the
 * source of a set's pair they may be any rows. The memory is the instance's, so that later runs
 * find its pages. */
#include "circuit.h"

#include <string.h>

static float *place_of(const circuit_writes *w, int32_t point, int32_t layer) {
    switch (point) {
    case PSC_HOOK_EMBED:
        return w->embed;
    case PSC_HOOK_Z:
        return (float *)w->z[layer];
    case PSC_HOOK_MLP_OUT:
        return (float *)w->mlp_out[layer];
    case PSC_HOOK_RESID_PRE:
        return (float *)w->resid_pre[layer];
    case PSC_HOOK_RESID_MID:
        return (float *)w->resid_mid[layer];
    default:
        return (float *)w->resid_pre[layer + 1];
    }
}

static int on_write(const psc_event *event, void *payload) {
    const circuit_writes *w = payload;
    const psc_view *t = &event->tensor;
    float *to = place_of(w, event->point, event->layer);
    for (int32_t r = 0; r < event->n_rows; r++)
        memcpy(to + event->rows[r].index * w->n, t->data + r * t->stride[0],
            (size_t)w->n * sizeof *to);
    return 0;
}

/* All rows of the layers but the last, and of the last those of a filter. */
static int observe_layers(
    circuit_state *s, circuit_writes *w, psc_point point, const psc_filter *rows) {
    const int32_t last = s->shape.n_layers - 1;
    psc_filter before = PSC_FILTER_INIT, at_end = *rows;
    int32_t *layers = s->host->run_alloc(s->context, ((uint64_t)last + 1) * sizeof *layers);
    if (!layers) return -1;
    for (int32_t l = 0; l <= last; l++) layers[l] = l;
    before.layers = layers;
    before.n_layers = last;
    at_end.layers = layers + last;
    at_end.n_layers = 1;
    if (last > 0 && s->host->observe(s->context, point, &before, on_write, w)) return -1;
    return s->host->observe(s->context, point, &at_end, on_write, w);
}

uint64_t circuit_writes_bytes(const circuit_state *s, int32_t n_rows) {
    const uint64_t of_layers = s->shape.parallel_residual ? 3 : 4;
    return (of_layers * (uint64_t)s->shape.n_layers + 2) * (uint64_t)n_rows *
           (uint64_t)s->model->d_model * sizeof(float);
}

int circuit_place(circuit_state *s, circuit_writes *w, int32_t n_rows) {
    const size_t floats = (size_t)n_rows * (size_t)s->model->d_model;
    float *to = psc_kept_alloc(&w->memory, s->context, s->host, circuit_writes_bytes(s, n_rows));
    if (!to) return -1;
    w->n = s->model->d_model;
    w->embed = to;
    w->resid_pre[s->shape.n_layers] = to + floats;
    to += 2 * floats;
    for (int32_t l = 0; l < s->shape.n_layers; l++) {
        w->z[l] = to;
        w->mlp_out[l] = to + floats;
        w->resid_pre[l] = to + 2 * floats;
        to += 3 * floats;
        if (s->shape.parallel_residual) continue;
        w->resid_mid[l] = to;
        to += floats;
    }
    w->writes = (psc_writes){.struct_size = sizeof w->writes,
        .n_rows = n_rows,
        .embed = w->embed,
        .z = w->z,
        .mlp_out = w->mlp_out,
        .resid_pre = w->resid_pre,
        .resid_mid = s->shape.parallel_residual ? NULL : w->resid_mid};
    return 0;
}

int circuit_observe(circuit_state *s, circuit_writes *w) {
    const int32_t last = s->shape.n_layers - 1;
    const int may_be_any =
        s->what >= CIRCUIT_MEAN ||
        (w == &s->source && s->host->example(s->context, s->run_rows[0].sequence) >= 0);
    const psc_filter all = PSC_FILTER_INIT, rows = may_be_any ? all : s->rows.filter;
    psc_filter at_end = rows;
    at_end.layers = &last;
    at_end.n_layers = 1;
    return circuit_place(s, w, s->n_rows) ||
           s->host->observe(s->context, PSC_HOOK_EMBED, NULL, on_write, w) ||
           s->host->observe(s->context, PSC_HOOK_RESID_PRE, NULL, on_write, w) ||
           observe_layers(s, w, PSC_HOOK_Z, &rows) ||
           observe_layers(s, w, PSC_HOOK_MLP_OUT, &rows) ||
           (!s->shape.parallel_residual && observe_layers(s, w, PSC_HOOK_RESID_MID, &rows)) ||
           s->host->observe(s->context, PSC_HOOK_RESID_POST, &at_end, on_write, w);
}

int circuit_open_writes(circuit_state *s, circuit_writes *w) {
    const uint64_t bytes = ((uint64_t)s->shape.n_layers + 1) * sizeof(float *);
    const float ***lists[] = {&w->z, &w->mlp_out, &w->resid_pre, &w->resid_mid};
    for (int i = 0; i < 4; i++) {
        *lists[i] = s->host->life_alloc(s->context, bytes);
        if (!*lists[i]) return -1;
    }
    return 0;
}
