/* Spectra of the MLPs.
 *
 *   W_in    rows D_k = P(gamma_2 * w_in,k)     W_out    columns P(r_k)
 *   singular values = the roots of the eigenvalues of sum_k D_k D_k^T and sum_k P(r_k) P(r_k)^T
 *   [N, N]; those below about 1e-8 of the largest are rounding errors */
#include "weights.h"

#include <string.h>

typedef struct mlp_work {
    float *columns; /* [N, M] */
    weights_panels neurons;
    double *gram[2], *values[2], *row;
} mlp_work;

static int gram_of(weights_state *s, mlp_work *w, int32_t layer, int which) {
    const psc_host *host = s->host;
    const int64_t n = s->n, m = s->model->d_mlp;
    const float *gamma = NULL, *beta = NULL;
    if (host->ln_parameters(s->context, PSC_LN2, layer, &gamma, &beta) ||
        weights_unpack(s, which ? PSC_W_OUT : PSC_W_IN, layer, which, n, m, w->columns))
        return -1;
    for (int64_t k = 0; k < m; k++) {
        for (int64_t i = 0; i < n; i++)
            w->row[i] = (double)w->columns[i * m + k] * (which ? 1.0 : (double)gamma[i]);
        weights_center(w->row, n);
        weights_panels_put(&w->neurons, k, w->row, n);
    }
    memset(w->gram[which], 0, (size_t)(s->padded * s->padded) * sizeof(double));
    weights_product(s, w->gram[which], s->padded, &w->neurons, &w->neurons, 1);
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
    w.columns = host->run_alloc(s->context, (uint64_t)(n * m) * sizeof(float));
    w.row = weights_doubles(s, n);
    if (!w.columns || !w.row || weights_panels_make(s, &w.neurons, m, n)) return -1;
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
    }
    return 0;
}
