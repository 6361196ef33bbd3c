/* The three roles of every residual x^l_j, l = 0..L, from the run's retained tensors.
 *
 *   predictor  u . P(x)/sigma + b_t, sigma of x itself under the final LN; u = P(gamma_f * (t_bar -
 *              vocabulary mean)), b_t likewise
 *   attractor  sum_h m_hj/(H (T-1-j)),  m_hj = sum_{k>j} A_kj
 *   influencer sum_h m_hj |W_O,h v_h|,  v = W_V (gamma1 * P(x^l_j)/sigma_j)
 *   later      the same over the layers l' >= l, each with its own A, gamma1, W_V, W_O, sigma^l'_j,
 *              but with x^l_j instead of x^l'_j: what x^l_j itself passes on to later rows */
#include "roles.h"

#include <math.h>

typedef struct residual_job {
    const roles_state *s;
    psc_view x, scale;
    int32_t layer;      /* which residual */
    int32_t reader;     /* the layer whose attention reads it */
    const float *gamma; /* of that layer's LN1 */
    float *y, *v;       /* [rows, N], [rows, H*D] */
    double *out;        /* [rows] the layer's influencer */
} residual_job;

static void predict_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const residual_job *job = payload;
    const roles_state *s = job->s;
    const int64_t n = s->model->d_model;
    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        const float *x = psc_view_row(&job->x, j);
        const int32_t d = s->directions.which[j];
        if (d < 0) continue;
        const float *u = s->directions.u + d * n;
        const double mean = psc_sum_striped(n, x) / (double)n;
        const double variance = psc_dot_centered(n, x, mean, x, mean) / (double)n;
        s->roles[PREDICTOR][job->layer * s->n_rows + j] =
            psc_dot_centered(n, u, 0.0, x, mean) /
                sqrt(variance + (double)s->model->layer_norm_eps) +
            s->directions.constant[d];
    }
}

static void attract_rows(roles_state *s, int32_t layer) {
    const int64_t heads = s->model->n_heads, n_rows = s->n_rows;
    for (int64_t j = 0; j + 1 < n_rows; j++) {
        double sum = 0.0;
        for (int64_t h = 0; h < heads; h++) sum += s->mass[(layer * heads + h) * n_rows + j];
        s->roles[ATTRACTOR][layer * n_rows + j] = sum / (double)(heads * (n_rows - 1 - j));
    }
}

/* gamma1 * P(x)/sigma */
static void normalize_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const residual_job *job = payload;
    const int64_t n = job->s->model->d_model;
    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        const float *x = psc_view_row(&job->x, j);
        const double mean = psc_sum_striped(n, x) / (double)n;
        const double sigma = (double)psc_view_row(&job->scale, j)[0];
        for (int64_t i = 0; i < n; i++)
            job->y[j * n + i] = (float)((double)job->gamma[i] * ((double)x[i] - mean) / sigma);
    }
}

static void influence_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const residual_job *job = payload;
    const roles_state *s = job->s;
    const int64_t heads = s->model->n_heads, size = s->model->d_head;
    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        double sum = 0.0;
        for (int64_t h = 0; h < heads; h++) {
            const int64_t head = job->reader * heads + h;
            const double mass = s->mass[head * s->n_rows + j];
            sum += mass * psc_output_norm(
                              s->gram + head * size * size, job->v + (j * heads + h) * size, size);
        }
        job->out[j] = sum;
    }
}

/* The influence of x^layer on later rows through layer `reader`. */
static int influence(roles_state *s, residual_job *job) {
    const psc_host *host = s->host;
    psc_event scale;
    const float *beta;
    if (host->ln_parameters(s->context, PSC_LN1, job->reader, &job->gamma, &beta) ||
        host->fetch(s->context, s->scale, job->reader, &scale))
        return -1;
    job->scale = scale.tensor;
    host->parallel_for(s->context, s->n_rows, normalize_rows, job);
    if (host->apply(s->context, PSC_W_V, job->reader, job->v, job->y, s->n_rows)) return -1;
    host->parallel_for(s->context, s->n_rows, influence_rows, job);
    return 0;
}

/* The last row has no later row, so its attractor and influencers stay NaN. */
static int influences(roles_state *s, residual_job *job, int32_t layer) {
    const int64_t at = (int64_t)layer * s->n_rows;
    const int32_t end = s->onward ? s->model->n_layers : layer + 1;
    for (job->reader = layer; job->reader < end; job->reader++) {
        if (influence(s, job)) return -1;
        for (int64_t j = 0; j + 1 < s->n_rows; j++) {
            if (job->reader == layer) s->roles[INFLUENCER][at + j] = job->out[j];
            if (!s->onward) continue;
            s->later[at + j] = (job->reader == layer ? 0.0 : s->later[at + j]) + job->out[j];
        }
    }
    return 0;
}

static int make_arrays(roles_state *s) {
    static const char *const names[N_ROLES] = {"predictor", "attractor", "influencer"};
    static const char *const axes[] = {"layers", "rows"};
    const psc_host *host = s->host;
    const int32_t n = s->model->n_layers + 1;
    if (psc_count_axis(s->context, host, "layers", 0, n) ||
        psc_rows_axis(s->context, host, "rows", &s->targets.rows) ||
        psc_targets_results(&s->targets, "rows"))
        return -1;
    for (int r = 0; r < N_ROLES; r++) {
        s->roles[r] = host->array(s->context, names[r], PSC_F64, 2, axes);
        if (!s->roles[r]) return -1;
    }
    s->later = s->onward ? host->array(s->context, "influencer_onward", PSC_F64, 2, axes) : NULL;
    s->map = host->array(s->context, "map", PSC_I32, 2, axes);
    return s->map && (s->later || !s->onward) ? 0 : -1;
}

/* x^l of all rows; layer n_layers is the output of the last layer. */
static int residual_of(roles_state *s, int32_t layer, psc_view *out) {
    const int32_t n = s->model->n_layers;
    psc_event event;
    if (s->host->fetch(
            s->context, layer < n ? s->residuals : s->last, layer < n ? layer : n - 1, &event))
        return -1;
    *out = event.tensor;
    return 0;
}

int roles_figures(roles_state *s) {
    const psc_host *host = s->host;
    const uint64_t rows = (uint64_t)s->n_rows, n = (uint64_t)s->model->d_model;
    const uint64_t width = (uint64_t)s->model->n_heads * (uint64_t)s->model->d_head;
    residual_job job = {.s = s};
    job.y = host->run_alloc(s->context, rows * n * sizeof *job.y);
    job.v = host->run_alloc(s->context, rows * width * sizeof *job.v);
    job.out = host->run_alloc(s->context, rows * sizeof *job.out);
    if (!job.y || !job.v || !job.out || make_arrays(s)) return -1;
    for (int32_t l = 0; l <= s->model->n_layers; l++) {
        job.layer = l;
        if (residual_of(s, l, &job.x)) return -1;
        host->parallel_for(s->context, s->n_rows, predict_rows, &job);
        if (l == s->model->n_layers) break;
        attract_rows(s, l);
        if (influences(s, &job, l)) return -1;
        host->progress(s->context, (l + 1.0) / s->model->n_layers);
        if (host->cancelled(s->context)) return host->fail(s->context, "stopped");
    }
    return 0;
}
