/* The neurons' shares of a target, and what a ReLU instead of the gate would miss.
 *
 *   share of neuron k = g(a_k) (r_k . u)/sigma_f       W_out^T u [directions, M] by one pull-back
 *   share_participation = (sum |share|)^2 / sum share^2 over a layer's neurons
 *   gelu(a) - relu(a) = -|a| Phi(-|a|), so with w_k = |a_k| Phi(-|a_k|)
 *   e = -sum_k w_k r_k,  relu_error = |e| / |write|
 *   relu_error_target = -sum_k w_k (r_k . u)/sigma_f
 *
 * Rows are taken in blocks, so scratch does not grow with the text. Sums are f64, striped by k. */
#include "mlp.h"

#include <math.h>
#include <string.h>

/* The number of directions that are pulled back together; more if a row has more targets. */
enum { BLOCK = 64 };

typedef struct share_work {
    mlp_state *s;
    int64_t layer, begin, rows;  /* the block: target rows begin .. begin + rows - 1 */
    int64_t block;               /* most rows of a block */
    const float **pre, **post;   /* [R] -> [M] of this layer */
    int32_t *place;              /* [directions] where in pulled, -1: not in this block */
    float *u;                    /* [capacity, N] */
    float *pulled;               /* [capacity, M] r_k . u */
    float *odd, *missed, *write; /* [block, M], [block, M] w_k, [block, N] e */
} share_work;

/* --- one row --------------------------------------------------------------------------------- */

/* The values beside a neuron's entry in a cell's list. */
static void put_top(mlp_state *s, const share_work *w, int64_t cell, int32_t place, int64_t k) {
    const psc_top_list *list = &s->top_lists[cell];
    const int64_t base = cell * s->top, r = cell % s->target_rows.n;
    *(int32_t *)psc_top_room(list, place, s->top_layer + base, sizeof(int32_t)) = (int32_t)w->layer;
    *(int32_t *)psc_top_room(list, place, s->top_neuron + base, sizeof(int32_t)) = (int32_t)k;
    *(float *)psc_top_room(list, place, s->top_pre + base, sizeof(float)) = w->pre[r][k];
    *(float *)psc_top_room(list, place, s->top_gate + base, sizeof(float)) =
        psc_gate_of(w->odd[(r - w->begin) * s->n_neurons + k]);
}

static void share_cell(const share_work *w, int64_t t, int64_t r) {
    mlp_state *s = w->s;
    const int64_t m = s->n_neurons, cell = t * s->target_rows.n + r;
    const int32_t which = s->directions.which[cell];
    if (which < 0) return;
    const float *ru = w->pulled + w->place[which] * m, *g = w->post[r];
    const double sigma = s->sigma[r];
    psc_top_list *list = &s->top_lists[cell];
    for (int64_t k = 0; k < m; k++) {
        const double share = (double)g[k] * (double)ru[k] / sigma;
        const int32_t place = psc_top_offer(list, fabs(share), w->layer * m + k);
        if (place < 0) continue;
        *(double *)psc_top_room(list, place, s->top_share + cell * s->top, sizeof share) = share;
        put_top(s, w, cell, place, k);
    }
    const int64_t at = (t * s->n_layers + w->layer) * s->target_rows.n + r;
    s->share_participation[at] = psc_participation_product(m, g, ru);
    s->relu_error_target[at] = -psc_dot_striped(m, w->missed + (r - w->begin) * m, ru) / sigma;
}

static void share_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const share_work *w = payload;
    const mlp_state *s = w->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t r = w->begin + i, at = w->layer * s->target_rows.n + r;
        const float *e = w->write + i * s->n_dims;
        s->relu_error[at] = sqrt(psc_dot_striped(s->n_dims, e, e)) / sqrt(s->write2[at]);
        for (int64_t t = 0; t < s->targets.n; t++) share_cell(w, t, r);
    }
}

/* --- one block ------------------------------------------------------------------------------- */

/* |a| Phi(-|a|). The function in the gate is odd, so its values serve here too. */
static void missed_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const share_work *w = payload;
    const mlp_state *s = w->s;
    const int64_t m = s->n_neurons;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *a = w->pre[w->begin + i];
        float *odd = w->odd + i * m, *missed = w->missed + i * m;
        psc_gate_odd(s->context, s->host, m, a, odd);
        for (int64_t k = 0; k < m; k++) missed[k] = fabsf(a[k]) * psc_gate_of(-fabsf(odd[k]));
    }
}

/* Pulls back the directions that the block's rows need. */
static int pull_block(share_work *w) {
    const mlp_state *s = w->s;
    const int64_t n = s->n_dims;
    int32_t count = 0;
    for (int32_t d = 0; d < s->directions.n; d++) w->place[d] = -1;
    for (int64_t t = 0; t < s->targets.n; t++) {
        for (int64_t r = w->begin; r < w->begin + w->rows; r++) {
            const int32_t which = s->directions.which[t * s->target_rows.n + r];
            if (which < 0 || w->place[which] >= 0) continue;
            memcpy(w->u + count * n, s->directions.u + which * n, (size_t)n * sizeof(float));
            w->place[which] = count++;
        }
    }
    if (count == 0) return 0;
    return s->host->pullback(s->context, PSC_W_OUT, (int32_t)w->layer, w->pulled, w->u, count);
}

static int share_block(share_work *w) {
    const mlp_state *s = w->s;
    const psc_host *host = s->host;
    host->parallel_for(s->context, w->rows, missed_rows, w);
    if (host->apply(s->context, PSC_W_OUT, (int32_t)w->layer, w->write, w->missed, w->rows) ||
        pull_block(w))
        return -1;
    host->parallel_for(s->context, w->rows, share_rows, w);
    return 0;
}

/* --- all layers ------------------------------------------------------------------------------ */

static int make_lists(mlp_state *s) {
    const int64_t cells = (int64_t)s->targets.n * s->target_rows.n;
    s->top_lists = s->host->run_alloc(s->context, (uint64_t)cells * sizeof *s->top_lists + 1);
    psc_ranked *entries =
        s->host->run_alloc(s->context, (uint64_t)(cells * s->top) * sizeof *entries + 1);
    if (!s->top_lists || !entries) return -1;
    for (int64_t i = 0; i < cells; i++)
        s->top_lists[i] = (psc_top_list){entries + i * s->top, s->top, 0};
    return 0;
}

static int share_results(mlp_state *s) {
    const psc_host *host = s->host;
    if (psc_targets_results(&s->targets, "target_rows") ||
        psc_count_axis(s->context, host, "top", 1, s->top))
        return -1;
    static const char *const cube[] = {"targets", "layers", "target_rows"};
    static const char *const list[] = {"targets", "target_rows", "top"};
    s->relu_error = host->array(s->context, "relu_error", PSC_F64, 2, cube + 1);
    s->relu_error_target = host->array(s->context, "relu_error_target", PSC_F64, 3, cube);
    s->share_participation = host->array(s->context, "share_participation", PSC_F64, 3, cube);
    s->top_share = host->array(s->context, "top_share", PSC_F64, 3, list);
    s->top_layer = host->array(s->context, "top_layer", PSC_I32, 3, list);
    s->top_neuron = host->array(s->context, "top_neuron", PSC_I32, 3, list);
    s->top_pre = host->array(s->context, "top_pre", PSC_F32, 3, list);
    s->top_gate = host->array(s->context, "top_gate", PSC_F32, 3, list);
    return s->relu_error && s->relu_error_target && s->share_participation && s->top_share &&
                   s->top_layer && s->top_neuron && s->top_pre && s->top_gate
               ? make_lists(s)
               : -1;
}

static int share_scratch(mlp_state *s, share_work *w) {
    const psc_host *host = s->host;
    const uint64_t rows = (uint64_t)s->target_rows.n, n = (uint64_t)s->n_dims;
    const uint64_t m = (uint64_t)s->n_neurons;
    const int64_t targets = s->targets.n > 0 ? s->targets.n : 1;
    w->block = targets < BLOCK ? BLOCK / targets : 1;
    if (w->block > s->target_rows.n) w->block = s->target_rows.n;
    const uint64_t block = (uint64_t)w->block, capacity = block * (uint64_t)targets;
    w->pre = host->run_alloc(s->context, rows * sizeof *w->pre);
    w->post = host->run_alloc(s->context, rows * sizeof *w->post);
    w->place = host->run_alloc(s->context, (uint64_t)s->directions.n * sizeof *w->place + 1);
    w->u = host->run_alloc(s->context, capacity * n * sizeof(float));
    w->pulled = host->run_alloc(s->context, capacity * m * sizeof(float));
    w->odd = host->run_alloc(s->context, block * m * sizeof(float));
    w->missed = host->run_alloc(s->context, block * m * sizeof(float));
    w->write = host->run_alloc(s->context, block * n * sizeof(float));
    return w->pre && w->post && w->place && w->u && w->pulled && w->odd && w->missed && w->write
               ? 0
               : -1;
}

static int fetch_rows(mlp_state *s, int32_t kept, int64_t layer, const float **out) {
    return psc_rows_fetch(s->context, s->host, &s->target_rows, kept, (int32_t)layer, out);
}

int mlp_shares_compute(mlp_state *s) {
    share_work w = {.s = s};
    if (psc_directions_build(&s->targets, s->centered, 0, &s->directions) || share_results(s) ||
        share_scratch(s, &w))
        return -1;
    for (w.layer = 0; w.layer < s->n_layers; w.layer++) {
        if (fetch_rows(s, s->kept_pre, w.layer, w.pre) ||
            fetch_rows(s, s->kept_post, w.layer, w.post))
            return -1;
        for (w.begin = 0; w.begin < s->target_rows.n; w.begin += w.block) {
            w.rows = s->target_rows.n - w.begin;
            if (w.rows > w.block) w.rows = w.block;
            if (share_block(&w)) return -1;
        }
        s->host->progress(s->context, (double)(w.layer + 1) / s->n_layers);
    }
    return 0;
}
