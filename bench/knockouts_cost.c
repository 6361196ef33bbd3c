/* The cost of knock-outs: a plugin that computes variants of the run, against the plain passes that
 * its rows add up to, with all rows' logits, interleaved in one run on one thread.
 *
 *   knockouts_cost MODEL_FOLDER [ROWS [REPETITIONS [PLUGIN[:key=value,...]]]]
 *
 *   ratio = (time of a run with the plugin - time of a plain run) / (time of a plain run * passes)
 *   passes = knockout_rows / ROWS
 *
 * Time is the process's processor time, so that other processes disturb it little. Prints the
 * median and the quartiles of the ratios. Writes no files. */
#include "bench.h"

#include <string.h>

#define PLAIN_RUNS 4 /* before and after each run with the plugin */

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The plain pass computes all rows' logits, because the plugin's run does too. */
static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static psc_session *open_session(psc_model *model, int rows, const char *plugin) {
    psc_error error;
    psc_session *session;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = rows;
    bench_check(psc_session_open(&session, model, &options, &error), &error);
    bench_check(
        psc_session_observe(session, PSC_HOOK_LOGITS, NULL, ignore, session, &error), &error);
    if (!plugin) return session;
    char name[256];
    snprintf(name, sizeof name, "%s", plugin);
    char *colon = strchr(name, ':');
    if (colon) *colon = '\0';
    bench_check(psc_session_plugin(session, name, colon ? colon + 1 : NULL, &error), &error);
    return session;
}

/* Processor time of n runs. */
static double time_runs(psc_session *session, const psc_input *input, int n) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    const double start = processor_time();
    for (int i = 0; i < n; i++) {
        psc_session_truncate(session, 0, 0);
        bench_check(psc_session_run(session, input, 1, &options, &error), &error);
    }
    return processor_time() - start;
}

static double rows_of(const psc_session *session) {
    psc_error error;
    psc_result_value value;
    bench_check(
        psc_results_find_value(&value, psc_session_results(session), 0, "knockout_rows", &error),
        &error);
    return value.numbers[0];
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: knockouts_cost MODEL [ROWS [REPETITIONS [PLUGIN[:OPTIONS]]]]\n");
        return 2;
    }
    const int rows = argc > 2 ? atoi(argv[2]) : 128, repetitions = argc > 3 ? atoi(argv[3]) : 9;
    const char *plugin = argc > 4 ? argv[4] : "spans:links=causal";
    psc_error error;
    psc_model *model = NULL;
    if (rows < 1 || repetitions < 1) bench_fail("ROWS and REPETITIONS must be at least 1");
    bench_check(psc_model_open(&model, argv[1], &error), &error);
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *plain = open_session(model, rows, NULL), *with = open_session(model, rows, plugin);
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    double *ratios = calloc((size_t)repetitions, sizeof *ratios), passes = 0.0;
    for (int t = 0; t < rows; t++) tokens[t].id = bench_token(t, info->d_vocab);
    if (psc_session_needs_bos(with)) tokens[0].id = psc_model_bos(model);
    const psc_input input = {0, rows, tokens};
    time_runs(plain, &input, 1);
    for (int r = -1; r < repetitions; r++) { /* the first warms up */
        double one = time_runs(plain, &input, PLAIN_RUNS);
        const double all = time_runs(with, &input, 1);
        one = (one + time_runs(plain, &input, PLAIN_RUNS)) / (2 * PLAIN_RUNS);
        passes = rows_of(with) / rows;
        if (r >= 0) ratios[r] = (all - one) / (one * passes);
    }
    printf("%d layers, d_model %d, d_vocab %d, %d rows, one thread, %s, %s\n", info->n_layers,
        info->d_model, info->d_vocab, rows, psc_session_isa(plain), plugin);
    printf("%.1f passes, ratio to plain ones %.3f, quartiles %.3f %.3f\n", passes,
        bench_quantile(ratios, repetitions, 0.5), bench_quantile(ratios, repetitions, 0.25),
        bench_quantile(ratios, repetitions, 0.75));
    psc_session_close(&with);
    psc_session_close(&plain);
    free(tokens);
    free(ratios);
    psc_model_close(&model);
    return 0;
}
