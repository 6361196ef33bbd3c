/* A pass in which each receiver reads a sum of its own (psc_edges.h). With d_u = o_u - c_u, the
 * other
 * run's write of sender u minus this pass's, and R the residual at the receiver:
 *
 *   d of layer l's heads [rows, H, N] = W_O's block products of (z' - z);  of its MLP: mlp' - mlp
 *   input [rows, 3H, N] = LN1(R_c + sum d)  or  LN1(R_o - sum d),  the terms ascending
 *   q, k, v of a head: its rows of W_Q, W_K, W_V times its own input
 *
 * The sum is taken first and added to R at last, one rounding each. A head's products and LayerNorm
 * are those of the forward pass, so a receiver whose input is R has its bits. */
#include "forward_inside.h"

#include <string.h>

/* Rows of a task of one head's product. */
#define HEAD_ROWS 64

static size_t senders(const psc_forward *f) {
    const psc_edge_shape *shape = &f->pass->edges->shape;
    return (size_t)psc_edge_senders(shape, shape->n_layers);
}

/* --- differences ------------------------------------------------------------------------------ */

/* to = the other run's row minus this one's, [rows, n]; 0 for rows without another. */
typedef struct difference_job {
    const psc_forward *f;
    float *to;
    size_t ld_to;
    int32_t layer;    /* -1: embed */
    bool mlp;         /* mlp_out, else z */
    const float *own; /* null: edges->own */
    size_t ld_own;
} difference_job;

static const float *write_of(const psc_writes *writes, const difference_job *job) {
    if (job->layer < 0) return writes->embed;
    return job->mlp ? writes->mlp_out[job->layer] : writes->z[job->layer];
}

static void subtract_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const difference_job *job = payload;
    const psc_forward *f = job->f;
    const psc_edge_pass *e = f->pass->edges;
    for (int64_t r = begin; r < end; r++) {
        float *to = job->to + (size_t)r * job->ld_to;
        const psc_edges *edges = e->edges[f->rows[r].sequence];
        if (e->other_row[r] < 0) {
            memset(to, 0, f->n * sizeof *to);
            continue;
        }
        const float *other = write_of(edges->other, job) + (size_t)e->other_row[r] * f->n;
        const float *own = job->own ? job->own + (size_t)r * job->ld_own
                                    : write_of(edges->own, job) + (size_t)e->own_row[r] * f->n;
        for (size_t i = 0; i < f->n; i++) to[i] = other[i] - own[i];
    }
}

/* own null: the run's, of a layer that the pass does not compute. */
static void take_write(psc_forward *f, int32_t layer, bool mlp, const float *own) {
    const psc_edge_pass *e = f->pass->edges;
    const size_t sender = layer < 0 ? 0 : (size_t)psc_edge_senders(&e->shape, layer) + f->heads;
    difference_job job = {
        f, e->differences + sender * f->n, senders(f) * f->n, layer, mlp, own, f->ld_n};
    psc_team_for(f->team, f->n_rows, subtract_rows, &job);
}

static void take_heads(psc_forward *f, int32_t layer, const float *own) {
    const psc_edge_pass *e = f->pass->edges;
    difference_job job = {f, f->q, f->ld_n, layer, false, own, f->ld_n};
    psc_team_for(f->team, f->n_rows, subtract_rows, &job);
    psc_job product = psc_forward_job(f, &f->model->layers[layer].matrix[PSC_W_O], NULL, f->ld_n,
        f->q, f->ld_n, (size_t)f->n_rows);
    product.m.blocks = e->differences + (size_t)psc_edge_senders(&e->shape, layer) * f->n;
    product.m.ld_block = f->n;
    product.m.ld_row = senders(f) * f->n;
    psc_forward_run(f, &product, 1);
}

void psc_forward_edges_begin(psc_forward *f) {
    const psc_edge_pass *e = f->pass->edges;
    const int32_t first = f->pass->first_layer;
    if (e->listed[0]) take_write(f, -1, false, first > 0 ? NULL : f->x);
    for (int32_t l = 0; l < first; l++) {
        if (!e->listed[1 + l]) continue;
        take_heads(f, l, NULL);
        take_write(f, l, true, NULL);
    }
}

void psc_forward_edges_take_heads(psc_forward *f) {
    if (f->pass->edges->listed[1 + f->layer]) take_heads(f, f->layer, f->z);
}

void psc_forward_edges_take_mlp(psc_forward *f) {
    if (f->pass->edges->listed[1 + f->layer]) take_write(f, f->layer, true, f->mlp);
}

/* --- inputs ----------------------------------------------------------------------------------- */

/* The inputs of n receivers at each row: y [row, ld_row], a receiver's ld_receiver floats on. */
typedef struct input_job {
    const psc_forward *f;
    int32_t first, n; /* receivers */
    size_t begin;     /* row of y's first */
    float *y;
    size_t ld_row, ld_receiver;
    const psc_layer_norm *ln; /* null: x itself */
} input_job;

/* The other run's residual where a receiver reads it, [N]. */
static const float *other_residual(
    const psc_edge_pass *e, const psc_edges *edges, int32_t receiver, int32_t row, size_t n) {
    const int32_t a_layer = psc_edge_receivers(&e->shape, 1), layer = receiver / a_layer;
    const bool mid = edges->other->resid_mid && receiver % a_layer == a_layer - 1;
    const float *rows = mid && layer < e->shape.n_layers ? edges->other->resid_mid[layer]
                                                         : edges->other->resid_pre[layer];
    return rows + (size_t)row * n;
}

/* y = the sum of the terms d_u, [n, N], that patched selects, ascending; false: there is none. */
static bool sum_terms(const psc_forward *f, float *y, const float *d, const uint8_t *patched,
    int32_t n, bool sums_patched) {
    const float *waiting = NULL; /* a term that the next one joins: (y + a) + b in one kernel */
    bool any = false;
    for (int32_t u = 0; u < n; u++) {
        const float *term = d + (size_t)u * f->n;
        if ((patched[u] != 0) != sums_patched) continue;
        if (!any) {
            memcpy(y, term, f->n * sizeof *y);
            any = true;
        } else if (waiting) {
            f->kernels->add3(y, y, waiting, term, f->n);
            waiting = NULL;
        } else {
            waiting = term;
        }
    }
    if (waiting) f->kernels->add(y, y, waiting, f->n);
    return any;
}

/* y = what a receiver reads at row r, before its LayerNorm. */
static void sum_input(const psc_forward *f, float *y, int32_t receiver, size_t r) {
    const psc_edge_pass *e = f->pass->edges;
    const psc_edges *edges = e->edges[f->rows[r].sequence];
    const float *own = f->x + r * f->ld_n, *d = e->differences + r * senders(f) * f->n;
    const int32_t n = psc_edge_reads(&e->shape, receiver);
    const uint8_t *patched = edges->patched + psc_edge_first(&e->shape, receiver);
    const bool sums_patched = e->other_row[r] < 0 || psc_edge_sums_patched(patched, n);
    const float *base =
        sums_patched ? own : other_residual(e, edges, receiver, e->other_row[r], f->n);
    if (e->other_row[r] < 0 || !sum_terms(f, y, d, patched, n, sums_patched))
        memcpy(y, base, f->n * sizeof *y);
    else if (sums_patched)
        f->kernels->add(y, base, y, f->n);
    else
        for (size_t i = 0; i < f->n; i++) y[i] = base[i] - y[i];
}

static void sum_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const input_job *job = payload;
    const psc_forward *f = job->f;
    const psc_kernels *k = f->kernels;
    for (int64_t r = begin; r < end; r++)
        for (int32_t i = 0; i < job->n; i++) {
            float *y = job->y + (size_t)r * job->ld_row + (size_t)i * job->ld_receiver;
            float mean, scale;
            sum_input(f, y, job->first + i, job->begin + (size_t)r);
            if (!job->ln) continue;
            k->ln_stats(&mean, &scale, y, f->n, f->model->config.layer_norm_eps);
            k->ln_normalize(y, y, f->n, mean, scale);
            k->ln_affine(y, y, job->ln->gamma, job->ln->beta, f->n);
        }
}

/* --- q, k and v ------------------------------------------------------------------------------- */

/* Rows begin..begin+n-1 of the pass, whose inputs are in edges->inputs. */
typedef struct head_job {
    psc_forward *f;
    size_t begin, n, height; /* height: rows of a task */
} head_job;

/* One head's q, k or v at some rows. A head that is not whole panels goes through the thread's
 * scratch, because its first and last panel have outputs of other heads. */
static void head_task(int64_t task, int thread, void *payload) {
    const head_job *job = payload;
    psc_forward *f = job->f;
    const size_t receivers = 3 * f->heads, receiver = (size_t)task % receivers;
    const size_t at = (size_t)task / receivers * job->height, role = receiver / f->heads;
    const size_t first = receiver % f->heads * f->d_head, panel = first / PSC_LANES;
    const size_t skipped = panel * PSC_LANES, ld_scratch = psc_padded(f->d_head) + PSC_LANES;
    const psc_packed *w = &f->model->layers[f->layer].matrix[PSC_W_Q + role];
    const bool whole = f->d_head % PSC_LANES == 0;
    float *to[3] = {f->q, f->k, f->v}, *y = to[role] + (job->begin + at) * f->ld_n + first;
    float *scratch = f->scratch + (size_t)thread * f->scratch_floats;
    psc_job one = psc_forward_job(f, w, whole ? y : scratch, whole ? f->ld_n : ld_scratch,
        f->pass->edges->inputs + (at * receivers + receiver) * f->n, receivers * f->n,
        job->n - at < job->height ? job->n - at : job->height);
    one.m.room = psc_forward_room(f, thread);
    one.m.w = (const char *)w->panels + skipped * w->k * psc_dtype_size(w->dtype);
    one.m.bias = w->bias ? w->bias + skipped : NULL;
    one.m.panel_end = (first + f->d_head + PSC_LANES - 1) / PSC_LANES - panel;
    one.m.out -= skipped;
    one.kernel(&one.m);
    for (size_t r = 0; !whole && r < one.m.rows; r++)
        memcpy(y + r * f->ld_n, scratch + r * ld_scratch + first - skipped, f->d_head * sizeof *y);
}

void psc_forward_edges_heads(psc_forward *f) {
    const psc_edge_pass *e = f->pass->edges;
    const size_t receivers = 3 * f->heads;
    input_job inputs = {f, psc_edge_receivers(&e->shape, f->layer), (int32_t)receivers, 0,
        e->inputs, receivers * f->n, f->n, &f->model->layers[f->layer].ln1};
    head_job heads = {
        .f = f, .height = f->d_head % PSC_LANES == 0 ? HEAD_ROWS : PSC_ATTENTION_TILE};
    for (; heads.begin < (size_t)f->n_rows; heads.begin += heads.n) {
        heads.n = (size_t)f->n_rows - heads.begin;
        if (heads.n > (size_t)e->rows_together) heads.n = (size_t)e->rows_together;
        inputs.begin = heads.begin;
        psc_team_for(f->team, (int64_t)heads.n, sum_rows, &inputs);
        psc_team_tasks(f->team, (int64_t)((heads.n + heads.height - 1) / heads.height * receivers),
            head_task, &heads);
    }
}

void psc_forward_edges_mlp(psc_forward *f) {
    const psc_edge_shape *shape = &f->pass->edges->shape;
    input_job job = {f, psc_edge_receivers(shape, f->layer) + 3 * shape->n_heads, 1, 0, f->y2,
        f->ld_n, f->n, &f->model->layers[f->layer].ln2};
    psc_team_for(f->team, f->n_rows, sum_rows, &job);
}

void psc_forward_edges_logits(psc_forward *f) {
    const psc_edge_pass *e = f->pass->edges;
    input_job job = {
        f, psc_edge_receivers(&e->shape, e->shape.n_layers), 1, 0, f->y2, f->ld_n, f->n, NULL};
    if (!e->apart[e->shape.n_layers]) return;
    psc_forward_settle(f);
    psc_team_for(f->team, f->n_rows, sum_rows, &job);
    for (size_t r = 0; r < (size_t)f->n_rows; r++)
        memcpy(f->x + r * f->ld_n, f->y2 + r * f->ld_n, f->n * sizeof *f->x);
}
