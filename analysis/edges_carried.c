/* What a kept edge carries: its share split by the writers of the residual it reads, so that the
 * layer of the writer and that of the reader both stand in the arrow.
 *
 *   share = A_kj/(sigma_f sigma_j) u . W_O W_V (gamma1 * P(x_j)) + A_kj/sigma_f u . W_O (W_V beta1
 * + b_V);  with w = W_V^T (W_O,h^T u) [N]:  writer c's part A_kj P(gamma1 * w) . c_j/(sigma_j
 *   sigma_f), beta1's A_kj w . beta1/sigma_f, b_V's A_kj (W_O,h^T u) . b_V/sigma_f */
#include "edges.h"

#include <string.h>

typedef struct carrier {
    edges_state *s;
    int64_t n_components; /* of all layers, then ln1.b and attn.b_V */
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

/* W_O,h^T u of every edge, in its head's place [n, H*D]; times A/sigma_f. */
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

static int carry_layer(carrier *c, int32_t layer) {
    edges_state *s = c->s;
    const psc_host *host = s->host;
    const int64_t n = s->model->d_model, width = (int64_t)s->model->n_heads * s->model->d_head;
    const float *gamma, *beta, *bias = host->bias(s->context, PSC_W_V, layer);
    psc_event scale;
    find_edges(c, layer);
    if (c->n == 0) return 0;
    const uint64_t rows = (uint64_t)c->n;
    float *u = host->run_alloc(s->context, rows * (uint64_t)n * sizeof *u);
    float *w = host->run_alloc(s->context, rows * (uint64_t)n * sizeof *w);
    float *heads = host->run_alloc(s->context, rows * (uint64_t)width * sizeof *heads);
    int32_t *sources = host->run_alloc(s->context, rows * sizeof *sources);
    double *shares = host->run_alloc(s->context, rows * (uint64_t)c->n_components * sizeof *shares);
    if (!bias || !u || !w || !heads || !sources || !shares || pull_targets(c, layer, u, heads) ||
        host->pullback(s->context, PSC_W_V, layer, w, heads, c->n) ||
        host->ln_parameters(s->context, PSC_LN1, layer, &gamma, &beta) ||
        host->fetch(s->context, s->handle_scale, layer, &scale))
        return -1;
    for (int32_t i = 0; i < c->n; i++) {
        double *out = shares + (i + 1) * c->n_components - 2;
        out[0] = psc_dot_striped(n, w + i * n, beta);
        out[1] = psc_dot_striped(width, heads + i * width, bias);
        sources[i] = edge_of(c, i)->source;
        const double sigma = (double)scale.tensor.data[sources[i] * scale.tensor.stride[0]];
        for (int64_t d = 0; d < n; d++) u[i * n + d] = gamma[d] * w[i * n + d];
        const double mean = psc_sum_striped(n, u + i * n) / (double)n;
        for (int64_t d = 0; d < n; d++)
            u[i * n + d] = (float)(((double)u[i * n + d] - mean) / sigma);
    }
    if (psc_writers_shares(&s->writers, layer, c->n, sources, u, shares, c->n_components))
        return -1;
    for (int32_t i = 0; i < c->n; i++)
        memcpy(c->out + c->cells[i] * c->n_components, shares + i * c->n_components,
            (size_t)c->n_components * sizeof *shares);
    return 0;
}

int edges_carried(edges_state *s) {
    static const char *const axes[] = {"targets", "rows", "rank", "components"};
    const psc_host *host = s->host;
    const int32_t last = s->model->n_layers - 1;
    carrier c = {.s = s, .n_components = psc_writers_count(s->model, last) + 2};
    const char **labels = host->run_alloc(s->context, (uint64_t)c.n_components * sizeof *labels);
    c.cells = host->run_alloc(s->context,
        (uint64_t)s->targets.n * (uint64_t)s->targets.rows.n * (uint64_t)s->top * sizeof *c.cells);
    if (!labels || !c.cells || psc_writers_labels(s->context, host, last, labels)) return -1;
    labels[c.n_components - 2] = "ln1.b";
    labels[c.n_components - 1] = "attn.b_V";
    if (host->axis_labels(s->context, "components", c.n_components, labels)) return -1;
    c.out = host->array(s->context, "carried", PSC_F64, 4, axes);
    if (!c.out) return -1;
    for (int32_t l = 0; l <= last; l++)
        if (carry_layer(&c, l)) return -1;
    return 0;
}
