/* --ablate, --scale, --steer, --knockout, --patch, --direction: each loads the plugin of that name;
 * "AT:key=value" becomes its "at=AT,key=value". The source prompts and the unchanged prompt run
 * first. */
#include "interventions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "setup.h"

static const char *const kinds[] = {"ablate", "scale", "steer", "knockout", "patch", "direction"};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

bool cli_is_intervention(const char *option) {
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i], option) == 0) return true;
    return false;
}

static bool is_source(const char *option) {
    return strcmp(option, "source") == 0 || strcmp(option, "source-file") == 0 ||
           strcmp(option, "source-tokens") == 0;
}

bool cli_has_source(const cli_arguments *arguments) {
    for (int i = 0; i < arguments->n_given; i++)
        if (is_source(arguments->given[i].option->name)) return true;
    return false;
}

bool cli_has_intervention(const cli_arguments *arguments) {
    for (int i = 0; i < N_KINDS; i++)
        if (cli_has(arguments, kinds[i])) return true;
    return false;
}

int cli_interventions_check(const cli_arguments *arguments) {
    bool needed = cli_has_intervention(arguments) || cli_has(arguments, "plugin") ||
                  strcmp(arguments->verb->name, "sweep") == 0;
    for (int i = 0; i < arguments->n_given; i++)
        if (is_source(arguments->given[i].option->name) && !needed)
            return cli_usage(arguments->verb, "--%s needs --ablate, --steer or --patch",
                arguments->given[i].option->name);
    return CLI_OK;
}

int32_t cli_interventions_count(const cli_arguments *arguments) {
    int32_t n = 0;
    for (int i = 0; i < arguments->n_given; i++)
        n += cli_is_intervention(arguments->given[i].option->name);
    return n;
}

void cli_interventions_label(char *out, size_t size, const cli_arguments *arguments) {
    static const char more[] = " \xe2\x80\xa6";
    size_t used = (size_t)snprintf(out, size, "with");
    for (int i = 0; i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        if (!cli_is_intervention(given->option->name)) continue;
        const size_t n = strlen(given->option->name) + strlen(given->values[0]) + 4;
        if (used + n + sizeof more > size) {
            memcpy(out + used, more, sizeof more);
            return;
        }
        used += (size_t)snprintf(
            out + used, size - used, " --%s %s", given->option->name, given->values[0]);
    }
}

bool cli_names_editor(const char *argument) {
    for (int i = 0; i < N_KINDS; i++)
        if (cli_names_plugin(argument, kinds[i])) return true;
    return false;
}

/* --- source prompts -------------------------------------------------------------------------- */

psc_status cli_sources_read(
    cli_sources *out, const psc_model *model, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    *out = (cli_sources){0};
    out->prompts = calloc((size_t)arguments->n_given + 1, sizeof *out->prompts);
    if (!out->prompts) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for prompts");
    for (int i = 0; !status && i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        const char *name = given->option->name, *value = given->values[0];
        if (!is_source(name)) continue;
        cli_prompt_given from = {.bos = cli_has(arguments, "bos")};
        if (strcmp(name, "source") == 0) from.text = value;
        if (strcmp(name, "source-file") == 0) from.file = value;
        if (strcmp(name, "source-tokens") == 0) from.ids = value;
        cli_prompt *prompt = &out->prompts[out->n];
        status = cli_prompt_take(prompt, model, &from, error);
        if (status) {
            char prefix[32];
            snprintf(prefix, sizeof prefix, "source prompt %d", out->n + 1);
            psc_error_prefix(error, status, prefix);
            break;
        }
        out->n++;
    }
    return status;
}

int32_t cli_sources_longest(const cli_sources *sources, int32_t least) {
    for (int i = 0; i < sources->n; i++)
        if (sources->prompts[i].n > least) least = sources->prompts[i].n;
    return least;
}

psc_status cli_sources_check(
    const cli_sources *sources, const psc_session *session, psc_error *error) {
    if (sources->n == 0 || psc_session_takes_source(session)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "no plugin of this command uses a source prompt; leave --source out, or add do=patch, --patch "
        "or another intervention");
}

void cli_sources_free(cli_sources *sources) {
    for (int i = 0; i < sources->n; i++) cli_prompt_free(&sources->prompts[i]);
    free(sources->prompts);
    *sources = (cli_sources){0};
}

/* --- editors and runs ------------------------------------------------------------------------ */

psc_status cli_intervention_add(
    psc_session *session, const char *option, const char *place, psc_error *error) {
    const char *colon = strchr(place, ':');
    char *at = strndup(place, colon ? (size_t)(colon - place) : strlen(place));
    if (!at) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for options");
    const psc_option where = {"at", at};
    psc_status status =
        psc_session_plugin_options(session, option, colon ? colon + 1 : NULL, &where, 1, error);
    free(at);
    return status;
}

psc_status cli_interventions_add(
    psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    for (int i = 0; !status && i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        if (cli_is_intervention(given->option->name))
            status = cli_intervention_add(session, given->option->name, given->values[0], error);
    }
    return status;
}

static psc_status run_once(psc_session *session, const cli_prompt *prompt, int32_t phase,
    int32_t source, psc_error *error) {
    psc_input input = {0, prompt->n, prompt->tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = prompt->text;
    options.text_bytes = prompt->bytes;
    options.no_logits = 1;
    options.progress = cli_progress_update;
    options.phase = phase;
    options.source = source;
    cli_progress_start(
        phase == PSC_PHASE_SOURCE ? "running a source prompt" : "running the unchanged prompt");
    psc_status status = psc_session_run(session, &input, 1, &options, error);
    cli_progress_stop();
    psc_session_truncate(session, 0, 0);
    return status;
}

psc_status cli_run_before(psc_session *session, const cli_sources *sources,
    const cli_prompt *prompt, int32_t *phase, psc_error *error) {
    psc_status status = PSC_OK;
    *phase = PSC_PHASE_ONLY;
    if (!psc_session_has_phases(session)) return PSC_OK;
    *phase = PSC_PHASE_CHANGED;
    for (int i = 0; !status && i < sources->n; i++)
        status = run_once(session, &sources->prompts[i], PSC_PHASE_SOURCE, i, error);
    return status ? status : run_once(session, prompt, PSC_PHASE_BASE, 0, error);
}
