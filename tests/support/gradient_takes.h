/* Runs with a metric of three terms and the gradients that they take, compared to the bit.
 * Private to tests/: test_gradient_bits.c and test_gradient_hooks.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: the test closes a take with take_close, and models itself. */
#ifndef GRADIENT_TAKES_H
#define GRADIENT_TAKES_H

#include "gradient_fixture.h"

#define ROWS 150 /* more than a block of 128 */

static int32_t rows = ROWS;
static psc_token tokens[ROWS + 40];
static float other[512];

/* One run: its settings and its gradients. */
typedef struct take {
    psc_session *session;
    copy_set set;
    test_metric m;
} take;

static inline void add_terms(test_metric *m, int32_t first, int32_t n) {
    metric_add(m, PSC_METRIC_LOG_P, first + n - 1, 11, 1.0, NULL);
    metric_add(m, PSC_METRIC_LOGIT, first + n / 2, 5, -0.5, NULL);
    metric_add(m, PSC_METRIC_KL, first + n - 2, 0, 0.25, other);
}

static inline void set_up(void) {
    for (int32_t i = 0; i < ROWS + 40; i++) tokens[i] = (psc_token){.id = (i * 29 + 7) % 80};
    for (int32_t i = 0; i < 512; i++) other[i] = (float)(i * 13 % 31) * 0.1f;
}

static int32_t recompute; /* of the metric */

/* `only`: a point whose gradient alone is copied, at layer 0; PSC_POINT_COUNT: all. */
static inline void take_one(
    take *t, psc_model *model, const char *isa, int32_t threads, int32_t chunk, int32_t only) {
    *t = (take){.session = must_session(model, isa, threads, chunk),
        .set = {.info = *psc_model_get_info(model), .n_inputs = 1, .inputs = {{0, 0, rows}}}};
    if (only == PSC_POINT_COUNT) {
        gradients_add_all(&t->set);
    } else {
        psc_copy copy = PSC_COPY_INIT;
        copy.point = only;
        copy.layer = 0;
        copy.gradient = 1;
        copies_add(&t->set, copy);
    }
    metric_open(&t->m);
    add_terms(&t->m, 0, rows);
    t->m.metric.recompute = recompute;
    must_run_gradients(t->session, &(psc_input){0, rows, tokens}, &t->set, &t->m);
}

static inline void take_close(take *t) {
    copies_close(&t->set);
    psc_session_close(&t->session);
}

/* Each copy of b equals that of a. */
static inline void assert_same(take *a, take *b, const char *what) {
    cr_assert(a->m.value == b->m.value, "%s: m is %.17g and %.17g", what, a->m.value, b->m.value);
    for (int32_t i = 0; i < b->set.n; i++) {
        const psc_copy *got = &b->set.list[i];
        const psc_copy *want = gradient_at(&a->set, (psc_point)got->point, got->layer);
        cr_assert_eq(got->capacity, want->capacity);
        cr_assert(!memcmp(got->out, want->out, (size_t)got->capacity * sizeof(float)),
            "%s: %s of layer %d", what, psc_point_suffix((psc_point)got->point), (int)got->layer);
    }
}

#endif
