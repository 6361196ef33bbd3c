/* What a plugin costs over a corpus: a window with the plugin against the plain pass of the same
 * window without logits, interleaved in one run on one thread.
 *
 *   corpus_cost MODEL_FOLDER [--rows N] [--rounds N] [--isa NAME] [PLUGIN[:key=value,...] ...]
 *
 *   multiple = time of a window with the plugin / time of a plain window
 *   floor    = 1 + unembeddings per row * 2 N V / operations of the pass per row
 *
 * The word "logits" in place of a plugin is the plain pass with all logits and an empty observer.
 * The floor counts the products that the plugin cannot do without, at the pass's own speed. Time is
 * the process's processor time, so that other processes disturb it little. Prints the median and
 * the quartiles of the multiples, and the median's part of the floor. Writes no files. */
#include "bench.h"

#include <string.h>

enum { MOST = 16 };

typedef struct contender {
    const char *plugin; /* null: the plain pass */
    psc_session *session;
    double *times, *ratios;
} contender;

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static void open_contender(contender *c, psc_model *model, int rows, const char *isa) {
    psc_error error;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.isa = isa;
    options.capacity = rows;
    options.accumulate = !c->plugin || strncmp(c->plugin, "edges", 5) != 0; /* one text at a time */
    bench_check(psc_session_open(&c->session, model, &options, &error), &error);
    if (!c->plugin) return;
    if (strcmp(c->plugin, "logits") == 0) {
        bench_check(
            psc_session_observe(c->session, PSC_HOOK_LOGITS, NULL, ignore, c, &error), &error);
        return;
    }
    char name[256];
    snprintf(name, sizeof name, "%s", c->plugin);
    char *colon = strchr(name, ':');
    if (colon) *colon = '\0';
    bench_check(psc_session_plugin(c->session, name, colon ? colon + 1 : NULL, &error), &error);
}

static double time_run(psc_session *session, const psc_input *input) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    psc_session_truncate(session, 0, 0);
    const double start = processor_time();
    bench_check(psc_session_run(session, input, 1, &options, &error), &error);
    return processor_time() - start;
}

/* Each turn with a plugin stands between two plain ones. The first round warms up. */
static void measure(contender *all, int n, const psc_input *input, int rounds) {
    for (int r = -1; r < rounds; r++) {
        double before = time_run(all[0].session, input);
        for (int i = 1; i < n; i++) {
            const double with = time_run(all[i].session, input);
            const double after = time_run(all[0].session, input);
            if (r >= 0) {
                all[i].times[r] = with;
                all[i].ratios[r] = with / (0.5 * (before + after));
                all[0].times[r] = before;
            }
            before = after;
        }
    }
}

/* Operations of the pass per row, without the unembedding: the matrices, and scores and values of
 * the keys that a row of a window of `rows` sees on average. */
static double pass_operations(const psc_model_info *m, int rows) {
    const double n = m->d_model, mlp = m->d_mlp;
    return m->n_layers * (2.0 * (4.0 * n * n + 2.0 * n * mlp) + 4.0 * n * 0.5 * (rows + 1.0));
}

/* Unembeddings per row that a plugin cannot do without. */
static double unembeddings(const psc_model_info *m, const char *plugin) {
    if (strncmp(plugin, "lens", 4) == 0) return m->n_layers + 1.0;
    if (strncmp(plugin, "partition", 9) == 0) return 2.0 * m->n_layers + 1.0;
    if (strncmp(plugin, "sampling", 8) == 0 || strcmp(plugin, "logits") == 0) return 1.0;
    return 0.0;
}

static void print(contender *all, int n, const psc_model_info *m, int rows, int rounds) {
    const double plain = bench_quantile(all[0].times, rounds, 0.5);
    const double pass = pass_operations(m, rows), one = 2.0 * m->d_model * m->d_vocab;
    printf("%-40s %8.3f ms per row, %.1f MFLOP\n", "plain pass", 1e3 * plain / rows, 1e-6 * pass);
    for (int i = 1; i < n; i++) {
        contender *c = &all[i];
        const double floor = 1.0 + unembeddings(m, c->plugin) * one / pass;
        const double median = bench_quantile(c->ratios, rounds, 0.5);
        printf("%-40s %8.3f ms per row, multiple %.2f (quartiles %.2f %.2f), floor %.2f, ratio to "
               "it %.2f\n",
            c->plugin, 1e3 * bench_quantile(c->times, rounds, 0.5) / rows, median,
            bench_quantile(c->ratios, rounds, 0.25), bench_quantile(c->ratios, rounds, 0.75), floor,
            median / floor);
    }
}

int main(int argc, char **argv) {
    contender all[MOST] = {{0}};
    int rows = 512, rounds = 5, n = 1;
    const char *isa = NULL;
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--rows") == 0) {
            rows = atoi(value);
            i++;
        } else if (strcmp(argv[i], "--rounds") == 0) {
            rounds = atoi(value);
            i++;
        } else if (strcmp(argv[i], "--isa") == 0) {
            isa = value;
            i++;
        } else if (n < MOST) {
            all[n++].plugin = argv[i];
        }
    }
    if (argc < 2 || rows < 1 || rounds < 1) {
        fprintf(stderr, "usage: corpus_cost MODEL [--rows N] [--rounds N] [--isa NAME] "
                        "[PLUGIN[:OPTIONS] ...]\n");
        return 2;
    }
    static const char *const usual[] = {"sampling", "lens", "partition"};
    for (int i = 0; n == 1 + i && i < 3; i++) all[n++].plugin = usual[i];
    psc_error error;
    psc_model *model = NULL;
    bench_check(psc_model_open(&model, argv[1], &error), &error);
    const psc_model_info *info = psc_model_get_info(model);
    for (int i = 0; i < n; i++) {
        open_contender(&all[i], model, rows, isa);
        all[i].times = calloc((size_t)rounds, sizeof(double));
        all[i].ratios = calloc((size_t)rounds, sizeof(double));
    }
    psc_token *tokens = calloc((size_t)rows, sizeof *tokens);
    /* The first token is the beginning of text, which `spans` asks for. */
    for (int t = 1; t < rows; t++) tokens[t].id = bench_token(t, info->d_vocab);
    const psc_input input = {0, rows, tokens};
    printf("%d layers, d_model %d, d_vocab %d, %d rows, one thread, %s\n", info->n_layers,
        info->d_model, info->d_vocab, rows, psc_session_isa(all[0].session));
    measure(all, n, &input, rounds);
    print(all, n, info, rows, rounds);
    for (int i = 0; i < n; i++) {
        psc_session_close(&all[i].session);
        free(all[i].times);
        free(all[i].ratios);
    }
    free(tokens);
    psc_model_close(&model);
    return 0;
}
