/* A checkpoint: every tensor of a GPT-NeoX model by its role, checked against the config, mapped.
 * Private to runtime/ and tests/.
 * Threads: an open checkpoint is immutable; any number of threads may read it.
 * Ownership: opened by **, closed by **; every data pointer lives until psc_checkpoint_close. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "config.h"
#include "kernels.h"
#include "psc_error.h"
#include "safetensors.h"

/* One tensor as it lies in the file: row-major [rows, cols], any alignment, little-endian.
 * A vector has cols = 1. data is null where the model has no such tensor (the attention biases
 * when config.attention_bias is false): it stands for zeros. */
typedef struct psc_weight {
    const void *data;
    psc_dtype dtype;
    size_t rows, cols;
    size_t order; /* among psc_checkpoint.tensors */
} psc_weight;

typedef struct psc_layer_weights {
    psc_weight ln1_gamma, ln1_beta;   /* [d_model]; input_layernorm */
    psc_weight ln2_gamma, ln2_beta;   /* [d_model]; post_attention_layernorm */
    psc_weight qkv, qkv_bias;         /* [3 d_model, d_model]: a head's q, k, v rows together */
    psc_weight dense, dense_bias;     /* [d_model, d_model]: W_O, columns by head */
    psc_weight mlp_in, mlp_in_bias;   /* [d_mlp, d_model]; dense_h_to_4h */
    psc_weight mlp_out, mlp_out_bias; /* [d_model, d_mlp]; dense_4h_to_h */
} psc_layer_weights;

/* A tensor that the model has, under the name that GPTNeoXForCausalLM gave it in transformers 4. */
typedef struct psc_checkpoint_tensor {
    char name[72];
    psc_weight *weight;
} psc_checkpoint_tensor;

typedef struct psc_checkpoint {
    psc_config config;         /* a copy of what it was opened with */
    psc_weight embed;          /* [d_vocab, d_model] */
    psc_weight unembed;        /* [d_vocab, d_model]; equal to embed when tied */
    psc_weight ln_final_gamma; /* [d_model] */
    psc_weight ln_final_beta;
    psc_layer_weights *layers;      /* [n_layers] */
    psc_checkpoint_tensor *tensors; /* [n_tensors], by name: the order of the identity */
    size_t n_tensors;
    size_t ignored; /* tensors in the files that the model does not use */
    size_t bytes;   /* bytes of the tensors that it uses */
    psc_tensors *files;
} psc_checkpoint;

/* Opens folder/model.safetensors, or the shards of folder/model.safetensors.index.json. Names with
 * and without the prefix "gpt_neox.", embed_out or lm_head. Tensors of layers that the config does
 * not have are refused, other unknown tensors are ignored and counted. Nothing is read but the
 * headers. A file that another program cuts short while it is mapped raises SIGBUS on access. */
psc_status psc_checkpoint_open(
    psc_checkpoint **out, const char *folder, const psc_config *config, psc_error *error);

/* Unmaps and frees; *checkpoint may be null and becomes null. */
void psc_checkpoint_close(psc_checkpoint **checkpoint);

/* The model's identity, computed while something else reads the tensors anyway: opened, given every
 * tensor of the checkpoint in its order, and closed, which gives the digits (hex nullable). */
typedef struct psc_identity psc_identity;
psc_status psc_identity_open(
    psc_identity **out, const psc_checkpoint *checkpoint, psc_error *error);
void psc_identity_add(psc_identity *identity, size_t tensor);
void psc_identity_close(char hex[33], psc_identity **identity);
/* The config's part of it as text; returns its length. size: at least 512. */
size_t psc_identity_config(char *text, size_t size, const psc_config *config);

/* The model's identity: XXH3-128 over the values of the config that decide the numbers and the
 * tensors in the order of their canonical names (name, dtype, shape, bytes), as 32 hex digits and
 * a final 0. The same however the model is sharded and under whichever names. Reads every byte. */
psc_status psc_checkpoint_hash(char hex[33], const psc_checkpoint *checkpoint, psc_error *error);

/* All rows * cols elements of weight as f32, exactly; zeros when data is null. out does not overlap
 * data. */
void psc_weight_to_f32(float *out, const psc_weight *weight);

#endif
