/* forms: the plugin `forms` over a list of word forms, perhaps beside a control model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "beside.h"
#include "embedded_model.h"
#include "form_list.h"
#include "prompt.h"
#include "setup.h"

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"control", 1, false, "DIR",
        "run this model, too, and show its figures beside"},
    {"treebank", 1, true, "FILE",
        "take the nouns, verbs and adjectives of a CoNLL-U file\n"
        "instead of a list; repeatable"},
    {"draws", 1, false, "N", "controls drawn per pair; default: 8"},
    {"seed", 1, false, "N", "of the drawn controls; default: 1"},
    {"memory", 1, false, "MIB", "most memory of the list's vectors; default: 2048"},
    {"batch", 1, false, "N",
        "forms per pass; default: 64; results do not depend\n"
        "on it"},
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

typedef struct forms_run {
    const cli_arguments *arguments;
    cli_plugin plugin;
    psc_session_options session_options;
    long long batch;
    char file[4096];        /* the list; "" with --treebank */
    const char **treebanks; /* [n] */
    int n_treebanks;
} forms_run;

static psc_status read_list(
    cli_form_list *out, const forms_run *r, const psc_model *model, psc_error *error) {
    if (r->n_treebanks > 0)
        return cli_form_list_collect(out, model, r->treebanks, r->n_treebanks, error);
    return cli_form_list_read(out, model, r->file, error);
}

/* Runs one model over the list and leaves its results in *session. */
static psc_status run_model(psc_model **model, psc_session **session, const forms_run *r,
    const char *folder, psc_error *error) {
    cli_form_list list = {0};
    psc_session_options session_options = r->session_options;
    psc_status status = cli_open_model(model, folder, error);
    if (!status) status = read_list(&list, r, *model, error);
    session_options.accumulate = 1; /* many runs, one report */
    session_options.n_sequences = (int32_t)r->batch;
    session_options.capacity = list.all.longest;
    if (!status) status = psc_session_open(session, *model, &session_options, error);
    if (!status) status = cli_plugin_load(*session, &r->plugin, error);
    if (!status) status = cli_sentences_run(&list.all, *session, (int32_t)r->batch, error);
    if (!status) status = psc_session_report(*session, NULL, error);
    cli_form_list_free(&list);
    return status;
}

static void show_beside(const psc_results *results, const cli_arguments *arguments) {
    static const cli_figure figures[] = {{"closer", "P(closer)", false, 3},
        {"rank", "1/rank", false, 1}, {"rank_offset", "1/rank, offset", false, 1}, {0}};
    cli_beside(results, arguments, "forms", "control.forms", figures);
}

static psc_status run_both(const forms_run *r, psc_error *error) {
    const char *control = cli_value(r->arguments, "control");
    psc_model *models[2] = {NULL, NULL};
    psc_session *sessions[2] = {NULL, NULL};
    psc_status status = cli_check_out(r->arguments, error);
    if (!status)
        status = run_model(&models[0], &sessions[0], r, cli_value(r->arguments, "model"), error);
    if (!status && control) {
        status = run_model(&models[1], &sessions[1], r, control, error);
        if (!status) status = psc_session_adopt(sessions[0], sessions[1], "control", error);
    }
    if (!status) status = cli_deliver(psc_session_results(sessions[0]), r->arguments, error);
    if (!status) show_beside(psc_session_results(sessions[0]), r->arguments);
    for (int i = 0; i < 2; i++) {
        psc_session_close(&sessions[i]);
        psc_model_close(&models[i]);
    }
    return status;
}

static psc_status find_list(forms_run *r, psc_error *error) {
    const cli_given *given;
    int cursor = 0;
    r->treebanks = calloc((size_t)r->arguments->n_given + 1, sizeof *r->treebanks);
    if (!r->treebanks)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the options");
    while ((given = cli_next(r->arguments, "treebank", &cursor)))
        r->treebanks[r->n_treebanks++] = given->values[0];
    if (r->n_treebanks > 0) return PSC_OK;
    if (r->arguments->n_operands == 0)
        return cli_find_english_forms(r->file, sizeof r->file, error);
    if (strlen(r->arguments->operands[0]) >= sizeof r->file)
        return psc_fail(error, PSC_ERROR_INPUT, "the path of the list is too long");
    memcpy(r->file, r->arguments->operands[0], strlen(r->arguments->operands[0]) + 1);
    return PSC_OK;
}

static int run_forms(const cli_arguments *arguments) {
    static const char *const keys[] = {"draws", "seed", "memory", NULL};
    forms_run r = {.arguments = arguments, .batch = 64};
    psc_error error = {0};
    r.plugin = cli_plugin_of(arguments, "forms", keys);
    int code = cli_session_options(&r.session_options, arguments);
    if (!code) code = cli_integer(&r.batch, arguments, "batch", 1, 4096);
    if (code) return code;
    if (arguments->n_operands > 0 && cli_has(arguments, "treebank"))
        return cli_usage(arguments->verb, "a FILE and --treebank are mutually exclusive");
    psc_status status = find_list(&r, &error);
    if (!status) status = run_both(&r, &error);
    free(r.treebanks);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_forms = {
    .name = "forms",
    .summary = "Measures how near the forms of one word are, level by level.",
    .usage = "[FILE] [--model MODEL] [options]",
    .notes =
        "A line of FILE has a form, its group (the lemma), its tag and perhaps a frequency, with\n"
        "tabs between them. Default: a small list of English forms.\n"
        "example:\n"
        "  pythiascope forms\n"
        "  pythiascope forms latin.tsv --model pythia-160m --control random-160m",
    .options = options,
    .max_operands = 1,
    .run = run_forms,
};
