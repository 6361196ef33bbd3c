/* score: log-likelihoods of the continuations in JSONL files, and how often the model prefers the
 * right one. A block of examples at a time is read, encoded, scored (psc_session_score) and added
 * to the totals, so that memory does not grow with the examples. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interventions.h"
#include "progress.h"
#include "prompt.h"
#include "report.h"
#include "report_line.h"
#include "say.h"
#include "score_examples.h"
#include "score_totals.h"
#include "setup.h"
#include "signals.h"

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"bos", 0, false, "",
        "put the model's beginning token before every text;\n"
        "default: only where nothing precedes the continuation"},
    {"delimiter", 1, false, "S",
        "a text between prefix and choice, part of the\n"
        "continuation, such as ' '; default: none"},
    {"allow-beginnings", 0, false, "",
        "take choices that are the beginning of another"},
    {"limit", 1, false, "N", "the first N examples of each file; default: all"},
    {"examples", 1, false, "FILE",
        "write a line of JSON per example: sums, tokens,\n"
        "guess"},
    {"batch", 1, false, "N",
        "continuations per pass; default: 64; results do not\n"
        "depend on it"},
    CLI_EDIT_OPTIONS,
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

#define BLOCK_TOKENS (1 << 17)         /* of a block, after which it is scored */
#define BLOCK_BYTES ((size_t)32 << 20) /* of its lines, likewise */
#define MOST_CACHE ((double)(1 << 30)) /* bytes of keys and values, unless one sequence has more */
enum { BLOCK = 2048 };                 /* examples */

typedef struct work {
    const cli_arguments *arguments;
    psc_session_options how;
    long long batch;
    cli_score_text delimiter;
    psc_model *model;
    psc_session *session; /* null until the first block */
    int32_t capacity;     /* of its sequences */
    cli_examples examples;
    cli_score_totals totals;
    /* the block */
    cli_example *list; /* [n] of [BLOCK] */
    int32_t n;
    psc_score_request *requests; /* [n_requests] of [room], their tokens owned */
    psc_score *scores;           /* likewise */
    int32_t n_requests, room, longest;
    int64_t tokens;
    size_t bytes;
    /* the lines of --examples */
    FILE *lines;
    char partial[4096];
} work;

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a block of examples");
}

/* --- encoding -------------------------------------------------------------------------------- */

/* The bytes of the prefix without the white space at its end, which counts to the continuation. */
static size_t split_of(const cli_score_text *prefix) {
    size_t n = prefix->n;
    while (n > 0 && prefix->bytes[n - 1] && strchr(" \t\n\r\v\f", prefix->bytes[n - 1])) n--;
    return n;
}

/* prefix, delimiter and choice as one text; freed by free(). */
static char *join(const work *w, const cli_example *e, int32_t choice, size_t *bytes) {
    const cli_score_text parts[] = {
        e->prefix, e->n_choices > 1 ? w->delimiter : (cli_score_text){"", 0}, e->choices[choice]};
    *bytes = parts[0].n + parts[1].n + parts[2].n;
    char *text = malloc(*bytes + 1), *at = text;
    for (int i = 0; text && i < 3; i++) {
        if (parts[i].n > 0) memcpy(at, parts[i].bytes, parts[i].n);
        at += parts[i].n;
    }
    return text;
}

/* The tokens of prefix and choice, encoded as one text. The continuation begins at the first token
 * that ends behind the split; where that is the first of all, the beginning
 * token is put before it. */
static psc_status encode(psc_score_request *out, const work *w, const cli_example *e,
    int32_t choice, bool bos, psc_error *error) {
    const int32_t n_ctx = psc_model_get_info(w->model)->n_ctx;
    const size_t split = split_of(&e->prefix);
    psc_token *tokens = NULL;
    size_t bytes = 0;
    int32_t n = 0, from = 0;
    char *text = join(w, e, choice, &bytes);
    if (!text) return no_memory(error);
    psc_status status =
        psc_model_encode_first(&tokens, &n, w->model, text, bytes, bos, n_ctx + 1, error);
    free(text);
    if (status) return status;
    while (from < n && tokens[from].end <= split) from++;
    if (n > n_ctx + 1)
        status = cli_example_fail(e, error,
            "choice %d has more than %d tokens with its prefix; the model's context takes %d",
            (int)choice, (int)n_ctx + 1, (int)n_ctx);
    *out = (psc_score_request){tokens, n, from};
    if (!status && from > 0) return PSC_OK;
    psc_free(tokens);
    *out = (psc_score_request){0};
    if (status) return status;
    if (bos || psc_model_bos(w->model) < 0)
        return cli_example_fail(e, error,
            "nothing precedes choice %d, and the model has no beginning token", (int)choice);
    return encode(out, w, e, choice, true, error);
}

static psc_status make_room(work *w, psc_error *error) {
    if (w->n_requests < w->room) return PSC_OK;
    const int32_t room = w->room ? 2 * w->room : 1024;
    psc_score_request *requests = realloc(w->requests, (size_t)room * sizeof *requests);
    if (requests) w->requests = requests;
    psc_score *scores = realloc(w->scores, (size_t)room * sizeof *scores);
    if (scores) w->scores = scores;
    if (!requests || !scores) return no_memory(error);
    w->room = room;
    return PSC_OK;
}

static psc_status add_requests(work *w, const cli_example *e, psc_error *error) {
    const bool bos = cli_has(w->arguments, "bos");
    psc_status status = PSC_OK;
    for (int32_t c = 0; c < e->n_choices && !status; c++) {
        psc_score_request *r = NULL;
        status = make_room(w, error);
        if (status) break;
        r = &w->requests[w->n_requests];
        status = encode(r, w, e, c, bos, error);
        if (status) break;
        w->n_requests++;
        w->tokens += r->n;
        if (r->n > w->longest) w->longest = r->n;
    }
    return status;
}

/* --- a block --------------------------------------------------------------------------------- */

static void clear_block(work *w) {
    for (int32_t i = 0; i < w->n; i++) cli_example_free(&w->list[i]);
    for (int32_t i = 0; i < w->n_requests; i++) psc_free((psc_token *)w->requests[i].tokens);
    w->n = w->n_requests = w->longest = 0;
    w->tokens = 0;
    w->bytes = 0;
}

/* Reads and encodes examples until the block is full; n is 0 after the last. */
static psc_status read_block(work *w, psc_error *error) {
    psc_status status = PSC_OK;
    bool got = true;
    while (!status && got && w->n < BLOCK && w->tokens < BLOCK_TOKENS && w->bytes < BLOCK_BYTES) {
        cli_example *e = &w->list[w->n];
        status = cli_examples_next(e, &got, &w->examples, error);
        if (status || !got) break;
        w->n++;
        w->bytes += e->bytes;
        status = add_requests(w, e, error);
    }
    return status;
}

/* A session whose sequences have room for the block's longest. */
static psc_status fit_session(work *w, psc_error *error) {
    const psc_model_info *info = psc_model_get_info(w->model);
    if (w->session && w->longest - 1 <= w->capacity) return PSC_OK;
    w->capacity = w->capacity ? w->capacity : 64;
    while (w->capacity < w->longest - 1) w->capacity *= 2;
    if (w->capacity > info->n_ctx) w->capacity = info->n_ctx;
    const double each = 2.0 * sizeof(float) * info->n_layers * (double)info->d_model * w->capacity;
    w->how.n_sequences = (int32_t)w->batch;
    if (w->how.n_sequences * each > MOST_CACHE) w->how.n_sequences = (int32_t)(MOST_CACHE / each);
    if (w->how.n_sequences < 1) w->how.n_sequences = 1;
    w->how.capacity = w->capacity;
    w->how.accumulate =
        cli_has_intervention(w->arguments); /* so that editors need no source prompt */
    psc_session_close(&w->session);
    const psc_status status = psc_session_open(&w->session, w->model, &w->how, error);
    return status ? status : cli_interventions_add(w->session, w->arguments, error);
}

/* --- results --------------------------------------------------------------------------------- */

/* The name of an example's file without its folder and .jsonl. */
static void file_group(char out[256], const cli_example *e) {
    const char *slash = strrchr(e->path, '/'), *name = slash ? slash + 1 : e->path;
    const size_t n = strlen(name);
    const bool ends = n > 6 && strcmp(name + n - 6, ".jsonl") == 0;
    snprintf(out, 256, "%.*s", (int)(ends ? n - 6 : n < 200 ? n : 200), name);
}

static int32_t largest(const double *values, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

static cli_scored judge(const cli_example *e, const psc_score *scores) {
    double sums[CLI_SCORE_CHOICES] = {0}, per_byte[CLI_SCORE_CHOICES] = {0}, other = -INFINITY;
    cli_scored s = {.n_choices = e->n_choices, .answer = e->answer};
    for (int32_t c = 0; c < e->n_choices; c++) {
        sums[c] = scores[c].sum;
        per_byte[c] = sums[c] / (double)e->choices[c].n;
        if (c != e->answer && sums[c] > other) other = sums[c];
    }
    s.guess = largest(sums, e->n_choices);
    for (int32_t c = s.guess + 1; c < e->n_choices; c++)
        s.tied = s.tied || sums[c] == sums[s.guess];
    s.guess_by_bytes = largest(per_byte, e->n_choices);
    s.correct = e->n_choices > 1 ? s.guess == e->answer : scores[0].n_greedy == scores[0].n;
    s.correct_by_bytes = s.guess_by_bytes == e->answer;
    s.log_p = sums[e->answer];
    s.margin = e->n_choices > 1 ? sums[e->answer] - other : NAN;
    s.tokens = scores[e->answer].n;
    s.bytes = (int64_t)e->choices[e->answer].n;
    return s;
}

/* One object: file, line, id, group, then a list per choice. */
static psc_status write_line(
    work *w, const cli_example *e, const cli_scored *s, const psc_score *scores, psc_error *error) {
    char path[2048];
    psc_report_escape(path, sizeof path, e->path, strlen(e->path));
    json_t *sums = json_array(), *tokens = json_array(), *greedy = json_array();
    for (int32_t c = 0; c < e->n_choices; c++) {
        json_array_append_new(sums, json_real(scores[c].sum));
        json_array_append_new(tokens, json_integer(scores[c].n));
        json_array_append_new(greedy, json_integer(scores[c].n_greedy));
    }
    const bool listed = json_array_size(sums) == (size_t)e->n_choices &&
                        json_array_size(tokens) == (size_t)e->n_choices &&
                        json_array_size(greedy) == (size_t)e->n_choices;
    json_t *line = json_pack("{s:s%, s:I, s:O*, s:s%, s:i, s:i, s:i, s:b, s:o, s:o, s:o}", "file",
        path, strlen(path), "line", (json_int_t)e->line, "id", e->id, "group", s->group,
        strlen(s->group), "answer", (int)s->answer, "guess", (int)s->guess, "guess_by_bytes",
        (int)s->guess_by_bytes, "correct", s->correct, "sums", sums, "tokens", tokens, "greedy",
        greedy);
    char *text = line && listed ? psc_report_value_text(line) : NULL;
    json_decref(line);
    if (!text) return no_memory(error);
    fprintf(w->lines, "%s\n", text);
    free(text);
    return PSC_OK;
}

static psc_status add_block(work *w, psc_error *error) {
    psc_status status = PSC_OK;
    int32_t at = 0;
    for (int32_t i = 0; i < w->n && !status; i++) {
        char own[256];
        const cli_example *e = &w->list[i];
        cli_scored s = judge(e, &w->scores[at]);
        file_group(own, e);
        s.group = e->group ? e->group : own;
        s.phenomenon = e->phenomenon;
        status = cli_score_totals_add(&w->totals, &s, error);
        if (!status && w->lines) status = write_line(w, e, &s, &w->scores[at], error);
        for (int32_t c = 0; c < e->n_choices; c++) w->totals.tokens += w->scores[at + c].n;
        at += e->n_choices;
    }
    w->totals.requests += w->n_requests;
    return status;
}

static psc_status run_blocks(work *w, psc_error *error) {
    psc_status status = PSC_OK;
    w->list = calloc(BLOCK, sizeof *w->list);
    if (!w->list) return no_memory(error);
    cli_progress_start("scoring");
    while (!status) {
        status = read_block(w, error);
        if (status || w->n == 0) break;
        status = fit_session(w, error);
        if (!status)
            status =
                psc_session_score(w->scores, w->session, w->requests, w->n_requests, NULL, error);
        if (!status) status = add_block(w, error);
        clear_block(w);
        if (w->examples.n_paths > 1)
            cli_progress_update((double)w->examples.at / w->examples.n_paths, "scoring", NULL);
    }
    cli_progress_stop();
    clear_block(w);
    return status;
}

/* --- the lines of --examples ----------------------------------------------------------------- */

/* They replace earlier lines or an empty file, and nothing else. */
static psc_status check_replaced(const char *path, psc_error *error) {
    static const char begin[] = "{\"file\":";
    char found[sizeof begin] = "";
    struct stat info;
    if (stat(path, &info) != 0) return PSC_OK;
    FILE *file = S_ISREG(info.st_mode) ? fopen(path, "rb") : NULL;
    if (file) {
        found[fread(found, 1, sizeof begin - 1, file)] = 0;
        fclose(file);
    }
    if (file && (info.st_size == 0 || strcmp(found, begin) == 0)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "--examples %s is not a file of scores; give the file another name", path);
}

/* The lines go to a file beside it, which gets its name when it is whole. */
static psc_status open_lines(work *w, psc_error *error) {
    const char *path = cli_value(w->arguments, "examples");
    if (!path) return PSC_OK;
    psc_status status = check_replaced(path, error);
    if (status) return status;
    const int n = snprintf(w->partial, sizeof w->partial, "%s.partial", path);
    if (n >= (int)sizeof w->partial)
        return psc_fail(error, PSC_ERROR_INPUT, "the path of --examples is too long");
    w->lines = fopen(w->partial, "w");
    if (!w->lines)
        return psc_fail(error, PSC_ERROR_IO, "cannot create %s: %s", w->partial, strerror(errno));
    cli_signals_remove(w->partial);
    return PSC_OK;
}

static psc_status close_lines(work *w, psc_status status, psc_error *error) {
    const char *path = cli_value(w->arguments, "examples");
    if (!w->lines) return status;
    bool whole = !ferror(w->lines) && fflush(w->lines) == 0 && fsync(fileno(w->lines)) == 0;
    whole = fclose(w->lines) == 0 && whole;
    if (!status && (!whole || rename(w->partial, path) != 0))
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
    if (status) remove(w->partial);
    if (!status) cli_say_wrote(path);
    cli_signals_keep(w->partial);
    return status;
}

/* --- the verb -------------------------------------------------------------------------------- */

static psc_status work_on(work *w, psc_error *error) {
    const cli_arguments *arguments = w->arguments;
    psc_session *report = NULL;
    long long limit = LLONG_MAX;
    (void)cli_integer(&limit, arguments, "limit", 1, LLONG_MAX);
    psc_status status = cli_check_out(arguments, error);
    if (!status)
        status = cli_examples_open(&w->examples, arguments->operands, arguments->n_operands, error);
    w->examples.limit = limit;
    w->examples.allow_beginnings = cli_has(arguments, "allow-beginnings");
    if (!status) status = cli_open_model(&w->model, cli_value(arguments, "model"), error);
    if (!status) status = open_lines(w, error);
    if (!status) status = run_blocks(w, error);
    status = close_lines(w, status, error);
    psc_session_close(&w->session);
    if (!status)
        status = cli_score_totals_report(&report, w->model, &w->how, &w->totals, arguments, error);
    if (!status) status = cli_deliver(psc_session_results(report), arguments, error);
    psc_session_close(&report);
    psc_model_close(&w->model);
    cli_examples_close(&w->examples);
    cli_score_totals_free(&w->totals);
    free(w->list);
    free(w->requests);
    free(w->scores);
    return status;
}

static int run_score(const cli_arguments *arguments) {
    const char *delimiter = cli_value(arguments, "delimiter");
    work w = {.arguments = arguments, .batch = 64};
    psc_error error = {0};
    long long limit = 0;
    int code = cli_session_options(&w.how, arguments);
    if (!code) code = cli_integer(&w.batch, arguments, "batch", 1, 4096);
    if (!code) code = cli_integer(&limit, arguments, "limit", 1, LLONG_MAX);
    if (code) return code;
    if (cli_is_collected() && cli_has(arguments, "examples"))
        return cli_usage(arguments->verb, "--examples is for one checkpoint, as NAME@step1000");
    if (arguments->n_operands < 1)
        return cli_usage(arguments->verb, "no examples; pass JSONL files, or folders of them");
    if (delimiter) w.delimiter = (cli_score_text){delimiter, strlen(delimiter)};
    return work_on(&w, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_score = {
    .name = "score",
    .summary = "Scores continuations: log-likelihoods, accuracy of choices and of pairs.",
    .usage = "FILE.jsonl|DIR|-... [--model MODEL] [options]",
    .notes =
        "A line is {\"prefix\": S, \"choices\": [S, ...], \"answer\": 0}, {\"good\": S, \"bad\": S},\n"
        "a line of BLiMP, or {\"text\": S}, whose last word is scored (LAMBADA).\n" CLI_CHECKPOINTS_NOTE
        "example:\n"
        "  pythiascope score blimp/data\n"
        "  pythiascope score lambada_test.jsonl --model pythia-160m --examples scores.jsonl",
    .options = options,
    .max_operands = 1 << 20,
    .run = run_score,
};
