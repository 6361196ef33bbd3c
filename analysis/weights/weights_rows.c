/* Rows of the weights, and what their spectra are made of.
 *
 *   effective rank    exp(-sum p log p), p = s/sum s */
#include "band_values.h"
#include "weights.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

double *weights_doubles(weights_state *s, int64_t n) {
    return s->host->run_alloc(s->context, (uint64_t)n * sizeof(double));
}

void weights_progress(weights_state *s, double from, double to, int64_t done, int64_t of) {
    s->host->progress(
        s->context, from + (to - from) * (double)(done < of ? done : of) / (double)of);
}

/* --- rows of the weights --------------------------------------------------------------------- */

int weights_row(weights_state *s, weights_rows kind, int32_t token, float *scratch, double *out) {
    const psc_host *host = s->host;
    const int embed = kind == ROWS_EMBED || kind == ROWS_EMBED_CENTERED;
    if ((embed ? host->embedding : host->unembedding)(s->context, token, scratch)) return -1;
    if (kind == ROWS_U)
        for (int64_t i = 0; i < s->n; i++) out[i] = (double)scratch[i] * (double)s->gamma_f[i];
    else
        for (int64_t i = 0; i < s->n; i++) out[i] = (double)scratch[i];
    if (kind == ROWS_EMBED_CENTERED || kind == ROWS_U) psc_center_f64(out, s->n);
    return 0;
}

typedef struct vectors_job {
    double *out;
    const float *from, *gamma;
    int64_t n, stride, count;
    int columns;
    psc_panels *panels;
} vectors_job;

/* PSC_TILE vectors at a time, because those of a matrix's columns share cache lines. */
static void take_vectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const vectors_job *job = payload;
    const int64_t n = job->n;
    (void)thread;
    for (int64_t first = begin * PSC_TILE; first < end * PSC_TILE && first < job->count;
         first += PSC_TILE) {
        const int64_t some = job->count - first < PSC_TILE ? job->count - first : PSC_TILE;
        double *out = job->out + first * n;
        for (int64_t i = 0; i < n; i++) {
            const double gamma = job->gamma ? (double)job->gamma[i] : 1.0;
            const float *from =
                job->from + (job->columns ? i * job->stride + first : first * job->stride + i);
            for (int64_t v = 0; v < some; v++)
                out[v * n + i] = (double)from[job->columns ? v : v * job->stride] * gamma;
        }
        for (int64_t v = 0; v < some; v++) {
            psc_center_f64(out + v * n, n);
            if (job->panels) psc_panels_put(job->panels, first + v, out + v * n, n);
        }
    }
}

void weights_vectors(weights_state *s, double *out, const float *from, int64_t stride,
    int64_t count, int columns, const float *gamma, psc_panels *panels) {
    vectors_job job = {out, from, gamma, s->n, stride, count, columns, panels};
    s->host->parallel_for(s->context, (count + PSC_TILE - 1) / PSC_TILE, take_vectors, &job);
}

/* --- spectra --------------------------------------------------------------------------------- */

void weights_roots(double *out, const double *eigenvalues, int64_t n, int64_t rank) {
    for (int64_t i = 0; i < n; i++) out[i] = i < rank ? sqrt(fmax(eigenvalues[i], 0.0)) : 0.0;
}

double weights_effective_rank(int64_t n, const double *singular_values) {
    double sum = 0.0, entropy = 0.0;
    for (int64_t i = 0; i < n; i++) sum += singular_values[i];
    for (int64_t i = 0; i < n && sum > 0.0; i++) {
        const double p = singular_values[i] / sum;
        if (p > 0.0) entropy -= p * log(p);
    }
    return sum > 0.0 ? exp(entropy) : 0.0;
}

typedef struct eigen_job {
    double *const *matrices, *const *values;
    double *bands, *spare; /* [2, N, PSC_BAND], [2, N] */
    int64_t n, stride;
    int vectors;
    int failed[2];
} eigen_job;

/* LAPACK's ascending values, and vectors as rows, in descending order. */
static void reverse(double *values, double *vectors, int64_t n, int64_t stride) {
    for (int64_t i = 0, j = n - 1; i < j; i++, j--) {
        const double value = values[i];
        values[i] = values[j];
        values[j] = value;
        for (int64_t k = 0; k < n && vectors; k++) {
            const double swapped = vectors[i * stride + k];
            vectors[i * stride + k] = vectors[j * stride + k];
            vectors[j * stride + k] = swapped;
        }
    }
}

static void eigen_one(int64_t begin, int64_t end, int32_t thread, void *payload) {
    eigen_job *job = payload;
    const int64_t n = job->n;
    (void)thread;
    for (int64_t m = begin; m < end; m++) {
        double *a = m < job->vectors ? job->matrices[m] : NULL;
        /* LAPACK reads columns, so a row-major matrix's upper triangle is its lower one. */
        job->failed[m] = a ? (int)LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', (lapack_int)n, a,
                                 (lapack_int)job->stride, job->values[m])
                           : psc_band_values(job->values[m], job->bands + m * n * PSC_BAND,
                                 job->spare + m * n, n);
        reverse(job->values[m], a, n, job->stride);
    }
}

int weights_eigen(
    weights_state *s, double *const *matrices, double *const *values, int n_matrices, int vectors) {
    eigen_job job = {matrices, values, s->bands, s->bands + 2 * s->n * PSC_BAND, s->n, s->padded,
        vectors, {0, 0}};
    for (int m = vectors; m < n_matrices; m++)
        psc_band_reduce(s->bands + m * s->n * PSC_BAND, &s->band, matrices[m], s->padded);
    s->host->parallel_for(s->context, n_matrices, eigen_one, &job);
    return job.failed[0] || job.failed[1]
               ? s->host->fail(s->context,
                     "LAPACK found no eigenvalues: the weights contain NaN or infinities, or memory ran out")
               : 0;
}
