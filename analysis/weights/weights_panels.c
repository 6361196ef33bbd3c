/* Sums of outer products in f64, and rows of the weights.
 *
 *   weights_product   out[i, j] += sum_t a[t, i] b[t, j]   the host's add_products, ascending t
 *   effective rank    exp(-sum p log p), p = s/sum s */
#include "weights.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

double *weights_doubles(weights_state *s, int64_t n) {
    return s->host->run_alloc(s->context, (uint64_t)n * sizeof(double));
}

/* --- products -------------------------------------------------------------------------------- */

int weights_panels_make(weights_state *s, weights_panels *out, int64_t n_rows, int64_t n_columns) {
    out->n_rows = (n_rows + PANEL_ROWS - 1) / PANEL_ROWS * PANEL_ROWS;
    out->n_columns = (n_columns + TILE - 1) / TILE * TILE;
    out->x = weights_doubles(s, out->n_rows * out->n_columns);
    return out->x ? 0 : -1;
}

void weights_panels_put(weights_panels *p, int64_t row, const double *x, int64_t n) {
    double *at = p->x + row / PANEL_ROWS * PANEL_ROWS * p->n_columns + row % PANEL_ROWS * TILE;
    for (int64_t i = 0; i < n; i += TILE, at += PANEL_ROWS * TILE)
        for (int64_t j = i; j < n && j < i + TILE; j++) at[j - i] = x[j];
}

typedef struct product {
    const psc_reductions *reductions;
    double *out;
    int64_t stride;
    const weights_panels *a, *b;
    int upper;
} product;

/* Rows of tiles from both ends in turn, so that the parts of a triangle cost the same. */
static int64_t row_of_tiles(const product *p, int64_t place) {
    if (!p->upper) return place;
    return place % 2 ? p->a->n_columns / TILE - 1 - place / 2 : place / 2;
}

static void product_tiles(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const product *p = payload;
    const int64_t size = PANEL_ROWS * TILE;
    (void)thread;
    for (int64_t t = 0; t < p->a->n_rows; t += PANEL_ROWS)
        for (int64_t place = begin; place < end; place++) {
            const int64_t i = row_of_tiles(p, place);
            for (int64_t j = p->upper ? i : 0; j < p->b->n_columns / TILE; j++)
                p->reductions->add_products(p->out + i * TILE * p->stride + j * TILE,
                    (size_t)p->stride, p->a->x + t * p->a->n_columns + i * size,
                    p->b->x + t * p->b->n_columns + j * size, PANEL_ROWS);
        }
}

void weights_product(weights_state *s, double *out, int64_t stride, const weights_panels *a,
    const weights_panels *b, int upper) {
    product p = {s->reductions, out, stride, a, b, upper};
    s->host->parallel_for(s->context, a->n_columns / TILE, product_tiles, &p);
}

/* --- rows of the weights --------------------------------------------------------------------- */

void weights_center(double *x, int64_t n) {
    double lanes[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) lanes[j] += x[i + j];
    for (int j = 0; i + j < n; j++) lanes[j] += x[i + j];
    const double mean = psc_fold16(lanes) / (double)n;
    for (i = 0; i < n; i++) x[i] -= mean;
}

double weights_dot(int64_t n, const double *a, const double *b) {
    double lanes[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) lanes[j] += a[i + j] * b[i + j];
    for (int j = 0; i + j < n; j++) lanes[j] += a[i + j] * b[i + j];
    return psc_fold16(lanes);
}

int weights_row(weights_state *s, weights_rows kind, int32_t token, float *scratch, double *out) {
    const psc_host *host = s->host;
    const int embed = kind == ROWS_EMBED || kind == ROWS_EMBED_CENTERED;
    if ((embed ? host->embedding : host->unembedding)(s->context, token, scratch)) return -1;
    if (kind == ROWS_U)
        for (int64_t i = 0; i < s->n; i++) out[i] = (double)scratch[i] * (double)s->gamma_f[i];
    else
        for (int64_t i = 0; i < s->n; i++) out[i] = (double)scratch[i];
    if (kind == ROWS_EMBED_CENTERED || kind == ROWS_U) weights_center(out, s->n);
    return 0;
}

typedef struct vectors_job {
    double *out;
    const float *from, *gamma;
    int64_t n, stride, count;
    int columns;
    weights_panels *panels;
} vectors_job;

/* TILE vectors at a time, because those of a matrix's columns share cache lines. */
static void take_vectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const vectors_job *job = payload;
    const int64_t n = job->n;
    (void)thread;
    for (int64_t first = begin * TILE; first < end * TILE && first < job->count; first += TILE) {
        const int64_t some = job->count - first < TILE ? job->count - first : TILE;
        double *out = job->out + first * n;
        for (int64_t i = 0; i < n; i++) {
            const double gamma = job->gamma ? (double)job->gamma[i] : 1.0;
            const float *from =
                job->from + (job->columns ? i * job->stride + first : first * job->stride + i);
            for (int64_t v = 0; v < some; v++)
                out[v * n + i] = (double)from[job->columns ? v : v * job->stride] * gamma;
        }
        for (int64_t v = 0; v < some; v++) {
            weights_center(out + v * n, n);
            if (job->panels) weights_panels_put(job->panels, first + v, out + v * n, n);
        }
    }
}

void weights_vectors(weights_state *s, double *out, const float *from, int64_t stride,
    int64_t count, int columns, const float *gamma, weights_panels *panels) {
    vectors_job job = {out, from, gamma, s->n, stride, count, columns, panels};
    s->host->parallel_for(s->context, (count + TILE - 1) / TILE, take_vectors, &job);
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
    int64_t n, stride;
    int vectors;
    lapack_int failed[2];
} eigen_job;

static void eigen_one(int64_t begin, int64_t end, int32_t thread, void *payload) {
    eigen_job *job = payload;
    (void)thread;
    for (int64_t m = begin; m < end; m++) {
        double *w = job->values[m], *a = job->matrices[m];
        /* LAPACK reads columns, so a row-major matrix's upper triangle is its lower one. */
        job->failed[m] = LAPACKE_dsyevd(LAPACK_COL_MAJOR, m < job->vectors ? 'V' : 'N', 'L',
            (lapack_int)job->n, a, (lapack_int)job->stride, w);
        for (int64_t i = 0, j = job->n - 1; i < j; i++, j--) {
            const double value = w[i];
            w[i] = w[j];
            w[j] = value;
            for (int64_t k = 0; k < job->n && m < job->vectors; k++) {
                const double swapped = a[i * job->stride + k];
                a[i * job->stride + k] = a[j * job->stride + k];
                a[j * job->stride + k] = swapped;
            }
        }
    }
}

int weights_eigen(
    weights_state *s, double *const *matrices, double *const *values, int n_matrices, int vectors) {
    eigen_job job = {matrices, values, s->n, s->padded, vectors, {0, 0}};
    s->host->parallel_for(s->context, n_matrices, eigen_one, &job);
    return job.failed[0] || job.failed[1]
               ? s->host->fail(s->context,
                     "LAPACK found no eigenvalues: the weights contain NaN or infinities, or memory ran out")
               : 0;
}
