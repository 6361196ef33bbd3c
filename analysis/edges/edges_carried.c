/* What a kept edge carries: its share split by the writers of the residual that it reads. An arrow
 * then shows the writer's layer and the reader's layer.
 *
 *   share = A_kj/(sigma_f sigma_j) u . W_O W_V (gamma1 * P(x_j))
 *         + A_kj/sigma_f u . W_O (W_V beta1 + b_V)
 *
 *   with w = W_V^T (W_O,h^T u) [N]:
 *     writer c's part   A_kj P(gamma1 * w) . c_j/(sigma_j sigma_f)
 *     beta1's           A_kj w . beta1/sigma_f
 *     b_V's             A_kj (W_O,h^T u) . b_V/sigma_f
 *     edit              what editors add between the writers and v (edges_edits.c) */
#include "edges.h"

#include <string.h>

typedef struct carrier {
    edges_state *s;
    int with_edit;        /* an editor adds between the writers and v */
    int64_t n_writers;    /* of all layers */
    int64_t n_components; /* the writers, ln1.b, attn.b_V and, if with_edit, edit */
    double *out;          /* [targets, rows, top, components] */
    int64_t *cells;       /* [edges of the layer] (target * rows + row) * top + rank */
    int32_t n;
} carrier;

static const edge *edge_of(const carrier *c, int32_t i) {
    const int64_t cell = c->cells[i];
    return &c->s->lists[cell / c->s->top].edges[cell % c->s->top];
}

static void find_edges(carrier *c, int32_t layer) {
    const edges_state *s = c->s;
    c->n = 0;
    for (int64_t at = 0; at < (int64_t)s->targets.n * s->targets.rows.n; at++)
        for (int32_t i = 0; i < s->lists[at].n; i++)
            if (s->lists[at].edges[i].layer == layer) c->cells[c->n++] = at * s->top + i;
}

/* W_O,h^T u of every edge, at its head's columns [n, H*D], times A/sigma_f. */
static int pull_targets(const carrier *c, int32_t layer, float *u, float *heads) {
    const edges_state *s = c->s;
    const int64_t n = s->model->d_model, size = s->model->d_head, width = s->model->n_heads * size;
    for (int32_t i = 0; i < c->n; i++) {
        const int32_t d = s->directions.which[c->cells[i] / s->top];
        memcpy(u + i * n, s->directions.u + d * n, (size_t)n * sizeof *u);
    }
    if (s->host->pullback(s->context, PSC_W_O, layer, heads, u, c->n)) return -1;
    for (int32_t i = 0; i < c->n; i++) {
        const edge *e = edge_of(c, i);
        const float sigma = s->sigma[c->cells[i] / s->top % s->targets.rows.n];
        float *row = heads + i * width;
        for (int64_t d = 0; d < width; d++)
            row[d] = d / size == e->head ? row[d] * (e->weight / sigma) : 0.0f;
    }
    return 0;
}

/* A layer's edges, gathered. */
typedef struct layer_edges {
    float *u, *w;     /* [n, N] u, then P(gamma1 * w)/sigma_j; w, then gamma1 * w */
    float *heads;     /* [n, H*D] */
    int32_t *sources; /* [n] rows read */
    double *shares;   /* [n, components] */
} layer_edges;

static int gather_layer(const carrier *c, int32_t layer, layer_edges *e) {
    const edges_state *s = c->s;
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->model->d_model, rows = (uint64_t)c->n;
    const uint64_t width = (uint64_t)s->model->n_heads * (uint64_t)s->model->d_head;
    e->u = host->run_alloc(s->context, rows * n * sizeof *e->u);
    e->w = host->run_alloc(s->context, rows * n * sizeof *e->w);
    e->heads = host->run_alloc(s->context, rows * width * sizeof *e->heads);
    e->sources = host->run_alloc(s->context, rows * sizeof *e->sources);
    e->shares = host->run_alloc(s->context, rows * (uint64_t)c->n_components * sizeof *e->shares);
    if (!e->u || !e->w || !e->heads || !e->sources || !e->shares) return -1;
    for (int32_t i = 0; i < c->n; i++) e->sources[i] = edge_of(c, i)->source;
    return pull_targets(c, layer, e->u, e->heads) ||
           host->pullback(s->context, PSC_W_V, layer, e->w, e->heads, c->n);
}

static int carry_layer(carrier *c, int32_t layer) {
    edges_state *s = c->s;
    const psc_host *host = s->host;
    const int64_t n = s->model->d_model, width = (int64_t)s->model->n_heads * s->model->d_head;
    const float *gamma, *beta, *bias = host->bias(s->context, PSC_W_V, layer);
    psc_event scale;
    layer_edges e;
    find_edges(c, layer);
    if (c->n == 0) return 0;
    if (!bias || gather_layer(c, layer, &e) ||
        host->ln_parameters(s->context, PSC_LN1, layer, &gamma, &beta) ||
        host->fetch(s->context, s->handle_scale, layer, &scale))
        return -1;
    for (int32_t i = 0; i < c->n; i++) {
        float *u = e.u + i * n, *w = e.w + i * n, *heads = e.heads + i * width;
        double *out = e.shares + i * c->n_components + c->n_writers;
        const double sigma = (double)scale.tensor.data[e.sources[i] * scale.tensor.stride[0]];
        out[0] = psc_dot_striped(n, w, beta);
        out[1] = psc_dot_striped(width, heads, bias);
        for (int64_t d = 0; d < n; d++) w[d] = gamma[d] * w[d];
        const double mean = psc_sum_striped(n, w) / (double)n;
        for (int64_t d = 0; d < n; d++) u[d] = (float)(((double)w[d] - mean) / sigma);
        if (c->with_edit) out[2] = edges_edit_share(s, layer, e.sources[i], u, w, heads);
    }
    if (psc_writers_shares(&s->writers, layer, c->n, e.sources, e.u, e.shares, c->n_components))
        return -1;
    for (int32_t i = 0; i < c->n; i++)
        memcpy(c->out + c->cells[i] * c->n_components, e.shares + i * c->n_components,
            (size_t)c->n_components * sizeof *e.shares);
    return 0;
}

int edges_carried(edges_state *s) {
    static const char *const axes[] = {"targets", "rows", "rank", "components"};
    const psc_host *host = s->host;
    const int32_t last = s->model->n_layers - 1;
    carrier c = {.s = s, .with_edit = edges_edits_expected(s)};
    c.n_writers = psc_writers_count(s->model, last);
    c.n_components = c.n_writers + 2 + c.with_edit;
    const char **labels = host->run_alloc(s->context, (uint64_t)c.n_components * sizeof *labels);
    c.cells = host->run_alloc(s->context,
        (uint64_t)s->targets.n * (uint64_t)s->targets.rows.n * (uint64_t)s->top * sizeof *c.cells);
    if (!labels || !c.cells || psc_writers_labels(s->context, host, last, labels)) return -1;
    labels[c.n_writers] = "ln1.b";
    labels[c.n_writers + 1] = "attn.b_V";
    if (c.with_edit) labels[c.n_writers + 2] = host->label(s->context, PSC_COMPONENT_EDIT, 0, 0);
    if (host->axis_labels(s->context, "components", c.n_components, labels)) return -1;
    c.out = host->array(s->context, "carried", PSC_F64, 4, axes);
    if (!c.out) return -1;
    for (int32_t l = 0; l <= last; l++)
        if (carry_layer(&c, l)) return -1;
    return 0;
}
