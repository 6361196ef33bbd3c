/* The residual's sums and LayerNorm, row by row:
 *   x <- (mlp + attn) + x,   m = mean x,  s = sqrt(mean (x-m)^2 + eps),  n = (x-m)/s,
 *   y = fma(n, gamma, beta)
 * Without subscribers a row goes through all of it at once, with the pending terms of the previous
 * layer. LN1 and LN2 of a parallel layer share n. */
#include "forward_inside.h"

#include <assert.h>

typedef enum norm_step { NORM_ALL, NORM_STATS, NORM_NORMALIZE, NORM_AFFINE } norm_step;

typedef struct norm_job {
    psc_forward *f;
    norm_step step;
    int n;
    const psc_layer_norm *const *ln;
    float *const *y;
} norm_job;

static void add_pending(const psc_forward *f, size_t at) {
    float *x = f->x + at;
    if (f->pending == PSC_PENDING_BOTH)
        f->kernels->add3(x, f->mlp + at, f->attn + at, x, f->n);
    else if (f->pending == PSC_PENDING_ATTN)
        f->kernels->add(x, f->attn + at, x, f->n);
    else if (f->pending == PSC_PENDING_MLP)
        f->kernels->add(x, f->mlp + at, x, f->n);
}

static void settle_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const psc_forward *f = payload;
    for (int64_t r = begin; r < end; r++) add_pending(f, (size_t)r * f->ld_n);
}

void psc_forward_settle(psc_forward *f) {
    if (f->pending == PSC_PENDING_NONE) return;
    psc_team_for(f->team, f->n_rows, settle_rows, f);
    f->pending = PSC_PENDING_NONE;
}

static void norm_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const norm_job *p = payload;
    psc_forward *f = p->f;
    const psc_kernels *k = f->kernels;
    for (int64_t r = begin; r < end; r++) {
        size_t at = (size_t)r * f->ld_n;
        float *x = f->x + at, *normalized = f->normalized + at;
        add_pending(f, at);
        if (p->step == NORM_ALL || p->step == NORM_STATS)
            k->ln_stats(&f->mean[r], &f->scale[r], x, f->n, f->model->config.layer_norm_eps);
        if (p->step == NORM_ALL || p->step == NORM_NORMALIZE)
            k->ln_normalize(normalized, x, f->n, f->mean[r], f->scale[r]);
        if (p->step != NORM_ALL && p->step != NORM_AFFINE) continue;
        for (int i = 0; i < p->n; i++)
            k->ln_affine(p->y[i] + at, normalized, p->ln[i]->gamma, p->ln[i]->beta, f->n);
    }
}

psc_status psc_forward_norm(psc_forward *f, int n, const psc_layer_norm *const ln[],
    float *const y[], psc_point scale, psc_point normalized) {
    norm_job p = {f, NORM_ALL, n, ln, y};
    if (!psc_forward_wants(f, scale) && !psc_forward_wants(f, normalized)) {
        psc_team_for(f->team, f->n_rows, norm_rows, &p);
        f->pending = PSC_PENDING_NONE;
        return PSC_OK;
    }
    assert(n == 1);
    p.step = NORM_STATS;
    psc_team_for(f->team, f->n_rows, norm_rows, &p);
    f->pending = PSC_PENDING_NONE;
    psc_status status = psc_forward_show_rows(f, scale, f->scale, 1, 1);
    if (status != PSC_OK) return status;
    p.step = NORM_NORMALIZE;
    psc_team_for(f->team, f->n_rows, norm_rows, &p);
    status = psc_forward_show_rows(f, normalized, f->normalized, f->n, f->ld_n);
    if (status != PSC_OK) return status;
    p.step = NORM_AFFINE;
    psc_team_for(f->team, f->n_rows, norm_rows, &p);
    return PSC_OK;
}
