/* Whether one direction of the residual serves several roles: principal angles between three
 * subspaces of at most d dimensions, each the leading right singular directions of a stack of rows:
 *
 *   predictor   the targets' directions u_t, each distinct one once
 *   attractor   for every key row j and head h, the direction of x_j that attracts attention:
 *               P(gamma1 * W_K,h^T R_j^T sum_{k>j} A_kj q_k), q_k rotated, R_j the rotation at j
 *   influencer  W_O,h W_V,h diag(gamma1) P of every head
 *
 * The last two stacks are never made: sum_j m_j m_j^T = F F^T with m_j [D], and G_h = W_O,h^T W_O,h
 * = F F^T, so that D rows F^T W gamma1 P of each head have the same right singular directions. The
 * cosines are the singular values of Q_a Q_b^T. LAPACK computes them: last bits may differ between
 * machines. */
#include "roles.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

typedef struct basis {
    double *q;       /* [dimension, N], orthonormal rows */
    int32_t n;       /* number of rows */
    double captured; /* their share of the stack's squared norm */
} basis;

typedef struct angle_work {
    roles_state *s;
    double *values, *vectors; /* of a singular value decomposition */
    double *moment, *roots;   /* [D, D], its eigenvalues [D] */
    double *stack;            /* [H*D, N] */
    float *factors, *pulled;  /* [H*D, H*D], [H*D, N] */
} angle_work;

static int refuse(roles_state *s, const char *what, lapack_int info) {
    return s->host->fail(
        s->context, "LAPACK's %s did not converge, or memory ran out (%d)", what, (int)info);
}

/* The leading right singular directions of rows [m, N], which are overwritten. LAPACK reads columns
 * and so sees A^T, whose left singular directions these are, one after the other. */
static int leading(angle_work *w, double *rows, int64_t m, basis *out) {
    const int64_t n = w->s->model->d_model, least = m < n ? m : n;
    double kept = 0.0, all = 0.0;
    out->n = 0;
    out->captured = NAN;
    if (least == 0) return 0;
    double unused;
    const lapack_int info = LAPACKE_dgesvd(LAPACK_COL_MAJOR, 'S', 'N', (lapack_int)n, (lapack_int)m,
        rows, (lapack_int)n, w->values, w->vectors, (lapack_int)n, &unused, 1, w->values + least);
    if (info != 0) return refuse(w->s, "dgesvd", info);
    for (int64_t i = 0; i < least; i++) {
        all += w->values[i] * w->values[i];
        if (i >= w->s->dimension || !(w->values[i] > 1e-6 * w->values[0])) continue;
        kept += w->values[i] * w->values[i];
        out->n++;
    }
    memcpy(out->q, w->vectors, (size_t)(out->n * n) * sizeof *out->q);
    out->captured = all > 0.0 ? kept / all : NAN;
    return 0;
}

/* Factors head h's moment = F F^T; F^T goes to rows h*D.. of factors, in the head's columns. */
static int factor(angle_work *w, int64_t h) {
    const int64_t size = w->s->model->d_head, width = w->s->model->n_heads * size;
    const lapack_int info = LAPACKE_dsyev(
        LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)size, w->moment, (lapack_int)size, w->roots);
    if (info != 0) return refuse(w->s, "dsyev", info);
    for (int64_t i = 0; i < size; i++) {
        const double root = w->roots[i] > 0.0 ? sqrt(w->roots[i]) : 0.0;
        float *to = w->factors + (h * size + i) * width + h * size;
        for (int64_t d = 0; d < size; d++) to[d] = (float)(root * w->moment[i * size + d]);
    }
    return 0;
}

/* The leading directions of the stack of F^T W gamma1 P; W is W_K or W_V. */
static int through(angle_work *w, psc_matrix matrix, int32_t layer, basis *out) {
    roles_state *s = w->s;
    const int64_t n = s->model->d_model, width = (int64_t)s->model->n_heads * s->model->d_head;
    const float *gamma, *beta;
    if (s->host->ln_parameters(s->context, PSC_LN1, layer, &gamma, &beta) ||
        s->host->pullback(s->context, matrix, layer, w->pulled, w->factors, width))
        return -1;
    for (int64_t r = 0; r < width; r++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) {
            w->stack[r * n + i] = (double)w->pulled[r * n + i] * (double)gamma[i];
            sum += w->stack[r * n + i];
        }
        for (int64_t i = 0; i < n; i++) w->stack[r * n + i] -= sum / (double)n;
    }
    return leading(w, w->stack, width, out);
}

static int predictor_basis(angle_work *w, basis *out) {
    roles_state *s = w->s;
    const int64_t count = s->directions.n * (int64_t)s->model->d_model;
    double *rows = s->host->run_alloc(s->context, (uint64_t)count * sizeof *rows + 1);
    if (!rows) return -1;
    for (int64_t i = 0; i < count; i++) rows[i] = (double)s->directions.u[i];
    return leading(w, rows, s->directions.n, out);
}

/* The attractor's basis from the keys at row `first` and later. */
static int attractor_basis(angle_work *w, int32_t layer, int32_t first, basis *out) {
    roles_state *s = w->s;
    const int64_t size = s->model->d_head, heads = s->model->n_heads;
    float *m = w->pulled; /* scratch: pulled is unused until the stack is pulled back */
    memset(w->factors, 0, (size_t)(heads * size * heads * size) * sizeof *w->factors);
    for (int64_t h = 0; h < heads; h++) {
        memset(w->moment, 0, (size_t)(size * size) * sizeof *w->moment);
        for (int64_t j = first; j + 1 < s->n_rows; j++) {
            const double *read =
                s->read + (((layer - s->angle_layers.first) * heads + h) * s->n_rows + j) * size;
            for (int64_t d = 0; d < size; d++) m[d] = (float)read[d];
            if (s->host->rotate(s->context, (int32_t)j, 1, m)) return -1;
            for (int64_t a = 0; a < size; a++)
                for (int64_t b = 0; b < size; b++)
                    w->moment[a * size + b] += (double)m[a] * (double)m[b];
        }
        if (factor(w, h)) return -1;
    }
    return through(w, PSC_W_K, layer, out);
}

static int influencer_basis(angle_work *w, int32_t layer, basis *out) {
    roles_state *s = w->s;
    const int64_t size = s->model->d_head, heads = s->model->n_heads;
    memset(w->factors, 0, (size_t)(heads * size * heads * size) * sizeof *w->factors);
    for (int64_t h = 0; h < heads; h++) {
        memcpy(w->moment, s->gram + (layer * heads + h) * size * size,
            (size_t)(size * size) * sizeof *w->moment);
        if (factor(w, h)) return -1;
    }
    return through(w, PSC_W_V, layer, out);
}

/* Cosines of a and b in descending order. */
static int cosines(angle_work *w, const basis *a, const basis *b, double *out) {
    const int64_t n = w->s->model->d_model, least = a->n < b->n ? a->n : b->n;
    if (least == 0) return 0;
    double *product = w->vectors, unused;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t j = 0; j < b->n; j++) {
            double sum = 0.0;
            for (int64_t d = 0; d < n; d++) sum += a->q[i * n + d] * b->q[j * n + d];
            product[i * b->n + j] = sum;
        }
    const lapack_int info =
        LAPACKE_dgesvd(LAPACK_COL_MAJOR, 'N', 'N', (lapack_int)b->n, (lapack_int)a->n, product,
            (lapack_int)b->n, w->values, &unused, 1, &unused, 1, w->values + least);
    if (info != 0) return refuse(w->s, "dgesvd", info);
    for (int64_t i = 0; i < least; i++) out[i] = fmin(w->values[i], 1.0);
    return 0;
}

static int make_work(angle_work *w, basis bases[N_ROLES]) {
    roles_state *s = w->s;
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->model->d_model, size = (uint64_t)s->model->d_head;
    const uint64_t width = (uint64_t)s->model->n_heads * size, d = (uint64_t)s->dimension;
    const uint64_t rows = (uint64_t)s->directions.n, most = rows < width ? width : rows;
    const uint64_t vectors = n * (n < most ? n : most);
    w->values = host->run_alloc(s->context, 2 * (n + most + d) * sizeof(double));
    w->vectors = host->run_alloc(s->context, (vectors > d * d ? vectors : d * d) * sizeof(double));
    w->moment = host->run_alloc(s->context, size * (size + 1) * sizeof(double));
    w->stack = host->run_alloc(s->context, width * n * sizeof(double));
    w->factors = host->run_alloc(s->context, width * width * sizeof(float));
    w->pulled = host->run_alloc(s->context, width * n * sizeof(float));
    if (!w->values || !w->vectors || !w->moment || !w->stack || !w->factors || !w->pulled)
        return -1;
    w->roots = w->moment + size * size;
    for (int r = 0; r < N_ROLES; r++) {
        bases[r].q = host->run_alloc(s->context, d * n * sizeof(double));
        if (!bases[r].q) return -1;
    }
    return 0;
}

typedef struct angle_results {
    double *cosines;  /* [populations, layers, pairs, dimension] */
    double *captured; /* [populations, layers, roles] */
} angle_results;

static int make_results(roles_state *s, int32_t n_layers, angle_results *out) {
    static const char *const pairs[] = {
        "predictor, attractor", "predictor, influencer", "attractor, influencer"};
    static const char *const axes[] = {"populations", "angle_layers", "role_pairs", "dimension"};
    static const char *const role_axes[] = {"populations", "angle_layers", "roles"};
    const psc_host *host = s->host;
    if (host->axis_labels(s->context, "role_pairs", N_ROLES, pairs) ||
        psc_count_axis(s->context, host, "dimension", 0, s->dimension) ||
        psc_count_axis(s->context, host, "angle_layers", s->angle_layers.first, n_layers))
        return -1;
    out->cosines = host->array(s->context, "cosines", PSC_F64, 4, axes);
    out->captured = host->array(s->context, "captured", PSC_F64, 3, role_axes);
    return out->cosines && out->captured ? 0 : -1;
}

/* The mean squared cosine. For random subspaces within 1's complement it would be the larger
 * dimension over N - 1. */
static void add_overlap(roles_state *s, int pair, const basis *a, const basis *b,
    const double *found, int32_t n_layers) {
    const int32_t least = a->n < b->n ? a->n : b->n, most = a->n < b->n ? b->n : a->n;
    double sum = 0.0;
    for (int32_t i = 0; i < least; i++) sum += found[i] * found[i];
    s->overlap[pair] += sum / least / n_layers;
    s->chance[pair] += most / (double)(s->model->d_model - 1) / n_layers;
}

int roles_angles(roles_state *s) {
    static const int pair[N_ROLES][2] = {
        {PREDICTOR, ATTRACTOR}, {PREDICTOR, INFLUENCER}, {ATTRACTOR, INFLUENCER}};
    const int32_t n_layers = s->angle_layers.n;
    angle_work w = {.s = s};
    basis bases[N_ROLES];
    angle_results results;
    if (make_results(s, n_layers, &results) || make_work(&w, bases) ||
        predictor_basis(&w, &bases[PREDICTOR]))
        return -1;
    memset(s->overlap, 0, sizeof s->overlap);
    memset(s->chance, 0, sizeof s->chance);
    for (int32_t l = 0; l < n_layers; l++) {
        if (influencer_basis(&w, s->angle_layers.first + l, &bases[INFLUENCER])) return -1;
        for (int64_t p = 0; p < N_POPULATIONS; p++) {
            if (attractor_basis(&w, s->angle_layers.first + l, (int32_t)p, &bases[ATTRACTOR]))
                return -1;
            const int64_t at = (p * n_layers + l) * N_ROLES;
            for (int i = 0; i < N_ROLES; i++) {
                results.captured[at + i] = bases[i].captured;
                const basis *a = &bases[pair[i][0]], *b = &bases[pair[i][1]];
                double *found = results.cosines + (at + i) * s->dimension;
                if (cosines(&w, a, b, found)) return -1;
                if (p == 1) add_overlap(s, i, a, b, found, n_layers);
            }
        }
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    }
    return 0;
}
