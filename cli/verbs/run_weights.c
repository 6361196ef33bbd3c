/* weights: the plugin `weights` over a model, without a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_folder.h"
#include "progress.h"
#include "prompt.h"
#include "setup.h"
#include "spread.h"

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"what", 1, false, "LIST",
        "what to analyze: frames, spectra, copying, composition,\n"
        "tokens, dual and heads, joined by + or by commas, or\n"
        "all; default: all but dual and heads"},
    {"token", 1, true, "T",
        "list the nearest tokens of T, text of one token or #ID;\n"
        "repeatable"},
    {"offset", 1, false, "N",
        "W_QK for a key N positions back; default: unrotated"},
    {"top", 1, false, "N", "tokens and heads listed; default: 8"},
    {"triples", 1, false, "N", "singular triples per head; default: 2"},
    CLI_SPREAD_OPTIONS,
    CLI_MACHINE_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

/* A plugin's target is a token here, and the sentence says so. */
static void name_token(psc_error *error) {
    static const char target[] = "target ";
    const psc_error said = *error;
    if (strncmp(said.message, target, sizeof target - 1) == 0)
        psc_fail(error, said.status, "--token %s", said.message + sizeof target - 1);
}

/* "next" and "top:1" are plain text here. */
static psc_status add_tokens(
    psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    int cursor = 0;
    const cli_given *given;
    while (!status && (given = cli_next(arguments, "token", &cursor))) {
        const char *token = given->values[0];
        if (!*token)
            return psc_fail(error, PSC_ERROR_INPUT,
                "--token: the text is empty; pass a text of one token, or #ID");
        const size_t bytes = strlen(token) + sizeof "text:";
        char *text = malloc(bytes);
        if (!text) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a token");
        snprintf(text, bytes, "%s%s", token[0] == '#' ? "" : "text:", token);
        status = psc_session_target(session, text, error);
        free(text);
        if (status) name_token(error);
    }
    return status;
}

static psc_status look(const cli_arguments *arguments, const cli_plugin *plugin,
    const psc_session_options *session_options, psc_error *error) {
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_status status = cli_check_out(arguments, error);
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status) status = psc_session_open(&session, model, session_options, error);
    if (!status) status = add_tokens(session, arguments, error);
    if (!status) status = cli_plugin_load(session, plugin, error);
    cli_progress_start("analyzing the weights");
    if (!status)
        status = psc_session_report_watched(session, NULL, cli_progress_update, NULL, error);
    cli_progress_stop();
    if (!status) status = cli_deliver(psc_session_results(session), arguments, error);
    psc_session_close(&session);
    psc_model_close(&model);
    return status;
}

static int run_weights(const cli_arguments *arguments) {
    static const char *const keys[] = {"offset", "top", "triples", NULL};
    psc_session_options session_options;
    psc_error error = {0};
    cli_plugin plugin = cli_plugin_of(arguments, "weights", keys);
    const int code = cli_session_options(&session_options, arguments);
    if (code) return code;
    session_options.accumulate = 1; /* a report without a run */
    session_options.capacity = 1;
    char *what = strdup(cli_value(arguments, "what") ? cli_value(arguments, "what") : "");
    if (!what) {
        psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for the options");
        return cli_fail(&error);
    }
    for (char *comma = what; (comma = strchr(comma, ','));) *comma = '+';
    if (cli_has(arguments, "what")) plugin.options[plugin.n++] = (psc_option){"what", what};
    const psc_status status = look(arguments, &plugin, &session_options, &error);
    free(what);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_weights = {
    .name = "weights",
    .summary = "Analyzes the weights alone: frames, spectra, copying, composition.",
    .usage = "[--model MODEL] [options]",
    .notes = CLI_CHECKPOINTS_NOTE "example:\n  pythiascope weights --token \" king\"\n"
                                  "  pythiascope weights --what composition --offset 1\n"
                                  "  pythiascope weights --what heads --out heads",
    .options = options,
    .run = run_weights,
};
