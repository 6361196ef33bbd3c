/* analyze: one run over one text, with plugins and captures; a summary, JSON or a folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bos.h"
#include "cluster.h"
#include "metric_option.h"
#include "pairs_option.h"
#include "progress.h"
#include "prompts.h"
#include "setup.h"
#include "spread.h"
#include "spread_items.h"
#include "traps.h"

static const cli_option options[] = {
    CLI_PROMPTS_OPTIONS,
    CLI_TARGET_OPTIONS("the top prediction"),
    CLI_PLUGIN_OPTION("logits, ln, mlp, or\neffects with an intervention"),
    {"capture", 1, true, "POINT,...",
        "tensors to keep: blocks.0.attn.hook_pattern, ...;\n"
        "* stands for any characters, all for every point;\n"
        "POINT:rows=-1 or POINT:rows=1+4+7-9 keeps these rows;\n"
        "POINT_grad is the gradient there, with --metric"},
    {"metric", 1, false, "logit|log_prob[:rows=R]",
        "take the gradient of this sum over the targets, at\n"
        "rows last (default), all or N, counted from 0"},
    CLI_INTERVENTION_OPTIONS,
    CLI_PAIRS_OPTIONS,
    CLI_SPREAD_OPTIONS,
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};

static bool names_effects(const cli_arguments *arguments) {
    int cursor = 0;
    const cli_given *given;
    while ((given = cli_next(arguments, "plugin", &cursor)))
        if (cli_names_plugin(given->values[0], "effects")) return true;
    return false;
}

/* An analysis while it is prepared and run. */
typedef struct analysis {
    const cli_arguments *arguments; /* with one prompt */
    cli_prompts *prompts;           /* several; null: there is one */
    int32_t i;                      /* of the prompts */
    const cli_plugin *plugin;       /* the only one; null: those of the arguments */
    psc_session_options options;
    psc_model *model;
    cli_prompt prompt;
    cli_sources sources;
    cli_bos bos;
    cli_pairs pairs; /* in place of a prompt, if set */
    int code;        /* of prompts over several processes: not 0 after a sentence */
} analysis;

/* With --html and without --plugin, the page shows more plugins than the summary. */
static bool adds_to_page(const analysis *a) {
    return cli_has(a->arguments, "html") && !a->plugin && !cli_has(a->arguments, "plugin") &&
           !a->pairs.set;
}

/* "rows=all" where the logits and the lens of all rows are cheap beside the run; else null. */
static const char *page_rows(const analysis *a) {
    const psc_model_info *m = psc_model_get_info(a->model);
    const double products = (double)a->prompt.n * m->n_layers * m->d_model * m->d_vocab;
    return products <= 2e11 ? "rows=all" : NULL;
}

/* The default plugins, the first, logits, with the page's rows, so that every token has its
 * shares. */
static psc_status add_defaults_for_page(psc_session *session, const analysis *a, psc_error *error) {
    psc_status status = PSC_OK;
    for (int i = 0; !status && cli_default_plugins[i]; i++)
        status = psc_session_plugin(
            session, cli_default_plugins[i], i == 0 ? page_rows(a) : NULL, error);
    return status;
}

/* The lens and the attention patterns, where they are cheap beside the run. clean: of a second run,
 * for which no note is printed again. */
static psc_status add_for_page(
    psc_session *session, const analysis *a, bool clean, psc_error *error) {
    const psc_model_info *m = psc_model_get_info(a->model);
    const double rows = a->prompt.n, heads = (double)m->n_layers * m->n_heads;
    const bool every_row = page_rows(a) != NULL, patterns = heads * rows * rows * 4 <= 256e6;
    psc_status status = psc_session_plugin(session, "lens", page_rows(a), error);
    if (!status)
        status = psc_session_plugin(session, "attention", patterns ? "patterns=yes" : NULL, error);
    if (!every_row && !clean)
        cli_progress_line(
            "note: on the page logits and lens show the last token only, because the text is "
            "long; --plugin logits:rows=all --plugin lens:rows=all shows all");
    if (!patterns && !clean)
        cli_progress_line("note: the page lacks attention patterns, because the text is long; "
                          "--plugin attention:patterns=yes adds them");
    return status;
}

/* The next given plugin that neither edits nor compares with an unchanged run. */
static const char *next_unchanged(const cli_arguments *arguments, int *cursor) {
    const cli_given *given;
    while ((given = cli_next(arguments, "plugin", cursor)))
        if (!cli_names_plugin(given->values[0], "effects") && !cli_names_editor(given->values[0]))
            return given->values[0];
    return NULL;
}

static psc_status add_unchanged(
    psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    int cursor = 0;
    const char *plugin;
    while (!status && (plugin = next_unchanged(arguments, &cursor)))
        status = cli_add_plugin(session, plugin, error);
    return status;
}

/* On a page an intervention has the clean run beside it, if that shows anything, and if the page is
 * not of several checkpoints. */
static bool shows_clean(const analysis *a) {
    int cursor = 0;
    if (cli_is_collected() || a->plugin || a->pairs.set || !cli_has(a->arguments, "html") ||
        !cli_has_intervention(a->arguments))
        return false;
    return adds_to_page(a) || cli_has(a->arguments, "capture") ||
           next_unchanged(a->arguments, &cursor);
}

/* Editors first. With editors the run shows their effect, without the three decompositions.
 * *sections: how many the summary shows; 0: all. */
static psc_status add_plugins(
    psc_session *session, const analysis *a, bool clean, int32_t *sections, psc_error *error) {
    const cli_arguments *arguments = a->arguments;
    const bool edits = cli_has_intervention(arguments), chosen = cli_has(arguments, "plugin");
    psc_status status = clean ? PSC_OK : cli_interventions_add(session, arguments, error);
    if (a->plugin) return status ? status : cli_plugin_load(session, a->plugin, error);
    if (!status && edits && !clean && !names_effects(arguments))
        status = psc_session_plugin(session, "effects", NULL, error);
    if (a->pairs.set && !edits && !chosen)
        return psc_session_plugin(session, "logits", "level=head", error);
    if (!status && clean && chosen) status = add_unchanged(session, arguments, error);
    if (!status && !clean && !edits && adds_to_page(a))
        status = add_defaults_for_page(session, a, error);
    else if (!status && !clean && (!edits || chosen))
        status = cli_add_plugins(session, arguments, error);
    if (status || !adds_to_page(a)) return status;
    if (edits)
        *sections = cli_interventions_count(arguments) + 1;
    else
        while (cli_default_plugins[*sections]) ++*sections;
    if (edits) status = psc_session_plugin(session, "logits", page_rows(a), error);
    return status ? status : add_for_page(session, a, clean, error);
}

static psc_status add_captures(psc_session *session, const char *list, psc_error *error) {
    psc_status status = PSC_OK;
    while (!status) {
        char point[512];
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

/* The memory that the captures take, where it is not small. */
static void announce_captures(const psc_session *session, const analysis *a) {
    enum { SMALL = 1 << 20 };
    int32_t n = 0;
    const uint64_t bytes = psc_session_capture_bytes(session, a->prompt.n, &n);
    char line[120];
    if (bytes < SMALL) return;
    snprintf(line, sizeof line, "note: --capture keeps %d tensor%s of %.1f MiB in memory", (int)n,
        n == 1 ? "" : "s", (double)bytes / (1 << 20));
    cli_progress_line(line);
}

/* Adds targets, contrasts, plugins and captures as given. */
static psc_status set_up(
    psc_session *session, const analysis *a, bool clean, int32_t *sections, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    psc_status status = cli_add_targets(session, a->arguments, error);
    while (!status && (given = cli_next(a->arguments, "capture", &cursor)))
        status = add_captures(session, given->values[0], error);
    if (!status && !clean) announce_captures(session, a);
    return status ? status : add_plugins(session, a, clean, sections, error);
}

static psc_status run_input(
    psc_session *session, const analysis *a, psc_run_options *run_options, psc_error *error) {
    psc_input input = {0, a->prompt.n, a->prompt.tokens};
    psc_metric metric = PSC_METRIC_INIT;
    psc_status status = PSC_OK;
    if (!a->plugin) /* sweep has a metric of its own */
        status = cli_metric_read(&metric, a->arguments, &a->prompt, error);
    if (status) return status;
    if (metric.n_terms) {
        run_options->metric = &metric;
        cli_metric_announce(session, &metric, &a->prompt);
    }
    cli_progress_start("running");
    status = psc_session_run(session, &input, 1, run_options, error);
    cli_progress_stop();
    cli_metric_free(&metric);
    return status;
}

/* --- the run --------------------------------------------------------------------------------- */

static psc_status run(psc_session *session, const analysis *a, psc_error *error) {
    const cli_prompt *prompt = &a->prompt;
    psc_run_options run_options = PSC_RUN_OPTIONS_INIT;
    psc_status status = cli_run_before(session, &a->sources, prompt, &run_options.phase, error);
    if (status) return status;
    run_options.text = prompt->text;
    run_options.text_bytes = prompt->bytes;
    run_options.no_logits = 1;
    run_options.bos = prompt->bos;
    run_options.progress = cli_progress_update;
    return run_input(session, a, &run_options, error);
}

/* Prompts over several processes are named when they are delivered. */
static void begin_prompt(const analysis *a) {
    a->prompts->begun = true;
    if (!cli_is_collected()) cli_prompts_begin(a->prompts, a->i, a->arguments);
}

/* The results of the run, or of the clean run: the same plugins without interventions. */
static psc_status run_session(
    psc_results **out, int32_t *sections, const analysis *a, bool clean, psc_error *error) {
    char place[CLI_PLACE];
    psc_session *session = NULL;
    psc_status status = psc_session_open(&session, a->model, &a->options, error);
    if (!status && a->plugin && !cli_is_collected()) status = cli_spread_share(session, error);
    if (!status) status = set_up(session, a, clean, sections, error);
    if (!status && !clean) status = cli_sources_check(&a->sources, session, error);
    if (!status && !clean && a->prompts) begin_prompt(a);
    if (!status && !clean && a->i == 0) cli_bos_note(&a->bos, "the text");
    if (!status && !clean)
        cli_trap_notes(
            cli_prompts_place(place, a->prompts, a->i), &a->prompt, a->model, a->arguments);
    if (!status) status = run(session, a, error);
    if (!status) status = psc_session_take_results(out, session, error);
    psc_session_close(&session);
    return status;
}

static psc_status run_and_deliver(const analysis *a, psc_error *error) {
    psc_results *results = NULL, *clean = NULL;
    cli_delivery delivery = {.one_line = a->prompts != NULL};
    int32_t ignored = 0;
    char label[256];
    psc_status status = run_session(&results, &delivery.sections, a, false, error);
    if (!status && shows_clean(a)) {
        status = run_session(&clean, &ignored, a, true, error);
        cli_interventions_label(label, sizeof label, a->arguments);
        delivery.beside = clean;
        delivery.label = label;
        delivery.beside_label = "without interventions";
    }
    if (!status) status = cli_deliver_as(&delivery, results, a->arguments, error);
    psc_results_close(&results);
    psc_results_close(&clean);
    return status;
}

/* The prompt of a->arguments. */
static psc_status analyze_one(analysis *a, psc_error *error) {
    psc_status status = cli_prompt_read(&a->prompt, a->model, a->arguments, error);
    if (!status) status = cli_bos_add(&a->bos, a->model, &a->prompt, &a->sources, error);
    a->options.capacity = cli_sources_longest(&a->sources, a->prompt.n);
    if (!status) status = run_and_deliver(a, error);
    cli_prompt_free(&a->prompt);
    return status;
}

/* The set of --pairs. */
static psc_status analyze_pairs(analysis *a, psc_error *error) {
    psc_session *session = NULL;
    psc_results *results = NULL;
    cli_delivery delivery = {0};
    int32_t sections = 0;
    const bool bos = cli_has(a->arguments, "bos") || a->bos.plugin[0];
    psc_status status =
        cli_pairs_read(&a->pairs, a->model, cli_value(a->arguments, "pairs"), bos, error);
    if (!status) cli_pairs_size(&a->options, &a->pairs, a->model);
    if (!status) status = psc_session_open(&session, a->model, &a->options, error);
    if (!status && a->plugin && !cli_is_collected()) status = cli_spread_share(session, error);
    if (!status) status = cli_pairs_target(session, a->arguments, error);
    if (!status) status = set_up(session, a, false, &sections, error);
    if (!status && psc_pairs_have_source(a->pairs.set) && !psc_session_takes_source(session))
        cli_progress_line("note: no plugin of this command uses the corrupt prompts");
    if (!status) status = cli_pairs_run(&results, session, &a->pairs, error);
    delivery.tokens = cli_pairs_tokens(&a->pairs);
    if (!status) status = cli_deliver_as(&delivery, results, a->arguments, error);
    psc_results_close(&results);
    psc_session_close(&session);
    psc_pairs_close(&a->pairs.set);
    return status;
}

/* Pages of all prompts are checked before the work. */
static psc_status check_pages(
    const cli_prompts *prompts, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t i = 0; !status && i < prompts->n && cli_has(arguments, "html"); i++) {
        cli_arguments alone;
        status = cli_prompts_alone(&alone, prompts, i, arguments, error);
        if (!status) status = cli_check_page(&alone, error);
        cli_prompts_drop(&alone);
    }
    return status;
}

/* --- prompts over several processes ---------------------------------------------------------- */

typedef struct shared_prompts {
    analysis *a;
    cli_delivery *how; /* [n] */
    psc_results **results;
    int32_t shown; /* prompts delivered so far: they are delivered in order */
} shared_prompts;

/* Prompt i alone: computed, or with results delivered. */
static psc_status with_prompt(
    analysis *a, int32_t i, psc_results *results, const cli_delivery *how, psc_error *error) {
    const cli_prompts *prompts = a->prompts;
    const cli_arguments *arguments = a->arguments;
    cli_arguments alone;
    psc_status status = cli_prompts_alone(&alone, prompts, i, arguments, error);
    a->arguments = &alone;
    a->i = i;
    if (!status && results) status = cli_deliver_as(how, results, &alone, error);
    if (!status && !results) status = analyze_one(a, error);
    if (prompts->begun) status = cli_prompts_name(prompts, i, status, error);
    cli_prompts_drop(&alone);
    a->arguments = arguments;
    return status;
}

static int run_shared(int32_t i, void *payload) {
    shared_prompts *s = payload;
    psc_error error = {0};
    return with_prompt(s->a, i, NULL, NULL, &error) ? cli_fail(&error) : CLI_OK;
}

static psc_status take_shared(
    int32_t i, const cli_delivery *how, psc_results *results, void *payload, psc_error *error) {
    shared_prompts *s = payload;
    psc_status status = PSC_OK;
    s->how[i] = *how;
    s->results[i] = results;
    for (; !status && s->shown < s->a->prompts->n && s->results[s->shown]; s->shown++) {
        const int32_t k = s->shown;
        cli_prompts_begin(s->a->prompts, k, s->a->arguments);
        status = with_prompt(s->a, k, s->results[k], &s->how[k], error);
        psc_results_close(&s->results[k]);
        (void)fflush(stdout);
    }
    return status;
}

/* The exit code is *said's: the sentence of a failure has been printed. */
static psc_status analyze_shared(analysis *a, psc_error *error) {
    const cli_prompts *prompts = a->prompts;
    shared_prompts s = {.a = a};
    const cli_items items = {
        .n = prompts->n, .run = run_shared, .take = take_shared, .payload = &s};
    s.how = calloc((size_t)prompts->n, sizeof *s.how);
    s.results = calloc((size_t)prompts->n, sizeof *s.results);
    psc_status status = PSC_OK;
    if (!s.how || !s.results)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    else
        a->code = cli_items_run(&items);
    for (int32_t i = 0; s.results && i < prompts->n; i++) psc_results_close(&s.results[i]);
    free(s.how);
    free(s.results);
    return status;
}

/* Each prompt as if it were the only one, one after the other. */
static psc_status analyze_each(analysis *a, cli_prompts *prompts, psc_error *error) {
    const cli_arguments *arguments = a->arguments;
    const char *folder = cluster_is_worker() ? NULL : cli_value(arguments, "out");
    psc_status status = PSC_OK;
    const bool made = folder && mkdir(folder, 0777) == 0;
    if (folder && !made && errno != EEXIST)
        status = psc_fail(error, PSC_ERROR_IO, "cannot make %s: %s", folder, strerror(errno));
    a->prompts = prompts;
    if (!status && a->plugin && cluster_is_on()) return analyze_shared(a, error);
    for (int32_t i = 0; !status && i < prompts->n; i++) {
        if (i > 0) cli_time_start();
        status = with_prompt(a, i, NULL, NULL, error);
        if (fflush(stdout) != 0 && !status)
            status = psc_fail(
                error, PSC_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
    }
    if (status && made) (void)rmdir(folder); /* it stays when results are in it */
    return status;
}

static psc_status analyze(analysis *a, psc_error *error) {
    const cli_arguments *arguments = a->arguments;
    cli_prompts prompts = {0};
    psc_status status = cli_bos_find(&a->bos, arguments, a->plugin ? a->plugin->name : NULL, error);
    if (!status) status = cli_prompts_read(&prompts, arguments, error);
    if (!status && prompts.several && cli_is_collected())
        status = psc_fail(error, PSC_ERROR_INPUT,
            "several prompts do not go with several checkpoints; give one of them once");
    if (!status)
        status = prompts.several && cli_has(arguments, "out")
                     ? psc_results_check_folder(cli_value(arguments, "out"), error)
                 : prompts.several ? PSC_OK
                                   : cli_check_out(arguments, error);
    if (!status) status = check_pages(&prompts, arguments, error);
    if (!status) status = cli_open_model(&a->model, cli_value(arguments, "model"), error);
    if (!status) status = cli_prompts_try(&prompts, a->model, arguments, error);
    if (!status) status = cli_sources_read(&a->sources, a->model, arguments, error);
    if (!status && cli_has(arguments, "pairs"))
        status = analyze_pairs(a, error);
    else if (!status)
        status = prompts.several ? analyze_each(a, &prompts, error) : analyze_one(a, error);
    cli_sources_free(&a->sources);
    cli_prompts_free(&prompts);
    psc_model_close(&a->model);
    return status;
}

/* A set gives the arrays of plugins only. The metric of sweep is the plugin's own. */
static int check_set(const cli_arguments *arguments, const cli_plugin *plugin) {
    if (!cli_has(arguments, "pairs")) return CLI_OK;
    if (cli_has(arguments, "capture"))
        return cli_usage(arguments->verb,
            "--pairs and --capture are mutually exclusive; a set keeps no tensors");
    if (!plugin && cli_has(arguments, "metric"))
        return cli_usage(arguments->verb,
            "--pairs and --metric are mutually exclusive; --plugin attribution or gradient has the "
            "gradients of a set");
    return CLI_OK;
}

int cli_analyze(const cli_arguments *arguments, const cli_plugin *plugin) {
    analysis a = {.arguments = arguments, .plugin = plugin};
    psc_error error = {0};
    int code = cli_pairs_check(&a.pairs, arguments);
    if (!code) code = check_set(arguments, plugin);
    if (!code && !cli_has(arguments, "pairs")) code = cli_prompts_check(arguments);
    if (!code) code = cli_session_options(&a.options, arguments);
    if (!code) code = cli_interventions_check(arguments);
    if (code) return code;
    if (cli_has(arguments, "capture") && !cli_has(arguments, "out") &&
        !cli_has(arguments, "json") && !cli_has(arguments, "html"))
        cli_progress_line("note: --capture has no effect without --out, --json or --html");
    return analyze(&a, &error) ? cli_fail(&error) : a.code;
}

static int run_analyze(const cli_arguments *arguments) {
    return cli_analyze(arguments, NULL);
}

const cli_verb cli_verb_analyze = {
    .name = "analyze",
    .summary = "Runs the model on a text and shows what makes up the next token's logit.",
    .usage = "[--model MODEL] (--text S | --file F | --tokens 1,2,3 | --prompts FILE |\n"
             "       --pairs FILE) [options]",
    .notes = CLI_CHECKPOINTS_NOTE
    "With several texts --json prints an object per line, --out writes DIR/1, DIR/2,\n"
    "..., and --html page.html writes page-1.html, page-2.html, ... Each result is\n"
    "what the text alone gives.\n"
    "Without --plugin, --html adds lens:rows=all and attention:patterns=yes\n"
    "for the page, and logits takes all rows, also with an intervention, which\n"
    "has the run without it beside it. The summary shows what it shows without.\n"
    "example:\n  pythiascope analyze --text \"the Emerald City of\" --target \" Oz\" "
    "--plugin logits:level=neuron\n"
    "  pythiascope analyze --text \"the Emerald City of\" --html page.html",
    .options = options,
    .run = run_analyze,
};
