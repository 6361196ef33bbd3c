/* The cost of a decomposition: `logits` at the neuron level over all positions, or another plugin,
 * against the plain pass that computes the same rows and the same logits, interleaved in one run.
 *
 *   decompose MODEL_FOLDER [ROWS [REPETITIONS [THREADS [PLUGIN[:key=value,...]]]]]
 *
 * Cases: one fixed target, ten, the text's own next token at every position; then an empty callback
 * at every hook point. With another plugin: one target. Prints the median of each case, the ratio
 * of the medians, and the quartiles of the paired ratios. Writes no files. */
#include "bench.h"

#include <string.h>

#define MOST_CASES 5

typedef struct bench_case {
    const char *name;
    const char *targets[10];
    int n_targets;
    psc_session *session;
    double *times, *ratios;
} bench_case;

/* The plain pass must compute all rows' logits, because the plugin's check does too. */
static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static void open_case(bench_case *c, psc_model *model, int rows, int threads, const char *plugin) {
    psc_error error;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = threads;
    options.capacity = rows;
    bench_check(psc_session_open(&c->session, model, &options, &error), &error);
    const int all = strcmp(c->name, "empty observers") == 0;
    const int parallel = psc_model_get_info(model)->parallel_residual;
    for (int p = 0; p < PSC_POINT_COUNT; p++)
        if (p == PSC_HOOK_LOGITS || (all && (p != PSC_HOOK_RESID_MID || !parallel)))
            bench_check(psc_session_observe(c->session, p, NULL, ignore, c, &error), &error);
    if (c->n_targets == 0) return;
    for (int t = 0; t < c->n_targets; t++)
        bench_check(psc_session_target(c->session, c->targets[t], &error), &error);
    char name[256];
    snprintf(name, sizeof name, "%s", plugin);
    char *colon = strchr(name, ':');
    if (colon) *colon = '\0';
    bench_check(psc_session_plugin(c->session, name, colon ? colon + 1 : NULL, &error), &error);
}

static double time_run(psc_session *session, const psc_input *input) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    psc_session_truncate(session, 0, 0);
    double start = bench_now();
    bench_check(psc_session_run(session, input, 1, &options, &error), &error);
    return bench_now() - start;
}

static void measure(bench_case *cases, int n, const psc_input *input, int repetitions) {
    for (int r = -1; r < repetitions; r++) { /* the first of each warms up */
        for (int i = 0; i < n; i++) {
            double seconds = time_run(cases[i].session, input);
            if (r < 0) continue;
            cases[i].times[r] = seconds;
            cases[i].ratios[r] = seconds / cases[0].times[r];
        }
    }
}

static void print(bench_case *cases, int n, int repetitions) {
    const double plain = bench_quantile(cases[0].times, repetitions, 0.5);
    printf("%-16s %9.2f ms\n", cases[0].name, 1e3 * plain);
    for (int i = 1; i < n; i++) {
        bench_case *c = &cases[i];
        const double median = bench_quantile(c->times, repetitions, 0.5);
        printf("%-16s %9.2f ms, ratio of medians %.3f, paired quartiles %.3f %.3f %.3f\n", c->name,
            1e3 * median, median / plain, bench_quantile(c->ratios, repetitions, 0.25),
            bench_quantile(c->ratios, repetitions, 0.5),
            bench_quantile(c->ratios, repetitions, 0.75));
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(
            stderr, "usage: decompose MODEL [ROWS [REPETITIONS [THREADS [PLUGIN[:OPTIONS]]]]]\n");
        return 2;
    }
    const int rows = argc > 2 ? atoi(argv[2]) : 128, repetitions = argc > 3 ? atoi(argv[3]) : 21;
    const int threads = argc > 4 ? atoi(argv[4]) : 0;
    const char *plugin = argc > 5 ? argv[5] : "logits:level=neuron,rows=all";
    bench_case cases[MOST_CASES] = {
        {.name = "plain"},
        {.name = "one target", .targets = {"#11"}, .n_targets = 1},
        {.name = "ten targets",
            .targets = {"#11", "#12", "#13", "#14", "#15", "#16", "#17", "#18", "#19", "#20"},
            .n_targets = 10},
        {.name = "next", .targets = {"next"}, .n_targets = 1},
        {.name = "empty observers"},
    };
    const int n = argc > 5 ? 2 : MOST_CASES;
    psc_error error;
    psc_model *model = NULL;
    bench_check(psc_model_open(&model, argv[1], &error), &error);
    const psc_model_info *info = psc_model_get_info(model);
    for (int i = 0; i < n; i++) {
        open_case(&cases[i], model, rows, threads, plugin);
        cases[i].times = calloc((size_t)repetitions, sizeof(double));
        cases[i].ratios = calloc((size_t)repetitions, sizeof(double));
    }
    printf("%d layers, d_model %d, d_vocab %d, %d rows, %d threads, %s, %s\n", info->n_layers,
        info->d_model, info->d_vocab, rows, psc_session_threads(cases[0].session),
        psc_session_isa(cases[0].session), plugin);
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    for (int t = 0; t < rows; t++) tokens[t].id = bench_token(t, info->d_vocab);
    if (psc_session_needs_bos(cases[1].session)) tokens[0].id = psc_model_bos(model);
    const psc_input input = {0, rows, tokens};
    measure(cases, n, &input, repetitions);
    print(cases, n, repetitions);
    for (int i = 0; i < n; i++) {
        psc_session_close(&cases[i].session);
        free(cases[i].times);
        free(cases[i].ratios);
    }
    free(tokens);
    psc_model_close(&model);
    return 0;
}
