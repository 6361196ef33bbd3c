/* A model in memory: config, packed weights, rotary tables, tokenizer, identity.
 * Private to runtime/ and tests/.
 * Threads: immutable after psc_model_open.
 * Ownership: psc_model owns everything in it. */
#ifndef MODEL_H
#define MODEL_H

#include "config.h"
#include "files.h"
#include "kernels.h"
#include "psc.h"
#include "rotary.h"
#include "tokenizer.h"

/* A weight matrix in panels (docs/numerics.md: 16 outputs, k-major). */
typedef struct psc_packed {
    const void *panels; /* 64-byte aligned */
    psc_dtype dtype;
    size_t out, k, k_block;
    const float *bias; /* [out]; null: none */
} psc_packed;

typedef struct psc_layer_norm {
    const float *gamma, *beta; /* [N] */
} psc_layer_norm;

typedef struct psc_layer {
    psc_packed matrix[PSC_W_OUT + 1]; /* PSC_W_Q .. PSC_W_OUT */
    psc_layer_norm ln1, ln2;
} psc_layer;

struct psc_model {
    psc_config config;
    psc_model_info info;
    char *path, *name, *config_text;
    char hash[33];
    psc_mapping
        weights; /* all packed weights: the image (weights_image.h), perhaps after a header */
    char weights_text[1200];
    bool is_header; /* opened without weights: psc_model_check_weights (model_header.h) */
    psc_layer *layers;
    psc_layer_norm ln_final;
    psc_packed unembed;
    const void *embed; /* [V, N] row-major, in embed_dtype */
    psc_dtype embed_dtype;
    psc_rotary rotary;         /* of the first positions; a session has those that it needs */
    const float *unembed_mean; /* [N], the mean of W_U's rows: W_U^T 1 / V */
    psc_tokenizer *tokenizer;  /* nullable */
    char *tokenizer_reason;    /* why it is null */
};

/* The packed matrix; PSC_W_U ignores layer. Null when out of range. */
const psc_packed *psc_model_packed(const psc_model *model, psc_matrix matrix, int32_t layer);
/* Writes the embedding of token, widened, to row [N]. */
void psc_model_embed_row(
    const psc_model *model, const psc_kernels *kernels, int32_t token, float *row);
/* The beginning token that the caller asks for; PSC_ERROR_INPUT if there is none, or if only an id
 * outside the vocabulary is named. */
psc_status psc_model_ask_bos(int32_t *out, const psc_model *model, psc_error *error);

#endif
