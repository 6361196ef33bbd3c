/* The head of the results: their program, model, run, tokens and the texts of token ids. */
#include "session.h"

#include <stdlib.h>

static int32_t count_sequences(const psc_session *session) {
    int32_t n = 0;
    for (int32_t i = 0; i < session->n_rows; i++)
        n += i == 0 || session->rows[i].sequence != session->rows[i - 1].sequence;
    return n;
}

/* The common part of both heads. */
static void put_head(const psc_session *session, bool bos) {
    psc_results *results = session->results;
    results->version = psc_version();
    results->model = (psc_result_model)PSC_RESULT_MODEL_INIT;
    psc_model_describe(&results->model, session->model, NULL); /* fails without struct_size only */
    results->run = (psc_result_run){.struct_size = sizeof results->run,
        .threads = psc_team_threads(session->team),
        .chunk = session->options.chunk,
        .n_rows = session->n_rows,
        .sequences = count_sequences(session),
        .bos = bos,
        .isa = session->kernels->isa_name,
        .sleef = psc_sleef_version()};
    results->has_head = true;
}

psc_status psc_run_head(const psc_session *session, psc_error *error) {
    psc_result_token *tokens = psc_results_make_tokens(session->results, session->n_rows);
    if (!tokens) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    for (int32_t i = 0; i < session->n_rows; i++) {
        const psc_row *row = &session->rows[i];
        tokens[i] = (psc_result_token){.id = row->token,
            .sequence = row->sequence,
            .position = row->position,
            .start = row->start,
            .end = row->end};
        tokens[i].bytes = psc_model_token_bytes(session->model, row->token, &tokens[i].n_bytes);
    }
    put_head(session, session->run_options->bos != 0);
    return PSC_OK;
}

void psc_corpus_head(psc_session *session, const psc_corpus_totals *totals) {
    session->results->corpus = *totals;
    session->results->has_corpus = true;
    put_head(session, totals->bos != 0);
}

psc_status psc_run_vocabulary(const psc_model *model, psc_results *results, psc_error *error) {
    int32_t *ids, n, n_texts = 0;
    psc_status status =
        psc_results_named_ids(&ids, &n, results, psc_model_tokenizer_size(model), error);
    if (status != PSC_OK || n == 0) {
        free(ids);
        return status;
    }
    psc_vocabulary_entry *entries = malloc((size_t)n * sizeof *entries);
    for (int32_t i = 0; entries && i < n; i++) {
        psc_vocabulary_entry entry = {.id = ids[i]};
        entry.text = psc_model_token_bytes(model, ids[i], &entry.bytes);
        if (entry.text) entries[n_texts++] = entry;
    }
    status = entries ? psc_results_add_vocabulary(results, n_texts, entries, error)
                     : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    free(entries);
    free(ids);
    return status;
}
