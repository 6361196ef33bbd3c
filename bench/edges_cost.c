/* The cost of a pass with patched edges (psc_edges.h), against the plain pass of the same rows with
 * the last row's logits, interleaved in one run.
 *
 *   edges_cost MODEL_FOLDER [ROWS [REPETITIONS [THREADS]]]
 *
 * eap: a source run, this run and the attributions of all edges (plugin circuit), in plain passes.
 * Cases: 1 %, 10 %, 50 %, 90 % of all edges patched, drawn at random, and one edge of the middle
 * layer. A run's first pass with patched edges touches its memory first and is not counted.
 * The other run's writes are this one's times 0.75. Time is the process's processor time, so that
 * other processes disturb it little. Prints the median ratio and its quartiles. Writes no files. */
#include "bench.h"
#include "psc_plugin.h"

#include <string.h>

#define CASES 5
#define MOST_LAYERS 128

static const char *const names[CASES] = {
    "1 % patched", "10 % patched", "50 % patched", "90 % patched", "one edge patched"};
static const uint32_t shares[CASES] = {10, 102, 512, 922, 0}; /* of 1024 */

typedef struct state {
    const psc_host *host;
    psc_context *context;
    int32_t n_rows, handles[5];
    const float *own[4][MOST_LAYERS + 1], *other[4][MOST_LAYERS + 1]; /* z, mlp, pre, mid */
    uint8_t *patched[CASES];
    double seconds[CASES]; /* of the last run */
} state;

static state bench;

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int on_open(psc_context *context, const psc_host *host, void **out) {
    const psc_model_info *info = host->model(context);
    const psc_edge_shape shape = {info->n_layers, info->n_heads, info->parallel_residual};
    const int64_t n = psc_edge_count(&shape);
    uint32_t seed = 1;
    *out = &bench;
    bench.host = host;
    bench.context = context;
    for (int i = 0; i < CASES; i++) {
        bench.patched[i] = host->life_alloc(context, (uint64_t)n);
        if (!bench.patched[i]) return -1;
        for (int64_t e = 0; e < n; e++) {
            seed = seed * 1664525u + 1013904223u;
            bench.patched[i][e] = (seed >> 16 & 1023) < shares[i];
        }
    }
    bench.patched[CASES - 1]
                 [psc_edge_first(&shape, psc_edge_receivers(&shape, info->n_layers / 2))] = 1;
    return 0;
}

static int on_begin(psc_context *context, void *payload) {
    static const psc_point points[5] = {
        PSC_HOOK_Z, PSC_HOOK_MLP_OUT, PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_MID, PSC_HOOK_EMBED};
    state *s = payload;
    const psc_model_info *info = s->host->model(context);
    s->host->rows(context, &s->n_rows);
    for (int i = 0; i < 5; i++) {
        if (i == 3 && info->parallel_residual) continue;
        s->handles[i] = s->host->retain(context, points[i], NULL);
        if (s->handles[i] < 0) return -1;
    }
    return s->host->prepare_variants(context);
}

static const float *scaled(const state *s, const float *x, int64_t n) {
    float *y = s->host->run_alloc(s->context, (uint64_t)n * sizeof *y);
    for (int64_t i = 0; y && i < n; i++) y[i] = 0.75f * x[i];
    return y;
}

static int fetch(state *s, int kind, int32_t layer, const psc_model_info *info) {
    psc_event event;
    if (s->host->fetch(s->context, s->handles[kind], layer, &event)) return -1;
    s->own[kind][layer] = event.tensor.data;
    s->other[kind][layer] = scaled(s, event.tensor.data, (int64_t)s->n_rows * info->d_model);
    return s->other[kind][layer] ? 0 : -1;
}

static int ignore(int32_t variant, const psc_event *logits, void *payload) {
    (void)variant, (void)logits, (void)payload;
    return 0;
}

static int on_end(psc_context *context, void *payload, int status) {
    state *s = payload;
    const psc_model_info *info = s->host->model(context);
    psc_event embed;
    if (status) return 0;
    for (int kind = 0; kind < (info->parallel_residual ? 3 : 4); kind++)
        for (int32_t l = 0; l < info->n_layers; l++)
            if (fetch(s, kind, l, info)) return -1;
    if (s->host->fetch(context, s->handles[4], -1, &embed)) return -1;
    const int32_t end = info->n_layers; /* the last residual's values do not matter here */
    s->own[2][end] = s->own[2][end - 1];
    s->other[2][end] = s->other[2][end - 1];
    const int mid = !info->parallel_residual;
    const psc_writes own = {sizeof own, s->n_rows, embed.tensor.data, s->own[0], s->own[1],
        s->own[2], mid ? s->own[3] : NULL};
    const psc_writes other = {sizeof other, s->n_rows,
        scaled(s, embed.tensor.data, (int64_t)s->n_rows * info->d_model), s->other[0], s->other[1],
        s->other[2], mid ? s->other[3] : NULL};
    for (int r = 0; r <= CASES; r++) { /* once more the first, whose memory is new */
        const int i = r ? r - 1 : 0;
        const psc_edges edges = {
            .struct_size = sizeof edges, .patched = s->patched[i], .other = &other, .own = &own};
        const psc_variant variant = {.struct_size = sizeof variant, .edges = &edges};
        const double start = processor_time();
        if (s->host->variants(context, 1, &variant, PSC_ROWS_LAST, ignore, s)) return -1;
        s->seconds[i] = processor_time() - start;
    }
    return 0;
}

static psc_session *open_session(
    psc_model *model, int rows, int threads, const psc_plugin *plugin) {
    psc_error error;
    psc_session *session;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = threads;
    options.capacity = rows;
    bench_check(psc_session_open(&session, model, &options, &error), &error);
    if (plugin) bench_check(psc_session_plugin_object(session, plugin, NULL, 0, &error), &error);
    return session;
}

static double time_run(psc_session *session, const psc_input *input) {
    psc_error error;
    psc_session_truncate(session, 0, 0);
    const double start = processor_time();
    bench_check(psc_session_run(session, input, 1, NULL, &error), &error);
    return processor_time() - start;
}

/* Processor time of a source run and a run with attributions of all edges. */
static double time_eap(psc_session *session, const psc_input *input, const psc_input *source) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const double start = processor_time();
    options.phase = PSC_PHASE_SOURCE;
    psc_session_truncate(session, 0, 0);
    bench_check(psc_session_run(session, source, 1, &options, &error), &error);
    options.phase = PSC_PHASE_CHANGED;
    psc_session_truncate(session, 0, 0);
    bench_check(psc_session_run(session, input, 1, &options, &error), &error);
    return processor_time() - start;
}

static void print(const char *name, double *ratios, int n) {
    printf("%-26s %.3f passes, quartiles %.3f %.3f\n", name, bench_quantile(ratios, n, 0.5),
        bench_quantile(ratios, n, 0.25), bench_quantile(ratios, n, 0.75));
}

/* ratios [CASES + 1, repetitions], the last those of eap. */
static void measure(psc_model *model, int rows, int repetitions, int threads,
    const psc_plugin *plugin, double *ratios) {
    psc_error error;
    const int32_t n_vocab = psc_model_get_info(model)->d_vocab;
    psc_session *plain = open_session(model, rows, threads, NULL);
    psc_session *with = open_session(model, rows, threads, plugin);
    psc_session *eap = open_session(model, rows, threads, NULL);
    bench_check(psc_session_plugin(eap, "circuit", "edges=0", &error), &error);
    psc_token *tokens = calloc(2 * (size_t)rows, sizeof *tokens);
    for (int t = 0; t < rows; t++) {
        tokens[t].id = bench_token(t, n_vocab);
        tokens[rows + t].id = bench_token(t + 1, n_vocab);
    }
    const psc_input input = {0, rows, tokens}, source = {0, rows, tokens + rows};
    for (int r = -1; r < repetitions; r++) { /* the first warms up */
        double one = time_run(plain, &input);
        time_run(with, &input);
        const double of_eap = time_eap(eap, &input, &source);
        one = (one + time_run(plain, &input)) / 2;
        for (int i = 0; r >= 0 && i < CASES; i++)
            ratios[i * repetitions + r] = bench.seconds[i] / one;
        if (r >= 0) ratios[CASES * repetitions + r] = of_eap / one;
    }
    printf("%d rows, %d threads, %s\n", rows, threads, psc_session_isa(plain));
    psc_session_close(&eap);
    psc_session_close(&with);
    psc_session_close(&plain);
    free(tokens);
}

int main(int argc, char **argv) {
    static const psc_plugin plugin = {.abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof plugin,
        .name = "edges",
        .open = on_open,
        .run_begin = on_begin,
        .run_end = on_end};
    if (argc < 2) {
        fprintf(stderr, "usage: edges_cost MODEL [ROWS [REPETITIONS [THREADS]]]\n");
        return 2;
    }
    const int rows = argc > 2 ? atoi(argv[2]) : 128, repetitions = argc > 3 ? atoi(argv[3]) : 9;
    const int threads = argc > 4 ? atoi(argv[4]) : 1;
    psc_error error;
    psc_model *model = NULL;
    if (rows < 1 || repetitions < 1) bench_fail("ROWS and REPETITIONS must be at least 1");
    bench_check(psc_model_open(&model, argv[1], &error), &error);
    const psc_model_info *info = psc_model_get_info(model);
    if (info->n_layers > MOST_LAYERS) bench_fail("the model has too many layers");
    double *ratios = calloc((size_t)(repetitions * (CASES + 1)), sizeof *ratios);
    printf("%d layers, d_model %d, ", info->n_layers, info->d_model);
    measure(model, rows, repetitions, threads, &plugin, ratios);
    for (int i = 0; i < CASES; i++) print(names[i], ratios + i * repetitions, repetitions);
    print("eap, all edges, both runs", ratios + CASES * repetitions, repetitions);
    free(ratios);
    psc_model_close(&model);
    return 0;
}
