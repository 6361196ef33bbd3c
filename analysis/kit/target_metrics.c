/* A target at a row as a metric: z, log p = z - log Z, or z_a - z_b. */
#include "common.h"

void psc_target_metric_set(psc_target_metric *out, const psc_target_rows *targets, int32_t target,
    int32_t slot, int log_p, double *value) {
    const psc_metric_term term = PSC_METRIC_TERM_INIT;
    const psc_metric metric = PSC_METRIC_INIT;
    const int32_t *ids = targets->ids + 2 * ((int64_t)target * targets->rows.n + slot);
    const int contrast = ids[1] >= 0;
    out->target = target;
    out->slot = slot;
    out->metric = metric;
    out->metric.n_terms = 1 + contrast;
    out->metric.terms = out->terms;
    out->metric.value = value;
    for (int i = 0; i <= contrast; i++) {
        out->terms[i] = term;
        out->terms[i].kind = log_p && !contrast ? PSC_METRIC_LOG_P : PSC_METRIC_LOGIT;
        out->terms[i].row = targets->rows.index[slot];
        out->terms[i].token = ids[i];
        out->terms[i].weight = i == 0 ? 1.0 : -1.0;
    }
}

double psc_target_metric_of(const psc_target_metric *metric, psc_context *context,
    const psc_host *host, const float *logits) {
    const psc_metric_term *terms = metric->terms;
    const double value = (double)logits[terms[0].token];
    if (metric->metric.n_terms == 2) return value - (double)logits[terms[1].token];
    if (terms[0].kind == PSC_METRIC_LOGIT) return value;
    return value - host->log_sum_exp(context, host->model(context)->d_vocab, logits);
}
