/* Peak memory of a run with the full decomposition (`logits`, one fixed target, neuron level, all
 * rows) against its bound:
 *
 *   memory MODEL_FOLDER [--rows N] [--cache-dir FOLDER] [--json]
 *
 *   bound = packed weights + KV cache + the arrays of the results + 64 MiB
 *
 * Packed weights count in full, allocated or mapped: after a pass both are in the resident set.
 * Exit code 1 if the peak exceeds the bound. */
#include "bench.h"
#include "json_line.h"
#include "options.h"
#include "results.h"
#include "session_inside.h"

#include <sys/resource.h>

#define MIB (1024.0 * 1024.0)
#define ALLOWANCE 64.0

/* The largest resident set so far, in MiB. */
static double peak(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return (double)usage.ru_maxrss / MIB;
#else
    return (double)usage.ru_maxrss / 1024.0;
#endif
}

static double kv_bytes(const psc_model_info *info, int rows) {
    double capacity = (rows + 15) / 16 * 16.0, wide = (info->d_head + 15) / 16 * 16.0;
    double head = capacity * (info->d_head + wide) * sizeof(float);
    return head * info->n_layers * info->n_heads;
}

static double array_bytes(const psc_results *results) {
    double sum = 0;
    for (int i = 0; i < results->n_arrays; i++) sum += (double)results->arrays[i].bytes;
    return sum;
}

/* Prints the terms of the bound and the peak, in MiB; returns whether the peak is within the
 * bound. */
static bool print(const psc_session *session, const char *path, int rows, double opened, int json) {
    const psc_model *model = session->model;
    double weights = (double)model->weights.size / MIB;
    double cache = kv_bytes(&model->info, rows) / MIB;
    double arrays = array_bytes(session->results) / MIB, most = peak();
    double bound = weights + cache + arrays + ALLOWANCE;
    if (json) {
        bench_json_line(json_pack("{s:i, s:s, s:f, s:f, s:f}", "rows", rows, "weights",
            psc_model_weights_text(model), "bound_mib", bound, "peak_mib", most,
            "beyond_the_terms_mib", most - bound + ALLOWANCE));
        return most <= bound;
    }
    printf("%s\n  %d rows, %d threads, %s, weights %s\n", path, rows, psc_session_threads(session),
        psc_session_isa(session), psc_model_weights_text(model));
    printf("  packed weights  %8.1f MiB\n  KV cache        %8.1f MiB\n  result arrays   %8.1f MiB\n"
           "  allowance       %8.1f MiB\n  bound           %8.1f MiB\n",
        weights, cache, arrays, ALLOWANCE, bound);
    printf("  peak            %8.1f MiB (%.1f MiB when the model was open)\n", most, opened);
    printf("  beyond the terms %7.1f MiB: %s\n", most - bound + ALLOWANCE,
        most <= bound ? "within the bound" : "BEYOND THE BOUND");
    return most <= bound;
}

int main(int argc, char **argv) {
    const char *usage = "bench_memory MODEL [options]", *path = NULL;
    int rows = 512, json = 0;
    psc_error error;
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_model_options model_options = PSC_MODEL_OPTIONS_INIT;
    const bench_option known[] = {
        {.name = "--rows", .value = "N", .number = &rows, .least = 1, .help = "default: 512"},
        {.name = "--cache-dir",
            .value = "FOLDER",
            .text = &model_options.cache_dir,
            .help = "the cache folder of packed weights; default: none"},
        {.name = "--json", .number = &json, .help = "print one JSON object on one line"},
    };
    if (bench_options(argc, argv, usage, known, 3, &path, 1) != 1)
        bench_refuse(usage, "MODEL is missing");
    bench_check(psc_model_open_with(&model, path, &model_options, &error), &error);
    double opened = peak();
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.capacity = rows;
    bench_check(psc_session_open(&session, model, &options, &error), &error);
    bench_check(psc_session_target(session, "#11", &error), &error);
    bench_check(psc_session_plugin(session, "logits", "level=neuron,rows=all", &error), &error);
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    if (!tokens) bench_fail("out of memory");
    for (int t = 0; t < rows; t++) tokens[t].id = bench_token(t, model->info.d_vocab);
    psc_input input = {0, rows, tokens};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.no_logits = 1;
    bench_check(psc_session_run(session, &input, 1, &run, &error), &error);
    const bool within = print(session, path, rows, opened, json);
    free(tokens);
    psc_session_close(&session);
    psc_model_close(&model);
    return within ? 0 : 1;
}
