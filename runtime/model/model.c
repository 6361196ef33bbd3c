/* Opening a model: config, checkpoint -> packed weights (weights_image.c), mapped from the cache or
 * in private memory; rotary tables (rotary.c). */
#include "model.h"

#include "arena.h"
#include "model_header.h"
#include "weights_cache.h"
#include "weights_cache_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static psc_status no_memory(psc_error *error, const char *what) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the model's %s", what);
}

/* A tokenizer of another kind is no failure: the model takes ids. */
static psc_status load_tokenizer(psc_model *model, psc_error *error) {
    char *path = psc_path_join(model->path, "tokenizer.json");
    if (!path) return no_memory(error, "path");
    psc_error why = {PSC_OK, ""};
    psc_status status = PSC_OK;
    if (psc_path_exists(path))
        status = psc_tokenizer_open_folder(&model->tokenizer, model->path, &why);
    else
        psc_fail(&why, PSC_ERROR_INPUT, "%s has no tokenizer.json", model->path);
    free(path);
    if (status == PSC_ERROR_MEMORY || status == PSC_ERROR_IO)
        return psc_fail(error, status, "%s", why.message);
    if (!model->tokenizer) model->tokenizer_reason = strdup(why.message);
    return model->tokenizer || model->tokenizer_reason ? PSC_OK : no_memory(error, "tokenizer");
}

static void fill_info(psc_model *model) {
    const psc_config *c = &model->config;
    model->info = (psc_model_info){.struct_size = sizeof model->info,
        .n_layers = (int32_t)c->n_layers,
        .n_heads = (int32_t)c->n_heads,
        .d_model = (int32_t)c->d_model,
        .d_head = (int32_t)c->d_head,
        .d_mlp = (int32_t)c->d_mlp,
        .d_vocab = (int32_t)c->d_vocab,
        .n_ctx = (int32_t)c->n_ctx,
        .rotary_dims = (int32_t)c->rotary_dims,
        .parallel_residual = c->parallel_residual,
        .tied = c->tied,
        .layer_norm_eps = c->layer_norm_eps,
        .hash = model->hash,
        .path = model->path,
        .name = model->name,
        .gelu = c->gelu};
}

/* Packs the weights into private memory. */
static psc_status pack(psc_model *model, const psc_image_plan *plan, psc_error *error) {
    const psc_piece *last = &plan->pieces[plan->n - 1];
    psc_status status = psc_map_memory(&model->weights, (size_t)plan->bytes, error);
    if (status) return status;
    unsigned char *image = (unsigned char *)model->weights.data;
    status = psc_image_pack(model->hash, plan, image, NULL, NULL, error);
    if (!status)
        status = psc_image_mean((float *)(void *)(image + last->offset), plan, image, error);
    if (status) return status;
    psc_memory_seal(&model->weights);
    psc_image_attach(plan, image);
    return PSC_OK;
}

/* Maps the weights from the cache, after adding them if needed; false if there is no cached file.
 * weights_text then says why. */
static bool load_kept(
    psc_model *model, const psc_image_plan *plan, const psc_model_options *options) {
    psc_cache cache = {options->cache_dir, options->cache_limit, model->path};
    psc_error reason = {0};
    bool found = false;
    char *text = model->weights_text;
    const size_t size = sizeof model->weights_text;
    if (cache.limit == 0) cache.limit = PSC_CACHE_LIMIT_DEFAULT;
    uint64_t least = options->cache_least ? options->cache_least : PSC_CACHE_LEAST_DEFAULT;
    if (!cache.dir || plan->bytes < least) {
        snprintf(text, size, "packed, %s", cache.dir ? "too small to cache" : "not cached");
        return false;
    }
    if (psc_cache_load(&model->weights, model->hash, &found, plan, &cache, &reason) != PSC_OK) {
        snprintf(text, size, "packed, not cached: %s", reason.message);
        return false;
    }
    psc_image_attach(plan, model->weights.data + PSC_CACHE_HEADER_BYTES);
    snprintf(text, size, found ? "mapped from %s" : "packed, cached in %s", cache.dir);
    return true;
}

static psc_status load_weights(psc_model *model, const psc_checkpoint *checkpoint,
    const psc_model_options *options, psc_error *error) {
    psc_image_plan plan;
    model->layers = calloc(model->config.n_layers, sizeof *model->layers);
    if (!model->layers) return no_memory(error, "layers");
    psc_status status = psc_image_plan_open(&plan, model, checkpoint, error);
    if (status) return status;
    if (!load_kept(model, &plan, options)) status = pack(model, &plan, error);
    psc_image_plan_close(&plan);
    if (status) return status;
    const size_t n_ctx = model->config.n_ctx;
    return psc_rotary_open(&model->rotary, &model->config,
        n_ctx < PSC_ROTARY_SHARED ? n_ctx : PSC_ROTARY_SHARED, error);
}

/* Appends to text; false without room, or without memory, which glibc's printf needs for more than
 * about 14 conversions once a library has added one of its own, as libquadmath does. */
static bool put(char *text, size_t size, const char *format, ...) PSC_PRINTF(3, 4);
static bool put(char *text, size_t size, const char *format, ...) {
    const size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
    return n >= 0 && (size_t)n < size - used;
}

/* The lines of a scaled rotary embedding; none for the default. */
static bool put_rope(char *text, size_t size, const psc_rope *rope) {
    if (rope->kind == PSC_ROPE_DEFAULT) return true;
    bool whole = put(text, size, "rope_type: %s\nrope_factor: %g\n", rope->type, rope->factor);
    if (rope->kind == PSC_ROPE_YARN)
        whole = whole && put(text, size,
                             "original_max_position_embeddings: %g\nbeta_fast: %g\nbeta_slow: %g\n"
                             "attention_factor: %.9g\n",
                             rope->context, rope->beta_fast, rope->beta_slow, rope->scale);
    return whole;
}

/* Null without memory. */
static char *config_text(const psc_config *c) {
    char text[1280] = "";
    const size_t size = sizeof text;
    const bool whole =
        put(text, size, "n_layers: %zu\nn_heads: %zu\nd_model: %zu\nd_head: %zu\n", c->n_layers,
            c->n_heads, c->d_model, c->d_head) &&
        put(text, size, "d_mlp: %zu\nd_vocab: %zu\nn_ctx: %zu\nlayer_norm_eps: %.15g\n", c->d_mlp,
            c->d_vocab, c->n_ctx, c->layer_norm_eps_written) &&
        put(text, size, "rotary_dims: %zu\nrotary_pct: %.15g\nrotary_base: %.15g\n", c->rotary_dims,
            c->rotary_pct, c->rotary_base) &&
        put_rope(text, size, &c->rope) &&
        put(text, size, "parallel_residual: %s\ntied: %s\nattention_bias: %s\n",
            c->parallel_residual ? "true" : "false", c->tied ? "true" : "false",
            c->attention_bias ? "true" : "false") &&
        put(text, size, "activation: %s\ndtype: %s\n", c->activation, c->dtype);
    return whole ? strdup(text) : NULL;
}

psc_status psc_model_open(psc_model **out, const char *name, psc_error *error) {
    return psc_model_open_with(out, name, NULL, error);
}

/* Copies the members that the caller's version has. */
static psc_status read_options(
    psc_model_options *out, const psc_model_options *options, psc_error *error) {
    *out = (psc_model_options)PSC_MODEL_OPTIONS_INIT;
    if (!options) return PSC_OK;
    if (options->struct_size < sizeof options->struct_size)
        return psc_fail(error, PSC_ERROR_INPUT,
            "psc_model_options.struct_size is not set; start from PSC_MODEL_OPTIONS_INIT");
    size_t n = options->struct_size < sizeof *out ? options->struct_size : sizeof *out;
    memcpy(out, options, n);
    return PSC_OK;
}

static psc_status open_model(psc_model **out, const char *name, const psc_model_options *options,
    bool with_weights, psc_error *error) {
    psc_model_options known;
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    *out = NULL;
    if (!psc_isa_mask())
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "this processor is not supported: it lacks fused multiply-add (FMA) or AVX");
    psc_status status = read_options(&known, options, error);
    if (!status) status = psc_model_find(&place, name, error);
    if (status) return status;
    psc_checkpoint *checkpoint = NULL;
    psc_model *model = calloc(1, sizeof *model);
    if (!model) return no_memory(error, "head");
    status = no_memory(error, "path");
    model->path = strdup(place.folder);
    model->name = strdup(place.name);
    if (!model->path || !model->name) goto fail;
    status = psc_config_read(&model->config, model->path, error);
    if (status == PSC_OK) status = load_tokenizer(model, error);
    if (status == PSC_OK)
        status = (with_weights ? psc_checkpoint_open : psc_checkpoint_open_header)(
            &checkpoint, model->path, &model->config, error);
    if (status == PSC_OK && with_weights) status = load_weights(model, checkpoint, &known, error);
    if (status != PSC_OK) goto fail;
    if (!with_weights) psc_model_read_header(model, checkpoint, &known);
    psc_checkpoint_close(&checkpoint);
    model->config_text = config_text(&model->config);
    if (!model->config_text) {
        status = no_memory(error, "config");
        goto fail;
    }
    fill_info(model);
    *out = model;
    return PSC_OK;
fail:
    psc_checkpoint_close(&checkpoint);
    psc_model_close(&model);
    return status;
}

psc_status psc_model_open_with(
    psc_model **out, const char *name, const psc_model_options *options, psc_error *error) {
    return open_model(out, name, options, true, error);
}

psc_status psc_model_open_header(
    psc_model **out, const char *name, const psc_model_options *options, psc_error *error) {
    return open_model(out, name, options, false, error);
}

void psc_model_close(psc_model **out) {
    psc_model *model = *out;
    if (!model) return;
    psc_unmap_file(&model->weights);
    free(model->layers);
    psc_rotary_close(&model->rotary);
    psc_tokenizer_close(&model->tokenizer);
    free(model->tokenizer_reason);
    free(model->config_text);
    free(model->path);
    free(model->name);
    free(model);
    *out = NULL;
}

const char *psc_model_weights_text(const psc_model *model) {
    return model->weights_text;
}

const psc_model_info *psc_model_get_info(const psc_model *model) {
    return &model->info;
}

const char *psc_model_config_text(const psc_model *model) {
    return model->config_text;
}

const psc_packed *psc_model_packed(const psc_model *model, psc_matrix matrix, int32_t layer) {
    if (matrix == PSC_W_U) return &model->unembed;
    if ((int)matrix < 0 || matrix > PSC_W_OUT) return NULL;
    if (layer < 0 || (size_t)layer >= model->config.n_layers) return NULL;
    return &model->layers[layer].matrix[matrix];
}

void psc_model_embed_row(
    const psc_model *model, const psc_kernels *kernels, int32_t token, float *row) {
    size_t n = model->config.d_model;
    const char *from =
        (const char *)model->embed + (size_t)token * n * psc_dtype_size(model->embed_dtype);
    switch (model->embed_dtype) {
    case PSC_DTYPE_F16:
        kernels->widen_f16(row, from, n);
        break;
    case PSC_DTYPE_BF16:
        kernels->widen_bf16(row, from, n);
        break;
    default:
        memcpy(row, from, n * sizeof *row);
        break;
    }
}
