/* Opening a model: config, checkpoint -> panels of 16 outputs; biases and LayerNorm parameters as
 * f32; rotary tables cos, sin of position * base^(-2i/n_rot), in f64 by SLEEF, rounded once. */
#include "model.h"

#include "arena.h"
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static psc_status no_memory(psc_error *error, const char *what) {
    return psc_fail(error, PSC_ERROR_MEMORY, "no memory for the model's %s", what);
}

static float *to_f32(const psc_weight *weight) {
    float *out = psc_aligned_alloc((uint64_t)weight->rows * weight->cols * sizeof *out);
    if (out) psc_weight_to_f32(out, weight);
    return out;
}

/* Rows first_row.. of weight in groups (psc_pack) as a matrix [out, cols]. */
static psc_status pack(psc_packed *packed, const psc_weight *weight, size_t out, size_t first_row,
    size_t group, size_t stride, psc_error *error) {
    packed->dtype = weight->dtype;
    packed->out = out;
    packed->k = weight->cols;
    packed->k_block = PSC_K_BLOCK;
    packed->panels = psc_aligned_alloc(
        (uint64_t)psc_packed_elements(out, packed->k) * psc_dtype_size(weight->dtype));
    if (!packed->panels) return no_memory(error, "weights");
    psc_pack(packed->panels, weight->data, weight->dtype, out, packed->k, first_row, group, stride);
    return PSC_OK;
}

static psc_status pack_whole(
    psc_packed *packed, const psc_weight *weight, const psc_weight *bias, psc_error *error) {
    psc_status status = pack(packed, weight, weight->rows, 0, weight->rows, 0, error);
    if (status != PSC_OK || !bias || !bias->data) return status;
    packed->bias = to_f32(bias);
    return packed->bias ? PSC_OK : no_memory(error, "biases");
}

/* query_key_value lies per head as q, k, v; each becomes a matrix of its own. */
static psc_status pack_qkv(psc_layer *layer, const psc_layer_weights *weights,
    const psc_config *config, psc_error *error) {
    size_t d_head = config->d_head, out = config->n_heads * d_head;
    float *bias = weights->qkv_bias.data ? to_f32(&weights->qkv_bias) : NULL;
    if (weights->qkv_bias.data && !bias) return no_memory(error, "biases");
    psc_status status = PSC_OK;
    for (size_t part = 0; part < 3 && status == PSC_OK; part++) {
        psc_packed *packed = &layer->matrix[PSC_W_Q + part];
        status = pack(packed, &weights->qkv, out, part * d_head, d_head, 3 * d_head, error);
        if (status != PSC_OK || !bias) continue;
        packed->bias = psc_aligned_alloc(out * sizeof(float));
        if (!packed->bias) status = no_memory(error, "biases");
        for (size_t h = 0; packed->bias && h < config->n_heads; h++)
            memcpy(
                packed->bias + h * d_head, bias + (3 * h + part) * d_head, d_head * sizeof(float));
    }
    psc_aligned_free(bias);
    return status;
}

static psc_status load_ln(
    psc_layer_norm *ln, const psc_weight *gamma, const psc_weight *beta, psc_error *error) {
    ln->gamma = to_f32(gamma);
    ln->beta = to_f32(beta);
    return ln->gamma && ln->beta ? PSC_OK : no_memory(error, "LayerNorm parameters");
}

static psc_status load_layer(psc_layer *layer, const psc_layer_weights *weights,
    const psc_config *config, psc_error *error) {
    psc_status status = pack_qkv(layer, weights, config, error);
    if (status == PSC_OK)
        status = pack_whole(&layer->matrix[PSC_W_O], &weights->dense, &weights->dense_bias, error);
    layer->matrix[PSC_W_O].k_block = config->d_head; /* a block's sum is hook_result */
    if (status == PSC_OK)
        status =
            pack_whole(&layer->matrix[PSC_W_IN], &weights->mlp_in, &weights->mlp_in_bias, error);
    if (status == PSC_OK)
        status =
            pack_whole(&layer->matrix[PSC_W_OUT], &weights->mlp_out, &weights->mlp_out_bias, error);
    if (status == PSC_OK)
        status = load_ln(&layer->ln1, &weights->ln1_gamma, &weights->ln1_beta, error);
    if (status == PSC_OK)
        status = load_ln(&layer->ln2, &weights->ln2_gamma, &weights->ln2_beta, error);
    return status;
}

static psc_status load_embedding(psc_model *model, const psc_weight *embed, psc_error *error) {
    size_t bytes = embed->rows * embed->cols * psc_dtype_size(embed->dtype);
    model->embed_dtype = embed->dtype;
    model->embed = psc_aligned_alloc(bytes);
    if (!model->embed) return no_memory(error, "embedding");
    memcpy(model->embed, embed->data, bytes);
    return PSC_OK;
}

/* W_U^T 1 / V: the pull-back of ones, divided. */
static psc_status load_unembed_mean(psc_model *model, psc_error *error) {
    const psc_packed *w = &model->unembed;
    const psc_kernels *kernels = psc_kernels_for(psc_isa_best(psc_isa_mask()));
    float *ones = psc_aligned_alloc(w->out * sizeof *ones);
    model->unembed_mean = psc_aligned_alloc(w->k * sizeof(float));
    if (!ones || !model->unembed_mean) {
        psc_aligned_free(ones);
        return no_memory(error, "mean unembedding");
    }
    for (size_t i = 0; i < w->out; i++) ones[i] = 1.0f;
    psc_pullback p = {.y = model->unembed_mean,
        .ldy = w->k,
        .u = ones,
        .ldu = w->out,
        .w = w->panels,
        .rows = 1,
        .k = w->k,
        .out = w->out,
        .k_begin = 0,
        .k_end = w->k};
    psc_fp_state state = psc_fp_enter();
    kernels->pullback[w->dtype](&p);
    for (size_t i = 0; i < w->k; i++) model->unembed_mean[i] /= (float)w->out;
    psc_fp_leave(state);
    psc_aligned_free(ones);
    return PSC_OK;
}

static psc_status load_rotary(psc_model *model, psc_error *error) {
    size_t half = model->config.rotary_dims / 2, n = model->config.n_ctx;
    model->rotary_cos = psc_aligned_alloc(n * half * sizeof(float));
    model->rotary_sin = psc_aligned_alloc(n * half * sizeof(float));
    if (!model->rotary_cos || !model->rotary_sin) return no_memory(error, "rotary tables");
    psc_rotary_tables(model->rotary_cos, model->rotary_sin, n, half, model->config.rotary_base);
    return PSC_OK;
}

static psc_status load_tokenizer(psc_model *model, psc_error *error) {
    size_t size = strlen(model->path) + sizeof "/tokenizer.json";
    char *path = malloc(size);
    if (!path) return no_memory(error, "path");
    snprintf(path, size, "%s/tokenizer.json", model->path);
    psc_status status = PSC_OK;
    if (access(path, F_OK) == 0) status = psc_tokenizer_open(&model->tokenizer, path, error);
    free(path);
    return status;
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
        .path = model->path};
}

static psc_status load_weights(psc_model *model, psc_checkpoint *weights, psc_error *error) {
    const psc_config *config = &model->config;
    model->layers = calloc(config->n_layers, sizeof *model->layers);
    if (!model->layers) return no_memory(error, "layers");
    psc_status status = load_embedding(model, &weights->embed, error);
    for (size_t l = 0; l < config->n_layers && status == PSC_OK; l++)
        status = load_layer(&model->layers[l], &weights->layers[l], config, error);
    if (status == PSC_OK)
        status =
            load_ln(&model->ln_final, &weights->ln_final_gamma, &weights->ln_final_beta, error);
    if (status == PSC_OK) status = pack_whole(&model->unembed, &weights->unembed, NULL, error);
    if (status == PSC_OK) status = load_unembed_mean(model, error);
    if (status == PSC_OK) status = load_rotary(model, error);
    return status;
}

static char *config_text(const psc_config *c) {
    char text[1024];
    snprintf(text, sizeof text,
        "n_layers: %zu\nn_heads: %zu\nd_model: %zu\nd_head: %zu\nd_mlp: %zu\nd_vocab: %zu\n"
        "n_ctx: %zu\nlayer_norm_eps: %g\nrotary_dims: %zu\nrotary_base: %g\n"
        "parallel_residual: %s\ntied: %s\nattention_bias: %s\nactivation: %s\ndtype: %s\n",
        c->n_layers, c->n_heads, c->d_model, c->d_head, c->d_mlp, c->d_vocab, c->n_ctx,
        (double)c->layer_norm_eps, c->rotary_dims, c->rotary_base,
        c->parallel_residual ? "true" : "false", c->tied ? "true" : "false",
        c->attention_bias ? "true" : "false", c->activation, c->dtype);
    return strdup(text);
}

psc_status psc_model_open(psc_model **out, const char *folder, psc_error *error) {
    *out = NULL;
    if (!psc_isa_mask())
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "this processor is too old: fused multiply-add (FMA) and AVX are needed");
    psc_checkpoint *weights = NULL;
    psc_model *model = calloc(1, sizeof *model);
    if (!model) return no_memory(error, "head");
    psc_status status = no_memory(error, "path");
    model->path = strdup(folder);
    if (!model->path) goto fail;
    status = psc_config_read(&model->config, folder, error);
    if (status == PSC_OK) status = load_tokenizer(model, error);
    if (status == PSC_OK) status = psc_checkpoint_open(&weights, folder, &model->config, error);
    if (status == PSC_OK) status = load_weights(model, weights, error);
    if (status != PSC_OK) goto fail;
    status = psc_checkpoint_hash(model->hash, weights, error);
    if (status != PSC_OK) goto fail;
    psc_checkpoint_close(&weights);
    model->config_text = config_text(&model->config);
    if (!model->config_text) {
        status = no_memory(error, "config");
        goto fail;
    }
    fill_info(model);
    *out = model;
    return PSC_OK;
fail:
    psc_checkpoint_close(&weights);
    psc_model_close(&model);
    return status;
}

static void free_packed(psc_packed *packed) {
    psc_aligned_free(packed->panels);
    psc_aligned_free(packed->bias);
}

static void free_ln(psc_layer_norm *ln) {
    psc_aligned_free(ln->gamma);
    psc_aligned_free(ln->beta);
}

void psc_model_close(psc_model **out) {
    psc_model *model = *out;
    if (!model) return;
    for (size_t l = 0; model->layers && l < model->config.n_layers; l++) {
        for (int m = 0; m <= PSC_W_OUT; m++) free_packed(&model->layers[l].matrix[m]);
        free_ln(&model->layers[l].ln1);
        free_ln(&model->layers[l].ln2);
    }
    free(model->layers);
    free_ln(&model->ln_final);
    free_packed(&model->unembed);
    psc_aligned_free(model->embed);
    psc_aligned_free(model->rotary_cos);
    psc_aligned_free(model->rotary_sin);
    psc_aligned_free(model->unembed_mean);
    psc_tokenizer_close(&model->tokenizer);
    free(model->config_text);
    free(model->path);
    free(model);
    *out = NULL;
}

const psc_model_info *psc_model_get_info(const psc_model *model) {
    return &model->info;
}

const char *psc_model_config_text(const psc_model *model) {
    return model->config_text;
}

const psc_packed *psc_model_matrix(const psc_model *model, psc_matrix matrix, int32_t layer) {
    if (matrix == PSC_W_U) return &model->unembed;
    if ((int)matrix < 0 || matrix > PSC_W_OUT) return NULL;
    if (layer < 0 || (size_t)layer >= model->config.n_layers) return NULL;
    return &model->layers[layer].matrix[matrix];
}

void psc_model_embedding(
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
