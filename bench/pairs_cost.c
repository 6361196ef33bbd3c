/* A sweep over a set of pairs of prompts, against as many sweeps of one pair each, in turns in one
 * process.
 *
 *   pairs_cost MODEL [--pairs 64] [--tokens 20] [--batch 16] [--rounds 3] [--threads 0]
 *              [--sweep over=heads_by_pos,do=patch] [--differ 5] [--memory]
 *
 *   ratio = (time of the set) / (time of all pairs one by one)
 *
 * The prompts of a pair differ in one token, at --differ, as pairs with two names do. Every pair has
 * its own target and its own tokens. Time is the process's processor time. The effects of both ways
 * are compared to the bit. --memory: the peak memory after 8, 64 and 512 pairs instead. */
#include "bench.h"
#include "options.h"

#include <sys/resource.h>

typedef struct pair_set {
    int n, tokens, batch, differ, threads;
    psc_token *clean, *corrupt; /* [n, tokens] */
    int32_t *targets;           /* [n, 2] */
    int32_t *aligned;           /* [tokens] 0, 1, ... */
    double *effects[2];         /* [n, cells] of the set, and one by one */
    int64_t cells;
} pair_set;

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak_megabytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
    return (double)usage.ru_maxrss / 1e6;
#else
    return (double)usage.ru_maxrss * 1024 / 1e6;
#endif
}

static void make_pairs(pair_set *set, int32_t n_vocab) {
    const size_t all = (size_t)set->n * (size_t)set->tokens;
    set->clean = calloc(all, sizeof *set->clean);
    set->corrupt = calloc(all, sizeof *set->corrupt);
    set->targets = calloc(2 * (size_t)set->n, sizeof *set->targets);
    set->aligned = calloc((size_t)set->tokens, sizeof *set->aligned);
    for (int i = 0; i < set->n; i++)
        for (int t = 0; t < set->tokens; t++) {
            const int at = i * set->tokens + t;
            set->clean[at].id = bench_token(at, n_vocab);
            set->corrupt[at].id = bench_token(t == set->differ ? at + 7777 : at, n_vocab);
        }
    for (int i = 0; i < 2 * set->n; i++) set->targets[i] = bench_token(99999 + i, n_vocab);
    for (int t = 0; t < set->tokens; t++) set->aligned[t] = t;
}

static psc_session *open_session(psc_model *model, const pair_set *set, int n, const char *sweep) {
    psc_error error;
    psc_session *session;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = set->threads;
    options.n_sequences = n;
    options.capacity = set->tokens;
    bench_check(psc_session_open(&session, model, &options, &error), &error);
    bench_check(psc_session_plugin(session, "sweep", sweep, &error), &error);
    bench_check(psc_session_target(session, "example", &error), &error);
    return session;
}

static void run(psc_session *session, const pair_set *set, int first, int n, int32_t phase) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const psc_token *tokens = phase == PSC_PHASE_SOURCE ? set->corrupt : set->clean;
    psc_input *inputs = calloc((size_t)n, sizeof *inputs);
    psc_example *examples = calloc((size_t)n, sizeof *examples);
    for (int i = 0; i < n; i++) {
        psc_session_truncate(session, i, 0);
        inputs[i] = (psc_input){i, set->tokens, tokens + (first + i) * set->tokens};
        const int32_t *target = set->targets + 2 * (first + i);
        examples[i] = (psc_example){first + i, target[0], target[1], set->aligned};
    }
    options.phase = phase;
    options.examples = examples;
    options.no_logits = 1;
    bench_check(psc_session_run(session, inputs, n, &options, &error), &error);
    free(inputs);
    free(examples);
}

/* Sweeps all pairs, in batches of at most n. Returns the processor time. */
static double sweep_all(psc_session *session, pair_set *set, int n, double **effects) {
    const double start = processor_time();
    for (int first = 0; first < set->n; first += n) {
        const int now = first + n < set->n ? n : set->n - first;
        psc_error error;
        psc_array array;
        run(session, set, first, now, PSC_PHASE_SOURCE);
        run(session, set, first, now, PSC_PHASE_CHANGED);
        bench_check(psc_session_array(session, "sweep.effect", &array, &error), &error);
        int64_t cells = 1;
        for (int a = 1; a < array.n_axes; a++) cells *= array.shape[a];
        if (!*effects) *effects = calloc((size_t)(cells * set->n), sizeof **effects);
        memcpy(*effects + first * cells, array.data, (size_t)(cells * now) * sizeof **effects);
        set->cells = cells;
    }
    return processor_time() - start;
}

static void compare(const pair_set *set) {
    const size_t bytes = (size_t)(set->n * set->cells) * sizeof(double);
    if (memcmp(set->effects[0], set->effects[1], bytes) != 0)
        bench_fail("the effects of the set are not those of single pairs");
}

static void measure_time(psc_model *model, pair_set *set, const char *sweep, int rounds) {
    psc_session *many = open_session(model, set, set->batch, sweep);
    psc_session *one = open_session(model, set, 1, sweep);
    double *ratios = calloc((size_t)rounds, sizeof *ratios), together = 0, apart = 0;
    for (int r = 0; r < rounds; r++) {
        const double set_time = sweep_all(many, set, set->batch, &set->effects[0]);
        const double pair_time = sweep_all(one, set, 1, &set->effects[1]);
        compare(set);
        ratios[r] = set_time / pair_time;
        together += set_time / rounds;
        apart += pair_time / rounds;
    }
    printf("%d pairs of %d tokens, batches of %d, %s: set %.2f s, one by one %.2f s\n", set->n,
        set->tokens, set->batch, sweep, together, apart);
    printf("ratio %.3f, from %.3f to %.3f; equal to the bit\n", bench_quantile(ratios, rounds, 0.5),
        bench_quantile(ratios, rounds, 0.0), bench_quantile(ratios, rounds, 1.0));
    free(ratios);
    psc_session_close(&many);
    psc_session_close(&one);
}

static void measure_memory(psc_model *model, pair_set *set, const char *sweep) {
    const int counts[] = {8, 64, 512};
    psc_session *session = open_session(model, set, set->batch, sweep);
    for (int i = 0; i < 3 && counts[i] <= set->n; i++) {
        pair_set part = *set;
        part.n = counts[i];
        part.effects[0] = NULL;
        sweep_all(session, &part, set->batch, &part.effects[0]);
        printf("%3d pairs: peak %.1f MB, of it effects %.1f MB\n", counts[i], peak_megabytes(),
            (double)(part.cells * part.n) * 8 / 1e6);
        fflush(stdout);
        free(part.effects[0]);
    }
    psc_session_close(&session);
}

int main(int argc, char **argv) {
    pair_set set = {.n = 64, .tokens = 20, .batch = 16, .differ = 5};
    const char *sweep = "over=heads_by_pos,do=patch", *model_path = NULL;
    int rounds = 3, memory = 0;
    const char *usage = "pairs_cost MODEL [options]";
    const bench_option options[] = {
        {"--pairs", "N", "pairs; with --memory at most so many", NULL, &set.n, 1},
        {"--tokens", "N", "of each prompt", NULL, &set.tokens, 2},
        {"--batch", "N", "pairs of a run", NULL, &set.batch, 1},
        {"--rounds", "N", "of both ways", NULL, &rounds, 1},
        {"--threads", "N", "0: one per core", NULL, &set.threads, 0},
        {"--differ", "N", "the token in which the prompts differ", NULL, &set.differ, 0},
        {"--sweep", "OPTIONS", "of the plugin sweep", &sweep, NULL, 0},
        {"--memory", NULL, "peak memory at 8, 64 and 512 pairs", NULL, &memory, 0}};
    if (bench_options(argc, argv, usage, options, 8, &model_path, 1) != 1)
        bench_refuse(usage, "a model is missing");
    psc_error error;
    psc_model *model = NULL;
    bench_check(psc_model_open(&model, model_path, &error), &error);
    make_pairs(&set, psc_model_get_info(model)->d_vocab);
    if (memory)
        measure_memory(model, &set, sweep);
    else
        measure_time(model, &set, sweep, rounds);
    for (int i = 0; i < 2; i++) free(set.effects[i]);
    free(set.clean);
    free(set.corrupt);
    free(set.targets);
    free(set.aligned);
    psc_model_close(&model);
    return 0;
}
