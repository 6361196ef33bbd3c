/* The cost of copies: a run that copies tensors of all layers to the caller's memory, against a run
 * without copies. Both compute all rows' logits, into the caller's memory, and take turns.
 *
 *   copies_cost MODEL_FOLDER [ROWS [REPETITIONS [THREADS]]]
 *
 * With one thread, time is the process's processor time, so that other processes disturb it little.
 * Prints the medians and quartiles of the ratios. The memory has been written before. */
#include "bench.h"

#include "arena.h"
#include "registry.h"

#include <string.h>

typedef struct bench {
    psc_model *model;
    psc_session *session;
    psc_input input;
    psc_copy *copies;
    int n_copies;
    float *logits, *memory;
    int64_t floats; /* of memory */
    int repetitions, threads;
} bench;

static double time_run(bench *b, int n_copies) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    options.logits_memory = b->logits;
    options.logits_capacity = (int64_t)b->input.n * psc_model_get_info(b->model)->d_vocab;
    options.copies = b->copies;
    options.n_copies = n_copies;
    psc_session_truncate(b->session, 0, 0);
    const double start = bench_seconds(b->threads);
    bench_check(psc_session_run(b->session, &b->input, 1, &options, &error), &error);
    return bench_seconds(b->threads) - start;
}

/* Every layer's copies of a point; the caller places them. */
static void add_point(bench *b, psc_point point) {
    const psc_model_info *info = psc_model_get_info(b->model);
    if (point == PSC_HOOK_RESID_MID && info->parallel_residual) return;
    for (int32_t l = 0; l < (psc_point_has_layer(point) ? info->n_layers : 1); l++) {
        psc_copy copy = PSC_COPY_INIT;
        copy.point = (int32_t)point;
        copy.layer = psc_point_has_layer(point) ? l : -1;
        copy.capacity = b->input.n;
        for (const char *axis = psc_point_shape(point); *axis; axis++)
            copy.capacity *= psc_axis_extent(*axis, info, b->input.n);
        b->copies = realloc(b->copies, (size_t)(b->n_copies + 1) * sizeof *b->copies);
        if (!b->copies) bench_fail("out of memory");
        b->copies[b->n_copies++] = copy;
    }
}

/* Memory for all copies, each at a cache line. */
static void place(bench *b) {
    int64_t used = 0;
    for (int i = 0; i < b->n_copies; i++) used += (b->copies[i].capacity + 31) / 16 * 16;
    if (used > b->floats) {
        psc_aligned_free(b->memory);
        b->memory = psc_aligned_alloc((uint64_t)used * sizeof(float));
        if (!b->memory) bench_fail("out of memory");
        b->floats = used;
        memset(b->memory, 0, (size_t)used * sizeof(float));
    }
    float *at = b->memory;
    for (int i = 0; i < b->n_copies; i++) {
        b->copies[i].out = at;
        at += (b->copies[i].capacity + 31) / 16 * 16;
    }
}

static void measure(bench *b, const char *what) {
    double *ratios = calloc((size_t)b->repetitions, sizeof *ratios), bytes = 0.0;
    if (!ratios) bench_fail("out of memory");
    place(b);
    for (int i = 0; i < b->n_copies; i++) bytes += 4.0 * (double)b->copies[i].capacity;
    for (int r = -1; r < b->repetitions; r++) { /* the first warms up */
        const double before = time_run(b, 0), with = time_run(b, b->n_copies);
        const double plain = (before + time_run(b, 0)) / 2;
        if (r >= 0) ratios[r] = with / plain;
    }
    printf("%-28s %8.1f MB, ratio to a run without copies %.3f, quartiles %.3f %.3f\n", what,
        bytes * 1e-6, bench_quantile(ratios, b->repetitions, 0.5),
        bench_quantile(ratios, b->repetitions, 0.25), bench_quantile(ratios, b->repetitions, 0.75));
    free(ratios);
    b->n_copies = 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: copies_cost MODEL [ROWS [REPETITIONS [THREADS]]]\n");
        return 2;
    }
    const int rows = argc > 2 ? atoi(argv[2]) : 128;
    bench b = {
        .repetitions = argc > 3 ? atoi(argv[3]) : 9, .threads = argc > 4 ? atoi(argv[4]) : 0};
    psc_error error;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    if (rows < 1 || b.repetitions < 1) bench_fail("ROWS and REPETITIONS must be at least 1");
    bench_check(psc_model_open(&b.model, argv[1], &error), &error);
    options.threads = b.threads;
    options.capacity = rows;
    bench_check(psc_session_open(&b.session, b.model, &options, &error), &error);
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    b.logits = psc_aligned_alloc(
        (uint64_t)rows * (uint64_t)psc_model_get_info(b.model)->d_vocab * sizeof(float));
    if (!tokens || !b.logits) bench_fail("out of memory");
    for (int t = 0; t < rows; t++)
        tokens[t].id = bench_token(t, psc_model_get_info(b.model)->d_vocab);
    b.input = (psc_input){0, rows, tokens};
    printf("%s, %s, %d threads, %d rows\n", argv[1], psc_session_isa(b.session),
        (int)psc_session_threads(b.session), rows);
    for (int p = 0; p < PSC_HOOK_LOGITS; p++) add_point(&b, (psc_point)p);
    measure(&b, "all points");
    for (int p = 0; p < PSC_HOOK_LOGITS; p++)
        if (p != PSC_HOOK_RESULT) add_point(&b, (psc_point)p);
    measure(&b, "all but hook_result");
    add_point(&b, PSC_HOOK_RESULT);
    measure(&b, "hook_result");
    add_point(&b, PSC_HOOK_ATTN_SCORES);
    add_point(&b, PSC_HOOK_PATTERN);
    measure(&b, "scores and pattern");
    add_point(&b, PSC_HOOK_RESID_POST);
    measure(&b, "hook_resid_post");
    psc_aligned_free(b.memory);
    psc_aligned_free(b.logits);
    free(b.copies);
    free(tokens);
    psc_session_close(&b.session);
    psc_model_close(&b.model);
    return 0;
}
