/* What a batch is worth: short documents in a pass, and sequences that are decoded together.
 *
 *      batches MODEL [--only documents|decode] [--rounds N] [--threads N] [--isa NAME]
 *
 * decode: tokens per second of 1, 2, 4, 8 and 16 sequences, one token of each in a run, from
 * position 128 on, greedily drawn; their medians, and their ratio to one sequence.
 *
 * documents: time per token of batches of short windows over that of full ones. Documents have 20 to
 * 60 or 6 to 13 tokens, full windows 512. A batch has 4 documents, or as many as `corpus` takes in the
 * room of 4 full windows. The passes have no logits and no plugin; the contenders take turns. Prints the median over the rounds of (time per token / time per token of full windows), in
 * wall time and in processor time of all threads. Writes no files. */
#include "bench.h"
#include "options.h"

enum { WINDOW = 512, FULL = 4, PACKED = 16 * FULL, CONTENDERS = 5, MOST_ROUNDS = 101 };
enum { PROMPT = 128, STEPS = 8, MOST_DECODED = 16 };

typedef struct contender {
    const char *what;
    int32_t windows;                                  /* at most */
    int32_t shortest, longest;                        /* tokens of one */
    double wall[MOST_ROUNDS], processor[MOST_ROUNDS]; /* per token */
} contender;

typedef struct bench {
    const char *path, *isa, *only;
    int rounds, threads;
    psc_session *session, *shared; /* of sequences to decode; of windows */
    psc_token tokens[WINDOW];
} bench;

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same lengths in every round. */
static int32_t length_of(const contender *c, int i) {
    const unsigned span = (unsigned)(c->longest - c->shortest) + 1;
    return c->shortest + (int32_t)((2654435761u * (unsigned)(i + 1) >> 16) % span);
}

/* As a session with shared_tokens counts it. */
static int32_t room_of(int32_t n) {
    return (n + 15) / 16 * 16;
}

/* About 2,048 tokens in batches. */
static void run(bench *b, contender *c, int round) {
    psc_error error;
    psc_input inputs[PACKED];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    int64_t tokens = 0;
    const double wall = bench_now(), processor = processor_time();
    for (int document = 0; tokens < FULL * WINDOW;) {
        int32_t n = 0, room = 0;
        for (; n < c->windows && room + WINDOW <= FULL * WINDOW; n++) {
            const int32_t length = length_of(c, document++);
            inputs[n] = (psc_input){n, length, b->tokens};
            room += room_of(length);
            tokens += length;
        }
        bench_check(psc_session_run(b->shared, inputs, n, &options, &error), &error);
    }
    if (round < 0) return;
    c->wall[round] = (bench_now() - wall) / (double)tokens;
    c->processor[round] = (processor_time() - processor) / (double)tokens;
}

static void print(const bench *b, const contender *c, const contender *full) {
    double wall[MOST_ROUNDS], processor[MOST_ROUNDS];
    for (int r = 0; r < b->rounds; r++) {
        wall[r] = c->wall[r] / full->wall[r];
        processor[r] = c->processor[r] / full->processor[r];
    }
    printf("%s, %s, %d threads: %-36s per token %.3f of full windows, in processor time %.3f\n",
        b->path, psc_session_isa(b->session), (int)psc_session_threads(b->session), c->what,
        bench_quantile(wall, b->rounds, 0.5), bench_quantile(processor, b->rounds, 0.5));
}

/* STEPS tokens of each of n sequences after the prompts; returns tokens per second, and in *processor
 * tokens per second of processor time. */
static double decode(double *processor, bench *b, int n) {
    psc_error error;
    psc_input inputs[MOST_DECODED];
    psc_token next[MOST_DECODED];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    for (int i = 0; i < n; i++) {
        psc_session_truncate(b->session, i, PROMPT);
        next[i] = b->tokens[PROMPT + i];
        inputs[i] = (psc_input){i, 1, &next[i]};
    }
    const double start = bench_now(), used = processor_time();
    for (int step = 0; step < STEPS; step++) {
        bench_check(psc_session_run(b->session, inputs, n, &options, &error), &error);
        for (int i = 0; i < n; i++)
            bench_check(psc_session_sample(&next[i].id, b->session, NULL,
                            psc_session_logits(b->session, i), &error),
                &error);
    }
    *processor = n * STEPS / (processor_time() - used);
    return n * STEPS / (bench_now() - start);
}

static void bench_decode(bench *b) {
    psc_error error;
    double rates[5][MOST_ROUNDS], used[5][MOST_ROUNDS], gains[2][MOST_ROUNDS];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    for (int i = 0; i < MOST_DECODED; i++) {
        const psc_input input = {i, PROMPT, b->tokens};
        psc_session_truncate(b->session, i, 0);
        bench_check(psc_session_run(b->session, &input, 1, &options, &error), &error);
    }
    for (int r = 0; r < b->rounds; r++)
        for (int k = 0; k < 5; k++) rates[k][r] = decode(&used[k][r], b, 1 << k);
    for (int k = 0; k < 5; k++) {
        for (int r = 0; r < b->rounds; r++) {
            gains[0][r] = rates[k][r] / rates[0][r];
            gains[1][r] = used[k][r] / used[0][r];
        }
        printf(
            "%s, %s, %d threads: %2d sequences decoded together: %.2f of the tokens/s of one, per "
            "processor time %.2f\n",
            b->path, psc_session_isa(b->session), (int)psc_session_threads(b->session), 1 << k,
            bench_quantile(gains[0], b->rounds, 0.5), bench_quantile(gains[1], b->rounds, 0.5));
    }
    for (int k = 0; k < 5; k++)
        printf("%s %d: %.1f", k ? "," : "    tokens/s:", 1 << k,
            bench_quantile(rates[k], b->rounds, 0.5));
    putchar('\n');
}

static void bench_documents(bench *b) {
    static contender contenders[CONTENDERS] = {
        {"4 windows of 512", .windows = FULL, .shortest = WINDOW, .longest = WINDOW},
        {"4 documents of 20 to 60", .windows = FULL, .shortest = 20, .longest = 60},
        {"as many as fit", .windows = PACKED, .shortest = 20, .longest = 60},
        {"4 documents of 6 to 13", .windows = FULL, .shortest = 6, .longest = 13},
        {"as many as fit", .windows = PACKED, .shortest = 6, .longest = 13}};
    for (int r = -1; r < b->rounds; r++)
        for (int c = 0; c < CONTENDERS; c++) run(b, &contenders[c], r);
    for (int c = 1; c < CONTENDERS; c++) print(b, &contenders[c], &contenders[0]);
}

static void parse(bench *b, int argc, char **argv) {
    const char *usage = "bench_batches MODEL [options]";
    const bench_option options[] = {
        {.name = "--only", .value = "WHAT", .text = &b->only, .help = "documents or decode"},
        {.name = "--rounds", .value = "N", .number = &b->rounds, .least = 1, .help = "default: 5"},
        {.name = "--threads", .value = "N", .number = &b->threads, .help = "0: all cores"},
        {.name = "--isa", .value = "NAME", .text = &b->isa, .help = "default: the fastest"},
    };
    if (bench_options(argc, argv, usage, options, 4, &b->path, 1) != 1)
        bench_refuse(usage, "MODEL is missing");
    if (b->only && strcmp(b->only, "documents") != 0 && strcmp(b->only, "decode") != 0)
        bench_refuse(usage, b->only);
    if (b->rounds > MOST_ROUNDS) b->rounds = MOST_ROUNDS;
}

int main(int argc, char **argv) {
    static bench b = {.rounds = 5};
    psc_error error;
    psc_model *model;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    parse(&b, argc, argv);
    bench_check(psc_model_open(&model, b.path, &error), &error);
    if (psc_model_get_info(model)->n_ctx < WINDOW) bench_fail("the model's context is too short");
    options.threads = b.threads;
    options.isa = b.isa;
    options.capacity = WINDOW;
    options.n_sequences = MOST_DECODED;
    bench_check(psc_session_open(&b.session, model, &options, &error), &error);
    options.n_sequences = PACKED;
    options.shared_tokens = FULL * WINDOW;
    bench_check(psc_session_open(&b.shared, model, &options, &error), &error);
    for (int t = 0; t < WINDOW; t++)
        b.tokens[t].id = bench_token(t, psc_model_get_info(model)->d_vocab);
    if (!b.only || b.only[1] == 'o') bench_documents(&b);
    if (!b.only || b.only[1] == 'e') bench_decode(&b);
    psc_session_close(&b.session);
    psc_session_close(&b.shared);
    psc_model_close(&model);
    return 0;
}
