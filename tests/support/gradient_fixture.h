/* Gradients of every point of a run, as copies, and metrics of a few terms.
 * Private to tests/; failures are Criterion assertions.
 * Threads: one at a time.
 * Ownership: the test closes a gradient set with copies_close. */
#ifndef GRADIENT_FIXTURE_H
#define GRADIENT_FIXTURE_H

#include "copies_fixture.h"

#include <math.h>

#define MOST_TERMS_OF_A_TEST 16

/* A metric of a test. */
typedef struct test_metric {
    psc_metric_term terms[MOST_TERMS_OF_A_TEST];
    psc_metric metric;
    double value;
} test_metric;

static inline void metric_open(test_metric *m) {
    *m = (test_metric){.metric = PSC_METRIC_INIT, .value = NAN};
    m->metric.terms = m->terms;
    m->metric.value = &m->value;
}

static inline void metric_add(
    test_metric *m, int32_t kind, int32_t row, int32_t token, double weight, const float *other) {
    psc_metric_term term = PSC_METRIC_TERM_INIT;
    cr_assert_lt(m->metric.n_terms, MOST_TERMS_OF_A_TEST);
    term.kind = kind;
    term.row = row;
    term.token = token;
    term.weight = weight;
    term.logits = other;
    m->terms[m->metric.n_terms++] = term;
}

/* The gradient at every point for the inputs of set, which the caller has filled. */
static inline void gradients_add_all(copy_set *set) {
    copies_add_all(set, set->info.n_layers, PSC_ROWS_ALL, 0, 0);
    for (int32_t i = 0; i < set->n; i++) set->list[i].gradient = 1;
}

static inline psc_status gradients_run(psc_session *session, const psc_input *inputs, copy_set *set,
    test_metric *m, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.metric = &m->metric;
    options.copies = set->list;
    options.n_copies = set->n;
    return psc_session_run(session, inputs, set->n_inputs, &options, error);
}

static inline void must_run_gradients(
    psc_session *session, const psc_input *inputs, copy_set *set, test_metric *m) {
    psc_error error = {0};
    cr_assert_eq(gradients_run(session, inputs, set, m, &error), PSC_OK, "%s", error.message);
}

/* The copy of a point; layer -1 where there is none. */
static inline psc_copy *gradient_at(copy_set *set, psc_point point, int32_t layer) {
    for (int32_t i = 0; i < set->n; i++)
        if (set->list[i].point == (int32_t)point && set->list[i].layer == layer)
            return &set->list[i];
    cr_assert_fail("no copy of %s", psc_point_suffix(point));
    return NULL;
}

#endif
