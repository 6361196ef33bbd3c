/* The metric m = sum_i w_i t_i over terms of single rows, and dm/dz [n_logits, V].
 *
 *   logit  t = z_k            dt/dz = onehot k
 *   log p  t = z_k - log Z    dt/dz = onehot k - q,  q = softmax z
 *   KL     t = sum_t p_t (log p_t - log q_t)   dt/dz = q - p,  p = softmax(other)
 *
 * A row's gradient is made in f64, in this order: c q with c = sum of KL's weights - that of log p's,
 * then the terms' own parts in the order of the terms; it is rounded once. A task is one row. The
 * value adds the terms in their order. */
#include "backward_inside.h"

#include <math.h>

typedef struct metric_job {
    psc_backward *b;
    const psc_metric_part *terms;
    int32_t n;
} metric_job;

/* e[t] = exp(z_t - most); *sum of it. */
static void exponentials(
    const psc_backward *b, double *e, double *sum, float *most, const float *z) {
    double sums[3];
    *most = -INFINITY;
    for (size_t t = 0; t < b->v; t++) *most = z[t] > *most ? z[t] : *most;
    b->with.kernels->weigh(e, sums, z, *most, 1.0, b->v);
    *sum = sums[0];
}

static double log_of(const psc_backward *b, double x) {
    double y;
    b->with.kernels->log_f64(&y, &x, 1);
    return y;
}

/* KL(softmax other, q) of a row z whose log Z - most is given; *dz loses weight times p. */
static double add_divergence(const psc_backward *b, double *dz, double *e, const float *z,
    float most, double log_z, const psc_metric_part *term) {
    double sum, total = 0.0;
    float greatest;
    exponentials(b, e, &sum, &greatest, term->other);
    const double log_sum = log_of(b, sum);
    for (size_t t = 0; t < b->v; t++) {
        const double p = e[t] / sum;
        const double log_p = (double)term->other[t] - (double)greatest - log_sum;
        const double log_q = (double)z[t] - (double)most - log_z;
        if (p > 0.0) total += p * (log_p - log_q);
        dz[t] -= term->weight * p;
    }
    return total;
}

static void metric_row(int64_t slot, int thread, void *payload) {
    const metric_job *job = payload;
    psc_backward *b = job->b;
    double *dz = b->wide + (size_t)thread * 2 * b->v, *e = dz + b->v;
    float *z = b->logits + (size_t)slot * b->ld_v, most = 0.0f;
    double by = 0.0, sum = 1.0, log_z = 0.0;
    bool normalized = false;
    for (int32_t i = 0; i < job->n; i++) {
        const psc_metric_part *term = &job->terms[i];
        if (term->slot != slot || term->kind == PSC_METRIC_LOGIT) continue;
        normalized = true;
        by += term->kind == PSC_METRIC_KL ? term->weight : -term->weight;
    }
    if (normalized) {
        exponentials(b, dz, &sum, &most, z);
        log_z = log_of(b, sum);
    }
    for (size_t t = 0; t < b->v; t++) dz[t] = normalized ? dz[t] * (by / sum) : 0.0;
    for (int32_t i = 0; i < job->n; i++) {
        const psc_metric_part *term = &job->terms[i];
        if (term->slot != slot) continue;
        if (term->kind == PSC_METRIC_KL) {
            b->values[i] = add_divergence(b, dz, e, z, most, log_z, term);
            continue;
        }
        dz[term->token] += term->weight;
        b->values[i] = (double)z[term->token];
        if (term->kind == PSC_METRIC_LOG_P) b->values[i] -= (double)most + log_z;
    }
    for (size_t t = 0; t < b->v; t++) z[t] = (float)dz[t];
}

void psc_backward_metric(psc_backward *b, double *value, const psc_metric_part *terms, int32_t n) {
    metric_job job = {b, terms, n};
    psc_team_tasks(b->with.team, b->n_logits, metric_row, &job);
    *value = 0.0;
    for (int32_t i = 0; i < n; i++) *value += terms[i].weight * b->values[i];
}
