/* The beginning- and end-of-text tokens of config.json and generation_config.json. An id outside
 * the vocabulary is no token of the model: transformers takes such a config, and so does this
 * reader. */
#include "config_reader.h"

/* One token id; -1 means none. */
static psc_status read_id(
    int32_t *out, const psc_config_reader *r, const psc_config *c, const char *key, json_t *value) {
    if (!json_is_integer(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a token id", r->path, key);
    long long id = json_integer_value(value);
    if (id < -1)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: %s is %lld; it must be a token id, or null for none", r->path, key, id);
    *out = id < (long long)c->d_vocab ? (int32_t)id : -1;
    return PSC_OK;
}

/* eos_token_id, one or several, into ids [PSC_MAX_EOS]; none when it is absent or null. */
static psc_status read_ends(
    int32_t *ids, size_t *n_ids, const psc_config_reader *r, const psc_config *c) {
    json_t *eos = psc_config_get(r->root, "eos_token_id");
    psc_status status = PSC_OK;
    *n_ids = 0;
    if (!eos) return PSC_OK;
    size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    if (n > PSC_MAX_EOS)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: eos_token_id lists more than %d ids",
            r->path, PSC_MAX_EOS);
    for (size_t i = 0; i < n && !status; i++) {
        json_t *value = json_is_array(eos) ? json_array_get(eos, i) : eos;
        status = read_id(&ids[*n_ids], r, c, "eos_token_id", value);
        if (!status && ids[*n_ids] >= 0) ++*n_ids;
    }
    return status;
}

/* Absent keys have transformers's defaults, 0 and 2; null means no such token. The default 2 is no
 * end of generation there: only an id that is written is. */
psc_status psc_config_read_ids(psc_config *c, const psc_config_reader *r) {
    json_t *bos = json_object_get(r->root, "bos_token_id");
    psc_status status = PSC_OK;
    c->bos_id = bos ? -1 : 0;
    c->bos_given = bos != NULL;
    if (psc_config_get(r->root, "bos_token_id"))
        status = read_id(&c->bos_id, r, c, "bos_token_id", bos);
    c->bos_outside =
        !status && c->bos_id < 0 && json_is_integer(bos) ? json_integer_value(bos) : -1;
    if (!status) status = read_ends(c->end_ids, &c->n_ends, r, c);
    c->n_eos = c->n_ends;
    for (size_t i = 0; i < c->n_eos; i++) c->eos_ids[i] = c->end_ids[i];
    if (!json_object_get(r->root, "eos_token_id") && c->d_vocab > 2) c->eos_ids[c->n_eos++] = 2;
    return status;
}

psc_status psc_config_read_ends(psc_config *c, const psc_config_reader *r) {
    if (!json_is_object(r->root))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s is not a JSON object", r->path);
    return read_ends(c->end_ids, &c->n_ends, r, c);
}
