/* The forward pass: one chunk of rows through all layers, every point shown to the registry.
 * Private to runtime/.
 * Threads: psc_forward_chunk runs on the session's thread, inside its team's region.
 * Ownership: a psc_forward owns its buffers; everything else is borrowed. */
#ifndef FORWARD_H
#define FORWARD_H

#include "kv_cache.h"
#include "model.h"
#include "registry.h"
#include "team.h"

typedef struct psc_forward psc_forward;

/* Bytes of buffers per row of a chunk. */
size_t psc_forward_row_bytes(const psc_config *config);
/* Allocates buffers for chunks of up to chunk rows. */
psc_status psc_forward_open(psc_forward **out, const psc_model *model, const psc_kernels *kernels,
    psc_team *team, psc_registry *registry, psc_kv_cache *cache, int32_t chunk, psc_error *error);
void psc_forward_close(psc_forward **forward);

/* Receives the logits of the rows that `wanted` marks, in ascending order. */
typedef struct psc_logits_sink {
    const bool *wanted; /* [n_rows] of the chunk; null: none */
    void (*take)(int32_t row_index, const float *logits, void *payload);
    void *payload;
} psc_logits_sink;

/* The start of a pass and the sink of its logits. Zeroed: from the embedding, without a sink. */
typedef struct psc_pass {
    int32_t
        first_layer; /* 0..n_layers; the pass skips earlier layers and does not read their cache */
    const float *resid; /* [n_rows, N] contiguous: hook_resid_pre of first_layer (the input of the
                           final norm when first_layer is n_layers); null, only with first_layer 0:
                           the embedding */
    psc_logits_sink sink;
} psc_pass;

/* rows: ordered by (sequence, position); each sequence's positions continue its cached ones. Keys
 * and values go into the cache. A pass that begins at a later layer has the bits of a whole pass
 * with the same residual there and the same cache from there on. */
psc_status psc_forward_chunk(psc_forward *forward, const psc_row *rows, int32_t n_rows,
    const psc_pass *pass, psc_error *error);

#endif
