/* The gradient before a LayerNorm y = gamma n + beta, n = (x - mean)/s, from dy, row by row:
 *   dn = gamma dy,  ds = -(dn . n)/s,  dx = (dn - mean dn)/s + m ds/N,  m = n
 * n and s come from the kept x with the forward pass's kernels, so they are its values. If editors
 * changed s, s and n are with what they left, and m = (x - mean)/(the s before them). Without
 * subscribers a row goes through all steps at once. */
#include "backward_inside.h"

typedef enum norm_step { NORM_ALL, NORM_NORMALIZED, NORM_SCALE, NORM_INPUT } norm_step;

typedef struct norm_job {
    psc_backward *b;
    norm_step step;
    float *y;
    const float *gamma, *x, *edited;
} norm_job;

static void norm_rows(int64_t begin, int64_t end, int thread, void *payload) {
    const norm_job *job = payload;
    const psc_backward *b = job->b;
    const psc_kernels *k = b->with.kernels;
    const float eps = b->with.model->config.layer_norm_eps;
    const size_t n = b->n;
    float *normalized = b->scratch + (size_t)thread * b->scratch_floats;
    const bool all = job->step == NORM_ALL;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        float *y = job->y + r * b->ld_n, mean, dot;
        const float *x = job->x + r * n;
        if (all || job->step == NORM_NORMALIZED) k->ln_affine(y, y, job->gamma, b->zeros, n);
        if (job->step == NORM_NORMALIZED) continue;
        k->ln_stats(&mean, &b->scale[r], x, n, eps);
        const float own = b->scale[r];
        if (job->edited) b->scale[r] = job->edited[r];
        k->ln_normalize(normalized, x, n, mean, b->scale[r]);
        if (all || job->step == NORM_SCALE) {
            k->dot(&dot, y, normalized, n);
            b->dscale[r] = -dot / b->scale[r];
        }
        if (!all && job->step != NORM_INPUT) continue;
        if (job->edited) k->ln_normalize(normalized, x, n, mean, own);
        k->ln_backward(y, y, normalized, n, b->scale[r], b->dscale[r]);
    }
}

psc_status psc_backward_norm(psc_backward *b, float *y, const psc_backward_site *site) {
    norm_job job = {b, NORM_ALL, y, site->ln->gamma, site->x, site->edited};
    if (!psc_backward_wants(b, site->scale) && !psc_backward_wants(b, site->normalized)) {
        psc_team_for(b->with.team, b->n_rows, norm_rows, &job);
        return PSC_OK;
    }
    job.step = NORM_NORMALIZED;
    psc_team_for(b->with.team, b->n_rows, norm_rows, &job);
    psc_status status = psc_backward_show_rows(b, site->normalized, y, b->n, b->ld_n);
    if (status != PSC_OK) return status;
    job.step = NORM_SCALE;
    psc_team_for(b->with.team, b->n_rows, norm_rows, &job);
    status = psc_backward_show_rows(b, site->scale, b->dscale, 1, 1);
    if (status != PSC_OK) return status;
    job.step = NORM_INPUT;
    psc_team_for(b->with.team, b->n_rows, norm_rows, &job);
    return PSC_OK;
}
