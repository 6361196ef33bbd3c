/* generate: continues a text token by token and prints it as it comes, whole characters only; or,
 * with plugins, shows their results after the prompt and after each token. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bos.h"
#include "progress.h"
#include "report.h"
#include "setup.h"
#include "prompts_together.h"
#include "steps.h"
#include "text_stream.h"
#include "traps.h"

static const cli_option options[] = {
    CLI_PROMPTS_OPTIONS,
    {"n", 1, false, "N", "most tokens to add; default: 64"},
    {"temperature", 1, false, "T",
        "0 always takes the most likely token; default: 0, or 1\n"
        "with --top-k, --top-p or --min-p"},
    {"top-k", 1, false, "K", "sample from the K most likely tokens"},
    {"top-p", 1, false, "P", "then from the smallest set with probability mass P"},
    {"min-p", 1, false, "P",
        "then from tokens with at least P times the top\n"
        "probability"},
    {"seed", 1, false, "S", "seed of the sampler, the same for every prompt;\ndefault: 0"},
    {"batch", 1, false, "N",
        "most prompts that are decoded together; default: 16;\n"
        "the tokens and what --json says of them do not depend\n"
        "on it, but run.chunk, run.n_rows and run.sequences do"},
    CLI_PLUGIN_OPTION("none; shows its results\nafter the prompt and after each token"),
    CLI_TARGET_OPTIONS("the top prediction"),
    CLI_INTERVENTION_OPTIONS,
    CLI_RUN_OPTIONS,
    {"json", 0, false, "",
        "print results.json with the text so far after the prompt\n"
        "and after each token, one object per line; of several\n"
        "prompts without plugins one object per prompt"},
    {"out", 1, false, "DIR",
        "write DIR/results.json with the whole text and the\n"
        "results of the last token, and DIR/tensors.safetensors;\n"
        "DIR must be new or empty"},
    CLI_TIME_OPTION,
    {0},
};

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
static psc_generation_end end_of_limit(const cli_generation *g, const cli_steps *steps) {
    return g->n < steps->generation.limit ? PSC_END_CONTEXT : PSC_END_LIMIT;
}

/* Draws the token after n others from row `last` of the last run; or sets the steps' end. */
static psc_status draw(psc_token *out, psc_session *session, int32_t last, long long n,
    cli_generation *g, cli_steps *steps, psc_error *error) {
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

/* The tokens after the prompt, which was run with the options `run`. The last one is
 * run only to show its step. A step is shown once the next token is drawn, so that the
 * last one says why it is. */
static psc_status continue_prompt(psc_session *session, const cli_prompt *prompt, cli_generation *g,
    const psc_run_options *run, cli_steps *steps, psc_error *error) {
    cli_text_stream stream = {.on_terminal = isatty(STDOUT_FILENO)};
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
        if (!steps->shown) cli_text_stream_token(&stream, model, token.id);
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
    cli_text_stream_end(&stream, !status && !steps->shown);
    return status;
}

static psc_status generate_tokens(psc_session *session, const cli_sources *sources,
    const cli_prompt *prompt, cli_generation *g, cli_steps *steps, psc_error *error) {
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

/* The prompt of the arguments, prompt i of several (prompts null: the only one); opens the model if
 * *model is null. */
static psc_status generate_one(psc_model **model, const cli_arguments *arguments,
    const cli_generation *given, cli_prompts *prompts, int32_t i, psc_error *error) {
    cli_generation how = *given, *g = &how;
    psc_session *session = NULL;
    cli_prompt prompt = {0};
    cli_sources sources = {0};
    cli_bos bos;
    cli_steps steps = {0};
    char place[CLI_PLACE];
    psc_status status = cli_bos_find(&bos, arguments, NULL, error);
    if (!status) status = cli_check_out(arguments, error);
    if (!status && g->n > 0) status = cli_steps_check(arguments, error);
    if (!status && !*model) status = cli_open_model(model, cli_value(arguments, "model"), error);
    cli_steps_open(&steps, *model, &g->sampler, g->n, arguments);
    steps.number = prompts ? i + 1 : 0;
    if (!status) status = cli_prompt_read(&prompt, *model, arguments, error);
    if (!status) status = cli_sources_read(&sources, *model, arguments, error);
    if (!status) status = cli_bos_add(&bos, *model, &prompt, &sources, error);
    if (!status) {
        const int32_t n_ctx = psc_model_get_info(*model)->n_ctx, room = n_ctx - prompt.n + 1;
        if (g->n > room) g->n = room; /* the last token drawn is not run */
        g->session_options.capacity = cli_sources_longest(&sources, prompt.n + (int32_t)g->n);
        if (g->session_options.capacity > n_ctx) g->session_options.capacity = n_ctx;
        status = psc_session_open(&session, *model, &g->session_options, error);
    }
    if (!status) status = cli_add_targets(session, arguments, error);
    if (!status) status = cli_interventions_add(session, arguments, error);
    if (!status) status = cli_add_given_plugins(session, arguments, error);
    if (!status) status = cli_sources_check(&sources, session, error);
    if (!status && prompts) cli_prompts_begin(prompts, i, arguments);
    if (!status) cli_bos_note(&bos, "the text");
    if (!status) cli_trap_notes(cli_prompts_place(place, prompts, i), &prompt, *model, arguments);
    if (!status) status = generate_tokens(session, &sources, &prompt, g, &steps, error);
    cli_steps_close(&steps);
    psc_session_close(&session);
    cli_sources_free(&sources);
    cli_prompt_free(&prompt);
    return status;
}

/* Each prompt as if it were the only one, one after the other. */
static psc_status generate_each(psc_model *model, cli_prompts *prompts,
    const cli_arguments *arguments, const cli_generation *g, psc_error *error) {
    const char *folder = cli_value(arguments, "out");
    psc_status status = PSC_OK;
    const bool made = folder && mkdir(folder, 0777) == 0;
    if (folder && !made && errno != EEXIST)
        status = psc_fail(error, PSC_ERROR_IO, "cannot make %s: %s", folder, strerror(errno));
    for (int32_t i = 0; !status && i < prompts->n; i++) {
        cli_arguments alone;
        if (i > 0) cli_time_start();
        status = cli_prompts_alone(&alone, prompts, i, arguments, error);
        if (!status) status = generate_one(&model, &alone, g, prompts, i, error);
        if (prompts->begun) status = cli_prompts_name(prompts, i, status, error);
        cli_prompts_drop(&alone);
    }
    if (status && made) (void)rmdir(folder); /* it stays when results are in it */
    return status;
}

static psc_status generate(
    const cli_arguments *arguments, const cli_generation *g, psc_error *error) {
    psc_model *model = NULL;
    cli_prompts prompts = {0};
    psc_status status = cli_prompts_read(&prompts, arguments, error);
    if (!status && !prompts.several) {
        status = generate_one(&model, arguments, g, NULL, 0, error);
    } else if (!status) {
        if (cli_has(arguments, "out"))
            status = psc_results_check_folder(cli_value(arguments, "out"), error);
        if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
        if (!status) status = cli_prompts_try(&prompts, model, arguments, error);
        if (!status)
            status = cli_prompts_are_plain(&prompts, arguments)
                         ? cli_prompts_together(g, &prompts, model, arguments, error)
                         : generate_each(model, &prompts, arguments, g, error);
    }
    cli_prompts_free(&prompts);
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
    cli_generation g = {.sampler = PSC_SAMPLER_INIT, .n = 64, .batch = CLI_TOGETHER};
    psc_error error = {0};
    int code = cli_prompts_check(arguments);
    if (!code) code = cli_session_options(&g.session_options, arguments);
    if (!code) code = cli_interventions_check(arguments);
    if (!code) code = cli_integer(&g.n, arguments, "n", 0, INT32_MAX);
    if (!code) code = cli_integer(&g.batch, arguments, "batch", 1, 4096);
    if (!code) code = read_sampler(&g.sampler, arguments);
    if (code) return code;
    return generate(arguments, &g, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_generate = {
    .name = "generate",
    .summary = "Continues a text until <|endoftext|>, the end of the context, or N tokens.",
    .usage = "[--model MODEL] (--text S | --file F | --tokens 1,2,3 | --prompts FILE) [options]",
    .notes =
        "Several prompts are decoded together; each has the tokens that it has alone. With --plugin,\n"
        "--out, targets or interventions they run one after the other.\n"
        "example:\n  pythiascope generate --text \"Once upon a time\" --n 40 "
        "--temperature 0.8 --top-p 0.95 --seed 7\n"
        "  pythiascope generate --text \"Once upon a time\" --n 8 --plugin lens --target \" a\"",
    .options = options,
    .run = run_generate,
};
