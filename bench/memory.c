/* Peak memory of a run with the full decomposition (`logits`, one fixed target, neuron level, all
 * rows) against what it has to hold:
 *
 *   memory MODEL_FOLDER [ROWS [CACHE_FOLDER]]
 *
 *   bound = packed weights + KV cache + the arrays of the results + 64 MiB
 *
 * Packed weights count as their bytes, whether they lie in memory of our own or are pages of a
 * mapped file: both are in the resident set once a pass has read them. Exit code 1 beyond the
 * bound. */
#include "results.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MIB (1024.0 * 1024.0)
#define ALLOWANCE 64.0

static void check(psc_status status, const psc_error *error) {
    if (status == PSC_OK) return;
    fprintf(stderr, "memory: %s\n", error->message);
    exit(1);
}

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

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: memory MODEL [ROWS [CACHE_FOLDER]]\n");
        return 2;
    }
    int rows = argc > 2 ? atoi(argv[2]) : 512;
    psc_error error;
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_model_options model_options = PSC_MODEL_OPTIONS_INIT;
    model_options.cache_dir = argc > 3 ? argv[3] : NULL;
    check(psc_model_open_with(&model, argv[1], &model_options, &error), &error);
    double opened = peak();
    const psc_model_info *info = psc_model_get_info(model);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.capacity = rows;
    check(psc_session_open(&session, model, &options, &error), &error);
    check(psc_session_target(session, "#11", &error), &error);
    check(psc_session_plugin(session, "logits", "level=neuron,rows=all", &error), &error);
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    for (int t = 0; t < rows; t++)
        tokens[t].id = (int32_t)((2654435761u * (unsigned)(t + 1)) % (unsigned)info->d_vocab);
    psc_input input = {0, rows, tokens};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.no_logits = 1;
    check(psc_session_run(session, &input, 1, &run, &error), &error);

    double weights = (double)model->weights.size / MIB, cache = kv_bytes(info, rows) / MIB;
    double arrays = array_bytes(psc_session_results(session)) / MIB, most = peak();
    double bound = weights + cache + arrays + ALLOWANCE;
    printf("%s\n  %d rows, %d threads, %s, weights %s\n", argv[1], rows,
        psc_session_threads(session), psc_session_isa(session), psc_model_weights_text(model));
    printf("  packed weights  %8.1f MiB\n  KV cache        %8.1f MiB\n  result arrays   %8.1f MiB\n"
           "  allowance       %8.1f MiB\n  bound           %8.1f MiB\n",
        weights, cache, arrays, ALLOWANCE, bound);
    printf("  peak            %8.1f MiB (%.1f MiB when the model was open)\n", most, opened);
    printf("  beyond the terms %7.1f MiB: %s\n", most - bound + ALLOWANCE,
        most <= bound ? "within the bound" : "BEYOND THE BOUND");
    free(tokens);
    psc_session_close(&session);
    psc_model_close(&model);
    return most <= bound ? 0 : 1;
}
