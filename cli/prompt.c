/* The model's folder and the prompt. */
#include "prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embedded_model.h"
#include "input.h"
#include "progress.h"
#include "timing.h"

enum { TEXT_CAP = 16 << 20 }; /* bytes: far beyond any context */

int cli_prompt_check(const cli_arguments *arguments) {
    int n = cli_has(arguments, "text") + cli_has(arguments, "file") + cli_has(arguments, "tokens");
    if (n == 1) return CLI_OK;
    return cli_usage(arguments->verb, n == 0
                                          ? "no prompt; pass --text S, --file F or --tokens 1,2,3"
                                          : "--text, --file and --tokens are mutually exclusive");
}

int cli_session_options(psc_session_options *out, const cli_arguments *arguments) {
    static const char *const known[] = {"reference", "avx2", "avx512", "neon"};
    *out = (psc_session_options)PSC_SESSION_OPTIONS_INIT;
    long long threads = 0, chunk = 0, retain = 0;
    int code = cli_integer(&threads, arguments, "threads", 1, 1024);
    if (!code) code = cli_integer(&chunk, arguments, "chunk", 1, 1 << 20);
    if (!code) code = cli_integer(&retain, arguments, "retain", 1, 1 << 24);
    if (code) return code;
    out->threads = (int32_t)threads;
    out->chunk = (int32_t)chunk;
    out->retained_cap = (uint64_t)retain << 20;
    out->check_plugins = cli_has(arguments, "check-plugins");
    out->isa = cli_value(arguments, "isa");
    for (size_t i = 0; out->isa && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(out->isa, known[i]) == 0) return CLI_OK;
    if (!out->isa) return CLI_OK;
    return cli_usage(
        arguments->verb, "--isa needs reference, avx2, avx512 or neon, not '%s'", out->isa);
}

/* *folder; or in embedded [4096] the embedded model's, or that of one of its steps. */
static psc_status choose_folder(const char **folder, char *embedded, psc_error *error) {
    const char *named = *folder;
    if (named && !cli_find_embedded_named(embedded, 4096, named)) return PSC_OK;
    *folder = embedded;
    return named ? PSC_OK : cli_find_embedded(embedded, 4096, error);
}

psc_status cli_open_model(psc_model **out, const char *model, psc_error *error) {
    char embedded[4096];
    const char *folder = model;
    psc_status status = choose_folder(&folder, embedded, error);
    if (status) return status;
    cli_progress_start("loading the model");
    status = psc_model_open_with(out, folder, cli_cache_options(), error);
    cli_progress_stop();
    if (status && folder == model) cli_suggest_embedded(error, model);
    if (!status) cli_cache_say(*out);
    cli_time_start();
    return status;
}

psc_status cli_open_header(psc_model **out, const char *model, psc_error *error) {
    char embedded[4096];
    const char *folder = model;
    psc_status status = choose_folder(&folder, embedded, error);
    if (status) return status;
    status = psc_model_open_header(out, folder, cli_cache_options(), error);
    if (status && folder == model) cli_suggest_embedded(error, model);
    return status;
}

/* Reads a whole stream into new memory, without a byte order mark; the stream may be a
 * pipe of unknown size. */
psc_status cli_read_stream(
    char **out, size_t *bytes, FILE *file, const char *name, psc_error *error) {
    size_t capacity = 1 << 16, n = 0;
    char *text = malloc(capacity);
    while (text) {
        n += fread(text + n, 1, capacity - n, file);
        if (n < capacity || n > TEXT_CAP) break;
        char *bigger = realloc(text, capacity *= 2);
        if (!bigger) free(text);
        text = bigger;
    }
    if (!text)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the text in %s", name);
    if (n > TEXT_CAP) {
        free(text);
        return psc_fail(
            error, PSC_ERROR_INPUT, "the text in %s is larger than %d MiB", name, TEXT_CAP >> 20);
    }
    if (ferror(file)) {
        free(text);
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", name, strerror(errno));
    }
    const size_t mark = cli_input_mark(text, n);
    memmove(text, text + mark, n - mark);
    *out = text;
    *bytes = n - mark;
    return PSC_OK;
}

static psc_status read_text(cli_prompt *prompt, const cli_prompt_given *given, psc_error *error) {
    const char *text = given->text, *path = given->file;
    if (text) {
        prompt->bytes = strlen(text);
        prompt->text = malloc(prompt->bytes + 1);
        if (!prompt->text)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the text");
        memcpy(prompt->text, text, prompt->bytes + 1);
        return PSC_OK;
    }
    if (strcmp(path, "-") == 0)
        return cli_read_stream(&prompt->text, &prompt->bytes, stdin, "standard input", error);
    FILE *file;
    psc_status status = cli_input_once(&file, path, path, error);
    if (status) return status;
    status = cli_read_stream(&prompt->text, &prompt->bytes, file, path, error);
    fclose(file);
    return status;
}

/* "1,2,3" into prompt->tokens, which has room for them and for a BOS before them. */
static psc_status parse_ids(cli_prompt *prompt, const char *list, psc_error *error) {
    const char *at = list;
    for (;;) {
        char *end;
        errno = 0;
        long long id = strtoll(at, &end, 10);
        while (*end == ' ') end++;
        if (end == at || strspn(at, " 0123456789") < (size_t)(end - at) || (*end && *end != ','))
            return psc_fail(error, PSC_ERROR_INPUT,
                "--tokens needs ids like 1,2,3; entry %d, '%.*s', is not an id", prompt->n + 1,
                (int)(strcspn(at, ",") < 40 ? strcspn(at, ",") : 40), at);
        if (errno || id > INT32_MAX)
            return psc_fail(error, PSC_ERROR_INPUT, "--tokens: id %.*s is out of range",
                (int)(strcspn(at, ",") < 40 ? strcspn(at, ",") : 40), at);
        prompt->tokens[prompt->n++].id = (int32_t)id;
        if (!*end) return PSC_OK;
        at = end + 1;
    }
}

static psc_status read_ids(
    cli_prompt *prompt, const psc_model *model, const char *list, bool bos, psc_error *error) {
    prompt->tokens = calloc(strlen(list) / 2 + 3, sizeof *prompt->tokens);
    if (!prompt->tokens)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens");
    if (bos) {
        const char *reason = psc_model_tokenizer_reason(model);
        if (reason)
            return psc_fail(error, PSC_ERROR_INPUT, "%s; pass --tokens without --bos", reason);
        psc_token *first;
        psc_status status = psc_model_encode(&first, &prompt->n, model, "", 0, true, error);
        if (status) return status;
        prompt->tokens[0] = first[0];
        psc_free(first);
    }
    psc_status status = parse_ids(prompt, list, error);
    int32_t d_vocab = psc_model_get_info(model)->d_vocab;
    for (int32_t i = 0; !status && i < prompt->n; i++)
        if (prompt->tokens[i].id >= d_vocab)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "token id %d is out of range; the model's ids are 0 to %d", prompt->tokens[i].id,
                d_vocab - 1);
    return status;
}

static psc_status read_encoded(
    cli_prompt *prompt, const psc_model *model, const cli_prompt_given *given, psc_error *error) {
    psc_token *tokens = NULL;
    psc_status status = read_text(prompt, given, error);
    if (status) return status;
    bool bos = given->bos;
    if (prompt->bytes == 0 && !bos) return psc_fail(error, PSC_ERROR_INPUT, "the text is empty");
    status = psc_model_encode_first(&tokens, &prompt->n, model, prompt->text, prompt->bytes, bos,
        psc_model_get_info(model)->n_ctx, error);
    if (status) return status;
    size_t n = prompt->n > 0 ? (size_t)prompt->n : 1;
    prompt->tokens = calloc(n, sizeof *prompt->tokens);
    if (prompt->tokens && prompt->n > 0)
        memcpy(prompt->tokens, tokens, (size_t)prompt->n * sizeof *tokens);
    psc_free(tokens);
    if (prompt->tokens) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens");
}

psc_status cli_prompt_read(
    cli_prompt *out, const psc_model *model, const cli_arguments *arguments, psc_error *error) {
    cli_prompt_given given = {cli_value(arguments, "text"), cli_value(arguments, "file"),
        cli_value(arguments, "tokens"), cli_has(arguments, "bos")};
    return cli_prompt_take(out, model, &given, error);
}

psc_status cli_prompt_take(
    cli_prompt *out, const psc_model *model, const cli_prompt_given *given, psc_error *error) {
    *out = (cli_prompt){.bos = given->bos};
    psc_status status = given->ids ? read_ids(out, model, given->ids, given->bos, error)
                                   : read_encoded(out, model, given, error);
    int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    if (!status && out->n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT, "the prompt has no tokens");
    if (!status && out->n > n_ctx) {
        const bool is_cut = out->text && out->tokens[out->n - 1].end < out->bytes;
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the prompt has %s%d tokens, more than the model's context of %d",
            is_cut ? "at least " : "", out->n, n_ctx);
    }
    if (status) cli_prompt_free(out);
    return status;
}

void cli_prompt_free(cli_prompt *prompt) {
    free(prompt->text);
    free(prompt->tokens);
    *prompt = (cli_prompt){0};
}
