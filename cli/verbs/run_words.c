/* words: the plugin `words` over a text, CoNLL-U sentences or a corpus. Each model runs twice: over
 * the texts as they are, and over their words tokenized alone, without spaces. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "beside.h"
#include "progress.h"
#include "prompt.h"
#include "psc_corpus.h"
#include "say.h"
#include "setup.h"
#include "word_texts.h"

// clang-format off
static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"control", 1, false, "DIR",
        "run this model, too, and show its figures beside"},
    {"text", 1, false, "S", "the text"},
    {"file", 1, false, "F", "read the text from a file; - is standard input"},
    {"treebank", 1, false, "FILE", "read sentences and words from a CoNLL-U file"},
    {"rows", 1, false, "A-B",
        "only sentences of A to B tokens with <|endoftext|>;\n"
        "this option and the next two need --treebank"},
    {"units", 1, false, "A-B", "only sentences of A to B words without punctuation"},
    {"limit", 1, false, "N", "the first N of these sentences"},
    {"words", 1, false, "WHICH",
        "words that count: all, or letters: only words of letters;\n"
        "default: all"},
    {"levels", 1, false, "LIST", "levels, such as 1+2/3/L2H5; default: each layer"},
    {"top", 1, false, "N", "pairs of tokens listed; default: 6"},
    {"memory", 1, false, "MIB", "most memory of the reads; default: 1024"},
    {"window", 1, false, "W", "tokens per window of a corpus; default: 128"},
    {"limit-tokens", 1, false, "N", "stop after the window that contains token N"},
    {"batch", 1, false, "N",
        "sequences per pass; default: 8; results do not depend\n"
        "on it"},
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

typedef struct words_run {
    const cli_arguments *arguments;
    cli_plugin plugin;
    psc_session_options session_options;
    long long batch, window, limit, limit_tokens;
    long long rows[2], units[2]; /* at least, at most */
    const char *treebank;
    bool corpus, letters;
} words_run;

/* --- one session ------------------------------------------------------------------------------ */

/* A model's session over the texts as they are, or over words alone. */
typedef struct words_pass {
    const words_run *run;
    psc_model *model;
    psc_session *session;
    bool alone;
    bool again; /* another model: notes were printed before */
} words_pass;

static cli_word_options block_options(const words_pass *p, const char *path) {
    const int32_t n_ctx = psc_model_get_info(p->model)->n_ctx;
    const bool chosen = cli_has(p->run->arguments, "rows");
    return (cli_word_options){.alone = p->alone,
        .letters = p->run->letters,
        .cut = !chosen,
        .least = (int32_t)p->run->rows[0],
        .most = chosen && p->run->rows[1] < n_ctx ? (int32_t)p->run->rows[1] : n_ctx,
        .units = {(int32_t)p->run->units[0], (int32_t)p->run->units[1]},
        .limit = (int32_t)p->run->limit,
        .path = path};
}

static psc_status open_session(words_pass *p, int32_t capacity, psc_error *error) {
    psc_session_options o = p->run->session_options;
    o.accumulate = 1;
    o.n_sequences = (int32_t)p->run->batch;
    o.capacity = capacity;
    psc_status status = psc_session_open(&p->session, p->model, &o, error);
    return status ? status : cli_plugin_load(p->session, &p->run->plugin, error);
}

/* Sentences that are all in memory. */
static psc_status run_sentences(
    words_pass *p, const psc_sentence *sentences, int32_t n, const char *path, psc_error *error) {
    cli_word_block block = {0};
    const cli_word_options o = block_options(p, path);
    psc_status status = cli_word_block_make(&block, p->model, sentences, n, &o, error);
    if (!status && block.all.n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "%s: no sentence has %s%d to %d rows and as many words as --units asks; choose others",
            path, p->run->letters ? "words of letters, " : "", (int)o.least, (int)o.most);
    if (!status && block.n_cut > 0 && !p->again)
        cli_say("note: %s: cut %d of %d sequence%s%s to the context, %d rows", path,
            (int)block.n_cut, (int)block.all.n, block.all.n == 1 ? "" : "s",
            p->alone ? " of words alone" : "", (int)o.most);
    if (!status) status = open_session(p, block.all.longest, error);
    if (!status) status = cli_sentences_run(&block.all, p->session, (int32_t)p->run->batch, error);
    cli_word_block_free(&block);
    return status;
}

static psc_status run_treebank(words_pass *p, psc_error *error) {
    psc_treebank *treebank = NULL;
    int32_t n = 0;
    psc_status status = psc_treebank_open(&treebank, p->run->treebank, error);
    const psc_sentence *sentences = status ? NULL : psc_treebank_sentences(treebank, &n);
    if (!status) status = run_sentences(p, sentences, n, p->run->treebank, error);
    psc_treebank_close(&treebank);
    return status;
}

/* --text or --file */
static psc_status run_text(words_pass *p, psc_error *error) {
    cli_prompt prompt = {0};
    cli_word_text text = {0};
    const cli_prompt_given given = {
        cli_value(p->run->arguments, "text"), cli_value(p->run->arguments, "file"), NULL, true};
    psc_status status = cli_prompt_take(&prompt, p->model, &given, error);
    if (!status) status = cli_word_text_make(&text, prompt.text, prompt.bytes, error);
    if (!status && text.sentence.n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT, "the text has no words");
    if (!status) status = run_sentences(p, &text.sentence, 1, "the text", error);
    cli_word_text_free(&text);
    cli_prompt_free(&prompt);
    return status;
}

/* --- a corpus --------------------------------------------------------------------------------- */

static void on_note(const char *sentence, void *payload) {
    (void)payload;
    cli_progress_line(sentence);
}

/* The texts of the next windows, at most `batch`; *n is 0 after the last. */
static psc_status read_windows(cli_word_text *texts, psc_sentence *sentences, int32_t *n,
    const words_pass *p, psc_corpus *corpus, int32_t *ids, psc_error *error) {
    psc_status status = PSC_OK;
    for (*n = 0; !status && *n < p->run->batch;) {
        psc_window window = {.n = 0};
        char *text = NULL;
        size_t bytes = 0;
        status = psc_corpus_next(&window, corpus, error);
        if (status || window.n == 0) break;
        for (int32_t i = 0; i < window.n; i++) ids[i] = window.tokens[i].id;
        status = psc_model_decode(&text, &bytes, p->model, ids, window.n, error);
        if (!status) status = cli_word_text_make(&texts[*n], text, bytes, error);
        if (!status) {
            sentences[*n] = texts[*n].sentence;
            ++*n;
        }
        psc_free(text);
    }
    return status;
}

static psc_status run_windows(words_pass *p, psc_corpus *corpus, cli_word_text *texts,
    psc_sentence *sentences, int32_t *ids, psc_error *error) {
    const cli_word_options o = block_options(p, "the corpus");
    psc_status status = PSC_OK;
    for (int32_t n = 1; !status && n > 0;) {
        cli_word_block block = {0};
        status = read_windows(texts, sentences, &n, p, corpus, ids, error);
        if (!status) status = cli_word_block_make(&block, p->model, sentences, n, &o, error);
        if (!status && block.all.n > 0)
            status = cli_sentences_run(&block.all, p->session, (int32_t)p->run->batch, error);
        cli_word_block_free(&block);
        for (int32_t i = 0; i < n; i++) cli_word_text_free(&texts[i]);
    }
    return status;
}

static psc_status run_corpus(words_pass *p, psc_error *error) {
    const cli_arguments *arguments = p->run->arguments;
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    psc_corpus *corpus = NULL;
    const int32_t n_ctx = psc_model_get_info(p->model)->n_ctx;
    o.window = (int32_t)(p->run->window < n_ctx ? p->run->window : n_ctx);
    o.limit = p->run->limit_tokens;
    o.note = p->alone || p->again ? NULL : on_note;
    psc_status status =
        psc_corpus_open(&corpus, p->model, arguments->operands, arguments->n_operands, &o, error);
    if (!status) status = open_session(p, n_ctx < 4 * o.window ? n_ctx : 4 * o.window, error);
    const size_t batch = (size_t)p->run->batch;
    cli_word_text *texts = calloc(batch, sizeof *texts);
    psc_sentence *sentences = calloc(batch, sizeof *sentences);
    int32_t *ids = calloc((size_t)o.window, sizeof *ids);
    if (!status && (!texts || !sentences || !ids))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a batch of windows");
    if (!status) status = run_windows(p, corpus, texts, sentences, ids, error);
    free(texts);
    free(sentences);
    free(ids);
    psc_corpus_close(&corpus);
    return status;
}

/* --- the verb --------------------------------------------------------------------------------- */

static psc_status run_pass(words_pass *p, psc_error *error) {
    psc_status status = p->run->corpus     ? run_corpus(p, error)
                        : p->run->treebank ? run_treebank(p, error)
                                           : run_text(p, error);
    return status ? status : psc_session_report(p->session, NULL, error);
}

static void show_beside(const psc_results *results, const cli_arguments *arguments) {
    static const cli_figure figures[] = {
        {"brackets", "", false, 0}, {"auroc", "AUROC of closure", false, 0}, {0}};
    cli_beside(results, arguments, "words", "control.words", figures);
    cli_beside(results, arguments, "alone.words", "control-alone.words", figures);
}

static psc_status run_all(const words_run *r, psc_error *error) {
    static const char *const prefixes[] = {"", "alone", "control", "control-alone"};
    const char *folders[2] = {cli_value(r->arguments, "model"), cli_value(r->arguments, "control")};
    psc_model *models[2] = {NULL, NULL};
    words_pass passes[4] = {{0}};
    psc_status status = cli_check_out(r->arguments, error);
    for (int i = 0; !status && i < (folders[1] ? 4 : 2); i++) {
        if (i % 2 == 0) status = cli_open_model(&models[i / 2], folders[i / 2], error);
        passes[i] = (words_pass){r, models[i / 2], NULL, i % 2, i > 1};
        if (!status) status = run_pass(&passes[i], error);
        if (!status && i > 0)
            status = psc_session_adopt(passes[0].session, passes[i].session, prefixes[i], error);
    }
    if (!status) status = cli_deliver(psc_session_results(passes[0].session), r->arguments, error);
    if (!status) show_beside(psc_session_results(passes[0].session), r->arguments);
    for (int i = 0; i < 4; i++) psc_session_close(&passes[i].session);
    for (int i = 0; i < 2; i++) psc_model_close(&models[i]);
    return status;
}

/* "8-40"; absent: everything. */
static int take_range(long long range[2], const cli_arguments *arguments, const char *name) {
    const char *text = cli_value(arguments, name);
    int end = -1;
    range[0] = 0;
    range[1] = INT_MAX;
    if (!text) return CLI_OK;
    // NOLINTNEXTLINE(cert-err34-c): the widths keep the numbers in range
    if (sscanf(text, "%9lld-%9lld%n", &range[0], &range[1], &end) < 2 || end < 0 || text[end] ||
        range[0] < 1 || range[1] < range[0])
        return cli_usage(arguments->verb, "--%s needs A-B with 1 <= A <= B, not '%s'", name, text);
    return CLI_OK;
}

static int check(words_run *r) {
    const cli_arguments *a = r->arguments;
    const int sources =
        (a->n_operands > 0) + cli_has(a, "text") + cli_has(a, "file") + cli_has(a, "treebank");
    int code = cli_session_options(&r->session_options, a);
    if (!code) code = cli_integer(&r->batch, a, "batch", 1, 1024);
    if (!code) code = cli_integer(&r->window, a, "window", 2, 1 << 20);
    if (!code) code = cli_integer(&r->limit, a, "limit", 1, INT_MAX);
    if (!code) code = cli_integer(&r->limit_tokens, a, "limit-tokens", 1, 1LL << 50);
    if (!code) code = take_range(r->rows, a, "rows");
    if (!code) code = take_range(r->units, a, "units");
    if (code) return code;
    r->treebank = cli_value(a, "treebank");
    r->corpus = a->n_operands > 0;
    r->letters = cli_has(a, "words") && strcmp(cli_value(a, "words"), "letters") == 0;
    if (sources != 1)
        return cli_usage(a->verb, sources == 0
                                      ? "no text; pass FILE|DIR..., --text, --file or --treebank"
                                      : "FILE|DIR..., --text, --file and --treebank are mutually "
                                        "exclusive");
    if (!r->corpus && (cli_has(a, "window") || cli_has(a, "limit-tokens")))
        return cli_usage(a->verb, "--window and --limit-tokens need a corpus, FILE|DIR...");
    if (!r->treebank && (cli_has(a, "rows") || cli_has(a, "units") || cli_has(a, "limit")))
        return cli_usage(
            a->verb, "--rows, --units and --limit choose sentences; they need --treebank");
    return CLI_OK;
}

static int run_words(const cli_arguments *arguments) {
    static const char *const keys[] = {"words", "levels", "top", "memory", NULL};
    words_run r = {.arguments = arguments, .batch = 8, .window = 128, .limit = INT_MAX};
    psc_error error = {0};
    r.plugin = cli_plugin_of(arguments, "words", keys);
    const int code = check(&r);
    if (code) return code;
    psc_status status = run_all(&r, &error);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_words = {
    .name = "words",
    .summary = "Shows whether words of several tokens are units: brackets and closure.",
    .usage = "[FILE|DIR...] [--model MODEL] [options]",
    .notes =
        "Each model runs twice: over the texts, and over their words tokenized alone, without\n"
        "spaces (\"alone\").\n"
        "example:\n"
        "  pythiascope words --text \"Nobody had ever seen Grumbold\"\n"
        "  pythiascope words --treebank en_ewt-ud-test.conllu --rows 6-101\n"
        "  pythiascope words --treebank en_ewt-ud-test.conllu --words letters\n"
        "  pythiascope words books/ --control random-160m",
    .options = options,
    .max_operands = 1 << 20,
    .run = run_words,
};
