/* Sums of outer products in f64, and rows of the weights.
 *
 *   weights_product   out[i, j] += sum_t a[t, i] b[t, j]   tiles of 4 x 4, chains over ascending t
 *   weights_unpack    rows of W by pullback of unit vectors, columns by apply: exact
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
    double *out;
    int64_t stride;
    const weights_panels *a, *b;
    int upper;
} product;

static void add_tile(double *out, int64_t stride, const double *a, const double *b) {
    double s[TILE][TILE];
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++) s[i][j] = out[i * stride + j];
    for (int t = 0; t < PANEL_ROWS; t++, a += TILE, b += TILE)
        for (int i = 0; i < TILE; i++)
            for (int j = 0; j < TILE; j++) s[i][j] += a[i] * b[j];
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++) out[i * stride + j] = s[i][j];
}

static void product_tiles(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const product *p = payload;
    const int64_t size = PANEL_ROWS * TILE;
    (void)thread;
    for (int64_t t = 0; t < p->a->n_rows; t += PANEL_ROWS)
        for (int64_t i = begin; i < end; i++)
            for (int64_t j = p->upper ? i : 0; j < p->b->n_columns / TILE; j++)
                add_tile(p->out + i * TILE * p->stride + j * TILE, p->stride,
                    p->a->x + t * p->a->n_columns + i * size,
                    p->b->x + t * p->b->n_columns + j * size);
}

void weights_product(weights_state *s, double *out, int64_t stride, const weights_panels *a,
    const weights_panels *b, int upper) {
    product p = {out, stride, a, b, upper};
    s->host->parallel_for(s->context, a->n_columns / TILE, product_tiles, &p);
}

/* --- rows of the weights --------------------------------------------------------------------- */

int weights_unpack(weights_state *s, psc_matrix matrix, int32_t layer, int outputs, int64_t count,
    int64_t length, float *out) {
    const psc_host *host = s->host;
    float *units = s->units;
    for (int64_t begin = 0; begin < count; begin += PANEL_ROWS) {
        const int64_t n = count - begin < PANEL_ROWS ? count - begin : PANEL_ROWS;
        for (int64_t i = 0; i < n; i++) units[i * count + begin + i] = 1.0f;
        if ((outputs ? host->pullback : host->apply)(
                s->context, matrix, layer, out + begin * length, units, n))
            return -1;
        for (int64_t i = 0; i < n; i++) units[i * count + begin + i] = 0.0f;
    }
    return 0;
}

void weights_center(double *x, int64_t n) {
    double mean = 0.0;
    for (int64_t i = 0; i < n; i++) mean += x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) x[i] -= mean;
}

int weights_row(weights_state *s, weights_rows kind, int32_t token, double *out) {
    const psc_host *host = s->host;
    const int embed = kind == ROWS_EMBED || kind == ROWS_EMBED_CENTERED;
    if ((embed ? host->embedding : host->unembedding)(s->context, token, s->row)) return -1;
    for (int64_t i = 0; i < s->n; i++)
        out[i] = (double)s->row[i] * (kind == ROWS_U ? (double)s->gamma_f[i] : 1.0);
    if (kind == ROWS_EMBED_CENTERED || kind == ROWS_U) weights_center(out, s->n);
    return 0;
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
        job->failed[m] = LAPACKE_dsyevd(LAPACK_COL_MAJOR, job->vectors ? 'V' : 'N', 'L',
            (lapack_int)job->n, a, (lapack_int)job->stride, w);
        for (int64_t i = 0, j = job->n - 1; i < j; i++, j--) {
            const double value = w[i];
            w[i] = w[j];
            w[j] = value;
            for (int64_t k = 0; k < job->n && job->vectors; k++) {
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
