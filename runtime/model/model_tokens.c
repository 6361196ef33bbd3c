/* The public calls of a model's tokenizer: spans become tokens, `bos` puts a token in front. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

bool psc_model_has_tokenizer(const psc_model *model) {
    return model->tokenizer != NULL;
}

int32_t psc_model_tokenizer_size(const psc_model *model) {
    return model->tokenizer ? psc_tokenizer_size(model->tokenizer) : 0;
}

const char *psc_model_tokenizer_reason(const psc_model *model) {
    return model->tokenizer_reason;
}

bool psc_model_expects_bos(const psc_model *model) {
    return model->tokenizer && psc_tokenizer_adds_bos(model->tokenizer);
}

/* The config names an id that no token has, and the tokenizer names none. */
static bool has_unknown_bos(const psc_model *model) {
    return model->tokenizer && model->config.bos_outside >= 0 &&
           !psc_tokenizer_names_bos(model->tokenizer);
}

int32_t psc_model_bos(const psc_model *model) {
    const psc_config *config = &model->config;
    if (has_unknown_bos(model)) return -1;
    int32_t id = config->bos_id;
    if (model->tokenizer) id = psc_tokenizer_bos_of(model->tokenizer, config->bos_given ? id : -1);
    return id < (int64_t)config->d_vocab ? id : -1;
}

psc_status psc_model_ask_bos(int32_t *out, const psc_model *model, psc_error *error) {
    const psc_config *config = &model->config;
    *out = psc_model_bos(model);
    if (has_unknown_bos(model))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s: bos_token_id %lld of config.json is outside the vocabulary of %d ids, so the "
            "beginning token is unknown; correct it, or leave the beginning token out",
            model->path, (long long)config->bos_outside, (int)config->d_vocab);
    if (*out >= 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%s: the model has no beginning token (bos_token in tokenizer_config.json, bos_token_id in "
        "config.json)",
        model->path);
}

bool psc_model_ends(const psc_model *model, int32_t id) {
    for (size_t i = 0; i < model->config.n_ends; i++)
        if (model->config.end_ids[i] == id) return true;
    return false;
}

static psc_status need_tokenizer(const psc_model *model, psc_error *error) {
    if (model->tokenizer) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "%s; pass token ids (--tokens) instead of text",
        model->tokenizer_reason);
}

psc_status psc_model_encode(psc_token **out, int32_t *n, const psc_model *model, const char *text,
    size_t bytes, bool bos, psc_error *error) {
    return psc_model_encode_first(out, n, model, text, bytes, bos, INT32_MAX, error);
}

psc_status psc_model_encode_first(psc_token **out, int32_t *n, const psc_model *model,
    const char *text, size_t bytes, bool bos, int32_t most, psc_error *error) {
    *out = NULL;
    *n = 0;
    psc_status status = need_tokenizer(model, error);
    if (status != PSC_OK) return status;
    int32_t first = -1;
    if (bos) status = psc_model_ask_bos(&first, model, error);
    if (status != PSC_OK) return status;
    psc_token_span *spans = NULL;
    size_t n_spans = 0, room = most < 0 ? 0 : (size_t)most;
    status =
        psc_tokenizer_encode_first(&spans, &n_spans, model->tokenizer, text, bytes, room, error);
    if (status != PSC_OK) return status;
    if (n_spans > room) n_spans = room + 1;
    psc_token *tokens = NULL;
    if (n_spans < INT32_MAX) tokens = malloc((n_spans + 1) * sizeof *tokens);
    if (!tokens) {
        psc_tokenizer_free_spans(spans);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %zu tokens", n_spans);
    }
    if (bos) tokens[0] = (psc_token){first, 0, 0};
    for (size_t i = 0; i < n_spans; i++)
        tokens[i + bos] = (psc_token){spans[i].id, spans[i].start, spans[i].end};
    psc_tokenizer_free_spans(spans);
    *out = tokens;
    *n = (int32_t)n_spans + bos;
    return PSC_OK;
}

psc_status psc_model_decode(char **out, size_t *bytes, const psc_model *model, const int32_t *ids,
    int32_t n, psc_error *error) {
    *out = NULL;
    *bytes = 0;
    psc_status status = need_tokenizer(model, error);
    if (status != PSC_OK) return status;
    return psc_tokenizer_decode(out, bytes, model->tokenizer, ids, (size_t)n, false, error);
}

const char *psc_model_token_bytes(const psc_model *model, int32_t id, size_t *bytes) {
    *bytes = 0;
    return model->tokenizer ? psc_tokenizer_bytes(model->tokenizer, id, bytes) : NULL;
}
