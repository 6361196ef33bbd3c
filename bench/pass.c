/* The forward pass of a model against the machine's own limits, measured in the same run:
 *
 *      prefill of 128 and 512 tokens    against the peak of fused multiply-adds of all threads
 *      decode, one token at a time      against the read bandwidth of all threads together
 *
 * Decoding takes turns with its limit, and a share is the median over the pairs, so that other load
 * on the core or memory slows both. A prefill with timed kernels follows each prefill; the limit's
 * loop runs before every matmul there. The share "over the matmuls" is their operations divided by
 * the threads' time in matmul kernels. The share of the pass is its own time against that limit.
 * The rest of the threads' time is waiting. A prefill of several threads also depends on how far
 * apart their cores are: the round trip of a cache line (round_trip.h) is measured before and after.
 * Operations: two per weight and row of each matmul, four
 * per element, key and row of attention.
 *
 *      pass MODEL [--only prefill|decode|observe|busy] [...]       --help lists the options
 *
 *      observe: an empty callback at all hook points, against the pass that computes the same
 *               rows and logits
 *      busy:    decoding next to two spinning processes, against decoding without them */
#include "forward_inside.h"
#include "json_line.h"
#include "options.h"
#include "pass_kernels.h"
#include "psc_limits.h"
#include "round_trip.h"
#include "session_inside.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROMPT 128 /* tokens before those decoded */
#define STEPS 8    /* tokens of one timed decode */
#define MAX_REPETITIONS 1001

typedef struct bench {
    psc_model *model;
    psc_session *session;
    psc_token *tokens; /* [capacity] */
    const char *path, *isa, *only;
    int threads, chunk, repetitions, json;
    psc_limits *limits;
} bench;

/* Sorts a copy: the order of values stays. */
static double quantile(const double *values, int n, double q) {
    double sorted[MAX_REPETITIONS];
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    return bench_quantile(sorted, n, q);
}

/* --- the pass --------------------------------------------------------------------------------- */

/* The work of n rows that end at n_keys keys. */
static psc_pass_work work_of(const bench *b, int n, int n_keys) {
    psc_error error;
    psc_pass_work work = PSC_PASS_WORK_INIT;
    bench_check(psc_session_work(&work, b->session, n, n_keys, &error), &error);
    return work;
}

static double time_run(psc_session *session, const psc_token *tokens, int n, bool no_logits) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_input input = {0, n, tokens};
    options.no_logits = no_logits;
    double start = bench_now();
    bench_check(psc_session_run(session, &input, 1, &options, &error), &error);
    return bench_now() - start;
}

static double time_prefill(psc_session *session, const psc_token *tokens, int n) {
    psc_session_truncate(session, 0, 0);
    return time_run(session, tokens, n, false);
}

static double time_decode(bench *b) {
    double seconds = 0.0;
    psc_session_truncate(b->session, 0, PROMPT);
    for (int i = 0; i < STEPS; i++)
        seconds += time_run(b->session, b->tokens + PROMPT + i, 1, false);
    return seconds;
}

/* --- the measurements ------------------------------------------------------------------------- */

typedef struct shares {
    double parts[PASS_PARTS]; /* share of the threads' time */
    double matmul;            /* share of the peak */
    double peak;              /* operations per second, all threads */
} shares;

/* One prefill with timed kernels. */
static shares profile(bench *b, int n, double matmul) {
    double seconds[PASS_ACCOUNTS], threads = psc_session_threads(b->session);
    shares out;
    pass_kernels_time(b->session->forward, true);
    double wall = time_prefill(b->session, b->tokens, n);
    pass_kernels_time(b->session->forward, false);
    pass_kernels_seconds(seconds);
    double rate = seconds[PASS_SPIN_FLOPS] / seconds[PASS_SPIN]; /* of one thread */
    double time = wall * threads - seconds[PASS_SPIN];
    for (int p = 0; p < PASS_PARTS; p++) out.parts[p] = seconds[p] / time;
    out.matmul = matmul / seconds[PASS_MATMUL] / rate;
    out.peak = rate * threads;
    return out;
}

/* A line of JSON: the session, then what was measured, which is taken over. */
static void print_json(const bench *b, const char *name, json_t *measured) {
    json_t *line = json_pack("{s:s, s:s, s:s, s:i}", "bench", name, "model", b->path, "isa",
        psc_session_isa(b->session), "threads", (int)psc_session_threads(b->session));
    if (!line || !measured || json_object_update(line, measured) != 0) bench_json_line(NULL);
    json_decref(measured);
    bench_json_line(line);
}

static void bench_prefill(bench *b, int n) {
    double times[MAX_REPETITIONS], pass[MAX_REPETITIONS], matmuls[MAX_REPETITIONS];
    double peaks[MAX_REPETITIONS], parts[PASS_PARTS] = {0}, waiting = 1.0;
    const psc_pass_work work = work_of(b, n, n);
    const double matmul = work.matmul, attention = work.attention;
    const bool alone = psc_session_threads(b->session) == 1;
    double trip = alone ? 0.0 : bench_round_trip();
    time_prefill(b->session, b->tokens, n);
    for (int r = 0; r < b->repetitions; r++) {
        times[r] = time_prefill(b->session, b->tokens, n);
        shares one = profile(b, n, matmul);
        pass[r] = (matmul + attention) / times[r] / one.peak;
        matmuls[r] = one.matmul;
        peaks[r] = one.peak;
        for (int p = 0; p < PASS_PARTS; p++) parts[p] += one.parts[p] / b->repetitions;
    }
    double time = quantile(times, b->repetitions, 0.5);
    if (!alone) trip = fmax(trip, bench_round_trip());
    if (b->json) {
        print_json(b, "prefill",
            json_pack("{s:i, s:f, s:f, s:f, s:f, s:o, s:o}", "rows", n, "round_trip_ns", trip,
                "tokens_per_s", n / time, "gflops", (matmul + attention) / time * 1e-9,
                "peak_gflops", quantile(peaks, b->repetitions, 0.5) * 1e-9, "pass_shares",
                bench_json_values(pass, b->repetitions), "matmul_shares",
                bench_json_values(matmuls, b->repetitions)));
        return;
    }
    printf("%s, %s, %d threads: prefill %4d: %8.1f tokens/s (best %.1f, quartile %.1f), "
           "%6.1f GFLOP/s, peak %.1f; share of peak: pass %.3f, matmuls %.3f\n",
        b->path, psc_session_isa(b->session), (int)psc_session_threads(b->session), n, n / time,
        n / quantile(times, b->repetitions, 0.0), n / quantile(times, b->repetitions, 0.75),
        (matmul + attention) / time * 1e-9, quantile(peaks, b->repetitions, 0.5) * 1e-9,
        quantile(pass, b->repetitions, 0.5), quantile(matmuls, b->repetitions, 0.5));
    printf("    threads' time:");
    for (int p = 0; p < PASS_PARTS; p++) {
        printf(" %s %.1f %%,", pass_part_names[p], 100.0 * parts[p]);
        waiting -= parts[p];
    }
    printf(" waiting and other %.1f %%", 100.0 * waiting);
    if (!alone) printf("; a line between two cores and back: %.0f ns", trip);
    printf("\n");
}

static void bench_decode(bench *b) {
    double times[MAX_REPETITIONS], parts[MAX_REPETITIONS], bandwidths[MAX_REPETITIONS];
    double bytes = 0.0;
    for (int i = 0; i < STEPS; i++) {
        const psc_pass_work work = work_of(b, 1, PROMPT + i + 1);
        bytes += work.weight_bytes + work.cache_bytes;
    }
    time_prefill(b->session, b->tokens, PROMPT);
    for (int r = 0; r < b->repetitions; r++) {
        double reading = 0.0;
        times[r] = 0.0;
        psc_session_truncate(b->session, 0, PROMPT);
        for (int i = 0; i < STEPS; i++) {
            reading += 1.0 / psc_limits_bandwidth(b->limits);
            times[r] += time_run(b->session, b->tokens + PROMPT + i, 1, false);
        }
        bandwidths[r] = STEPS / reading;
        parts[r] = bytes / times[r] / bandwidths[r];
    }
    double time = quantile(times, b->repetitions, 0.5);
    const double best = STEPS / quantile(times, b->repetitions, 0.0), rate = bytes / time * 1e-9;
    const double quartile = STEPS / quantile(times, b->repetitions, 0.75);
    const double bandwidth = quantile(bandwidths, b->repetitions, 0.5) * 1e-9;
    const double part = quantile(parts, b->repetitions, 0.5);
    if (b->json)
        print_json(b, "decode",
            json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "keys", (int)PROMPT, "tokens_per_s",
                STEPS / time, "best", best, "worst_quartile", quartile, "gb_per_s", rate,
                "bandwidth_gb_per_s", bandwidth, "share_of_bandwidth", part));
    else
        printf("%s, %s, %d threads: decode at %d: %8.2f tokens/s (best %.2f, quartile %.2f), "
               "%.2f GB/s, memory %.2f GB/s; share %.3f\n",
            b->path, psc_session_isa(b->session), (int)psc_session_threads(b->session), PROMPT,
            STEPS / time, best, quartile, rate, bandwidth, part);
}

static psc_session *open_session(const bench *b) {
    psc_error error;
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = b->threads;
    options.isa = b->isa;
    options.chunk = b->chunk;
    options.capacity = b->model->info.n_ctx < 1024 ? b->model->info.n_ctx : 1024;
    bench_check(psc_session_open(&session, b->model, &options, &error), &error);
    return session;
}

static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static double time_all_logits(psc_session *session, const psc_token *tokens, int n) {
    psc_session_truncate(session, 0, 0);
    return time_run(session, tokens, n, true);
}

/* Both sessions compute every row's logits, because a hook observes them. */
static void bench_observe(bench *b, int n) {
    double ratios[MAX_REPETITIONS], plain[MAX_REPETITIONS], seen[MAX_REPETITIONS];
    psc_error error;
    psc_session *watched = open_session(b), *bare = open_session(b);
    bench_check(psc_session_observe(bare, PSC_HOOK_LOGITS, NULL, ignore, b, &error), &error);
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (p == PSC_HOOK_RESID_MID && b->model->info.parallel_residual) continue;
        bench_check(psc_session_observe(watched, (psc_point)p, NULL, ignore, b, &error), &error);
    }
    for (int r = -1; r < b->repetitions; r++) {
        double x = time_all_logits(bare, b->tokens, n), y = time_all_logits(watched, b->tokens, n);
        if (r < 0) continue;
        plain[r] = x;
        seen[r] = y;
        ratios[r] = y / x;
    }
    const double off = 1e3 * quantile(plain, b->repetitions, 0.5);
    const double on = 1e3 * quantile(seen, b->repetitions, 0.5);
    const double ratio = quantile(ratios, b->repetitions, 0.5);
    if (b->json)
        print_json(b, "observe",
            json_pack("{s:i, s:f, s:f, s:f}", "rows", n, "plain_ms", off, "observed_ms", on,
                "ratio", ratio));
    else
        printf("%s, %s, %d threads: all points observed, %d rows: plain %.2f ms, observed "
               "%.2f ms, paired ratio %.3f\n",
            b->path, psc_session_isa(bare), (int)psc_session_threads(bare), n, off, on, ratio);
    psc_session_close(&watched);
    psc_session_close(&bare);
}

static pid_t start_spinner(void) {
    pid_t child = fork();
    if (child < 0) bench_fail("cannot start a busy process");
    for (volatile uint64_t i = 0; child == 0; i++) continue;
    return child;
}

/* Two processes spin during decoding, so the fair share is threads / (threads + 2). */
static void bench_busy(bench *b) {
    double idle[MAX_REPETITIONS], busy[MAX_REPETITIONS];
    pid_t spinners[2];
    time_prefill(b->session, b->tokens, PROMPT);
    time_decode(b);
    for (int r = 0; r < b->repetitions; r++) idle[r] = time_decode(b);
    for (int i = 0; i < 2; i++) spinners[i] = start_spinner();
    time_decode(b);
    for (int r = 0; r < b->repetitions; r++) busy[r] = time_decode(b);
    for (int i = 0; i < 2; i++) {
        kill(spinners[i], SIGKILL);
        waitpid(spinners[i], NULL, 0);
    }
    double threads = psc_session_threads(b->session), share = threads / (threads + 2);
    double x = 0.0, y = 0.0;
    for (int r = 0; r < b->repetitions; r++) {
        x += idle[r] / b->repetitions;
        y += busy[r] / b->repetitions;
    }
    if (b->json)
        print_json(b, "busy",
            json_pack("{s:f, s:f, s:f}", "tokens_per_s", STEPS / x, "busy_tokens_per_s", STEPS / y,
                "of_fair_share", x / y / share));
    else
        printf("%s, %s, %d threads: decode %.2f tokens/s, next to two busy processes %.2f: "
               "%.2f of the fair share\n",
            b->path, psc_session_isa(b->session), (int)threads, STEPS / x, STEPS / y,
            x / y / share);
}

/* --- the program ------------------------------------------------------------------------------ */

static bool chosen(const bench *b, const char *what) {
    return !b->only || strcmp(b->only, what) == 0;
}

static void body(void *payload) {
    bench *b = payload;
    if (chosen(b, "prefill")) bench_prefill(b, 128);
    if (chosen(b, "prefill")) bench_prefill(b, 512);
    if (chosen(b, "decode")) bench_decode(b);
    if (b->only && chosen(b, "observe")) bench_observe(b, 128);
    if (b->only && chosen(b, "observe")) bench_observe(b, 512);
    if (b->only && chosen(b, "busy")) bench_busy(b);
}

static void parse(bench *b, int argc, char **argv) {
    const char *usage = "bench_pass MODEL [options]";
    const bench_option options[] = {
        {.name = "--only",
            .value = "WHAT",
            .text = &b->only,
            .help = "prefill, decode, observe or busy; default: prefill and decode"},
        {.name = "--threads", .value = "N", .number = &b->threads, .help = "0: all cores"},
        {.name = "--isa", .value = "NAME", .text = &b->isa, .help = "default: the fastest"},
        {.name = "--chunk", .value = "N", .number = &b->chunk, .help = "rows of one pass; 0: all"},
        {.name = "--repetitions",
            .value = "N",
            .number = &b->repetitions,
            .least = 1,
            .help = "default: 9"},
        {.name = "--json", .number = &b->json, .help = "print one JSON object per line"},
    };
    const int n = (int)(sizeof options / sizeof *options);
    if (bench_options(argc, argv, usage, options, n, &b->path, 1) != 1)
        bench_refuse(usage, "MODEL is missing");
    if (b->repetitions > MAX_REPETITIONS) b->repetitions = MAX_REPETITIONS;
    const char *const known[] = {"prefill", "decode", "observe", "busy"};
    bool is_known = !b->only;
    for (int i = 0; i < 4; i++) is_known |= b->only && strcmp(b->only, known[i]) == 0;
    if (!is_known) bench_refuse(usage, b->only);
}

int main(int argc, char **argv) {
    bench b = {.repetitions = 9};
    psc_error error;
    parse(&b, argc, argv);
    bench_check(psc_model_open(&b.model, b.path, &error), &error);
    if (b.model->info.n_ctx < 512) bench_fail("the model's context holds fewer than 512 tokens");
    b.session = open_session(&b);
    bench_check(psc_limits_open(&b.limits, b.session, &error), &error);
    b.tokens = calloc(1024, sizeof *b.tokens);
    if (!b.tokens) bench_fail("out of memory");
    for (int t = 0; t < 1024; t++) b.tokens[t].id = bench_token(t, b.model->info.d_vocab);
    body(&b);
    psc_limits_close(&b.limits);
    psc_session_close(&b.session);
    psc_model_close(&b.model);
    free(b.tokens);
    return 0;
}
