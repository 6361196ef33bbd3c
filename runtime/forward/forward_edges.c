/* A pass in which each receiver reads a sum of its own (psc_edges.h). With d_u = o_u - c_u, the
 * other run's write of sender u minus this pass's, and R the residual at the receiver:
 *
 *   d of layer l's heads [rows, H, N] = W_O's block products of (z' - z);  of its MLP: mlp' - mlp
 *   input [rows, 3H, N] = LN1(R_c + sum d)  or  LN1(R_o - sum d),  the sum as subset_sums has it
 *   q, k, v of a head: its rows of W_Q, W_K, W_V times its own input
 *
 * The sum is taken first and meets R at last. A head's products and LayerNorm are those of the
 * forward pass, so a receiver whose input is R has its bits. Receivers that read the same senders
 * are summed together at each row, so that the row's differences come from memory once a layer. */
#include "forward_inside.h"

#include <string.h>

/* Rows of a task of one head's product. */
#define HEAD_ROWS 64

/* The place of a sender whose group is stored. */
static size_t place_of(const psc_edge_pass *e, int32_t sender) {
    const int32_t group = sender / PSC_SUBSET_TERMS, in_group = sender % PSC_SUBSET_TERMS;
    return (size_t)e->groups[group] * PSC_SUBSET_TERMS + (size_t)in_group;
}

/* How many of the first n senders are stored. */
static size_t terms_of(const psc_edge_pass *e, int32_t n) {
    const int32_t group = n / PSC_SUBSET_TERMS;
    if (e->groups[group] < e->groups[group + 1]) return place_of(e, n);
    return (size_t)e->groups[group] * PSC_SUBSET_TERMS;
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
    const int32_t sender = layer < 0 ? 0 : psc_edge_senders(&e->shape, layer) + e->shape.n_heads;
    difference_job job = {f, e->differences + place_of(e, sender) * e->ld, e->stored * e->ld, layer,
        mlp, own, f->ld_n};
    psc_team_for(f->team, f->n_rows, subtract_rows, &job);
}

static void take_heads(psc_forward *f, int32_t layer, const float *own) {
    const psc_edge_pass *e = f->pass->edges;
    difference_job job = {f, f->q, f->ld_n, layer, false, own, f->ld_n};
    psc_team_for(f->team, f->n_rows, subtract_rows, &job);
    psc_job product = psc_forward_job(f, &f->model->layers[layer].matrix[PSC_W_O], NULL, f->ld_n,
        f->q, f->ld_n, (size_t)f->n_rows);
    product.m.blocks = e->differences + place_of(e, psc_edge_senders(&e->shape, layer)) * e->ld;
    product.m.ld_block = e->ld;
    product.m.ld_row = e->stored * e->ld;
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

/* The inputs of n receivers, which read the same senders, at each row. */
typedef struct input_job {
    const psc_forward *f;
    int32_t first, n; /* receivers */
    size_t begin;     /* row of y's first */
    float *y;         /* [rows, n, ld] */
    size_t ld_row;
    const psc_layer_norm *ln;  /* null: the input itself */
    const psc_layer_norm *ln2; /* null, or that of the last receiver, whose input goes to f->y2 */
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

/* y [n, ld] = the receivers' sums of differences at row r, if one of them has terms. */
static void sum_differences(const input_job *job, float *y, size_t r, const uint8_t *reads) {
    const psc_forward *f = job->f;
    const psc_edge_pass *e = f->pass->edges;
    const size_t receivers = (size_t)psc_edge_receivers(&e->shape, e->shape.n_layers) + 1;
    const size_t at = (size_t)f->rows[r].sequence * receivers + (size_t)job->first;
    bool any = false;
    for (int32_t i = 0; i < job->n; i++) any = any || reads[i] & PSC_EDGE_SUM;
    const psc_subsets s = {.y = y,
        .ldy = e->ld,
        .sets = e->sets + at * e->ld_sets,
        .ld_sets = e->ld_sets,
        .terms = e->differences + r * e->stored * e->ld,
        .ld_terms = e->ld,
        .n_terms = terms_of(e, psc_edge_reads(&e->shape, job->first)),
        .rows = (size_t)job->n,
        .n = f->n};
    if (any) f->kernels->subset_sums(&s);
}

/* y = what a receiver reads at row r, before its LayerNorm; y has the sum. */
static void add_residual(
    const psc_forward *f, float *y, int32_t receiver, size_t r, uint8_t reads) {
    const psc_edge_pass *e = f->pass->edges;
    const psc_edges *edges = e->edges[f->rows[r].sequence];
    const float *base = f->x + r * f->ld_n;
    if (reads & PSC_EDGE_OTHER) base = other_residual(e, edges, receiver, e->other_row[r], f->n);
    if (!(reads & PSC_EDGE_SUM))
        memcpy(y, base, f->n * sizeof *y);
    else if (reads & PSC_EDGE_OTHER)
        for (size_t i = 0; i < f->n; i++) y[i] = base[i] - y[i];
    else
        f->kernels->add(y, base, y, f->n);
}

static void normalize(const psc_forward *f, float *to, float *x, const psc_layer_norm *ln) {
    float mean, scale;
    f->kernels->ln_stats(&mean, &scale, x, f->n, f->model->config.layer_norm_eps);
    f->kernels->ln_normalize(x, x, f->n, mean, scale);
    f->kernels->ln_affine(to, x, ln->gamma, ln->beta, f->n);
}

static void sum_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const input_job *job = payload;
    const psc_forward *f = job->f;
    const psc_edge_pass *e = f->pass->edges;
    const size_t receivers = (size_t)psc_edge_receivers(&e->shape, e->shape.n_layers) + 1;
    for (int64_t k = begin; k < end; k++) {
        const size_t r = job->begin + (size_t)k;
        const bool same = e->other_row[r] < 0; /* as the other run: nothing is patched */
        const uint8_t *reads =
            e->reads + (size_t)f->rows[r].sequence * receivers + (size_t)job->first;
        float *y = job->y + (size_t)k * job->ld_row;
        if (!same) sum_differences(job, y, r, reads);
        for (int32_t i = 0; i < job->n; i++, y += e->ld) {
            const bool last = i + 1 == job->n && job->ln2;
            add_residual(f, y, job->first + i, r, same ? 0 : reads[i]);
            if (last)
                normalize(f, f->y2 + r * f->ld_n, y, job->ln2);
            else if (job->ln)
                normalize(f, y, y, job->ln);
        }
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
    const size_t ld = f->pass->edges->ld, ld_row = (receivers + 1) * ld;
    const size_t at = (size_t)task / receivers * job->height, role = receiver / f->heads;
    const size_t first = receiver % f->heads * f->d_head, panel = first / PSC_LANES;
    const size_t skipped = panel * PSC_LANES, ld_scratch = psc_padded(f->d_head) + PSC_LANES;
    const psc_packed *w = &f->model->layers[f->layer].matrix[PSC_W_Q + role];
    const bool whole = f->d_head % PSC_LANES == 0;
    float *to[3] = {f->q, f->k, f->v}, *y = to[role] + (job->begin + at) * f->ld_n + first;
    float *scratch = f->scratch + (size_t)thread * f->scratch_floats;
    psc_job one = psc_forward_job(f, w, whole ? y : scratch, whole ? f->ld_n : ld_scratch,
        f->pass->edges->inputs + at * ld_row + receiver * ld, ld_row,
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
    const psc_layer *layer = &f->model->layers[f->layer];
    const size_t receivers = 3 * f->heads;
    const bool parallel = e->shape.parallel_residual;
    input_job inputs = {.f = f,
        .first = psc_edge_receivers(&e->shape, f->layer),
        .n = (int32_t)receivers + parallel,
        .y = e->inputs,
        .ld_row = (receivers + 1) * e->ld,
        .ln = &layer->ln1,
        .ln2 = parallel ? &layer->ln2 : NULL};
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

/* One receiver's inputs of all rows, as rows of y. */
static void sum_one(psc_forward *f, int32_t receiver, const psc_layer_norm *ln) {
    input_job job = {.f = f, .first = receiver, .n = 1, .y = f->y2, .ld_row = f->ld_n, .ln = ln};
    psc_team_for(f->team, f->n_rows, sum_rows, &job);
}

void psc_forward_edges_mlp(psc_forward *f) {
    const psc_edge_shape *shape = &f->pass->edges->shape;
    if (shape->parallel_residual) return; /* summed with the heads */
    sum_one(f, psc_edge_receivers(shape, f->layer) + 3 * shape->n_heads,
        &f->model->layers[f->layer].ln2);
}

void psc_forward_edges_logits(psc_forward *f) {
    const psc_edge_pass *e = f->pass->edges;
    if (!e->apart[e->shape.n_layers]) return;
    psc_forward_settle(f);
    sum_one(f, psc_edge_receivers(&e->shape, e->shape.n_layers), NULL);
    for (size_t r = 0; r < (size_t)f->n_rows; r++)
        memcpy(f->x + r * f->ld_n, f->y2 + r * f->ld_n, f->n * sizeof *f->x);
}
