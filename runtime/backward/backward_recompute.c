/* What a layer's gradient reads of the forward pass, computed again from the kept residual x with the
 * forward pass's kernels, and so with its bits:
 *
 *   rot_q [R,H*D] = rotary(W_Q LN1(x) + b_Q),   a [R,M] = W_in LN2(x') + b_in,
 *   x' = x, or the kept hook_resid_mid of a sequential model
 *
 * In the last layer only for the metric's rows; the others are 0, as where they are kept. What
 * editors changed is kept (backward_edits.c). */
#include "backward_inside.h"

#include <string.h>

typedef struct recompute_job {
    const psc_backward *b;
    const psc_layer_norm *ln;
    const float *x; /* [rows, N] */
    float *y;       /* [rows, ld_n] LN(x) */
    float *q;       /* [rows, N] */
    size_t row;     /* the first one's index in the run */
    psc_matmul m;
    psc_matmul_f32_fn kernel;
} recompute_job;

static void norm_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const recompute_job *job = payload;
    const psc_backward *b = job->b;
    const psc_kernels *k = b->with.kernels;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        float *y = job->y + r * b->ld_n, mean, scale;
        const float *x = job->x + r * b->n;
        k->ln_stats(&mean, &scale, x, b->n, b->with.model->config.layer_norm_eps);
        k->ln_normalize(y, x, b->n, mean, scale);
        k->ln_affine(y, y, job->ln->gamma, job->ln->beta, b->n);
    }
}

static void multiply_panels(int64_t begin, int64_t end, int thread, void *payload) {
    const recompute_job *job = payload;
    psc_matmul m = job->m;
    m.room = psc_forward_room(job->b->with.forward, thread);
    m.panel_begin = (size_t)begin;
    m.panel_end = (size_t)end;
    job->kernel(&m);
}

static void turn_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const recompute_job *job = payload;
    const psc_backward *b = job->b;
    const size_t n_rot = b->with.model->config.rotary_dims;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        const size_t at = (size_t)b->rows[job->row + r].position * (n_rot / 2);
        float *q = job->q + r * b->n;
        b->with.kernels->rotary(
            q, q, b->with.rotary->cos + at, b->with.rotary->sin + at, b->heads, b->d_head, n_rot);
    }
}

/* y [n, out] = W LN(x) + b */
static void product(recompute_job *job, const psc_packed *w, float *y, size_t n) {
    const psc_backward *b = job->b;
    psc_team_for(b->with.team, (int64_t)n, norm_rows, job);
    job->kernel = b->with.kernels->matmul[w->dtype];
    job->m = (psc_matmul){.y = y,
        .ldy = w->out,
        .x = job->y,
        .ldx = b->ld_n,
        .w = w->panels,
        .bias = w->bias,
        .rows = n,
        .k = w->k,
        .k_block = w->k_block,
        .out = w->out};
    psc_team_for(
        b->with.team, (int64_t)((w->out + PSC_LANES - 1) / PSC_LANES), multiply_panels, job);
}

/* Rows row..row+n-1. */
static void recompute_rows(psc_backward *b, size_t row, size_t n) {
    const psc_layer *layer = &b->with.model->layers[b->layer];
    const psc_kept_layer *kept = &b->kept_layers[b->layer];
    recompute_job job = {.b = b,
        .ln = &layer->ln1,
        .x = kept->pre + row * b->n,
        .y = b->dq,
        .q = b->rot_q + row * b->n,
        .row = row};
    if (kept->rot_q == b->rot_q) {
        product(&job, &layer->matrix[PSC_W_Q], job.q, n);
        psc_team_for(b->with.team, (int64_t)n, turn_rows, &job);
    }
    job.ln = &layer->ln2;
    if (kept->mid) job.x = kept->mid + row * b->n;
    if (kept->a == b->a) product(&job, &layer->matrix[PSC_W_IN], b->a + row * b->m, n);
}

void psc_backward_recompute(psc_backward *b) {
    const size_t rows = (size_t)b->n_rows;
    if (b->layer + 1 < (int32_t)b->n_layers) {
        recompute_rows(b, 0, rows);
        return;
    }
    memset(b->rot_q, 0, rows * b->n * sizeof *b->rot_q);
    memset(b->a, 0, rows * b->m * sizeof *b->a);
    int32_t slot = 0;
    for (size_t row, n; (n = psc_backward_stretch(b, &slot, &row)) > 0;) recompute_rows(b, row, n);
}
