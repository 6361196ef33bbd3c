/* The metrics of a request: checked, and as terms of a backward pass. A pass of several variants adds
 * their metrics up; no sequence reads another's rows, so each gets its own gradient. */
#include "gradients.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TERMS (1 << 24)

psc_metric psc_gradient_metric_at(const psc_gradient_request *request, int32_t number) {
    psc_metric out = PSC_METRIC_INIT;
    const size_t size = request->metrics->struct_size;
    memcpy(&out, (const char *)request->metrics + (size_t)number * size,
        size < sizeof out ? size : sizeof out);
    return out;
}

static psc_metric_term term_at(const psc_metric *metric, int32_t i) {
    psc_metric_term out = PSC_METRIC_TERM_INIT;
    const size_t size = metric->terms->struct_size;
    memcpy(&out, (const char *)metric->terms + (size_t)i * size,
        size < sizeof out ? size : sizeof out);
    return out;
}

static const char *fault_of_term(
    const psc_metric_term *term, const psc_gradient_slot *slot, int32_t n_vocab) {
    if (term->kind < PSC_METRIC_LOGIT || term->kind > PSC_METRIC_KL) return "the kind is unknown";
    if (term->row < slot->row_begin || term->row >= slot->row_begin + slot->n_rows)
        return "its row is not among the variant's";
    if (!isfinite(term->weight)) return "its weight is not finite";
    if (term->kind != PSC_METRIC_KL)
        return term->token < 0 || term->token >= n_vocab ? "its token does not exist" : NULL;
    for (int32_t t = 0; term->logits && t < n_vocab; t++)
        if (!isfinite(term->logits[t])) return "a logit of the other run is not finite";
    return term->logits ? NULL : "a divergence needs logits";
}

static bool make_room(psc_metric_parts *parts, size_t more) {
    return psc_grow(
               (void **)&parts->list, &parts->room, (size_t)parts->n + more, sizeof *parts->list) &&
           psc_grow((void **)&parts->rows, &parts->row_room, (size_t)parts->n + more,
               sizeof *parts->rows);
}

int psc_gradient_metric_add(psc_context *context, int32_t number, const psc_metric *metric,
    const psc_gradient_slot *slot, psc_metric_parts *parts) {
    if (metric->n_terms < 1 || metric->n_terms > MOST_TERMS || !metric->terms)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "gradients: metric %d: it has 1 to %d terms, not %d", (int)number, MOST_TERMS,
            (int)metric->n_terms);
    if (metric->terms->struct_size < sizeof(psc_metric_term))
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "gradients: metric %d: a term has struct_size %u; begin with PSC_METRIC_TERM_INIT",
            (int)number, (unsigned)metric->terms->struct_size);
    if (!make_room(parts, (size_t)metric->n_terms))
        return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for a metric");
    for (int32_t i = 0; i < metric->n_terms; i++) {
        const psc_metric_term term = term_at(metric, i);
        const char *fault = fault_of_term(&term, slot, context->session->model->info.d_vocab);
        if (fault)
            return psc_host_fail(context, PSC_ERROR_INPUT, "gradients: metric %d, term %d: %s",
                (int)number, (int)i, fault);
        parts->rows[parts->n] = slot->first + term.row - slot->row_begin;
        parts->list[parts->n] = (psc_metric_part){
            term.kind, parts->rows[parts->n], term.token, term.weight, term.logits};
        parts->n++;
    }
    return 0;
}

static int ascending(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

void psc_gradient_metric_place(psc_metric_parts *parts) {
    qsort(parts->rows, (size_t)parts->n, sizeof *parts->rows, ascending);
    parts->n_rows = 0;
    for (int32_t i = 0; i < parts->n; i++)
        if (i == 0 || parts->rows[i] != parts->rows[parts->n_rows - 1])
            parts->rows[parts->n_rows++] = parts->rows[i];
    for (int32_t i = 0; i < parts->n; i++) {
        const int32_t *at = bsearch(&parts->list[i].slot, parts->rows, (size_t)parts->n_rows,
            sizeof *parts->rows, ascending);
        parts->list[i].slot = (int32_t)(at - parts->rows);
    }
}

void psc_gradient_metric_value(const psc_gradient_request *request, const psc_gradient_slot *slot,
    const psc_metric_parts *parts, const double *values) {
    const psc_metric metric = psc_gradient_metric_at(request, slot->number);
    double sum = 0.0;
    for (int32_t i = slot->first_part; i < slot->first_part + slot->n_parts; i++)
        sum += parts->list[i].weight * values[i];
    if (metric.value) *metric.value = sum;
}
