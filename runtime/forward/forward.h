/* The forward pass: one chunk of rows through all layers, every point shown to the registry.
 * Private to runtime/.
 * Threads: psc_forward_chunk runs on the session's thread, inside its team's region.
 * Ownership: a psc_forward owns its buffers; everything else is borrowed. */
#ifndef FORWARD_H
#define FORWARD_H

#include "destinations.h"
#include "kv_cache.h"
#include "model.h"
#include "psc_edges.h"
#include "registry.h"
#include "team.h"

typedef struct psc_forward psc_forward;

/* Bytes of buffers per row of a chunk. */
size_t psc_forward_row_bytes(const psc_config *config);
/* Bytes of the buffers of a pass of chunks of up to chunk rows, whose cache has `capacity`
 * positions. */
double psc_forward_bytes(
    const psc_config *config, int32_t chunk, int32_t capacity, const psc_team *team);
/* Bytes beside those, for tensors that the pass completes only because a subscription selects them
 * in these rows: the MLP's pre-activations (or because a destination does: pre), the heads' writes,
 * scores and patterns. At most `most` rows are one chunk. What earlier passes needed stays
 * allocated. */
double psc_forward_show_bytes(
    const psc_forward *forward, const psc_row *rows, int32_t n_rows, int32_t most, bool pre);
/* Allocates buffers for chunks of up to chunk rows. rotary has a row for each position to come. */
psc_status psc_forward_open(psc_forward **out, const psc_model *model, const psc_rotary *rotary,
    const psc_kernels *kernels, psc_team *team, psc_registry *registry, psc_kv_cache *cache,
    int32_t chunk, psc_error *error);
void psc_forward_close(psc_forward **forward);
/* Zeroes the buffers and a cache with huge pages before the first run, all threads together, so that
 * the run does not wait for their pages. Small ones stay as they are. */
void psc_forward_touch(psc_forward *forward);
/* PSC_KERNEL_ROOM bytes for kernels on thread 0 of the team, which is the caller; null for a worker,
 * whose stack has the room, and without a forward pass. */
void *psc_forward_room(const psc_forward *forward, int thread);

/* Reads logits [n_rows, V] of rows in ascending order, during the call; on the session's thread,
 * inside its team's region. */
typedef void (*psc_logits_fn)(
    const psc_row *rows, int32_t n_rows, const psc_view *logits, void *payload);

/* Receives the logits of the rows that `wanted` marks. */
typedef struct psc_logits_sink {
    const bool *wanted; /* by psc_row.index from the chunk's first row's on; null: none */
    float *to;          /* [marked rows, V], in ascending order; null with `read` */
    psc_logits_fn read; /* null, or instead of `to`: reads some rows at a time from the pass's own
                           buffer. Also gets rows that are not marked but shown to a subscriber */
    void *payload;      /* of read */
    const int32_t
        *panels; /* [n_panels] the panels of 16 tokens that `to` needs, of which the others
                              stay as they are; null: all */
    int32_t n_panels;
} psc_logits_sink;

/* Keys and values that precede a pass's rows, in another cache, where many sequences of the pass
 * share them. Sequence s of the pass continues positions 0..lengths[s]-1 of sequence sequences[s]
 * of `cache`. The rows' own keys and values go into sequence 0 of `own`, a row's to its index in
 * the pass; `own` has room for all of them. A sequence's rows of the pass are its positions from
 * lengths[s] on, without gaps. Meant for few own rows per sequence: they cost more each than those
 * of one cache. Sequences in the order of (sequences[s], lengths[s]) share kernel calls. */
typedef struct psc_prefix {
    const psc_kv_cache *cache;
    psc_kv_cache *own;
    const int32_t *sequences, *lengths; /* [sequences of the pass] */
} psc_prefix;

/* A pass in which some receivers read senders of another run (psc_edges.h); no subscriber selects a
 * LayerNorm's points. Its rows may go through in several chunks, each with other_row and own_row of
 * its own. Differences are stored of the embedding and of those layers that a sum names, in whole
 * groups of PSC_SUBSET_TERMS senders: a sum's groups are the same as of all senders. Buffers and
 * marks belong to the caller. */
typedef struct psc_edge_pass {
    psc_edge_shape shape;
    const psc_edges *const *edges; /* [sequences of the pass] */
    const int32_t *other_row;      /* [n_rows] row of edges->other; -1: nothing is patched */
    const int32_t *own_row;        /* [n_rows] row of edges->own */
    const bool
        *apart; /* [L + 1] whether a receiver of the layer (at last: the logits) has a patch */
    const bool
        *listed; /* [1 + L] whether a sum has a term of the embedding, of the layer's senders */
    const int32_t *groups; /* [groups + 2] stored groups before each, and before the end twice */
    /* of each sequence, [receivers]: PSC_EDGE_OTHER and PSC_EDGE_SUM; and [receivers, ld_sets], which
     * stored senders' differences its sum takes, as psc_subsets has it */
    const uint8_t *reads, *sets;
    size_t ld_sets;
    size_t stored;      /* senders of the stored groups */
    size_t ld;          /* floats from one sender or receiver to the next: N and a cache line */
    float *differences; /* [rows of a chunk, stored, ld] the other run's writes minus this pass's */
    float *inputs;      /* [rows_together, 3H + 1, ld] what receivers of a layer read */
    int32_t rows_together;
} psc_edge_pass;

/* What a receiver reads: the pass's own residual or the other run's, with or without a sum. */
enum { PSC_EDGE_OTHER = 1, PSC_EDGE_SUM = 2 };

/* Sequence `to` has the first n keys and values of sequence `from`. */
typedef struct psc_kv_share {
    int32_t to, from, n;
} psc_kv_share;

/* The start of a pass and the sink of its logits. Zeroed: from the embedding, without a sink. */
typedef struct psc_pass {
    int32_t
        first_layer; /* 0..n_layers; the pass skips earlier layers and does not read their cache */
    const float *resid; /* [n_rows, N] contiguous: hook_resid_pre of first_layer (the input of the
                           final norm when first_layer is n_layers); null, only with first_layer 0:
                           the embedding */
    const float *z,
        *mlp; /* [n_rows, N] contiguous, with resid: hook_z and hook_mlp_out of first_layer,
                             whose steps before z are then left out; its keys and values are not stored.
                             Only of parallel layers before the last; null: all steps */
    psc_logits_sink sink;
    const psc_prefix *prefix;       /* null: sequences continue the pass's own cache */
    const psc_edge_pass *edges;     /* null: receivers read the residual */
    const psc_destinations *copies; /* null: none */
    int (*stop)(void *payload); /* nullable; called before each layer; nonzero ends the pass with
                                       PSC_ERROR_CANCELLED */
    void *payload;              /* of stop */
    bool ends_early;   /* only layers before end_layer, no final norm and no logits; keys and values
                          are not meant for another run. The pass skips layers after the last one
                          with a subscriber or a destination */
    int32_t end_layer; /* of a pass that ends early, 0..n_layers */
    const psc_kv_share *shares; /* [n_shares] copied in this order in each layer, once it has stored
                                   the rows' keys and values; `from` is complete up to n by then */
    int32_t n_shares;
} psc_pass;

/* rows: ordered by (sequence, position); each sequence's positions continue its cached ones, or those
 * that a share gives it. psc_row.index ascends, with gaps only without a prefix. Keys and values go into
 * the cache. A pass that begins at a later layer has the bits of a whole pass
 * with the same residual there and the same cache from there on. */
psc_status psc_forward_chunk(psc_forward *forward, const psc_row *rows, int32_t n_rows,
    const psc_pass *pass, psc_error *error);

#endif
