/* treebank: the plugin `treebank` over the labelled sentences of a CoNLL-U file. Further sessions
 * beside it: other sentences for the choice of a level, windows of four
 * sentences, another model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "beside.h"
#include "input.h"
#include "prompt.h"
#include "sentences.h"
#include "setup.h"

enum { WINDOW = 4 }; /* sentences */

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"dev", 1, false, "FILE", "choose the level on these sentences, report on the others"},
    {"control", 1, false, "DIR", "also run this model, such as a random one, beside it"},
    {"levels", 1, false, "LIST", "levels, such as 1+2/3/L2H5; default: each layer"},
    {"level", 1, false, "LEVEL", "the level chosen before"},
    {"revision", 0, false, "", "also the trees of every prefix, of short sentences"},
    {"heads", 0, false, "", "also heads of spans, by knock-outs"},
    {"links", 0, false, "", "also links between units, by knock-outs"},
    {"comparisons", 0, false, "", "also trees that the literature proposes"},
    {"windows", 0, false, "", "also windows of four sentences"},
    {"plain", 1, false, "yes|no", "also trees over plain attention; default: yes"},
    {"limit", 1, false, "N", "tables of the first N sentences that count; default: all"},
    {"rows", 1, false, "N",
        "skip sentences of more rows, with <|endoftext|>;\n"
        "default: 128, or the context if that is smaller"},
    {"draws", 1, false, "N", "samples of the bootstrap; default: 1000"},
    {"seed", 1, false, "N", "of samples and random trees; default: 1"},
    {"batch", 1, false, "N",
        "sentences per pass; default: 64; results do not depend\n"
        "on it"},
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

typedef struct survey {
    const cli_arguments *arguments;
    psc_session_options how;
    long long rows, batch;
    char chosen[64]; /* the level chosen on --dev; "" none */
    int32_t *said;   /* [2] skipped sentences, windows of the last note */
} survey;

/* What one session does. */
typedef struct task {
    const char *what; /* the plugin's */
    const char *path; /* of the sentences */
    int32_t window;
    bool report_choice; /* knows the chosen level */
    bool again;         /* the same file with another model */
} task;

static psc_status load(const survey *s, const task *t, psc_session *session, psc_error *error) {
    static const char *const keys[] = {"levels", "plain", "limit", "draws", "seed", NULL};
    cli_plugin plugin = cli_plugin_of(s->arguments, "treebank", keys);
    plugin.options[plugin.n++] = (psc_option){"what", t->what};
    const char *level = *s->chosen ? s->chosen : cli_value(s->arguments, "level");
    if (t->report_choice && level) plugin.options[plugin.n++] = (psc_option){"level", level};
    return cli_plugin_load(session, &plugin, error);
}

static int32_t most_rows(const survey *s, const psc_model *model, int32_t window) {
    const int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    const long long rows = s->rows ? s->rows : window > 1 ? n_ctx : 128;
    return rows < n_ctx ? (int32_t)rows : n_ctx;
}

/* Not again for a control that skips as many of the same file. */
static void say_skipped(
    const survey *s, const cli_sentences *sentences, const task *t, int32_t rows) {
    int32_t *said = &s->said[t->window > 1];
    if (!t->again || *said != sentences->n_skipped)
        cli_sentences_say_skipped(sentences, t->path, t->window, rows);
    *said = sentences->n_skipped;
}

/* Opens a session and leaves the task's results in it. */
static psc_status evaluate(
    psc_session **out, const survey *s, psc_model *model, const task *t, psc_error *error) {
    cli_sentences sentences = {0};
    psc_session_options how = s->how;
    const int32_t rows = most_rows(s, model, t->window);
    psc_status status = cli_sentences_read(&sentences, model, t->path, t->window, rows, error);
    how.capacity = sentences.longest;
    how.n_sequences =
        sentences.n < s->batch ? (sentences.n > 0 ? sentences.n : 1) : (int32_t)s->batch;
    if (!status) status = psc_session_open(out, model, &how, error);
    if (!status) status = load(s, t, *out, error);
    if (!status) say_skipped(s, &sentences, t, rows);
    if (!status) status = cli_sentences_run(&sentences, *out, how.n_sequences, error);
    if (!status) status = psc_session_report(*out, NULL, error);
    cli_sentences_free(&sentences);
    return status;
}

/* Runs a task in a session of its own and shows its results beside those of `session`. */
static psc_status add_beside(psc_session *session, const survey *s, psc_model *model, const task *t,
    const char *prefix, psc_error *error) {
    psc_session *other = NULL;
    psc_status status = evaluate(&other, s, model, t, error);
    if (!status) status = psc_session_adopt(session, other, prefix, error);
    psc_session_close(&other);
    return status;
}

/* Evaluates --dev and remembers its best level. */
static psc_status choose(survey *s, psc_session **dev, psc_model *model, psc_error *error) {
    if (cli_input_same(s->arguments->operands[0], cli_value(s->arguments, "dev")))
        return psc_fail(error, PSC_ERROR_INPUT,
            "--dev %s is the same as the treebank; choose the level on other sentences",
            cli_value(s->arguments, "dev"));
    const task t = {"spans", cli_value(s->arguments, "dev"), 1, false, false};
    psc_result_value best = {0};
    int32_t section = 0;
    psc_status status = evaluate(dev, s, model, &t, error);
    if (status) return status;
    const psc_results *results = psc_session_results(*dev);
    status = psc_results_find_section(&section, results, "treebank", error);
    if (!status) status = psc_results_find_value(&best, results, section, "best_level", error);
    if (!status) snprintf(s->chosen, sizeof s->chosen, "%s", best.texts[0]);
    return status;
}

static psc_status add_control(
    psc_session *session, const survey *s, const task *sentences, psc_error *error) {
    psc_model *model = NULL;
    psc_status status = cli_open_model(&model, cli_value(s->arguments, "control"), error);
    const task windows = {"windows", sentences->path, WINDOW, false, true};
    task same = *sentences;
    same.again = true;
    if (!status) status = add_beside(session, s, model, &same, "control", error);
    if (!status && cli_has(s->arguments, "windows"))
        status = add_beside(session, s, model, &windows, "control-windows", error);
    psc_model_close(&model);
    return status;
}

/* The control's figures beside the model's. */
static void show_beside(const psc_results *results, const cli_arguments *arguments) {
    static const cli_figure figures[] = {
        {"f1", "F1", true, 0},
        {"other_f1", "other", true, 0},
        {"words", "words of several tokens, brackets", false, 0},
        {"pair_words", "words of two tokens, brackets", false, 0},
        {"pairs", "adjacent tokens of two words, brackets", false, 0},
        {"standing", "closed brackets that stand", false, 0},
        {"lag", "lag, tokens", false, 0},
        {"heads_reads_necessity", "head by reads is necessity's", false, 0},
        {"heads_reads_ud", "head by reads is UD's", false, 0},
        {"links_auroc", "AUROC of links for UD's edges", false, 0},
        {"heads_necessity_sufficiency", "head: necessity is sufficiency", false, 0},
        {"heads_last_necessity", "head: necessity is the last unit", false, 0},
        {"heads_necessity_ud", "head: necessity is UD's", false, 0},
        {"heads_sufficiency_ud", "head: sufficiency is UD's", false, 0},
        {"links_frozen_spearman", "links: frozen and causal, rank corr.", false, 0},
        {0},
    };
    static const cli_figure windows[] = {
        {"crossing", "brackets that cross a border", false, 0}, {0}};
    cli_beside(results, arguments, "treebank", "control.treebank", figures);
    cli_beside(results, arguments, "windows.treebank", "control-windows.treebank", windows);
}

static psc_status work(survey *s, psc_error *error) {
    const cli_arguments *arguments = s->arguments;
    const char *path = arguments->operands[0];
    char what[128];
    snprintf(what, sizeof what, "spans+words+shared%s%s%s%s",
        cli_has(arguments, "revision") ? "+revision" : "",
        cli_has(arguments, "heads") ? "+heads" : "", cli_has(arguments, "links") ? "+links" : "",
        cli_has(arguments, "comparisons") ? "+comparisons" : "");
    const task sentences = {what, path, 1, true, false};
    const task windows = {"windows", path, WINDOW, false, false};
    psc_model *model = NULL;
    psc_session *session = NULL, *dev = NULL;
    psc_status status = cli_check_out(arguments, error);
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status && cli_has(arguments, "dev")) status = choose(s, &dev, model, error);
    if (!status) status = evaluate(&session, s, model, &sentences, error);
    if (!status && dev) status = psc_session_adopt(session, dev, "dev", error);
    if (!status && cli_has(arguments, "windows"))
        status = add_beside(session, s, model, &windows, "windows", error);
    if (!status && cli_has(arguments, "control"))
        status = add_control(session, s, &sentences, error);
    if (!status) status = cli_deliver(psc_session_results(session), arguments, error);
    if (!status) show_beside(psc_session_results(session), arguments);
    psc_session_close(&dev);
    psc_session_close(&session);
    psc_model_close(&model);
    return status;
}

static int run_treebank(const cli_arguments *arguments) {
    int32_t said[2] = {0, 0};
    survey s = {.arguments = arguments, .batch = 64, .said = said};
    psc_error error = {0};
    int code = cli_session_options(&s.how, arguments);
    if (!code) code = cli_integer(&s.rows, arguments, "rows", 2, 1 << 20);
    if (!code) code = cli_integer(&s.batch, arguments, "batch", 1, 4096);
    if (code) return code;
    if (arguments->n_operands < 1)
        return cli_usage(arguments->verb, "no treebank; pass a CoNLL-U file");
    if (cli_has(arguments, "dev") && cli_has(arguments, "level"))
        return cli_usage(arguments->verb, "--dev chooses the level; leave out --level");
    s.how.accumulate = 1;
    return work(&s, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_treebank = {
    .name = "treebank",
    .summary = "Compares the model's brackets with the labelled sentences of a treebank.",
    .usage = "[--model MODEL] FILE.conllu [options]",
    .notes = "example:\n"
             "  pythiascope treebank en_ewt-ud-test.conllu --dev en_ewt-ud-dev.conllu\n"
             "  pythiascope treebank en_ewt-ud-test.conllu --control r1 --limit 500",
    .options = options,
    .max_operands = 1,
    .run = run_treebank,
};
