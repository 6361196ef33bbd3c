/* What a session's first run costs: its time over that of the session's later runs.
 *
 *      first_run MODEL [--rows N] [--sequences N] [--rounds N] [--threads N] [--cache DIR] [...]
 *
 *      session: fresh sessions one after the other in one process, which has run before
 *      process: one session in each of several fresh processes; opening the model is not timed
 *
 * Later runs are the median of LATER runs of the same inputs. Prints the median and the quartiles
 * of the ratios, their median in processor time of all threads, which other processes disturb
 * little, and what opening a session takes. With --cache, processes map packed weights from
 * that folder; without, each packs its own. Writes no other files. */
#include "bench.h"
#include "options.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LATER = 5, MOST_ROUNDS = 101, MOST_SEQUENCES = 64 };

typedef struct bench {
    const char *path, *isa, *cache;
    int rows, sequences, rounds, threads;
    psc_token *tokens; /* [rows] */
} bench;

typedef struct times {
    double wall, processor; /* seconds */
    double system;          /* seconds of processor time in the kernel */
    double faults;          /* pages */
} times;

typedef struct sample {
    double open; /* wall seconds */
    times first, later;
} sample;

static times now(void) {
    struct timespec t;
    struct rusage usage;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    getrusage(RUSAGE_SELF, &usage);
    return (times){bench_now(), (double)t.tv_sec + 1e-9 * (double)t.tv_nsec,
        (double)usage.ru_stime.tv_sec + 1e-6 * (double)usage.ru_stime.tv_usec,
        (double)(usage.ru_minflt + usage.ru_majflt)};
}

static psc_model *open_model(const bench *b) {
    psc_error error;
    psc_model *model;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = b->cache;
    bench_check(psc_model_open_with(&model, b->path, &options, &error), &error);
    return model;
}

static times time_run(psc_session *session, const bench *b) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_input inputs[MOST_SEQUENCES];
    for (int i = 0; i < b->sequences; i++) {
        psc_session_truncate(session, i, 0);
        inputs[i] = (psc_input){i, b->rows, b->tokens};
    }
    const times start = now();
    bench_check(psc_session_run(session, inputs, b->sequences, &options, &error), &error);
    const times end = now();
    return (times){end.wall - start.wall, end.processor - start.processor,
        end.system - start.system, end.faults - start.faults};
}

static sample time_session(psc_model *model, const bench *b) {
    psc_error error;
    psc_session *session;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = b->threads;
    options.isa = b->isa;
    options.capacity = b->rows;
    options.n_sequences = b->sequences;
    sample out;
    double wall[LATER], processor[LATER];
    const double start = bench_now();
    bench_check(psc_session_open(&session, model, &options, &error), &error);
    out.open = bench_now() - start;
    out.first = time_run(session, b);
    for (int i = 0; i < LATER; i++) {
        const times one = time_run(session, b);
        wall[i] = one.wall;
        processor[i] = one.processor;
    }
    out.later = (times){.wall = bench_quantile(wall, LATER, 0.5),
        .processor = bench_quantile(processor, LATER, 0.5)};
    psc_session_close(&session);
    return out;
}

/* One session in a process of its own, which opens the model, too. */
static sample time_process(const bench *b) {
    int ends[2];
    sample out;
    if (pipe(ends) != 0) bench_fail("cannot make a pipe");
    const pid_t child = fork();
    if (child < 0) bench_fail("cannot start a process");
    if (child == 0) {
        psc_model *model = open_model(b);
        out = time_session(model, b);
        psc_model_close(&model);
        _exit(write(ends[1], &out, sizeof out) == sizeof out ? 0 : 1);
    }
    close(ends[1]);
    const bool whole = read(ends[0], &out, sizeof out) == sizeof out;
    close(ends[0]);
    waitpid(child, NULL, 0);
    if (!whole) bench_fail("a process ended without its times");
    return out;
}

static void print(const bench *b, const char *what, const sample *samples) {
    double wall[MOST_ROUNDS], processor[MOST_ROUNDS], open[MOST_ROUNDS], later[MOST_ROUNDS];
    double faults[MOST_ROUNDS], inside[MOST_ROUNDS];
    for (int r = 0; r < b->rounds; r++) {
        wall[r] = samples[r].first.wall / samples[r].later.wall;
        processor[r] = samples[r].first.processor / samples[r].later.processor;
        open[r] = samples[r].open;
        faults[r] = samples[r].first.faults;
        inside[r] = samples[r].first.system;
        later[r] = samples[r].later.wall;
    }
    printf(
        "%s, fresh %s: first run of %d x %d rows / later runs: %.3f (quartiles %.3f, %.3f), in "
        "processor time %.3f; its page faults %.0f, %.1f ms in the kernel; a later run %.1f ms, opening the session %.1f ms\n",
        b->path, what, b->sequences, b->rows, bench_quantile(wall, b->rounds, 0.5),
        bench_quantile(wall, b->rounds, 0.25), bench_quantile(wall, b->rounds, 0.75),
        bench_quantile(processor, b->rounds, 0.5), bench_quantile(faults, b->rounds, 0.5),
        1e3 * bench_quantile(inside, b->rounds, 0.5), 1e3 * bench_quantile(later, b->rounds, 0.5),
        1e3 * bench_quantile(open, b->rounds, 0.5));
    (void)fflush(stdout);
}

static void parse(bench *b, int argc, char **argv) {
    const char *usage = "bench_first_run MODEL [options]";
    const bench_option options[] = {
        {.name = "--rows", .value = "N", .number = &b->rows, .least = 1, .help = "default: 512"},
        {.name = "--sequences",
            .value = "N",
            .number = &b->sequences,
            .least = 1,
            .help = "in one run; default: 1"},
        {.name = "--rounds", .value = "N", .number = &b->rounds, .least = 1, .help = "default: 9"},
        {.name = "--threads", .value = "N", .number = &b->threads, .help = "0: all cores"},
        {.name = "--isa", .value = "NAME", .text = &b->isa, .help = "default: the fastest"},
        {.name = "--cache", .value = "DIR", .text = &b->cache, .help = "folder of packed weights"},
    };
    const int n = (int)(sizeof options / sizeof *options);
    if (bench_options(argc, argv, usage, options, n, &b->path, 1) != 1)
        bench_refuse(usage, "MODEL is missing");
    if (b->rounds > MOST_ROUNDS) b->rounds = MOST_ROUNDS;
    if (b->sequences > MOST_SEQUENCES) b->sequences = MOST_SEQUENCES;
}

int main(int argc, char **argv) {
    bench b = {.rows = 512, .sequences = 1, .rounds = 9};
    sample samples[MOST_ROUNDS];
    psc_error error;
    psc_model *model;
    parse(&b, argc, argv);
    bench_check(psc_model_open_header(&model, b.path, NULL, &error), &error);
    const int n_vocab = psc_model_get_info(model)->d_vocab;
    psc_model_close(&model);
    b.tokens = calloc((size_t)b.rows, sizeof *b.tokens);
    if (!b.tokens) bench_fail("out of memory");
    for (int t = 0; t < b.rows; t++) b.tokens[t].id = bench_token(t, n_vocab);
    for (int r = 0; r < b.rounds; r++) samples[r] = time_process(&b);
    print(&b, "process", samples);
    model = open_model(&b);
    (void)time_session(model, &b);
    for (int r = 0; r < b.rounds; r++) samples[r] = time_session(model, &b);
    print(&b, "session", samples);
    psc_model_close(&model);
    free(b.tokens);
    return 0;
}
