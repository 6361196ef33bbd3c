/* Variants of a run: what a change means, and a batch of changed runs.
 * Private to host_variants.c and variant_changes.c.
 * Threads: the session's thread.
 * Ownership: a batch borrows the variants; psc_variants (host_variants.c) owns the buffers. */
#ifndef VARIANTS_H
#define VARIANTS_H

#include "host.h"

/* One variant of a batch: it has a sequence of its own in the variants' cache. */
typedef struct psc_variant_slot {
    const psc_variant *variant; /* null: free */
    int32_t number;             /* index among the caller's variants */
    int32_t row_begin, n_rows;  /* its rows among the run's; its sequence's rows from the first
                                   changed one on */
    int32_t copied;             /* positions of the run's keys and values that the slot holds, */
    int32_t from_layer;         /* from this layer on */
    int32_t sequence;           /* the run's, whose keys these are */
} psc_variant_slot;

/* Rows of a variant that its changes reach, and the layer to begin at; fails, naming the variant,
 * on anything that is not a change of this run. */
typedef struct psc_variant_span {
    int32_t sequence, row_begin, n_rows, first_layer;
} psc_variant_span;

psc_status psc_variant_check(
    psc_context *context, int32_t number, const psc_variant *variant, psc_variant_span *out);

/* The variants that run together: an event row of sequence i belongs to slots[i]. */
typedef struct psc_variant_batch {
    psc_variant_slot *slots; /* [n_slots] */
    int32_t n_slots;         /* in use */
    int32_t first_layer, n_layers;
} psc_variant_batch;

/* Editors for every point and layer that the batch changes, into a registry of the variants' own;
 * batch is their payload. */
psc_status psc_variant_subscribe(
    psc_registry *registry, psc_context *context, const psc_variant_batch *batch, psc_error *error);

#endif
