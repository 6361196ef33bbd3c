/* The cases where estimates fail, seen from the other end: the same change times the gradient of
 * the changed run.
 *
 *   end = sum of (v' - v) dm/dv at v'
 *
 * Where the metric is saturated at v, its gradient at v' is not small. If both ends agree, the
 * metric bends between them, or the change is not along one path. */
#include "attribution.h"
#include "top.h"

#include <math.h>

int32_t attribution_cases(
    const attribution_state *s, int32_t target, attribution_fault fault, int32_t *out) {
    const double largest = attribution_largest(s, target);
    psc_ranked entries[ATTRIBUTION_CASES];
    psc_top_list top = {entries, ATTRIBUTION_CASES, 0};
    for (int32_t i = 0; i < s->n_checked; i++) {
        const double effect = fabs(s->exact_effect[(int64_t)target * s->n_checked + i]);
        if (effect >= 0.01 * largest && attribution_fault_of(s, target, i, largest) == fault)
            psc_top_offer(&top, effect, i);
    }
    for (int32_t i = 0; i < top.n; i++) out[i] = (int32_t)top.at[i].index;
    return top.n;
}

enum { MOST = 2 * ATTRIBUTION_CASES };

/* The cases of one target. */
typedef struct ends {
    attribution_state *s;
    int32_t target, n, checked[MOST];
    psc_change changes[MOST];
    psc_variant variants[MOST];
    psc_metric metrics[MOST];
} ends;

static int on_gradient(int32_t variant, const psc_event *event, void *payload) {
    const ends *e = payload;
    const attribution_state *s = e->s;
    const attribution_cell *cell = &s->checked[e->checked[variant]].place;
    psc_event kept;
    if (event->layer != cell->layer) return 0;
    if (s->host->fetch(s->context, s->handle, event->layer, &kept)) return -1;
    s->end[(int64_t)e->target * s->n_checked + e->checked[variant]] =
        attribution_sum(s, cell, kept.tensor.data, &event->tensor);
    return 0;
}

static int compute(ends *e, float *neurons) {
    attribution_state *s = e->s;
    const int32_t points[] = {(int32_t)s->point};
    const int64_t floats = s->over == OVER_NEURONS ? s->n_rows * s->width : 0;
    e->n = attribution_cases(s, e->target, FAULT_SIGN, e->checked);
    e->n += attribution_cases(s, e->target, FAULT_SMALL, e->checked + e->n);
    for (int32_t i = 0; i < e->n; i++) {
        if (attribution_change(
                s, &e->changes[i], &s->checked[e->checked[i]].place, neurons + i * floats))
            return -1;
        e->variants[i] = (psc_variant){
            .struct_size = sizeof *e->variants, .n_changes = 1, .changes = &e->changes[i]};
        e->metrics[i] = s->jobs[e->target].metric;
    }
    if (e->n == 0) return 0;
    return s->host->gradients(s->context, e->n, e->variants, e->metrics, 1, points, on_gradient, e);
}

int attribution_ends(attribution_state *s) {
    const uint64_t floats = s->over == OVER_NEURONS ? MOST * (uint64_t)(s->n_rows * s->width) : 0;
    float *neurons = s->host->run_alloc(s->context, floats * sizeof *neurons + 1);
    ends *e = s->host->run_alloc(s->context, sizeof *e);
    if (!neurons || !e) return -1;
    e->s = s;
    for (int32_t j = 0; j < s->n_jobs; j++) {
        e->target = s->of_job[j];
        if (compute(e, neurons)) return -1;
    }
    return 0;
}
