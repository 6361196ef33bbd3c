/* Tensors by name -> weights by role, each checked against the config.
 *
 *   [gpt_neox.]embed_in.weight                              [V, N]
 *   [gpt_neox.]layers.{l}.input_layernorm.{weight,bias}     [N], and the rest of layer_roles
 *   [gpt_neox.]final_layer_norm.{weight,bias}               [N]
 *   embed_out.weight or lm_head.weight                      [V, N]
 *
 * The identity: weights_identity.c. */
#include "model_weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef enum dimension { ONE, D_MODEL, D_QKV, D_MLP, D_VOCAB } dimension;

typedef struct tensor_role {
    const char *name; /* after "gpt_neox." and "layers.{l}." */
    size_t offset;    /* of the psc_weight in its struct */
    dimension rows, cols;
    bool attention_bias; /* absent when the config sets attention_bias to false */
} tensor_role;

#define IN_LAYER(field) offsetof(psc_layer_weights, field)
static const tensor_role layer_roles[] = {
    {"input_layernorm.weight", IN_LAYER(ln1_gamma), D_MODEL, ONE, false},
    {"input_layernorm.bias", IN_LAYER(ln1_beta), D_MODEL, ONE, false},
    {"post_attention_layernorm.weight", IN_LAYER(ln2_gamma), D_MODEL, ONE, false},
    {"post_attention_layernorm.bias", IN_LAYER(ln2_beta), D_MODEL, ONE, false},
    {"attention.query_key_value.weight", IN_LAYER(qkv), D_QKV, D_MODEL, false},
    {"attention.query_key_value.bias", IN_LAYER(qkv_bias), D_QKV, ONE, true},
    {"attention.dense.weight", IN_LAYER(dense), D_MODEL, D_MODEL, false},
    {"attention.dense.bias", IN_LAYER(dense_bias), D_MODEL, ONE, true},
    {"mlp.dense_h_to_4h.weight", IN_LAYER(mlp_in), D_MLP, D_MODEL, false},
    {"mlp.dense_h_to_4h.bias", IN_LAYER(mlp_in_bias), D_MLP, ONE, false},
    {"mlp.dense_4h_to_h.weight", IN_LAYER(mlp_out), D_MODEL, D_MLP, false},
    {"mlp.dense_4h_to_h.bias", IN_LAYER(mlp_out_bias), D_MODEL, ONE, false},
};
#define IN_MODEL(field) offsetof(psc_checkpoint, field)
static const tensor_role model_roles[] = {
    {"embed_in.weight", IN_MODEL(embed), D_VOCAB, D_MODEL, false},
    {"final_layer_norm.weight", IN_MODEL(ln_final_gamma), D_MODEL, ONE, false},
    {"final_layer_norm.bias", IN_MODEL(ln_final_beta), D_MODEL, ONE, false},
};
static const tensor_role unembed_role = {
    "embed_out.weight", IN_MODEL(unembed), D_VOCAB, D_MODEL, false};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const dtype_names[] = {"F32", "F16", "BF16"};

typedef struct opening {
    psc_checkpoint *checkpoint;
    const psc_tensors *tensors;
    const char *folder;
    bool reads_weights;
    psc_error *error;
} opening;

static size_t extent(const psc_config *c, dimension d) {
    switch (d) {
    case D_MODEL:
        return c->d_model;
    case D_QKV:
        return 3 * c->d_model;
    case D_MLP:
        return c->d_mlp;
    case D_VOCAB:
        return c->d_vocab;
    case ONE:
        break;
    }
    return 1;
}

static psc_status wrong_shape(
    const opening *o, const psc_tensor *t, const psc_weight *expected, bool vector) {
    char found[PSC_TENSOR_RANK * 24 + 4], wanted[64];
    size_t n = 0;
    found[0] = 0;
    for (size_t i = 0; i < t->rank; i++)
        n += (size_t)snprintf(found + n, sizeof found - n, "%s%zu", i ? ", " : "", t->shape[i]);
    if (vector)
        snprintf(wanted, sizeof wanted, "%zu", expected->rows);
    else
        snprintf(wanted, sizeof wanted, "%zu, %zu", expected->rows, expected->cols);
    return psc_fail(o->error, PSC_ERROR_INPUT,
        "%s/%s: tensor \"%s\" has shape [%s], but config.json requires [%s]", o->folder,
        o->tensors->files[t->file].name, t->name, found, wanted);
}

/* Puts tensor t in the slot of its role. */
static psc_status place(
    const opening *o, const psc_tensor *t, const tensor_role *role, void *base) {
    psc_weight *slot = (psc_weight *)((char *)base + role->offset);
    const psc_config *c = &o->checkpoint->config;
    psc_weight w = {t->data, PSC_DTYPE_F32, extent(c, role->rows), extent(c, role->cols), 0};
    bool vector = role->cols == ONE, known = false;
    const char *file = o->tensors->files[t->file].name;
    for (int i = 0; i < 3; i++) {
        if (strcmp(t->dtype, dtype_names[i]) != 0) continue;
        w.dtype = (psc_dtype)i;
        known = true;
    }
    if (!known)
        return psc_fail(o->error, PSC_ERROR_SUPPORT,
            "%s/%s: tensor \"%s\" has dtype %s, but only F32, F16 and BF16 are supported",
            o->folder, file, t->name, t->dtype);
    if (t->flaw)
        return psc_fail(o->error, PSC_ERROR_SUPPORT, "%s/%s: tensor \"%s\" %s", o->folder, file,
            t->name, t->flaw);
    if (slot->data)
        return psc_fail(o->error, PSC_ERROR_INPUT,
            "%s/%s: tensor \"%s\" is already present under another name", o->folder, file, t->name);
    if (role->attention_bias && !c->attention_bias)
        return psc_fail(o->error, PSC_ERROR_INPUT,
            "%s/%s contains tensor \"%s\", but config.json sets attention_bias to false", o->folder,
            file, t->name);
    if (t->rank != (vector ? 1 : 2) || t->shape[0] != w.rows || (!vector && t->shape[1] != w.cols))
        return wrong_shape(o, t, &w, vector);
    *slot = w;
    return PSC_OK;
}

/* "layers.12.rest" -> 12 and rest; false for any other form. A number of more than six digits
 * becomes 999999, which is out of range in every config. */
static bool parse_layer(const char *name, size_t *layer, const char **rest) {
    if (strncmp(name, "layers.", 7) != 0) return false;
    const char *s = name + 7;
    size_t n = 0, digits = 0;
    for (; *s >= '0' && *s <= '9'; s++, digits++)
        if (digits < 6) n = n * 10 + (size_t)(*s - '0');
    if (digits == 0 || *s != '.' || (digits > 1 && name[7] == '0')) return false;
    *layer = digits > 6 ? 999999 : n;
    *rest = s + 1;
    return true;
}

static psc_status place_by_name(const opening *o, const psc_tensor *t) {
    psc_checkpoint *cp = o->checkpoint;
    bool prefixed = strncmp(t->name, "gpt_neox.", 9) == 0;
    const char *name = t->name + (prefixed ? 9 : 0), *rest = NULL;
    size_t layer = 0;
    if (strcmp(t->name, "embed_out.weight") == 0 || strcmp(t->name, "lm_head.weight") == 0)
        return place(o, t, &unembed_role, cp);
    for (size_t i = 0; i < COUNT(model_roles); i++)
        if (strcmp(name, model_roles[i].name) == 0) return place(o, t, &model_roles[i], cp);
    if (parse_layer(name, &layer, &rest)) {
        if (layer >= cp->config.n_layers)
            return psc_fail(o->error, PSC_ERROR_INPUT,
                "%s/%s contains tensor \"%s\", but config.json sets num_hidden_layers to %zu",
                o->folder, o->tensors->files[t->file].name, t->name, cp->config.n_layers);
        for (size_t i = 0; i < COUNT(layer_roles); i++)
            if (strcmp(rest, layer_roles[i].name) == 0)
                return place(o, t, &layer_roles[i], &cp->layers[layer]);
    }
    cp->ignored++;
    return PSC_OK;
}

static bool same_weight(const psc_weight *a, const psc_weight *b) {
    size_t bytes = a->rows * a->cols * psc_dtype_size(a->dtype);
    return a->dtype == b->dtype && memcmp(a->data, b->data, bytes) == 0;
}

/* Tied: one matrix serves both roles, and the file may hold either. transformers 4 drops a
 * differing unembedding and 5 keeps it, so a file with two different matrices contradicts its
 * config. */
static psc_status tie(const opening *o) {
    psc_checkpoint *cp = o->checkpoint;
    if (!cp->config.tied) return PSC_OK;
    if (!cp->embed.data) cp->embed = cp->unembed;
    if (cp->embed.data && cp->unembed.data && cp->embed.data != cp->unembed.data) {
        if (o->reads_weights && !same_weight(&cp->embed, &cp->unembed))
            return psc_fail(o->error, PSC_ERROR_INPUT,
                "%s: config.json sets tie_word_embeddings, but embed_in and embed_out differ",
                o->folder);
        cp->ignored++;
    }
    cp->unembed = cp->embed;
    return PSC_OK;
}

/* Adds the role's tensor to the list; a missing one is an error. */
static psc_status list_entry(
    const opening *o, const tensor_role *role, void *base, const char *prefix) {
    psc_checkpoint *cp = o->checkpoint;
    psc_weight *w = (psc_weight *)((char *)base + role->offset);
    psc_checkpoint_tensor *e = &cp->tensors[cp->n_tensors];
    int n = snprintf(e->name, sizeof e->name, "%s%s", prefix, role->name);
    assert(n > 0 && (size_t)n < sizeof e->name);
    (void)n;
    if (!w->data && role->attention_bias && !cp->config.attention_bias) {
        w->rows = extent(&cp->config, role->rows);
        w->cols = 1;
        return PSC_OK;
    }
    if (!w->data)
        return psc_fail(o->error, PSC_ERROR_INPUT, "%s has no tensor \"%s\"", o->folder, e->name);
    e->weight = w;
    cp->n_tensors++;
    cp->bytes += w->rows * w->cols * psc_dtype_size(w->dtype);
    return PSC_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(
        ((const psc_checkpoint_tensor *)a)->name, ((const psc_checkpoint_tensor *)b)->name);
}

static psc_status list_entries(const opening *o) {
    psc_checkpoint *cp = o->checkpoint;
    psc_status status = PSC_OK;
    char prefix[48];
    cp->tensors = calloc(COUNT(layer_roles) * cp->config.n_layers + 4, sizeof *cp->tensors);
    if (!cp->tensors)
        return psc_fail(o->error, PSC_ERROR_MEMORY, "not enough memory to open %s", o->folder);
    for (size_t i = 0; i < COUNT(model_roles) && !status; i++)
        status = list_entry(o, &model_roles[i], cp, "gpt_neox.");
    for (size_t l = 0; l < cp->config.n_layers && !status; l++) {
        snprintf(prefix, sizeof prefix, "gpt_neox.layers.%zu.", l);
        for (size_t i = 0; i < COUNT(layer_roles) && !status; i++)
            status = list_entry(o, &layer_roles[i], &cp->layers[l], prefix);
    }
    if (!status && !cp->config.tied) status = list_entry(o, &unembed_role, cp, "");
    if (status) return status;
    qsort(cp->tensors, cp->n_tensors, sizeof *cp->tensors, by_name);
    for (size_t i = 0; i < cp->n_tensors; i++) cp->tensors[i].weight->order = i;
    if (cp->config.tied) cp->unembed = cp->embed;
    return PSC_OK;
}

static psc_status open_checkpoint(psc_checkpoint **out, const char *folder,
    const psc_config *config, bool reads_weights, psc_error *error) {
    psc_checkpoint *cp = calloc(1, sizeof *cp);
    psc_status status;
    *out = NULL;
    if (cp) cp->layers = calloc(config->n_layers, sizeof *cp->layers);
    if (!cp || !cp->layers) {
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", folder);
        goto fail;
    }
    cp->config = *config;
    status = psc_tensors_open(&cp->files, folder, error);
    if (status) goto fail;
    opening o = {cp, cp->files, folder, reads_weights, error};
    for (size_t i = 0; i < cp->files->count && !status; i++)
        status = place_by_name(&o, &cp->files->items[i]);
    if (!status) status = tie(&o);
    if (!status) status = list_entries(&o);
    if (status) goto fail;
    *out = cp;
    return PSC_OK;
fail:
    psc_checkpoint_close(&cp);
    return status;
}

psc_status psc_checkpoint_open(
    psc_checkpoint **out, const char *folder, const psc_config *config, psc_error *error) {
    return open_checkpoint(out, folder, config, true, error);
}

psc_status psc_checkpoint_open_header(
    psc_checkpoint **out, const char *folder, const psc_config *config, psc_error *error) {
    return open_checkpoint(out, folder, config, false, error);
}

void psc_checkpoint_close(psc_checkpoint **checkpoint) {
    psc_checkpoint *cp = *checkpoint;
    if (!cp) return;
    psc_tensors_close(&cp->files);
    free(cp->tensors);
    free(cp->layers);
    free(cp);
    *checkpoint = NULL;
}

void psc_weight_to_f32(float *out, const psc_weight *weight) {
    size_t n = weight->rows * weight->cols;
    if (!weight->data)
        memset(out, 0, n * sizeof *out);
    else if (weight->dtype == PSC_DTYPE_F32)
        memcpy(out, weight->data, n * sizeof *out);
    else
        for (size_t i = 0; i < n; i++) out[i] = psc_widen(weight->data, weight->dtype, i);
}
