/* config.json -> psc_config. One helper per kind of value; each error names the file and the key.
 *   d_head = hidden_size / num_attention_heads
 * The rotary embedding and the ids have files of their own. */
#include "config_reader.h"

#include "file_kind.h"
#include "files.h"
#include "json.h"
#include "model_folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_CAP ((size_t)1 << 20)

static psc_status read_size(
    const psc_config_reader *r, const char *key, long long fallback, long long max, size_t *out) {
    json_t *value = psc_config_get(r->root, key);
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

static psc_status read_bool(const psc_config_reader *r, const char *key, bool fallback, bool *out) {
    json_t *value = psc_config_get(r->root, key);
    if (value && !json_is_boolean(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be true or false", r->path, key);
    *out = value ? json_is_true(value) : fallback;
    return PSC_OK;
}

static psc_status check_architecture(const psc_config_reader *r) {
    const char *type;
    psc_status status = psc_config_string(r, r->root, "model_type", &type);
    if (status) return status;
    if (!type)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s has no model_type; pass a folder in the format of transformers", r->path);
    if (strcmp(type, "gpt_neox") != 0)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: model_type is \"%.60s\", but only gpt_neox is supported; pass a GPT-NeoX model, such as "
            "a Pythia",
            r->path, type);
    if (psc_config_get(r->root, "quantization_config"))
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s has a quantization_config, but quantized models are not supported", r->path);
    return PSC_OK;
}

/* The names that transformers has for the two forms of GELU. Their constants differ by less than
 * f32 can tell. */
static const struct {
    const char *name;
    psc_gelu form;
} activations[] = {
    {"gelu", PSC_GELU_ERF},
    {"gelu_python", PSC_GELU_ERF},
    {"gelu_new", PSC_GELU_TANH},
    {"gelu_fast", PSC_GELU_TANH},
    {"gelu_accurate", PSC_GELU_TANH},
    {"gelu_pytorch_tanh", PSC_GELU_TANH},
    {"gelu_python_tanh", PSC_GELU_TANH},
};

static psc_status read_activation(const psc_config_reader *r, psc_config *c) {
    const char *name;
    psc_status status = psc_config_string(r, r->root, "hidden_act", &name);
    if (status) return status;
    if (!name) name = "gelu";
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        if (strcmp(name, activations[i].name) != 0) continue;
        c->gelu = activations[i].form;
        memcpy(c->activation, name, strlen(name) + 1);
        return PSC_OK;
    }
    return psc_fail(r->error, PSC_ERROR_SUPPORT,
        "%s: hidden_act is \"%.60s\", but only GELU is supported: gelu or gelu_python (with erf), "
        "gelu_new, gelu_fast, gelu_accurate, gelu_pytorch_tanh or gelu_python_tanh (with tanh)",
        r->path, name);
}

static psc_status read_sizes(const psc_config_reader *r, psc_config *c) {
    size_t head_dim = 0;
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

static psc_status read_eps(const psc_config_reader *r, psc_config *c) {
    psc_config_value eps = {0};
    psc_status status = psc_config_number(r, r->root, "layer_norm_eps", "layer_norm_eps", &eps);
    if (status) return status;
    if (!eps.key) eps.value = 1e-5;
    c->layer_norm_eps_written = eps.value;
    c->layer_norm_eps = (float)eps.value;
    /* At least the smallest normal float: with eps 0 a constant row would divide by zero. */
    if (!(eps.value <= 1.0 && c->layer_norm_eps >= 1.17549435e-38f))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: layer_norm_eps is %g; it must be positive and at most 1", r->path, eps.value);
    return PSC_OK;
}

static psc_status read_dtype(const psc_config_reader *r, psc_config *c) {
    const char *v5, *v4;
    psc_status status = psc_config_string(r, r->root, "dtype", &v5);
    if (!status) status = psc_config_string(r, r->root, "torch_dtype", &v4);
    if (status) return status;
    if (v5 && v4 && strcmp(v5, v4) != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: dtype is \"%.30s\", but torch_dtype is \"%.30s\"", r->path, v5, v4);
    if (!v5) v5 = v4 ? v4 : "";
    memcpy(c->dtype, v5, strnlen(v5, sizeof c->dtype - 1));
    return PSC_OK;
}

static psc_status read_all(psc_config *c, const psc_config_reader *r) {
    if (!json_is_object(r->root))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s is not a JSON object", r->path);
    psc_status status = check_architecture(r);
    if (!status) status = read_activation(r, c);
    if (!status) status = read_sizes(r, c);
    if (!status) status = read_eps(r, c);
    if (!status) status = psc_config_read_rotary(c, r);
    if (!status) status = read_bool(r, "use_parallel_residual", true, &c->parallel_residual);
    if (!status) status = read_bool(r, "tie_word_embeddings", false, &c->tied);
    if (!status) status = read_bool(r, "attention_bias", true, &c->attention_bias);
    if (!status) status = psc_config_read_ids(c, r);
    if (!status) status = read_dtype(r, c);
    return status;
}

typedef psc_status (*read_fn)(psc_config *c, const psc_config_reader *r);

/* Reads a JSON file of the folder with fn; PSC_OK without reading if an optional one is absent. */
static psc_status read_file(psc_config *out, const char *folder, const char *name, bool optional,
    read_fn fn, psc_error *error) {
    json_error_t parse;
    char *text = NULL;
    size_t size;
    char *path = psc_path_join(folder, name);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_config_reader r = {path, NULL, error};
    psc_status status = PSC_OK;
    if (optional && !psc_path_exists(path)) goto fail;
    status = psc_read_file(&text, &size, path, CONFIG_CAP, error);
    if (!status)
        status = psc_file_kind_refuse(psc_file_kind_of((unsigned char *)text, size), path, error);
    if (status) goto fail;
    r.root = psc_json_load(text, size, JSON_REJECT_DUPLICATES, &parse);
    if (r.root)
        status = fn(out, &r);
    else if (psc_json_no_memory(&parse))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
    else
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d: %s", path,
            parse.line, parse.text);
fail:
    json_decref(r.root);
    free(text);
    free(path);
    return status;
}

psc_status psc_config_read(psc_config *out, const char *folder, psc_error *error) {
    *out = (psc_config){0};
    psc_status status = psc_folder_check(folder, error);
    if (status) return status;
    status = read_file(out, folder, "config.json", false, read_all, error);
    if (status) return status;
    return read_file(out, folder, "generation_config.json", true, psc_config_read_ends, error);
}
