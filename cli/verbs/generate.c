/* generate: continues a text token by token and prints it as it comes, whole characters only; or,
 * with plugins, shows their results after the prompt and after each token. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bos.h"
#include "progress.h"
#include "report.h"
#include "setup.h"
#include "steps.h"
#include "traps.h"

static const cli_option options[] = {
    CLI_PROMPT_OPTIONS,
    {"n", 1, false, "N", "most tokens to add; default: 64"},
    {"temperature", 1, false, "T",
        "0 always takes the most likely token; default: 0, or 1\n"
        "with --top-k, --top-p or --min-p"},
    {"top-k", 1, false, "K", "sample from the K most likely tokens"},
    {"top-p", 1, false, "P", "then from the smallest set with probability mass P"},
    {"min-p", 1, false, "P",
        "then from tokens with at least P times the top\n"
        "probability"},
    {"seed", 1, false, "S", "seed of the sampler; default: 0"},
    CLI_PLUGIN_OPTION("none; shows its results\nafter the prompt and after each token"),
    CLI_TARGET_OPTIONS("the top prediction"),
    CLI_INTERVENTION_OPTIONS,
    CLI_RUN_OPTIONS,
    {"json", 0, false, "",
        "print results.json with the text so far after the prompt\n"
        "and after each token, one object per line"},
    {"out", 1, false, "DIR",
        "write DIR/results.json with the whole text and the\n"
        "results of the last token, and DIR/tensors.safetensors;\n"
        "DIR must be new or empty"},
    CLI_TIME_OPTION,
    {0},
};

typedef struct generation {
    psc_session_options session_options;
    psc_sampler sampler;
    long long n; /* maximum of tokens to add */
} generation;

/* Bytes that do not complete a character yet. */
typedef struct text_stream {
    char held[4];
    size_t n_held;
    bool on_terminal, failed;
} text_stream;

/* Drops control characters except line breaks and tabs for a terminal: a model's text is
 * untrusted. */
static void put_character(const text_stream *stream, const char *character, size_t n) {
    char shown[16];
    if (!stream->on_terminal || *character == '\n' || *character == '\t') {
        fwrite(character, 1, n, stdout);
        return;
    }
    psc_report_escape(shown, sizeof shown, character, n);
    fputs(shown, stdout);
}

/* Prints complete characters; a byte that cannot begin one becomes U+FFFD. */
static void put_whole(text_stream *stream, bool at_end) {
    while (stream->n_held > 0) {
        int n = psc_report_character(stream->held, stream->n_held);
        if (n == 0 && !at_end) return;
        size_t used = n > 0 ? (size_t)n : 1;
        put_character(stream, n > 0 ? stream->held : "\xef\xbf\xbd", n > 0 ? used : 3);
        memmove(stream->held, stream->held + used, stream->n_held - used);
        stream->n_held -= used;
    }
}

static void stream_bytes(text_stream *stream, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        stream->held[stream->n_held++] = bytes[i];
        put_whole(stream, false);
    }
    if (fflush(stdout) != 0) stream->failed = true;
}

static void stream_token(text_stream *stream, const psc_model *model, int32_t id) {
    size_t n = 0;
    const char *bytes = psc_model_token_bytes(model, id, &n);
    char number[24];
    if (!bytes) { /* no text: a model without a tokenizer, or a padded id */
        snprintf(number, sizeof number, "#%d ", id);
        bytes = number;
        n = strlen(number);
    }
    stream_bytes(stream, bytes, n);
}

/* The run of the prompt or of one token. */
static psc_status run_tokens(psc_session *session, const psc_token *tokens, int32_t n,
    const psc_run_options *given, cli_steps *steps, psc_error *error) {
    const psc_input input = {0, n, tokens};
    psc_run_options run = *given;
    run.text = steps->text;
    run.text_bytes = steps->bytes;
    psc_status status = psc_session_run(session, &input, 1, &run, error);
    cli_progress_stop();
    return status;
}

/* Why no token follows n drawn ones. */
static psc_generation_end end_of_limit(const generation *g, const cli_steps *steps) {
    return g->n < steps->generation.limit ? PSC_END_CONTEXT : PSC_END_LIMIT;
}

/* Draws the token after n others from row `last` of the last run; or sets the steps' end. */
static psc_status draw(psc_token *out, psc_session *session, int32_t last, long long n,
    generation *g, cli_steps *steps, psc_error *error) {
    *out = (psc_token){0};
    if (n == g->n) {
        steps->generation.end = end_of_limit(g, steps);
        return PSC_OK;
    }
    const float *logits = psc_session_logits(session, last);
    psc_status status = psc_session_sample(&out->id, session, &g->sampler, logits, error);
    if (!status && psc_model_ends(steps->model, out->id)) steps->generation.end = PSC_END_TOKEN;
    return status;
}

/* The tokens after the prompt, which was run with the options `run`. The last one is run only to show
 * its step. A step is shown once the next token is drawn, so that the last one says why it is. */
static psc_status continue_prompt(psc_session *session, const cli_prompt *prompt, generation *g,
    const psc_run_options *run, cli_steps *steps, psc_error *error) {
    text_stream stream = {.on_terminal = isatty(STDOUT_FILENO)};
    const psc_model *model = steps->model;
    const int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    int32_t last = prompt->n - 1;
    psc_token token = {0}, next;
    psc_status status = PSC_OK;
    for (long long i = 0; !status; i++) {
        status = draw(&next, session, last, i, g, steps, error);
        if (!status && steps->shown)
            status = cli_steps_show(steps, session, i > 0 ? &token : NULL, error);
        if (status || steps->generation.end != PSC_END_NONE) break;
        token = next;
        if (!steps->shown) stream_token(&stream, model, token.id);
        if (stream.failed) break;
        status = cli_steps_token(steps, session, last, &token, error);
        if (status || (i + 1 == g->n && !steps->shown)) break;
        last = 0;
        if (psc_session_length(session, 0) == n_ctx) {
            steps->generation.end = end_of_limit(g, steps);
            status = cli_steps_show_last(steps, session, &token, error);
            break;
        }
        status = run_tokens(session, &token, 1, run, steps, error);
    }
    put_whole(&stream, true);
    if (!status && !steps->shown) putchar('\n');
    return status;
}

static psc_status generate_tokens(psc_session *session, const cli_sources *sources,
    const cli_prompt *prompt, generation *g, cli_steps *steps, psc_error *error) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    psc_status status = cli_run_before(session, sources, prompt, &run.phase, error);
    run.phase = PSC_PHASE_ONLY; /* no comparison; edits may name future rows */
    run.bos = prompt->bos;
    if (!status) status = cli_steps_prompt(steps, prompt, error);
    if (status) return status;
    run.progress = cli_progress_update;
    cli_progress_start("reading the prompt");
    status = run_tokens(session, prompt->tokens, prompt->n, &run, steps, error);
    run.progress = NULL;
    if (!status) status = continue_prompt(session, prompt, g, &run, steps, error);
    if (status) return cli_steps_error(steps, status, error);
    return cli_steps_end(steps, session, error);
}

static psc_status generate(const cli_arguments *arguments, generation *g, psc_error *error) {
    psc_model *model = NULL;
    psc_session *session = NULL;
    cli_prompt prompt = {0};
    cli_sources sources = {0};
    cli_bos bos;
    cli_steps steps = {0};
    psc_status status = cli_bos_find(&bos, arguments, NULL, error);
    if (!status) status = cli_check_out(arguments, error);
    if (!status && g->n > 0) status = cli_steps_check(arguments, error);
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    cli_steps_open(&steps, model, &g->sampler, g->n, arguments);
    if (!status) status = cli_prompt_read(&prompt, model, arguments, error);
    if (!status) status = cli_sources_read(&sources, model, arguments, error);
    if (!status) status = cli_bos_add(&bos, model, &prompt, &sources, error);
    if (!status) {
        int32_t room = psc_model_get_info(model)->n_ctx - prompt.n + 1;
        if (g->n > room) g->n = room; /* the last token drawn is not run */
        g->session_options.capacity = cli_sources_longest(&sources, prompt.n + (int32_t)g->n);
        if (g->session_options.capacity > psc_model_get_info(model)->n_ctx)
            g->session_options.capacity = psc_model_get_info(model)->n_ctx;
        status = psc_session_open(&session, model, &g->session_options, error);
    }
    if (!status) status = cli_add_targets(session, arguments, error);
    if (!status) status = cli_interventions_add(session, arguments, error);
    if (!status) status = cli_add_given_plugins(session, arguments, error);
    if (!status) cli_bos_note(&bos, "the text");
    if (!status) cli_trap_notes(&prompt, model, arguments);
    if (!status) status = generate_tokens(session, &sources, &prompt, g, &steps, error);
    cli_steps_close(&steps);
    psc_session_close(&session);
    cli_sources_free(&sources);
    cli_prompt_free(&prompt);
    psc_model_close(&model);
    return status;
}

/* The sampler's options; 0, or CLI_USAGE after a sentence. */
static int read_sampler(psc_sampler *sampler, const cli_arguments *arguments) {
    static const char *const filters[] = {"top-k", "top-p", "min-p"};
    long long seed = 0, top_k = 0;
    psc_strategy *strategy = &sampler->strategy;
    for (int i = 0; i < 3; i++)
        if (cli_has(arguments, filters[i])) strategy->temperature = 1;
    int code = cli_real(&strategy->temperature, arguments, "temperature", 0);
    if (!code) code = cli_integer(&top_k, arguments, "top-k", 1, INT32_MAX);
    if (!code) code = cli_real(&strategy->top_p, arguments, "top-p", 0);
    if (!code) code = cli_real(&strategy->min_p, arguments, "min-p", 0);
    if (!code) code = cli_integer(&seed, arguments, "seed", 0, INT64_MAX);
    if (code) return code;
    if (cli_has(arguments, "top-p") && !(strategy->top_p > 0 && strategy->top_p <= 1))
        return cli_usage(arguments->verb, "--top-p needs a number above 0 and at most 1, not '%s'",
            cli_value(arguments, "top-p"));
    if (strategy->min_p > 1)
        return cli_usage(arguments->verb, "--min-p needs a number from 0 to 1, not '%s'",
            cli_value(arguments, "min-p"));
    strategy->top_k = (int32_t)top_k;
    sampler->seed = (uint64_t)seed;
    return CLI_OK;
}

static int run_generate(const cli_arguments *arguments) {
    generation g = {.sampler = PSC_SAMPLER_INIT, .n = 64};
    psc_error error = {0};
    int code = cli_prompt_check(arguments);
    if (!code) code = cli_session_options(&g.session_options, arguments);
    if (!code) code = cli_interventions_check(arguments);
    if (!code) code = cli_integer(&g.n, arguments, "n", 0, INT32_MAX);
    if (!code) code = read_sampler(&g.sampler, arguments);
    if (code) return code;
    return generate(arguments, &g, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_generate = {
    .name = "generate",
    .summary = "Continues a text until <|endoftext|>, the end of the context, or N tokens.",
    .usage = "[--model MODEL] (--text S | --file F | --tokens 1,2,3) [options]",
    .notes =
        "example:\n  pythiascope generate --text \"Once upon a time\" --n 40 "
        "--temperature 0.8 --top-p 0.95 --seed 7\n"
        "  pythiascope generate --text \"Once upon a time\" --n 8 --plugin lens --target \" a\"",
    .options = options,
    .run = run_generate,
};
