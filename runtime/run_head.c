/* The head of the results: which program, model, run and tokens they come from. */
#include "session.h"

#include <string.h>

static json_t *text(const char *value) {
    return psc_result_text(value, strlen(value));
}

static json_t *integer(size_t value) {
    return json_integer((json_int_t)value);
}

static json_t *eos_ids(const psc_config *c) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < c->n_eos; i++)
        json_array_append_new(list, json_integer(c->eos_ids[i]));
    return list;
}

/* Adds value (stolen) under key; a null value or object is remembered in *ok. */
static void put(json_t *object, bool *ok, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0) *ok = false;
}

static json_t *config_object(const psc_config *c, bool *ok) {
    json_t *o = json_object();
    put(o, ok, "n_layers", integer(c->n_layers));
    put(o, ok, "n_heads", integer(c->n_heads));
    put(o, ok, "d_model", integer(c->d_model));
    put(o, ok, "d_head", integer(c->d_head));
    put(o, ok, "d_mlp", integer(c->d_mlp));
    put(o, ok, "d_vocab", integer(c->d_vocab));
    put(o, ok, "n_ctx", integer(c->n_ctx));
    put(o, ok, "layer_norm_eps", psc_result_number((double)c->layer_norm_eps));
    put(o, ok, "rotary_dims", integer(c->rotary_dims));
    put(o, ok, "rotary_pct", psc_result_number(c->rotary_pct));
    put(o, ok, "rotary_base", psc_result_number(c->rotary_base));
    put(o, ok, "parallel_residual", json_boolean(c->parallel_residual));
    put(o, ok, "tied", json_boolean(c->tied));
    put(o, ok, "attention_bias", json_boolean(c->attention_bias));
    put(o, ok, "activation", text(c->activation));
    put(o, ok, "dtype", text(c->dtype));
    put(o, ok, "bos_id", c->bos_id < 0 ? json_null() : json_integer(c->bos_id));
    put(o, ok, "eos_ids", eos_ids(c));
    return o;
}

static json_t *model_object(const psc_model *model, bool *ok) {
    json_t *o = json_object();
    put(o, ok, "path", text(model->info.path));
    put(o, ok, "hash", text(model->info.hash));
    put(o, ok, "config", config_object(&model->config, ok));
    return o;
}

static int32_t count_sequences(const psc_session *session) {
    int32_t n = 0;
    for (int32_t i = 0; i < session->n_rows; i++)
        n += i == 0 || session->rows[i].sequence != session->rows[i - 1].sequence;
    return n;
}

static json_t *run_object(const psc_session *session, bool *ok) {
    json_t *o = json_object();
    put(o, ok, "isa", text(session->kernels->isa_name));
    put(o, ok, "threads", json_integer(psc_team_threads(session->team)));
    put(o, ok, "chunk", json_integer(session->options.chunk));
    put(o, ok, "sleef", text(psc_sleef_version()));
    put(o, ok, "n_rows", json_integer(session->n_rows));
    put(o, ok, "sequences", json_integer(count_sequences(session)));
    return o;
}

static json_t *token_object(const psc_session *session, const psc_row *row, bool *ok) {
    json_t *o = json_object();
    size_t bytes = 0;
    const char *data = psc_model_token_bytes(session->model, row->token, &bytes);
    put(o, ok, "id", json_integer(row->token));
    put(o, ok, "text", data ? psc_result_text(data, bytes) : json_null());
    put(o, ok, "start", json_integer(row->start));
    put(o, ok, "end", json_integer(row->end));
    put(o, ok, "sequence", json_integer(row->sequence));
    put(o, ok, "position", json_integer(row->position));
    return o;
}

/* What every head begins with. */
static json_t *new_head(const psc_session *session, bool *ok) {
    json_t *head = json_object(), *program = json_object();
    put(program, ok, "version", text(psc_version()));
    put(head, ok, "pythiascope", program);
    put(head, ok, "model", model_object(session->model, ok));
    put(head, ok, "run", run_object(session, ok));
    return head;
}

/* head is taken over. */
static psc_status set_head(const psc_session *session, json_t *head, bool ok, psc_error *error) {
    if (!ok) {
        json_decref(head);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    }
    json_decref(session->results->head);
    session->results->head = head;
    return PSC_OK;
}

psc_status psc_run_head(const psc_session *session, psc_error *error) {
    bool ok = true;
    json_t *head = new_head(session, &ok), *tokens = json_array();
    for (int32_t i = 0; i < session->n_rows; i++)
        if (json_array_append_new(tokens, token_object(session, &session->rows[i], &ok)) != 0)
            ok = false;
    put(head, &ok, "tokens", tokens);
    return set_head(session, head, ok, error);
}

psc_status psc_corpus_head(
    psc_session *session, const psc_corpus_totals *totals, psc_error *error) {
    bool ok = true;
    json_t *head = new_head(session, &ok), *corpus = json_object();
    put(corpus, &ok, "documents", json_integer(totals->documents));
    put(corpus, &ok, "documents_skipped", json_integer(totals->skipped));
    put(corpus, &ok, "windows", json_integer(totals->windows));
    put(corpus, &ok, "tokens", json_integer(totals->tokens));
    put(corpus, &ok, "window", json_integer(totals->window));
    put(corpus, &ok, "bos", json_boolean(totals->bos));
    if (totals->limit > 0) put(corpus, &ok, "limit_tokens", json_integer(totals->limit));
    put(head, &ok, "corpus", corpus);
    put(head, &ok, "tokens", json_array());
    return set_head(session, head, ok, error);
}
