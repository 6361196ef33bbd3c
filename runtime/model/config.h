/* config.json of a GPT-NeoX folder: read, checked, with TransformerLens's names.
 * Private to runtime/ and tests/. Includes psc_error.h and psc_plugin.h only.
 * Threads: psc_config_read is reentrant; a config is plain data.
 * Ownership: the caller owns the struct, which holds no pointers. */
#ifndef CONFIG_H
#define CONFIG_H

#include "psc_error.h"
#include "psc_plugin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Caps far beyond every published GPT-NeoX model. No product of two or three of them overflows
 * size_t, and every token id and position fits an int32_t. */
#define PSC_MAX_LAYERS 1024
#define PSC_MAX_HEADS 4096
#define PSC_MAX_D_MODEL 65536
#define PSC_MAX_D_MLP 1048576
#define PSC_MAX_VOCAB 16777216
#define PSC_MAX_CONTEXT 16777216
#define PSC_MAX_EOS 8

/* How positions become angles, as transformers names it. Dynamic scaling begins past the context,
 * where this runtime ends, so within it the angles are the default's. */
typedef enum psc_rope_kind {
    PSC_ROPE_DEFAULT,
    PSC_ROPE_LINEAR,  /* every frequency divided by the factor */
    PSC_ROPE_DYNAMIC, /* the default's */
    PSC_ROPE_YARN     /* low frequencies divided, high ones kept, cos and sin scaled */
} psc_rope_kind;

typedef struct psc_rope {
    psc_rope_kind kind;
    char type[16];  /* as in the file; "default" if it names none */
    double factor;  /* > 0; 1 for the default */
    double context; /* original_max_position_embeddings; yarn only, like the following */
    double beta_fast, beta_slow;
    bool truncate; /* round the ramp's ends to whole dimensions */
    double scale;  /* of cos and sin: yarn's attention factor; otherwise 1 */
} psc_rope;

typedef struct psc_config {
    size_t n_layers, n_heads;
    size_t d_model, d_head, d_mlp; /* d_model = n_heads * d_head */
    size_t d_vocab;                /* vocab_size: rows of the embedding, padding included */
    size_t n_ctx;                  /* max_position_embeddings */
    float layer_norm_eps;          /* rounded once from the file's double; > 0 */
    double layer_norm_eps_written; /* as in the file, for people */
    size_t rotary_dims;            /* int(rotary_pct * d_head): even, may be 0 */
    double rotary_pct;             /* as in the file, 0 to 1 */
    double rotary_base;            /* > 0 */
    psc_rope rope;
    bool parallel_residual;       /* use_parallel_residual */
    bool tied;                    /* tie_word_embeddings */
    bool attention_bias;          /* false: query_key_value and dense have no bias */
    psc_gelu gelu;                /* the form of the MLP's activation */
    char activation[24];          /* its name in the file, "gelu" if it has none */
    char dtype[16];               /* dtype or torch_dtype, "" when absent; informative only */
    int32_t bos_id;               /* -1: none, or one outside the vocabulary */
    bool bos_given;               /* the file has bos_token_id */
    int64_t bos_outside;          /* an id outside the vocabulary that the file gives; -1: none */
    int32_t eos_ids[PSC_MAX_EOS]; /* n_eos of them, those in the vocabulary */
    size_t n_eos;
    int32_t end_ids[PSC_MAX_EOS]; /* [n_ends] where generation ends: generation_config.json's, */
    size_t n_ends;                /* or else those that config.json itself names */
} psc_config;

/* Reads folder/config.json, and the ends of folder/generation_config.json if it exists. Accepts the
 * keys of transformers 4 (rotary_pct, rotary_emb_base, torch_dtype) and 5 (rope_parameters,
 * rope_theta, partial_rotary_factor, dtype) with transformers's defaults. Refuses keys that
 * contradict each other, and settings that the runtime does not implement (some rope types, other
 * activations, other model types). */
psc_status psc_config_read(psc_config *out, const char *folder, psc_error *error);

#endif
