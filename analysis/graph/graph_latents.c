/* Transcoders in place of MLPs. Of a layer that has one, with m the MLP's input at row j:
 *
 *   l_mlp_out = sum_i f_i d_i + b_dec + W_skip m + error,  f_i = e_i . m + b_i of the active latents i
 *   m = gamma P(x)/sigma + beta, with gamma 1 and beta 0 where a transcoder has them folded in
 *   A_i = g . d_i;  d2 = P(gamma * (sum_i A_i e_i + W_skip^T g))/sigma
 *   flows: latent A_i f_i, l_mlp_skip g . W_skip m, l_mlp_bias g . b_dec, l_mlp_error g . error
 *   readers: e_R = P(gamma * A_i e_i) of a latent, P(gamma * W_skip^T g) of the skip
 *
 * Which latents are active is held, as the gates of an MLP are. Sums over
 * latents ascend, in f64. */
#include "graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { AT_ONCE = 64 }; /* latents whose vectors are read together */

struct graph_transcoder {
    graph_state *s;
    psc_dictionary info;
    int handle;
    const float *gamma, *beta; /* [N] of what the encoder reads */
    float *ones, *zeros;       /* [N] */
    float *e, *d;              /* [AT_ONCE, N] */

    /* a run */
    const psc_view *normal; /* hook_normalized [R, N] */
    float *m, *y, *skip;    /* [R, N]: what it reads and writes, its linear path (null: none) */
    graph_active *active;   /* [R] */
    int32_t first;          /* the row of the encoder's call */
};

/* --- open ------------------------------------------------------------------------------------ */

static int check(const graph_transcoder *t, const char *path) {
    const graph_state *s = t->s;
    const psc_dictionary *d = &t->info;
    const int mlp = d->out_point == PSC_HOOK_MLP_OUT && d->in_point == PSC_HOOK_LN2_NORMALIZED &&
                    d->in_layer == d->out_layer;
    if (!d->is_transcoder || !mlp)
        return s->host->fail(s->context,
            "sae=%.200s is not a transcoder of an MLP: it reads %s and writes %s; latents in a graph "
            "replace an MLP",
            path, d->in_name, d->out_name);
    if (d->normalizes || d->kind == PSC_DICTIONARY_ABSTOPK)
        return s->host->fail(s->context,
            "sae=%.200s normalizes each row or has signed latents, so it is not linear with its "
            "active latents held",
            path);
    if (s->transcoders[d->out_layer])
        return s->host->fail(s->context, "sae= has two transcoders of layer %d", (int)d->out_layer);
    return 0;
}

static int open_one(graph_state *s, const char *path) {
    const psc_host *host = s->host;
    const uint64_t row = (uint64_t)s->n * sizeof(float);
    graph_transcoder *t = host->life_alloc(s->context, sizeof *t);
    if (!t) return -1;
    *t = (graph_transcoder){.s = s, .info = PSC_DICTIONARY_INIT};
    t->handle = host->dictionary_open(s->context, path, NULL, &t->info);
    if (t->handle < 0 || check(t, path)) return -1;
    t->e = host->life_alloc(s->context, AT_ONCE * row);
    t->d = host->life_alloc(s->context, AT_ONCE * row);
    t->ones = host->life_alloc(s->context, row);
    t->zeros = host->life_alloc(s->context, row);
    if (!t->e || !t->d || !t->ones || !t->zeros) return -1;
    for (int64_t i = 0; i < s->n; i++) t->ones[i] = 1.0f;
    t->gamma = t->ones;
    t->beta = t->zeros;
    if (t->info.in_affine &&
        host->ln_parameters(s->context, PSC_LN2, t->info.in_layer, &t->gamma, &t->beta))
        return -1;
    s->transcoders[t->info.out_layer] = t;
    return 0;
}

int graph_latents_open(graph_state *s) {
    const uint64_t layers = (uint64_t)s->model->n_layers;
    s->transcoders = s->host->life_alloc(s->context, layers * sizeof *s->transcoders);
    if (!s->transcoders) return -1;
    for (const char *p = s->sae; *p;) {
        const size_t n = strcspn(p, "+");
        char *path = s->host->life_alloc(s->context, n + 1);
        if (!path) return -1;
        memcpy(path, p, n);
        if (n == 0 || (p[n] && !p[n + 1]))
            return s->host->fail(
                s->context, "sae=%.200s has no folder %s +", s->sae, n == 0 ? "before" : "after");
        if (open_one(s, path)) return -1;
        p += n + (p[n] == '+');
    }
    return 0;
}

int graph_latents_layers(const graph_state *s, int32_t *layers) {
    int n = 0;
    for (int32_t l = 0; l < s->model->n_layers; l++)
        if (s->transcoders[l]) layers[n++] = l;
    return n;
}

int64_t graph_latents_most(const graph_state *s) {
    int64_t most = 0;
    for (int32_t l = 0; l < s->model->n_layers; l++)
        if (s->transcoders[l] && s->transcoders[l]->info.n_latents > most)
            most = s->transcoders[l]->info.n_latents;
    return most;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int take(const psc_latents *latents, void *payload) {
    graph_transcoder *t = payload;
    const graph_state *s = t->s;
    const int64_t first = latents->first;
    for (int32_t r = 0; r < latents->n_rows; r++) {
        const int64_t from = latents->begin[r], n = latents->begin[r + 1] - from;
        int32_t *ids = s->host->run_alloc(s->context, (uint64_t)n * sizeof *ids + 1);
        float *values = s->host->run_alloc(s->context, (uint64_t)n * sizeof *values + 1);
        if (!ids || !values) return -1;
        memcpy(ids, latents->ids + from, (size_t)n * sizeof *ids);
        memcpy(values, latents->values + from, (size_t)n * sizeof *values);
        t->active[first + r] = (graph_active){(int32_t)n, ids, values};
    }
    return s->host->dictionary_decode(
        s->context, t->handle, latents, t->normal->data, t->normal->stride[0], t->y + first * s->n);
}

static int encode(graph_transcoder *t) {
    graph_state *s = t->s;
    const psc_host *host = s->host;
    const uint64_t rows = (uint64_t)s->n_rows, size = rows * (uint64_t)s->n * sizeof(float);
    t->active = host->run_alloc(s->context, rows * sizeof *t->active);
    t->y = host->run_alloc(s->context, size);
    t->m = host->run_alloc(s->context, size);
    t->skip = t->info.has_skip ? host->run_alloc(s->context, size) : NULL;
    if (!t->active || !t->y || !t->m || (t->info.has_skip && !t->skip)) return -1;
    for (int32_t j = 0; j < s->n_rows; j++)
        for (int64_t i = 0; i < s->n; i++)
            t->m[j * s->n + i] =
                fmaf(t->gamma[i], t->normal->data[j * t->normal->stride[0] + i], t->beta[i]);
    if (t->skip && host->dictionary_skip(s->context, t->handle, 0, t->skip, t->m, s->n_rows))
        return -1;
    return host->dictionary_encode(
        s->context, t->handle, t->normal->data, t->normal->stride[0], s->n_rows, take, t);
}

int graph_latents_encode(graph_state *s) {
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        graph_transcoder *t = s->transcoders[l];
        if (!t) continue;
        t->normal = &s->kept[KEPT_NORMAL2 * s->model->n_layers + l];
        if (encode(t)) return -1;
    }
    return 0;
}

/* e and d of n latents. */
static int vectors(graph_transcoder *t, int32_t n, const int32_t *ids) {
    const graph_state *s = t->s;
    return s->host->dictionary_vectors(
               s->context, t->handle, PSC_DICTIONARY_ENCODER, n, ids, t->e) ||
           s->host->dictionary_vectors(s->context, t->handle, PSC_DICTIONARY_DECODER, n, ids, t->d);
}

/* --- the pull-back --------------------------------------------------------------------------- */

/* h += sum_i A_i e_i over the latents of a row; offers them; adds their constants. */
static int pull_row(graph_transcoder *t, int32_t j, const float *g, double *h) {
    graph_state *s = t->s;
    const graph_active *row = &t->active[j];
    for (int32_t from = 0; from < row->n; from += AT_ONCE) {
        const int32_t n = row->n - from < AT_ONCE ? row->n - from : AT_ONCE;
        if (vectors(t, n, row->ids + from)) return -1;
        for (int32_t k = 0; k < n; k++) {
            const int32_t latent = row->ids[from + k];
            const float *e = t->e + k * s->n;
            const double a = psc_dot_striped(s->n, g, t->d + k * s->n);
            graph_offer(
                s, NODE_LATENT, t->info.out_layer, latent, j, a * (double)row->values[from + k]);
            graph_add_source(s, j, a * (double)t->info.b_latent[latent]);
            for (int64_t i = 0; i < s->n; i++) h[i] += a * (double)e[i];
        }
    }
    return 0;
}

/* g . (l_mlp_out - y) */
static double error_flow(const graph_transcoder *t, int32_t j, const float *g) {
    const graph_state *s = t->s;
    const float *write = graph_kept(s, KEPT_MLP_OUT, t->info.out_layer, j);
    return psc_dot_striped(s->n, g, write) - psc_dot_striped(s->n, g, t->y + j * s->n);
}

int graph_latents_pull(graph_state *s, int32_t layer, const float *g, float *d2) {
    graph_transcoder *t = s->transcoders[layer];
    const psc_host *host = s->host;
    double *h = host->run_alloc(s->context, (uint64_t)s->n * sizeof *h);
    if (!h || host->dictionary_skip(s->context, t->handle, 1, d2, g, s->n_rows)) return -1;
    for (int32_t j = 0; j < s->n_rows; j++, g += s->n, d2 += s->n) {
        for (int64_t i = 0; i < s->n; i++) h[i] = (double)d2[i];
        if (pull_row(t, j, g, h)) return -1;
        for (int64_t i = 0; i < s->n; i++) d2[i] = (float)h[i];
        const double bias = psc_dot_striped(s->n, g, t->info.b_dec), error = error_flow(t, j, g);
        graph_add_source(s, j, bias);
        graph_add_source(s, j, error);
        graph_add_source(s, j, psc_dot_striped(s->n, d2, t->beta));
        graph_offer(s, NODE_MLP_BIAS, layer, 0, j, bias);
        graph_offer(s, NODE_MLP_ERROR, layer, 0, j, error);
        if (t->skip)
            graph_offer(
                s, NODE_MLP_SKIP, layer, 0, j, psc_dot_striped(s->n, g, t->skip + j * s->n));
        graph_center(s->n, t->gamma, d2, 1.0 / (double)*graph_kept(s, KEPT_SCALE2, layer, j), d2);
    }
    return 0;
}

/* --- links ----------------------------------------------------------------------------------- */

int graph_latents_read(graph_state *s, graph_node *node, float *e) {
    graph_transcoder *t = s->transcoders[node->layer];
    const float *g = s->g + ((int64_t)(node->layer + 1) * s->n_rows + node->row) * s->n;
    if (node->kind == NODE_MLP_SKIP) {
        if (s->host->dictionary_skip(s->context, t->handle, 1, e, g, 1)) return -1;
    } else {
        if (vectors(t, 1, &node->index)) return -1;
        const double a = psc_dot_striped(s->n, g, t->d);
        node->bias = a * (double)t->info.b_latent[node->index];
        for (int64_t i = 0; i < s->n; i++) e[i] = (float)(a * (double)t->e[i]);
    }
    node->bias += psc_dot_striped(s->n, e, t->beta);
    graph_center(s->n, t->gamma, e, 1.0, e);
    return 0;
}

double graph_latents_value(const graph_state *s, int32_t layer, int32_t row, int32_t latent) {
    const graph_active *active = &s->transcoders[layer]->active[row];
    for (int32_t i = 0; i < active->n; i++)
        if (active->ids[i] == latent) return (double)active->values[i];
    return 0.0;
}

const float *graph_latents_write(graph_state *s, const graph_node *node, float *out) {
    graph_transcoder *t = s->transcoders[node->layer];
    const int64_t at = node->row * s->n;
    if (node->kind == NODE_MLP_BIAS) return t->info.b_dec;
    if (node->kind == NODE_MLP_SKIP) return t->skip + at;
    if (node->kind == NODE_LATENT) {
        if (s->host->dictionary_vectors(
                s->context, t->handle, PSC_DICTIONARY_DECODER, 1, &node->index, out))
            return NULL;
        const double f = graph_latents_value(s, node->layer, node->row, node->index);
        for (int64_t i = 0; i < s->n; i++) out[i] = (float)(f * (double)out[i]);
        return out;
    }
    const float *write = graph_kept(s, KEPT_MLP_OUT, node->layer, node->row);
    for (int64_t i = 0; i < s->n; i++) out[i] = write[i] - t->y[at + i];
    return out;
}
