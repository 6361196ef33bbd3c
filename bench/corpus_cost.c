/* What a plugin costs over a corpus: a window with the plugin against the plain pass of the same
 * window without logits, interleaved in one run.
 *
 *   corpus_cost MODEL_FOLDER [--rows N] [--rounds N] [--threads N] [--isa NAME] [--json]
 *               [PLUGIN[:key=value,...] ...]
 *
 *   multiple = time of a window with the plugin / time of a plain window
 *   floor    = 1 + operations of the plugin's products / operations of the pass (corpus_floor.h)
 *
 * The plain pass has an empty observer of the last residual, so that it computes all rows of all
 * layers: a run that nothing observes ends with the last layer's keys and values. In place of a
 * plugin the word "unobserved" is that run, and "logits" is the pass with all logits and an empty
 * observer. The floor counts the products that the plugin cannot do without, at the pass's own
 * speed. The multiple of processor time, of all threads, is the one that other processes disturb
 * little; with several threads the multiple of time is printed first. "Before the first token" is
 * the processor time of opening the plugin and of the first window, beyond a later window's. Prints
 * medians and quartiles, and the median's part of the floor. Writes no files. */
#include "bench.h"
#include "coder_config.h"
#include "corpus_floor.h"
#include "json_line.h"
#include "options.h"

#include <string.h>

enum { MOST = 24 };
enum { WALL, PROCESSOR, CLOCKS };

typedef struct times {
    double of[CLOCKS];
} times;

typedef struct contender {
    const char *plugin; /* null: the plain pass */
    psc_session *session;
    double opening;            /* processor seconds of opening the plugin and the first window */
    double *seconds[CLOCKS];   /* [rounds] */
    double *multiples[CLOCKS]; /* [rounds] */
} contender;

typedef struct setup {
    const char *folder, *isa;
    int rows, rounds, threads, json;
} setup;

static times now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (times){{bench_now(), (double)t.tv_sec + 1e-9 * (double)t.tv_nsec}};
}

static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

/* The last residual, or the logits, of all rows. */
static void observe_last(contender *c, int32_t layer) {
    psc_error error;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &layer;
    filter.n_layers = 1;
    const psc_status status =
        c->plugin
            ? psc_session_observe(c->session, PSC_HOOK_LOGITS, NULL, ignore, c, &error)
            : psc_session_observe(c->session, PSC_HOOK_RESID_POST, &filter, ignore, c, &error);
    bench_check(status, &error);
}

/* The targets are each row's own next token, which a session that accumulates implies. */
static void open_session(contender *c, psc_model *model, const setup *s) {
    psc_error error;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = s->threads;
    options.isa = s->isa;
    options.capacity = s->rows;
    const int one_text = c->plugin && corpus_named(c->plugin, "edges");
    options.accumulate = !one_text;
    bench_check(psc_session_open(&c->session, model, &options, &error), &error);
    if (one_text) bench_check(psc_session_target(c->session, "next", &error), &error);
}

static void open_plugin(contender *c, int32_t last_layer) {
    psc_error error;
    if (c->plugin && strcmp(c->plugin, "unobserved") == 0) return;
    if (!c->plugin || strcmp(c->plugin, "logits") == 0) {
        observe_last(c, last_layer);
        return;
    }
    char name[256];
    snprintf(name, sizeof name, "%s", c->plugin);
    char *colon = strchr(name, ':');
    if (colon) *colon = '\0';
    bench_check(psc_session_plugin(c->session, name, colon ? colon + 1 : NULL, &error), &error);
}

static times time_run(psc_session *session, const psc_input *input) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    psc_session_truncate(session, 0, 0);
    const times start = now();
    bench_check(psc_session_run(session, input, 1, &options, &error), &error);
    const times end = now();
    return (times){{end.of[WALL] - start.of[WALL], end.of[PROCESSOR] - start.of[PROCESSOR]}};
}

static void open_all(contender *all, int n, psc_model *model, const psc_input *input, setup *s) {
    for (int i = 0; i < n; i++) {
        open_session(&all[i], model, s);
        if (i == 0) s->threads = psc_session_threads(all[0].session);
        const double start = now().of[PROCESSOR];
        open_plugin(&all[i], psc_model_get_info(model)->n_layers - 1);
        time_run(all[i].session, input);
        all[i].opening = now().of[PROCESSOR] - start;
        for (int c = 0; c < CLOCKS; c++) {
            all[i].seconds[c] = calloc((size_t)s->rounds, sizeof(double));
            all[i].multiples[c] = calloc((size_t)s->rounds, sizeof(double));
            if (!all[i].seconds[c] || !all[i].multiples[c]) bench_fail("no memory");
        }
    }
}

/* Each turn with a plugin stands between two plain ones. The first round warms up. */
static void measure(contender *all, int n, const psc_input *input, int rounds) {
    for (int r = -1; r < rounds; r++) {
        times before = time_run(all[0].session, input);
        for (int i = 1; i < n; i++) {
            const times with = time_run(all[i].session, input);
            const times after = time_run(all[0].session, input);
            for (int c = 0; c < CLOCKS && r >= 0; c++) {
                all[i].seconds[c][r] = with.of[c];
                all[i].multiples[c][r] = with.of[c] / (0.5 * (before.of[c] + after.of[c]));
                all[0].seconds[c][r] = before.of[c];
            }
            before = after;
        }
    }
}

/* --- output ---------------------------------------------------------------------------------- */

/* Processor seconds of opening the plugin and the first window beyond those of a later window. */
static double before_first(const contender *c, int rounds) {
    const double extra = c->opening - bench_quantile(c->seconds[PROCESSOR], rounds, 0.5);
    return extra > 0.0 ? extra : 0.0;
}

/* sae: the encoder's product, with the numbers of latents that cfg.json has under path=. */
static corpus_work dictionary_products(const psc_model_info *m, const char *plugin) {
    char path[256] = "";
    psc_coder_config config;
    const char *at = strstr(plugin, "path=");
    if (at) sscanf(at + 5, "%255[^,]", path);
    const int unread = psc_coder_config_read(&config, path, NULL, m->parallel_residual, NULL);
    const double n = unread ? 0.0 : config.d_in, latents = unread ? 0.0 : config.n_latents;
    return (corpus_work){2.0 * n * latents, n, n * latents};
}

static corpus_work products(const psc_model_info *m, const char *plugin, int rows) {
    return corpus_named(plugin, "sae") ? dictionary_products(m, plugin)
                                       : corpus_products(m, plugin, rows);
}

static void print_json(contender *c, const psc_model_info *m, const setup *s, const char *isa) {
    const double pass = corpus_pass_operations(m, s->rows);
    const corpus_work work = products(m, c->plugin, s->rows);
    bench_json_line(
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:f}",
            "bench", "corpus", "model", s->folder, "plugin", c->plugin, "rows", s->rows, "threads",
            s->threads, "isa", isa, "pass_operations", pass, "operations", work.operations, "reads",
            work.reads, "weights", work.weights, "floor", 1.0 + work.operations / pass, "seconds",
            bench_json_values(c->seconds[WALL], s->rounds), "multiples",
            bench_json_values(c->multiples[WALL], s->rounds), "processor_multiples",
            bench_json_values(c->multiples[PROCESSOR], s->rounds), "before_first",
            before_first(c, s->rounds)));
}

/* Bytes: weights of two bytes each once per window, and the numbers that the reductions read. */
static void print_text(contender *c, const psc_model_info *m, const setup *s) {
    const corpus_work work = products(m, c->plugin, s->rows);
    const double floor = 1.0 + work.operations / corpus_pass_operations(m, s->rows);
    const int first = s->threads == 1 ? PROCESSOR : WALL;
    const double median = bench_quantile(c->multiples[first], s->rounds, 0.5);
    printf("%-24s %8.3f ms per row, multiple %.2f (quartiles %.2f %.2f), %s %.2f; floor %.2f "
           "(%.1f MFLOP, %.0f KB), ratio to it %.2f; %.2f s before the first token\n",
        c->plugin, 1e3 * bench_quantile(c->seconds[first], s->rounds, 0.5) / s->rows, median,
        bench_quantile(c->multiples[first], s->rounds, 0.25),
        bench_quantile(c->multiples[first], s->rounds, 0.75),
        first == WALL ? "of processor time" : "of time",
        bench_quantile(c->multiples[first == WALL ? PROCESSOR : WALL], s->rounds, 0.5), floor,
        1e-6 * work.operations, 1e-3 * (2.0 * work.weights / s->rows + 4.0 * work.reads),
        median / floor, before_first(c, s->rounds));
}

static void print(contender *all, int n, const psc_model_info *m, const setup *s) {
    const char *isa = psc_session_isa(all[0].session);
    if (!s->json)
        printf("%d layers, d_model %d, d_vocab %d, %d rows, %d threads, %s\n"
               "%-24s %8.3f ms per row, %.1f MFLOP; an unembedding has %.1f\n",
            m->n_layers, m->d_model, m->d_vocab, s->rows, s->threads, isa, "plain pass",
            1e3 * bench_quantile(all[0].seconds[WALL], s->rounds, 0.5) / s->rows,
            1e-6 * corpus_pass_operations(m, s->rows), 2e-6 * m->d_model * m->d_vocab);
    for (int i = 1; i < n; i++)
        if (s->json)
            print_json(&all[i], m, s, isa);
        else
            print_text(&all[i], m, s);
}

/* --- main ------------------------------------------------------------------------------------ */

static const char *const usual[] = {"unobserved", "logits", "logits:level=head",
    "logits:level=neuron", "ln", "mlp", "attention", "means", "neurons", "spans", "words",
    "edges:rows=all", "sampling", "loss", "lens", "partition"};

static int read_arguments(contender *all, setup *s, int argc, char **argv) {
    const char *words[MOST];
    const bench_option options[] = {
        {"--rows", "N", "tokens of the window; default: 512", NULL, &s->rows, 1},
        {"--rounds", "N", "turns of each plugin; default: 5", NULL, &s->rounds, 1},
        {"--threads", "N", "default: 1; 0: all processors", NULL, &s->threads, 0},
        {"--isa", "NAME", "default: the best of this machine", &s->isa, NULL, 0},
        {"--json", NULL, "print one JSON object per plugin", NULL, &s->json, 0},
    };
    const char *usage = "corpus_cost MODEL [options] [PLUGIN[:OPTIONS] ...]";
    const int n_words =
        bench_options(argc, argv, usage, options, sizeof options / sizeof *options, words, MOST);
    if (n_words == 0) bench_refuse(usage, "MODEL");
    const int n_usual = (int)(sizeof usual / sizeof *usual);
    const char *const *plugins = n_words > 1 ? words + 1 : usual;
    const int n = n_words > 1 ? n_words - 1 : n_usual;
    s->folder = words[0];
    for (int i = 0; i < n; i++) all[i + 1].plugin = plugins[i];
    return n + 1;
}

int main(int argc, char **argv) {
    contender all[MOST] = {{0}};
    setup s = {.rows = 512, .rounds = 5, .threads = 1};
    const int n = read_arguments(all, &s, argc, argv);
    psc_error error;
    psc_model *model = NULL;
    bench_check(psc_model_open(&model, s.folder, &error), &error);
    const psc_model_info *info = psc_model_get_info(model);
    psc_token *tokens = calloc((size_t)s.rows, sizeof *tokens);
    if (!tokens) bench_fail("no memory");
    /* The first token is the beginning of text, which `spans` asks for. */
    for (int t = 1; t < s.rows; t++) tokens[t].id = bench_token(t, info->d_vocab);
    const psc_input input = {0, s.rows, tokens};
    open_all(all, n, model, &input, &s);
    measure(all, n, &input, s.rounds);
    print(all, n, info, &s);
    for (int i = 0; i < n; i++) {
        psc_session_close(&all[i].session);
        for (int c = 0; c < CLOCKS; c++) {
            free(all[i].seconds[c]);
            free(all[i].multiples[c]);
        }
    }
    free(tokens);
    psc_model_close(&model);
    return 0;
}
