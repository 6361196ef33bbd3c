/* The steps of generate: a line for the token, then the plugins' sections;
 * or an object per line. */
#include "steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "setup.h"
#include "typed.h"

void cli_steps_open(cli_steps *out, const psc_model *model, const psc_sampler *sampler,
    int64_t limit, const cli_arguments *arguments) {
    const psc_strategy *strategy = &sampler->strategy;
    *out = (cli_steps){.arguments = arguments, .model = model};
    out->json = cli_has(arguments, "json");
    out->shown = out->json || cli_has(arguments, "plugin") || cli_has(arguments, "out");
    out->generation = (psc_generation){.struct_size = sizeof out->generation,
        .limit = limit,
        .end = PSC_END_NONE,
        .seed = sampler->seed,
        .temperature = strategy->temperature,
        .top_p = strategy->top_p,
        .min_p = strategy->min_p,
        .top_k = strategy->top_k};
}

void cli_steps_close(cli_steps *steps) {
    free(steps->text);
    free(steps->drawn);
    free(steps->command);
    steps->text = steps->command = NULL;
    steps->drawn = NULL;
}

/* --- what a growing text cannot have ---------------------------------------------------------- */

/* What needs the whole text in one run: a plugin, or an option of one. */
static const struct {
    const char *plugin, *option; /* option null: the plugin, with any */
} whole_text[] = {
    {"edges", NULL},
    {"effects", NULL},
    {"frozen", NULL},
    {"graph", NULL},
    {"roles", NULL},
    {"attribution", "over=edges"},
    {"sweep", "over=edges"},
    {"spans", "heads=causal"},
    {"spans", "heads=residual"},
    {"spans", "links=causal"},
    {"spans", "links=frozen"},
};

/* Whether "NAME:key=value,..." has the option (null: any), or begins a value of several words with
 * it. */
static bool has_option(const char *argument, const char *plugin, const char *option) {
    const size_t name = strlen(plugin), n = option ? strlen(option) : 0;
    if (strncmp(argument, plugin, name) != 0 || !strchr(":", argument[name])) return false;
    if (!option || !argument[name]) return !option;
    for (const char *at = argument + name; at; at = strchr(at + 1, ','))
        if (strncmp(at + 1, option, n) == 0 && strchr(",+", at[1 + n])) return true;
    return false;
}

psc_status cli_steps_check(const cli_arguments *arguments, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    while ((given = cli_next(arguments, "plugin", &cursor)))
        for (size_t i = 0; i < sizeof whole_text / sizeof *whole_text; i++)
            if (has_option(given->values[0], whole_text[i].plugin, whole_text[i].option))
                return psc_fail(error, PSC_ERROR_INPUT,
                    "plugin %s: %s needs the whole text in one run, which generate does not have; "
                    "leave it out, or use analyze",
                    whole_text[i].plugin, whole_text[i].option ? whole_text[i].option : "it");
    return PSC_OK;
}

/* --- the text so far ------------------------------------------------------------------------- */

static psc_status append(cli_steps *steps, const char *bytes, size_t n, psc_error *error) {
    if (steps->bytes + n + 1 > steps->room) {
        const size_t room = 2 * (steps->bytes + n + 1);
        char *more = realloc(steps->text, room);
        if (!more) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the text");
        steps->text = more;
        steps->room = room;
    }
    if (n > 0) memcpy(steps->text + steps->bytes, bytes, n);
    steps->bytes += n;
    steps->text[steps->bytes] = 0;
    return PSC_OK;
}

psc_status cli_steps_prompt(cli_steps *steps, const cli_prompt *prompt, psc_error *error) {
    steps->n_prompt = prompt->n;
    if (!steps->shown || !prompt->text) return PSC_OK;
    return append(steps, prompt->text, prompt->bytes, error);
}

/* Room for one more drawn token. */
static psc_status reserve(cli_steps *steps, psc_error *error) {
    if (steps->n < steps->room_drawn) return PSC_OK;
    const int32_t room = steps->room_drawn ? 2 * steps->room_drawn : 64;
    psc_generated_token *more = realloc(steps->drawn, (size_t)room * sizeof *more);
    if (!more) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens");
    steps->drawn = more;
    steps->room_drawn = room;
    return PSC_OK;
}

psc_status cli_steps_token(cli_steps *steps, const psc_session *session, int32_t index,
    psc_token *token, psc_error *error) {
    psc_status status = reserve(steps, error);
    if (!status)
        status = psc_session_token(&steps->drawn[steps->n], session, index, token->id, error);
    if (status) return status;
    const psc_generated_token *drawn = &steps->drawn[steps->n++];
    if (!steps->text) return PSC_OK;
    token->start = (uint32_t)steps->bytes;
    status = append(steps, drawn->bytes, drawn->n_bytes, error);
    token->end = (uint32_t)steps->bytes;
    return status;
}

/* --- output ---------------------------------------------------------------------------------- */

/* The token in quotes, safe for a terminal; #ID without a text. */
static void print_token(const cli_steps *steps, const psc_token *token) {
    char shown[400];
    size_t n = 0;
    const char *bytes = psc_model_token_bytes(steps->model, token->id, &n);
    if (!bytes) {
        printf("#%d", (int)token->id);
        return;
    }
    psc_report_escape(shown, sizeof shown, bytes, n);
    printf("'%s'", shown);
}

/* The options of results.json for the text so far. */
static psc_status describe(psc_format_options *out, cli_steps *steps, psc_error *error) {
    psc_generation *g = &steps->generation;
    g->n = steps->n;
    g->tokens = steps->drawn;
    g->text = steps->text;
    g->text_bytes = steps->bytes;
    if (!steps->command) steps->command = cli_command(steps->arguments);
    if (!steps->command)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the command");
    *out = (psc_format_options)PSC_FORMAT_OPTIONS_INIT;
    out->command = steps->command;
    out->generation = g;
    return PSC_OK;
}

psc_status cli_steps_show(
    cli_steps *steps, const psc_session *session, const psc_token *token, psc_error *error) {
    psc_format_options options;
    psc_status status = describe(&options, steps, error);
    if (status) return status;
    options.no_head = options.one_line = 1;
    options.prompt = steps->number;
    const psc_results *results = psc_session_results(session);
    const int32_t length = psc_session_length(session, 0);
    if (!steps->json) {
        printf("%s", token ? "\n" : "");
        if (token) {
            printf("@%d ", (int)length - 1);
            print_token(steps, token);
            putchar('\n');
        } else {
            printf("the prompt, %d tokens\n", (int)length);
        }
    }
    status = psc_results_write(
        results, steps->json ? PSC_FORMAT_JSON : PSC_FORMAT_TEXT, &options, stdout, error);
    if (fflush(stdout) != 0 && !status)
        status =
            psc_fail(error, PSC_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
    return status;
}

psc_status cli_steps_show_prompt(
    cli_steps *steps, const psc_session *session, int32_t number, psc_error *error) {
    psc_format_options options;
    psc_status status = describe(&options, steps, error);
    if (status) return status;
    options.one_line = options.generation_only = 1;
    options.prompt = number;
    return psc_results_write(
        psc_session_results(session), PSC_FORMAT_JSON, &options, stdout, error);
}

psc_status cli_steps_show_last(
    cli_steps *steps, const psc_session *session, const psc_token *token, psc_error *error) {
    if (steps->json) return cli_steps_show(steps, session, token, error);
    putchar('\n');
    print_token(steps, token);
    printf(", beyond the model's context\n");
    return PSC_OK;
}

psc_status cli_steps_error(const cli_steps *steps, psc_status status, psc_error *error) {
    const psc_error said = *error;
    if (steps->n == 0 || strncmp(said.message, "plugin ", 7) != 0) return status;
    return psc_fail(error, status,
        "%s (token %d after the prompt: generate runs it alone; analyze runs a whole text)",
        said.message, (int)steps->n);
}

psc_status cli_steps_end(cli_steps *steps, const psc_session *session, psc_error *error) {
    const psc_results *results = psc_session_results(session);
    psc_format_options options;
    psc_result_time time;
    psc_status status = describe(&options, steps, error);
    options.time = cli_time_stop(&time, steps->n_prompt + steps->n, steps->arguments);
    return status ? status : cli_write_out(results, &options, steps->arguments, error);
}
