/* Sparse dictionaries: what a plugin learns of an SAE or a transcoder, and the latents of rows.
 * Public. psc_plugin.h includes it; psc_host's dictionary_open, _encode, _decode, _vectors and
 * _skip use it. Includes nothing of ours.
 * Threads: plain structures; the calls that take them say where they may be made.
 * Ownership: the host owns what pointers point to; each says how long that lives.
 *
 * SAEs and transcoders as their libraries publish them (docs/plugins/sae.md). Of a row x [d_in] of
 * the in point:
 *
 *   in_affine: x becomes gamma x + beta first, with the LayerNorm whose hook_normalized x is
 *   n = x normalized as cfg.json says, minus b_dec where it says so
 *   f = act(W_enc n + b_enc) [n_latents], most of them 0
 *   y = gain (sum_i f_i d_i + b_dec) + shift + W_skip x [d_out], d_i row i of W_dec
 *
 * gain and shift undo the row's normalization; without one they are 1 and 0. y stands for the row
 * of the out point (out_affine as above): x itself for an SAE, another tensor for a transcoder. */
#ifndef PSC_DICTIONARY_H
#define PSC_DICTIONARY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum psc_dictionary_kind {
    PSC_DICTIONARY_RELU = 0,     /* f = h where h > 0; h = W_enc n + b_enc */
    PSC_DICTIONARY_JUMPRELU = 1, /* f = h where h > 0 and h > threshold_i */
    PSC_DICTIONARY_TOPK = 2,     /* of the k largest h those > 0; ties to the lower id */
    PSC_DICTIONARY_ABSTOPK = 3,  /* the k largest |h|, with their signs */
    PSC_DICTIONARY_GATED = 4,    /* f = m where m > 0 and W_enc n + b_gate > 0;
                                    m = exp(r_mag) W_enc n + b_mag */
    PSC_DICTIONARY_GROUPMAX = 5  /* of each of k groups of neighbors the largest h, if > 0 */
} psc_dictionary_kind;

typedef struct psc_dictionary {
    uint32_t struct_size;
    int32_t kind;      /* psc_dictionary_kind */
    int32_t n_latents; /* F */
    int32_t k;         /* of TOPK, ABSTOPK and GROUPMAX; else 0 */
    int32_t d_in, d_out;
    int32_t in_point, in_layer, in_affine; /* psc_point; -1: no layer */
    int32_t out_point, out_layer, out_affine;
    int32_t is_transcoder; /* in and out are different tensors */
    int32_t normalizes;    /* n depends on the whole row x */
    int32_t is_normalized; /* and so do gain and shift; not of a transcoder */
    int32_t has_skip;
    const float *b_dec; /* [d_out] */
    /* [n_latents] an active f is w . n + b_latent, w its row of the encoder */
    const float *b_latent;
    /* Texts: of cfg.json, "" where it says nothing; in_name and out_name as in docs/hooks.md, and
     * "blocks.3.mlp.hook_in", "blocks.3.attn.hook_in" or "ln_final" with in_affine. */
    const char *architecture, *model_name, *in_name, *out_name;
} psc_dictionary;
#define PSC_DICTIONARY_INIT                                                                        \
    { sizeof(psc_dictionary), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* The latents of some rows that are not 0. Row r has the entries begin[r]..begin[r + 1]-1. */
typedef struct psc_latents {
    uint32_t struct_size;
    int32_t n_rows;
    int64_t first;        /* which of the rows given is row 0 */
    const int64_t *begin; /* [n_rows + 1] */
    const int32_t *ids;   /* ascending in each row */
    const float *values;
    const float *gain, *shift; /* [n_rows] */
} psc_latents;
#define PSC_LATENTS_INIT                                                                           \
    { sizeof(psc_latents), 0, 0, 0, 0, 0, 0, 0 }

/* Receives the latents of the next rows, in ascending order; valid during the call. Nonzero ends
 * host->dictionary_encode, which returns it. */
typedef int (*psc_latents_fn)(const psc_latents *latents, void *payload);

enum { PSC_DICTIONARY_ENCODER = 0, PSC_DICTIONARY_DECODER = 1 }; /* a side */

#ifdef __cplusplus
}
#endif
#endif
