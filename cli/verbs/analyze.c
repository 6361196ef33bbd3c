/* analyze: one run over one text, with plugins and captures; a summary, JSON or a folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bos.h"
#include "progress.h"
#include "prompt.h"
#include "setup.h"

static const cli_option options[] = {
    CLI_PROMPT_OPTIONS,
    CLI_TARGET_OPTIONS("the top prediction"),
    CLI_PLUGIN_OPTION("logits, ln, mlp, or\neffects with an intervention"),
    {"capture", 1, true, "POINT,...",
        "tensors for --out: blocks.0.attn.hook_pattern, ...;\n"
        "* matches any layer"},
    CLI_INTERVENTION_OPTIONS,
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};

static bool names_effects(const cli_arguments *arguments) {
    int cursor = 0;
    const cli_given *given;
    while ((given = cli_next(arguments, "plugin", &cursor)))
        if (strcspn(given->values[0], ":") == 7 && strncmp(given->values[0], "effects", 7) == 0)
            return true;
    return false;
}

/* With --html and neither --plugin nor an intervention, the page shows two more plugins. */
static bool adds_to_page(const cli_arguments *arguments, const cli_plugin *plugin) {
    return cli_has(arguments, "html") && !plugin && !cli_has(arguments, "plugin") &&
           !cli_has_intervention(arguments);
}

/* The lens of all rows and the attention patterns, where they are cheap beside the run. */
static psc_status add_for_page(
    psc_session *session, const psc_model *model, int32_t n_rows, psc_error *error) {
    const psc_model_info *m = psc_model_get_info(model);
    const double rows = n_rows, heads = (double)m->n_layers * m->n_heads;
    const double products = rows * m->n_layers * m->d_model * m->d_vocab;
    const bool every_row = products <= 2e11, patterns = heads * rows * rows * 4 <= 256e6;
    psc_status status = psc_session_plugin(session, "lens", every_row ? "rows=all" : NULL, error);
    if (!status)
        status = psc_session_plugin(session, "attention", patterns ? "patterns=yes" : NULL, error);
    if (!every_row)
        cli_progress_line(
            "note: on the page the lens shows the last token only, because the text is "
            "long; --plugin lens:rows=all shows all");
    if (!patterns)
        cli_progress_line("note: the page lacks attention patterns, because the text is long; "
                          "--plugin attention:patterns=yes adds them");
    return status;
}

/* Editors first. With editors the run shows their effect, without the three decompositions. */
static psc_status add_plugins(psc_session *session, const cli_arguments *arguments,
    const cli_plugin *plugin, psc_error *error) {
    psc_status status = cli_interventions_add(session, arguments, error);
    const bool edits = cli_has_intervention(arguments);
    if (plugin) return status ? status : cli_plugin_load(session, plugin, error);
    if (!status && edits && !names_effects(arguments))
        status = psc_session_plugin(session, "effects", NULL, error);
    if (!status && (!edits || cli_has(arguments, "plugin")))
        status = cli_add_plugins(session, arguments, error);
    return status;
}

static psc_status add_captures(psc_session *session, const char *list, psc_error *error) {
    psc_status status = PSC_OK;
    while (!status) {
        char point[128];
        size_t length = strcspn(list, ",");
        if (length == 0 || length >= sizeof point)
            return psc_fail(error, PSC_ERROR_INPUT, "--capture: '%.*s' is not a hook point",
                (int)(length < 60 ? length : 60), list);
        memcpy(point, list, length);
        point[length] = 0;
        status = psc_session_capture(session, point, error);
        if (!list[length]) break;
        list += length + 1;
    }
    return status;
}

/* Adds targets, contrasts, plugins and captures as given. */
static psc_status set_up(psc_session *session, const cli_arguments *arguments,
    const cli_plugin *plugin, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    psc_status status = cli_add_targets(session, arguments, error);
    while (!status && (given = cli_next(arguments, "capture", &cursor)))
        status = add_captures(session, given->values[0], error);
    return status ? status : add_plugins(session, arguments, plugin, error);
}

static psc_status run(
    psc_session *session, const cli_sources *sources, const cli_prompt *prompt, psc_error *error) {
    psc_input input = {0, prompt->n, prompt->tokens};
    psc_run_options run_options = PSC_RUN_OPTIONS_INIT;
    psc_status status = cli_run_before(session, sources, prompt, &run_options.phase, error);
    if (status) return status;
    run_options.text = prompt->text;
    run_options.text_bytes = prompt->bytes;
    run_options.no_logits = 1;
    run_options.bos = prompt->bos;
    run_options.progress = cli_progress_update;
    cli_progress_start("running");
    status = psc_session_run(session, &input, 1, &run_options, error);
    cli_progress_stop();
    return status;
}

static psc_status analyze(const cli_arguments *arguments, const cli_plugin *plugin,
    psc_session_options *session_options, psc_error *error) {
    psc_model *model = NULL;
    psc_session *session = NULL;
    cli_prompt prompt = {0};
    cli_sources sources = {0};
    cli_bos bos;
    cli_bos_find(&bos, arguments, plugin ? plugin->name : NULL);
    psc_status status = cli_check_out(arguments, error);
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status) status = cli_prompt_read(&prompt, model, arguments, error);
    if (!status) status = cli_sources_read(&sources, model, arguments, error);
    if (!status) status = cli_bos_add(&bos, model, &prompt, &sources, error);
    session_options->capacity = cli_sources_longest(&sources, prompt.n);
    if (!status) status = psc_session_open(&session, model, session_options, error);
    if (!status) status = set_up(session, arguments, plugin, error);
    cli_delivery delivery = {0};
    if (!status && adds_to_page(arguments, plugin)) {
        status = add_for_page(session, model, prompt.n, error);
        while (cli_default_plugins[delivery.sections]) delivery.sections++;
    }
    if (!status) cli_bos_note(&bos, "the text");
    if (!status) status = run(session, &sources, &prompt, error);
    if (!status) status = cli_deliver_as(&delivery, psc_session_results(session), arguments, error);
    psc_session_close(&session);
    cli_sources_free(&sources);
    cli_prompt_free(&prompt);
    psc_model_close(&model);
    return status;
}

int cli_analyze(const cli_arguments *arguments, const cli_plugin *plugin) {
    psc_session_options session_options;
    psc_error error = {0};
    int code = cli_prompt_check(arguments);
    if (!code) code = cli_session_options(&session_options, arguments);
    if (!code) code = cli_interventions_check(arguments);
    if (code) return code;
    if (cli_has(arguments, "capture") && !cli_has(arguments, "out"))
        fprintf(stderr, "pythiascope: note: --capture has no effect without --out\n");
    return analyze(arguments, plugin, &session_options, &error) ? cli_fail(&error) : CLI_OK;
}

static int run_analyze(const cli_arguments *arguments) {
    return cli_analyze(arguments, NULL);
}

const cli_verb cli_verb_analyze = {
    .name = "analyze",
    .summary = "Runs the model on a text and shows what makes up the next token's logit.",
    .usage = "[--model DIR] (--text S | --file F | --tokens 1,2,3) [options]",
    .notes = "Without --plugin and interventions, --html adds lens:rows=all and\n"
             "attention:patterns=yes for the page; the summary stays as it is.\n"
             "example:\n  pythiascope analyze --text \"the Emerald City of\" --target \" Oz\" "
             "--plugin logits:level=neuron\n"
             "  pythiascope analyze --text \"the Emerald City of\" --html page.html",
    .options = options,
    .run = run_analyze,
};
