/* What the files of the forward pass share: its buffers.
 * Private to runtime/forward*.c.
 * Threads: the session's thread; parts of rows by the team.
 * Ownership: psc_forward owns the buffers. */
#ifndef FORWARD_INSIDE_H
#define FORWARD_INSIDE_H

#include "forward.h"

/* Query rows that one attention task takes: scores of so many rows stay in the core's cache. */
#define PSC_ATTENTION_TILE 24

/* A buffer that exists once somebody has asked for its tensor. */
typedef struct psc_grown {
    float *data;
    size_t floats;
} psc_grown;

struct psc_forward {
    const psc_model *model;
    const psc_kernels *kernels;
    psc_team *team;
    psc_registry *registry;
    psc_kv_cache *cache;
    size_t n, heads, d_head, m; /* d_model, ..., d_mlp */
    size_t ld_n, ld_m;          /* row strides */

    float *x, *normalized, *y1, *y2, *q, *k, *v, *z, *attn, *mlp; /* [chunk, ld_n] */
    float *post;                                                  /* [chunk, ld_m] */
    float *mean, *scale;                                          /* [chunk] */
    int32_t *n_keys;                                              /* [chunk] position + 1 */
    float *scratch; /* [threads, scratch_floats] scores of one task */
    size_t scratch_floats;
    psc_grown pre, result, scores, logits;
    psc_row *logit_rows; /* [chunk] whose logits are computed */

    /* the chunk that runs */
    const psc_row *rows;
    int32_t n_rows, layer;
    psc_error *error;
};

/* Memory of at least so many floats, contents lost on growth; null after setting error. */
float *psc_forward_grow(psc_grown *grown, size_t floats, psc_error *error);
bool psc_forward_wants(const psc_forward *f, psc_point point);
psc_status psc_forward_show(psc_forward *f, psc_point point, const psc_view *view);
/* Shows [R, H, D] of row stride ld_n, when somebody wants it. */
psc_status psc_forward_show_heads(psc_forward *f, psc_point point, float *data);

/* q, k, v -> z, with rotary, the cache, scores and pattern (forward_attention.c). */
psc_status psc_forward_attention(psc_forward *f);

#endif
