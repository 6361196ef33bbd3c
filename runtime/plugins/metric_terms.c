/* The terms of a metric: how they are read, and what is wrong with them. */
#include "session_inside.h"

#include <math.h>
#include <string.h>

#define MOST_TERMS (1 << 24)

psc_metric_term psc_metric_term_at(const psc_metric *metric, int32_t i) {
    psc_metric_term term = PSC_METRIC_TERM_INIT;
    const size_t size = metric->terms->struct_size;
    memcpy(&term, (const char *)metric->terms + (size_t)i * size,
        size < sizeof term ? size : sizeof term);
    return term;
}

static psc_status check_divergence(
    const psc_session *s, const psc_metric_term *term, int32_t i, psc_error *error) {
    if (!term->logits)
        return psc_fail(
            error, PSC_ERROR_INPUT, "term %d of the metric: a divergence needs logits", (int)i);
    for (int32_t t = 0; t < s->model->info.d_vocab; t++)
        if (!isfinite(term->logits[t]))
            return psc_fail(error, PSC_ERROR_INPUT,
                "term %d of the metric: logit %d of the other run is not finite", (int)i, (int)t);
    return PSC_OK;
}

/* n_targets 0: a term must name a token. */
static psc_status check_token(const psc_session *s, const psc_metric_term *term, int32_t i,
    int32_t n_targets, psc_error *error) {
    const int32_t n_vocab = s->model->info.d_vocab;
    if (term->token < (n_targets > 0 ? -1 : 0) || term->token >= n_vocab)
        return psc_fail(error, PSC_ERROR_INPUT,
            "term %d of the metric: token id %d is out of range; ids are 0 to %d", (int)i,
            (int)term->token, (int)n_vocab - 1);
    if (term->token == -1 && (term->target < -1 || term->target >= n_targets))
        return psc_fail(error, PSC_ERROR_INPUT,
            "term %d of the metric: target %d is out of range; the number of targets is %d", (int)i,
            (int)term->target, (int)n_targets);
    return PSC_OK;
}

static psc_status check_term(const psc_session *s, const psc_metric_term *term, int32_t i,
    const psc_metric_rows *rows, psc_error *error) {
    if (term->kind < PSC_METRIC_LOGIT || term->kind > PSC_METRIC_KL)
        return psc_fail(error, PSC_ERROR_INPUT, "term %d of the metric: unknown kind %d", (int)i,
            (int)term->kind);
    if (term->row < rows->begin || term->row >= rows->end)
        return psc_fail(error, PSC_ERROR_INPUT,
            "term %d of the metric: row %d does not exist; the run has rows %d to %d", (int)i,
            (int)term->row, (int)rows->begin, (int)rows->end - 1);
    if (!isfinite(term->weight))
        return psc_fail(
            error, PSC_ERROR_INPUT, "term %d of the metric: its weight is not finite", (int)i);
    return term->kind == PSC_METRIC_KL ? check_divergence(s, term, i, error)
                                       : check_token(s, term, i, rows->n_targets, error);
}

psc_status psc_metric_check(
    const psc_session *s, const psc_metric *metric, const psc_metric_rows *rows, psc_error *error) {
    if (metric->n_terms < 1 || metric->n_terms > MOST_TERMS || !metric->terms ||
        metric->struct_size < PSC_METRIC_BYTES)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a metric has 1 to %d terms, not %d, and begins with PSC_METRIC_INIT", MOST_TERMS,
            (int)metric->n_terms);
    if (metric->terms->struct_size < sizeof(psc_metric_term))
        return psc_fail(error, PSC_ERROR_INPUT,
            "a metric's term has struct_size %u, less than %zu; begin with PSC_METRIC_TERM_INIT",
            (unsigned)metric->terms->struct_size, sizeof(psc_metric_term));
    psc_status status = PSC_OK;
    for (int32_t i = 0; i < metric->n_terms && status == PSC_OK; i++) {
        const psc_metric_term term = psc_metric_term_at(metric, i);
        status = check_term(s, &term, i, rows, error);
    }
    return status;
}
