/* Opening a dictionary: its config, its place in the model, its weights. */
#include "coder.h"

#include "arena.h"
#include "registry.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Numbers of a row of a point; 0 where a row's length is not the model's own. */
static int64_t width_of(const psc_model_info *info, int32_t point) {
    int64_t width = 1;
    for (const char *shape = psc_point_shape((psc_point)point); *shape; shape++) {
        if (*shape == 'K' || *shape == '1' || *shape == 'V') return 0;
        width *= psc_axis_extent(*shape, info, 0);
    }
    return width;
}

static psc_status check_point(const psc_coder *coder, const psc_coder_point *at, const char *name,
    const psc_model *model, psc_error *error) {
    const char *said = coder->config.said;
    if (width_of(&model->info, at->point) == 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s: %s has no rows of a fixed width, so it holds no dictionary", said, name);
    if (at->layer >= model->info.n_layers)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s is for %s, but the model has the layers 0 to %d", said, name,
            (int)model->info.n_layers - 1);
    if (at->point == PSC_HOOK_RESID_MID && model->info.parallel_residual)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s is for %s, which a model with the parallel residual lacks", said, name);
    return PSC_OK;
}

static psc_status check_width(const psc_coder *coder, int32_t width, const char *key, int32_t point,
    const char *name, const psc_model *model, psc_error *error) {
    const char *of = coder->config.model_name;
    const int64_t right = width_of(&model->info, point);
    if (width == right) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.300s has %s = %d, but a row of %s has %lld numbers in this model; the dictionary is of "
        "another model%s%.100s",
        coder->config.said, key, (int)width, name, (long long)right, *of ? ", " : "", of);
}

/* Where the dictionary reads and writes, before its weights are read. */
static psc_status find_place(psc_coder *coder, const psc_model *model, psc_error *error) {
    psc_coder_config *c = &coder->config;
    const psc_layer_norm *ln = NULL;
    psc_coder_point_name(coder->in_name, &c->in);
    psc_coder_point_name(coder->out_name, &c->out);
    psc_status status = check_point(coder, &c->in, coder->in_name, model, error);
    if (!status) status = check_point(coder, &c->out, coder->out_name, model, error);
    if (!status && c->d_in)
        status = check_width(coder, c->d_in, "d_in", c->in.point, coder->in_name, model, error);
    if (!status && c->d_out)
        status = check_width(coder, c->d_out, "d_out", c->out.point, coder->out_name, model, error);
    if (status) return status;
    c->d_in = (int32_t)width_of(&model->info, c->in.point);
    c->d_out = (int32_t)width_of(&model->info, c->out.point);
    if (!c->in.affine) return PSC_OK;
    ln = c->in.point == PSC_HOOK_LN_FINAL_NORMALIZED ? &model->ln_final
         : c->in.point == PSC_HOOK_LN1_NORMALIZED    ? &model->layers[c->in.layer].ln1
                                                     : &model->layers[c->in.layer].ln2;
    coder->gamma = ln->gamma;
    coder->beta = ln->beta;
    return PSC_OK;
}

static void describe(psc_coder *coder) {
    const psc_coder_config *c = &coder->config;
    coder->info = (psc_dictionary){.struct_size = sizeof coder->info,
        .kind = c->kind,
        .n_latents = c->n_latents,
        .k = c->k,
        .d_in = c->d_in,
        .d_out = c->d_out,
        .in_point = c->in.point,
        .in_layer = c->in.layer,
        .in_affine = c->in.affine,
        .out_point = c->out.point,
        .out_layer = c->out.layer,
        .out_affine = c->out.affine,
        .is_transcoder = c->is_transcoder,
        .is_normalized = c->norm != PSC_CODER_AS_IS && !c->is_transcoder,
        .has_skip = coder->skip.panels != NULL,
        .b_dec = coder->b_dec,
        .architecture = c->architecture,
        .model_name = c->model_name,
        .in_name = coder->in_name,
        .out_name = coder->out_name,
        .normalizes = c->norm != PSC_CODER_AS_IS,
        .b_latent = coder->b_mag ? coder->b_mag : coder->b_enc};
}

psc_status psc_coder_open(psc_coder **out, const char *path, const char *point,
    const psc_model *model, const psc_kernels *kernels, psc_error *error) {
    psc_coder *coder = calloc(1, sizeof *coder);
    *out = NULL;
    if (!coder) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %.300s", path);
    coder->kernels = kernels;
    psc_status status = psc_coder_config_read(
        &coder->config, path, point, model->info.parallel_residual != 0, error);
    if (!status) status = find_place(coder, model, error);
    if (!status) status = psc_coder_read_weights(coder, error);
    if (status) {
        psc_coder_close(&coder);
        return status;
    }
    describe(coder);
    *out = coder;
    return PSC_OK;
}

void psc_coder_close(psc_coder **coder) {
    psc_coder *c = *coder;
    *coder = NULL;
    if (!c) return;
    psc_aligned_free((void *)(uintptr_t)c->encoder.panels);
    psc_aligned_free((void *)(uintptr_t)c->skip.panels);
    psc_aligned_free(c->decoder);
    psc_aligned_free(c->b_enc);
    psc_aligned_free(c->b_dec);
    psc_aligned_free(c->limits);
    psc_aligned_free(c->rate);
    psc_aligned_free(c->b_mag);
    psc_coder_free_work(&c->work);
    free(c);
}

/* --- its contents ---------------------------------------------------------------------------- */

static void add_floats(XXH3_state_t *state, const float *x, size_t n) {
    if (x) XXH3_64bits_update(state, x, n * sizeof *x);
}

static void add_panels(XXH3_state_t *state, const psc_packed *packed) {
    if (packed->panels)
        add_floats(state, packed->panels, psc_packed_elements(packed->out, packed->k));
}

uint64_t psc_coder_contents(const psc_coder *coder) {
    const psc_coder_config *c = &coder->config;
    const int32_t facts[] = {c->kind, (int32_t)c->norm, c->subtracts_b_dec, c->rescaled, c->d_in,
        c->d_out, c->n_latents, c->k, c->in.point, c->in.layer, c->in.affine, c->out.point,
        c->out.layer, c->out.affine};
    const size_t latents = (size_t)c->n_latents;
    XXH3_state_t *state = XXH3_createState();
    if (!state) return 0;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, facts, sizeof facts);
    add_panels(state, &coder->encoder);
    add_panels(state, &coder->skip);
    add_floats(state, coder->decoder, latents * (size_t)c->d_out);
    add_floats(state, coder->b_enc, latents);
    add_floats(state, coder->b_dec, (size_t)c->d_out);
    add_floats(state, coder->limits, latents);
    add_floats(state, coder->rate, latents);
    add_floats(state, coder->b_mag, latents);
    const uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}
