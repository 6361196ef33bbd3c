/* Spectra of the MLPs.
 *
 *   W_in    rows D_k = P(gamma_2 * w_in,k)     W_out    columns P(r_k)
 *   singular values = the roots of the eigenvalues of sum_k D_k D_k^T and sum_k P(r_k) P(r_k)^T
 *   [N, N]; those below about 1e-8 of the largest are rounding errors */
#include "weights.h"

#include <string.h>

enum { BLOCK = 2 * PSC_PANEL_ROWS };

typedef struct mlp_work {
    float *unpacked; /* [BLOCK, N] rows of W_in; [N, M] */
    psc_panels neurons;
    double *gram[2], *values[2], *rows; /* rows [BLOCK, N] */
} mlp_work;

static int gram_of(weights_state *s, mlp_work *w, int32_t layer, int which) {
    const psc_host *host = s->host;
    const int64_t n = s->n, m = s->model->d_mlp;
    const float *gamma = NULL, *beta = NULL;
    if (host->ln_parameters(s->context, PSC_LN2, layer, &gamma, &beta) ||
        (which && host->matrix_rows(s->context, PSC_W_OUT, layer, w->unpacked, 0, n)))
        return -1;
    memset(w->gram[which], 0, (size_t)(s->padded * s->padded) * sizeof(double));
    for (int64_t k = 0; k < m; k += BLOCK) {
        const int64_t count = m - k < BLOCK ? m - k : BLOCK;
        if (!which && host->matrix_rows(s->context, PSC_W_IN, layer, w->unpacked, k, k + count))
            return -1;
        if (count < BLOCK)
            memset(w->neurons.x, 0, (size_t)(BLOCK * w->neurons.n_columns) * sizeof(double));
        weights_vectors(s, w->rows, w->unpacked + (which ? k : 0), which ? m : n, count, which,
            which ? NULL : gamma, &w->neurons);
        if (psc_panels_product(w->gram[which], s->padded, &w->neurons, &w->neurons, 1)) return -1;
        if (host->cancelled(s->context)) return host->fail(s->context, "stopped");
    }
    return 0;
}

int weights_mlp(weights_state *s) {
    static const char *const axes[] = {"layers", "dimensions"};
    static const char *const names[] = {"spectrum_W_in", "spectrum_W_out"};
    static const char *const ranks[] = {"effective_rank_W_in", "effective_rank_W_out"};
    const psc_host *host = s->host;
    const int64_t n = s->n, m = s->model->d_mlp;
    mlp_work w;
    double *out[2], *rank[2];
    const int64_t most = m > BLOCK ? m : BLOCK;
    w.unpacked = host->run_alloc(s->context, (uint64_t)(n * most) * sizeof(float));
    w.rows = weights_doubles(s, BLOCK * n);
    if (!w.unpacked || !w.rows || psc_panels_make(&w.neurons, s->context, s->host, BLOCK, n))
        return -1;
    for (int i = 0; i < 2; i++) {
        w.gram[i] = weights_doubles(s, s->padded * s->padded);
        w.values[i] = weights_doubles(s, n);
        out[i] = host->array(s->context, names[i], PSC_F64, 2, axes);
        rank[i] = host->array(s->context, ranks[i], PSC_F64, 1, axes);
        if (!w.gram[i] || !w.values[i] || !out[i] || !rank[i]) return -1;
    }
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        if (gram_of(s, &w, l, 0) || gram_of(s, &w, l, 1) ||
            weights_eigen(s, w.gram, w.values, 2, 0))
            return -1;
        for (int i = 0; i < 2; i++) {
            weights_roots(out[i] + l * n, w.values[i], n, m < n - 1 ? m : n - 1);
            rank[i][l] = weights_effective_rank(n, out[i] + l * n);
        }
        if (host->cancelled(s->context)) return host->fail(s->context, "stopped");
        weights_progress(s, WEIGHTS_FROM_MLP, WEIGHTS_FROM_COMPOSITION, l + 1, s->model->n_layers);
    }
    return 0;
}
