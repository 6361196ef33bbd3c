/* A model's facts and parameters for a client, as f32 in row-major order.
 *
 *   panels w[out/16][k][16] -> rows [out, k]
 *
 * A block of BLOCK_TERMS terms of a panel is widened on the stack, then
 * written as parts of rows. */
#include "model_header.h"

#include <string.h>

enum { BLOCK_TERMS = 32 };

/* --- facts ----------------------------------------------------------------------------------- */

psc_status psc_model_describe(psc_result_model *out, const psc_model *model, psc_error *error) {
    const psc_config *c = &model->config;
    const uint32_t known = out->struct_size;
    if (known < sizeof out->struct_size)
        return psc_fail(error, PSC_ERROR_INPUT,
            "psc_result_model.struct_size is not set; start from PSC_RESULT_MODEL_INIT");
    const psc_result_model facts = {.struct_size = known,
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
        .attention_bias = c->attention_bias,
        .bos_id = c->bos_id,
        .n_eos = (int32_t)c->n_eos,
        .eos_ids = c->eos_ids,
        .layer_norm_eps = c->layer_norm_eps_written,
        .rotary_pct = c->rotary_pct,
        .rotary_base = c->rotary_base,
        .path = model->info.path,
        .hash = model->info.hash,
        .activation = c->activation,
        .dtype = c->dtype,
        .name = model->info.name,
        .rope_type = c->rope.type,
        .rope_factor = c->rope.factor};
    memcpy(out, &facts, known < sizeof facts ? known : sizeof facts);
    return PSC_OK;
}

/* --- checks ---------------------------------------------------------------------------------- */

static psc_status check_layer(const psc_model *model, int32_t layer, psc_error *error) {
    const int32_t n = model->info.n_layers;
    if (layer >= 0 && layer < n) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "layer %d does not exist; layers are 0 to %d",
        (int)layer, (int)n - 1);
}

static psc_status find_matrix(const psc_packed **out, const psc_model *model, psc_matrix matrix,
    int32_t layer, psc_error *error) {
    psc_status status = psc_model_check_weights(model, error);
    if (status) return status;
    if ((int)matrix < 0 || matrix >= PSC_MATRIX_COUNT)
        return psc_fail(error, PSC_ERROR_INPUT, "matrix %d does not exist; matrices are 0 to %d",
            (int)matrix, (int)PSC_MATRIX_COUNT - 1);
    if (matrix != PSC_W_U) status = check_layer(model, layer, error);
    if (!status) *out = psc_model_packed(model, matrix, layer);
    return status;
}

static psc_status check_floats(int64_t floats, int64_t needed, const char *what, psc_error *error) {
    if (floats == needed) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "%s has %lld floats, but the caller has room for %lld",
        what, (long long)needed, (long long)floats);
}

static const psc_kernels *best_kernels(void) {
    return psc_kernels_for(psc_isa_best(psc_isa_mask()));
}

/* --- matrices -------------------------------------------------------------------------------- */

static void widen(
    float *out, const void *from, psc_dtype dtype, size_t n, const psc_kernels *kernels) {
    if (dtype == PSC_DTYPE_F32)
        memcpy(out, from, n * sizeof *out);
    else
        (dtype == PSC_DTYPE_F16 ? kernels->widen_f16 : kernels->widen_bf16)(out, from, n);
}

/* Writes 4 terms of 4 rows; constant bounds make it a transposition in registers. */
static inline void write_tile(float *out, const float *block, size_t k) {
    float tile[4][4];
    for (size_t i = 0; i < 4; i++)
        for (size_t lane = 0; lane < 4; lane++) tile[lane][i] = block[i * PSC_LANES + lane];
    for (size_t lane = 0; lane < 4; lane++) memcpy(out + lane * k, tile[lane], sizeof tile[lane]);
}

/* Writes n terms of `lanes` rows from the block [n][16] to out, whose rows are k floats apart. */
static void write_block(float *out, const float *block, size_t k, size_t n, size_t lanes) {
    const size_t whole_n = n & ~(size_t)3, whole_lanes = lanes & ~(size_t)3;
    for (size_t lane = 0; lane < whole_lanes; lane += 4)
        for (size_t i = 0; i < whole_n; i += 4)
            write_tile(out + lane * k + i, block + i * PSC_LANES + lane, k);
    for (size_t lane = 0; lane < lanes; lane++)
        for (size_t i = lane < whole_lanes ? whole_n : 0; i < n; i++)
            out[lane * k + i] = block[i * PSC_LANES + lane];
}

static void unpack(float *out, const psc_packed *w, const psc_kernels *kernels) {
    _Alignas(64) float block[BLOCK_TERMS * PSC_LANES];
    const char *from = w->panels;
    const size_t term = PSC_LANES * psc_dtype_size(w->dtype);
    for (size_t o = 0; o < w->out; o += PSC_LANES) {
        const size_t lanes = w->out - o < PSC_LANES ? w->out - o : PSC_LANES;
        for (size_t i = 0; i < w->k; i += BLOCK_TERMS) {
            const size_t n = w->k - i < BLOCK_TERMS ? w->k - i : BLOCK_TERMS;
            widen(block, from, w->dtype, n * PSC_LANES, kernels);
            write_block(out + o * w->k + i, block, w->k, n, lanes);
            from += n * term;
        }
    }
}

psc_status psc_model_matrix(float *out, int64_t floats, const psc_model *model, psc_matrix matrix,
    int32_t layer, psc_error *error) {
    const psc_packed *w = NULL;
    psc_status status = find_matrix(&w, model, matrix, layer, error);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without a status there is a matrix
    if (!status) status = check_floats(floats, (int64_t)(w->out * w->k), "the matrix", error);
    if (status) return status;
    psc_fp_state state = psc_fp_enter();
    unpack(out, w, best_kernels());
    psc_fp_leave(state);
    return PSC_OK;
}

psc_status psc_model_embedding(float *out, int64_t floats, const psc_model *model, int32_t first,
    int32_t n, psc_error *error) {
    const int32_t n_tokens = model->info.d_vocab;
    const size_t width = model->config.d_model;
    psc_status status = psc_model_check_weights(model, error);
    if (status) return status;
    if (first < 0 || n < 0 || first > n_tokens - n)
        return psc_fail(error, PSC_ERROR_INPUT,
            "rows %d to %lld of the embedding do not exist; token ids are 0 to %d", (int)first,
            (long long)first + n - 1, (int)n_tokens - 1);
    status = check_floats(floats, n * (int64_t)width, "this part of the embedding", error);
    if (status || n == 0) return status;
    const char *from = model->embed;
    psc_fp_state state = psc_fp_enter();
    widen(out, from + (size_t)first * width * psc_dtype_size(model->embed_dtype),
        model->embed_dtype, (size_t)n * width, best_kernels());
    psc_fp_leave(state);
    return PSC_OK;
}

/* --- vectors --------------------------------------------------------------------------------- */

psc_status psc_model_bias(float *out, int64_t floats, const psc_model *model, psc_matrix matrix,
    int32_t layer, psc_error *error) {
    const psc_packed *w = NULL;
    psc_status status = find_matrix(&w, model, matrix, layer, error);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as above
    if (!status) status = check_floats(floats, (int64_t)w->out, "the bias", error);
    if (status) return status;
    if (w->bias)
        memcpy(out, w->bias, w->out * sizeof *out);
    else
        memset(out, 0, w->out * sizeof *out);
    return PSC_OK;
}

psc_status psc_model_ln(float *gamma, float *beta, int64_t floats, const psc_model *model,
    psc_ln which, int32_t layer, psc_error *error) {
    const size_t n = model->config.d_model;
    psc_status status = psc_model_check_weights(model, error);
    if (status) return status;
    if ((int)which < 0 || which > PSC_LN_FINAL)
        return psc_fail(error, PSC_ERROR_INPUT, "LayerNorm %d does not exist; they are 0 to %d",
            (int)which, (int)PSC_LN_FINAL);
    if (which != PSC_LN_FINAL) status = check_layer(model, layer, error);
    if (!status) status = check_floats(floats, (int64_t)n, "each LayerNorm parameter", error);
    if (status) return status;
    const psc_layer_norm *ln = which == PSC_LN_FINAL ? &model->ln_final
                               : which == PSC_LN1    ? &model->layers[layer].ln1
                                                     : &model->layers[layer].ln2;
    if (gamma) memcpy(gamma, ln->gamma, n * sizeof *gamma);
    if (beta) memcpy(beta, ln->beta, n * sizeof *beta);
    return PSC_OK;
}
