/* prompt -> beginning token, prompt; once, with one note on stderr. */
#include "bos.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "report.h"
#include "setup.h"

static void look_at(cli_bos *out, const psc_plugin *plugin) {
    if (!out->plugin[0] && psc_plugin_needs_bos(plugin))
        snprintf(out->plugin, sizeof out->plugin, "%s", plugin->name);
}

/* argument: "NAME[:key=value,...]" */
static psc_status look_for(cli_bos *out, const char *argument, psc_error *error) {
    char *name = cli_plugin_name(argument);
    void *library = NULL;
    const psc_plugin *plugin;
    psc_error own = {PSC_OK, ""};
    if (!name) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a plugin's name");
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++)
        if (strcmp(plugin->name, name) == 0) look_at(out, plugin);
    if (strpbrk(name, "/.") && psc_plugin_load(&library, &plugin, name, &own) == PSC_OK)
        look_at(out, plugin);
    psc_plugin_unload(&library);
    free(name);
    return own.status == PSC_ERROR_MEMORY ? psc_fail(error, own.status, "%s", own.message) : PSC_OK;
}

psc_status cli_bos_find(
    cli_bos *out, const cli_arguments *arguments, const char *plugin, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    *out = (cli_bos){0};
    psc_status status = plugin ? look_for(out, plugin, error) : PSC_OK;
    while (!status && !plugin && (given = cli_next(arguments, "plugin", &cursor)))
        status = look_for(out, given->values[0], error);
    return status;
}

/* Ids of the caller are left as they are. */
static psc_status add_one(
    cli_bos *bos, cli_prompt *prompt, const psc_model *model, psc_error *error) {
    const int32_t first = psc_model_bos(model), n_ctx = psc_model_get_info(model)->n_ctx;
    if (first < 0 || prompt->tokens[0].id == first) return PSC_OK;
    if (!prompt->text)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s needs the beginning-of-text token in front of the ids; let them begin with %d",
            bos->plugin, (int)first);
    if (prompt->n == n_ctx)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the prompt has %d tokens with the %s that %s needs, more than the model's context of %d",
            prompt->n + 1, bos->token, bos->plugin, (int)n_ctx);
    psc_token *tokens = realloc(prompt->tokens, ((size_t)prompt->n + 1) * sizeof *tokens);
    if (!tokens) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens");
    memmove(tokens + 1, tokens, (size_t)prompt->n * sizeof *tokens);
    tokens[0] = (psc_token){first, 0, 0};
    prompt->tokens = tokens;
    prompt->n++;
    prompt->bos = bos->added = true;
    return PSC_OK;
}

psc_status cli_bos_add(cli_bos *bos, const psc_model *model, cli_prompt *prompt,
    cli_sources *sources, psc_error *error) {
    if (!bos->plugin[0]) return PSC_OK;
    cli_bos_name(bos, model);
    psc_status status = add_one(bos, prompt, model, error);
    for (int i = 0; !status && i < sources->n; i++) {
        char prefix[32];
        status = add_one(bos, &sources->prompts[i], model, error);
        snprintf(prefix, sizeof prefix, "source prompt %d", i + 1);
        if (status) psc_error_prefix(error, status, prefix);
    }
    return status;
}

void cli_bos_name(cli_bos *bos, const psc_model *model) {
    size_t bytes;
    const char *text = psc_model_token_bytes(model, psc_model_bos(model), &bytes);
    if (text)
        psc_report_escape(bos->token, sizeof bos->token, text, bytes);
    else
        snprintf(bos->token, sizeof bos->token, "#%d", (int)psc_model_bos(model));
}

void cli_bos_note(const cli_bos *bos, const char *what) {
    char sentence[320];
    if (!bos->added) return;
    snprintf(sentence, sizeof sentence, "note: %s needs %s in front of %s; it was added",
        bos->plugin, bos->token, what);
    cli_progress_line(sentence);
}
