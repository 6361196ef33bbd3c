/* What a decomposition costs: `logits` with one fixed target at the neuron level over all
 * positions, or another plugin, against the plain pass that computes the same rows and the same
 * logits, interleaved in one run.
 *
 *   decompose MODEL_FOLDER [ROWS [REPETITIONS [THREADS [PLUGIN[:key=value,...]]]]]
 *
 * Prints the median of each, the ratio of the medians, and the quartiles of the paired ratios.
 * Nothing is written to files. */
#include "psc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, int n, double q) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    return values[(int)(q * (n - 1) + 0.5)];
}

static void check(psc_status status, const psc_error *error) {
    if (status == PSC_OK) return;
    fprintf(stderr, "decompose: %s\n", error->message);
    exit(1);
}

/* The plain pass must compute all rows' logits, as the plugin's check makes its run do. */
static int ignore_logits(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static double time_run(psc_session *session, const psc_input *input) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    psc_session_truncate(session, 0, 0);
    double start = now();
    check(psc_session_run(session, input, 1, &options, &error), &error);
    return now() - start;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(
            stderr, "usage: decompose MODEL [ROWS [REPETITIONS [THREADS [PLUGIN[:OPTIONS]]]]]\n");
        return 2;
    }
    int rows = argc > 2 ? atoi(argv[2]) : 128, repetitions = argc > 3 ? atoi(argv[3]) : 21;
    psc_error error;
    psc_model *model = NULL;
    check(psc_model_open(&model, argv[1], &error), &error);
    const psc_model_info *info = psc_model_get_info(model);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = argc > 4 ? atoi(argv[4]) : 0;
    options.capacity = rows;
    psc_session *plain = NULL, *watched = NULL;
    check(psc_session_open(&plain, model, &options, &error), &error);
    check(psc_session_open(&watched, model, &options, &error), &error);
    psc_session *both[2] = {plain, watched};
    for (int i = 0; i < 2; i++)
        check(psc_session_observe(both[i], PSC_HOOK_LOGITS, NULL, ignore_logits, both, &error),
            &error);
    char plugin[256];
    snprintf(plugin, sizeof plugin, "%s", argc > 5 ? argv[5] : "logits:level=neuron,rows=all");
    char *colon = strchr(plugin, ':');
    if (colon) *colon = '\0';
    check(psc_session_target(watched, "#11", &error), &error);
    check(psc_session_plugin(watched, plugin, colon ? colon + 1 : NULL, &error), &error);

    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    double *times[3];
    for (int i = 0; i < 3; i++) times[i] = calloc((size_t)repetitions, sizeof **times);
    for (int t = 0; t < rows; t++)
        tokens[t].id = (int32_t)((2654435761u * (unsigned)(t + 1)) % (unsigned)info->d_vocab);
    psc_input input = {0, rows, tokens};
    for (int r = -1; r < repetitions; r++) { /* the first of each warms up */
        double a = time_run(plain, &input), b = time_run(watched, &input);
        if (r < 0) continue;
        times[0][r] = a;
        times[1][r] = b;
        times[2][r] = b / a;
    }
    double a = quantile(times[0], repetitions, 0.5), b = quantile(times[1], repetitions, 0.5);
    printf("%d layers, d_model %d, d_vocab %d, %d rows, %d threads, %s: plain %.2f ms, "
           "%s(%s) %.2f ms, ratio of medians %.3f, paired quartiles %.3f %.3f %.3f\n",
        info->n_layers, info->d_model, info->d_vocab, rows, psc_session_threads(plain),
        psc_session_isa(plain), 1e3 * a, plugin, colon ? colon + 1 : "", 1e3 * b, b / a,
        quantile(times[2], repetitions, 0.25), quantile(times[2], repetitions, 0.5),
        quantile(times[2], repetitions, 0.75));
    for (int i = 0; i < 3; i++) free(times[i]);
    free(tokens);
    psc_session_close(&plain);
    psc_session_close(&watched);
    psc_model_close(&model);
    return 0;
}
