/* What a dictionary's folder says of it, before its weights are read.
 * Private to runtime/dictionary/ and bench/. Includes psc_plugin.h only.
 * Threads: reentrant.
 * Ownership: a config is plain data. */
#ifndef CODER_CONFIG_H
#define CODER_CONFIG_H

#include "psc_plugin.h"

#include <stdbool.h>

typedef enum psc_coder_layout {
    PSC_CODER_SAELENS,  /* cfg.json, sae_weights.safetensors; W_enc is [d_in, F] */
    PSC_CODER_SPARSIFY, /* cfg.json, sae.safetensors; encoder.weight is [F, d_in] */
    PSC_CODER_TENSORS   /* layer_3.safetensors of a transcoder; W_enc is [F, d_in] */
} psc_coder_layout;

typedef enum psc_coder_norm {
    PSC_CODER_AS_IS,
    PSC_CODER_LAYER_NORM,    /* (x - mean) / (std + 1e-5), std unbiased */
    PSC_CODER_CONSTANT_NORM, /* x sqrt(d_in) / |x| */
    PSC_CODER_CENTERED       /* x - mean */
} psc_coder_norm;

/* A hook point, or with `affine` the value that the LayerNorm of a hook_normalized ends with. */
typedef struct psc_coder_point {
    int32_t point, layer; /* psc_point; layer -1: none */
    bool affine;
} psc_coder_point;

enum { PSC_CODER_TEXT = 160, PSC_CODER_PATH = 4096 };

typedef struct psc_coder_config {
    psc_coder_layout layout;
    int32_t kind; /* psc_dictionary_kind */
    psc_coder_norm norm;
    bool subtracts_b_dec; /* from the input; a transcoder's is taken into b_enc (coder_weights.c) */
    bool rescaled;        /* top-k ranks h_i |d_i| */
    bool is_transcoder, has_skip;
    int32_t d_in, d_out, n_latents, k; /* 0: the weights say it */
    psc_coder_point in, out;
    char architecture[PSC_CODER_TEXT], model_name[PSC_CODER_TEXT];
    char weights[PSC_CODER_PATH]; /* the file of tensors */
    char said[PSC_CODER_PATH];    /* cfg.json, or the file: for messages */
} psc_coder_config;

/* Reads what path says. point: null, or the caller's point in place of the folder's. */
psc_status psc_coder_config_read(
    psc_coder_config *out, const char *path, const char *point, bool parallel, psc_error *error);

/* --- coder_points.c --- */
/* A point by our name, TransformerLens's or a module's of transformers; of a module, its input (in,
 * nullable) and its output. PSC_ERROR_INPUT for another name. ours: a hook_normalized is the hook's
 * own value; else it has gamma and beta. */
psc_status psc_coder_point_parse(psc_coder_point *in, psc_coder_point *out, const char *name,
    bool ours, bool parallel, psc_error *error);
/* "blocks.3.mlp.hook_in" and the like. */
void psc_coder_point_name(char out[PSC_CODER_TEXT], const psc_coder_point *point);

#endif
