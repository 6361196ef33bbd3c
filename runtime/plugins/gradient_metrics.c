/* The metrics of a request: checked, and as terms of a backward pass. A pass of several variants
 * adds their metrics up; no sequence reads another's rows, so each gets its own gradient. */
#include "gradients.h"

#include <stdlib.h>
#include <string.h>

psc_metric psc_gradient_metric_at(const psc_gradient_request *request, int32_t number) {
    psc_metric out = PSC_METRIC_INIT;
    const size_t size = request->metrics->struct_size;
    memcpy(&out, (const char *)request->metrics + (size_t)number * size,
        size < sizeof out ? size : sizeof out);
    return out;
}

static bool make_room(psc_metric_parts *parts, size_t more) {
    return psc_grow(
               (void **)&parts->list, &parts->room, (size_t)parts->n + more, sizeof *parts->list) &&
           psc_grow((void **)&parts->rows, &parts->row_room, (size_t)parts->n + more,
               sizeof *parts->rows);
}

int psc_gradient_metric_add(psc_context *context, int32_t number, const psc_metric *metric,
    const psc_gradient_slot *slot, psc_metric_parts *parts) {
    const psc_metric_rows rows = {slot->row_begin, slot->row_begin + slot->n_rows, 0};
    psc_error error = {PSC_OK, ""};
    psc_status status = psc_metric_check(context->session, metric, &rows, &error);
    if (status != PSC_OK)
        return psc_host_fail(
            context, status, "gradients: metric %d: %s", (int)number, error.message);
    if (!make_room(parts, (size_t)metric->n_terms))
        return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for a metric");
    for (int32_t i = 0; i < metric->n_terms; i++) {
        const psc_metric_term term = psc_metric_term_at(metric, i);
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
