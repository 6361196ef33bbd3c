/* Why a kept head looks at the row that it reads most (Neuronpedia's QK tracing).
 *
 *   head (l, h) at row k, j the row of its largest |inflow|; s = rot_k(q) . rot_j(k)/sqrt(D),
 *   q = W_Q LN1(x_k) + b_Q, k = W_K LN1(x_j) + b_K, sigma held: linear in the writers of both rows
 *   query side: w = W_Q^T rot_k^-1(rot_j(k)), g = P(gamma1 * w)/(sigma_k sqrt(D)), share of c: g . c
 *   key side: the same with W_K, rot_j^-1(rot_k(q)) and sigma_j
 *   pairs of the largest of both sides: rot_k(W_Q n_c) . rot_j(W_K n_d)/sqrt(D),
 *     n_c = gamma1 * P(c)/sigma
 *
 * The heads of a layer are pulled back together. beta1 and the biases of q and k are no writers. */
#include "graph.h"

#include <math.h>
#include <string.h>

typedef struct tracer {
    graph_state *s;
    psc_writers writers;
    int32_t layer, n;    /* heads of the layer */
    int32_t *list;       /* [n] their nodes */
    int32_t *rows;       /* [2 n] query rows, then key rows */
    float *x, *g;        /* [2 n, N] what LN1 gives; directions */
    float *y, *v;        /* [2 n, H*D] q and k, rotated; pulled to the other row */
    double *shares;      /* [2 n, writers before the last layer] */
    float *write, *read; /* [H*D]; [2 TRACED, N] */
    float *parts;        /* [2 TRACED, H*D] */
    const float *gamma, *beta;
} tracer;

/* y = gamma P(x)/sigma, + beta if given: what W_Q, W_K and W_V read. */
static void as_read(const tracer *t, const float *x, int32_t row, const float *beta, float *y) {
    const int64_t n = t->s->n;
    const double sigma = (double)*graph_kept(t->s, KEPT_SCALE1, t->layer, row);
    const double mean = psc_sum_striped(n, x) / (double)n;
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - mean) / sigma * (double)t->gamma[i] +
                       (beta ? (double)beta[i] : 0.0));
}

/* Where a head's part of row i of a table [.., H*D] begins. */
static float *head_at(const tracer *t, float *table, int32_t i, const graph_node *node) {
    return table + i * t->s->width + (int64_t)node->index * t->s->model->d_head;
}

static int rotated(const tracer *t, int32_t row, int inverse, float *x) {
    return t->s->host->rotate(t->s->context, t->s->rows[row].position, inverse, x);
}

/* q and k of all heads, rotated, and the directions in which the writers of
 * both rows are measured. */
static int make_directions(tracer *t) {
    graph_state *s = t->s;
    const psc_host *host = s->host;
    const int64_t size = s->model->d_head, half = t->n * s->width;
    const float *b[] = {
        host->bias(s->context, PSC_W_Q, t->layer), host->bias(s->context, PSC_W_K, t->layer)};
    const double root = 1.0 / sqrt((double)size);
    if (!b[0] || !b[1]) return -1;
    for (int32_t i = 0; i < 2 * t->n; i++)
        as_read(
            t, graph_kept(s, KEPT_PRE, t->layer, t->rows[i]), t->rows[i], t->beta, t->x + i * s->n);
    memset(t->v, 0, (size_t)(2 * half) * sizeof *t->v);
    for (int side = 0; side < 2; side++) {
        const psc_matrix matrix = side == SIDE_QUERY ? PSC_W_Q : PSC_W_K;
        if (host->apply(
                s->context, matrix, t->layer, t->y + side * half, t->x + side * t->n * s->n, t->n))
            return -1;
    }
    for (int32_t i = 0; i < 2 * t->n; i++) {
        const graph_node *node = &s->nodes[t->list[i % t->n]];
        const int32_t other = (i + t->n) % (2 * t->n);
        float *y = head_at(t, t->y, i, node), *v = head_at(t, t->v, other, node);
        const float *bias = b[i / t->n] + node->index * size;
        for (int64_t d = 0; d < size; d++) y[d] += bias[d];
        if (rotated(t, t->rows[i], 0, y)) return -1;
        memcpy(v, y, (size_t)size * sizeof *v);
        if (rotated(t, t->rows[other], 1, v)) return -1;
    }
    if (host->pullback(s->context, PSC_W_Q, t->layer, t->g, t->v, t->n) ||
        host->pullback(s->context, PSC_W_K, t->layer, t->g + t->n * s->n, t->v + half, t->n))
        return -1;
    for (int32_t i = 0; i < 2 * t->n; i++)
        graph_center(s->n, t->gamma, t->g + i * s->n,
            root / (double)*graph_kept(s, KEPT_SCALE1, t->layer, t->rows[i]), t->g + i * s->n);
    return 0;
}

/* --- pairs ----------------------------------------------------------------------------------- */

graph_node graph_writer_node(const graph_state *s, int32_t writer, int32_t row) {
    const int32_t heads = s->model->n_heads, of_layer = heads + 2;
    graph_node node = {.kind = NODE_EMBED, .layer = -1, .row = row};
    if (writer == 0) return node;
    node.layer = (writer - 1) / of_layer;
    const int32_t place = (writer - 1) % of_layer;
    node.kind = place < heads ? NODE_HEAD : place == heads ? NODE_ATTN_BIAS : NODE_MLP;
    node.index = place < heads ? place : 0;
    return node;
}

/* What a writer wrote at a row, as the layer's LN1 passes it on [N]. */
static int read_writer(tracer *t, int32_t writer, int32_t row, float *out) {
    graph_state *s = t->s;
    const psc_host *host = s->host;
    const int64_t size = s->model->d_head;
    const graph_node node = graph_writer_node(s, writer, row);
    const float *from = out;
    if (node.kind == NODE_HEAD) {
        const int64_t at = node.index * size;
        memset(t->write, 0, (size_t)s->width * sizeof *t->write);
        memcpy(t->write + at, graph_kept(s, KEPT_Z, node.layer, row) + at,
            (size_t)size * sizeof *t->write);
        if (host->apply(s->context, PSC_W_O, node.layer, out, t->write, 1)) return -1;
    } else if (node.kind == NODE_ATTN_BIAS)
        from = host->bias(s->context, PSC_W_O, node.layer);
    else if (node.kind == NODE_MLP)
        from = graph_kept(s, KEPT_MLP_OUT, node.layer, row);
    else
        from = graph_kept(s, KEPT_EMBED, -1, row);
    if (!from) return -1;
    as_read(t, from, row, NULL, out);
    return 0;
}

/* Each part's q or k of the head, rotated, [n, H*D] of which the head's columns count. */
static int make_parts(tracer *t, const graph_node *node, const graph_trace *trace, int side) {
    graph_state *s = t->s;
    const int32_t row = side == SIDE_QUERY ? node->row : node->most_read, n = trace->n[side];
    float *parts = t->parts + side * TRACED * s->width;
    for (int32_t i = 0; i < n; i++) {
        const graph_score *score = &trace->scores[side][i];
        const int32_t writer = side == SIDE_QUERY ? score->query : score->key;
        if (read_writer(t, writer, row, t->read + i * s->n)) return -1;
    }
    if (n > 0 && s->host->apply(s->context, side == SIDE_QUERY ? PSC_W_Q : PSC_W_K, t->layer, parts,
                     t->read, n))
        return -1;
    for (int32_t i = 0; i < n; i++)
        if (rotated(t, row, 0, head_at(t, parts, i, node))) return -1;
    return 0;
}

static int make_pairs(tracer *t, const graph_node *node, graph_trace *trace) {
    const int64_t size = t->s->model->d_head;
    const double root = 1.0 / sqrt((double)size);
    psc_ranked ranked[TRACED];
    psc_top_list top = {ranked, TRACED, 0};
    if (make_parts(t, node, trace, SIDE_QUERY) || make_parts(t, node, trace, SIDE_KEY)) return -1;
    for (int32_t i = 0; i < trace->n[SIDE_QUERY] * trace->n[SIDE_KEY]; i++) {
        const int32_t a = i / trace->n[SIDE_KEY], b = i % trace->n[SIDE_KEY];
        const double share = root * psc_dot_striped(size, head_at(t, t->parts, a, node),
                                        head_at(t, t->parts, TRACED + b, node));
        const int32_t place = psc_top_offer(&top, fabs(share), i);
        if (place < 0) continue;
        graph_score *to =
            psc_top_room(&top, place, trace->scores[SIDE_PAIR], sizeof trace->scores[0][0]);
        *to = (graph_score){
            trace->scores[SIDE_QUERY][a].query, trace->scores[SIDE_KEY][b].key, share};
    }
    trace->n[SIDE_PAIR] = top.n;
    return 0;
}

/* --- layers ---------------------------------------------------------------------------------- */

static void keep_largest(const double *shares, int64_t n, int side, graph_trace *trace) {
    psc_ranked ranked[TRACED];
    psc_top_list top = {ranked, TRACED, 0};
    psc_top_f64(&top, n, shares, PSC_TOP_ABSOLUTE);
    trace->n[side] = top.n;
    for (int32_t i = 0; i < top.n; i++) {
        const int32_t writer = (int32_t)top.at[i].index;
        trace->scores[side][i] = (graph_score){
            side == SIDE_QUERY ? writer : -1, side == SIDE_KEY ? writer : -1, shares[writer]};
    }
}

static int trace_layer(tracer *t) {
    graph_state *s = t->s;
    const int64_t n_writers = psc_writers_count(s->model, t->layer);
    t->n = 0;
    for (int32_t i = 0; i < s->n_nodes; i++)
        if (s->nodes[i].kind == NODE_HEAD && s->nodes[i].layer == t->layer &&
            s->nodes[i].most_read >= 0)
            t->list[t->n++] = i;
    if (t->n == 0) return 0;
    for (int32_t i = 0; i < t->n; i++) {
        t->rows[i] = s->nodes[t->list[i]].row;
        t->rows[t->n + i] = s->nodes[t->list[i]].most_read;
    }
    if (s->host->ln_parameters(s->context, PSC_LN1, t->layer, &t->gamma, &t->beta) ||
        make_directions(t) ||
        psc_writers_shares(&t->writers, t->layer, 2 * t->n, t->rows, t->g, t->shares, n_writers))
        return -1;
    for (int32_t i = 0; i < t->n; i++) {
        graph_trace *trace = &s->traces[t->list[i]];
        keep_largest(t->shares + i * n_writers, n_writers, SIDE_QUERY, trace);
        keep_largest(t->shares + (t->n + i) * n_writers, n_writers, SIDE_KEY, trace);
        if (make_pairs(t, &s->nodes[t->list[i]], trace)) return -1;
    }
    return 0;
}

/* The most kept heads of one layer. */
static int32_t widest_layer(const graph_state *s) {
    int32_t most = 0;
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        int32_t n = 0;
        for (int32_t i = 0; i < s->n_nodes; i++)
            n += s->nodes[i].kind == NODE_HEAD && s->nodes[i].layer == l;
        most = n > most ? n : most;
    }
    return most;
}

int graph_make_traces(graph_state *s) {
    const psc_host *host = s->host;
    tracer t = {.s = s,
        .writers = {s->context, host, s->model,
            {s->handles[KEPT_EMBED], s->handles[KEPT_Z], s->handles[KEPT_MLP_OUT]}}};
    const uint64_t heads = (uint64_t)widest_layer(s) + 1, n = (uint64_t)s->n;
    const uint64_t width = (uint64_t)s->width, size = sizeof(float);
    const uint64_t writers = (uint64_t)psc_writers_count(s->model, s->model->n_layers - 1);
    s->traces = host->run_alloc(s->context, (uint64_t)s->n_nodes * sizeof *s->traces);
    t.list = host->run_alloc(s->context, heads * sizeof *t.list);
    t.rows = host->run_alloc(s->context, 2 * heads * sizeof *t.rows);
    t.x = host->run_alloc(s->context, 2 * heads * n * size);
    t.g = host->run_alloc(s->context, 2 * heads * n * size);
    t.y = host->run_alloc(s->context, 2 * heads * width * size);
    t.v = host->run_alloc(s->context, 2 * heads * width * size);
    t.shares = host->run_alloc(s->context, 2 * heads * writers * sizeof *t.shares);
    t.write = host->run_alloc(s->context, width * size);
    t.read = host->run_alloc(s->context, TRACED * n * size);
    t.parts = host->run_alloc(s->context, 2 * TRACED * width * size);
    if (!s->traces || !t.list || !t.rows || !t.x || !t.g || !t.y || !t.v || !t.shares || !t.write ||
        !t.read || !t.parts)
        return -1;
    for (t.layer = 0; t.layer < s->model->n_layers; t.layer++)
        if (trace_layer(&t)) return -1;
    return 0;
}
