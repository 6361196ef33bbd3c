/* Links among the kept nodes. A reader R takes s_R(j) e_R . x_j from the residual of row j:
 *
 *   logit          e = u                                     s = 1/sigma_f at its row
 *   head (l,h,k)   e = P(gamma1 * W_V,h^T o_k)               s = A_kj/sigma1_j for j <= k
 *   MLP (l,j)      e = P(gamma2 * W_in^T(Phi * W_out^T g_j))    s = 1/sigma2_j
 *   neuron         the same with its own row of W_in
 *   latent, skip   of a transcoder: graph_latents.c
 *
 * and a writer's link is s_R(row) e_R . c: of a head z . (W_O^T e_R), of a neuron g(a) W_out^T e_R.
 * All readers are pulled back together. At every node in + bias = flow is checked, with in taken
 * from the residual. */
#include "graph.h"

#include <math.h>
#include <string.h>

typedef struct linker {
    graph_state *s;
    float *e;                 /* [nodes, N] */
    float *heads;             /* [nodes, H*D] */
    float *hidden;            /* [nodes, max(M, N)] */
    float *g, *m;             /* [nodes, N] of a layer's MLP readers */
    float *gate;              /* [M] */
    float *write;             /* [N] of a writer of a transcoder */
    int32_t *list;            /* [nodes] a layer's readers */
    const float *b_o, *b_out; /* [N] of the writers' layer */
} linker;

/* Whether the writer's layer and kind are upstream of the reader. */
static int reads(const graph_state *s, const graph_node *reader, const graph_node *writer) {
    if (writer->kind == NODE_LOGIT || reader->kind == NODE_EMBED) return 0;
    if (reader->kind == NODE_ATTN_BIAS || reader->kind == NODE_MLP_BIAS ||
        reader->kind == NODE_MLP_ERROR)
        return 0;
    if (reader->kind == NODE_LOGIT || writer->layer < reader->layer) return 1;
    const int attention = writer->kind == NODE_HEAD || writer->kind == NODE_ATTN_BIAS;
    return !s->model->parallel_residual && attention && writer->layer == reader->layer &&
           reader->kind != NODE_HEAD;
}

/* s_R(j) */
static double factor(const graph_state *s, const graph_node *reader, int32_t j) {
    const int32_t l = reader->layer;
    if (reader->kind == NODE_LOGIT) return j == reader->row ? 1.0 / (double)s->sigma : 0.0;
    if (reader->kind != NODE_HEAD)
        return j == reader->row ? 1.0 / (double)*graph_kept(s, KEPT_SCALE2, l, j) : 0.0;
    if (j > reader->row) return 0.0;
    const float *pattern =
        graph_kept(s, KEPT_PATTERN, l, reader->row) + (int64_t)reader->index * s->n_rows;
    return (double)pattern[j] / (double)*graph_kept(s, KEPT_SCALE1, l, j);
}

/* --- readers --------------------------------------------------------------------------------- */

static int head_readers(linker *k, int32_t layer) {
    graph_state *s = k->s;
    const psc_host *host = s->host;
    const int64_t size = s->model->d_head;
    const float *gamma, *beta, *b_v = host->bias(s->context, PSC_W_V, layer);
    int32_t list_n = 0, *list = k->list;
    if (!b_v || host->ln_parameters(s->context, PSC_LN1, layer, &gamma, &beta)) return -1;
    for (int32_t i = 0; i < s->n_nodes; i++)
        if (s->nodes[i].kind == NODE_HEAD && s->nodes[i].layer == layer) list[list_n++] = i;
    if (list_n == 0) return 0;
    float *w = k->hidden; /* [list, N]; hidden has max(M, N) columns */
    memset(k->heads, 0, (size_t)(list_n * s->width) * sizeof *k->heads);
    for (int32_t i = 0; i < list_n; i++) {
        const graph_node *node = &s->nodes[list[i]];
        const int64_t at = node->index * size;
        const float *o = s->o + ((int64_t)layer * s->n_rows + node->row) * s->width + at;
        memcpy(k->heads + i * s->width + at, o, (size_t)size * sizeof *o);
    }
    if (host->pullback(s->context, PSC_W_V, layer, w, k->heads, list_n)) return -1;
    for (int32_t i = 0; i < list_n; i++) {
        graph_node *node = &s->nodes[list[i]];
        const float *pattern =
            graph_kept(s, KEPT_PATTERN, layer, node->row) + (int64_t)node->index * s->n_rows;
        const double once = psc_dot_striped(s->width, k->heads + i * s->width, b_v) +
                            psc_dot_striped(s->n, w + i * s->n, beta);
        node->bias = once * psc_sum_striped(node->row + 1, pattern);
        graph_center(s->n, gamma, w + i * s->n, 1.0, k->e + list[i] * s->n);
    }
    return 0;
}

/* One row of W_out^T g, gated; for a neuron only its own entry. */
static void hidden_row(linker *k, const graph_node *node, float *hidden) {
    const graph_state *s = k->s;
    psc_gates(
        s->context, s->host, s->m, graph_kept(s, KEPT_MLP_PRE, node->layer, node->row), k->gate);
    for (int64_t i = 0; i < s->m; i++)
        hidden[i] = node->kind == NODE_MLP || i == node->index ? hidden[i] * k->gate[i] : 0.0f;
}

static int latent_readers(linker *k, int32_t layer) {
    graph_state *s = k->s;
    for (int32_t i = 0; i < s->n_nodes; i++) {
        graph_node *node = &s->nodes[i];
        if ((node->kind == NODE_LATENT || node->kind == NODE_MLP_SKIP) && node->layer == layer &&
            graph_latents_read(s, node, k->e + i * s->n))
            return -1;
    }
    return 0;
}

static int mlp_readers(linker *k, int32_t layer) {
    graph_state *s = k->s;
    const psc_host *host = s->host;
    const float *gamma, *beta, *b_in = host->bias(s->context, PSC_W_IN, layer);
    const float *b_out = host->bias(s->context, PSC_W_OUT, layer);
    float *g = k->g, *m = k->m;
    int32_t n = 0, *list = k->list;
    if (!b_in || !b_out || host->ln_parameters(s->context, PSC_LN2, layer, &gamma, &beta))
        return -1;
    for (int32_t i = 0; i < s->n_nodes; i++)
        if ((s->nodes[i].kind == NODE_MLP || s->nodes[i].kind == NODE_NEURON) &&
            s->nodes[i].layer == layer)
            list[n++] = i;
    if (n == 0) return 0;
    const float *after = s->g + (int64_t)(layer + 1) * s->n_rows * s->n;
    for (int32_t i = 0; i < n; i++)
        memcpy(g + i * s->n, after + s->nodes[list[i]].row * s->n, (size_t)s->n * sizeof *g);
    if (host->pullback(s->context, PSC_W_OUT, layer, k->hidden, g, n)) return -1;
    for (int32_t i = 0; i < n; i++) hidden_row(k, &s->nodes[list[i]], k->hidden + i * s->m);
    if (host->pullback(s->context, PSC_W_IN, layer, m, k->hidden, n)) return -1;
    for (int32_t i = 0; i < n; i++) {
        graph_node *node = &s->nodes[list[i]];
        node->bias = psc_dot_striped(s->m, k->hidden + i * s->m, b_in) +
                     psc_dot_striped(s->n, m + i * s->n, beta);
        if (node->kind == NODE_MLP) node->bias += psc_dot_striped(s->n, g + i * s->n, b_out);
        graph_center(s->n, gamma, m + i * s->n, 1.0, k->e + list[i] * s->n);
    }
    return 0;
}

/* Compares each reader's inflow from all sources, taken from the residual, with its flow. */
static void check_readers(linker *k) {
    graph_state *s = k->s;
    for (int32_t i = 0; i < s->n_nodes; i++) {
        graph_node *node = &s->nodes[i];
        if (node->kind != NODE_HEAD && node->kind != NODE_MLP && node->kind != NODE_NEURON &&
            node->kind != NODE_LATENT && node->kind != NODE_MLP_SKIP)
            continue;
        const int after_attention = node->kind != NODE_HEAD && !s->model->parallel_residual;
        double sum = node->bias, sum_abs = fabs(node->bias), largest = 0.0;
        node->most_read = -1;
        for (int32_t j = 0; j <= node->row; j++) {
            const double by = factor(s, node, j);
            if (by == 0.0) continue;
            const float *x = graph_kept(s, after_attention ? KEPT_MID : KEPT_PRE, node->layer, j);
            const double in = by * psc_dot_striped(s->n, k->e + i * s->n, x);
            sum += in;
            sum_abs += fabs(in);
            if (fabs(in) > largest) node->most_read = j;
            largest = fmax(largest, fabs(in));
        }
        node->error = fabs(sum - node->flow) / (1.0 + sum_abs);
    }
}

/* --- links ----------------------------------------------------------------------------------- */

/* write: null, or what a writer of a transcoder writes [N]. */
static double written(const linker *k, int32_t reader, const graph_node *w, const float *write) {
    const graph_state *s = k->s;
    const int64_t size = s->model->d_head;
    const float *e = k->e + reader * s->n;
    float pre, gate;
    if (write) return psc_dot_striped(s->n, e, write);
    switch (w->kind) {
    case NODE_EMBED:
        return psc_dot_striped(s->n, e, graph_kept(s, KEPT_EMBED, -1, w->row));
    case NODE_HEAD:
        return psc_dot_striped(size, k->heads + reader * s->width + w->index * size,
            graph_kept(s, KEPT_Z, w->layer, w->row) + w->index * size);
    case NODE_ATTN_BIAS:
        return psc_dot_striped(s->n, e, k->b_o);
    case NODE_MLP:
        return psc_dot_striped(s->n, e, graph_kept(s, KEPT_MLP_OUT, w->layer, w->row));
    case NODE_MLP_BIAS:
        return psc_dot_striped(s->n, e, k->b_out);
    default:
        pre = graph_kept(s, KEPT_MLP_PRE, w->layer, w->row)[w->index];
        psc_gates(s->context, s->host, 1, &pre, &gate);
        return (double)(pre * gate) * (double)k->hidden[reader * s->m + w->index];
    }
}

static void add_link(graph_state *s, int32_t source, int32_t target, double weight) {
    if (weight == 0.0) return;
    s->links[s->n_links++] = (graph_link){source, target, weight};
    s->nodes[source].out += weight;
    s->nodes[target].in += weight;
}

/* Links from all kept writers of one layer (-1: embeddings). */
static int layer_links(linker *k, int32_t layer) {
    graph_state *s = k->s;
    const psc_host *host = s->host;
    if (layer >= 0) {
        k->b_o = host->bias(s->context, PSC_W_O, layer);
        k->b_out = host->bias(s->context, PSC_W_OUT, layer);
        if (!k->b_o || !k->b_out ||
            host->pullback(s->context, PSC_W_O, layer, k->heads, k->e, s->n_nodes) ||
            (s->neurons &&
                host->pullback(s->context, PSC_W_OUT, layer, k->hidden, k->e, s->n_nodes)))
            return -1;
    }
    for (int32_t w = 0; w < s->n_nodes; w++) {
        const graph_node *writer = &s->nodes[w];
        if (writer->kind == NODE_LOGIT || writer->layer != layer) continue;
        const int replaced = writer->kind >= NODE_MLP && s->transcoders[layer];
        const float *write = replaced ? graph_latents_write(s, writer, k->write) : NULL;
        if (replaced && !write) return -1;
        for (int32_t r = 0; r < s->n_nodes; r++) {
            const graph_node *reader = &s->nodes[r];
            if (!reads(s, reader, writer)) continue;
            const double by = factor(s, reader, writer->row);
            if (by != 0.0) add_link(s, w, r, by * written(k, r, writer, write));
        }
    }
    return 0;
}

static int make_linker(linker *k) {
    graph_state *s = k->s;
    const psc_host *host = s->host;
    const uint64_t nodes = (uint64_t)s->n_nodes, size = sizeof(float), n = (uint64_t)s->n;
    const uint64_t wide = (uint64_t)(s->m > s->n ? s->m : s->n);
    k->e = host->run_alloc(s->context, nodes * n * size);
    k->heads = host->run_alloc(s->context, nodes * (uint64_t)s->width * size);
    k->hidden = host->run_alloc(s->context, nodes * wide * size);
    k->g = host->run_alloc(s->context, nodes * n * size);
    k->m = host->run_alloc(s->context, nodes * n * size);
    k->gate = host->run_alloc(s->context, (uint64_t)s->m * size);
    k->write = host->run_alloc(s->context, n * size);
    k->list = host->run_alloc(s->context, nodes * sizeof *k->list);
    s->links = host->run_alloc(s->context, nodes * nodes * sizeof *s->links);
    return k->e && k->heads && k->hidden && k->g && k->m && k->gate && k->write && k->list &&
                   s->links
               ? 0
               : -1;
}

int graph_make_links(graph_state *s) {
    linker k = {.s = s};
    if (make_linker(&k)) return -1;
    memcpy(k.e, s->u, (size_t)s->n * sizeof *k.e);
    s->nodes[0].bias = s->constant;
    for (int32_t l = 0; l < s->model->n_layers; l++)
        if (head_readers(&k, l) || mlp_readers(&k, l) || latent_readers(&k, l)) return -1;
    check_readers(&k);
    for (int32_t l = -1; l < s->model->n_layers; l++)
        if (layer_links(&k, l)) return -1;
    return 0;
}
