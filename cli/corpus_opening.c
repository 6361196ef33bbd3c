/* The corpus of the command line, and the bytes that plugins will write for it: its tokens are
 * counted by a reading of its own, so that a disk too small is refused before the first pass. */
#include "corpus_opening.h"

#include <stdio.h>
#include <string.h>

#include "path_list.h"
#include "progress.h"

psc_status cli_corpus_open(psc_corpus **out, psc_model *model, const cli_arguments *a,
    psc_corpus_options *how, psc_error *error) {
    const char *name = cli_value(a, "from-list");
    if (!name && strcmp(a->operands[0], "-") == 0)
        return psc_corpus_open_stream(out, model, stdin, "standard input", how, error);
    if (!name) return psc_corpus_open(out, model, a->operands, a->n_operands, how, error);
    cli_path_list list;
    psc_status status = cli_path_list_read(&list, name, a->operands, (int32_t)a->n_operands, error);
    if (status) return status;
    how->n_listed = list.n - (int32_t)a->n_operands;
    status = psc_corpus_open(out, model, list.paths, list.n, how, error);
    cli_path_list_free(&list);
    return status;
}

/* Standard input is read once, so it cannot be counted before. */
static bool is_read_once(const cli_arguments *a) {
    const char *list = cli_value(a, "from-list");
    return (list && strcmp(list, "-") == 0) ||
           (a->n_operands > 0 && strcmp(a->operands[0], "-") == 0);
}

/* The tokens of this part; fewer once they are more than the plugins may write. */
static psc_status count_tokens(int64_t *tokens, psc_session *session, psc_corpus *corpus,
    const volatile sig_atomic_t *interrupted, psc_error *error) {
    psc_window window = {.n = 1};
    psc_status status = PSC_OK;
    uint64_t bytes;
    cli_progress_start("counting");
    for (*tokens = 0; !status && window.n > 0 && !*interrupted;) {
        status = psc_corpus_next(&window, corpus, error);
        *tokens += window.n - psc_corpus_repeated(corpus, &window);
        if (!status) status = psc_session_foretell(&bytes, session, *tokens, error);
        (void)cli_progress_update(psc_corpus_progress(corpus), "tokens", NULL);
    }
    cli_progress_stop();
    return status;
}

psc_status cli_corpus_foretell(psc_session *session, psc_model *model,
    const cli_arguments *arguments, const psc_corpus_options *how,
    const volatile sig_atomic_t *interrupted, psc_error *error) {
    psc_corpus_options quiet = *how;
    psc_corpus *corpus = NULL;
    uint64_t bytes = 0;
    int64_t tokens = 1;
    char note[160];
    psc_status status = psc_session_foretell(&bytes, session, tokens, error);
    if (status || bytes == 0) return status;
    if (is_read_once(arguments)) {
        if (how->limit <= 0) return PSC_OK;
        tokens = how->limit + psc_model_get_info(model)->n_ctx; /* reading ends with a window */
    } else {
        quiet.note = NULL;
        status = cli_corpus_open(&corpus, model, arguments, &quiet, error);
        if (!status) status = count_tokens(&tokens, session, corpus, interrupted, error);
        psc_corpus_close(&corpus);
    }
    if (!status) status = psc_session_foretell(&bytes, session, tokens, error);
    if (status) return status;
    snprintf(note, sizeof note, "note: the rows will take at most %.3g GB on disk (%lld tokens)",
        1e-9 * (double)bytes, (long long)tokens);
    cli_progress_line(note);
    return PSC_OK;
}
