/* config.json -> psc_config. One helper per kind of value; each error names the file and the key.
 *   d_head = hidden_size / num_attention_heads
 *   rotary_dims = int(rotary_pct * d_head), the product in double as in Python */
#include "config.h"

#include "file_kind.h"
#include "files.h"
#include "model_folder.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_CAP ((size_t)1 << 20)

typedef struct reader {
    const char *path;
    json_t *root;
    psc_error *error;
} reader;

/* A number that several keys may give; all of them must agree. */
typedef struct number {
    const char *key; /* the first key that gave it; null: none */
    double value;
} number;

/* The value of key; null when it is absent or JSON's null. */
static json_t *get(json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static psc_status read_size(
    const reader *r, const char *key, long long fallback, long long max, size_t *out) {
    json_t *value = get(r->root, key);
    long long n = fallback;
    if (!value && fallback < 0)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s has no %s", r->path, key);
    if (value && !json_is_integer(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be an integer", r->path, key);
    if (value) n = json_integer_value(value);
    if (n < 1 || n > max)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %lld; it must be between 1 and %lld",
            r->path, key, n, max);
    *out = (size_t)n;
    return PSC_OK;
}

static psc_status read_bool(const reader *r, const char *key, bool fallback, bool *out) {
    json_t *value = get(r->root, key);
    if (value && !json_is_boolean(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be true or false", r->path, key);
    *out = value ? json_is_true(value) : fallback;
    return PSC_OK;
}

/* *out is null when the key is absent. */
static psc_status read_string(const reader *r, json_t *object, const char *key, const char **out) {
    json_t *value = get(object, key);
    *out = NULL;
    if (value && !json_is_string(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a string", r->path, key);
    if (value) *out = json_string_value(value);
    return PSC_OK;
}

/* Reads object's key into n. shown is the key's full name in messages. */
static psc_status read_number(
    const reader *r, json_t *object, const char *key, const char *shown, number *n) {
    json_t *value = get(object, key);
    if (!value) return PSC_OK;
    if (!json_is_number(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a number", r->path, shown);
    double x = json_number_value(value);
    if (n->key && n->value != x)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g, but %s is %g; they must be equal",
            r->path, n->key, n->value, shown, x);
    *n = (number){shown, x};
    return PSC_OK;
}

static psc_status check_architecture(const reader *r) {
    const char *type, *act;
    psc_status status = read_string(r, r->root, "model_type", &type);
    if (!status) status = read_string(r, r->root, "hidden_act", &act);
    if (status) return status;
    if (!type) return psc_fail(r->error, PSC_ERROR_INPUT, "%s has no model_type", r->path);
    if (strcmp(type, "gpt_neox") != 0)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: model_type is \"%.60s\", but only gpt_neox is supported", r->path, type);
    /* gelu_python is the same function; gelu_new, gelu_fast and gelu_accurate are tanh forms. */
    if (act && strcmp(act, "gelu") != 0 && strcmp(act, "gelu_python") != 0)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: hidden_act is \"%.60s\", but only gelu (with erf) is supported", r->path, act);
    if (get(r->root, "quantization_config"))
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s has a quantization_config, but quantized models are not supported", r->path);
    return PSC_OK;
}

static psc_status read_sizes(const reader *r, psc_config *c) {
    size_t head_dim;
    psc_status status = read_size(r, "num_hidden_layers", -1, PSC_MAX_LAYERS, &c->n_layers);
    if (!status) status = read_size(r, "num_attention_heads", -1, PSC_MAX_HEADS, &c->n_heads);
    if (!status) status = read_size(r, "hidden_size", -1, PSC_MAX_D_MODEL, &c->d_model);
    if (!status) status = read_size(r, "intermediate_size", -1, PSC_MAX_D_MLP, &c->d_mlp);
    if (!status) status = read_size(r, "vocab_size", -1, PSC_MAX_VOCAB, &c->d_vocab);
    if (!status) status = read_size(r, "max_position_embeddings", 2048, PSC_MAX_CONTEXT, &c->n_ctx);
    if (status) return status;
    if (c->d_model % c->n_heads != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: hidden_size %zu is not a multiple of num_attention_heads %zu", r->path, c->d_model,
            c->n_heads);
    c->d_head = c->d_model / c->n_heads;
    status = read_size(r, "head_dim", (long long)c->d_head, PSC_MAX_D_MODEL, &head_dim);
    if (!status && head_dim != c->d_head)
        status = psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: head_dim is %zu, but hidden_size / num_attention_heads is %zu", r->path, head_dim,
            c->d_head);
    return status;
}

/* rope_scaling and rope_parameters: an object whose type is "default" (or absent). */
static psc_status read_rope_object(const reader *r, const char *key, number *base, number *pct) {
    json_t *object = get(r->root, key), *value;
    const char *type, *name;
    if (!object) return PSC_OK;
    if (!json_is_object(object))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be an object", r->path, key);
    psc_status status = read_string(r, object, "rope_type", &type);
    if (!status && !type) status = read_string(r, object, "type", &type);
    if (status) return status;
    if (type && strcmp(type, "default") != 0)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: %s has type \"%.60s\", but scaled rotary embeddings are not supported", r->path,
            key, type);
    json_object_foreach(object, name, value) {
        if (json_is_object(value))
            return psc_fail(r->error, PSC_ERROR_SUPPORT,
                "%s: %s contains \"%.60s\", but per-layer rotary embeddings are not supported",
                r->path, key, name);
    }
    bool scaling = strcmp(key, "rope_scaling") == 0;
    status = read_number(r, object, "rope_theta",
        scaling ? "rope_scaling.rope_theta" : "rope_parameters.rope_theta", base);
    if (status) return status;
    return read_number(r, object, "partial_rotary_factor",
        scaling ? "rope_scaling.partial_rotary_factor" : "rope_parameters.partial_rotary_factor",
        pct);
}

/* The base and the rotated fraction, from all keys of transformers 4 and 5. */
static psc_status read_rotary(const reader *r, psc_config *c) {
    number base = {0}, pct = {0};
    psc_status status = read_rope_object(r, "rope_parameters", &base, &pct);
    if (!status) status = read_rope_object(r, "rope_scaling", &base, &pct);
    if (!status) status = read_number(r, r->root, "rotary_emb_base", "rotary_emb_base", &base);
    if (!status) status = read_number(r, r->root, "rope_theta", "rope_theta", &base);
    if (!status) status = read_number(r, r->root, "rotary_pct", "rotary_pct", &pct);
    if (!status)
        status = read_number(r, r->root, "partial_rotary_factor", "partial_rotary_factor", &pct);
    if (status) return status;
    if (!base.key) base = (number){"rotary_emb_base", 10000.0};
    if (!pct.key) pct = (number){"rotary_pct", 0.25};
    if (!(base.value >= 1.0 && base.value <= 1e15))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g; it must be between 1 and 1e15",
            r->path, base.key, base.value);
    if (!(pct.value >= 0.0 && pct.value <= 1.0))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g; it must be between 0 and 1",
            r->path, pct.key, pct.value);
    c->rotary_base = base.value;
    c->rotary_pct = pct.value;
    c->rotary_dims = (size_t)((double)c->d_head * pct.value);
    if (c->rotary_dims % 2 != 0)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: %s %g with a head of %zu dimensions rotates %zu of them; the number must be even",
            r->path, pct.key, pct.value, c->d_head, c->rotary_dims);
    return PSC_OK;
}

static psc_status read_eps(const reader *r, psc_config *c) {
    number eps = {0};
    psc_status status = read_number(r, r->root, "layer_norm_eps", "layer_norm_eps", &eps);
    if (status) return status;
    if (!eps.key) eps.value = 1e-5;
    c->layer_norm_eps = (float)eps.value;
    /* At least the smallest normal float: with eps 0 a constant row would divide by zero. */
    if (!(eps.value <= 1.0 && c->layer_norm_eps >= 1.17549435e-38f))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: layer_norm_eps is %g; it must be positive and at most 1", r->path, eps.value);
    return PSC_OK;
}

/* One token id of the vocabulary; -1 means none. */
static psc_status read_id(
    const reader *r, const char *key, json_t *value, const psc_config *c, int32_t *out) {
    if (!json_is_integer(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a token id", r->path, key);
    long long id = json_integer_value(value);
    if (id < -1 || id >= (long long)c->d_vocab)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %lld, but vocab_size is %zu", r->path,
            key, id, c->d_vocab);
    *out = (int32_t)id;
    return PSC_OK;
}

/* Absent keys have transformers's defaults, 0 and 2; null means no such token. */
static psc_status read_ids(const reader *r, psc_config *c) {
    json_t *bos = json_object_get(r->root, "bos_token_id");
    json_t *eos = json_object_get(r->root, "eos_token_id");
    psc_status status = PSC_OK;
    c->bos_id = bos ? -1 : 0;
    c->n_eos = 0;
    if (bos && !json_is_null(bos)) status = read_id(r, "bos_token_id", bos, c, &c->bos_id);
    if (status || json_is_null(eos)) return status;
    if (!eos) {
        if (c->d_vocab > 2) c->eos_ids[c->n_eos++] = 2;
        return PSC_OK;
    }
    size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    if (n > PSC_MAX_EOS)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: eos_token_id lists more than %d ids",
            r->path, PSC_MAX_EOS);
    for (size_t i = 0; i < n && !status; i++) {
        json_t *value = json_is_array(eos) ? json_array_get(eos, i) : eos;
        status = read_id(r, "eos_token_id", value, c, &c->eos_ids[c->n_eos]);
        if (!status && c->eos_ids[c->n_eos] >= 0) c->n_eos++;
    }
    return status;
}

static psc_status read_dtype(const reader *r, psc_config *c) {
    const char *v5, *v4;
    psc_status status = read_string(r, r->root, "dtype", &v5);
    if (!status) status = read_string(r, r->root, "torch_dtype", &v4);
    if (status) return status;
    if (v5 && v4 && strcmp(v5, v4) != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: dtype is \"%.30s\", but torch_dtype is \"%.30s\"", r->path, v5, v4);
    if (!v5) v5 = v4 ? v4 : "";
    memcpy(c->dtype, v5, strnlen(v5, sizeof c->dtype - 1));
    return PSC_OK;
}

static psc_status read_all(const reader *r, psc_config *c) {
    if (!json_is_object(r->root))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s is not a JSON object", r->path);
    psc_status status = check_architecture(r);
    if (!status) status = read_sizes(r, c);
    if (!status) status = read_eps(r, c);
    if (!status) status = read_rotary(r, c);
    if (!status) status = read_bool(r, "use_parallel_residual", true, &c->parallel_residual);
    if (!status) status = read_bool(r, "tie_word_embeddings", false, &c->tied);
    if (!status) status = read_bool(r, "attention_bias", true, &c->attention_bias);
    if (!status) status = read_ids(r, c);
    if (!status) status = read_dtype(r, c);
    memcpy(c->activation, "gelu", 5);
    return status;
}

psc_status psc_config_read(psc_config *out, const char *folder, psc_error *error) {
    json_error_t parse;
    char *text = NULL;
    size_t size;
    *out = (psc_config){0};
    psc_status status = psc_folder_check(folder, error);
    if (status) return status;
    char *path = psc_path_join(folder, "config.json");
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    reader r = {path, NULL, error};
    status = psc_read_file(&text, &size, path, CONFIG_CAP, error);
    if (!status)
        status = psc_file_kind_refuse(psc_file_kind_of((unsigned char *)text, size), path, error);
    if (status) goto fail;
    r.root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &parse);
    if (r.root)
        status = read_all(&r, out);
    else
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d: %s", path,
            parse.line, parse.text);
fail:
    json_decref(r.root);
    free(text);
    free(path);
    return status;
}
