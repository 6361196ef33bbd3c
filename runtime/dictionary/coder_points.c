/* Where a dictionary reads and writes: names of hook points, and of transformers' modules.
 *
 *   blocks.3.hook_resid_post   our name, docs/hooks.md
 *   blocks.3.mlp.hook_in       the MLP's input: gamma x + beta of ln2.hook_normalized
 *   layers.3, layers.3.mlp     a module of GPTNeoXModel: its output, of a transcoder both ends */
#include "coder_config.h"

#include "psc_hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct end {
    int32_t point; /* psc_point; PSC_POINT_COUNT: none */
    bool affine;
} end;

/* Names after "blocks.{l}." that are not in docs/hooks.md. */
static const struct {
    const char *name;
    end at;
} others[] = {
    {"mlp.hook_in", {PSC_HOOK_LN2_NORMALIZED, true}}, {"mlp.hook_out", {PSC_HOOK_MLP_OUT, false}},
    {"attn.hook_in", {PSC_HOOK_LN1_NORMALIZED, true}},
    {"attn.hook_out", {PSC_HOOK_ATTN_OUT, false}}, {"hook_in", {PSC_HOOK_RESID_PRE, false}},
    {"hook_out", {PSC_HOOK_RESID_POST, false}},
    {"hook_mlp_in", {PSC_POINT_COUNT, false}}, /* the stream that ln2 reads */
};

/* Modules of a layer: input and output. */
static const struct {
    const char *name;
    end in, out;
} modules[] = {
    {"", {PSC_HOOK_RESID_PRE, false}, {PSC_HOOK_RESID_POST, false}},
    {"attention", {PSC_HOOK_LN1_NORMALIZED, true}, {PSC_HOOK_ATTN_OUT, false}},
    {"attention.dense", {PSC_HOOK_Z, false}, {PSC_HOOK_ATTN_OUT, false}},
    {"mlp", {PSC_HOOK_LN2_NORMALIZED, true}, {PSC_HOOK_MLP_OUT, false}},
    {"mlp.dense_h_to_4h", {PSC_HOOK_LN2_NORMALIZED, true}, {PSC_HOOK_MLP_PRE, false}},
    {"mlp.act", {PSC_HOOK_MLP_PRE, false}, {PSC_HOOK_MLP_POST, false}},
    {"mlp.dense_4h_to_h", {PSC_HOOK_MLP_POST, false}, {PSC_HOOK_MLP_OUT, false}},
    {"input_layernorm", {PSC_HOOK_RESID_PRE, false}, {PSC_HOOK_LN1_NORMALIZED, true}},
    {"post_attention_layernorm", {PSC_POINT_COUNT, false}, {PSC_HOOK_LN2_NORMALIZED, true}},
};

static psc_coder_point point_of(end at, int32_t layer, bool parallel) {
    const int32_t stream = parallel ? PSC_HOOK_RESID_PRE : PSC_HOOK_RESID_MID;
    return (psc_coder_point){at.point == PSC_POINT_COUNT ? stream : at.point, layer, at.affine};
}

/* The number at *at, which then points behind it; -1 if there is none. */
static int32_t take_layer(const char **at) {
    char *rest = NULL;
    if (**at < '0' || **at > '9') return -1;
    const long value = strtol(*at, &rest, 10);
    *at = rest;
    return value <= 9999 ? (int32_t)value : -1;
}

static bool parse_module(
    psc_coder_point *in, psc_coder_point *out, const char *name, bool parallel) {
    if (strncmp(name, "gpt_neox.", 9) == 0) name += 9;
    if (strcmp(name, "embed_in") == 0 || strcmp(name, "embed_tokens") == 0) {
        *in = *out = (psc_coder_point){PSC_HOOK_EMBED, -1, false};
        return true;
    }
    if (strcmp(name, "final_layer_norm") == 0) {
        *in = *out = (psc_coder_point){PSC_HOOK_LN_FINAL_NORMALIZED, -1, true};
        return true;
    }
    if (strncmp(name, "layers", 6) != 0 || (name[6] != '.' && name[6] != '_')) return false;
    const char *at = name + 7;
    const int32_t layer = take_layer(&at);
    if (layer < 0 || (*at && *at != '.' && *at != '_')) return false;
    if (*at) at++;
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        if (strcmp(at, modules[i].name) != 0) continue;
        *in = point_of(modules[i].in, layer, parallel);
        *out = point_of(modules[i].out, layer, parallel);
        return true;
    }
    return false;
}

static bool parse_other(psc_coder_point *out, const char *name, bool parallel) {
    if (strncmp(name, "blocks.", 7) != 0) return false;
    const char *at = name + 7;
    const int32_t layer = take_layer(&at);
    if (layer < 0 || *at++ != '.') return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(at, others[i].name) != 0) continue;
        *out = point_of(others[i].at, layer, parallel);
        return true;
    }
    return false;
}

static bool ends_normalized(int32_t point) {
    return point == PSC_HOOK_LN1_NORMALIZED || point == PSC_HOOK_LN2_NORMALIZED ||
           point == PSC_HOOK_LN_FINAL_NORMALIZED;
}

psc_status psc_coder_point_parse(psc_coder_point *in, psc_coder_point *out, const char *name,
    bool ours, bool parallel, psc_error *error) {
    psc_coder_point found = {0}, before = {0};
    psc_point point;
    int32_t layer;
    if (parse_module(&before, &found, name, parallel)) {
        if (in) *in = before;
        *out = found;
        return PSC_OK;
    }
    if (!parse_other(&found, name, parallel)) {
        if (psc_point_parse(&point, &layer, name, NULL) || layer == -2)
            return psc_fail(error, PSC_ERROR_INPUT,
                "'%.100s' is neither a hook point, like blocks.3.hook_resid_post, nor a module, "
                "like layers.3.mlp; name one with point=",
                name);
        found = (psc_coder_point){(int32_t)point, layer, !ours && ends_normalized((int32_t)point)};
    }
    if (in) *in = found;
    *out = found;
    return PSC_OK;
}

void psc_coder_point_name(char out[PSC_CODER_TEXT], const psc_coder_point *point) {
    if (!point->affine)
        psc_point_name(out, PSC_CODER_TEXT, (psc_point)point->point, point->layer);
    else if (point->point == PSC_HOOK_LN_FINAL_NORMALIZED)
        snprintf(out, PSC_CODER_TEXT, "ln_final");
    else
        snprintf(out, PSC_CODER_TEXT, "blocks.%d.%s.hook_in", (int)point->layer,
            point->point == PSC_HOOK_LN1_NORMALIZED ? "attn" : "mlp");
}
