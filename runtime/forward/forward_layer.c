/* One layer of the row set.
 *
 *   n = LN1(x) -> q, k, v [R,H*D] -> rotary, cache -> z [R,H*D] (forward_attention.c)
 *   attn [R,N] = W_O z + b_O         result [R,H,N]: W_O's block sums, one per head
 *   post [R,M] = gelu(W_in LN2(x') + b_in),  mlp [R,N] = W_out post + b_out
 *   parallel: x' = x, x <- (mlp + attn) + x;  sequential: x' = attn + x, x <- mlp + x'
 *
 * Without subscribers, a parallel layer is four steps of the team: both norms (with the sum of the
 * previous layer); q, k, v and the MLP's first matmul; attention; W_O and W_out. The pass splits a
 * step when a subscriber observes a value inside it, or may edit a value before it is read.
 *
 * In the last layer, only requested rows continue after k and v. */
#include "forward_inside.h"

#include <string.h>

/* Which steps of this layer are fused, and which tensors they keep. Made before the first step:
 * hooks do not change during a run, and no subscriber requests a late point of a dropped row. */
typedef struct layer_plan {
    const psc_layer *layer;
    bool parallel;
    bool apart;        /* receivers read sums of their own (psc_edge_pass) */
    bool mlp_early;    /* LN2 beside LN1 and W_in beside W_Q, W_K, W_V: both read the same x */
    bool heads_shown;  /* q, k or v is requested, rotated or not */
    bool heads_inside; /* the tasks of q, k and v rotate them and put them into the cache */
    bool shrinks;      /* only the requested rows continue after k and v, which no one requests */
    bool partial;      /* the pass ends with q, k and v if they are requested, else before them */
    bool pre;          /* hook_pre is requested: W_in writes it to a buffer of its own */
    bool gelu_apart;   /* and may change before gelu reads it */
    bool sum_apart;    /* and may change before they are summed */
    bool out_together; /* W_O and W_out in one step: post is complete and does not change */
} layer_plan;

static bool wants_any(const psc_forward *f, const psc_point *points, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (psc_forward_wants(f, points[i])) return true;
    return false;
}

/* Whether q, k and v must be complete before they are rotated and stored: q or k is requested before
 * it rotates, or an editor may change one of them. */
static bool heads_apart(const psc_forward *f) {
    return psc_forward_wants(f, PSC_HOOK_Q) || psc_forward_wants(f, PSC_HOOK_K) ||
           psc_forward_edits(f, PSC_HOOK_V) || psc_forward_edits(f, PSC_HOOK_ROT_Q) ||
           psc_forward_edits(f, PSC_HOOK_ROT_K);
}

static layer_plan plan_layer(const psc_forward *f) {
    static const psc_point norms[] = {
        PSC_HOOK_LN1_SCALE, PSC_HOOK_LN1_NORMALIZED, PSC_HOOK_LN2_SCALE, PSC_HOOK_LN2_NORMALIZED};
    static const psc_point heads[] = {
        PSC_HOOK_Q, PSC_HOOK_K, PSC_HOOK_V, PSC_HOOK_ROT_K, PSC_HOOK_ROT_Q};
    bool last = f->layer + 1 == f->end_layer;
    layer_plan plan = {
        .layer = &f->model->layers[f->layer], .parallel = f->model->config.parallel_residual};
    plan.partial = last && f->ends_inside;
    plan.apart = f->pass->edges && f->pass->edges->apart[f->layer];
    plan.mlp_early = plan.parallel && !plan.partial && !plan.apart &&
                     !wants_any(f, norms, sizeof norms / sizeof *norms);
    plan.heads_shown = wants_any(f, heads, sizeof heads / sizeof *heads);
    plan.heads_inside = f->d_head % PSC_LANES == 0 && !plan.apart && !heads_apart(f);
    plan.shrinks = last && plan.heads_inside && !wants_any(f, heads, 4) && !f->pass->edges;
    plan.pre = psc_forward_wants(f, PSC_HOOK_MLP_PRE);
    plan.gelu_apart = psc_forward_edits(f, PSC_HOOK_MLP_PRE);
    plan.sum_apart = psc_forward_edits(f, PSC_HOOK_RESULT);
    plan.out_together =
        plan.mlp_early && !plan.gelu_apart && !psc_forward_edits(f, PSC_HOOK_MLP_POST);
    return plan;
}

/* --- rows of the last layer ------------------------------------------------------------------- */

/* The late points that a subscriber selects here. Returns how many. */
static int wanted_late_points(const psc_forward *f, psc_point points[PSC_POINT_COUNT]) {
    int n = 0;
    for (int p = 0; p < PSC_POINT_COUNT && psc_forward_hooked(f); p++) {
        psc_point point = (psc_point)p;
        if (f->pass->ends_early && !psc_point_has_layer(point)) continue;
        if (psc_point_is_late(point) && psc_forward_wants(f, point)) points[n++] = point;
    }
    return n;
}

static bool row_is_wanted(const psc_forward *f, int32_t r, const psc_point *points, int n) {
    const bool *wanted = f->pass->sink.wanted;
    if (wanted && wanted[f->rows[r].index - f->first_index]) return true;
    for (int i = 0; i < n; i++)
        if (psc_forward_wants_of(f, points[i], &f->rows[r], 1)) return true;
    return false;
}

/* Moves the requested rows to the front, with x, y1 and y2; they become the row set. */
static void keep_wanted_rows(psc_forward *f) {
    psc_point points[PSC_POINT_COUNT];
    int n_points = wanted_late_points(f, points);
    int32_t n = 0;
    for (int32_t r = 0; r < f->n_rows; r++) {
        if (!row_is_wanted(f, r, points, n_points)) continue;
        size_t from = (size_t)r * f->ld_n, to = (size_t)n * f->ld_n;
        float *moved[] = {f->x, f->y1, f->y2};
        for (int i = 0; i < 3 && from != to; i++)
            memcpy(moved[i] + to, moved[i] + from, f->n * sizeof(float));
        f->n_keys[n] = f->n_keys[r];
        f->kept[n++] = f->rows[r];
    }
    f->rows = f->kept;
    f->n_rows = n;
    psc_forward_tile(f);
}

/* --- the MLP's first half --------------------------------------------------------------------- */

/* The model's form of GELU of n pre-activations. */
static void activate(const psc_forward *f, float *post, const float *pre, size_t n) {
    if (f->model->config.gelu == PSC_GELU_TANH)
        f->kernels->gelu_tanh(post, NULL, pre, n);
    else
        f->kernels->gelu(post, NULL, pre, n);
}

/* post = gelu(y) of a task's result; y is post itself unless pre is requested. */
static void finish_gelu(psc_forward *f, const psc_matmul *part, size_t row) {
    size_t begin = part->panel_begin * PSC_LANES, end = part->panel_end * PSC_LANES;
    if (end > part->out) end = part->out;
    for (size_t r = 0; r < part->rows; r++)
        activate(
            f, f->post + (row + r) * f->ld_m + begin, part->y + r * part->ldy + begin, end - begin);
}

static void gelu_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (int64_t r = begin; r < end; r++)
        activate(f, f->post + (size_t)r * f->ld_m, f->pre.data + (size_t)r * f->ld_m, f->m);
}

/* pre = W_in y2 + b_in and post = gelu(pre). */
static psc_status mlp_in_job(psc_forward *f, const layer_plan *plan, psc_job *job) {
    const psc_packed *w = &plan->layer->matrix[PSC_W_IN];
    size_t rows = (size_t)f->n_rows;
    float *y = plan->pre ? psc_forward_grow(&f->pre, rows * f->ld_m, f->error) : f->post;
    if (!y) return PSC_ERROR_MEMORY;
    *job = psc_forward_job(f, w, y, f->ld_m, f->y2, f->ld_n, rows);
    if (!plan->gelu_apart) job->finish = finish_gelu;
    return PSC_OK;
}

/* Shows the results of mlp_in_job. */
static psc_status show_mlp(psc_forward *f, const layer_plan *plan) {
    psc_status status = psc_forward_show_rows(f, PSC_HOOK_MLP_PRE, f->pre.data, f->m, f->ld_m);
    if (status != PSC_OK) return status;
    if (plan->gelu_apart) psc_team_for(f->team, f->n_rows, gelu_rows, f);
    return psc_forward_show_rows(f, PSC_HOOK_MLP_POST, f->post, f->m, f->ld_m);
}

/* --- before attention ------------------------------------------------------------------------- */

/* q, k, v and, if planned, the MLP's first matmul. The row set may shrink after k and v. */
static psc_status head_inputs(psc_forward *f, const layer_plan *plan) {
    static const psc_finish_fn finish[3] = {
        psc_forward_finish_q, psc_forward_finish_k, psc_forward_finish_v};
    static const psc_finish_fn prepare[3] = {NULL, psc_forward_prepare_k, psc_forward_prepare_v};
    float *to[3] = {f->q, f->k, f->v};
    psc_job jobs[PSC_STEP_JOBS];
    int n = 0;
    psc_status status = PSC_OK;
    for (int i = 2; i >= 0; i--) {
        if (i == 0 && plan->shrinks) {
            psc_forward_run(f, jobs, n);
            n = 0;
            keep_wanted_rows(f);
            if (f->n_rows == 0) return PSC_OK;
        }
        const psc_packed *w = &plan->layer->matrix[PSC_W_Q + i];
        jobs[n] = psc_forward_job(f, w, to[i], f->ld_n, f->y1, f->ld_n, (size_t)f->n_rows);
        if (plan->heads_inside) {
            jobs[n].prepare = prepare[i];
            jobs[n].finish = finish[i];
            jobs[n].unit = f->d_head / PSC_LANES;
        }
        n++;
    }
    if (plan->mlp_early) status = mlp_in_job(f, plan, &jobs[n++]);
    if (status == PSC_OK) psc_forward_run(f, jobs, n);
    return status;
}

/* q, k and v are shown; keys and values go into the cache. */
static psc_status attention_inputs(psc_forward *f, const layer_plan *plan) {
    psc_status status = PSC_OK;
    if (plan->apart)
        psc_forward_edges_heads(f);
    else
        status = head_inputs(f, plan);
    if (status != PSC_OK || f->n_rows == 0) return status;
    if (!plan->heads_inside) {
        status = psc_forward_show_heads(f, PSC_HOOK_Q, f->q);
        if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_K, f->k);
    }
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_V, f->v);
    if (status == PSC_OK && !plan->heads_inside) psc_forward_rotate(f);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_ROT_Q, f->q);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_ROT_K, f->k);
    if (status == PSC_OK && !plan->heads_inside) psc_forward_store(f);
    return status;
}

/* --- after attention -------------------------------------------------------------------------- */

static void sum_results(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    const psc_packed *w = &f->model->layers[f->layer].matrix[PSC_W_O];
    for (int64_t r = begin; r < end; r++)
        f->kernels->sum_blocks(f->attn + (size_t)r * f->ld_n,
            f->result.data + (size_t)r * f->ld_result, f->n, f->heads, w->bias, f->n);
}

/* attn = W_O z + b_O; its block sums are hook_result, which goes straight to its only destination. */
static psc_status attention_output_job(psc_forward *f, const layer_plan *plan, psc_job *job) {
    const psc_packed *w = &plan->layer->matrix[PSC_W_O];
    size_t rows = (size_t)f->n_rows;
    *job = psc_forward_job(f, w, f->attn, f->ld_n, f->z, f->ld_n, rows);
    if (!psc_forward_wants(f, PSC_HOOK_RESULT)) return PSC_OK;
    job->m.ld_block = f->n;
    job->m.ld_row = f->heads * f->n;
    if (!psc_forward_shows(f, PSC_HOOK_RESULT))
        job->m.blocks = psc_destinations_place(
            f->pass->copies, PSC_HOOK_RESULT, f->layer, f->rows, f->n_rows, job->m.ld_row);
    if (job->m.blocks) return PSC_OK;
    job->m.ld_row = f->ld_result;
    job->m.blocks = psc_forward_grow(&f->result, rows * f->ld_result, f->error);
    return job->m.blocks ? PSC_OK : PSC_ERROR_MEMORY;
}

static psc_status show_attention_output(psc_forward *f, const layer_plan *plan, float *result) {
    psc_status status = PSC_OK;
    if (result && result == f->result.data) {
        psc_view view = {f->result.data, 3, {f->n_rows, (int64_t)f->heads, (int64_t)f->n},
            {(int64_t)f->ld_result, (int64_t)f->n, 1}};
        status = psc_forward_show(f, PSC_HOOK_RESULT, &view);
    }
    if (status != PSC_OK) return status;
    if (plan->sum_apart) psc_team_for(f->team, f->n_rows, sum_results, f);
    return psc_forward_show_rows(f, PSC_HOOK_ATTN_OUT, f->attn, f->n, f->ld_n);
}

/* The MLP's norm and first matmul, as steps of their own. */
static psc_status mlp_input(psc_forward *f, const layer_plan *plan) {
    psc_job job;
    const psc_layer_norm *ln = &plan->layer->ln2;
    psc_status status = PSC_OK;
    if (plan->apart) {
        psc_forward_settle(f);
        psc_forward_edges_mlp(f);
    } else {
        status = psc_forward_norm(f, 1, &ln, &f->y2, PSC_HOOK_LN2_SCALE, PSC_HOOK_LN2_NORMALIZED);
    }
    if (status == PSC_OK) status = mlp_in_job(f, plan, &job);
    if (status == PSC_OK) psc_forward_run(f, &job, 1);
    return status;
}

/* W_O and W_out. An observer of post sees it after their common step. */
static psc_status outputs(psc_forward *f, const layer_plan *plan) {
    const psc_packed *w = &plan->layer->matrix[PSC_W_OUT];
    psc_job jobs[2]; /* the one with the longer tasks first */
    jobs[0] = psc_forward_job(f, w, f->mlp, f->ld_n, f->post, f->ld_m, (size_t)f->n_rows);
    psc_status status = attention_output_job(f, plan, &jobs[1]);
    if (status != PSC_OK) return status;
    psc_forward_run(f, jobs + !plan->out_together, plan->out_together ? 2 : 1);
    status = show_attention_output(f, plan, jobs[1].m.blocks);
    if (status == PSC_OK && !plan->parallel) {
        f->pending = PSC_PENDING_ATTN;
        if (psc_forward_wants(f, PSC_HOOK_RESID_MID)) psc_forward_settle(f);
        status = psc_forward_show_rows(f, PSC_HOOK_RESID_MID, f->x, f->n, f->ld_n);
    }
    if (status == PSC_OK && !plan->mlp_early) status = mlp_input(f, plan);
    if (status == PSC_OK) status = show_mlp(f, plan);
    if (status == PSC_OK && !plan->out_together) psc_forward_run(f, jobs, 1);
    f->pending = plan->parallel ? PSC_PENDING_BOTH : PSC_PENDING_MLP;
    if (status != PSC_OK) return status;
    return psc_forward_show_rows(f, PSC_HOOK_MLP_OUT, f->mlp, f->n, f->ld_n);
}

/* A layer from its z on, which the pass gives with the MLP's output. */
static psc_status layer_from_z(psc_forward *f, const layer_plan *plan) {
    psc_job job;
    for (size_t r = 0; r < (size_t)f->n_rows; r++) {
        memcpy(f->z + r * f->ld_n, f->pass->z + r * f->n, f->n * sizeof(float));
        memcpy(f->mlp + r * f->ld_n, f->pass->mlp + r * f->n, f->n * sizeof(float));
    }
    psc_status status = psc_forward_show_heads(f, PSC_HOOK_Z, f->z);
    if (status == PSC_OK) status = attention_output_job(f, plan, &job);
    if (status != PSC_OK) return status;
    psc_forward_run(f, &job, 1);
    status = show_attention_output(f, plan, job.m.blocks);
    f->pending = PSC_PENDING_BOTH;
    if (status == PSC_OK)
        status = psc_forward_show_rows(f, PSC_HOOK_MLP_OUT, f->mlp, f->n, f->ld_n);
    if (status == PSC_OK && psc_forward_wants(f, PSC_HOOK_RESID_POST)) psc_forward_settle(f);
    if (status != PSC_OK) return status;
    return psc_forward_show_rows(f, PSC_HOOK_RESID_POST, f->x, f->n, f->ld_n);
}

psc_status psc_forward_layer(psc_forward *f) {
    const layer_plan plan = plan_layer(f);
    if (f->pass->z && f->layer == f->pass->first_layer) return layer_from_z(f, &plan);
    const psc_layer_norm *ln[2] = {&plan.layer->ln1, &plan.layer->ln2};
    float *y[2] = {f->y1, f->y2};
    if (plan.apart || psc_forward_wants(f, PSC_HOOK_RESID_PRE)) psc_forward_settle(f);
    psc_status status = psc_forward_show_rows(f, PSC_HOOK_RESID_PRE, f->x, f->n, f->ld_n);
    if (status == PSC_OK && !plan.apart)
        status = psc_forward_norm(
            f, plan.mlp_early ? 2 : 1, ln, y, PSC_HOOK_LN1_SCALE, PSC_HOOK_LN1_NORMALIZED);
    if (status == PSC_OK && plan.partial && !plan.heads_shown) return PSC_OK;
    if (status == PSC_OK) status = attention_inputs(f, &plan);
    if (status == PSC_OK) psc_forward_share(f);
    if (status == PSC_OK && (f->n_rows == 0 || plan.partial)) return PSC_OK;
    if (status == PSC_OK) status = psc_forward_attention(f);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_Z, f->z);
    if (status == PSC_OK && f->pass->edges) psc_forward_edges_take_heads(f);
    if (status == PSC_OK) status = outputs(f, &plan);
    if (status == PSC_OK && f->pass->edges) psc_forward_edges_take_mlp(f);
    if (status == PSC_OK && psc_forward_wants(f, PSC_HOOK_RESID_POST)) psc_forward_settle(f);
    if (status != PSC_OK) return status;
    return psc_forward_show_rows(f, PSC_HOOK_RESID_POST, f->x, f->n, f->ld_n);
}
