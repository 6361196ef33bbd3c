/* Heads from d_head x d_head matrices: norms, spectra, copying, leading singular triples.
 *
 *   W_QK = Q^T K [N, N],  W_OV = O V [N, N];  Q, K, V [d, N] with gamma and centered rows,
 *   O [N, d] with centered columns; W_QK without 1/sqrt(d); K rotated back by `offset` positions
 *   QR of a factor's N rows: Q^T = Q1 R_Q, so W_QK = Q1 (R_Q R_K^T) K1^T and W_OV = O1 (R_O R_V^T)
 *   V1^T: their SVD is the small matrix's
 *   copying = sum Re lambda / sum |lambda| of V (sum_t e_t u_t^T) O [d, d], whose eigenvalues are
 *   the nonzero ones of W_U W_OV W_E */
#include "weights.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { Q, K, V, O, N_FACTORS };

typedef struct heads_work {
    weights_state *s;
    int32_t layer;
    int64_t n, d, heads;
    float *unpacked;           /* [H d, N] or [N, H d] */
    double *factor[N_FACTORS]; /* [H d, N] */
    double *tau;               /* [H, N_FACTORS, d] */
    double *small;             /* [H, 3, d, d] a matrix, U, V^T; or a matrix, its eigenvalues */
    double *scratch; /* [H, N_FACTORS, d, d] R of the QRs; before the QRs, a row of O [H d] */
    double *turn;    /* [d, d] the rotation of K; null: none */
    psc_panels cross, o_rows; /* sum u e^T; O [N, H d] */
    double *moved;            /* [padded, H d padded] (sum e u^T) O */
    double *eigenvalues;      /* [L, H, d, 2] result */
    int failed;               /* set by any head */
} heads_work;

static int64_t head_at(const heads_work *w, int64_t head) {
    return w->layer * w->heads + head;
}

/* --- factors --------------------------------------------------------------------------------- */

static int unpack_factors(heads_work *w) {
    static const psc_matrix matrices[] = {PSC_W_Q, PSC_W_K, PSC_W_V, PSC_W_O};
    const float *gamma = NULL, *beta = NULL;
    weights_state *s = w->s;
    const int64_t rows = w->heads * w->d;
    if (s->host->ln_parameters(s->context, PSC_LN1, w->layer, &gamma, &beta)) return -1;
    for (int f = 0; f < N_FACTORS; f++) {
        const int64_t n_out = f == O ? w->n : rows, stride = f == O ? rows : w->n;
        if (s->host->matrix_rows(s->context, matrices[f], w->layer, w->unpacked, 0, n_out))
            return -1;
        weights_vectors(
            s, w->factor[f], w->unpacked, stride, rows, f == O, f == O ? NULL : gamma, NULL);
    }
    return 0;
}

/* --- copying --------------------------------------------------------------------------------- */

static int by_modulus(const void *a, const void *b) {
    const double *x = a, *y = b;
    const double p = hypot(x[0], x[1]), q = hypot(y[0], y[1]);
    if (p != q) return p < q ? 1 : -1;
    return x[1] < y[1] ? 1 : x[1] > y[1] ? -1 : 0;
}

static int copying_head(heads_work *w, int64_t head) {
    const int64_t d = w->d, stride = w->o_rows.n_columns;
    double *m = w->small + head * 3 * d * d, *re = m + d * d, *im = re + d; /* of 3 d d */
    double sum = 0.0, moduli = 0.0;
    memset(m, 0, (size_t)(d * d) * sizeof *m);
    for (int64_t i = 0; i < d; i++)
        for (int64_t k = 0; k < w->n; k++) {
            const double v = w->factor[V][(head * d + i) * w->n + k];
            const double *moved = w->moved + k * stride + head * d;
            for (int64_t j = 0; j < d; j++) m[i * d + j] += v * moved[j];
        }
    /* LAPACK reads columns and so sees the transpose, which has the same eigenvalues. */
    if (LAPACKE_dgeev(
            LAPACK_COL_MAJOR, 'N', 'N', (lapack_int)d, m, (lapack_int)d, re, im, NULL, 1, NULL, 1))
        return -1;
    double *out = w->eigenvalues + head_at(w, head) * d * 2;
    for (int64_t i = 0; i < d; i++) {
        out[2 * i] = re[i];
        out[2 * i + 1] = im[i];
        sum += re[i];
        moduli += hypot(re[i], im[i]);
    }
    qsort(out, (size_t)d, 2 * sizeof *out, by_modulus);
    w->s->copying[head_at(w, head)] = moduli > 0.0 ? sum / moduli : 0.0;
    return 0;
}

static void copying_heads(int64_t begin, int64_t end, int32_t thread, void *payload) {
    heads_work *w = payload;
    (void)thread;
    for (int64_t h = begin; h < end; h++)
        if (copying_head(w, h)) w->failed = 1;
}

static int copying_layer(heads_work *w) {
    weights_state *s = w->s;
    const int64_t width = w->heads * w->d;
    double *row = w->scratch; /* unused until the QRs */
    for (int64_t i = 0; i < w->n; i++) {
        for (int64_t c = 0; c < width; c++) row[c] = w->factor[O][c * w->n + i];
        psc_panels_put(&w->o_rows, i, row, width);
    }
    memset(w->moved, 0, (size_t)(s->padded * w->o_rows.n_columns) * sizeof *w->moved);
    if (psc_panels_product(w->moved, w->o_rows.n_columns, &w->cross, &w->o_rows, 0)) return -1;
    s->host->parallel_for(s->context, w->heads, copying_heads, w);
    return 0;
}

/* --- small matrices -------------------------------------------------------------------------- */

/* out [d, d] = a^T b of transposed triangles: (R_a R_b^T)[i, j] = sum_o a[o, i] b[o, j]. */
static void times_transposed(double *out, const double *a, const double *b, int64_t d) {
    memset(out, 0, (size_t)(d * d) * sizeof *out);
    for (int64_t o = 0; o < d; o++)
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++) out[i * d + j] += a[o * d + i] * b[o * d + j];
}

/* out[o, i] = sum_j turn[o, j] x[j, i] (transposed: turn[j, o]): rotates the rows of R over d. */
static void turn_rows(double *out, const double *turn, const double *x, int64_t d, int transposed) {
    memset(out, 0, (size_t)(d * d) * sizeof *out);
    for (int64_t o = 0; o < d; o++)
        for (int64_t j = 0; j < d; j++) {
            const double t = transposed ? turn[j * d + o] : turn[o * d + j];
            for (int64_t i = 0; i < d; i++) out[o * d + i] += t * x[j * d + i];
        }
}

/* R_K's rows are rotated (BEHIND_Q), R_Q's rotated back (BEHIND_K): W_QK = Q^T turn K. */
static void turn_triangles(const heads_work *w, double *triangles, double *spare) {
    const int64_t d = w->d, square = d * d;
    if (!w->turn) return;
    memcpy(spare, triangles + BEHIND_Q * square, (size_t)square * sizeof *spare);
    turn_rows(triangles + BEHIND_Q * square, w->turn, spare, d, 0);
    memcpy(spare, triangles + BEHIND_K * square, (size_t)square * sizeof *spare);
    turn_rows(triangles + BEHIND_K * square, w->turn, spare, d, 1);
}

static double frobenius(const double *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* --- singular triples ------------------------------------------------------------------------ */

/* Writes the factor's orthonormal columns times x_k = x[k * step + j * stride] into directions
 * `side`. */
static int lift(heads_work *w, int64_t head, int factor, int side, const double *x, int64_t step,
    int64_t stride) {
    weights_state *s = w->s;
    const int64_t d = w->d, n = w->n, triples = s->triples;
    double *c =
        s->directions + ((side * s->model->n_layers + w->layer) * w->heads + head) * triples * n;
    for (int64_t k = 0; k < triples; k++)
        for (int64_t j = 0; j < d; j++) c[k * n + j] = x[k * step + j * stride];
    return LAPACKE_dormqr(LAPACK_COL_MAJOR, 'L', 'N', (lapack_int)n, (lapack_int)triples,
               (lapack_int)d, w->factor[factor] + head * d * n, (lapack_int)n,
               w->tau + (head * N_FACTORS + factor) * d, c, (lapack_int)n)
               ? -1
               : 0;
}

/* Fixes the sign of a triple: the largest component of the direction that is read is positive. */
static void fix_signs(heads_work *w, int64_t head, int left, int right) {
    const weights_state *s = w->s;
    const int64_t n = w->n, triples = s->triples, sides = s->model->n_layers * w->heads;
    for (int64_t k = 0; k < triples; k++) {
        double *u = s->directions + ((left * sides + head_at(w, head)) * triples + k) * n;
        double *v = s->directions + ((right * sides + head_at(w, head)) * triples + k) * n;
        int64_t largest = 0;
        for (int64_t i = 1; i < n; i++)
            if (fabs(v[i]) > fabs(v[largest])) largest = i;
        for (int64_t i = 0; i < n && v[largest] < 0.0; i++) u[i] = -u[i];
        if (v[largest] >= 0.0) continue;
        for (int64_t i = 0; i < n; i++) v[i] = -v[i];
    }
}

/* SVD of m [d, d]; sides: the directions to which the left and right vectors belong. */
static int decompose(
    heads_work *w, int64_t head, double *values, const int factors[2], const int sides[2]) {
    const int64_t d = w->d;
    double *m = w->small + head * 3 * d * d, *u = m + d * d, *vt = u + d * d;
    const char job = w->s->directions ? 'A' : 'N';
    if (LAPACKE_dgesdd(LAPACK_ROW_MAJOR, job, (lapack_int)d, (lapack_int)d, m, (lapack_int)d,
            values, u, (lapack_int)d, vt, (lapack_int)d))
        return -1;
    if (job == 'N') return 0;
    if (lift(w, head, factors[0], sides[0], u, 1, d) ||
        lift(w, head, factors[1], sides[1], vt, d, 1))
        return -1;
    fix_signs(w, head, sides[0], sides[1]);
    return 0;
}

/* --- a head ---------------------------------------------------------------------------------- */

static int factorize(heads_work *w, int64_t head, double *r) {
    const int64_t d = w->d, n = w->n;
    for (int f = 0; f < N_FACTORS; f++) {
        double *x = w->factor[f] + head * d * n; /* [N, d] by columns */
        if (LAPACKE_dgeqrf(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)d, x, (lapack_int)n,
                w->tau + (head * N_FACTORS + f) * d))
            return -1;
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i <= j; i++) r[(f * d + j) * d + i] = x[j * n + i];
    }
    return 0;
}

static int do_head(heads_work *w, int64_t head, double *r) {
    static const int qk[2] = {Q, K}, qk_sides[2] = {0, 1}, ov[2] = {O, V}, ov_sides[2] = {3, 2};
    weights_state *s = w->s;
    const int64_t d = w->d, square = d * d, at = head_at(w, head);
    const uint32_t svd = s->what & (WEIGHTS_SPECTRA | WEIGHTS_HEADS);
    double *triangles = s->triangles + at * N_TRIANGLES * square;
    double *m = w->small + head * 3 * square;
    memset(r, 0, (size_t)(N_FACTORS * square) * sizeof *r);
    if (factorize(w, head, r)) return -1;
    memcpy(triangles + BEHIND_Q * square, r + K * square, (size_t)square * sizeof *r);
    memcpy(triangles + BEHIND_K * square, r + Q * square, (size_t)square * sizeof *r);
    memcpy(triangles + BEHIND_V * square, r + O * square, (size_t)square * sizeof *r);
    memcpy(triangles + TRIANGLE_V * square, r + V * square, (size_t)square * sizeof *r);
    turn_triangles(w, triangles, m);
    times_transposed(m, r + Q * square, triangles + BEHIND_Q * square, d);
    s->norm_qk[at] = frobenius(m, square);
    if (svd && decompose(w, head, s->s_qk + at * d, qk, qk_sides)) return -1;
    times_transposed(m, r + O * square, r + V * square, d);
    s->norm_ov[at] = frobenius(m, square);
    return svd ? decompose(w, head, s->s_ov + at * d, ov, ov_sides) : 0;
}

static void do_heads(int64_t begin, int64_t end, int32_t thread, void *payload) {
    heads_work *w = payload;
    (void)thread;
    for (int64_t h = begin; h < end; h++)
        if (do_head(w, h, w->scratch + h * N_FACTORS * w->d * w->d)) w->failed = 1;
}

/* --- all heads ------------------------------------------------------------------------------- */

/* Columns of the rotation of a key `offset` positions back, with the host's own bits. */
static int make_turn(heads_work *w) {
    weights_state *s = w->s;
    if (s->offset == 0) return 0;
    float *unit = s->host->run_alloc(s->context, (uint64_t)w->d * sizeof *unit);
    w->turn = weights_doubles(s, w->d * w->d);
    if (!unit || !w->turn) return -1;
    for (int64_t j = 0; j < w->d; j++) {
        memset(unit, 0, (size_t)w->d * sizeof *unit);
        unit[j] = 1.0f;
        /* The second call turns by nothing: it is the query's part of a scaled embedding. */
        if (s->host->rotate(s->context, s->offset, 1, unit) ||
            s->host->rotate(s->context, 0, 0, unit))
            return -1;
        for (int64_t i = 0; i < w->d; i++) w->turn[i * w->d + j] = (double)unit[i];
    }
    return 0;
}

static int make_work(heads_work *w) {
    static const char *const axes[] = {"layers", "heads", "head_dimensions", "parts"};
    static const char *const parts[] = {"re", "im"};
    weights_state *s = w->s;
    const psc_host *host = s->host;
    const int64_t square = w->d * w->d, all = s->model->n_layers * w->heads, size = w->heads * w->d;
    const int64_t r_size = w->heads * N_FACTORS * square;
    w->unpacked = host->run_alloc(s->context, (uint64_t)(size * w->n) * sizeof(float));
    for (int f = 0; f < N_FACTORS; f++)
        if (!(w->factor[f] = weights_doubles(s, size * w->n))) return -1;
    w->tau = weights_doubles(s, w->heads * N_FACTORS * w->d);
    w->small = weights_doubles(s, w->heads * 3 * square);
    w->scratch = weights_doubles(s, r_size > size ? r_size : size);
    s->triangles = weights_doubles(s, all * N_TRIANGLES * square);
    s->norm_qk = weights_doubles(s, 2 * all);
    s->s_qk = weights_doubles(s, 2 * all * w->d);
    if (s->what & WEIGHTS_HEADS) {
        s->directions = weights_doubles(s, 4 * all * s->triples * w->n);
        if (!s->directions) return -1;
    }
    if (!w->unpacked || !w->tau || !w->small || !w->scratch || !s->triangles || !s->norm_qk ||
        !s->s_qk)
        return -1;
    s->norm_ov = s->norm_qk + all;
    s->s_ov = s->s_qk + all * w->d;
    if (!(s->what & WEIGHTS_COPYING)) return 0;
    if (host->axis_labels(s->context, "parts", 2, parts)) return -1;
    s->copying = host->array(s->context, "copying", PSC_F64, 2, axes);
    w->eigenvalues = host->array(s->context, "ov_eigenvalues", PSC_F64, 4, axes);
    if (!s->copying || !w->eigenvalues ||
        psc_panels_make(&w->cross, s->context, s->host, w->n, w->n) ||
        psc_panels_make(&w->o_rows, s->context, s->host, w->n, size))
        return -1;
    w->moved = weights_doubles(s, s->padded * w->o_rows.n_columns);
    for (int64_t i = 0; i < w->n && w->moved; i++)
        psc_panels_put(&w->cross, i, s->cross + i * s->padded, w->n);
    return w->moved ? 0 : -1;
}

static int head_spectra(weights_state *s) {
    static const char *const axes[] = {"layers", "heads", "head_dimensions"};
    const psc_host *host = s->host;
    const int64_t all = (int64_t)s->model->n_layers * s->model->n_heads, d = s->model->d_head;
    double *qk = host->array(s->context, "spectrum_W_QK", PSC_F64, 3, axes);
    double *ov = host->array(s->context, "spectrum_W_OV", PSC_F64, 3, axes);
    double *rank_qk = host->array(s->context, "effective_rank_W_QK", PSC_F64, 2, axes);
    double *rank_ov = host->array(s->context, "effective_rank_W_OV", PSC_F64, 2, axes);
    if (!qk || !ov || !rank_qk || !rank_ov) return -1;
    memcpy(qk, s->s_qk, (size_t)(all * d) * sizeof *qk);
    memcpy(ov, s->s_ov, (size_t)(all * d) * sizeof *ov);
    for (int64_t h = 0; h < all; h++) {
        rank_qk[h] = weights_effective_rank(d, qk + h * d);
        rank_ov[h] = weights_effective_rank(d, ov + h * d);
    }
    return weights_spectra_summary(s, rank_qk, rank_ov);
}

int weights_heads(weights_state *s) {
    heads_work w = {.s = s, .n = s->n, .d = s->model->d_head, .heads = s->model->n_heads};
    s->directions = NULL;
    if (make_work(&w) || make_turn(&w)) return -1;
    for (w.layer = 0; w.layer < s->model->n_layers; w.layer++) {
        if (unpack_factors(&w) || ((s->what & WEIGHTS_COPYING) && copying_layer(&w))) return -1;
        s->host->parallel_for(s->context, w.heads, do_heads, &w);
        if (w.failed)
            return s->host->fail(s->context,
                "LAPACK cannot decompose the heads of layer %d: the weights contain NaN or infinities, or "
                "memory ran out",
                (int)w.layer);
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
        weights_progress(s, WEIGHTS_FROM_HEADS, WEIGHTS_FROM_MLP, w.layer + 1, s->model->n_layers);
    }
    if ((s->what & WEIGHTS_SPECTRA) && head_spectra(s)) return -1;
    return s->what & WEIGHTS_COPYING ? weights_copying_summary(s) : 0;
}
