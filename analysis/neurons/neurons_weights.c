/* A layer's detectors and writers, from the rows of W_in and W_out. */
#include "neurons.h"
#include "products.h"

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
    return !out->detectors || !out->offsets || !out->norms || !out->columns || !out->inputs ? -1
                                                                                            : 0;
}

typedef struct weights_job {
    const neurons_state *s;
    neuron_weights *w;
    const float *gamma, *beta, *bias;
} weights_job;

static void make_detectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const weights_job *job = payload;
    const int64_t n = job->s->model->d_model;
    (void)thread;
    for (int64_t k = begin; k < end; k++) {
        double *d = job->w->detectors + k * n;
        const float *input = job->w->inputs + k * n;
        for (int64_t i = 0; i < n; i++) d[i] = (double)job->gamma[i] * (double)input[i];
        psc_center_f64(d, n);
        job->w->offsets[k] = (double)job->bias[k] + psc_dot_striped(n, input, job->beta);
        job->w->norms[k] = sqrt(psc_dot_f64(n, d, d));
    }
}

int neurons_weights_load(neurons_state *s, int32_t layer, neuron_weights *out) {
    const psc_host *host = s->host;
    weights_job job = {.s = s, .w = out, .bias = host->bias(s->context, PSC_W_IN, layer)};
    if (!job.bias || host->ln_parameters(s->context, PSC_LN2, layer, &job.gamma, &job.beta) ||
        host->matrix_rows(s->context, PSC_W_IN, layer, out->inputs, 0, s->model->d_mlp) ||
        host->matrix_rows(s->context, PSC_W_OUT, layer, out->columns, 0, s->model->d_model))
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
