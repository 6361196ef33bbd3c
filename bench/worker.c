/* pythiascope as a contender of bench/run.py: a process that opens one model, then answers each
 * input line with one line, so that contenders can take turns.
 *
 *   worker MODEL_FOLDER [THREADS]
 *
 *   prefill N         seconds of a pass over N tokens that ends in the last row's logits
 *   decode C N        seconds per token of N passes over one token each, after C
 *   rows N CASE       seconds of a pass over N tokens with all rows' logits; CASE: plain, one, ten,
 *                     next (decompositions into heads and neurons), empty (observers everywhere);
 *                     fresh, first: plain and one as the first run of a session
 *   window N PLUGIN   seconds of a window of a corpus with a plugin, as "ln" or "mlp:bins=0", without
 *                     logits that it does not ask for
 *   text N PLUGIN     the same of a text, whose results are kept; the target is each next token
 *   sweep N OVER      seconds of patching every position of N tokens; OVER: as the plugin's option
 *   peak, bandwidth   operations of fused multiply-adds per second; bytes read per second
 *   logits N          the last row's five highest logits after N tokens: id value ...
 *   write FILE A N    the last row's logits after tokens A..A+N-1 of the bench's sequence, as raw
 *                     f32 into FILE
 *   about             a line of text
 *
 * Sessions are opened at first use; the driver's first round warms up. */
#include "bench.h"
#include "psc_limits.h"

#include <string.h>

#define CONTEXT 1024
#define MAX_WORDS 4
#define MAX_PLUGINS 20

typedef struct rows_case {
    const char *name;
    int n_targets;
    const char *targets[10];
    int first; /* each run is a session's first */
    psc_session *session;
} rows_case;

/* A plugin's session, opened at first use. */
typedef struct plugin_case {
    char question[8], plugin[256];
    psc_session *session;
} plugin_case;

typedef struct worker {
    psc_model *model;
    const psc_model_info *info;
    int threads;
    psc_session *session; /* prefill, decode, limits */
    psc_token tokens[CONTEXT];
    psc_limits *limits; /* opened at first use: they take memory */
    rows_case cases[7];
    plugin_case plugins[MAX_PLUGINS];
} worker;

static psc_limits *limits_of(worker *w) {
    psc_error error;
    if (!w->limits) bench_check(psc_limits_open(&w->limits, w->session, &error), &error);
    return w->limits;
}

static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static psc_session *open_session(const worker *w, int accumulate) {
    psc_error error;
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = accumulate;
    options.threads = w->threads;
    options.capacity = w->info->n_ctx < CONTEXT ? w->info->n_ctx : CONTEXT;
    bench_check(psc_session_open(&session, w->model, &options, &error), &error);
    return session;
}

static double time_run(psc_session *session, const psc_token *tokens, int n, int no_logits) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const psc_input input = {0, n, tokens};
    options.no_logits = no_logits;
    const double start = bench_now();
    bench_check(psc_session_run(session, &input, 1, &options, &error), &error);
    return bench_now() - start;
}

static double time_prefill(const worker *w, int n) {
    psc_session_truncate(w->session, 0, 0);
    return time_run(w->session, w->tokens, n, 0);
}

static double time_decode(const worker *w, int prompt, int steps) {
    double seconds = 0.0;
    if (psc_session_length(w->session, 0) < prompt) time_prefill(w, prompt);
    psc_session_truncate(w->session, 0, prompt);
    for (int i = 0; i < steps; i++) seconds += time_run(w->session, w->tokens + prompt + i, 1, 0);
    return seconds / steps;
}

/* --- all rows -------------------------------------------------------------------------------- */

/* Every case observes the logits of all rows, so the plain pass computes them too. */
static void open_case(const worker *w, rows_case *c) {
    psc_error error;
    c->session = open_session(w, 0);
    const int all = strcmp(c->name, "empty") == 0;
    for (int p = 0; p < PSC_POINT_COUNT; p++)
        if (p == PSC_HOOK_LOGITS ||
            (all && (p != PSC_HOOK_RESID_MID || !w->info->parallel_residual)))
            bench_check(psc_session_observe(c->session, p, NULL, ignore, c, &error), &error);
    for (int t = 0; t < c->n_targets; t++)
        bench_check(psc_session_target(c->session, c->targets[t], &error), &error);
    if (c->n_targets > 0)
        bench_check(
            psc_session_plugin(c->session, "logits", "level=neuron,rows=all", &error), &error);
}

static double time_rows(worker *w, int n, const char *name) {
    for (size_t i = 0; i < sizeof w->cases / sizeof *w->cases; i++) {
        rows_case *c = &w->cases[i];
        if (strcmp(c->name, name) != 0) continue;
        if (c->first) psc_session_close(&c->session);
        if (!c->session) open_case(w, c);
        psc_session_truncate(c->session, 0, 0);
        return time_run(c->session, w->tokens, n, 1);
    }
    fprintf(stderr, "worker: unknown case '%s'\n", name);
    exit(1);
}

/* --- plugins --------------------------------------------------------------------------------- */

static void open_plugin(const worker *w, plugin_case *c, const char *question, const char *plugin) {
    psc_error error;
    char name[sizeof c->plugin];
    const int text = strcmp(question, "text") == 0;
    snprintf(c->question, sizeof c->question, "%s", question);
    snprintf(c->plugin, sizeof c->plugin, "%s", plugin);
    snprintf(name, sizeof name, "%s", plugin);
    char *colon = strchr(name, ':');
    if (colon) *colon = '\0';
    c->session = open_session(w, !text);
    if (text) bench_check(psc_session_target(c->session, "next", &error), &error);
    bench_check(psc_session_plugin(c->session, name, colon ? colon + 1 : NULL, &error), &error);
}

/* The first token is the beginning of text, which some plugins ask for. */
static double time_plugin(worker *w, const char *question, int n, const char *plugin) {
    psc_token tokens[CONTEXT];
    for (int i = 0; i < MAX_PLUGINS; i++) {
        plugin_case *c = &w->plugins[i];
        if (c->session && (strcmp(c->question, question) != 0 || strcmp(c->plugin, plugin) != 0))
            continue;
        if (!c->session) open_plugin(w, c, question, plugin);
        memcpy(tokens, w->tokens, sizeof tokens);
        tokens[0].id = 0;
        psc_session_truncate(c->session, 0, 0);
        return time_run(c->session, tokens, n, 1);
    }
    bench_fail("too many plugins");
    return 0.0;
}

/* --- a sweep --------------------------------------------------------------------------------- */

/* Patches every position from another prompt; the metric is one logit of the last row. Covers the
 * source's run, the unchanged run and all variants. */
static double time_sweep(worker *w, int n, const char *over) {
    psc_error error;
    char options[64];
    psc_token source[CONTEXT];
    psc_session *session = open_session(w, 0);
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    psc_input input = {0, n, source};
    snprintf(options, sizeof options, "do=patch,over=%.30s", over);
    bench_check(psc_session_plugin(session, "sweep", options, &error), &error);
    bench_check(psc_session_target(session, "#11", &error), &error);
    for (int t = 0; t < n; t++) source[t] = w->tokens[n - 1 - t];
    run.no_logits = 1;
    const double start = bench_now();
    run.phase = PSC_PHASE_SOURCE;
    bench_check(psc_session_run(session, &input, 1, &run, &error), &error);
    psc_session_truncate(session, 0, 0);
    run.phase = PSC_PHASE_CHANGED;
    input.tokens = w->tokens;
    bench_check(psc_session_run(session, &input, 1, &run, &error), &error);
    const double seconds = bench_now() - start;
    psc_session_close(&session);
    return seconds;
}

/* --- questions ------------------------------------------------------------------------------- */

static void print_logits(const worker *w, int n) {
    time_prefill(w, n);
    const float *z = psc_session_logits(w->session, n - 1);
    int32_t best[5];
    for (int k = 0; k < 5; k++) {
        best[k] = -1;
        for (int32_t v = 0; v < w->info->d_vocab; v++) {
            int taken = 0;
            for (int j = 0; j < k; j++) taken |= best[j] == v;
            if (!taken && (best[k] < 0 || z[v] > z[best[k]])) best[k] = v;
        }
        printf("%d %.6f ", (int)best[k], (double)z[best[k]]);
    }
    printf("\n");
}

static void write_logits(worker *w, const char *path, int first, int n) {
    psc_token tokens[CONTEXT] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = bench_token(first + i, w->info->d_vocab);
    psc_session_truncate(w->session, 0, 0);
    time_run(w->session, tokens, n, 0);
    FILE *file = fopen(path, "wb");
    const size_t count = (size_t)w->info->d_vocab;
    const float *z = psc_session_logits(w->session, n - 1);
    if (!file || fwrite(z, sizeof *z, count, file) != count || fclose(file) != 0) {
        fprintf(stderr, "worker: cannot write %s\n", path);
        exit(1);
    }
    printf("0\n");
}

static int answer(worker *w, int n_words, char **words) {
    const int a = n_words > 1 ? atoi(words[1]) : 0, b = n_words > 2 ? atoi(words[2]) : 0;
    if (strcmp(words[0], "quit") == 0) return 0;
    if (strcmp(words[0], "write") == 0) {
        const int n = n_words > 3 ? atoi(words[3]) : 0;
        if (b < 0 || b > 1 << 20 || n < 1 || n > CONTEXT) exit(1);
        write_logits(w, words[1], b, n);
        fflush(stdout);
        return 1;
    }
    if (a < 0 || b < 0 || a + b > CONTEXT) exit(1);
    if (strcmp(words[0], "prefill") == 0)
        printf("%.9f\n", time_prefill(w, a));
    else if (strcmp(words[0], "decode") == 0)
        printf("%.9f\n", time_decode(w, a, b));
    else if (strcmp(words[0], "rows") == 0 && n_words > 2)
        printf("%.9f\n", time_rows(w, a, words[2]));
    else if ((strcmp(words[0], "window") == 0 || strcmp(words[0], "text") == 0) && n_words > 2)
        printf("%.9f\n", time_plugin(w, words[0], a, words[2]));
    else if (strcmp(words[0], "sweep") == 0 && n_words > 2)
        printf("%.9f\n", time_sweep(w, a, words[2]));
    else if (strcmp(words[0], "peak") == 0)
        printf("%.6e\n", psc_limits_flops(limits_of(w)));
    else if (strcmp(words[0], "bandwidth") == 0)
        printf("%.6e\n", psc_limits_bandwidth(limits_of(w)));
    else if (strcmp(words[0], "logits") == 0)
        print_logits(w, a);
    else if (strcmp(words[0], "about") == 0)
        printf("pythiascope %s, %s, %d threads\n", psc_version(), psc_session_isa(w->session),
            (int)psc_session_threads(w->session));
    else
        exit(1);
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv) {
    worker w = {.threads = argc > 2 ? atoi(argv[2]) : 0,
        .cases = {{.name = "plain"}, {.name = "one", .n_targets = 1, .targets = {"#11"}},
            {.name = "ten",
                .n_targets = 10,
                .targets = {"#11", "#12", "#13", "#14", "#15", "#16", "#17", "#18", "#19", "#20"}},
            {.name = "next", .n_targets = 1, .targets = {"next"}}, {.name = "empty"},
            {.name = "fresh", .first = 1},
            {.name = "first", .n_targets = 1, .targets = {"#11"}, .first = 1}}};
    if (argc < 2) {
        fprintf(stderr, "usage: worker MODEL_FOLDER [THREADS]\n");
        return 2;
    }
    psc_error error;
    bench_check(psc_model_open(&w.model, argv[1], &error), &error);
    w.info = psc_model_get_info(w.model);
    w.session = open_session(&w, 0);
    for (int t = 0; t < CONTEXT; t++) w.tokens[t].id = bench_token(t, w.info->d_vocab);
    printf("ready\n");
    fflush(stdout);
    char line[512];
    for (int more = 1; more && fgets(line, sizeof line, stdin);) {
        char *words[MAX_WORDS], *save = NULL;
        int n = 0;
        for (char *word = strtok_r(line, " \n", &save); word && n < MAX_WORDS;
             word = strtok_r(NULL, " \n", &save))
            words[n++] = word;
        if (n > 0) more = answer(&w, n, words);
    }
    for (size_t i = 0; i < sizeof w.cases / sizeof *w.cases; i++)
        psc_session_close(&w.cases[i].session);
    for (int i = 0; i < MAX_PLUGINS; i++) psc_session_close(&w.plugins[i].session);
    psc_limits_close(&w.limits);
    psc_session_close(&w.session);
    psc_model_close(&w.model);
    return 0;
}
