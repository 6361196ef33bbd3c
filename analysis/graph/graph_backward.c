/* The target pulled back through the frozen-linear network (sigma, patterns and gates held).
 *
 *   g^L = u_t/sigma_f at the target's row, else 0.  With q = W_out^T g [M], Phi the gates:
 *   MLP    d2_j = P(gamma2 * W_in^T(Phi_j * q_j))/sigma2_j
 *   heads  o_k = W_O^T g_k [H*D], a_j = sum_{k>=j} A_kj o_k, d1_j = P(gamma1 * W_V^T a_j)/sigma1_j
 *   parallel: g^l = (g + d2) + d1;  sequential: mid = g + d2 pulls back the heads, g^l = mid + d1
 *   flows: head z . o, neuron g(a) q, l_mlp_out g . write, l_attn_bias g . b_O, embed g^0 . x^0
 *   z_t = sum_j g^0_j . x^0_j + sources + t_bar . beta_f
 *
 * The sum over k is in f32 by ascending k; all other sums over flows are f64. */
#include "graph.h"

#include <math.h>
#include <string.h>

typedef struct layer_job {
    graph_state *s;
    int32_t layer;
    const float *g, *at; /* [R, N] gradient of the residual; at the attention's write */
    float *q, *gated;    /* [R, M] */
    float *a, *w;        /* [R, H*D], [R, N] */
    float *d2;           /* [R, N] */
} layer_job;

static void gate_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const layer_job *job = payload;
    const graph_state *s = job->s;
    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        float *gated = job->gated + j * s->m;
        const float *pre = graph_kept(s, KEPT_MLP_PRE, job->layer, (int32_t)j);
        psc_gates(s->context, s->host, s->m, pre, gated);
        for (int64_t i = 0; i < s->m; i++) gated[i] *= job->q[j * s->m + i];
    }
}

/* a_j for a range of heads. */
static void mix_heads(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const layer_job *job = payload;
    const graph_state *s = job->s;
    const int64_t size = s->model->d_head;
    const float *o = s->o + (int64_t)job->layer * s->n_rows * s->width;
    (void)thread;
    for (int64_t h = begin; h < end; h++)
        for (int32_t k = 0; k < s->n_rows; k++) {
            const float *pattern = graph_kept(s, KEPT_PATTERN, job->layer, k) + h * s->n_rows;
            const float *from = o + k * s->width + h * size;
            for (int32_t j = 0; j <= k; j++) {
                float *to = job->a + j * s->width + h * size;
                for (int64_t d = 0; d < size; d++) to[d] += pattern[j] * from[d];
            }
        }
}

/* q, d2 and the MLP's flows and sources. */
static int pull_mlp(layer_job *job) {
    graph_state *s = job->s;
    const psc_host *host = s->host;
    const int32_t l = job->layer;
    const float *gamma, *beta, *b_in = host->bias(s->context, PSC_W_IN, l);
    const float *b_out = host->bias(s->context, PSC_W_OUT, l);
    if (!b_in || !b_out || host->ln_parameters(s->context, PSC_LN2, l, &gamma, &beta) ||
        host->pullback(s->context, PSC_W_OUT, l, job->q, job->g, s->n_rows))
        return -1;
    host->parallel_for(s->context, s->n_rows, gate_rows, job);
    if (host->pullback(s->context, PSC_W_IN, l, job->d2, job->gated, s->n_rows)) return -1;
    for (int32_t j = 0; j < s->n_rows; j++) {
        float *d2 = job->d2 + j * s->n;
        const float *g = job->g + j * s->n, *gated = job->gated + j * s->m;
        const double bias = psc_dot_striped(s->n, g, b_out);
        graph_add_source(s, j, bias);
        graph_add_source(s, j, psc_dot_striped(s->m, gated, b_in));
        graph_add_source(s, j, psc_dot_striped(s->n, d2, beta));
        graph_center(s->n, gamma, d2, 1.0 / (double)*graph_kept(s, KEPT_SCALE2, l, j), d2);
        if (!s->neurons) {
            const float *write = graph_kept(s, KEPT_MLP_OUT, l, j);
            graph_offer(s, NODE_MLP, l, 0, j, psc_dot_striped(s->n, g, write));
            continue;
        }
        graph_offer(s, NODE_MLP_BIAS, l, 0, j, bias);
        const float *pre = graph_kept(s, KEPT_MLP_PRE, l, j);
        for (int32_t i = 0; i < s->m; i++) /* q Phi a: the gated q times the pre-activation */
            graph_offer(s, NODE_NEURON, l, i, j, (double)gated[i] * (double)pre[i]);
    }
    return 0;
}

/* The heads' flows and sources, and w = W_V^T a. */
static int pull_heads(layer_job *job) {
    graph_state *s = job->s;
    const psc_host *host = s->host;
    const int64_t size = s->model->d_head;
    const int32_t l = job->layer;
    const float *gamma, *beta, *b_v = host->bias(s->context, PSC_W_V, l);
    const float *b_o = host->bias(s->context, PSC_W_O, l);
    float *o = s->o + (int64_t)l * s->n_rows * s->width;
    if (!b_v || !b_o || host->ln_parameters(s->context, PSC_LN1, l, &gamma, &beta) ||
        host->pullback(s->context, PSC_W_O, l, o, job->at, s->n_rows))
        return -1;
    memset(job->a, 0, (size_t)(s->n_rows * s->width) * sizeof *job->a);
    host->parallel_for(s->context, s->model->n_heads, mix_heads, job);
    if (host->pullback(s->context, PSC_W_V, l, job->w, job->a, s->n_rows)) return -1;
    for (int32_t j = 0; j < s->n_rows; j++) {
        float *w = job->w + j * s->n;
        const double bias = psc_dot_striped(s->n, job->at + j * s->n, b_o);
        graph_add_source(s, j, bias);
        graph_add_source(s, j, psc_dot_striped(s->width, job->a + j * s->width, b_v));
        graph_add_source(s, j, psc_dot_striped(s->n, w, beta));
        graph_center(s->n, gamma, w, 1.0 / (double)*graph_kept(s, KEPT_SCALE1, l, j), w);
        graph_offer(s, NODE_ATTN_BIAS, l, 0, j, bias);
        const float *z = graph_kept(s, KEPT_Z, l, j);
        for (int32_t h = 0; h < s->model->n_heads; h++)
            graph_offer(s, NODE_HEAD, l, h, j,
                psc_dot_striped(size, z + h * size, o + j * s->width + h * size));
    }
    return 0;
}

static int pull_layer(layer_job *job) {
    graph_state *s = job->s;
    const int64_t floats = s->n_rows * s->n, l = job->layer;
    float *mid = s->mid + l * floats, *before = s->g + l * floats;
    job->g = s->g + (l + 1) * floats;
    if (s->transcoders[l] ? graph_latents_pull(s, job->layer, job->g, job->d2) : pull_mlp(job))
        return -1;
    for (int64_t i = 0; i < floats; i++)
        mid[i] = s->model->parallel_residual ? job->g[i] : job->g[i] + job->d2[i];
    job->at = mid;
    if (pull_heads(job)) return -1;
    for (int64_t i = 0; i < floats; i++)
        before[i] =
            s->model->parallel_residual ? (job->g[i] + job->d2[i]) + job->w[i] : mid[i] + job->w[i];
    return 0;
}

static int make_job(layer_job *job) {
    graph_state *s = job->s;
    const psc_host *host = s->host;
    const uint64_t rows = (uint64_t)s->n_rows, size = sizeof(float);
    job->q = host->run_alloc(s->context, rows * (uint64_t)s->m * size);
    job->gated = host->run_alloc(s->context, rows * (uint64_t)s->m * size);
    job->a = host->run_alloc(s->context, rows * (uint64_t)s->width * size);
    job->w = host->run_alloc(s->context, rows * (uint64_t)s->n * size);
    job->d2 = host->run_alloc(s->context, rows * (uint64_t)s->n * size);
    s->sources = host->run_alloc(s->context, rows * sizeof *s->sources);
    s->sources_abs = host->run_alloc(s->context, rows * sizeof *s->sources_abs);
    return job->q && job->gated && job->a && job->w && job->d2 && s->sources && s->sources_abs ? 0
                                                                                               : -1;
}

int graph_backward(graph_state *s) {
    const psc_host *host = s->host;
    const uint64_t floats = (uint64_t)s->n_rows * (uint64_t)s->n;
    const uint64_t layers = (uint64_t)s->model->n_layers, size = sizeof(float);
    layer_job job = {.s = s};
    s->g = host->run_alloc(s->context, (layers + 1) * floats * size);
    s->mid = host->run_alloc(s->context, layers * floats * size);
    s->o = host->run_alloc(s->context, layers * (uint64_t)(s->n_rows * s->width) * size);
    if (!s->g || !s->mid || !s->o || make_job(&job)) return -1;
    float *start = s->g + (layers + 1) * floats - s->n;
    for (int64_t i = 0; i < s->n; i++) start[i] = s->u[i] / s->sigma;
    for (job.layer = s->model->n_layers; job.layer-- > 0;) {
        if (pull_layer(&job)) return -1;
        host->progress(s->context, 0.8 * (1.0 - (double)job.layer / s->model->n_layers));
    }
    s->total = s->constant;
    s->total_abs = fabs(s->constant);
    for (int32_t j = 0; j < s->n_rows; j++) {
        const float *embed = graph_kept(s, KEPT_EMBED, -1, j);
        const double flow = psc_dot_striped(s->n, s->g + j * s->n, embed);
        graph_offer(s, NODE_EMBED, -1, 0, j, flow);
        s->total += flow + s->sources[j];
        s->total_abs += fabs(flow) + s->sources_abs[j];
    }
    const double z = (double)s->logit[0] - (double)s->logit[1];
    s->completeness = fabs(z - s->total) / (1.0 + s->total_abs);
    return 0;
}
