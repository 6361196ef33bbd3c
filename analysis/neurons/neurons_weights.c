/* A layer's detectors and writers, from the host's products with the identity. They are exact:
 * W_in I and I W_out are the matrices themselves. */
#include "neurons.h"

#include <math.h>
#include <string.h>

int neurons_weights_make(neurons_state *s, neuron_weights *out) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->model->d_model, m = (uint64_t)s->model->d_mlp;
    out->detectors = host->run_alloc(s->context, n * m * sizeof(double));
    out->offsets = host->run_alloc(s->context, m * sizeof(double));
    out->norms = host->run_alloc(s->context, m * sizeof(double));
    out->columns = host->run_alloc(s->context, n * m * sizeof(float));
    out->inputs = host->run_alloc(s->context, n * m * sizeof(float));
    out->identity = host->run_alloc(s->context, n * n * sizeof(float));
    if (!out->detectors || !out->offsets || !out->norms || !out->columns || !out->inputs ||
        !out->identity)
        return -1;
    for (uint64_t i = 0; i < n; i++) out->identity[i * n + i] = 1.0f;
    return 0;
}

typedef struct weights_job {
    const neurons_state *s;
    neuron_weights *w;
    const float *gamma, *beta, *bias;
} weights_job;

static void make_detectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const weights_job *job = payload;
    const int64_t n = job->s->model->d_model, m = job->s->model->d_mlp;
    (void)thread;
    for (int64_t k = begin; k < end; k++) {
        double *d = job->w->detectors + k * n, sum = 0.0, square = 0.0;
        double offset = (double)job->bias[k];
        for (int64_t i = 0; i < n; i++) {
            const double input = (double)job->w->inputs[i * m + k];
            d[i] = (double)job->gamma[i] * input;
            sum += d[i];
            offset += input * (double)job->beta[i];
        }
        for (int64_t i = 0; i < n; i++) {
            d[i] -= sum / (double)n;
            square += d[i] * d[i];
        }
        job->w->offsets[k] = offset;
        job->w->norms[k] = sqrt(square);
    }
}

int neurons_weights_load(neurons_state *s, int32_t layer, neuron_weights *out) {
    const psc_host *host = s->host;
    const int64_t n = s->model->d_model;
    weights_job job = {.s = s, .w = out, .bias = host->bias(s->context, PSC_W_IN, layer)};
    if (!job.bias || host->ln_parameters(s->context, PSC_LN2, layer, &job.gamma, &job.beta) ||
        host->apply(s->context, PSC_W_IN, layer, out->inputs, out->identity, n) ||
        host->pullback(s->context, PSC_W_OUT, layer, out->columns, out->identity, n))
        return -1;
    host->parallel_for(s->context, s->model->d_mlp, make_detectors, &job);
    return 0;
}

void neurons_write(const neurons_state *s, const neuron_weights *w, int32_t neuron, double *out) {
    const int64_t n = s->model->d_model, m = s->model->d_mlp;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += out[i] = (double)w->columns[i * m + neuron];
    for (int64_t i = 0; i < n; i++) out[i] -= sum / (double)n;
}
