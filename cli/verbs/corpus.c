/* corpus: runs documents through the plugins, in batches of windows. A killed run resumes from its
 * state file. Results do not depend on batches, threads, or where a run was interrupted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>

#include "bos.h"
#include "cluster_windows.h"
#include "corpus_opening.h"
#include "interventions.h"
#include "progress.h"
#include "prompt.h"
#include "signals.h"
#include "spread.h"
#include "state.h"

static const cli_option options[] = {
    CLI_MODEL_OPTION,
    CLI_TARGET_OPTIONS("next"),
    CLI_PLUGIN_OPTION("logits, ln, mlp"),
    {"window", 1, false, "W",
        "tokens per window; default: 512, or the model's\n"
        "context if that is smaller"},
    {"stride", 1, false, "S",
        "tokens from one window's start to the next, fewer than\n"
        "the window's: the rest is context, and no token counts\n"
        "twice; with --plugin loss or sae"},
    {"bos", 0, false, "", "put the model's beginning token before each window"},
    {"field", 1, false, "NAME", "the JSONL field that has the text; default: text"},
    {"strict", 0, false, "", "fail on a document that cannot be read"},
    {"limit-tokens", 1, false, "N",
        "stop after the window that contains token N; a part\n"
        "counts its own tokens"},
    {"sample", 1, false, "N", "read N documents of the corpus, drawn by --seed"},
    {"seed", 1, false, "S", "of --sample; default: 0"},
    {"from-list", 1, false, "FILE",
        "also read the files and folders that FILE names, one\n"
        "per line, relative to the working directory; -:\n"
        "standard input"},
    {"shard", 1, false, "I/N",
        "read only part I of N; auto or auto/N: the part of\n"
        "this Slurm task or rank. {shard} in --state, --out\n"
        "and --html becomes I-of-N; see merge"},
    {"shard-by", 1, false, "UNIT",
        "document: part I has every N-th document (default);\n"
        "size: every part has about as many bytes"},
    {"batch", 1, false, "N",
        "full windows per pass, or as many tokens of short\n"
        "ones; default: 4; results do not depend on it"},
    {"state", 1, false, "FILE",
        "save the totals to FILE and resume from it: a run\n"
        "that is stopped, even killed, loses little"},
    {"save-seconds", 1, false, "S", "seconds between writes of the state; default: 60"},
    CLI_SPREAD_OPTIONS,
    CLI_EDIT_OPTIONS,
    {"patch", 1, true, "AT", "not over a corpus, which has no source prompt"},
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};

/* Most bytes of a pass's keys and values; one full window may take more. */
#define MOST_CACHE ((double)(1 << 30))

typedef struct survey {
    const cli_arguments *arguments;
    const char *state_path; /* as it was given; nullable */
    char *state_file;       /* the file itself, behind any links */
    cli_lock lock;          /* of the state file */
    long long full;         /* --batch */
    window_batch batch;
    double save_seconds;
    psc_model *model;
    psc_session *session;
    psc_corpus *corpus;
    json_t *setup;     /* for the state file */
    psc_input *inputs; /* [batch.most] */
    psc_document *documents;
    int32_t *repeated;
    psc_token *tokens; /* [batch.tokens] */
    int32_t window;
    struct timespec saved;
    bool ended;             /* reached the end of the corpus or the limit */
    cluster_windows shared; /* with other processes */
} survey;

static volatile sig_atomic_t interrupted;

/* The first signal stops the run after the current batch, a second one at once. A launcher may send
 * the same signal twice, so several processes end at its SIGKILL instead. */
static void catch_signals(void) {
    cli_signals_catch(&interrupted, CLI_SIGNALS_RESTART | (cluster_is_on() ? CLI_SIGNALS_ALL : 0));
}

static void on_note(const char *sentence, void *payload) {
    (void)payload;
    cli_progress_line(sentence);
}

/* --- the state file -------------------------------------------------------------------------- */

static psc_status save(survey *s, psc_error *error) {
    if (!s->state_path) return PSC_OK;
    clock_gettime(CLOCK_MONOTONIC, &s->saved);
    return cli_state_save(s->session, s->state_file, s->corpus, s->setup, error);
}

static bool is_due(const survey *s) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - s->saved.tv_sec) +
               1e-9 * (double)(now.tv_nsec - s->saved.tv_nsec) >=
           s->save_seconds;
}

static long long tokens_so_far(const survey *s) {
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&totals, s->corpus);
    return totals.tokens;
}

/* Resumes from the state file if it exists. Otherwise writes a first one, so that an unwritable
 * path fails before the work. */
static psc_status resume(survey *s, psc_error *error) {
    cli_state state = {0};
    if (!s->state_path) return PSC_OK;
    struct stat found;
    if (lstat(s->state_file, &found) != 0 && errno == ENOENT) return save(s, error);
    psc_status status = psc_session_state_load(s->session, s->state_file, error);
    if (!status) status = cli_state_read(&state, s->state_file, error);
    if (status) return status;
    status = psc_corpus_seek(s->corpus, state.place, error);
    cli_state_free(&state);
    if (status) return cli_state_error(s->state_path, status, error);
    clock_gettime(CLOCK_MONOTONIC, &s->saved);
    cli_time_skip(tokens_so_far(s));
    return PSC_OK;
}

/* --- the work -------------------------------------------------------------------------------- */

/* Reads up to one batch of windows; returns their number, or -1 after an error. */
static int32_t read_batch(survey *s, psc_error *error) {
    window_batch batch = s->batch;
    psc_token *to = s->tokens;
    while (window_batch_has_room(&batch) && !s->ended) {
        psc_window window = {.n = 0};
        if (psc_corpus_next(&window, s->corpus, error)) return -1;
        if (window.n == 0) {
            s->ended = true;
            break;
        }
        // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): work() stops without memory
        memcpy(to, window.tokens, (size_t)window.n * sizeof *to);
        s->inputs[batch.n] = (psc_input){batch.n, window.n, to};
        s->documents[batch.n] = window.document;
        s->repeated[batch.n] = psc_corpus_repeated(s->corpus, &window);
        to += window.n;
        window_batch_take(&batch, window.n);
    }
    return batch.n;
}

/* A psc_progress_fn, also called by plugins at work in a pass: what is then the plugin's name. */
static int show_progress(double done, const char *what, void *payload) {
    const survey *s = payload;
    char line[120];
    (void)done; /* of the pass */
    const bool plugin = what && strcmp(what, "forward") != 0;
    snprintf(line, sizeof line, "%lld tokens%s%.60s", tokens_so_far(s), plugin ? ", " : "",
        plugin ? what : "");
    return cli_progress_update(psc_corpus_progress(s->corpus), line, NULL);
}

static psc_status read_all(survey *s, psc_error *error) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.no_logits = 1;
    run.documents = s->documents;
    if (cli_has(s->arguments, "stride")) run.repeated = s->repeated;
    run.progress = show_progress;
    run.payload = s;
    psc_status status = PSC_OK;
    show_progress(0, NULL, s);
    while (!status && !s->ended && !interrupted) {
        int32_t n = read_batch(s, error);
        if (n < 0) return error->status;
        if (n > 0) status = psc_session_run(s->session, s->inputs, n, &run, error);
        show_progress(0, NULL, s);
        if (!status && !s->ended && s->state_path && is_due(s)) status = save(s, error);
    }
    return status ? status : save(s, error);
}

/* --- with other processes -------------------------------------------------------------------- */

static bool shared_stopped(void *payload) {
    (void)payload;
    return interrupted != 0;
}

static bool shared_due(void *payload) {
    const survey *s = payload;
    return s->state_path && is_due(s);
}

static psc_status shared_save(void *payload, psc_error *error) {
    return save(payload, error);
}

static void shared_show(void *payload) {
    (void)show_progress(0, NULL, payload);
}

/* The session is open: the processes agree on what they do. */
static psc_status join(survey *s, psc_error *error) {
    s->shared = (cluster_windows){.session = s->session,
        .corpus = s->corpus,
        .batch = s->batch,
        .stopped = shared_stopped,
        .is_due = shared_due,
        .save = shared_save,
        .show = shared_show,
        .payload = s};
    return cluster_is_on() ? cluster_windows_open(&s->shared, error) : PSC_OK;
}

static psc_status read_together(survey *s, psc_error *error) {
    cli_progress_start("reading");
    psc_status status = cluster_windows_read(&s->shared, error);
    cli_progress_stop();
    s->ended = s->shared.ended;
    return status ? status : save(s, error);
}

static psc_status work(survey *s, psc_error *error) {
    psc_status status = PSC_OK;
    if (cluster_is_on()) return read_together(s, error);
    s->inputs = calloc((size_t)s->batch.most, sizeof *s->inputs);
    s->documents = calloc((size_t)s->batch.most, sizeof *s->documents);
    s->repeated = calloc((size_t)s->batch.most, sizeof *s->repeated);
    s->tokens = calloc((size_t)s->batch.tokens, sizeof *s->tokens);
    if (!s->inputs || !s->documents || !s->repeated || !s->tokens)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a batch of windows");
    cli_progress_start("reading");
    if (!status) status = read_all(s, error);
    cli_progress_stop();
    return status;
}

/* --- options --------------------------------------------------------------------------------- */

static int corpus_options(psc_corpus_options *out, const cli_arguments *arguments) {
    long long window = 0, stride = 0, shard = 0, n_shards = 0, limit = 0, sample = 0, seed = 0;
    const char *part = cli_value(arguments, "shard"), *by = cli_value(arguments, "shard-by");
    int code = cli_integer(&window, arguments, "window", 1, 1 << 20);
    if (!code) code = cli_integer(&stride, arguments, "stride", 1, 1 << 20);
    if (!code) code = cli_integer(&limit, arguments, "limit-tokens", 1, 1LL << 50);
    if (!code) code = cli_integer(&sample, arguments, "sample", 1, 10000000);
    if (!code) code = cli_integer(&seed, arguments, "seed", 0, INT64_MAX);
    if (code) return code;
    if (cli_has(arguments, "seed") && sample == 0)
        return cli_usage(arguments->verb, "--seed needs --sample N");
    if (by && strcmp(by, "size") != 0 && strcmp(by, "document") != 0)
        return cli_usage(arguments->verb, "--shard-by needs document or size, not '%s'", by);
    if (by && !part) return cli_usage(arguments->verb, "--shard-by needs --shard");
    if (part) { /* I/N, as cli_shards_name wrote it */
        char *slash;
        shard = strtoll(part, &slash, 10);
        n_shards = strtoll(slash + 1, NULL, 10);
    }
    *out = (psc_corpus_options)PSC_CORPUS_OPTIONS_INIT;
    out->window = (int32_t)window;
    out->stride = (int32_t)stride;
    out->bos = cli_has(arguments, "bos");
    out->shard = (int32_t)shard;
    out->n_shards = (int32_t)n_shards;
    out->limit = limit;
    out->sample = sample;
    out->seed = seed;
    out->by_size = by && strcmp(by, "size") == 0;
    out->strict = cli_has(arguments, "strict");
    out->field = cli_value(arguments, "field");
    out->note = on_note;
    return CLI_OK;
}

static int check(survey *s, psc_session_options *session, psc_corpus_options *corpus) {
    const cli_arguments *arguments = s->arguments;
    s->full = 4;
    s->save_seconds = 60;
    s->state_path = cli_value(arguments, "state");
    int code = cli_session_options(session, arguments);
    if (!code) code = corpus_options(corpus, arguments);
    if (!code) code = cli_integer(&s->full, arguments, "batch", 1, 4096);
    if (!code) code = cli_real(&s->save_seconds, arguments, "save-seconds", 0);
    if (code) return code;
    const char *list = cli_value(arguments, "from-list");
    if (arguments->n_operands < 1 && !list)
        return cli_usage(
            arguments->verb, "no corpus; pass files or folders, or - for standard input");
    for (int i = 0; i < arguments->n_operands; i++)
        if (strcmp(arguments->operands[i], "-") == 0 &&
            (list || arguments->n_operands > 1 || cli_is_collected()))
            return cli_usage(arguments->verb, "- (standard input) is read once: it needs no other "
                                              "files and a single checkpoint");
    if (list && strcmp(list, "-") == 0 && cli_is_collected())
        return cli_usage(arguments->verb,
            "--from-list - (standard input) is read once: it needs a single checkpoint");
    if (cli_has(arguments, "patch"))
        return cli_usage(arguments->verb,
            "--patch takes values from a source prompt, which a corpus does not have; use --ablate, "
            "--scale, --steer with file= or --knockout");
    session->accumulate = 1;
    session->overlap = corpus->stride > 0;
    session->part = corpus->shard;
    session->n_parts = corpus->n_shards;
    return CLI_OK;
}

/* --- the verb -------------------------------------------------------------------------------- */

/* As many full windows as --batch says, while their keys and values stay below the cap. */
static void choose_batch(survey *s) {
    const double each = window_batch_bytes(psc_model_get_info(s->model), s->window);
    const long long fit = each < MOST_CACHE ? (long long)(MOST_CACHE / each) : 1;
    char line[160];
    s->batch = window_batch_of((int32_t)(s->full < fit ? s->full : fit), s->window);
    if (s->full <= fit || !cli_has(s->arguments, "batch")) return;
    snprintf(line, sizeof line,
        "note: a pass has %lld of --batch %lld windows: their keys and values take %.0f MB", fit,
        s->full, each * (double)fit * 1e-6);
    cli_progress_line(line);
}

/* The session of windows of s->window tokens, with all that acts on them. */
static psc_status open_session(survey *s, psc_session_options *session, psc_error *error) {
    const cli_arguments *arguments = s->arguments;
    session->capacity = s->window;
    session->n_sequences = s->batch.most;
    session->shared_tokens = s->batch.tokens;
    psc_status status = psc_session_open(&s->session, s->model, session, error);
    if (!status) status = cli_add_targets(s->session, arguments, error);
    if (!status) status = cli_add_plugins(s->session, arguments, error);
    return status ? status : cli_interventions_add(s->session, arguments, error);
}

static psc_status open_all(
    survey *s, psc_session_options *session, psc_corpus_options *corpus, psc_error *error) {
    const cli_arguments *arguments = s->arguments;
    cli_bos bos;
    psc_status status = cli_bos_find(&bos, arguments, NULL, error);
    if (!status) status = cli_check_out(arguments, error);
    if (!status && s->state_path)
        status = cli_state_lock(&s->lock, &s->state_file, s->state_path, error);
    if (!status && s->state_path) status = cli_setup_write(&s->setup, arguments, error);
    if (!status) status = cli_open_model(&s->model, cli_value(arguments, "model"), error);
    bos.added = !status && bos.plugin[0] && !corpus->bos && psc_model_bos(s->model) >= 0;
    if (bos.added) corpus->bos = 1;
    if (bos.added) cli_bos_name(&bos, s->model);
    if (!status) status = cli_corpus_open(&s->corpus, s->model, arguments, corpus, error);
    if (status) return status;
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&totals, s->corpus);
    s->window = totals.window;
    choose_batch(s);
    if (cluster_is_on()) status = cluster_windows_begin(&s->batch, error);
    if (!status) status = open_session(s, session, error);
    if (!status) cli_bos_note(&bos, "each window");
    if (!status) catch_signals();
    if (!status) status = resume(s, error);
    if (!status)
        status = cli_corpus_foretell(s->session, s->model, arguments, corpus, &interrupted, error);
    return status ? status : join(s, error);
}

/* A worker runs the windows that rank 0 reads. */
static psc_status serve(survey *s, psc_session_options *session, psc_error *error) {
    catch_signals();
    psc_status status = cli_open_model(&s->model, cli_value(s->arguments, "model"), error);
    if (!status) status = cluster_windows_ask(&s->batch, error);
    s->window = s->batch.window;
    if (!status) status = open_session(s, session, error);
    if (!status) status = join(s, error);
    return status ? status : cluster_windows_serve(&s->shared, error);
}

/* A corpus of which nothing was read has no statistics. A part of a split may have no documents. */
static psc_status check_read(const survey *s, psc_error *error) {
    psc_corpus_totals t = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&t, s->corpus);
    const long long all = (long long)t.skipped + t.documents;
    if (t.windows > 0 || !s->ended) return PSC_OK;
    if (t.skipped > 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "no document could be read: %lld of %lld were skipped, as said above",
            (long long)t.skipped, all);
    if (t.documents > 0)
        return psc_fail(error, PSC_ERROR_INPUT, "the corpus has no text: %lld document%s empty",
            (long long)t.documents, t.documents == 1 ? " is" : "s are");
    if (cli_has(s->arguments, "shard")) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "the corpus has no documents");
}

/* Says at the end what earlier sentences, some of them of earlier runs, said one by one. */
static void note_skipped(const survey *s) {
    char note[160];
    psc_corpus_totals t = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&t, s->corpus);
    const long long all = (long long)t.skipped + t.documents;
    if (t.skipped == 0) return;
    snprintf(note, sizeof note,
        "note: %lld of %lld documents could not be read and %s left out of the results",
        (long long)t.skipped, all, t.skipped == 1 ? "was" : "were");
    cli_progress_line(note);
}

static psc_status deliver(survey *s, psc_error *error) {
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&totals, s->corpus);
    totals.stopped = !s->ended;
    psc_status status = psc_session_report(s->session, &totals, error);
    return status ? status : cli_deliver(psc_session_results(s->session), s->arguments, error);
}

/* Stopped by a signal: without a state file, delivers what was done. The
 * error says so either way. */
static psc_status interruption(survey *s, psc_error *error) {
    const long long tokens = tokens_so_far(s);
    psc_status status = PSC_OK;
    cli_say_stopped();
    if (s->state_path)
        return psc_fail(error, PSC_ERROR_CANCELLED,
            "stopped after %lld tokens; run the same command to resume from %s", tokens,
            s->state_path);
    const bool delivered =
        tokens > 0 && !cli_is_collected(); /* a checkpoint is whole or not there */
    if (delivered) status = deliver(s, error);
    (void)fflush(stdout);
    if (status) return status;
    return psc_fail(error, PSC_ERROR_CANCELLED,
        "stopped after %lld tokens%s; with --state FILE the same command would resume", tokens,
        delivered ? ", which the results cover" : "");
}

static psc_status run_survey(survey *s, psc_error *error) {
    const long long before = tokens_so_far(s);
    psc_status status = work(s, error);
    if (status) return status;
    if (!s->ended) return interruption(s, error);
    if (before > 0 && tokens_so_far(s) == before)
        cli_progress_line("note: the state file was complete; nothing was left to read");
    status = check_read(s, error);
    if (status) return status;
    note_skipped(s);
    return deliver(s, error);
}

static int run_corpus(const cli_arguments *arguments) {
    survey s = {.arguments = arguments};
    psc_session_options session;
    psc_corpus_options corpus = PSC_CORPUS_OPTIONS_INIT;
    psc_error error = {0};
    int code = check(&s, &session, &corpus);
    if (code) return code;
    psc_status status =
        cluster_is_worker() ? serve(&s, &session, &error) : open_all(&s, &session, &corpus, &error);
    if (!status && !cluster_is_worker()) status = run_survey(&s, &error);
    cluster_windows_close(&s.shared);
    psc_session_close(&s.session);
    psc_corpus_close(&s.corpus);
    psc_model_close(&s.model);
    cli_lock_release(&s.lock);
    free(s.state_file);
    json_decref(s.setup);
    free(s.inputs);
    free(s.documents);
    free(s.repeated);
    free(s.tokens);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_corpus = {
    .name = "corpus",
    .summary = "Runs plugins over documents and shows their statistics.",
    .usage = "[--model MODEL] FILE|DIR... [options]",
    .notes =
        "In a folder all *.txt and *.md files (one document per file) and *.jsonl files (one\n"
        "document per line) are read, also compressed as .gz or .zst. - is standard input: JSONL\n"
        "if it begins with {, else one document.\n" CLI_CHECKPOINTS_NOTE "example:\n"
        "  pythiascope corpus books/ --plugin mlp --state books.state --out books-mlp",
    .options = options,
    .max_operands = 1 << 20,
    .run = run_corpus,
};
