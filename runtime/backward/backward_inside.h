/* Shared by the files of the backward pass: its buffers, the kept tensors, products.
 * Private to backward*.c and tests/.
 * Threads: the session's thread; the team runs parts of rows.
 * Ownership: psc_backward owns the buffers. */
#ifndef BACKWARD_INSIDE_H
#define BACKWARD_INSIDE_H

#include "backward.h"
#include "buffers.h"

/* Rows of a block of sums over rows, and of one tile of attention. */
#define PSC_BACKWARD_BLOCK PSC_K_BLOCK

/* What the forward pass keeps of a layer, as editors left it; rows without padding. */
typedef struct psc_kept_layer {
    float *pre;   /* [R, N] hook_resid_pre */
    float *mid;   /* [R, N] hook_resid_mid; null with the parallel residual */
    float *rot_q; /* [R, N] hook_rot_q; b->rot_q if it is recomputed */
    float *a;     /* [R, M] mlp.hook_pre; b->a likewise */
    /* What editors left; null: not edited, so the pass computes it again. */
    float *scale1, *scale2;  /* [R] ln1.hook_scale, ln2.hook_scale */
    float *scores, *pattern; /* [H, R, most_keys] */
} psc_kept_layer;

/* Rows of one sequence: first..first+rows-1 of the run. */
typedef struct psc_segment {
    int32_t first, rows;
} psc_segment;

struct psc_backward {
    psc_backward_parts with;
    size_t n, heads, d_head, m, v, n_layers;
    size_t ld_n, ld_m, ld_v; /* row strides: a multiple of a cache line, not of 4 KiB */
    size_t ld_split;         /* the larger one of ld_n and ld_m */

    float *memory; /* the block of the buffers below */
    size_t floats; /* its size */
    /* [R, ld_n] g: the gradient at the residual. y2: behind LN2, then before it. The others belong to
     * attention: dz, then before LN1; dq, dk and dv, then the shares of W_K and W_V before LN1. */
    float *g, *y2, *dz, *dq, *dk, *dv;
    float *da;             /* [R, ld_m] */
    float *scale, *dscale; /* [R] of one LayerNorm */
    float *zeros;          /* [N] */
    float *split;          /* [R, ld_split] rows that are pulled back, after split_lanes */
    float *scratch;        /* [threads, scratch_floats] */
    size_t scratch_floats;
    double *wide;       /* [threads, 2, V] of the metric */
    float *logits;      /* [n_logits, ld_v]: those of the metric's rows, then their gradient */
    float *rot_q, *a;   /* [R, N], [R, M] of the layer at hand, if they are recomputed */
    float *kept;        /* residuals that the forward pass keeps */
    float *kept_final;  /* [R, N] the last layer's hook_resid_post */
    float *final_scale; /* [R] ln_final.hook_scale as editors left it; null: not edited */
    psc_kept_layer *kept_layers;
    psc_grown inside; /* q and hook_pre that the forward pass keeps, or rot_q and a */
    psc_grown result, scores, edited, whole, edits;
    double *values; /* [value_room] of a metric's terms */
    size_t value_room;
    psc_segment *segments; /* [row_room] */
    int32_t *n_keys;       /* [row_room] position + 1 */
    size_t row_room;

    /* the current run */
    bool recompute; /* q and hook_pre are not kept, except where editors change them */
    const psc_row *rows;
    int32_t n_rows, n_segments, n_logits, most_keys, layer;
    const int32_t *logit_rows;
    const psc_destinations *copies;
    psc_error *error;
};

/* --- backward.c --- */

/* Whether a subscription or a destination selects the gradient at this point of the current layer. */
bool psc_backward_wants(const psc_backward *b, psc_point point);
/* Whether a subscription does, or what goes through edits; a copy alone needs no tensor of the whole
 * layer. */
bool psc_backward_watches(const psc_backward *b, psc_point point);
/* Whether a subscriber may change it, or what goes on from it. */
bool psc_backward_edits(const psc_backward *b, psc_point point);
/* Takes rows of a point to data [R, width] in the forward pass: all of them, or only the metric's, and
 * the others are 0. Returns the memory behind them, or null without memory. */
float *psc_backward_keep(psc_backward *b, psc_destinations *kept, psc_point point, int32_t layer,
    float *data, size_t width, bool all);
/* Shows a gradient of all rows, [R, width] with row stride ld or any view. What goes through edits of
 * the point is left in it. */
psc_status psc_backward_show(psc_backward *b, psc_point point, const psc_view *view);
psc_status psc_backward_show_rows(
    psc_backward *b, psc_point point, float *data, size_t width, size_t ld);
psc_status psc_backward_show_heads(psc_backward *b, psc_point point, float *data);
/* y [rows, k of w] = W^T u [rows, out of w], the columns k_begin..k_end-1 of it. */
void psc_backward_pull(psc_backward *b, const psc_packed *w, float *y, size_t ldy, const float *u,
    size_t ldu, size_t rows, size_t k_begin, size_t k_end);

/* The same for all rows and columns, of which only the metric's are not 0 in the last layer: W_out,
 * W_in, W_O and W_Q. */
void psc_backward_pull_live(
    psc_backward *b, const psc_packed *w, float *y, size_t ldy, const float *u, size_t ldu);

/* Whether only the metric's rows have a gradient at the last layer's outputs. */
bool psc_backward_is_sparse(const psc_backward *b);
/* From *slot on, the next rows of the metric that follow each other: first..first+n-1; 0 at the end. */
size_t psc_backward_stretch(const psc_backward *b, int32_t *slot, size_t *first);

/* The rows of the logits' gradient that are shown at a time. */
int32_t psc_backward_logit_rows(bool edited);

/* --- backward_memory.c --- */

/* Memory for the current run. */
psc_status psc_backward_reserve(psc_backward *b);
/* Places rot_q and a of layers that do not keep theirs (backward_edits.c). */
void psc_backward_place_recomputed(psc_backward *b);

/* --- backward_shown.c --- */

/* Frees what an earlier run's hooks needed of tensors of a whole layer, and this run's do not. */
void psc_backward_drop_shown(psc_backward *b);

/* --- backward_edits.c --- */

/* Memory and destinations for what editors of this run leave. */
psc_status psc_backward_keep_edits(psc_backward *b, psc_destinations *kept);

/* --- backward_recompute.c --- */

/* q and hook_pre of the layer, as the forward pass had them, in b->rot_q and b->a, unless they are
 * kept. */
void psc_backward_recompute(psc_backward *b);

/* --- backward_metric.c --- */

/* The terms' sum, and in b->logits its gradient. */
void psc_backward_metric(psc_backward *b, double *value, const psc_metric_part *terms, int32_t n);

/* --- backward_norm.c --- */

/* A LayerNorm and its x [R, N]; edited [R]: the scale that editors left, or null. */
typedef struct psc_backward_site {
    const psc_layer_norm *ln;
    const float *x, *edited;
    psc_point scale, normalized;
} psc_backward_site;

/* y [R, ld_n]: the gradient behind the LayerNorm, then before it. */
psc_status psc_backward_norm(psc_backward *b, float *y, const psc_backward_site *site);

/* --- backward_attention.c --- */

/* dz -> dq and dk after rotary, and dv; shows pattern and scores. */
psc_status psc_backward_attention(psc_backward *b);
/* Floats from a head to the next in scores or patterns of a whole layer, which n_keys keys have. */
size_t psc_backward_ld_keys(size_t n_keys);
/* Floats of a thread's scratch for rows with up to n_keys keys. */
size_t psc_backward_scratch(const psc_backward *b, size_t n_keys);

/* --- backward_layer.c --- */

/* g: the gradient at hook_resid_post, then at hook_resid_pre. */
psc_status psc_backward_layer(psc_backward *b);

#endif
