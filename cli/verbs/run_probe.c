/* probe: the plugin `probe` over two files of labelled sentences. The first trains, the second
 * tests. A run that shows the training labels comes before; --control repeats all with another
 * model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "beside.h"
#include "input.h"
#include "prompt.h"
#include "say.h"
#include "sentences.h"
#include "setup.h"
#include "spans_file.h"

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"test", 1, false, "FILE", "test on these sentences (needed)"},
    {"control", 1, false, "DIR", "also run this model, such as a random one, beside it"},
    {"tasks", 1, false, "LIST",
        "labels to predict, joined by +: upos, number, tense,\n"
        "role, lemma, question, imperative, quotation, mention,\n"
        "feat:NAME; default: all but feat, of JSONL all that it\n"
        "has"},
    {"classes", 1, false, "N", "most classes of a task, the most frequent; default: 300"},
    {"ridge", 1, false, "R", "the ridge, in units of the training rows; default: 0.01"},
    {"least", 1, false, "N", "least units of a sentence, without punctuation; default: 3"},
    {"most", 1, false, "N", "most units of a sentence; default: 40"},
    {"memory", 1, false, "MIB", "most MiB that sums may take; default: 1024"},
    {"window", 1, false, "N", "sentences per sequence; default: 1"},
    {"rows", 1, false, "N",
        "skip sequences of more rows, with <|endoftext|>;\n"
        "default: 128, or the context with --window"},
    {"batch", 1, false, "N",
        "sequences per pass; default: 32; results do not depend\n"
        "on it"},
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

typedef struct survey {
    const cli_arguments *arguments;
    psc_session_options how;
    long long window, rows, batch;
    const char *train, *test;
    cli_spans spans[2]; /* of JSONL files: train, test */
    char *tasks;        /* of a JSONL file; null: the option's or the default */
} survey;

/* --- the files ------------------------------------------------------------------------------- */

static psc_status check_apart(const survey *s, psc_error *error) {
    if (!cli_input_same(s->train, s->test)) return PSC_OK; /* reading says what is unreadable */
    return psc_fail(error, PSC_ERROR_INPUT,
        "--test %s is the same as the training file; test on other sentences", s->test);
}

/* tasks= for the tasks of a JSONL file: "feat:a+feat:b". */
static psc_status name_tasks(survey *s, psc_error *error) {
    const cli_spans *spans = &s->spans[0];
    s->tasks = calloc((size_t)spans->n_tasks + 1, sizeof spans->tasks[0] + 6);
    if (!s->tasks) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tasks");
    char *to = s->tasks;
    for (int32_t i = 0; i < spans->n_tasks; i++)
        to += sprintf(to, "%sfeat:%s", i ? "+" : "", spans->tasks[i]);
    return PSC_OK;
}

static psc_status read_spans(survey *s, psc_error *error) {
    if (cli_spans_is(s->train) != cli_spans_is(s->test))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s and %s: use two CoNLL-U files or two .jsonl files", s->train, s->test);
    if (!cli_spans_is(s->train)) return PSC_OK;
    psc_status status = cli_spans_read(&s->spans[0], s->train, error);
    if (!status) status = cli_spans_read(&s->spans[1], s->test, error);
    if (!status && !cli_has(s->arguments, "tasks")) status = name_tasks(s, error);
    return status;
}

static psc_status read_sentences(cli_sentences *out, const survey *s, const psc_model *model,
    int which, bool say, psc_error *error) {
    const char *path = which ? s->test : s->train;
    const cli_spans *spans = &s->spans[which];
    const int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    const long long wanted = s->rows ? s->rows : s->window > 1 || spans->n ? n_ctx : 128;
    const int32_t rows = wanted < n_ctx ? (int32_t)wanted : n_ctx, window = (int32_t)s->window;
    psc_status status = spans->n ? cli_sentences_take(out, model, path, spans->sentences, spans->n,
                                       window, rows, error)
                                 : cli_sentences_read(out, model, path, window, rows, error);
    if (!status && say) cli_sentences_say_skipped(out, path, window, rows);
    return status;
}

/* --- sentences in both files ----------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Says how many test sentences have the text of a training sentence. */
static psc_status say_repeated(
    const cli_sentences *train, const cli_sentences *test, psc_error *error) {
    const char **texts = calloc((size_t)train->n_sentences + 1, sizeof *texts);
    int32_t n = 0;
    if (!texts) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the sentences");
    for (int32_t i = 0; i < train->n_sentences; i++) texts[i] = train->sentences[i].text;
    qsort(texts, (size_t)train->n_sentences, sizeof *texts, by_text);
    for (int32_t i = 0; i < test->n_sentences; i++)
        n += bsearch(&test->sentences[i].text, texts, (size_t)train->n_sentences, sizeof *texts,
                 by_text) != NULL;
    free(texts);
    if (n)
        cli_say("note: %d of %d test sentences have the text of a training sentence", (int)n,
            (int)test->n_sentences);
    return PSC_OK;
}

/* --- the work -------------------------------------------------------------------------------- */

static psc_status load(const survey *s, psc_session *session, psc_error *error) {
    static const char *const keys[] = {
        "tasks", "classes", "ridge", "least", "most", "memory", NULL};
    cli_plugin plugin = cli_plugin_of(s->arguments, "probe", keys);
    if (s->tasks) plugin.options[plugin.n++] = (psc_option){"tasks", s->tasks};
    if (s->spans[0].n) plugin.options[plugin.n++] = (psc_option){"units", "spans"};
    return cli_plugin_load(session, &plugin, error);
}

static psc_status run_both(const cli_sentences *train, const cli_sentences *test,
    psc_session *session, int32_t batch, psc_error *error) {
    psc_status status = cli_sentences_show_labels(train, session, 0, error);
    if (!status) status = cli_sentences_run_as(train, session, batch, PSC_PHASE_SOURCE, 1, error);
    if (!status) status = cli_sentences_run(test, session, batch, error);
    return status ? status : psc_session_report(session, NULL, error);
}

/* Opens a session and leaves the results of one model in it. */
static psc_status evaluate(
    psc_session **out, const survey *s, psc_model *model, bool first, psc_error *error) {
    cli_sentences train = {0}, test = {0};
    psc_session_options how = s->how;
    psc_status status = read_sentences(&train, s, model, 0, first, error);
    if (!status) status = read_sentences(&test, s, model, 1, first, error);
    how.capacity = train.longest > test.longest ? train.longest : test.longest;
    how.n_sequences = (int32_t)s->batch;
    if (!status) status = psc_session_open(out, model, &how, error);
    if (!status) status = load(s, *out, error);
    if (!status && first) status = say_repeated(&train, &test, error);
    if (!status) status = run_both(&train, &test, *out, how.n_sequences, error);
    cli_sentences_free(&test);
    cli_sentences_free(&train);
    return status;
}

static psc_status add_control(psc_session *session, const survey *s, psc_error *error) {
    psc_model *model = NULL;
    psc_session *other = NULL;
    psc_status status = cli_open_model(&model, cli_value(s->arguments, "control"), error);
    if (!status) status = evaluate(&other, s, model, false, error);
    if (!status) status = psc_session_adopt(session, other, "control", error);
    psc_session_close(&other);
    psc_model_close(&model);
    return status;
}

static void show_beside(const psc_results *results, const cli_arguments *arguments) {
    static const cli_figure figures[] = {
        {"accuracy", "accuracy", false, 0}, {"auroc", "AUROC", false, 0}, {0}};
    cli_beside(results, arguments, "probe", "control.probe", figures);
}

static psc_status work(survey *s, psc_error *error) {
    const cli_arguments *arguments = s->arguments;
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_status status = cli_check_out(arguments, error);
    if (!status) status = check_apart(s, error);
    if (!status) status = read_spans(s, error);
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status) status = evaluate(&session, s, model, true, error);
    if (!status && cli_has(arguments, "control")) status = add_control(session, s, error);
    if (!status) status = cli_deliver(psc_session_results(session), arguments, error);
    if (!status) show_beside(psc_session_results(session), arguments);
    psc_session_close(&session);
    psc_model_close(&model);
    return status;
}

static int run_probe(const cli_arguments *arguments) {
    survey s = {.arguments = arguments, .window = 1, .batch = 32};
    psc_error error = {0};
    int code = cli_session_options(&s.how, arguments);
    if (!code) code = cli_integer(&s.window, arguments, "window", 1, 1000);
    if (!code) code = cli_integer(&s.rows, arguments, "rows", 2, 1 << 20);
    if (!code) code = cli_integer(&s.batch, arguments, "batch", 1, 4096);
    if (code) return code;
    s.test = cli_value(arguments, "test");
    if (arguments->n_operands < 1)
        return cli_usage(arguments->verb, "no training sentences; pass a CoNLL-U or .jsonl file");
    if (!s.test) return cli_usage(arguments->verb, "--test is missing; pass other sentences");
    s.train = arguments->operands[0];
    s.how.accumulate = 1;
    const psc_status status = work(&s, &error);
    cli_spans_free(&s.spans[0]);
    cli_spans_free(&s.spans[1]);
    free(s.tasks);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_probe = {
    .name = "probe",
    .summary = "Shows what each level knows: linear probes for labels of words and sentences.",
    .usage = "[--model MODEL] TRAIN --test FILE [options]",
    .notes =
        "TRAIN and FILE are CoNLL-U files, or .jsonl files with labelled spans, a line each:\n"
        "  {\"text\": \"Anna ran\", \"spans\": [{\"start\": 0, \"end\": 4, \"label\": \"person\"}]}\n"
        "example:\n"
        "  pythiascope probe en_ewt-ud-dev.conllu --test en_ewt-ud-test.conllu --control r1",
    .options = options,
    .max_operands = 1,
    .run = run_probe,
};
