/* Variants of a run: the meaning of a change, and a batch of changed runs.
 * Private to variants_shared.c, variant_changes.c, variant_edges.c, variant_buffers.h
 * and gradients.h.
 * Threads: the session's thread.
 * Ownership: a batch borrows the variants; psc_variants (variant_buffers.h) owns the buffers. */
#ifndef VARIANTS_H
#define VARIANTS_H

#include "host.h"

/* One variant of a batch, as a sequence of its own. */
typedef struct psc_variant_slot {
    psc_variant variant;
    int32_t number;            /* index among the caller's variants */
    int32_t row_begin, n_rows; /* the run's rows that it computes: its sequence's from the first
                                  changed one on */
    int32_t position;          /* of the first */
    uint32_t points;           /* the points where changes apply, 1 << psc_point */
    bool by_layer;             /* the changes are in the order of the layers where they apply */
} psc_variant_slot;

/* The rows that a variant's changes reach, and its first layer. */
typedef struct psc_variant_span {
    int32_t sequence, row_begin, n_rows, first_layer;
} psc_variant_span;

/* The bytes of a psc_variant that every host of this ABI reads. */
#define PSC_VARIANT_BYTES (offsetof(psc_variant, changes) + sizeof(const psc_change *))

/* The caller's variant `index`: its structures may be shorter or longer than this host's. */
psc_variant psc_variant_at(const psc_variant *variants, int32_t index);

/* The run's rows of a sequence: returns the first's index and sets *n. */
int32_t psc_variant_rows(const psc_session *s, int32_t sequence, int32_t *n);

/* Sets *out; an invalid change is an error that names the variant. */
psc_status psc_variant_check(
    psc_context *context, int32_t number, const psc_variant *variant, psc_variant_span *out);

/* Sets the slot's variant, points and by_layer. */
void psc_variant_place(psc_variant_slot *slot, const psc_variant *variant, int32_t n_layers);

/* The variants that run together: an event row of sequence i belongs to slots[i]. */
typedef struct psc_variant_batch {
    psc_variant_slot *slots; /* [n_slots] */
    int32_t n_slots;         /* in use */
    int32_t n_rows;          /* of all slots */
    int32_t first_layer, n_layers;
    bool shares; /* the slots read the run's own keys and values before their rows */
    bool edges;  /* every slot has edges; else none has */
} psc_variant_batch;

/* How many of the slot's rows, from its first on, leave the batch's first layer changed: all of
 * them if a change there reaches later rows, through the keys and values or before. */
int32_t psc_variant_first_rows(const psc_variant_batch *batch, const psc_variant_slot *slot);

/* Whether the slots change their first layer at hook_z or behind it only, before its residual. */
bool psc_variant_begins_at_z(const psc_variant_batch *batch);

/* Empties the variants' registry of values, or that of gradients, and adds editors for every point
 * and layer that the batch changes, or fixes; batch is their payload. */
psc_status psc_variant_subscribe(psc_registry *registry, psc_context *context,
    const psc_variant_batch *batch, bool of_gradients, psc_error *error);

/* --- variant_edges.c ------------------------------------------------------------------------- */
/* What the passes of variants with edges need; zeroed: nothing yet. */
typedef struct psc_edge_buffers {
    float *memory, *inputs, *differences; /* memory: the block of all three, */
    uint8_t *sets;
    void *marks; /* and that of the others */
    const psc_edges **edges;
    int32_t *other_row, *own_row, *groups;
    bool *apart, *listed;
    uint8_t *reads;
    uint64_t memory_bytes, mark_bytes, bytes; /* bytes: of both, counted as retained */
} psc_edge_buffers;

/* Sets *out for a variant with edges; returns what is wrong with it, or null. */
const char *psc_variant_edges_check(
    const psc_session *s, const psc_variant *variant, psc_variant_span *out);
/* Rows of a chunk of variants with edges of all senders, if memory is there. */
int32_t psc_edge_rows_together(const psc_session *s);
/* Bytes of a chunk of n_rows rows of n_slots variants with edges of all senders; most_rows: of
 * their batch. Fewer senders need less. */
uint64_t psc_edge_bytes(const psc_session *s, int32_t most_rows, int32_t n_rows, int32_t n_slots);
/* Whether the cap leaves room for them, beside what is retained but for b. */
bool psc_edge_fits(const psc_edge_buffers *b, const psc_session *s, int32_t most_rows,
    int32_t n_rows, int32_t n_slots);
/* A pass over the batch, in chunks of at most *most rows, which is lowered where the cap leaves
 * less. A batch has at most most_rows, the same in every call. What it allocates counts as
 * retained, and b->bytes of it: the caller subtracts these after psc_edge_buffers_free. */
psc_status psc_edge_buffers_fill(psc_edge_buffers *b, psc_session *s,
    const psc_variant_batch *batch, int32_t most_rows, psc_edge_pass *out, int32_t *most,
    psc_error *error);
void psc_edge_buffers_free(psc_edge_buffers *b);

/* --- variant_buffers.c ----------------------------------------------------------------------- */
/* Bytes of the buffers of variants without edges that go through the pass one by one; 0 if none are
 * prepared, or if the buffers are there. */
double psc_variant_least_bytes(const psc_context *context);
/* The rows of the longest sequence of the run; *n_positions: the last position of the run and 1. */
int32_t psc_longest_sequence(const psc_session *s, int32_t *n_positions);
/* Frees the buffers, which the next call of host->variants opens again; false if there are none. */
bool psc_variant_release(psc_context *context);

/* --- host_variants.c ------------------------------------------------------------------------- */
/* Computes the variants begin..end-1 and shows each to fn; nonzero after a failure. */
int psc_variants_range(psc_context *context, int32_t begin, int32_t end,
    const psc_variant *variants, bool all_logits, psc_variant_fn fn, void *payload);
/* --- variants_shared.c ----------------------------------------------------------------------- */
/* The same for all n with the other processes of the session's share. */
int psc_variants_shared(psc_context *context, int32_t n, const psc_variant *variants,
    bool all_logits, psc_variant_fn fn, void *payload);

#endif
