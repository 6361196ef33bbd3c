/* directions: the plugin `directions` over labelled prompts. Training prompts run first, class by
 * class; then those that are held out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prompt_classes.h"
#include "setup.h"

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"plus", 1, false, "FILE", "prompts of the positive class, one per line"},
    {"minus", 1, false, "FILE", "and of the negative class; with --plus instead of FILE"},
    {"at", 1, false, "AT",
        "where (needed): hook points and components, joined by\n"
        "+, such as blocks.*.hook_resid_post, L0H3"},
    {"rows", 1, false, "ROWS", "rows of each prompt: last, all, A or A-B; default: last"},
    {"of", 1, false, "WORD",
        "each: every row is an example; mean: a prompt's rows\n"
        "are averaged; default: each"},
    {"save", 1, false, "FILE",
        "write them into a safetensors file, which --direction\n"
        "reads as file="},
    {"components", 1, false, "K", "most principal components; default: 10"},
    {"ridge", 1, false, "R",
        "the probe's ridge, in units of the training examples;\n"
        "default: 0.01"},
    {"held-out", 1, false, "P", "the part of the prompts that tests; default: 0.2"},
    {"seed", 1, false, "N", "of the choice of these prompts; default: 1"},
    {"memory", 1, false, "MIB", "most MiB that sums may take; default: 1024"},
    {"bos", 0, false, "", "put the model's beginning token before each prompt"},
    {"batch", 1, false, "N",
        "prompts per pass; default: 32; results do not depend\n"
        "on it"},
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

typedef struct work {
    const cli_arguments *arguments;
    psc_session_options how;
    cli_classes classes;
    long long batch, seed;
    double part;
} work;

static psc_status load(const work *w, psc_session *session, psc_error *error) {
    static const char *const keys[] = {
        "at", "rows", "of", "save", "components", "ridge", "memory", NULL};
    cli_plugin plugin = cli_plugin_of(w->arguments, "directions", keys);
    size_t size = 1;
    char hash[24], split[80];
    for (int32_t i = 0; i < w->classes.n_labels; i++) size += strlen(w->classes.labels[i]) + 1;
    char *labels = malloc(size), *to = labels;
    if (!labels) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the labels");
    for (int32_t i = 0; i < w->classes.n_labels; i++)
        to += sprintf(to, "%s%s", i ? "\n" : "", w->classes.labels[i]);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)w->classes.hash);
    snprintf(split, sizeof split, "held out %g, seed %lld", w->part, w->seed);
    plugin.options[plugin.n++] = (psc_option){"labels", labels};
    plugin.options[plugin.n++] = (psc_option){"prompts", hash};
    plugin.options[plugin.n++] = (psc_option){"split", split};
    psc_status status = cli_plugin_load(session, &plugin, error);
    free(labels);
    return status;
}

static psc_status run_all(work *w, psc_error *error) {
    const cli_arguments *arguments = w->arguments;
    const bool bos = cli_has(arguments, "bos");
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_status status = cli_check_out(arguments, error);
    if (!status)
        status =
            cli_classes_read(&w->classes, arguments->n_operands ? arguments->operands[0] : NULL,
                cli_value(arguments, "plus"), cli_value(arguments, "minus"), error);
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status)
        status = cli_classes_split(&w->classes, model, w->part, (uint64_t)w->seed, bos, error);
    w->how.capacity = w->classes.longest;
    if (!status) status = psc_session_open(&session, model, &w->how, error);
    if (!status) status = load(w, session, error);
    if (!status) status = cli_classes_run(&w->classes, session, (int32_t)w->batch, error);
    if (!status) status = psc_session_report(session, NULL, error);
    if (!status) status = cli_deliver(psc_session_results(session), arguments, error);
    psc_session_close(&session);
    psc_model_close(&model);
    return status;
}

static int run_directions(const cli_arguments *arguments) {
    work w = {.arguments = arguments, .batch = 32, .seed = 1, .part = 0.2};
    psc_error error = {0};
    const bool sets = cli_has(arguments, "plus") || cli_has(arguments, "minus");
    int code = cli_session_options(&w.how, arguments);
    if (!code) code = cli_integer(&w.batch, arguments, "batch", 1, 4096);
    if (!code) code = cli_integer(&w.seed, arguments, "seed", 0, 1000000000);
    if (!code) code = cli_real(&w.part, arguments, "held-out", 0.0);
    if (code) return code;
    if (!(w.part < 1.0)) return cli_usage(arguments->verb, "--held-out must be below 1");
    if (sets &&
        (arguments->n_operands || !cli_value(arguments, "plus") || !cli_value(arguments, "minus")))
        return cli_usage(
            arguments->verb, "pass a FILE of labelled prompts, or both --plus and --minus");
    if (!sets && !arguments->n_operands)
        return cli_usage(
            arguments->verb, "no prompts; pass a .jsonl file with labels, or --plus and --minus");
    if (!cli_has(arguments, "at"))
        return cli_usage(
            arguments->verb, "--at is missing; name a place, such as blocks.3.hook_resid_post");
    w.how.accumulate = 1;
    w.how.n_sequences = (int32_t)w.batch;
    const psc_status status = run_all(&w, &error);
    cli_classes_free(&w.classes);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_directions = {
    .name = "directions",
    .summary = "Fits directions that tell labelled prompts apart, for --direction.",
    .usage = "[FILE | --plus FILE --minus FILE] --at AT [--save FILE] [options]",
    .notes =
        "A line of FILE is {\"text\": S, \"label\": L}. A line of the others is a prompt, or\n"
        "{\"text\": S}. - is standard input.\n"
        "example:\n"
        "  pythiascope directions --plus he.txt --minus she.txt --at 'blocks.*.hook_resid_post' \\\n"
        "      --save he-she.safetensors\n"
        "  pythiascope analyze --text 'When the king saw her' \\\n"
        "      --direction blocks.3.hook_resid_post:file=he-she.safetensors",
    .options = options,
    .max_operands = 1,
    .run = run_directions,
};
