/* cfg.json as SAELens writes it. Since version 6 the hook is in `metadata` and the activation in
 * `architecture`; before, both are at the top, with older names hook_point, activation_fn_str. */
#include "coder_reader.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int32_t kind;
    bool is_transcoder, has_skip;
} architectures[] = {
    {"standard", PSC_DICTIONARY_RELU, false, false},
    {"jumprelu", PSC_DICTIONARY_JUMPRELU, false, false},
    {"topk", PSC_DICTIONARY_TOPK, false, false},
    {"abstopk", PSC_DICTIONARY_ABSTOPK, false, false},
    {"gated", PSC_DICTIONARY_GATED, false, false},
    {"transcoder", PSC_DICTIONARY_RELU, true, false},
    {"skip_transcoder", PSC_DICTIONARY_RELU, true, true},
    {"jumprelu_transcoder", PSC_DICTIONARY_JUMPRELU, true, false},
    {"jumprelu_skip_transcoder", PSC_DICTIONARY_JUMPRELU, true, true},
};

static psc_status take_architecture(psc_coder_config *c, const psc_config_reader *r) {
    snprintf(c->architecture, sizeof c->architecture, "standard");
    psc_status status = psc_coder_text(r, r->root, "architecture", c->architecture);
    if (status) return status;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (strcmp(c->architecture, architectures[i].name) != 0) continue;
        c->kind = architectures[i].kind;
        c->is_transcoder = architectures[i].is_transcoder;
        c->has_skip = architectures[i].has_skip;
        return PSC_OK;
    }
    return psc_fail(r->error, PSC_ERROR_INPUT,
        "%s: the architecture \"%.60s\" is unknown; known are standard, jumprelu, topk, abstopk, "
        "gated, transcoder, skip_transcoder, jumprelu_transcoder and jumprelu_skip_transcoder",
        r->path, c->architecture);
}

/* Before version 6 top-k is a standard architecture with another activation. */
static psc_status take_activation(psc_coder_config *c, const psc_config_reader *r) {
    char name[PSC_CODER_TEXT] = "relu";
    json_t *more = psc_config_get(r->root, "activation_fn_kwargs");
    psc_status status = psc_coder_text(r, r->root, "activation_fn_str", name);
    if (!status) status = psc_coder_text(r, r->root, "activation_fn", name);
    if (status) return status;
    if (strcmp(name, "topk") == 0 && c->kind == PSC_DICTIONARY_RELU && !c->is_transcoder) {
        c->kind = PSC_DICTIONARY_TOPK;
        snprintf(c->architecture, sizeof c->architecture, "topk");
    } else if (strcmp(name, "topk") == 0 && c->kind != PSC_DICTIONARY_TOPK) {
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the activation is topk, but the architecture \"%.60s\" has its own; make it relu",
            r->path, c->architecture);
    } else if (strcmp(name, "relu") != 0 && strcmp(name, "topk") != 0) {
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the activation \"%.60s\" is unknown; known are relu and topk", r->path, name);
    }
    if (more && !json_is_object(more))
        return psc_fail(
            r->error, PSC_ERROR_INPUT, "%s: activation_fn_kwargs must be an object", r->path);
    if (c->kind != PSC_DICTIONARY_TOPK && c->kind != PSC_DICTIONARY_ABSTOPK) return PSC_OK;
    c->k = -1;
    status = psc_coder_count(r, r->root, "k", 0, 1 << 24, &c->k);
    if (!status && more) status = psc_coder_count(r, more, "k", 0, 1 << 24, &c->k);
    if (!status && c->k < 0)
        status = psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: k is missing; %s needs the number of active latents as k", r->path,
            c->architecture);
    if (status) return status;
    return psc_coder_boolean(r, r->root, "rescale_acts_by_decoder_norm", &c->rescaled);
}

static psc_status take_norm(psc_coder_config *c, const psc_config_reader *r) {
    char name[PSC_CODER_TEXT] = "none";
    json_t *value = psc_config_get(r->root, "normalize_activations");
    if (json_is_boolean(value)) return PSC_OK; /* its factor is in the weights, if anywhere */
    psc_status status = psc_coder_text(r, r->root, "normalize_activations", name);
    if (status) return status;
    if (strcmp(name, "layer_norm") == 0)
        c->norm = PSC_CODER_LAYER_NORM;
    else if (strcmp(name, "constant_norm_rescale") == 0)
        c->norm = PSC_CODER_CONSTANT_NORM;
    else if (strcmp(name, "none") != 0 && strcmp(name, "expected_average_only_in") != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: normalize_activations is \"%.60s\"; known are none, layer_norm, "
            "constant_norm_rescale and expected_average_only_in",
            r->path, name);
    return PSC_OK;
}

/* Heads lie side by side in our rows, which is what hook_z asks for. */
static psc_status take_shape(const psc_config_reader *r, const char *hook) {
    char shape[PSC_CODER_TEXT] = "none";
    psc_status status = psc_coder_text(r, r->root, "reshape_activations", shape);
    if (status || strcmp(shape, "none") == 0) return status;
    const size_t n = strlen(hook);
    if (strcmp(shape, "hook_z") == 0 && n >= 2 && strcmp(hook + n - 2, "_z") == 0) return PSC_OK;
    return psc_fail(r->error, PSC_ERROR_INPUT,
        "%s: reshape_activations is \"%.60s\" at %.100s; known are none, and hook_z at a hook_z",
        r->path, shape, hook);
}

/* How TransformerLens changed the model's weights before the dictionary was trained. */
static psc_status was_processed(
    const psc_config_reader *r, json_t *meta, const char *how, bool *out) {
    json_t *more = psc_config_get(meta, "model_from_pretrained_kwargs");
    *out = false;
    if (more && !json_is_object(more))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: model_from_pretrained_kwargs must be an object", r->path);
    return more ? psc_coder_boolean(r, more, how, out) : PSC_OK;
}

static bool is_of_stream(int32_t point) {
    return point == PSC_HOOK_EMBED || point == PSC_HOOK_RESID_PRE || point == PSC_HOOK_RESID_MID ||
           point == PSC_HOOK_RESID_POST || point == PSC_HOOK_ATTN_OUT || point == PSC_HOOK_MLP_OUT;
}

/* center_writing_weights leaves rows of the stream, and what is written to it, without their mean.
 * fold_value_biases takes b_V out of the values and of z. */
static psc_status take_processing(psc_coder_config *c, const psc_config_reader *r, json_t *meta) {
    const bool of_values = c->in.point == PSC_HOOK_V || c->in.point == PSC_HOOK_Z;
    bool centered, without_biases;
    psc_status status = was_processed(r, meta, "center_writing_weights", &centered);
    if (!status) status = was_processed(r, meta, "fold_value_biases", &without_biases);
    if (status) return status;
    if (of_values && without_biases)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the model was loaded with fold_value_biases, so its values lack b_V; such "
            "dictionaries of values and z are not supported",
            r->path);
    if (!centered || (!is_of_stream(c->in.point) && !is_of_stream(c->out.point))) return PSC_OK;
    if (c->is_transcoder || c->norm == PSC_CODER_CONSTANT_NORM)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the model was loaded with center_writing_weights; that is supported of SAEs, "
            "without constant_norm_rescale",
            r->path);
    if (c->norm == PSC_CODER_AS_IS) c->norm = PSC_CODER_CENTERED; /* layer_norm centers by itself */
    return PSC_OK;
}

/* The name under one of two keys, with {layer} filled in. */
static psc_status take_hook(const psc_config_reader *r, json_t *meta, const char *key,
    const char *older, char out[PSC_CODER_TEXT]) {
    char name[PSC_CODER_TEXT] = "";
    int32_t layer = 0;
    psc_status status = psc_coder_text(r, meta, key, name);
    if (!status && older && !name[0]) status = psc_coder_text(r, meta, older, name);
    if (!status && older) status = psc_coder_count(r, meta, "hook_point_layer", 0, 9999, &layer);
    if (status) return status;
    const char *place = strstr(name, "{layer}");
    if (place)
        snprintf(out, PSC_CODER_TEXT, "%.*s%d%s", (int)(place - name), name, (int)layer, place + 7);
    else
        snprintf(out, PSC_CODER_TEXT, "%s", name);
    return PSC_OK;
}

static psc_status take_points(
    psc_coder_config *c, const psc_config_reader *r, json_t *meta, bool parallel) {
    char in[PSC_CODER_TEXT], out[PSC_CODER_TEXT];
    psc_error why = {PSC_OK, ""};
    bool folded;
    psc_status status = was_processed(r, meta, "fold_ln", &folded);
    if (!status) status = take_hook(r, meta, "hook_name", "hook_point", in);
    if (!status) status = take_hook(r, meta, "hook_name_out", NULL, out);
    if (status) return status;
    if (!in[0] || (c->is_transcoder && !out[0]))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s does not name the hook point (%s); give %s",
            r->path, in[0] ? "hook_name_out" : "hook_name",
            c->is_transcoder ? "point=IN+OUT" : "point=");
    if (!c->is_transcoder && out[0] && strcmp(in, out) != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: hook_name_out is %.100s, but the architecture \"%.60s\" writes where it reads; "
            "make it a transcoder's, such as jumprelu_transcoder",
            r->path, out, c->architecture);
    if (psc_config_get(meta, "hook_head_index") || psc_config_get(meta, "hook_point_head_index") ||
        psc_config_get(meta, "hook_head_index_out"))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: dictionaries of one head (hook_head_index) are not supported", r->path);
    status = psc_coder_point_parse(NULL, &c->in, in, folded, parallel, &why);
    c->out = c->in;
    if (!status && c->is_transcoder)
        status = psc_coder_point_parse(NULL, &c->out, out, folded, parallel, &why);
    if (status) return psc_fail(r->error, status, "%s: %.300s", r->path, why.message);
    return take_shape(r, in);
}

psc_status psc_coder_read_saelens(
    psc_coder_config *c, const psc_config_reader *r, const char *point, bool parallel) {
    json_t *meta = psc_config_get(r->root, "metadata");
    if (meta && !json_is_object(meta))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: metadata must be an object", r->path);
    if (!meta) meta = r->root;
    c->layout = PSC_CODER_SAELENS;
    c->subtracts_b_dec = true;
    psc_status status = take_architecture(c, r);
    if (!status) status = take_activation(c, r);
    if (!status) status = take_norm(c, r);
    if (!status) status = psc_coder_sizes(c, r, "d_sae", 1);
    if (!status)
        status = psc_coder_boolean(r, r->root, "apply_b_dec_to_input", &c->subtracts_b_dec);
    if (!status) status = psc_coder_text(r, meta, "model_name", c->model_name);
    if (c->is_transcoder) c->subtracts_b_dec = false; /* b_dec is of the output */
    if (status) return status;
    status = point ? psc_coder_take_points(c, point, parallel, r->error)
                   : take_points(c, r, meta, parallel);
    return status ? status : take_processing(c, r, meta);
}
