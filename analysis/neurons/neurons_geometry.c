/* Geometry of a layer's detectors, d_k = D_k/|D_k|, and bounds of its output.
 *
 *   interference_k = sum_{j != k} (d_k . d_j)^2, against (M-1)/N; coherence = max |d_k . d_j|,
 *   against Welch's sqrt((M-N)/(N(M-1)))
 *   active span: effective rank, exp of the entropy of s/sum s, of the d_k with a_k > 0
 *   bounds of u . M(x), kappa_k = u . r_k, g = a/2 + e, 0 <= e <= |a|/2:
 *     box    each a_k anywhere in c_k +- sqrt(N)|D_k|
 *     joint  u . b_out + sum kappa c/2 +- sqrt(N)/2 |sum kappa_k D_k|, and above + E(kappa+), below
 *            - E(kappa-), E(w) = (sum w|c| + sqrt(N) ||diag(sqrt w) D||_2 sqrt(sum w))/2
 *   tightness = observed range over the run's rows / the bound's
 *
 * Joint bounds and the effective rank use LAPACK's eigenvalues; their last bits may differ between
 * machines. */
#include "band_values.h"
#include "gate.h"
#include "neurons.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 2 * PSC_PANEL_ROWS, KINDS = 3, LANES = 16 };

/* The least value of each form of GELU, and where it is. */
static const struct {
    double value, at;
} lowest[] = {
    [PSC_GELU_ERF] = {-0.1699712, -0.7517915},
    [PSC_GELU_TANH] = {-0.1700408, -0.7524614},
};

typedef struct geometry_work {
    neurons_state *s;
    neuron_weights weights;
    int32_t layer, place; /* the layer, and its index in the results */
    int64_t first, count; /* of a block of detectors */
    float *x, *products;  /* [BLOCK, N], [BLOCK, M] */
    double *interference; /* [layers, M] */
    double *coherence;    /* [layers] */
    double *largest;      /* [M] */
    double *inverse;      /* [M] 1/|D_k|, 0 for a zero one */
    int64_t padded;       /* N */
    psc_band band;
    double *bands;            /* [N, PSC_BAND + 1] a band, and its spare room */
    psc_panels panels;        /* [BLOCK, N] */
    double *rows;             /* [BLOCK, N] */
    double *bounds;           /* [layers, kinds, ends] or null */
    double *tightness, *rank; /* [layers, 2], [layers] or null */
    double *kappa, *share;    /* [M] */
    double *gram, *values;    /* [padded, padded], [N] */
    float *edges, *gates;     /* [2M] */
} geometry_work;

/* Products of a block's detectors with all others, from D_j . d = w_in,j . (gamma2 * d). */
static void meet(int64_t begin, int64_t end, int32_t thread, void *payload) {
    geometry_work *w = payload;
    const int64_t m = w->s->model->d_mlp;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        const int64_t k = w->first + b;
        double sums[LANES] = {0}, most[LANES] = {0};
        float *products = w->products + b * m;
        products[k] = 0.0f;
        for (int64_t j = 0; j < m; j += LANES)
            for (int64_t l = 0; l < LANES && j + l < m; l++) {
                const double cosine = (double)products[j + l] * w->inverse[j + l];
                const double square = cosine * cosine;
                sums[l] += square;
                most[l] = square > most[l] ? square : most[l];
            }
        w->largest[k] = 0.0;
        for (int l = 0; l < LANES; l++) w->largest[k] = fmax(w->largest[k], most[l]);
        w->largest[k] = sqrt(w->largest[k]);
        w->interference[w->place * m + k] = psc_fold16(sums);
    }
}

static int interfere(geometry_work *w) {
    neurons_state *s = w->s;
    const psc_host *host = s->host;
    const int64_t n = s->model->d_model, m = s->model->d_mlp;
    const float *gamma, *beta;
    if (host->ln_parameters(s->context, PSC_LN2, w->layer, &gamma, &beta)) return -1;
    for (int64_t k = 0; k < m; k++)
        w->inverse[k] = w->weights.norms[k] > 0.0 ? 1.0 / w->weights.norms[k] : 0.0;
    for (w->first = 0; w->first < m; w->first += BLOCK) {
        w->count = m - w->first < BLOCK ? m - w->first : BLOCK;
        for (int64_t b = 0; b < w->count; b++) {
            const int64_t k = w->first + b;
            const double norm = w->weights.norms[k] > 0.0 ? w->weights.norms[k] : 1.0;
            for (int64_t i = 0; i < n; i++)
                w->x[b * n + i] =
                    (float)((double)gamma[i] * w->weights.detectors[k * n + i] / norm);
        }
        if (host->apply(s->context, PSC_W_IN, w->layer, w->products, w->x, w->count)) return -1;
        host->parallel_for(s->context, w->count, meet, w);
    }
    w->coherence[w->place] = 0.0;
    for (int64_t k = 0; k < m; k++)
        w->coherence[w->place] = fmax(w->coherence[w->place], w->largest[k]);
    return 0;
}

/* --- spectra --------------------------------------------------------------------------------- */

/* sqrt(share_k) D_k into row k of the panels; zeros past the last. */
static void put_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    geometry_work *w = payload;
    const int64_t n = w->s->model->d_model, m = w->s->model->d_mlp;
    (void)thread;
    for (int64_t b = begin; b < end; b++) {
        const int64_t k = w->first + b;
        const double root = k < m ? sqrt(w->share[k]) : 0.0;
        double *row = w->rows + b * n;
        for (int64_t i = 0; i < n; i++)
            row[i] = root > 0.0 ? root * w->weights.detectors[k * n + i] : 0.0;
        psc_panels_put(&w->panels, b, row, n);
    }
}

/* Eigenvalues of sum_k share_k D_k D_k^T, ascending. */
static int spectrum(geometry_work *w) {
    neurons_state *s = w->s;
    const int64_t n = s->model->d_model;
    memset(w->gram, 0, (size_t)(w->padded * w->padded) * sizeof *w->gram);
    for (w->first = 0; w->first < s->model->d_mlp; w->first += BLOCK) {
        s->host->parallel_for(s->context, BLOCK, put_rows, w);
        if (psc_panels_product(w->gram, w->padded, &w->panels, &w->panels, 1)) return -1;
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    }
    psc_band_reduce(w->bands, &w->band, w->gram, w->padded);
    const int info = psc_band_values(w->values, w->bands, w->bands + n * PSC_BAND, n);
    if (info != 0)
        return s->host->fail(
            s->context, "LAPACK's eigenvalues did not converge, or memory ran out (%d)", info);
    return 0;
}

static int active_span(geometry_work *w) {
    neurons_state *s = w->s;
    psc_event event;
    double sum = 0.0, entropy = 0.0;
    if (s->host->fetch(s->context, s->pre, w->layer, &event)) return -1;
    const float *a = event.tensor.data + (event.tensor.shape[0] - 1) * event.tensor.stride[0];
    for (int64_t k = 0; k < s->model->d_mlp; k++) {
        const double norm = w->weights.norms[k];
        w->share[k] = a[k] > 0.0f && norm > 0.0 ? 1.0 / (norm * norm) : 0.0;
    }
    if (spectrum(w)) return -1;
    const double least = 1e-12 * w->values[s->model->d_model - 1];
    for (int64_t i = 0; i < s->model->d_model; i++) {
        w->values[i] = w->values[i] > least ? sqrt(w->values[i]) : 0.0;
        sum += w->values[i];
    }
    for (int64_t i = 0; i < s->model->d_model; i++)
        if (w->values[i] > 0.0) entropy -= w->values[i] / sum * log(w->values[i] / sum);
    w->rank[w->place] = sum > 0.0 ? exp(entropy) : 0.0;
    return 0;
}

/* --- bounds ---------------------------------------------------------------------------------- */

/* E of the positive (sign 1) or the negative part of kappa. */
static int excess(geometry_work *w, double sign, double *out) {
    double sum = 0.0, offset = 0.0;
    for (int64_t k = 0; k < w->s->model->d_mlp; k++) {
        w->share[k] = fmax(sign * w->kappa[k], 0.0);
        sum += w->share[k];
        offset += w->share[k] * fabs(w->weights.offsets[k]);
    }
    if (spectrum(w)) return -1;
    const double n = w->s->model->d_model;
    *out = 0.5 * (offset + sqrt(n * fmax(w->values[w->s->model->d_model - 1], 0.0) * sum));
    return 0;
}

static int joint_bound(geometry_work *w, double bias, double out[2]) {
    const int64_t n = w->s->model->d_model, m = w->s->model->d_mlp;
    double constant = bias, square, above, below;
    for (int64_t k = 0; k < m; k++) constant += 0.5 * w->kappa[k] * w->weights.offsets[k];
    double *sum = w->values; /* spectra come later */
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t k = 0; k < m; k++)
        for (int64_t i = 0; i < n; i++) sum[i] += w->kappa[k] * w->weights.detectors[k * n + i];
    square = psc_dot_f64(n, sum, sum);
    if (excess(w, 1.0, &above) || excess(w, -1.0, &below)) return -1;
    const double linear = 0.5 * sqrt((double)n * square);
    out[0] = constant - linear - below;
    out[1] = constant + linear + above;
    return 0;
}

static void box_bound(geometry_work *w, double bias, double out[2]) {
    const int64_t m = w->s->model->d_mlp;
    const double reach = sqrt((double)w->s->model->d_model);
    const double at = lowest[w->s->model->gelu].at;
    for (int64_t k = 0; k < m; k++) {
        w->edges[2 * k] = (float)(w->weights.offsets[k] - reach * w->weights.norms[k]);
        w->edges[2 * k + 1] = (float)(w->weights.offsets[k] + reach * w->weights.norms[k]);
    }
    psc_gates(w->s->context, w->s->host, 2 * m, w->edges, w->gates);
    out[0] = out[1] = bias;
    for (int64_t k = 0; k < m; k++) {
        double g[2];
        for (int e = 0; e < 2; e++)
            g[e] = (double)w->edges[2 * k + e] * (double)w->gates[2 * k + e];
        const int dips = (double)w->edges[2 * k] < at && (double)w->edges[2 * k + 1] > at;
        const double low = dips ? lowest[w->s->model->gelu].value : fmin(g[0], g[1]);
        const double high = fmax(g[0], g[1]);
        out[0] += w->kappa[k] * (w->kappa[k] > 0.0 ? low : high);
        out[1] += w->kappa[k] * (w->kappa[k] > 0.0 ? high : low);
    }
}

static int bound_layer(geometry_work *w) {
    neurons_state *s = w->s;
    const int64_t n = s->model->d_model, m = s->model->d_mlp;
    double *out = w->bounds + w->place * KINDS * 2; /* box, joint, observed */
    psc_event event;
    const int32_t last = s->targets.n > 0 ? psc_target_last(&s->targets, 0) : -1;
    if (last < 0) return 0; /* a text of one token has no next token */
    const float *u = s->directions.u + s->directions.which[last] * n;
    for (int64_t k = 0; k < m; k++) w->kappa[k] = 0.0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < m; k++)
            w->kappa[k] += (double)u[i] * (double)w->weights.columns[i * m + k];
    const float *b_out = s->host->bias(s->context, PSC_W_OUT, w->layer);
    if (!b_out) return -1;
    const double bias = psc_dot_striped(n, u, b_out);
    box_bound(w, bias, out);
    if (joint_bound(w, bias, out + 2) || s->host->fetch(s->context, s->out, w->layer, &event))
        return -1;
    out[4] = INFINITY;
    out[5] = -INFINITY;
    for (int64_t r = 0; r < event.tensor.shape[0]; r++) {
        const double value = psc_dot_striped(n, u, event.tensor.data + r * event.tensor.stride[0]);
        out[4] = fmin(out[4], value);
        out[5] = fmax(out[5], value);
    }
    for (int i = 0; i < 2; i++)
        w->tightness[w->place * 2 + i] = (out[5] - out[4]) / (out[2 * i + 1] - out[2 * i]);
    return 0;
}

/* --- all layers ------------------------------------------------------------------------------ */

static int make_results(geometry_work *w, int32_t n_layers) {
    static const char *const kinds[] = {"box", "joint", "observed"};
    static const char *const ends[] = {"low", "high"};
    static const char *const axes[] = {"geometry_layers", "neurons"};
    static const char *const bound_axes[] = {"geometry_layers", "bounds", "ends"};
    neurons_state *s = w->s;
    const psc_host *host = s->host;
    const double n = s->model->d_model, m = s->model->d_mlp;
    if (psc_count_axis(s->context, s->host, "geometry_layers", s->geometry.first, n_layers) ||
        host->value_number(s->context, "interference_by_chance", (m - 1) / n) ||
        host->value_number(s->context, "welch_bound", m > n ? sqrt((m - n) / (n * (m - 1))) : 0.0))
        return -1;
    w->interference = host->array(s->context, "interference", PSC_F64, 2, axes);
    w->coherence = host->array(s->context, "coherence", PSC_F64, 1, axes);
    if (!w->interference || !w->coherence) return -1;
    if (s->corpus) return 0;
    if (host->axis_labels(s->context, "bounds", KINDS, kinds) ||
        host->axis_labels(s->context, "tightness_of", 2, kinds) ||
        host->axis_labels(s->context, "ends", 2, ends))
        return -1;
    static const char *const tight_axes[] = {"geometry_layers", "tightness_of"};
    w->bounds = host->array(s->context, "output_bounds", PSC_F64, 3, bound_axes);
    w->tightness = host->array(s->context, "tightness", PSC_F64, 2, tight_axes);
    w->rank = host->array(s->context, "active_rank", PSC_F64, 1, axes);
    return w->bounds && w->tightness && w->rank ? 0 : -1;
}

static int make_work(geometry_work *w) {
    const psc_host *host = w->s->host;
    psc_context *context = w->s->context;
    const uint64_t n = (uint64_t)w->s->model->d_model, m = (uint64_t)w->s->model->d_mlp;
    w->x = host->run_alloc(context, BLOCK * n * sizeof(float));
    w->products = host->run_alloc(context, BLOCK * m * sizeof(float));
    w->largest = host->run_alloc(context, m * sizeof(double));
    w->kappa = host->run_alloc(context, m * sizeof(double));
    w->share = host->run_alloc(context, m * sizeof(double));
    w->padded = psc_tiles_up((int64_t)n);
    w->gram = host->run_alloc(context, (uint64_t)(w->padded * w->padded) * sizeof(double));
    w->bands = host->run_alloc(context, n * (PSC_BAND + 1) * sizeof(double));
    w->inverse = host->run_alloc(context, m * sizeof(double));
    w->rows = host->run_alloc(context, BLOCK * n * sizeof(double));
    w->values = host->run_alloc(context, n * sizeof(double));
    w->edges = host->run_alloc(context, 4 * m * sizeof(float));
    if (!w->x || !w->products || !w->largest || !w->kappa || !w->share || !w->gram || !w->values ||
        !w->edges || !w->inverse || !w->rows || !w->bands ||
        (!w->s->corpus && psc_band_make(&w->band, context, host, (int64_t)n)) ||
        psc_panels_make(&w->panels, context, host, BLOCK, (int64_t)n))
        return -1;
    w->gates = w->edges + 2 * m;
    return neurons_weights_make(w->s, &w->weights);
}

static int summary(geometry_work *w) {
    neurons_state *s = w->s;
    const double n = s->model->d_model, m = s->model->d_mlp;
    double sum = 0.0;
    char sentence[400];
    for (int64_t k = 0; k < s->model->d_mlp; k++)
        sum += w->interference[w->place * (int64_t)s->model->d_mlp + k];
    int used = snprintf(sentence, sizeof sentence,
        "Layer %d: the mean interference of detectors is %.2f (by chance %.2f for %d detectors in "
        "%d dimensions), the coherence %.2f",
        (int)w->layer, sum / m, (m - 1) / n, (int)m, (int)n, w->coherence[w->place]);
    const int told = !s->corpus && !isnan(w->tightness[w->place * 2]);
    if (used > 0 && used < (int)sizeof sentence && !told)
        snprintf(sentence + used, sizeof sentence - (size_t)used, ".");
    else if (used > 0 && used < (int)sizeof sentence)
        snprintf(sentence + used, sizeof sentence - (size_t)used,
            "; the active detectors span %.1f dimensions; the output's range in this run is %.3f "
            "of the joint bound and %.4f of the box bound.",
            w->rank[w->place], w->tightness[w->place * 2 + 1], w->tightness[w->place * 2]);
    return s->host->summary_text(s->context, sentence);
}

int neurons_geometry(neurons_state *s) {
    const int32_t n_layers = s->geometry.n;
    geometry_work w = {.s = s};
    if (make_results(&w, n_layers) || make_work(&w)) return -1;
    if (!s->corpus && s->targets.n > 0 && psc_target_say_row(&s->targets, 0)) return -1;
    for (w.place = 0; w.place < n_layers; w.place++) {
        w.layer = s->geometry.first + w.place;
        if (neurons_weights_load(s, w.layer, &w.weights) || interfere(&w)) return -1;
        if (!s->corpus && (active_span(&w) || bound_layer(&w))) return -1;
        if (summary(&w)) return -1;
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    }
    return 0;
}
