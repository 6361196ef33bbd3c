/* Entropy neurons: long writes into directions that logits barely read. They change sigma, and
 * through it the entropy, but few logits.
 *
 *   rho_k = |V0^T P(r_k)|/|P(r_k)|, V0: the bottom ceil(N/64) singular directions of {u_t} within
 *   1's complement, u_t = P(gamma_f * t_bar)
 *   Var_t cos(u_t, P r) = mean of cos^2 - (mean of cos)^2
 *
 * Sums over the vocabulary are f64 in token order. LAPACK computes V0, so rho's last bits may
 * differ between machines. */
#include "neurons.h"
#include "products.h"

#include <lapacke.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 2 * PSC_PANEL_ROWS, SHARE = 64 };

typedef struct entropy_work {
    neurons_state *s;
    const psc_reductions *reductions;
    neuron_weights columns; /* only W_out's columns */
    const float *gamma;     /* [N] */
    int64_t padded;         /* N */
    double *gram;           /* [padded, padded] sum u u^T, j >= i only */
    psc_panels panels;      /* [BLOCK, N] u */
    float *scratch;         /* [BLOCK, N] */
    double *u;              /* [BLOCK, N] */
    int64_t first, count;   /* of the block */
    double *writes, *norms; /* [listed, N] P(r), [listed] |P(r)| */
    double *cosines;        /* [BLOCK, listed] */
    double *sums;           /* [listed, 2] of cosines, of their squares */
    double *values;         /* [N] */
    psc_panels bottom;      /* [N, n_bottom] V0 */
    int64_t n_bottom;
    int32_t layer;
    int failed;                    /* set by any part */
    double *rho, *norm, *variance; /* results [L, M], [L, M], [listed] */
} entropy_work;

static int load_columns(entropy_work *w, int32_t layer) {
    const neurons_state *s = w->s;
    return s->host->matrix_rows(
        s->context, PSC_W_OUT, layer, w->columns.columns, 0, s->model->d_model);
}

static int load_listed(entropy_work *w) {
    const neurons_state *s = w->s;
    const int64_t n = s->model->d_model;
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        int loaded = 0;
        for (int32_t i = 0; i < s->n_listed; i++) {
            double *r = w->writes + i * n;
            if (s->listed[i].layer != l) continue;
            if (!loaded && load_columns(w, l)) return -1;
            loaded = 1;
            neurons_write(s, &w->columns, s->listed[i].neuron, r);
            w->norms[i] = sqrt(psc_dot_f64(n, r, r));
        }
    }
    return 0;
}

/* --- over the vocabulary --------------------------------------------------------------------- */

static void load_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    entropy_work *w = payload;
    const neurons_state *s = w->s;
    const int64_t n = s->model->d_model;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        double *u = w->u + t * n;
        float *row = w->scratch + t * n;
        if (t >= w->count)
            memset(u, 0, (size_t)n * sizeof *u);
        else if (s->host->unembedding(s->context, (int32_t)(w->first + t), row))
            w->failed = 1;
        for (int64_t i = 0; t < w->count && i < n; i++) u[i] = (double)w->gamma[i] * (double)row[i];
        psc_center_f64(u, n);
        psc_panels_put(&w->panels, t, u, n);
        const double square = psc_dot_f64(n, u, u);
        for (int32_t i = 0; i < s->n_listed; i++) {
            const double both = sqrt(square) * w->norms[i]; /* a zero row has cosine 0 */
            w->cosines[t * s->n_listed + i] =
                both > 0.0 ? psc_dot_f64(n, u, w->writes + i * n) / both : 0.0;
        }
    }
}

static int pass_vocabulary(entropy_work *w) {
    const neurons_state *s = w->s;
    const int64_t n_vocab = s->model->d_vocab, listed = s->n_listed;
    for (w->first = 0; w->first < n_vocab; w->first += BLOCK) {
        w->count = n_vocab - w->first < BLOCK ? n_vocab - w->first : BLOCK;
        s->host->parallel_for(s->context, BLOCK, load_rows, w);
        if (w->failed || psc_panels_product(w->gram, w->padded, &w->panels, &w->panels, 1))
            return -1;
        for (int64_t i = 0; i < w->count * listed; i++) {
            w->sums[i % listed * 2] += w->cosines[i];
            w->sums[i % listed * 2 + 1] += w->cosines[i] * w->cosines[i];
        }
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    }
    for (int64_t i = 0; i < listed; i++) {
        const double mean = w->sums[2 * i] / (double)n_vocab;
        w->variance[i] = w->sums[2 * i + 1] / (double)n_vocab - mean * mean;
    }
    return 0;
}

/* Puts the bottom directions into panels. The direction 1, whose value is 0, is lifted to the top
 * first. */
static int bottom_directions(entropy_work *w) {
    const neurons_state *s = w->s;
    const lapack_int n = s->model->d_model;
    const uint64_t bottom = (uint64_t)w->n_bottom;
    lapack_int found = 0;
    lapack_int *support = s->host->run_alloc(s->context, 2 * bottom * sizeof *support);
    double *vectors = s->host->run_alloc(s->context, bottom * (uint64_t)n * sizeof *vectors);
    double *row = s->host->run_alloc(s->context, bottom * sizeof *row), trace = 0.0;
    if (!support || !vectors || !row) return -1;
    for (int64_t i = 0; i < n; i++) trace += w->gram[i * w->padded + i];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) w->gram[i * w->padded + j] += 2.0 * (trace + 1.0) / n;
    /* LAPACK reads columns, so a row-major matrix's upper triangle is its lower one. */
    const lapack_int info =
        LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', n, w->gram, (lapack_int)w->padded, 0.0, 0.0,
            1, (lapack_int)bottom, 0.0, &found, w->values, vectors, n, support);
    if (info != 0 || found != (lapack_int)bottom)
        return s->host->fail(
            s->context, "LAPACK's dsyevr did not converge, or memory ran out (%d)", (int)info);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t d = 0; d < w->n_bottom; d++) row[d] = vectors[d * n + i];
        psc_panels_put(&w->bottom, i, row, w->n_bottom);
    }
    return 0;
}

/* --- all neurons ----------------------------------------------------------------------------- */

/* |V0^T P(r_k)|^2 of PSC_TILE columns: `from` is the first one's, of `some`. */
static void read_bottom(
    const entropy_work *w, const float *from, int64_t some, const double *mean, double *inside) {
    const int64_t n = w->s->model->d_model, m = w->s->model->d_mlp;
    for (int64_t tile = 0; tile < w->bottom.n_columns / PSC_TILE; tile++) {
        double z[PSC_TILE * PSC_TILE] = {0}, r[PSC_PANEL_ROWS * PSC_TILE] = {0};
        for (int64_t i = 0; i < n; i += PSC_PANEL_ROWS) {
            const int64_t rows = n - i < PSC_PANEL_ROWS ? n - i : PSC_PANEL_ROWS;
            for (int64_t t = 0; t < rows; t++)
                for (int64_t j = 0; j < some; j++)
                    r[t * PSC_TILE + j] = (double)from[(i + t) * m + j] - mean[j];
            w->reductions->add_products(z, PSC_TILE,
                w->bottom.x + i * w->bottom.n_columns + tile * PSC_PANEL_ROWS * PSC_TILE, r,
                (size_t)rows);
        }
        for (int i = 0; i < PSC_TILE; i++)
            for (int j = 0; j < PSC_TILE; j++)
                inside[j] += z[i * PSC_TILE + j] * z[i * PSC_TILE + j];
    }
}

static void measure(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const entropy_work *w = payload;
    const int64_t n = w->s->model->d_model, m = w->s->model->d_mlp;
    (void)thread;
    for (int64_t k = begin * PSC_TILE; k < end * PSC_TILE && k < m; k += PSC_TILE) {
        const float *from = w->columns.columns + k;
        const int64_t some = m - k < PSC_TILE ? m - k : PSC_TILE;
        double mean[PSC_TILE] = {0}, square[PSC_TILE] = {0}, inside[PSC_TILE] = {0};
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < some; j++) mean[j] += (double)from[i * m + j];
        for (int64_t j = 0; j < some; j++) mean[j] /= (double)n;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < some; j++) {
                const double r = (double)from[i * m + j] - mean[j];
                square[j] += r * r;
            }
        read_bottom(w, from, some, mean, inside);
        for (int64_t j = 0; j < some; j++) {
            w->norm[w->layer * m + k + j] = sqrt(square[j]);
            w->rho[w->layer * m + k + j] = square[j] > 0.0 ? sqrt(inside[j] / square[j]) : 0.0;
        }
    }
}

static int make_results(entropy_work *w) {
    static const char *const all[] = {"layers", "neurons"};
    static const char *const listed[] = {"listed"};
    neurons_state *s = w->s;
    w->rho = s->host->array(s->context, "rho", PSC_F64, 2, all);
    w->norm = s->host->array(s->context, "write_norm", PSC_F64, 2, all);
    w->variance = s->host->array(s->context, "cosine_variance", PSC_F64, 1, listed);
    return w->rho && w->norm && w->variance ? 0 : -1;
}

static double *doubles(const entropy_work *w, int64_t n) {
    return w->s->host->run_alloc(w->s->context, (uint64_t)n * sizeof(double) + 1);
}

static int make_work(entropy_work *w) {
    neurons_state *s = w->s;
    const psc_host *host = s->host;
    const int64_t n = s->model->d_model, listed = s->n_listed;
    const float *beta;
    w->padded = psc_tiles_up(n);
    w->n_bottom = (n + SHARE - 1) / SHARE;
    w->gram = doubles(w, w->padded * w->padded);
    w->u = doubles(w, BLOCK * n);
    w->writes = doubles(w, listed * n);
    w->norms = doubles(w, listed);
    w->cosines = doubles(w, BLOCK * listed);
    w->sums = doubles(w, 2 * listed);
    w->values = doubles(w, n);
    w->scratch = host->run_alloc(s->context, (uint64_t)(BLOCK * n) * sizeof(float));
    w->columns.columns =
        host->run_alloc(s->context, (uint64_t)(n * s->model->d_mlp) * sizeof(float));
    w->reductions = host->reductions(s->context);
    if (!w->gram || !w->u || !w->writes || !w->norms || !w->cosines || !w->sums || !w->values ||
        !w->scratch || !w->columns.columns || !w->reductions ||
        psc_panels_make(&w->panels, s->context, host, BLOCK, n) ||
        psc_panels_make(&w->bottom, s->context, host, n, w->n_bottom) ||
        host->ln_parameters(s->context, PSC_LN_FINAL, -1, &w->gamma, &beta))
        return -1;
    return make_results(w);
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
        w->rho[best], (long long)w->n_bottom,
        sqrt((double)w->n_bottom / (double)(s->model->d_model - 1)));
    return s->host->summary_text(s->context, sentence);
}

int neurons_entropy(neurons_state *s) {
    entropy_work w = {.s = s};
    if (s->model->d_model < 2) return 0;
    if (make_work(&w) || load_listed(&w) || pass_vocabulary(&w) || bottom_directions(&w)) return -1;
    for (w.layer = 0; w.layer < s->model->n_layers; w.layer++) {
        if (load_columns(&w, w.layer)) return -1;
        s->host->parallel_for(s->context, (s->model->d_mlp + PSC_TILE - 1) / PSC_TILE, measure, &w);
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    }
    return summary(&w);
}
