/* bench: prefill, decoding and the decomposition of a model, beside the machine's limits.
 *
 *   prefill         tokens/s; operations/s over the peak of fused multiply-adds
 *   decode          tokens/s; bytes/s over the read bandwidth
 *   decomposition   logits:level=neuron,rows=all over the plain pass with the same rows and logits
 *
 * Each measurement takes turns with its limit, so that other load slows both; a share or ratio is
 * the median of the turns. A part ends after PART_SECONDS, but has at least LEAST turns. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "prompt.h"
#include "psc.h"
#include "psc_limits.h"
#include "report.h"

enum { LEAST = 3, MOST = 101, STEPS = 8, DEFAULT_ROWS = 128 };
#define PART_SECONDS 2.0
#define DECOMPOSITION "level=neuron,rows=all"

static const cli_option options[] = {
    {"rows", 1, false, "N", "tokens of a prefill, and keys of a decode; default: 128"},
    CLI_RUN_OPTIONS,
    {"json", 0, false, "", "print one JSON object"},
    {0},
};

typedef struct timing {
    double seconds[MOST], limit[MOST],
        share[MOST]; /* of each turn; share: of the limit, or ratio */
    int n;
    double begun;
} timing;

/* Medians of a part. */
typedef struct part {
    double seconds, limit, share;
    int n;
} part;

typedef struct bench {
    psc_model *model;
    psc_session *session, *plain, *split; /* the last two: of the decomposition */
    psc_limits *limits;
    psc_token *tokens; /* [rows + STEPS] */
    int32_t rows;
    part prefill, decode, decomposition;
    psc_pass_work work, step; /* of the prefill, and the sum over the steps of a decode */
} bench;

/* --- time ------------------------------------------------------------------------------------ */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

static part part_of(timing *t) {
    return (part){median(t->seconds, t->n), median(t->limit, t->n), median(t->share, t->n), t->n};
}

static bool is_done(const timing *t) {
    return t->n >= MOST || (t->n >= LEAST && now() - t->begun > PART_SECONDS);
}

/* --- the three parts ------------------------------------------------------------------------- */

/* A run over tokens from `length` on, in *seconds. */
static psc_status run(double *seconds, psc_session *session, const psc_token *tokens, int32_t n,
    int32_t length, bool no_logits, psc_error *error) {
    const psc_input input = {0, n, tokens};
    psc_run_options how = PSC_RUN_OPTIONS_INIT;
    how.no_logits = no_logits;
    if (length >= 0) psc_session_truncate(session, 0, length);
    const double start = now();
    psc_status status = psc_session_run(session, &input, 1, &how, error);
    *seconds = now() - start;
    return status;
}

static psc_status measure_prefill(bench *b, psc_error *error) {
    timing t = {.n = -1, .begun = now()}; /* the first turn warms up */
    b->work = (psc_pass_work)PSC_PASS_WORK_INIT;
    psc_status status = psc_session_work(&b->work, b->session, b->rows, b->rows, error);
    while (!status && !is_done(&t)) {
        double seconds, before = psc_limits_flops(b->limits);
        status = run(&seconds, b->session, b->tokens, b->rows, 0, false, error);
        if (status || t.n++ < 0) continue;
        t.seconds[t.n - 1] = seconds;
        t.limit[t.n - 1] = 0.5 * (before + psc_limits_flops(b->limits));
        t.share[t.n - 1] = (b->work.matmul + b->work.attention) / seconds / t.limit[t.n - 1];
    }
    if (!status) b->prefill = part_of(&t);
    return status;
}

/* The bytes of STEPS tokens after the prefill. */
static psc_status add_steps(bench *b, psc_error *error) {
    psc_status status = PSC_OK;
    b->step = (psc_pass_work)PSC_PASS_WORK_INIT;
    for (int i = 0; !status && i < STEPS; i++) {
        psc_pass_work one = PSC_PASS_WORK_INIT;
        status = psc_session_work(&one, b->session, 1, b->rows + i + 1, error);
        b->step.weight_bytes += one.weight_bytes;
        b->step.cache_bytes += one.cache_bytes;
    }
    return status;
}

/* After measure_prefill, whose keys it continues. */
static psc_status measure_decode(bench *b, psc_error *error) {
    timing t = {.n = -1, .begun = now()};
    psc_status status = add_steps(b, error);
    while (!status && !is_done(&t)) {
        double seconds = 0.0, one, reading = 0.0;
        psc_session_truncate(b->session, 0, b->rows);
        for (int i = 0; !status && i < STEPS; i++) {
            reading += 1.0 / psc_limits_bandwidth(b->limits);
            status = run(&one, b->session, b->tokens + b->rows + i, 1, -1, false, error);
            seconds += one;
        }
        if (status || t.n++ < 0) continue;
        t.seconds[t.n - 1] = seconds / STEPS;
        t.limit[t.n - 1] = STEPS / reading;
        t.share[t.n - 1] =
            (b->step.weight_bytes + b->step.cache_bytes) / seconds / t.limit[t.n - 1];
    }
    if (!status) b->decode = part_of(&t);
    return status;
}

static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

/* The plain pass computes all rows' logits too: the decomposition's check needs them. */
static psc_status open_pair(bench *b, const psc_session_options *how, psc_error *error) {
    psc_status status = psc_session_open(&b->plain, b->model, how, error);
    if (!status) status = psc_session_open(&b->split, b->model, how, error);
    if (!status) status = psc_session_observe(b->plain, PSC_HOOK_LOGITS, NULL, ignore, b, error);
    if (!status) status = psc_session_observe(b->split, PSC_HOOK_LOGITS, NULL, ignore, b, error);
    if (!status) status = psc_session_target(b->split, "#0", error);
    if (!status) status = psc_session_plugin(b->split, "logits", DECOMPOSITION, error);
    return status;
}

static psc_status measure_decomposition(
    bench *b, const psc_session_options *how, psc_error *error) {
    timing t = {.n = -1, .begun = now()};
    psc_status status = open_pair(b, how, error);
    while (!status && !is_done(&t)) {
        double plain, split;
        status = run(&plain, b->plain, b->tokens, b->rows, 0, true, error);
        if (!status) status = run(&split, b->split, b->tokens, b->rows, 0, true, error);
        if (status || t.n++ < 0) continue;
        t.seconds[t.n - 1] = split;
        t.limit[t.n - 1] = plain;
        t.share[t.n - 1] = split / plain;
    }
    if (!status) b->decomposition = part_of(&t);
    return status;
}

/* --- output ---------------------------------------------------------------------------------- */

static void print_text(const bench *b) {
    const psc_model_info *info = psc_model_get_info(b->model);
    const double work = b->work.matmul + b->work.attention;
    const double bytes = (b->step.weight_bytes + b->step.cache_bytes) / STEPS;
    char name[300];
    psc_report_escape(name, sizeof name, info->name, strlen(info->name));
    printf("%s  %.16s  %d layers, d_model %d, %s, %d thread%s\n\n", name, info->hash,
        info->n_layers, info->d_model, psc_session_isa(b->session),
        (int)psc_session_threads(b->session), psc_session_threads(b->session) == 1 ? "" : "s");
    snprintf(name, sizeof name, "prefill of %d tokens", b->rows);
    printf("%-24s %10.1f tokens/s  %.1f GFLOP/s, %.2f of the peak %.1f\n", name,
        b->rows / b->prefill.seconds, work / b->prefill.seconds * 1e-9, b->prefill.share,
        b->prefill.limit * 1e-9);
    snprintf(name, sizeof name, "decode at %d keys", b->rows);
    printf("%-24s %10.1f tokens/s  %.1f GB/s, %.2f of the memory's %.1f\n", name,
        1.0 / b->decode.seconds, bytes / b->decode.seconds * 1e-9, b->decode.share,
        b->decode.limit * 1e-9);
    snprintf(name, sizeof name, "decomposition of %d", b->rows);
    printf("%-24s %10.1f tokens/s  %.2f times the plain pass (%.2f and %.2f ms)\n", name,
        b->rows / b->decomposition.seconds, b->decomposition.share, 1e3 * b->decomposition.seconds,
        1e3 * b->decomposition.limit);
    printf("\nThe decomposition is logits:%s of one target; the plain pass has the same rows and\n"
           "logits. The machine's limits were measured in the same seconds. Each figure is the\n"
           "median of its turns, so under load a share can differ from the quotient shown.\n",
        DECOMPOSITION);
    if (b->decode.share > 1.0)
        printf("This model fits into the processor's cache, which is faster than memory.\n");
    printf("See docs/performance.md\n");
}

static int print_json(const bench *b) {
    const double work = b->work.matmul + b->work.attention;
    const double bytes = (b->step.weight_bytes + b->step.cache_bytes) / STEPS;
    json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:i, s:{s:f, s:f, s:f, s:f, s:f, s:i},"
                               " s:{s:f, s:f, s:f, s:f, s:f, s:i},"
                               " s:{s:s, s:f, s:f, s:f, s:f, s:i}}",
        "version", psc_version(), "hash", psc_model_get_info(b->model)->hash, "isa",
        psc_session_isa(b->session), "threads", (int)psc_session_threads(b->session), "rows",
        (int)b->rows, "prefill", "tokens_per_second", b->rows / b->prefill.seconds, "operations",
        work, "flops", work / b->prefill.seconds, "peak_flops", b->prefill.limit, "share",
        b->prefill.share, "turns", b->prefill.n, "decode", "tokens_per_second",
        1.0 / b->decode.seconds, "bytes", bytes, "bytes_per_second", bytes / b->decode.seconds,
        "memory_bytes_per_second", b->decode.limit, "share", b->decode.share, "turns", b->decode.n,
        "decomposition", "plugin", "logits:" DECOMPOSITION, "tokens_per_second",
        b->rows / b->decomposition.seconds, "seconds", b->decomposition.seconds, "plain_seconds",
        b->decomposition.limit, "ratio", b->decomposition.share, "turns", b->decomposition.n);
    const bool failed = !object || json_dumpf(object, stdout, JSON_REAL_PRECISION(9)) != 0;
    json_decref(object);
    putchar('\n');
    return failed;
}

/* --- the verb -------------------------------------------------------------------------------- */

/* Ids spread over the vocabulary, as those of the programs in bench/. */
static psc_status make_tokens(bench *b, const cli_arguments *arguments, psc_error *error) {
    const psc_model_info *info = psc_model_get_info(b->model);
    const int32_t most = info->n_ctx - STEPS;
    if (b->rows > most && !cli_has(arguments, "rows")) b->rows = most;
    if (b->rows > most || b->rows < 1)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the model's context of %d tokens is too short for %d tokens and the %d decoded ones",
            info->n_ctx, b->rows > 0 ? b->rows : 1, STEPS);
    b->tokens = calloc((size_t)b->rows + STEPS, sizeof *b->tokens);
    if (!b->tokens) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens");
    for (int32_t i = 0; i < b->rows + STEPS; i++)
        b->tokens[i].id = (int32_t)(2654435761u * (uint32_t)(i + 1) % (uint32_t)info->d_vocab);
    return PSC_OK;
}

static psc_status measure(
    bench *b, psc_session_options *how, const cli_arguments *arguments, psc_error *error) {
    psc_status status = make_tokens(b, arguments, error);
    how->capacity = b->rows + STEPS;
    if (!status) status = psc_session_open(&b->session, b->model, how, error);
    if (!status) status = psc_limits_open(&b->limits, b->session, error);
    if (!status) status = measure_prefill(b, error);
    if (!status) status = measure_decode(b, error);
    if (!status) status = measure_decomposition(b, how, error);
    return status;
}

static int run_bench(const cli_arguments *arguments) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    bench b = {0};
    psc_error error = {0};
    long long rows = DEFAULT_ROWS;
    const char *folder = arguments->n_operands ? arguments->operands[0] : NULL;
    if (cli_integer(&rows, arguments, "rows", 1, 1 << 20) || cli_session_options(&how, arguments))
        return CLI_USAGE;
    b.rows = (int32_t)rows;
    psc_status status = cli_open_model(&b.model, folder, &error);
    if (!status) status = measure(&b, &how, arguments, &error);
    if (!status && cli_has(arguments, "json") && print_json(&b))
        status = psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for the JSON");
    if (!status && !cli_has(arguments, "json")) print_text(&b);
    psc_limits_close(&b.limits);
    psc_session_close(&b.session);
    psc_session_close(&b.plain);
    psc_session_close(&b.split);
    psc_model_close(&b.model);
    free(b.tokens);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_bench = {
    .name = "bench",
    .summary = "Measures prefill, decoding and the decomposition beside the machine's limits.",
    .usage = "[MODEL] [options]",
    .notes =
        "MODEL is a folder or a name; without it, bench measures the embedded model. It takes\n"
        "about ten seconds, longer for large models, and 192 MiB of memory for the bandwidth.",
    .options = options,
    .max_operands = 1,
    .run = run_bench,
};
