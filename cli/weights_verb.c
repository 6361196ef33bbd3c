/* weights: the plugin `weights` over a model, without a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_cache.h"
#include "cli_prompt.h"
#include "cli_session.h"
#include "report.h"

// clang-format off
static const cli_option options[] = {
    {"model", 1, false, "DIR", "without it the embedded model"},
    {"what", 1, false, "LIST",
        "of frames, spectra, copying, composition, tokens, dual,\n"
        "heads, separated by commas, or all; without it all but\n"
        "dual and heads"},
    {"token", 1, true, "T",
        "its nearest tokens are listed: a text of one token or\n"
        "#ID; may be repeated"},
    {"offset", 1, false, "N",
        "W_QK for a key N positions back; without it unrotated"},
    {"top", 1, false, "N", "tokens and heads listed; without it 8"},
    {"triples", 1, false, "N", "singular triples of each head; without it 2"},
    {"threads", 1, false, "N", "threads; without it one a core"},
    {"isa", 1, false, "NAME", "reference, avx2, avx512 or neon; without it\nthe best here"},
    CLI_CACHE_OPTIONS,
    {"json", 0, false, "", "print results.json instead of the summary"},
    {"out", 1, false, "DIR",
        "write DIR/results.json and DIR/tensors.safetensors,\n"
        "whole or not at all; DIR is new or empty"},
    {0},
};
// clang-format on

/* "next" and "top:1" are texts here. */
static psc_status add_tokens(
    psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    int cursor = 0;
    const cli_given *given;
    while (!status && (given = cli_next(arguments, "token", &cursor))) {
        const char *token = given->values[0];
        const size_t bytes = strlen(token) + sizeof "text:";
        char *text = malloc(bytes);
        if (!text) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a token");
        snprintf(text, bytes, "%s%s", token[0] == '#' ? "" : "text:", token);
        status = psc_session_target(session, text, error);
        free(text);
    }
    return status;
}

static psc_status look(const cli_arguments *arguments, const char *plugin,
    const psc_session_options *session_options, psc_error *error) {
    psc_model *model = NULL;
    psc_session *session = NULL;
    const char *folder = cli_value(arguments, "out");
    psc_status status = folder ? psc_report_check_folder(folder, error) : PSC_OK;
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status) status = psc_session_open(&session, model, session_options, error);
    if (!status) status = add_tokens(session, arguments, error);
    if (!status) status = cli_add_plugin(session, plugin, error);
    if (!status) status = psc_session_report(session, NULL, error);
    if (!status) status = cli_deliver(psc_session_results(session), arguments, false, error);
    psc_session_close(&session);
    psc_model_close(&model);
    return status;
}

static int run_weights(const cli_arguments *arguments) {
    static const char *const keys[] = {"what", "offset", "top", "triples"};
    psc_session_options session_options;
    psc_error error = {0};
    char plugin[320] = "weights";
    const int code = cli_session_options(&session_options, arguments);
    if (code) return code;
    session_options.accumulate = 1; /* a report without a run */
    session_options.capacity = 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = cli_value(arguments, keys[i]);
        const size_t used = strlen(plugin);
        if (!value) continue;
        if (strlen(value) > 100 || (i > 0 && strchr(value, ',')))
            return cli_usage(arguments->verb, "--%s '%.40s' is not known", keys[i], value);
        snprintf(plugin + used, sizeof plugin - used, "%c%s=%s",
            i && strchr(plugin, ':') ? ',' : ':', keys[i], value);
        for (char *comma = plugin + used + 1; i == 0 && (comma = strchr(comma, ','));) *comma = '+';
    }
    return look(arguments, plugin, &session_options, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_weights = {
    .name = "weights",
    .summary = "Shows what the weights alone say: frames, spectra, copying, composition.",
    .usage = "[--model DIR] [options]",
    .notes = "example:\n  pythiascope weights --token \" king\"\n"
             "  pythiascope weights --what composition --offset 1\n"
             "  pythiascope weights --what heads --out heads",
    .options = options,
    .run = run_weights,
};
