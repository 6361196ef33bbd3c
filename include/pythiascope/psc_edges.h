/* Edges between the components of a model: which one reads what another writes.
 * Public. psc_plugin.h includes it; a psc_variant may name edges. Includes nothing of ours.
 * Threads: pure functions and plain structures.
 * Ownership: everything is borrowed for the call that takes it.
 *
 * Senders write into the residual stream: embed, then per layer its heads and its MLP. Receivers
 * read it, each through its own LayerNorm: per layer the heads' q, their k, their v, then the MLP;
 * at last the logits. An edge is a sender and a receiver after it. Two runs of a model with equal
 * weights differ in what senders write and in nothing else, so biases (b_O, and b_out, which is the
 * MLP's) are on no edge: they cancel in a difference. With the parallel residual an MLP does not
 * read its own layer's heads.
 *
 *   senders     0: embed    1 + l(H+1) + h: head h of layer l    1 + l(H+1) + H: its MLP
 *   receivers   l(3H+1) + iH + h: head h's q, k or v (i = 0, 1, 2)    l(3H+1) + 3H: the MLP
 *               L(3H+1): the logits
 *   edges       receiver by receiver; of one, its senders ascending. It reads a prefix of them */
#ifndef PSC_EDGES_H
#define PSC_EDGES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The members of psc_model_info that the numbers depend on. */
typedef struct psc_edge_shape {
    int32_t n_layers, n_heads, parallel_residual;
} psc_edge_shape;

/* Senders before a layer; of layer n_layers: all. */
static inline int32_t psc_edge_senders(const psc_edge_shape *shape, int32_t layer) {
    return 1 + layer * (shape->n_heads + 1);
}

/* Receivers before a layer; the logits are receiver psc_edge_receivers(shape, n_layers). */
static inline int32_t psc_edge_receivers(const psc_edge_shape *shape, int32_t layer) {
    return layer * (3 * shape->n_heads + 1);
}

/* How many senders a receiver reads: 0 to this number - 1. */
static inline int32_t psc_edge_reads(const psc_edge_shape *shape, int32_t receiver) {
    const int32_t a_layer = 3 * shape->n_heads + 1, layer = receiver / a_layer;
    const int mid =
        !shape->parallel_residual && receiver % a_layer == a_layer - 1 && layer < shape->n_layers;
    return psc_edge_senders(shape, layer) + (mid ? shape->n_heads : 0);
}

/* A receiver's edge from sender 0; its others follow. */
static inline int64_t psc_edge_first(const psc_edge_shape *shape, int32_t receiver) {
    const int64_t a_layer = 3 * shape->n_heads + 1, layer = receiver / a_layer;
    const int64_t before = a_layer * (layer + (shape->n_heads + 1) * (layer * (layer - 1) / 2)) +
                           (shape->parallel_residual ? 0 : layer * shape->n_heads);
    return before + receiver % a_layer * psc_edge_senders(shape, (int32_t)layer);
}

/* All edges. */
static inline int64_t psc_edge_count(const psc_edge_shape *shape) {
    const int32_t logits = psc_edge_receivers(shape, shape->n_layers);
    return psc_edge_first(shape, logits) + psc_edge_reads(shape, logits);
}

/* What the components wrote in a run, and the sums that they wrote into. */
typedef struct psc_writes {
    uint32_t struct_size;
    int32_t n_rows;
    const float *embed;          /* [rows, N] hook_embed */
    const float *const *z;       /* [L] of [rows, H*D] attn.hook_z */
    const float *const *mlp_out; /* [L] of [rows, N] hook_mlp_out */
    /* [L + 1] of [rows, N] hook_resid_pre, at last the final hook_resid_post; [L] of [rows, N]
     * hook_resid_mid, null with a parallel residual */
    const float *const *resid_pre, *const *resid_mid;
} psc_writes;

/* A run in which some edges carry another run's values. With current values c_u of its senders and
 * values o_u of the other run a receiver reads, before its LayerNorm,
 *
 *   R_c + sum over patched u of (o_u - c_u)     if at most half of its edges are patched
 *   R_o - sum over the others of (o_u - c_u)    else
 *
 * R the residual there. So with no edge patched a run is its own, with all the other one, to the
 * bit. */
typedef struct psc_edges {
    uint32_t struct_size;
    int32_t sequence;        /* of the run */
    int32_t row_begin;       /* rows with an earlier position stay as they are */
    const uint8_t *patched;  /* [edges] nonzero: the receiver reads the other run's value */
    const psc_writes *other; /* the other run */
    /* [rows of the run from row_begin on] the row of `other` that is read; -1: nothing is patched
     * there. Null: the same psc_row.index */
    const int32_t *other_row;
    /* This run's, by psc_row.index: layers before the first patched receiver are then not computed
     * again. Null: they are */
    const psc_writes *own;
} psc_edges;

#ifdef __cplusplus
}
#endif
#endif
