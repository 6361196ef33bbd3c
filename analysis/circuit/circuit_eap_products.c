/* The dots of differences of writes with gradients, for the scores of edges:
 *
 *   g = (w - mean w - n (n . w)/N) / s,   d = o_u - c_u of sender u
 *   d . g = (d . w - (mean w) sum d - (n . w)/N (n . d)) / s
 *
 * w is the gradient at a LayerNorm's output times gamma, n the normalized value. The products with d are
 * f32 (panel_products: 16 senders are a panel), the rest and the sum over ascending rows f64. */
#include "circuit_eap.h"

#include <math.h>
#include <string.h>

/* A product of three panels has the most operations per load; one of fewer takes about as long. */
#define PANELS_TOGETHER 3

/* What is read at a row: of each group w of each receiver, then n; then ones. */
static float *read_of(const eap *e, int64_t row) {
    return e->read + row * e->most_reads * e->s->model->d_model;
}

/* n and s of rows of a residual. */
static void normalize(eap *e, const eap_group *group, const float *resid) {
    const int64_t n = e->s->model->d_model;
    float *scales = e->scale + (group - e->groups) * e->rows_together;
    for (int32_t r = 0; r < e->rows; r++) {
        const float *x = resid + (e->begin + r) * n;
        float *to = read_of(e, r) + (group->at + group->n) * n;
        const double mean = psc_sum_striped(n, x) / (double)n;
        const double square = psc_dot_centered(n, x, mean, x, mean) / (double)n;
        const double scale = sqrt(square + (double)e->s->model->layer_norm_eps);
        for (int64_t i = 0; i < n; i++) to[i] = (float)(((double)x[i] - mean) / scale);
        scales[r] = (float)scale;
    }
}

void circuit_begin_group(eap *e, int32_t first, int32_t n, const float *resid) {
    eap_group *group = &e->groups[e->n_groups++];
    *group = (eap_group){first, n, e->n_reads};
    e->n_reads += n + 1;
    normalize(e, group, resid);
}

static void take_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const eap *e = payload;
    const circuit_state *s = e->s;
    const eap_group *group = &e->groups[e->n_groups - 1];
    const int64_t n = s->model->d_model, place = group->at + e->taken;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const int64_t at = r * e->most_reads + place;
        float *w = read_of(e, r) + place * n;
        const float *norm = read_of(e, r) + (group->at + group->n) * n;
        if (e->gamma)
            s->reductions->ln_affine(w, e->pulled + r * n, e->gamma, e->zeros, (size_t)n);
        else
            memcpy(w, e->pulled + r * n, (size_t)n * sizeof *w);
        e->mean[at] = (double)s->host->dot(s->context, n, e->ones, w) / (double)n;
        e->along[at] = (double)s->host->dot(s->context, n, norm, w) / (double)n;
    }
}

void circuit_take(eap *e, int32_t i, const float *pulled, const float *gamma) {
    e->taken = i;
    e->pulled = pulled;
    e->gamma = gamma;
    e->s->host->parallel_for(e->s->context, e->rows, take_rows, e);
}

static int64_t panels_of(const eap *e, const eap_group *group) {
    return (psc_edge_reads(&e->s->shape, group->first) + EAP_LANES - 1) / EAP_LANES;
}

/* Adds row r's products [vectors from the first group's on, width] of senders first.. to the scores of
 * a group. */
static void add_row(const eap *e, const eap_group *group, int64_t r, const float *products,
    int64_t width, int64_t first) {
    circuit_state *s = e->s;
    const int64_t senders = psc_edge_reads(&s->shape, group->first);
    const int64_t n = senders - first < width ? senders - first : width;
    const float *along = products + group->n * width;
    const float *sum = products + (e->n_reads - group->at) * width;
    const float scale = e->scale[(group - e->groups) * e->rows_together + r];
    const double by = e->weight / (double)scale;
    for (int32_t i = 0; i < group->n; i++) {
        double *to = s->score + psc_edge_first(&s->shape, group->first) + i * senders + first;
        const int64_t at = r * e->most_reads + group->at + i;
        const double mean_w = e->mean[at], along_w = e->along[at];
        for (int64_t u = 0; u < n; u++)
            to[u] += by * ((double)products[i * width + u] - mean_w * (double)sum[u] -
                              along_w * (double)along[u]);
    }
}

/* The senders in panels begin..end-1, by rows. Later groups read more senders: those from `first` on
 * read some or all of a range. */
static void multiply(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const eap *e = payload;
    circuit_state *s = e->s;
    const int64_t n = s->model->d_model;
    const eap_group *first = e->groups, *last = e->groups + e->n_groups;
    (void)thread;
    for (int64_t panel = begin, n_panels; panel < end; panel += n_panels) {
        while (panels_of(e, first) <= panel) first++;
        const int64_t reads = e->n_reads + 1 - first->at, read = panels_of(e, first) - panel;
        n_panels = (read + PANELS_TOGETHER - 1) / PANELS_TOGETHER * PANELS_TOGETHER;
        if (n_panels > end - panel) n_panels = end - panel;
        const int64_t width = n_panels * EAP_LANES;
        float *products = e->products + panel * EAP_LANES * e->most_reads;
        for (int64_t r = 0; r < e->rows; r++) {
            if (s->host->panel_products(s->context, products, read_of(e, r) + first->at * n,
                    e->panels + (r * e->all_panels + panel) * n * EAP_LANES, reads, n, n_panels))
                return;
            for (const eap_group *group = first; group < last; group++)
                add_row(e, group, r, products + (group->at - first->at) * width, width,
                    panel * EAP_LANES);
        }
    }
}

void circuit_add_products(eap *e) {
    const int64_t n = e->s->model->d_model;
    if (e->n_groups == 0) return;
    for (int32_t r = 0; r < e->rows; r++)
        memcpy(read_of(e, r) + e->n_reads * n, e->ones, (size_t)n * sizeof(float));
    e->s->host->parallel_for(e->s->context, panels_of(e, &e->groups[e->n_groups - 1]), multiply, e);
    e->n_groups = e->n_reads = 0;
}
