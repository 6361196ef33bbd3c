/* Reduction of a symmetric A [n, n] to a band by blocks of reflectors, almost all of it products.
 *
 *   step s     the columns c0 = 16 s .. c0 + 15 below row c0 + 16:  P = Q [R; 0],  Q = I - V T V^T
 *   then       A22 <- Q^T A22 Q = A22 - X V^T - V X^T,  X = W - V T^T (V^T W)/2,  W = A22 V T
 *
 * Rows past n are zeros and stay so. Every number is one chain in a fixed order. */
#include "band.h"

#include <math.h>
#include <string.h>

enum { TILE = PSC_TILE, SQUARE = PSC_TILE * PSC_TILE };

int psc_band_make(psc_band *b, psc_context *context, const psc_host *host, int64_t n) {
    const uint64_t padded = (uint64_t)psc_tiles_up(n), bytes = padded * TILE * sizeof(double);
    *b = (psc_band){.context = context, .host = host, .n = n, .padded = (int64_t)padded};
    b->reductions = host->reductions(context);
    b->a = host->run_alloc(context, padded * padded * sizeof(double));
    b->v = host->run_alloc(context, bytes);
    b->w = host->run_alloc(context, bytes);
    b->left = host->run_alloc(context, 2 * bytes);
    b->right = host->run_alloc(context, 2 * bytes);
    return b->reductions && b->a && b->v && b->w && b->left && b->right ? 0 : -1;
}

/* The tile of columns j: [padded, TILE]. */
static double *columns(const psc_band *b, int64_t j) {
    return b->a + j * b->padded * TILE;
}

/* --- the reflectors of a step ---------------------------------------------------------------- */

/* The reflector of column c of p [m, TILE], from row c on, into v's column c; returns tau. */
static double reflector(double *p, double *v, int64_t m, int64_t c) {
    double tail = 0.0;
    for (int64_t t = c + 1; t < m; t++) tail += p[t * TILE + c] * p[t * TILE + c];
    const double alpha = p[c * TILE + c];
    if (tail == 0.0) return 0.0;
    const double beta = -copysign(sqrt(alpha * alpha + tail), alpha);
    v[c * TILE + c] = 1.0;
    for (int64_t t = c + 1; t < m; t++) {
        v[t * TILE + c] = p[t * TILE + c] / (alpha - beta);
        p[t * TILE + c] = 0.0;
    }
    p[c * TILE + c] = beta;
    return (beta - alpha) / beta;
}

/* p <- [R; 0], v: the reflectors, tau: their factors. */
static void factorize(double *p, double *v, double tau[TILE], int64_t m) {
    memset(v, 0, (size_t)(m * TILE) * sizeof *v);
    for (int64_t c = 0; c < TILE; c++) {
        double dots[TILE] = {0};
        tau[c] = reflector(p, v, m, c);
        for (int64_t t = c; t < m && tau[c] != 0.0; t++)
            for (int64_t j = 0; j < TILE; j++) dots[j] += v[t * TILE + c] * p[t * TILE + j];
        for (int64_t j = 0; j < TILE; j++) dots[j] *= j > c ? tau[c] : 0.0;
        for (int64_t t = c; t < m && tau[c] != 0.0; t++)
            for (int64_t j = 0; j < TILE; j++) p[t * TILE + j] -= v[t * TILE + c] * dots[j];
    }
}

/* T [TILE, TILE], upper triangular, of V [m, TILE]. */
static void triangle(
    const psc_band *b, double *out, const double *v, const double *tau, int64_t m) {
    double dots[SQUARE] = {0};
    b->reductions->add_products(dots, TILE, v, v, (size_t)m);
    memset(out, 0, SQUARE * sizeof *out);
    for (int64_t c = 0; c < TILE; c++) {
        out[c * TILE + c] = tau[c];
        for (int64_t i = 0; i < c; i++) {
            double sum = 0.0;
            for (int64_t k = i; k < c; k++) sum += out[i * TILE + k] * dots[k * TILE + c];
            out[i * TILE + c] = -tau[c] * sum;
        }
    }
}

/* --- the update ------------------------------------------------------------------------------ */

/* to[t] = by_to to[t] + from[t] M for each of m rows. */
static void add_rows_times(
    double *to, double by_to, const double *from, const double *matrix, int64_t m) {
    for (int64_t t = 0; t < m; t++) {
        double row[TILE];
        for (int64_t j = 0; j < TILE; j++) row[j] = by_to == 0.0 ? 0.0 : to[t * TILE + j];
        for (int64_t k = 0; k < TILE; k++)
            for (int64_t j = 0; j < TILE; j++) row[j] += from[t * TILE + k] * matrix[k * TILE + j];
        memcpy(to + t * TILE, row, sizeof row);
    }
}

/* W = A22 V, by tiles of rows, which are tiles of columns. */
static void multiply(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const psc_band *b = payload;
    (void)thread;
    for (int64_t j = begin; j < end; j++) {
        double *out = b->w + (b->first + j * TILE) * TILE;
        memset(out, 0, SQUARE * sizeof *out);
        b->reductions->add_products(out, TILE, columns(b, b->first / TILE + j) + b->first * TILE,
            b->v + b->first * TILE, (size_t)(b->padded - b->first));
    }
}

/* W <- X = W T - V T^T (V^T W T)/2. */
static void complete(psc_band *b, const double *t, int64_t m) {
    double *v = b->v + b->first * TILE, *w = b->w + b->first * TILE;
    double both[SQUARE] = {0}, half[SQUARE] = {0};
    add_rows_times(w, 0.0, w, t, m);
    b->reductions->add_products(both, TILE, v, w, (size_t)m);
    for (int64_t i = 0; i < TILE; i++)
        for (int64_t k = 0; k <= i; k++)
            for (int64_t j = 0; j < TILE; j++)
                half[i * TILE + j] -= 0.5 * t[k * TILE + i] * both[k * TILE + j];
    add_rows_times(w, 1.0, v, half, m);
}

/* The transposed tiles of rows of (X, V) and of (-V, -X). */
static void transpose(psc_band *b, int64_t tile) {
    double *left = b->left + tile * 2 * SQUARE, *right = b->right + tile * 2 * SQUARE;
    for (int64_t i = 0; i < TILE; i++)
        for (int64_t k = 0; k < TILE; k++) {
            const double v = b->v[(tile * TILE + i) * TILE + k];
            const double x = b->w[(tile * TILE + i) * TILE + k];
            left[k * TILE + i] = x;
            left[SQUARE + k * TILE + i] = v;
            right[k * TILE + i] = -v;
            right[SQUARE + k * TILE + i] = -x;
        }
}

static void update(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const psc_band *b = payload;
    const int64_t first = b->first / TILE;
    (void)thread;
    for (int64_t j = first + begin; j < first + end; j++)
        for (int64_t i = first; i < b->padded / TILE; i++)
            b->reductions->add_products(columns(b, j) + i * SQUARE, TILE, b->left + i * 2 * SQUARE,
                b->right + j * 2 * SQUARE, 2 * TILE);
}

/* --- the whole ------------------------------------------------------------------------------- */

static void take(psc_band *b, const double *a, int64_t stride) {
    memset(b->a, 0, (size_t)(b->padded * b->padded) * sizeof *b->a);
    for (int64_t i = 0; i < b->n; i++)
        for (int64_t j = i; j < b->n; j++) {
            columns(b, j / TILE)[i * TILE + j % TILE] = a[i * stride + j];
            columns(b, i / TILE)[j * TILE + i % TILE] = a[i * stride + j];
        }
}

void psc_band_reduce(double *out, psc_band *b, const double *a, int64_t stride) {
    take(b, a, stride);
    for (b->first = TILE; b->first < b->padded; b->first += TILE) {
        const int64_t m = b->padded - b->first;
        double tau[TILE], t[SQUARE], *v = b->v + b->first * TILE;
        factorize(columns(b, b->first / TILE - 1) + b->first * TILE, v, tau, m);
        triangle(b, t, v, tau, m);
        b->host->parallel_for(b->context, m / TILE, multiply, b);
        complete(b, t, m);
        for (int64_t i = b->first / TILE; i < b->padded / TILE; i++) transpose(b, i);
        b->host->parallel_for(b->context, m / TILE, update, b);
    }
    for (int64_t j = 0; j < b->n; j++)
        for (int64_t i = 0; i < PSC_BAND; i++)
            out[j * PSC_BAND + i] =
                j + i < b->n ? columns(b, j / TILE)[(j + i) * TILE + j % TILE] : 0.0;
}
