/* Gradients for a plugin: of its run, and of variants of it.
 * Private to host_gradients.c, gradient_metrics.c, gradient_batches.c, variant_buffers.c,
 * host_memory.c and tests/.
 * Threads: the session's thread, inside the team's region.
 * Ownership: a psc_gradients owns its passes and buffers; requests borrow the plugin's arrays. */
#ifndef GRADIENTS_H
#define GRADIENTS_H

#include "backward.h"
#include "variants.h"

/* What a call of host->gradients asks for. */
typedef struct psc_gradient_request {
    const psc_variant *variants;
    const psc_metric *metrics; /* [n] */
    int32_t n, n_points;
    const int32_t *points;
    psc_gradient_fn fn;
    void *payload;
} psc_gradient_request;

/* One variant of a batch: its rows of the run, and of the batch from `first` on. */
typedef struct psc_gradient_slot {
    int32_t number, row_begin, n_rows, first;
    int32_t n_parts; /* of its metric, from first_part on */
    int32_t first_part;
} psc_gradient_slot;

/* The rows whose logits a metric reads, and its terms. */
typedef struct psc_metric_parts {
    psc_metric_part *list;
    size_t room;
    int32_t n;
    int32_t *rows; /* [n_rows] ascending: of the run, or of a batch */
    size_t row_room;
    int32_t n_rows;
} psc_metric_parts;

enum { PSC_GRADIENT_SLOTS = 64 };

struct psc_gradients {
    psc_registry *registry; /* the plugin's points */
    psc_metric_parts parts;
    const psc_gradient_request *request; /* in progress */
    psc_gradient_slot slots[PSC_GRADIENT_SLOTS];
    int32_t n_slots;
    bool failed;    /* fn returned nonzero */
    uint64_t bytes; /* counted as retained */

    /* the run itself; null if the plugin prepared no rows */
    psc_backward *own;
    int32_t *own_rows; /* [n_own] whose logits are kept */
    float *own_logits; /* [n_own, V], since a pass overwrites its own */
    bool saved;        /* they are there */
    int32_t n_own;
    uint64_t shown; /* of bytes, for what its passes show */

    /* variants with changes; null until needed */
    psc_registry *editors;
    psc_kv_cache *cache;
    psc_forward *forward;
    psc_backward *backward;
    psc_destinations kept;
    psc_variant_slot variants[PSC_GRADIENT_SLOTS];
    psc_row *rows; /* [most_rows] of a batch */
    bool *wanted;  /* [most_rows] all false: the passes read the logits */
    int32_t most_rows, n_sequences, n_keys;
    double around;    /* bytes of their cache, rows and forward pass */
    uint64_t counted; /* of bytes, for them */
};

/* --- gradient_metrics.c ---------------------------------------------------------------------- */
/* Checks metric `number`, of rows row_begin..row_begin+n_rows-1 of the run, and appends its terms
 * with the rows of the pass that they read. */
int psc_gradient_metric_add(psc_context *context, int32_t number, const psc_metric *metric,
    const psc_gradient_slot *slot, psc_metric_parts *parts);
/* Once all are added: their rows ascend, each once, and the terms have places among them. */
void psc_gradient_metric_place(psc_metric_parts *parts);
/* The metric of a request's entry. */
psc_metric psc_gradient_metric_at(const psc_gradient_request *request, int32_t number);
/* Gives the metric of a slot its value, from those of all terms. */
void psc_gradient_metric_value(const psc_gradient_request *request, const psc_gradient_slot *slot,
    const psc_metric_parts *parts, const double *values);

/* --- gradient_batches.c ---------------------------------------------------------------------- */
/* Computes variants with changes from *next on, as many as a pass takes, and advances *next. */
int psc_gradient_batch(psc_context *context, int32_t *next);
void psc_gradient_batches_free(psc_gradients *gradients);

/* --- host_gradients.c ------------------------------------------------------------------------ */
/* Counts the bytes of a backward pass as retained, *counted of which are; a failure beyond the
 * cap. */
psc_status psc_gradient_count(
    psc_context *context, uint64_t *counted, double bytes, int32_t n_rows, psc_error *error);
/* In run_end: frees what the run's own pass keeps and can compute again; false if there is
 * nothing. */
bool psc_gradient_forget(psc_context *context);
/* The same, and first the buffers of variants' gradients, outside a call of host->gradients. */
bool psc_gradient_release(psc_context *context);
/* Shows a point of a pass to the plugin, each variant its own rows. */
psc_status psc_gradient_subscribe(
    psc_context *context, psc_registry *registry, int32_t point, psc_error *error);
/* Shows the request's points of gradients, after editors that are in the registry already. */
psc_status psc_gradient_subscribe_points(psc_context *context, psc_error *error);
/* Goes back through a pass and shows the points to the plugin. */
int psc_gradient_back(psc_context *context, psc_backward *backward);

#endif
