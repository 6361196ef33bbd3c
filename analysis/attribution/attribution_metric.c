/* The metric of logits z [V]: a target's logit, contrast or log p at its own last row, or
 *
 *   kl   KL(source || z) = sum_t p_t (log p_t - log q_t),  q = softmax z, at the last row
 *
 * p is the source prompt's prediction at its own last row. The divergence from the unchanged run
 * itself has no gradient there. p is the host's exp of log p in f32, the rest f64 over ascending
 * tokens. */
#include "attribution.h"

#include <string.h>

/* Keeps what the source run predicts at its last row, the event's last. */
static int on_source(const psc_event *event, void *payload) {
    attribution_state *s = payload;
    const float *z = psc_view_row(&event->tensor, event->n_rows - 1);
    memcpy(s->other, z, (size_t)s->n_vocab * sizeof *z);
    s->has_other = 1;
    return 0;
}

int attribution_observe_source(attribution_state *s) {
    const psc_filter last = {.struct_size = sizeof last, .rows = PSC_ROWS_LAST};
    const uint64_t bytes = (uint64_t)s->n_vocab * sizeof *s->other;
    s->has_other = 0;
    if (s->metric != ATTRIBUTION_KL) return 0;
    if (!s->other) s->other = s->host->life_alloc(s->context, bytes);
    if (!s->p) s->p = s->host->life_alloc(s->context, bytes);
    if (!s->other || !s->p) return -1;
    return s->host->observe(s->context, PSC_HOOK_LOGITS, &last, on_source, s);
}

int attribution_open_metric(attribution_state *s) {
    s->n_targets = s->metric == ATTRIBUTION_KL ? 1 : s->targets.n;
    if (s->metric != ATTRIBUTION_KL || s->has_other) return 0;
    return s->host->fail(s->context,
        "metric=kl is the divergence from the source prompt's prediction; give --source");
}

int32_t attribution_slot(const attribution_state *s, int32_t target) {
    return s->metric == ATTRIBUTION_KL ? s->rows.n - 1 : psc_target_last(&s->targets, target);
}

void attribution_set_metric(attribution_state *s, int32_t target, int32_t slot) {
    psc_target_metric *job = &s->jobs[target];
    if (s->metric != ATTRIBUTION_KL) {
        psc_target_metric_set(job, &s->targets, target, slot, s->metric, NULL);
        return;
    }
    const psc_metric metric = PSC_METRIC_INIT;
    const psc_metric_term term = PSC_METRIC_TERM_INIT;
    job->target = target;
    job->slot = slot;
    job->terms[0] = term;
    job->terms[0].kind = PSC_METRIC_KL;
    job->terms[0].row = s->rows.index[slot];
    job->terms[0].logits = s->other;
    job->metric = metric;
    job->metric.n_terms = 1;
    job->metric.terms = job->terms;
    s->other_lse = s->host->log_sum_exp(s->context, s->n_vocab, s->other);
    for (int64_t v = 0; v < s->n_vocab; v++) s->p[v] = (float)((double)s->other[v] - s->other_lse);
    s->host->exp(s->context, s->n_vocab, s->p, s->p);
}

double attribution_metric(const attribution_state *s, int32_t target, const float *z) {
    if (s->metric != ATTRIBUTION_KL)
        return psc_target_metric_of(&s->jobs[target], s->context, s->host, z);
    const double lse = s->host->log_sum_exp(s->context, s->n_vocab, z);
    double sum = 0.0;
    for (int64_t v = 0; v < s->n_vocab; v++)
        sum += (double)s->p[v] * (((double)s->other[v] - s->other_lse) - ((double)z[v] - lse));
    return sum;
}
