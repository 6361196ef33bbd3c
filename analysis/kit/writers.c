/* Shares of a residual's writers along directions:
 *
 *   g . x_j = g . embed_j + sum over l, h of z_{l,h,j} . (W_O,h^T g) + g . b_O + g . mlp_out_{l,j}
 *
 * The directions of all rows are pulled back together, layer by layer. */
#include "writers.h"

#include <string.h>

enum { EMBED, Z, MLP_OUT };

int64_t psc_writers_count(const psc_model_info *model, int32_t layer) {
    return 1 + layer * ((int64_t)model->n_heads + 2);
}

int psc_writers_labels(
    psc_context *context, const psc_host *host, int32_t layer, const char **out) {
    const int32_t n_heads = host->model(context)->n_heads;
    int64_t n = 0;
    out[n++] = host->label(context, PSC_COMPONENT_EMBED, 0, 0);
    for (int32_t l = 0; l < layer; l++) {
        for (int32_t h = 0; h < n_heads; h++)
            out[n++] = host->label(context, PSC_COMPONENT_HEAD, l, h);
        out[n++] = host->label(context, PSC_COMPONENT_ATTN_BIAS, l, 0);
        out[n++] = host->label(context, PSC_COMPONENT_MLP_OUT, l, 0);
    }
    for (int64_t i = 0; i < n; i++)
        if (!out[i]) return -1;
    return 0;
}

int psc_writers_begin(
    psc_context *context, const psc_host *host, int32_t layer, int32_t n_rows, psc_writers *out) {
    static const psc_point points[] = {PSC_HOOK_EMBED, PSC_HOOK_Z, PSC_HOOK_MLP_OUT};
    *out = (psc_writers){context, host, host->model(context), {-1, -1, -1}};
    int32_t *layers = host->run_alloc(context, ((uint64_t)layer + 1) * sizeof *layers);
    if (!layers) return -1;
    for (int32_t l = 0; l < layer; l++) layers[l] = l;
    for (int i = EMBED; i <= MLP_OUT; i++) {
        psc_filter filter = PSC_FILTER_INIT;
        filter.layers = layers;
        filter.n_layers = i == EMBED ? 0 : layer;
        filter.rows = PSC_ROWS_RANGE;
        filter.row_end = n_rows;
        if (i != EMBED && layer == 0) continue;
        out->handles[i] = host->retain(context, points[i], &filter);
        if (out->handles[i] < 0) return -1;
    }
    return 0;
}

static int fetch(const psc_writers *w, int which, int32_t layer, psc_view *out) {
    psc_event event;
    if (w->host->fetch(w->context, w->handles[which], layer, &event)) return -1;
    *out = event.tensor;
    return 0;
}

int psc_writers_shares(const psc_writers *w, int32_t layer, int32_t n, const int32_t *rows,
    const float *g, double *out, int64_t ld) {
    const psc_host *host = w->host;
    const int64_t n_dims = w->model->d_model, size = w->model->d_head, heads = w->model->n_heads;
    psc_view embed, z, mlp;
    float *pulled = host->run_alloc(w->context, (uint64_t)(n * heads * size) * sizeof *pulled + 1);
    if (!pulled || fetch(w, EMBED, -1, &embed)) return -1;
    for (int32_t i = 0; i < n; i++)
        out[i * ld] = psc_dot_striped(n_dims, g + i * n_dims, psc_view_row(&embed, rows[i]));
    for (int32_t l = 0; l < layer; l++) {
        const int64_t first = psc_writers_count(w->model, l);
        const float *bias = host->bias(w->context, PSC_W_O, l);
        if (!bias || fetch(w, Z, l, &z) || fetch(w, MLP_OUT, l, &mlp) ||
            host->pullback(w->context, PSC_W_O, l, pulled, g, n))
            return -1;
        for (int32_t i = 0; i < n; i++) {
            double *to = out + i * ld + first;
            for (int64_t h = 0; h < heads; h++)
                to[h] = psc_dot_striped(size, pulled + (i * heads + h) * size,
                    psc_view_row(&z, rows[i]) + h * z.stride[1]);
            to[heads] = psc_dot_striped(n_dims, g + i * n_dims, bias);
            to[heads + 1] = psc_dot_striped(n_dims, g + i * n_dims, psc_view_row(&mlp, rows[i]));
        }
    }
    return 0;
}

int psc_writers_make(const psc_writers *w, int32_t layer, int32_t row, float *out) {
    const psc_host *host = w->host;
    const int64_t n = w->model->d_model, size = w->model->d_head, heads = w->model->n_heads;
    psc_view embed, z, mlp;
    float *masked = /* row h: z of head h alone */
        host->run_alloc(w->context, (uint64_t)(heads * heads * size) * sizeof *masked);
    if (!masked || fetch(w, EMBED, -1, &embed)) return -1;
    memcpy(out, psc_view_row(&embed, row), (size_t)n * sizeof *out);
    for (int32_t l = 0; l < layer; l++) {
        float *first = out + psc_writers_count(w->model, l) * n;
        const float *bias = host->bias(w->context, PSC_W_O, l);
        if (!bias || fetch(w, Z, l, &z) || fetch(w, MLP_OUT, l, &mlp)) return -1;
        for (int64_t h = 0; h < heads; h++)
            memcpy(masked + h * (heads + 1) * size, psc_view_row(&z, row) + h * z.stride[1],
                (size_t)size * sizeof *masked);
        if (host->apply(w->context, PSC_W_O, l, first, masked, heads)) return -1;
        memcpy(first + heads * n, bias, (size_t)n * sizeof *out);
        memcpy(first + (heads + 1) * n, psc_view_row(&mlp, row), (size_t)n * sizeof *out);
    }
    return 0;
}
