/* One pass of the last checkpoint over the prompt, without plugins: argmax of the last row's
 * logits. */
#include "checkpoint_target.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bos.h"
#include "progress.h"
#include "prompt.h"
#include "report.h"

static const cli_option *option_named(const cli_verb *verb, const char *name) {
    for (const cli_option *option = verb->options; option->name; option++)
        if (strcmp(option->name, name) == 0) return option;
    return NULL;
}

static psc_status run(int32_t *id, psc_model *model, const cli_prompt *prompt,
    const psc_session_options *options, psc_error *error) {
    psc_session *session = NULL;
    psc_input input = {0, prompt->n, prompt->tokens};
    psc_run_options run_options = PSC_RUN_OPTIONS_INIT;
    psc_status status = psc_session_open(&session, model, options, error);
    run_options.progress = cli_progress_update;
    cli_progress_start("finding the target");
    if (!status) status = psc_session_run(session, &input, 1, &run_options, error);
    cli_progress_stop();
    const float *logits = status ? NULL : psc_session_logits(session, prompt->n - 1);
    *id = 0;
    for (int32_t i = 1; logits && i < psc_model_get_info(model)->d_vocab; i++)
        if (logits[i] > logits[*id]) *id = i;
    psc_session_close(&session);
    return status;
}

/* "text:S" if S is one token, else "#ID"; null without memory. */
static char *name_target(const psc_model *model, int32_t id) {
    size_t bytes = 0;
    const char *text = psc_model_token_bytes(model, id, &bytes);
    const size_t size = bytes + 24;
    char *value = malloc(size);
    psc_token *tokens = NULL;
    int32_t n = 0;
    psc_status status = PSC_OK;
    if (!value) return NULL;
    if (text && bytes > 0 && !memchr(text, 0, bytes))
        status = psc_model_encode(&tokens, &n, model, text, bytes, false, NULL);
    const bool one = n == 1 && tokens[0].id == id;
    psc_free(tokens);
    if (status == PSC_ERROR_MEMORY) {
        free(value);
        return NULL;
    }
    if (one)
        snprintf(value, size, "text:%.*s", (int)bytes, text);
    else
        snprintf(value, size, "#%d", (int)id);
    return value;
}

static void say(const cli_target_choice *choice, const char *label) {
    char shown[200], sentence[400];
    const char *text = choice->value;
    if (strncmp(text, "text:", 5) == 0) text += 5;
    psc_report_escape(shown, sizeof shown, text, strlen(text));
    snprintf(sentence, sizeof sentence,
        "note: the target is '%s', which %.100s expects; --target T chooses another", shown, label);
    cli_progress_line(sentence);
}

psc_status cli_target_choose(cli_target_choice *out, const cli_arguments *arguments,
    const cli_checkpoint_list *list, psc_error *error) {
    const cli_option *option = option_named(arguments->verb, "target");
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_model *model = NULL;
    cli_prompt prompt = {0};
    cli_sources sources = {0};
    cli_bos bos;
    int32_t id = 0;
    *out = (cli_target_choice){0};
    if (!option || !option_named(arguments->verb, "text") || cli_has(arguments, "target") ||
        cli_has(arguments, "contrast") || cli_has(arguments, "pairs"))
        return PSC_OK;
    if (cli_prompt_check(arguments) || cli_session_options(&options, arguments))
        return psc_fail(error, PSC_ERROR_INPUT, "see the sentence above");
    const char *plugin = strcmp(arguments->verb->name, "sweep") ? NULL : "sweep";
    psc_status status = cli_bos_find(&bos, arguments, plugin, error);
    if (!status) status = cli_open_model(&model, list->models[list->n - 1], error);
    if (!status) status = cli_prompt_read(&prompt, model, arguments, error);
    if (!status) status = cli_bos_add(&bos, model, &prompt, &sources, error);
    options.capacity = prompt.n;
    if (!status) status = run(&id, model, &prompt, &options, error);
    if (!status && !(out->value = name_target(model, id)))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the target");
    if (!status) {
        out->option = option;
        say(out, list->labels[list->n - 1]);
    }
    cli_prompt_free(&prompt);
    psc_model_close(&model);
    return status ? psc_error_prefix(error, status, list->labels[list->n - 1]) : PSC_OK;
}

const cli_option *cli_target_option(const cli_arguments *arguments) {
    return option_named(arguments->verb, "target");
}

void cli_target_free(cli_target_choice *choice) {
    free(choice->value);
    *choice = (cli_target_choice){0};
}
