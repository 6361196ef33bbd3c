/* A checkpoint: every tensor of a GPT-NeoX model by its role, mapped and checked against the
 * config.
 * Private to runtime/ and tests/.
 * Threads: an open checkpoint is immutable; any number of threads may read it.
 * Ownership: opens and closes by **; every data pointer lives until psc_checkpoint_close. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "config.h"
#include "kernels.h"
#include "psc_error.h"
#include "weight_files.h"

/* One tensor as in the file: row-major [rows, cols], any alignment, little-endian. A vector has
 * cols = 1. data is null when the model has no such tensor (the attention biases when
 * config.attention_bias is false); its values are then zeros. */
typedef struct psc_weight {
    const void *data;
    psc_dtype dtype;
    size_t rows, cols;
    size_t order; /* index in psc_checkpoint.tensors */
} psc_weight;

typedef struct psc_layer_weights {
    psc_weight ln1_gamma, ln1_beta;   /* [d_model]; input_layernorm */
    psc_weight ln2_gamma, ln2_beta;   /* [d_model]; post_attention_layernorm */
    psc_weight qkv, qkv_bias;         /* [3 d_model, d_model]: a head's q, k, v rows together */
    psc_weight dense, dense_bias;     /* [d_model, d_model]: W_O, columns by head */
    psc_weight mlp_in, mlp_in_bias;   /* [d_mlp, d_model]; dense_h_to_4h */
    psc_weight mlp_out, mlp_out_bias; /* [d_model, d_mlp]; dense_4h_to_h */
} psc_layer_weights;

/* A tensor of the model, under its name in GPTNeoXForCausalLM of transformers 4. */
typedef struct psc_checkpoint_tensor {
    char name[72];
    psc_weight *weight;
} psc_checkpoint_tensor;

typedef struct psc_checkpoint {
    psc_config config;         /* a copy of the config that it was opened with */
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

/* Opens the folder's files of weights (weight_files.h) and reads
 * their headers; of a tied model that has both, embed_in and embed_out are compared. Accepts names
 * with and without the prefix "gpt_neox.", embed_out or lm_head. Refuses tensors of layers that the
 * config does not have; ignores and counts other unknown tensors. If another program truncates a
 * mapped file, a later access raises SIGBUS. */
psc_status psc_checkpoint_open(
    psc_checkpoint **out, const char *folder, const psc_config *config, psc_error *error);

/* The same without any read of a weight: of a tied model, embed_in and
 * embed_out are not compared. */
psc_status psc_checkpoint_open_header(
    psc_checkpoint **out, const char *folder, const psc_config *config, psc_error *error);

/* Unmaps and frees; *checkpoint may be null and becomes null. */
void psc_checkpoint_close(psc_checkpoint **checkpoint);

/* The model's identity, computed along with another pass over the tensors: open it, add every
 * tensor of the checkpoint in order, and close it, which returns the digits (hex nullable). */
typedef struct psc_identity psc_identity;
psc_status psc_identity_open(
    psc_identity **out, const psc_checkpoint *checkpoint, psc_error *error);
/* Returns the index of the tensor's first element that is NaN or infinite, or SIZE_MAX. */
size_t psc_identity_add(psc_identity *identity, size_t tensor);
void psc_identity_close(char hex[33], psc_identity **identity);
/* The config's part of the identity as text; returns its length. size must be at least 512. */
size_t psc_identity_config(char *text, size_t size, const psc_config *config);

/* The model's identity: XXH3-128 over the config values that affect numbers, and over the tensors
 * in the order of their canonical names (name, dtype, shape, bytes); 32 hex digits and a 0. It does
 * not depend on sharding or on the names in the files. Reads every byte. */
psc_status psc_checkpoint_hash(char hex[33], const psc_checkpoint *checkpoint, psc_error *error);

/* Writes all rows * cols elements of weight as f32, exactly; zeros when data is null. out must not
 * overlap data. */
void psc_weight_to_f32(float *out, const psc_weight *weight);

#endif
