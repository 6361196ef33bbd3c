/* Rows of the last layer that no observer requests are not computed. That must not change any
 * observed value. An observer of one point, for all rows or some, gets the rows and bits of a run
 * in which every point is observed. So do the logits and the tokens decoded afterwards. */
#include "forward_inside.h"
#include "golden.h"
#include "session_inside.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 37
#define SECOND 20 /* rows of the second sequence */

/* What one observer may receive, and the number of rows it received. */
typedef struct watch {
    const recording *all;
    int32_t seen;
} watch;

static int compare(const psc_event *event, void *payload) {
    watch *w = payload;
    const psc_view *t = &event->tensor;
    int64_t inner = t->shape[t->n_axes - 1], outer = t->n_axes == 3 ? t->shape[1] : 1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const psc_row *row = &event->rows[r];
        const float *want = recording_row(
            w->all, (psc_point)event->point, event->layer, row->sequence, row->position);
        int64_t width = w->all->width[event->point] / outer, n = inner < width ? inner : width;
        for (int64_t i = 0; i < outer; i++)
            if (memcmp(want + i * width,
                    t->data + r * t->stride[0] + (t->n_axes == 3 ? i * t->stride[1] : 0),
                    (size_t)n * sizeof *want))
                return 1;
        w->seen++;
    }
    return 0;
}

static psc_input inputs[2];
static psc_token tokens[ROWS];

static void run(psc_session *session, int32_t logits) {
    psc_error error = {0};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = logits;
    psc_session_truncate(session, 0, 0);
    psc_session_truncate(session, 1, 0);
    cr_assert_eq(
        psc_session_run(session, inputs, 2, &options, &error), PSC_OK, "%s", error.message);
}

/* The last rows' logits, and those of the next token, equal the base run's. */
static void same_logits(
    psc_session *session, const float *last[2], const float *next, size_t bytes) {
    psc_error error = {0};
    psc_input one = {0, 1, tokens};
    cr_assert(!memcmp(psc_session_logits(session, ROWS - 1), last[0], bytes));
    cr_assert(!memcmp(psc_session_logits(session, ROWS + SECOND - 1), last[1], bytes));
    cr_assert_eq(psc_session_run(session, &one, 1, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert(!memcmp(psc_session_logits(session, 0), next, bytes), "the token after them");
}

static float *copy(const float *from, size_t bytes) {
    float *to = malloc(bytes);
    cr_assert(to);
    return memcpy(to, from, bytes);
}

/* One observer of one point, with three filters. */
static void watch_point(psc_session *session, const recording *all, psc_point point) {
    static const psc_filter filters[] = {{.struct_size = sizeof(psc_filter)},
        {.struct_size = sizeof(psc_filter), .rows = PSC_ROWS_LAST},
        {.struct_size = sizeof(psc_filter), .rows = PSC_ROWS_RANGE, .row_begin = 3, .row_end = 5}};
    static const int32_t rows[] = {ROWS + SECOND, 2, 4};
    psc_error error = {0};
    for (int f = 0; f < 3; f++) {
        watch w = {.all = all};
        cr_assert_eq(psc_session_observe(session, point, &filters[f], compare, &w, &error), PSC_OK);
        run(session, PSC_ROWS_LAST);
        psc_session_unhook(session, &w);
        cr_assert_eq(w.seen, rows[f] * point_layers(&all->info, point),
            "point %d, filter %d: %d rows were shown", (int)point, f, (int)w.seen);
    }
}

static void check(const char *variant, int32_t chunk) {
    psc_model *model = must_model(golden_path(variant, NULL));
    psc_session *session = must_session(model, NULL, 2, chunk);
    size_t bytes = (size_t)psc_model_get_info(model)->d_vocab * sizeof(float);
    psc_error error = {0};
    recording all;
    recording_open(&all, psc_model_get_info(model), 2, ROWS);
    recording_attach(&all, session);
    run(session, PSC_ROWS_ALL);
    psc_session_unhook(session, &all);
    const float *last[2] = {copy(psc_session_logits(session, ROWS - 1), bytes),
        copy(psc_session_logits(session, ROWS + SECOND - 1), bytes)};
    psc_input one = {0, 1, tokens};
    cr_assert_eq(psc_session_run(session, &one, 1, NULL, &error), PSC_OK);
    float *next = copy(psc_session_logits(session, 0), bytes);
    run(session, PSC_ROWS_LAST);
    same_logits(session, last, next, bytes);
    for (int p = 0; p < PSC_POINT_COUNT; p++)
        if (all.width[p]) watch_point(session, &all, (psc_point)p);
    free((float *)last[0]);
    free((float *)last[1]);
    free(next);
    recording_close(&all);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(last_layer, every_variant) {
    for (int i = 0; i < ROWS; i++) tokens[i] = (psc_token){.id = (i * i + 3 * i) % 80};
    inputs[0] = (psc_input){0, ROWS, tokens};
    inputs[1] = (psc_input){1, SECOND, tokens + 5};
    for (const char *const *v = golden_variants; *v; v++) {
        check(*v, 0);
        check(*v, 7);
    }
}

/* --- computed rows --------------------------------------------------------------------------- */

static const psc_kernels *real;
static _Atomic uint64_t terms; /* multiply-adds of matmuls */

static void count(psc_dtype dtype, const psc_matmul *m) {
    const size_t end = 16 * m->panel_end < m->out ? 16 * m->panel_end : m->out;
    atomic_fetch_add(&terms, m->rows * m->k * (end - 16 * m->panel_begin));
    real->matmul[dtype](m);
}

static void count_f32(const psc_matmul *m) {
    count(PSC_DTYPE_F32, m);
}

static void count_f16(const psc_matmul *m) {
    count(PSC_DTYPE_F16, m);
}

/* All rows need the last layer's keys and values. The last `last` rows need its queries and all
 * later steps, and logit_rows rows need the logits. */
static void expect_terms(psc_session *session, int32_t logits, uint64_t last, uint64_t logit_rows) {
    const psc_model_info *info = psc_model_get_info(session->model);
    const uint64_t n = (uint64_t)info->d_model, m = (uint64_t)info->d_mlp;
    const uint64_t read = 2 * n * n, rest = 2 * n * n + 2 * n * m;
    psc_error error = {0};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_input one = {0, ROWS, tokens};
    options.logits = logits;
    psc_session_truncate(session, 0, 0);
    atomic_store(&terms, 0);
    cr_assert_eq(psc_session_run(session, &one, 1, &options, &error), PSC_OK, "%s", error.message);
    const uint64_t layers = (uint64_t)info->n_layers, got = atomic_load(&terms);
    const uint64_t expected = ROWS * (layers * read + (layers - 1) * rest) + last * rest +
                              logit_rows * n * (uint64_t)info->d_vocab;
    cr_assert_eq(got, expected, "%llu multiply-adds, not %llu", (unsigned long long)got,
        (unsigned long long)expected);
}

static void count_model(const char *folder) {
    psc_model *model = must_model(folder);
    psc_session *session = must_session(model, NULL, 1, 0);
    real = session->forward->kernels;
    psc_kernels counting = *real;
    counting.matmul_f32 = counting.matmul[PSC_DTYPE_F32] = count_f32;
    counting.matmul_f16 = counting.matmul[PSC_DTYPE_F16] = count_f16;
    session->forward->kernels = &counting;
    expect_terms(session, PSC_ROWS_LAST, 1, 1);
    expect_terms(session, PSC_ROWS_ALL, ROWS, ROWS);
    session->forward->kernels = real;
    psc_session_close(&session);
    psc_model_close(&model);
}

/* For d_head a multiple of 16, as in every Pythia. */
Test(last_layer, unwanted_rows_are_not_computed) {
    for (int i = 0; i < ROWS; i++) tokens[i] = (psc_token){.id = i};
    count_model(golden_path("rotary_base_v5", NULL));
    count_model(golden_path("sequential_f32", NULL));
    if (golden_embedded()) count_model(golden_embedded());
}
