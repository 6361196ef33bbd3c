/* Norms of a weight matrix's rows and columns, W [out, k] in panels w[panel][k][16].
 *
 *   row o      |W[o,:]|, or minus its mean m over k, sqrt(sum_k (W[o,k] - m)^2)
 *   column i   |W[:,i]|, likewise over o: the norm of P(W[:,i])
 *
 * In f64, each sum one chain in ascending order: the same bits for any split of the work. */
#include "host.h"

#include <math.h>
#include <string.h>

/* Steps of k to widen at once. */
#define STEPS 64

typedef struct norm_job {
    const psc_kernels *kernels;
    const psc_packed *w;
    int centered;
    double *out;
} norm_job;

/* Steps k .. k+n-1 of a panel as f32 [n][16]: in scratch, unless the panel is f32 already. */
static const float *widen(const norm_job *job, float *scratch, size_t panel, size_t k, size_t n) {
    const psc_packed *w = job->w;
    const char *from =
        (const char *)w->panels + (panel * w->k + k) * PSC_LANES * psc_dtype_size(w->dtype);
    if (w->dtype == PSC_DTYPE_F32) return (const float *)(const void *)from;
    if (w->dtype == PSC_DTYPE_F16)
        job->kernels->widen_f16(scratch, from, n * PSC_LANES);
    else
        job->kernels->widen_bf16(scratch, from, n * PSC_LANES);
    return scratch;
}

/* Adds to sum[16] the elements of a panel (power 1) or their squared distances from mean[16]. */
static void add_rows(
    const norm_job *job, size_t panel, int power, const double mean[PSC_LANES], double *sum) {
    float scratch[STEPS * PSC_LANES];
    for (size_t k = 0; k < job->w->k; k += STEPS) {
        size_t n = job->w->k - k < STEPS ? job->w->k - k : STEPS;
        const float *x = widen(job, scratch, panel, k, n);
        for (size_t i = 0; i < n * PSC_LANES; i++) {
            double d = (double)x[i] - mean[i % PSC_LANES];
            sum[i % PSC_LANES] += power == 1 ? d : d * d;
        }
    }
}

static void row_norms_part(int64_t begin, int64_t end, int thread, void *payload) {
    const norm_job *job = payload;
    (void)thread;
    for (size_t panel = (size_t)begin; panel < (size_t)end; panel++) {
        double mean[PSC_LANES] = {0}, zero[PSC_LANES] = {0}, sum[PSC_LANES] = {0};
        if (job->centered) add_rows(job, panel, 1, zero, mean);
        for (size_t i = 0; i < PSC_LANES; i++) mean[i] /= (double)job->w->k;
        add_rows(job, panel, 2, mean, sum);
        for (size_t i = 0; i < PSC_LANES && panel * PSC_LANES + i < job->w->out; i++)
            job->out[panel * PSC_LANES + i] = sqrt(sum[i]);
    }
}

/* The same over outputs for n <= STEPS columns from k on. */
static void add_columns(
    const norm_job *job, size_t k, size_t n, int power, const double *mean, double *sum) {
    float scratch[STEPS * PSC_LANES];
    for (size_t o = 0; o < job->w->out; o += PSC_LANES) {
        size_t lanes = job->w->out - o < PSC_LANES ? job->w->out - o : PSC_LANES;
        const float *x = widen(job, scratch, o / PSC_LANES, k, n);
        for (size_t i = 0; i < n; i++) {
            for (size_t lane = 0; lane < lanes; lane++) {
                double d = (double)x[i * PSC_LANES + lane] - mean[i];
                sum[i] += power == 1 ? d : d * d;
            }
        }
    }
}

static void column_norms_part(int64_t begin, int64_t end, int thread, void *payload) {
    const norm_job *job = payload;
    (void)thread;
    for (size_t group = (size_t)begin; group < (size_t)end; group++) {
        size_t k = group * STEPS, n = job->w->k - k < STEPS ? job->w->k - k : STEPS;
        double mean[STEPS] = {0}, zero[STEPS] = {0}, sum[STEPS] = {0};
        if (job->centered) add_columns(job, k, n, 1, zero, mean);
        for (size_t i = 0; i < n; i++) mean[i] /= (double)job->w->out;
        add_columns(job, k, n, 2, mean, sum);
        for (size_t i = 0; i < n; i++) job->out[k + i] = sqrt(sum[i]);
    }
}

/* The matrix, if a call that writes to out is allowed; null after setting the error. */
static const psc_packed *matrix_to(
    psc_context **given, const char *call, psc_matrix matrix, int32_t layer, const double *out) {
    if (!psc_host_may(given, call, PSC_IN_ANY | PSC_IN_PART)) return NULL;
    const psc_packed *w = psc_host_matrix(*given, call, matrix, layer);
    return w && psc_host_given(*given, call, "out", out) ? w : NULL;
}

int psc_host_row_norms(
    psc_context *context, psc_matrix matrix, int32_t layer, int centered, double *out) {
    const psc_packed *w = matrix_to(&context, "row_norms", matrix, layer, out);
    if (!w) return PSC_ERROR_INPUT;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    norm_job job = {context->session->kernels, w, centered, out};
    psc_host_spread(context, (int64_t)((w->out + PSC_LANES - 1) / PSC_LANES), row_norms_part, &job);
    return 0;
}

int psc_host_column_norms(
    psc_context *context, psc_matrix matrix, int32_t layer, int centered, double *out) {
    const psc_packed *w = matrix_to(&context, "column_norms", matrix, layer, out);
    if (!w) return PSC_ERROR_INPUT;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    norm_job job = {context->session->kernels, w, centered, out};
    psc_host_spread(context, (int64_t)((w->k + STEPS - 1) / STEPS), column_norms_part, &job);
    return 0;
}
