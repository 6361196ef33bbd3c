/* The cost of a gradient: a run with a metric, whose gradient is copied at every layer's
 * hook_resid_post, against the same run without. Both compute the last row's logits, or
 * all rows' if the metric has several, and take turns.
 *
 *   gradient_cost MODEL_FOLDER [ROWS [REPETITIONS [THREADS [METRIC_ROWS [RECOMPUTE [EVERY]]]]]]
 *
 * METRIC_ROWS: how many of the last rows have a term log p; default 1. RECOMPUTE: 1 for
 * psc_metric.recompute. EVERY: 1 copies every hook point's gradient instead, 2 shows every one to a
 * subscriber that reads nothing. With one thread, time is the
 * process's processor time, so that other processes disturb it little. Prints the medians and quartiles
 * of the ratios: of the whole run, and of what the gradient adds, in forward passes. */
#include "bench.h"

#include "registry.h"

#include <string.h>

typedef struct bench {
    psc_model *model;
    psc_session *session;
    psc_input input;
    psc_copy *copies;
    int32_t n_copies;
    psc_metric metric;
    int repetitions, threads, every;
} bench;

static double time_run(bench *b, bool gradient) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    if (b->metric.n_terms > 1) options.logits = PSC_ROWS_ALL;
    if (gradient) {
        options.metric = &b->metric;
        options.copies = b->copies;
        options.n_copies = b->n_copies;
    }
    psc_session_truncate(b->session, 0, 0);
    const double start = bench_seconds(b->threads);
    bench_check(psc_session_run(b->session, &b->input, 1, &options, &error), &error);
    return bench_seconds(b->threads) - start;
}

static void print(const char *what, double *values, int n) {
    printf("%s %.3f, quartiles %.3f %.3f\n", what, bench_quantile(values, n, 0.5),
        bench_quantile(values, n, 0.25), bench_quantile(values, n, 0.75));
}

static void measure(bench *b) {
    const size_t n = (size_t)b->repetitions;
    double *whole = calloc(n, sizeof *whole), *adds = calloc(n, sizeof *adds);
    double *plain = calloc(n, sizeof *plain);
    if (!whole || !adds || !plain) bench_fail("out of memory");
    for (int r = -1; r < b->repetitions; r++) { /* the first warms up */
        const double before = time_run(b, false), with = time_run(b, true);
        const double forward = (before + time_run(b, false)) / 2;
        if (r < 0) continue;
        plain[r] = forward * 1e3;
        whole[r] = with / forward;
        adds[r] = with / forward - 1;
    }
    print("forward pass, ms:            ", plain, b->repetitions);
    print("run with gradient / forward: ", whole, b->repetitions);
    print("what it adds / forward:      ", adds, b->repetitions);
    free(whole);
    free(adds);
    free(plain);
}

/* A copy of the gradient at a point, of every layer; its memory has been written before. */
static void add_point(bench *b, psc_point point) {
    const psc_model_info *info = psc_model_get_info(b->model);
    for (int32_t l = 0; l < (psc_point_has_layer(point) ? info->n_layers : 1); l++) {
        psc_copy copy = PSC_COPY_INIT;
        copy.point = (int32_t)point;
        copy.layer = psc_point_has_layer(point) ? l : -1;
        copy.gradient = 1;
        copy.capacity = b->input.n;
        for (const char *axis = psc_point_shape(point); *axis; axis++)
            copy.capacity *= psc_axis_extent(*axis, info, b->input.n);
        copy.out = malloc((size_t)copy.capacity * sizeof(float));
        b->copies = realloc(b->copies, (size_t)(b->n_copies + 1) * sizeof *b->copies);
        if (!copy.out || !b->copies) bench_fail("out of memory");
        memset(copy.out, 0, (size_t)copy.capacity * sizeof(float));
        b->copies[b->n_copies++] = copy;
    }
}

static int read_nothing(const psc_event *event, void *payload) {
    (void)event;
    ++*(long *)payload;
    return 0;
}

/* Copies of hook_resid_post, or of all points; or a subscriber to all. */
static void add_requests(bench *b) {
    static long events;
    psc_error error;
    psc_filter filter = PSC_FILTER_INIT;
    filter.gradient = 1;
    const bool parallel = psc_model_get_info(b->model)->parallel_residual != 0;
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (parallel && p == PSC_HOOK_RESID_MID) continue;
        if (b->every == 1 || (!b->every && p == PSC_HOOK_RESID_POST)) add_point(b, (psc_point)p);
        if (b->every == 2)
            bench_check(psc_session_observe(
                            b->session, (psc_point)p, &filter, read_nothing, &events, &error),
                &error);
    }
}

static void add_terms(bench *b, int n) {
    psc_metric_term *terms = calloc((size_t)n, sizeof *terms);
    if (!terms) bench_fail("out of memory");
    for (int i = 0; i < n; i++) {
        terms[i] = (psc_metric_term)PSC_METRIC_TERM_INIT;
        terms[i].kind = PSC_METRIC_LOG_P;
        terms[i].row = b->input.n - n + i;
        terms[i].token = b->input.tokens[i].id;
    }
    b->metric = (psc_metric)PSC_METRIC_INIT;
    b->metric.terms = terms;
    b->metric.n_terms = n;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr,
            "usage: gradient_cost MODEL [ROWS [REPETITIONS [THREADS [METRIC_ROWS [RECOMPUTE "
            "[EVERY]]]]]]\n");
        return 2;
    }
    const int rows = argc > 2 ? atoi(argv[2]) : 128, terms = argc > 5 ? atoi(argv[5]) : 1;
    bench b = {
        .repetitions = argc > 3 ? atoi(argv[3]) : 9, .threads = argc > 4 ? atoi(argv[4]) : 1};
    psc_error error;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    if (rows < 1 || b.repetitions < 1 || terms < 1 || terms > rows)
        bench_fail(
            "ROWS, REPETITIONS and METRIC_ROWS must be at least 1, METRIC_ROWS at most ROWS");
    bench_check(psc_model_open(&b.model, argv[1], &error), &error);
    const psc_model_info *info = psc_model_get_info(b.model);
    options.threads = b.threads;
    options.capacity = rows;
    bench_check(psc_session_open(&b.session, b.model, &options, &error), &error);
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    if (!tokens) bench_fail("out of memory");
    for (int t = 0; t < rows; t++) tokens[t].id = bench_token(t, info->d_vocab);
    b.input = (psc_input){0, rows, tokens};
    b.every = argc > 7 ? atoi(argv[7]) : 0;
    add_requests(&b);
    add_terms(&b, terms);
    b.metric.recompute = argc > 6 && atoi(argv[6]) != 0;
    printf("%s, %s, %d threads, %d rows, %d of the metric, %.1f MB\n", argv[1],
        psc_session_isa(b.session), (int)psc_session_threads(b.session), rows, terms,
        (double)psc_session_gradient_bytes(b.session, rows, terms, b.metric.recompute) * 1e-6);
    measure(&b);
    for (int32_t i = 0; i < b.n_copies; i++) free(b.copies[i].out);
    free(b.copies);
    free((void *)b.metric.terms);
    free(tokens);
    psc_session_close(&b.session);
    psc_model_close(&b.model);
    return 0;
}
