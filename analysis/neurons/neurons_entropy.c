/* Entropy neurons: long writes into directions that logits barely read. They change sigma, and
 * through it the entropy, but few logits.
 *
 *   rho_k = |V0^T P(r_k)|/|P(r_k)|, V0: the bottom ceil(N/64) singular directions of {u_t} within
 *   1's complement, u_t = P(gamma_f * t_bar)
 *   Var_t cos(u_t, P r) = r^T C r/|r|^2 - (m . r/|r|)^2, C and m the means of u u^T/|u|^2 and u/|u|
 *
 * Sums over the vocabulary are f64 in token order. LAPACK computes V0, so rho's last bits may
 * differ between machines. */
#include "neurons.h"

#include <lapacke.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 64, SHARE = 64 };

typedef struct entropy_work {
    neurons_state *s;
    neuron_weights weights;
    double *gram, *cosines; /* [N, N] sum u u^T; sum of unit u u^T; j >= i only */
    double *mean;           /* [N] sum of unit u */
    double *u, *unit;       /* [BLOCK, N] */
    int64_t count;          /* of the block */
    double *values;         /* [N] */
    int64_t bottom;         /* directions of V0 */
    int32_t layer;
    double *rho, *norm, *variance; /* results [L, M], [L, M], [listed] */
} entropy_work;

static int load_block(entropy_work *w, int64_t first, const float *gamma, float *row) {
    const int64_t n = w->s->model->d_model, left = w->s->model->d_vocab - first;
    w->count = left < BLOCK ? left : BLOCK;
    for (int64_t t = 0; t < w->count; t++) {
        double *u = w->u + t * n, sum = 0.0, square = 0.0;
        if (w->s->host->unembedding(w->s->context, (int32_t)(first + t), row)) return -1;
        for (int64_t i = 0; i < n; i++) sum += u[i] = (double)gamma[i] * (double)row[i];
        for (int64_t i = 0; i < n; i++) {
            u[i] -= sum / (double)n;
            square += u[i] * u[i];
        }
        const double length = square > 0.0 ? sqrt(square) : 1.0; /* a zero row has cosine 0 */
        for (int64_t i = 0; i < n; i++) {
            w->unit[t * n + i] = u[i] / length;
            w->mean[i] += u[i] / length;
        }
    }
    return 0;
}

static void add_block(int64_t begin, int64_t end, int32_t thread, void *payload) {
    entropy_work *w = payload;
    const int64_t n = w->s->model->d_model;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        const int64_t i = p % 2 ? n - 1 - p / 2 : p / 2; /* alternates long and short rows */
        for (int64_t t = 0; t < w->count; t++) {
            const double a = w->u[t * n + i], b = w->unit[t * n + i];
            for (int64_t j = i; j < n; j++) {
                w->gram[i * n + j] += a * w->u[t * n + j];
                w->cosines[i * n + j] += b * w->unit[t * n + j];
            }
        }
    }
}

/* Puts the bottom directions into the first rows of gram. The direction 1, whose value is 0, is
 * lifted to the top first. */
static int bottom_directions(entropy_work *w) {
    const lapack_int n = w->s->model->d_model;
    double trace = 0.0;
    for (int64_t i = 0; i < n; i++) trace += w->gram[i * n + i];
    for (int64_t i = 0; i < (int64_t)n * n; i++) w->gram[i] += 2.0 * (trace + 1.0) / n;
    const lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', n, w->gram, n, w->values);
    if (info != 0)
        return w->s->host->fail(
            w->s->context, "LAPACK's dsyevd did not converge, or memory ran out (%d)", (int)info);
    w->bottom = (n + SHARE - 1) / SHARE;
    return 0;
}

static void measure(int64_t begin, int64_t end, int32_t thread, void *payload) {
    entropy_work *w = payload;
    const int64_t n = w->s->model->d_model, m = w->s->model->d_mlp;
    (void)thread;
    for (int64_t k = begin; k < end; k++) {
        double mean = 0.0, square = 0.0, inside = 0.0;
        for (int64_t i = 0; i < n; i++) mean += (double)w->weights.columns[i * m + k] / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double r = (double)w->weights.columns[i * m + k] - mean;
            square += r * r;
        }
        for (int64_t d = 0; d < w->bottom; d++) {
            double dot = 0.0;
            for (int64_t i = 0; i < n; i++)
                dot += w->gram[d * n + i] * ((double)w->weights.columns[i * m + k] - mean);
            inside += dot * dot;
        }
        w->norm[w->layer * m + k] = sqrt(square);
        w->rho[w->layer * m + k] = square > 0.0 ? sqrt(inside / square) : 0.0;
    }
}

static void vary(entropy_work *w, int32_t which, double *r) {
    const int64_t n = w->s->model->d_model;
    const double tokens = w->s->model->d_vocab;
    double square = 0.0, first = 0.0, second = 0.0;
    neurons_write(w->s, &w->weights, w->s->listed[which].neuron, r);
    for (int64_t i = 0; i < n; i++) {
        double dot = 0.5 * w->cosines[i * n + i] * r[i];
        for (int64_t j = i + 1; j < n; j++) dot += w->cosines[i * n + j] * r[j];
        second += 2.0 * dot * r[i];
        first += w->mean[i] * r[i];
        square += r[i] * r[i];
    }
    w->variance[which] =
        square > 0.0 ? second / tokens / square - first / tokens * (first / tokens) / square : 0.0;
}

static int make_work(entropy_work *w, const float **gamma, float **row, double **r) {
    static const char *const all[] = {"layers", "neurons"};
    static const char *const listed[] = {"listed"};
    neurons_state *s = w->s;
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->model->d_model;
    const float *beta;
    w->gram = host->run_alloc(s->context, n * n * sizeof(double));
    w->cosines = host->run_alloc(s->context, n * n * sizeof(double));
    w->mean = host->run_alloc(s->context, n * sizeof(double));
    w->values = host->run_alloc(s->context, n * sizeof(double));
    w->u = host->run_alloc(s->context, BLOCK * n * sizeof(double));
    w->unit = host->run_alloc(s->context, BLOCK * n * sizeof(double));
    *row = host->run_alloc(s->context, n * sizeof(float));
    *r = host->run_alloc(s->context, n * sizeof(double));
    if (!w->gram || !w->cosines || !w->mean || !w->values || !w->u || !w->unit || !*row || !*r ||
        neurons_weights_make(s, &w->weights) ||
        host->ln_parameters(s->context, PSC_LN_FINAL, -1, gamma, &beta))
        return -1;
    w->rho = host->array(s->context, "rho", PSC_F64, 2, all);
    w->norm = host->array(s->context, "write_norm", PSC_F64, 2, all);
    w->variance = host->array(s->context, "cosine_variance", PSC_F64, 1, listed);
    return w->rho && w->norm && w->variance ? 0 : -1;
}

static int summary(entropy_work *w) {
    neurons_state *s = w->s;
    psc_ranked entry;
    psc_top_list top = {&entry, 1, 0};
    char sentence[240];
    psc_top_f64(&top, neurons_all(s), w->rho, PSC_TOP_LARGEST);
    if (top.n == 0) return 0;
    const int64_t best = entry.index;
    snprintf(sentence, sizeof sentence,
        "Entropy neurons: %s writes the largest part of its norm, rho %.2f, into the %lld "
        "directions that logits read least; by chance rho would be about %.2f.",
        s->host->label(s->context, PSC_COMPONENT_NEURON, (int32_t)(best / s->model->d_mlp),
            (int32_t)(best % s->model->d_mlp)),
        w->rho[best], (long long)w->bottom,
        sqrt((double)w->bottom / (double)(s->model->d_model - 1)));
    return s->host->summary_text(s->context, sentence);
}

int neurons_entropy(neurons_state *s) {
    entropy_work w = {.s = s};
    const float *gamma;
    float *row;
    double *r;
    if (s->model->d_model < 2) return 0;
    if (make_work(&w, &gamma, &row, &r)) return -1;
    for (int64_t first = 0; first < s->model->d_vocab; first += BLOCK) {
        if (load_block(&w, first, gamma, row)) return -1;
        s->host->parallel_for(s->context, s->model->d_model, add_block, &w);
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    }
    if (bottom_directions(&w)) return -1;
    for (w.layer = 0; w.layer < s->model->n_layers; w.layer++) {
        if (neurons_weights_load(s, w.layer, &w.weights)) return -1;
        s->host->parallel_for(s->context, s->model->d_mlp, measure, &w);
        for (int32_t i = 0; i < s->n_listed; i++)
            if (s->listed[i].layer == w.layer) vary(&w, i, r);
    }
    return summary(&w);
}
