/* The tensors of a dictionary by role, as f32, checked before anything uses them.
 *
 *   W_enc [d_in, F] or encoder.weight [F, d_in] -> panels of 16 latents (simd/pack.c)
 *   W_dec [F, d_out] -> rows;  W_skip [d_out, d_in] -> panels
 *
 * A rescaled top-k ranks h_i |d_i| and writes f_i d_i / |d_i|: W_enc and b_enc take the norm, W_dec
 * loses it, so that nothing else knows of it. */
#include "coder.h"

#include "arena.h"
#include "tensor_floats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Larger weights are those of no dictionary, and a product of two of them would overflow. */
#define LARGEST 1e18f

typedef struct reader {
    psc_coder *coder;
    psc_tensors *set;
    const char *path;
    float *norms; /* [F] |d_i| of a rescaled top-k; else null */
    psc_error *error;
} reader;

/* --- tensors --------------------------------------------------------------------------------- */

static psc_status find(const reader *r, const char *name, const psc_tensor **out) {
    *out = psc_tensors_find(r->set, name);
    if (!*out)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s has no tensor \"%s\", which this kind of dictionary (%.60s) needs", r->path,
            name, r->coder->config.architecture);
    float number;
    if ((*out)->size > 0 && psc_tensor_floats(r->coder->kernels, *out, 0, 1, &number))
        return PSC_OK;
    return psc_fail(r->error, PSC_ERROR_INPUT,
        "%.300s: tensor \"%s\" has %s; it must have numbers as F32, F16, BF16 or F64", r->path,
        name, (*out)->size > 0 ? (*out)->dtype : "no elements");
}

static psc_status expect(
    const reader *r, const psc_tensor *tensor, size_t rank, size_t first, size_t second) {
    const bool right = tensor->rank == rank && tensor->shape[0] == first &&
                       (rank == 1 || tensor->shape[1] == second);
    if (right) return PSC_OK;
    if (rank == 1)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s: tensor \"%s\" must have %zu numbers on one axis", r->path, tensor->name,
            first);
    return psc_fail(r->error, PSC_ERROR_INPUT,
        "%.300s: tensor \"%s\" must have the shape [%zu, %zu]", r->path, tensor->name, first,
        second);
}

/* Elements first..first+n-1, all finite and at most LARGEST. */
static psc_status take(
    const reader *r, const psc_tensor *tensor, size_t first, size_t n, float *out) {
    psc_tensor_floats(r->coder->kernels, tensor, first, n, out);
    uint32_t wrong = 0; /* NaN counts */
    for (size_t i = 0; i < n; i++) wrong |= !(fabsf(out[i]) <= LARGEST);
    if (!wrong) return PSC_OK;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(out[i]) <= LARGEST))
            return psc_fail(r->error, PSC_ERROR_INPUT,
                isfinite(out[i])
                    ? "%.300s: tensor \"%s\" holds a number beyond 1e18 (element %zu), whose products "
                      "overflow"
                    : "%.300s: tensor \"%s\" holds a NaN or an infinite number (element %zu)",
                r->path, tensor->name, first + i);
    return PSC_OK;
}

static psc_status make(const reader *r, uint64_t n, float **out) {
    *out = n < UINT64_C(1) << 45 ? psc_aligned_calloc(n * sizeof **out) : NULL;
    if (*out) return PSC_OK;
    return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for %.300s", r->path);
}

/* A vector of n numbers; all the same if the tensor has only one and may. */
static psc_status read_vector(
    const reader *r, const char *name, size_t n, bool or_one, float **out) {
    const psc_tensor *tensor;
    psc_status status = find(r, name, &tensor);
    if (status) return status;
    const bool one = or_one && n != 1 && (tensor->rank == 0 || tensor->shape[0] == 1);
    if (!one) status = expect(r, tensor, 1, n, 0);
    if (!status) status = make(r, n, out);
    if (!status) status = take(r, tensor, 0, one ? 1 : n, *out);
    for (size_t i = 1; !status && one && i < n; i++) (*out)[i] = (*out)[0];
    return status;
}

/* --- matrices -------------------------------------------------------------------------------- */

/* Panels of W [out, k] that the file has row by row. */
static psc_status pack_rows(
    const reader *r, const psc_tensor *tensor, size_t out, size_t k, float *panels) {
    float *rows = psc_aligned_alloc(PSC_LANES * k * sizeof *rows);
    psc_status status = PSC_OK;
    if (!rows) return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for %.300s", r->path);
    for (size_t o = 0; !status && o < out; o += PSC_LANES) {
        const size_t n = out - o < PSC_LANES ? out - o : PSC_LANES;
        status = take(r, tensor, o * k, n * k, rows);
        if (!status) psc_pack(panels + o * k, rows, PSC_DTYPE_F32, n, k, 0, n, 0);
    }
    psc_aligned_free(rows);
    return status;
}

/* Panels of W [out, k] that the file has as [k, out]: sixteen neighbors of a row are a panel's. */
static psc_status pack_columns(
    const reader *r, const psc_tensor *tensor, size_t out, size_t k, float *panels) {
    float *row = psc_aligned_alloc(out * sizeof *row);
    psc_status status = PSC_OK;
    if (!row) return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for %.300s", r->path);
    for (size_t i = 0; !status && i < k; i++) {
        status = take(r, tensor, i * out, out, row);
        for (size_t o = 0; !status && o < out; o += PSC_LANES)
            memcpy(panels + o * k + i * PSC_LANES, row + o,
                (out - o < PSC_LANES ? out - o : PSC_LANES) * sizeof *row);
    }
    psc_aligned_free(row);
    return status;
}

static psc_status read_matrix(const reader *r, const psc_tensor *tensor, bool columns, size_t out,
    size_t k, psc_packed *packed) {
    float *panels = NULL;
    psc_status status = expect(r, tensor, 2, columns ? k : out, columns ? out : k);
    if (!status) status = make(r, psc_packed_elements(out, k), &panels);
    *packed = (psc_packed){
        .panels = panels, .dtype = PSC_DTYPE_F32, .out = out, .k = k, .k_block = PSC_K_BLOCK};
    if (!status) status = (columns ? pack_columns : pack_rows)(r, tensor, out, k, panels);
    return status;
}

/* --- sizes ----------------------------------------------------------------------------------- */

/* F is what W_enc has, and what cfg.json says where it does. */
static psc_status find_sizes(const reader *r, const psc_tensor *encoder, bool *columns) {
    psc_coder_config *c = &r->coder->config;
    const size_t width = (size_t)c->d_in;
    if (encoder->rank != 2 || (encoder->shape[0] != width && encoder->shape[1] != width))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s: tensor \"%s\" must have an axis of %zu numbers, as a row of %s has", r->path,
            encoder->name, width, r->coder->in_name);
    *columns = c->layout == PSC_CODER_SAELENS ||
               (c->layout == PSC_CODER_TENSORS && encoder->shape[1] != width);
    const size_t n = encoder->shape[*columns ? 1 : 0];
    if (c->subtracts_b_dec && c->d_in != c->d_out)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s subtracts b_dec from its input, so rows of %s and %s must be equally wide",
            c->said, r->coder->in_name, r->coder->out_name);
    if (n > 1 << 24 || (c->n_latents && n != (size_t)c->n_latents))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s: tensor \"%s\" has %zu latents, but there must be %s%d", r->path, encoder->name,
            n, c->n_latents ? "" : "at most ", c->n_latents ? (int)c->n_latents : 1 << 24);
    c->n_latents = (int32_t)n;
    const bool has_k = c->kind == PSC_DICTIONARY_TOPK || c->kind == PSC_DICTIONARY_ABSTOPK ||
                       c->kind == PSC_DICTIONARY_GROUPMAX;
    if (!has_k) return PSC_OK;
    if (c->k < 1 || c->k > c->n_latents)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s: k is %d; it must be from 1 to the %d "
            "latents",
            c->said, (int)c->k, (int)c->n_latents);
    if (c->kind == PSC_DICTIONARY_GROUPMAX && c->n_latents % c->k)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%.300s: %d latents are not %d groups of equal size (groupmax)", c->said,
            (int)c->n_latents, (int)c->k);
    return PSC_OK;
}

/* A tensor that nothing reads would change the latents in its library, which refuses it, too. */
static psc_status check_known(const reader *r) {
    static const char *const of_gated[] = {"b_gate", "r_mag", "b_mag"};
    const psc_coder_config *c = &r->coder->config;
    const bool sparsify = c->layout == PSC_CODER_SPARSIFY;
    for (size_t i = 0; i < r->set->count; i++) {
        const char *name = r->set->items[i].name;
        bool known = strcmp(name, "W_dec") == 0 || strcmp(name, "b_dec") == 0 ||
                     strcmp(name, sparsify ? "encoder.weight" : "W_enc") == 0 ||
                     strcmp(name, "scaling_factor") == 0 ||
                     (c->has_skip && strcmp(name, "W_skip") == 0);
        if (c->kind != PSC_DICTIONARY_GATED)
            known |= strcmp(name, sparsify ? "encoder.bias" : "b_enc") == 0;
        for (int k = 0; c->kind == PSC_DICTIONARY_GATED && k < 3; k++)
            known |= strcmp(name, of_gated[k]) == 0;
        if (c->kind == PSC_DICTIONARY_JUMPRELU)
            known |= strcmp(name, "threshold") == 0 ||
                     strcmp(name, "activation_function.threshold") == 0;
        if (!known)
            return psc_fail(r->error, PSC_ERROR_INPUT,
                "%.300s: tensor \"%.60s\" has no meaning in this kind of dictionary (%.60s)",
                r->path, name, c->architecture);
    }
    return PSC_OK;
}

/* --- parts ----------------------------------------------------------------------------------- */

static psc_status read_decoder(reader *r) {
    psc_coder *coder = r->coder;
    const psc_coder_config *c = &coder->config;
    const size_t n = (size_t)c->n_latents, width = (size_t)c->d_out;
    const psc_tensor *tensor;
    psc_status status = find(r, "W_dec", &tensor);
    if (!status) status = expect(r, tensor, 2, n, width);
    if (!status) status = make(r, (uint64_t)n * width, &coder->decoder);
    if (!status) status = take(r, tensor, 0, n * width, coder->decoder);
    if (!status) status = read_vector(r, "b_dec", width, false, &coder->b_dec);
    if (status || !c->rescaled) return status;
    status = make(r, n, &r->norms);
    for (size_t i = 0; !status && i < n; i++) {
        float *row = coder->decoder + i * width;
        double square = 0;
        for (size_t j = 0; j < width; j++) square += (double)row[j] * row[j];
        r->norms[i] = square > 0 ? (float)sqrt(square) : 1.0f;
        for (size_t j = 0; j < width; j++) row[j] /= r->norms[i];
    }
    return status;
}

static void scale_encoder(const reader *r) {
    psc_coder *coder = r->coder;
    const size_t n = (size_t)coder->config.n_latents, k = (size_t)coder->config.d_in;
    float *panels = (float *)(uintptr_t)coder->encoder.panels;
    for (size_t i = 0; i < n; i++) {
        float *lane = panels + i / PSC_LANES * PSC_LANES * k + i % PSC_LANES;
        for (size_t j = 0; j < k; j++) lane[j * PSC_LANES] *= r->norms[i];
        coder->b_enc[i] *= r->norms[i];
    }
}

/* A transcoder's W_enc (x - b_dec) + b_enc as W_enc x + b_enc': a graph's latents are linear in x. */
static void take_b_dec(const reader *r) {
    psc_coder *coder = r->coder;
    const size_t n = (size_t)coder->config.n_latents, k = (size_t)coder->config.d_in;
    const float *panels = coder->encoder.panels;
    for (size_t i = 0; i < n; i++) {
        const float *lane = panels + i / PSC_LANES * PSC_LANES * k + i % PSC_LANES;
        double sum = 0;
        for (size_t j = 0; j < k; j++) sum += (double)lane[j * PSC_LANES] * coder->b_dec[j];
        coder->b_enc[i] = (float)((double)coder->b_enc[i] - sum);
    }
    coder->config.subtracts_b_dec = false;
}

/* limits: the products that pass. A product p + b_gate > 0 exactly where p > -b_gate. */
static psc_status read_gates(const reader *r) {
    psc_coder *coder = r->coder;
    psc_coder_config *c = &coder->config;
    const size_t n = (size_t)c->n_latents;
    const char *threshold = "threshold";
    psc_status status = PSC_OK;
    if (c->layout == PSC_CODER_TENSORS) {
        if (!psc_tensors_find(r->set, threshold)) threshold = "activation_function.threshold";
        if (psc_tensors_find(r->set, threshold)) c->kind = PSC_DICTIONARY_JUMPRELU;
        c->has_skip = psc_tensors_find(r->set, "W_skip") != NULL;
    }
    if (c->kind == PSC_DICTIONARY_JUMPRELU) {
        status = read_vector(r, threshold, n, true, &coder->limits);
        for (size_t i = 0; !status && i < n; i++)
            if (coder->limits[i] < 0) coder->limits[i] = 0;
    }
    if (status || c->kind != PSC_DICTIONARY_GATED) return status;
    status = read_vector(r, "b_gate", n, false, &coder->limits);
    if (!status) status = read_vector(r, "r_mag", n, false, &coder->rate);
    if (!status) status = read_vector(r, "b_mag", n, false, &coder->b_mag);
    if (status) return status;
    coder->kernels->exp_f32(coder->rate, coder->rate, n);
    for (size_t i = 0; i < n; i++) {
        coder->limits[i] = -coder->limits[i];
        if (!isfinite(coder->rate[i]))
            return psc_fail(
                r->error, PSC_ERROR_INPUT, "%.300s: exp of r_mag[%zu] is too large", r->path, i);
    }
    return PSC_OK;
}

/* Files of 2023 have a scaling_factor; only ones are without effect. */
static psc_status check_scaling(const reader *r) {
    const psc_tensor *tensor = psc_tensors_find(r->set, "scaling_factor");
    const size_t n = (size_t)r->coder->config.n_latents;
    float *values = NULL;
    if (!tensor) return PSC_OK;
    psc_status status = read_vector(r, "scaling_factor", n, true, &values);
    for (size_t i = 0; !status && i < n; i++)
        if (fabsf(values[i] - 1.0f) > 1e-5f)
            status = psc_fail(r->error, PSC_ERROR_INPUT,
                "%.300s: scaling_factor is not 1 (element %zu); multiply W_dec's rows by it and "
                "remove it",
                r->path, i);
    psc_aligned_free(values);
    return status;
}

static psc_status read_all(reader *r) {
    psc_coder *coder = r->coder;
    psc_coder_config *c = &coder->config;
    const bool sparsify = c->layout == PSC_CODER_SPARSIFY;
    const psc_tensor *encoder, *skip;
    bool columns = false;
    psc_status status = find(r, sparsify ? "encoder.weight" : "W_enc", &encoder);
    if (!status) status = find_sizes(r, encoder, &columns);
    if (!status) status = read_gates(r);
    if (!status && c->kind != PSC_DICTIONARY_GATED)
        status = read_vector(
            r, sparsify ? "encoder.bias" : "b_enc", (size_t)c->n_latents, false, &coder->b_enc);
    if (!status) status = check_known(r);
    if (!status) status = check_scaling(r);
    if (!status) status = read_decoder(r);
    if (!status)
        status = read_matrix(
            r, encoder, columns, (size_t)c->n_latents, (size_t)c->d_in, &coder->encoder);
    if (!status && r->norms) scale_encoder(r);
    if (!status && c->is_transcoder && c->subtracts_b_dec) take_b_dec(r);
    if (!status && c->has_skip) status = find(r, "W_skip", &skip);
    if (!status && c->has_skip)
        status = read_matrix(r, skip, false, (size_t)c->d_out, (size_t)c->d_in, &coder->skip);
    return status;
}

psc_status psc_coder_read_weights(psc_coder *coder, psc_error *error) {
    reader r = {.coder = coder, .path = coder->config.weights, .error = error};
    psc_status status = psc_tensors_open_file(&r.set, r.path, error);
    if (!status) status = read_all(&r);
    psc_aligned_free(r.norms);
    psc_tensors_close(&r.set);
    return status;
}
