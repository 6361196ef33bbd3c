/* The buffers of a run's variants.
 * Private to host_variants.c, variant_buffers.c and tests/.
 * Threads: the session's thread.
 * Ownership: psc_host_drop_variants frees all of it. */
#ifndef VARIANT_BUFFERS_H
#define VARIANT_BUFFERS_H

#include "variants.h"

enum {
    MOST_SLOTS = 64,
    ROWS_TOGETHER = 256, /* enough for the matmuls' full speed */
    MOST_PICKED = 256    /* panels of logits of a batch; with more all are computed */
};

/* What a sequence of the variants' cache holds. */
typedef struct psc_variant_held {
    int32_t copied;     /* positions of the run's keys and values, */
    int32_t from_layer; /* from this layer on */
    int32_t sequence;   /* of the run */
} psc_variant_held;

struct psc_variants {
    int retained;         /* hook_resid_pre of all layers and rows */
    int kept_z, kept_mlp; /* hook_z and hook_mlp_out of all layers but the last; -1: none */
    psc_kv_cache *cache;
    psc_variant_held held[MOST_SLOTS]; /* [n_slots] sequences of cache */
    int32_t n_slots, most_slots;       /* there are, and as many as calls can use */
    psc_kv_cache *own; /* one sequence: a batch of variants of few rows; null until needed */
    int32_t sequences[ROWS_TOGETHER], lengths[ROWS_TOGETHER]; /* of their prefixes */
    psc_registry *registry;
    psc_forward *forward;
    psc_variant_slot slots[ROWS_TOGETHER];
    int32_t most_rows, n_positions; /* of a batch; of its sequences */
    psc_row *rows;                  /* [most_rows] of the batch */
    float *resid;                   /* [most_rows, N] */
    float *z, *mlp;                 /* [most_rows, N] of the first layer, if kept */
    float *picked;                  /* the logits of a variant's token_ids, [picked_floats] */
    size_t picked_floats;
    int32_t panels[MOST_PICKED]; /* of the batch's token_ids */
    bool *wanted;                /* [most_rows] whose logits are delivered */
    float *logits;               /* [most_rows or ROWS_TOGETHER, V] */
    psc_row *shown;              /* [most_rows] the rows of one variant's event */
    psc_row *first;              /* [most_rows] the rows that the first layer changes, */
    float *changed;              /* [most_rows, N] and their residual */
    bool all_logits;
    psc_edge_buffers edges;
    uint64_t shown_bytes; /* of bytes, for what passes complete for editors */
    uint64_t bytes;       /* of all this but the edges, counted as retained */
};

/* What a call of host->variants asks for. */
typedef struct psc_variant_call {
    int32_t n, slots; /* variants, and how many of them can be sequences of one batch; at least 1 */
    bool edges;       /* some have edges */
} psc_variant_call;

/* Opens what the call needs, and counts it as retained; a failure beyond the cap. Leaves room for
 * logits (all_logits: of all rows) and edges, which are opened later: if buffers of an earlier call
 * leave none, or have fewer slots, they are opened again. */
psc_status psc_variant_buffers_open(
    psc_context *context, const psc_variant_call *call, bool all_logits, psc_error *error);
/* Room for the logits of the delivered rows: all rows, or one per variant. */
psc_status psc_variant_logits_open(psc_context *context, bool all, psc_error *error);
/* Opens the cache of variants of few rows; false without room. */
bool psc_variant_own_open(psc_context *context);
/* v->picked, of at least `floats`; null after setting the run's error. */
float *psc_variant_picked(psc_context *context, size_t floats);
/* Counts what the batch's editors make its pass complete; *most rows are a chunk of it, fewer where
 * the cap leaves less. */
psc_status psc_variant_shown_open(
    psc_context *context, const psc_variant_batch *batch, int32_t *most, psc_error *error);
/* psc_edge_buffers_fill, which may free what the run's gradient can compute again. */
psc_status psc_variant_edges_fill(psc_context *context, const psc_variant_batch *batch,
    psc_edge_pass *out, int32_t *most, psc_error *error);

#endif
