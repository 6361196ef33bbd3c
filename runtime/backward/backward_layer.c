/* One layer, last step first. g [R,N] is the gradient at hook_resid_post; attn_out and mlp_out have the
 * same one.
 *
 *   dpost [R,M] = W_out^T g,  da = dpost gelu'(a),  y2 [R,N] = LN2's gradient of W_in^T da
 *   sequential: g <- y2 + g, at hook_resid_mid
 *   dz [R,H*D] = W_O^T g,  dq, dk, dv (backward_attention.c), q and k turned back
 *   y1 = LN1's gradient of (W_Q^T dq + W_K^T dk) + W_V^T dv
 *   parallel: g <- (y2 + y1) + g;  sequential: g <- y1 + g
 *
 * A gradient that an editor may change is shown before it is used. */
#include "backward_inside.h"

#include <string.h>

typedef struct row_job {
    psc_backward *b;
    const float *a; /* hook_pre */
    bool both;
} row_job;

/* The gradient at a write is g itself, or a copy of it that an editor may change. */
static float *at_write(psc_backward *b, psc_point point) {
    if (!psc_backward_edits(b, point)) return b->g;
    const size_t floats = (size_t)b->n_rows * b->ld_n;
    float *copy = psc_forward_grow(&b->edited, floats, b->error);
    if (copy) memcpy(copy, b->g, floats * sizeof *copy);
    return copy;
}

/* --- the MLP --------------------------------------------------------------------------------- */

static void gelu_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const row_job *job = payload;
    const psc_backward *b = job->b;
    const psc_kernels *k = b->with.kernels;
    const bool tanh = b->with.model->config.gelu == PSC_GELU_TANH;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        float *da = b->da + r * b->ld_m;
        if (tanh)
            k->gelu_tanh_backward(da, da, job->a + r * b->m, b->m);
        else
            k->gelu_backward(da, da, job->a + r * b->m, b->m);
    }
}

static psc_status mlp(psc_backward *b) {
    const psc_layer *layer = &b->with.model->layers[b->layer];
    const psc_kept_layer *kept = &b->kept_layers[b->layer];
    float *u = at_write(b, PSC_HOOK_MLP_OUT);
    psc_status status =
        u ? psc_backward_show_rows(b, PSC_HOOK_MLP_OUT, u, b->n, b->ld_n) : PSC_ERROR_MEMORY;
    if (status != PSC_OK) return status;
    psc_backward_pull_live(b, &layer->matrix[PSC_W_OUT], b->da, b->ld_m, u, b->ld_n);
    status = psc_backward_show_rows(b, PSC_HOOK_MLP_POST, b->da, b->m, b->ld_m);
    if (status != PSC_OK) return status;
    row_job job = {.b = b, .a = kept->a};
    psc_team_for(b->with.team, b->n_rows, gelu_rows, &job);
    status = psc_backward_show_rows(b, PSC_HOOK_MLP_PRE, b->da, b->m, b->ld_m);
    if (status != PSC_OK) return status;
    psc_backward_pull_live(b, &layer->matrix[PSC_W_IN], b->y2, b->ld_n, b->da, b->ld_m);
    const psc_backward_site site = {&layer->ln2, kept->mid ? kept->mid : kept->pre, kept->scale2,
        PSC_HOOK_LN2_SCALE, PSC_HOOK_LN2_NORMALIZED};
    return psc_backward_norm(b, b->y2, &site);
}

/* --- attention's input and output ------------------------------------------------------------ */

static void spread_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const row_job *job = payload;
    const psc_backward *b = job->b;
    for (size_t r = (size_t)begin; r < (size_t)end; r++)
        for (size_t h = 0; h < b->heads; h++)
            memcpy(b->result.data + (r * b->heads + h) * b->n, job->a + r * b->ld_n,
                b->n * sizeof(float));
}

/* Each head's write has the gradient u of their sum: all heads of the view are one. An editor gets
 * one of its own for each head, and dz of the head comes from it. */
static psc_status show_result(psc_backward *b, const psc_packed *w, float *u) {
    const size_t rows = (size_t)b->n_rows, ld = b->heads * b->n;
    if (!psc_backward_edits(b, PSC_HOOK_RESULT)) {
        const psc_view shared = {
            u, 3, {b->n_rows, (int64_t)b->heads, (int64_t)b->n}, {(int64_t)b->ld_n, 0, 1}};
        psc_status status = psc_backward_show(b, PSC_HOOK_RESULT, &shared);
        if (status == PSC_OK) psc_backward_pull_live(b, w, b->dz, b->ld_n, u, b->ld_n);
        return status;
    }
    if (!psc_forward_grow(&b->result, rows * ld, b->error)) return PSC_ERROR_MEMORY;
    row_job job = {.b = b, .a = u};
    psc_team_for(b->with.team, b->n_rows, spread_rows, &job);
    const psc_view view = {b->result.data, 3, {b->n_rows, (int64_t)b->heads, (int64_t)b->n},
        {(int64_t)ld, (int64_t)b->n, 1}};
    psc_status status = psc_backward_show(b, PSC_HOOK_RESULT, &view);
    for (size_t h = 0; h < b->heads && status == PSC_OK; h++)
        psc_backward_pull(b, w, b->dz, b->ld_n, b->result.data + h * b->n, ld, rows, h * b->d_head,
            (h + 1) * b->d_head);
    return status;
}

/* dz = W_O^T u, from the gradient at attn_out. */
static psc_status attention_output(psc_backward *b) {
    const psc_packed *w = &b->with.model->layers[b->layer].matrix[PSC_W_O];
    float *u = at_write(b, PSC_HOOK_ATTN_OUT);
    psc_status status =
        u ? psc_backward_show_rows(b, PSC_HOOK_ATTN_OUT, u, b->n, b->ld_n) : PSC_ERROR_MEMORY;
    if (status != PSC_OK) return status;
    if (psc_backward_wants(b, PSC_HOOK_RESULT))
        status = show_result(b, w, u);
    else
        psc_backward_pull_live(b, w, b->dz, b->ld_n, u, b->ld_n);
    return status == PSC_OK ? psc_backward_show_heads(b, PSC_HOOK_Z, b->dz) : status;
}

/* Rotary's transpose: the same turn with -sin. */
static void turn_back(int64_t begin, int64_t end, int thread, void *payload) {
    const row_job *job = payload;
    const psc_backward *b = job->b;
    const size_t n_rot = b->with.model->config.rotary_dims, half = n_rot / 2;
    float *sine = b->scratch + (size_t)thread * b->scratch_floats;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        const size_t at = (size_t)b->rows[r].position * half;
        float *x[] = {b->dq + r * b->ld_n, b->dk + r * b->ld_n};
        for (size_t i = 0; i < half; i++) sine[i] = -b->with.rotary->sin[at + i];
        for (int i = 0; i < 2; i++)
            b->with.kernels->rotary(
                x[i], x[i], b->with.rotary->cos + at, sine, b->heads, b->d_head, n_rot);
    }
}

static void sum_inputs(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const psc_backward *b = ((const row_job *)payload)->b;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        const size_t at = r * b->ld_n;
        b->with.kernels->add3(b->dz + at, b->dz + at, b->dq + at, b->dk + at, b->n);
    }
}

/* dz = LN1's gradient, from dq and dk after rotary and dv. */
static psc_status attention_inputs(psc_backward *b) {
    const psc_layer *layer = &b->with.model->layers[b->layer];
    const size_t rows = (size_t)b->n_rows, ld = b->ld_n;
    row_job job = {.b = b};
    psc_status status = psc_backward_show_heads(b, PSC_HOOK_ROT_Q, b->dq);
    if (status == PSC_OK) status = psc_backward_show_heads(b, PSC_HOOK_ROT_K, b->dk);
    if (status != PSC_OK) return status;
    psc_team_for(b->with.team, b->n_rows, turn_back, &job);
    status = psc_backward_show_heads(b, PSC_HOOK_Q, b->dq);
    if (status == PSC_OK) status = psc_backward_show_heads(b, PSC_HOOK_K, b->dk);
    if (status == PSC_OK) status = psc_backward_show_heads(b, PSC_HOOK_V, b->dv);
    if (status != PSC_OK) return status;
    psc_backward_pull_live(b, &layer->matrix[PSC_W_Q], b->dz, ld, b->dq, ld);
    psc_backward_pull(b, &layer->matrix[PSC_W_K], b->dq, ld, b->dk, ld, rows, 0, b->n);
    psc_backward_pull(b, &layer->matrix[PSC_W_V], b->dk, ld, b->dv, ld, rows, 0, b->n);
    psc_team_for(b->with.team, b->n_rows, sum_inputs, &job);
    const psc_kept_layer *kept = &b->kept_layers[b->layer];
    const psc_backward_site site = {
        &layer->ln1, kept->pre, kept->scale1, PSC_HOOK_LN1_SCALE, PSC_HOOK_LN1_NORMALIZED};
    return psc_backward_norm(b, b->dz, &site);
}

/* --- the layer ------------------------------------------------------------------------------- */

/* g <- (y2 + y1) + g, or with one of them. */
static void add_shares(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const row_job *job = payload;
    const psc_backward *b = job->b;
    const psc_kernels *k = b->with.kernels;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        float *g = b->g + r * b->ld_n;
        if (job->both)
            k->add3(g, b->y2 + r * b->ld_n, b->dz + r * b->ld_n, g, b->n);
        else
            k->add(g, job->a + r * b->ld_n, g, b->n);
    }
}

psc_status psc_backward_layer(psc_backward *b) {
    const bool parallel = b->with.model->config.parallel_residual;
    row_job job = {.b = b, .a = b->y2, .both = parallel};
    psc_status status = psc_backward_show_rows(b, PSC_HOOK_RESID_POST, b->g, b->n, b->ld_n);
    if (status == PSC_OK) status = mlp(b);
    if (status == PSC_OK && !parallel) {
        psc_team_for(b->with.team, b->n_rows, add_shares, &job);
        status = psc_backward_show_rows(b, PSC_HOOK_RESID_MID, b->g, b->n, b->ld_n);
    }
    if (status == PSC_OK) status = attention_output(b);
    if (status == PSC_OK) status = psc_backward_attention(b);
    if (status == PSC_OK) status = attention_inputs(b);
    if (status != PSC_OK) return status;
    job.a = b->dz;
    psc_team_for(b->with.team, b->n_rows, add_shares, &job);
    return psc_backward_show_rows(b, PSC_HOOK_RESID_PRE, b->g, b->n, b->ld_n);
}
