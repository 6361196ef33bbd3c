/* The registry: subscriptions to hook points, and the delivery of events to them.
 * Private to hooks/, runtime/, bench/ and tests/. Includes psc_hooks.h and psc_plugin.h.
 * Threads: the caller's thread only.
 * Ownership: the registry copies filters; it borrows payloads and names until they are removed. */
#ifndef REGISTRY_H
#define REGISTRY_H

#include <stdbool.h>

#include "psc_hooks.h"
#include "psc_plugin.h"

typedef struct psc_registry psc_registry;

/* What the host does around each call of a subscriber's callback. */
typedef struct psc_call_guard {
    void (*enter)(void *guarded);
    void (*leave)(void *guarded); /* may set the delivery's error */
} psc_call_guard;

/* The owner of a subscription. */
typedef struct psc_subscriber {
    const char *name;  /* for messages; null for a client without a plugin */
    const void *owner; /* for psc_registry_remove */
    bool transient;    /* psc_registry_end_run removes it */
    const bool *muted; /* nullable; while true, the subscription gets no events */
    bool passive;      /* it gets events that other subscriptions select; it selects none itself */
    const psc_call_guard *guard; /* nullable; called with guarded */
    void *guarded;
} psc_subscriber;

psc_status psc_registry_open(psc_registry **out, int32_t n_layers, int32_t n_heads,
    bool parallel_residual, psc_error *error);
void psc_registry_close(psc_registry **registry);
/* From now on an observer that writes to what it is shown, or an editor that writes to anything but
 * the tensor, is PSC_ERROR_PLUGIN. For looking for faults: it hashes each event twice. */
void psc_registry_check_writes(psc_registry *registry);

/* From now on its events are of gradients, and names end in "_grad". A session has one such registry
 * beside that of values. */
void psc_registry_set_gradients(psc_registry *registry);
/* Whether a filter (nullable) selects events of gradients. */
bool psc_filter_is_of_gradients(const psc_filter *filter);

/* The bytes of a psc_filter that every host of this ABI reads. */
#define PSC_FILTER_BYTES (offsetof(psc_filter, row_end) + sizeof(int32_t))

/* Checks point and filter against the model; PSC_ERROR_INPUT when one is wrong. */
psc_status psc_registry_add(psc_registry *registry, psc_point point, bool editor,
    const psc_filter *filter, psc_event_fn callback, void *payload,
    const psc_subscriber *subscriber, psc_error *error);
void psc_registry_remove(psc_registry *registry, const void *owner);
void psc_registry_end_run(psc_registry *registry);

/* True if any subscription exists. */
bool psc_registry_any(const psc_registry *registry);
/* True if a subscription selects this tensor for any of these rows; the forward pass's one branch.
 * Observers with edited_only do not count, nor does PSC_GRADIENT_THROUGH. layer is -1 for points without one. */
bool psc_registry_wants(const psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows);
/* The same for editors only, but those of PSC_GRADIENT_THROUGH. */
bool psc_registry_edits(const psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows);
/* The first of these rows that a subscription selects, or only one that an editor does, at whatever point
 * and layer; n_rows: none. Observers with edited_only do not count. */
int32_t psc_registry_first_row(
    const psc_registry *registry, const psc_row *rows, int32_t n_rows, bool only_edits);
/* True if any subscription selects a tensor of this layer, for whatever rows; with late, a tensor of
 * a late point (psc_point_is_late). */
bool psc_registry_wants_layer(const psc_registry *registry, int32_t layer, bool late);
/* The same for editors of PSC_GRADIENT_THROUGH only. */
bool psc_registry_goes_through(const psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows);
/* Fails with PSC_ERROR_STATE if a plugin observes, or edits last rows only: for runs that compute a row
 * once for all that share it, in whatever order. */
psc_status psc_registry_check_shared(const psc_registry *registry, psc_error *error);
/* True if any editor exists, but those of PSC_GRADIENT_THROUGH. */
bool psc_registry_any_editor(const psc_registry *registry);

/* Hands the tensor (first axis: rows, unit stride on the last) to the editors, which may change it
 * in place, then to the observers. A status that a callback sets in error ends the delivery,
 * whatever the callback returns. So does a nonzero return alone, with PSC_ERROR_PLUGIN. */
psc_status psc_registry_deliver(psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows, const psc_view *tensor, psc_error *error);

/* Hands a gradient that was delivered to the editors of PSC_GRADIENT_THROUGH, the last one first. */
psc_status psc_registry_go_through(psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows, const psc_view *tensor, psc_error *error);

/* True if the filter selects the row. */
bool psc_filter_has_row(const psc_filter *filter, const psc_row *row);

/* --- points (points.c) --- */
/* What follows a point's name in that of its gradient. */
#define PSC_GRADIENT_SUFFIX "_grad"
const char *psc_point_suffix(psc_point point); /* "attn.hook_z" */
const char *psc_point_shape(psc_point point);  /* "HD": the axes after the rows */
bool psc_point_has_layer(psc_point point);
bool psc_point_has_heads(psc_point point);
bool psc_point_has_keys(psc_point point);
/* The value past a row's own position on an axis of keys. */
float psc_point_beyond(psc_point point);
/* In the last layer, once keys and values are in the cache, the pass computes only requested rows.
 * True if the point comes after that, so that only these rows have it. */
bool psc_point_is_late(psc_point point);
/* The extent of an axis by its letter in a shape; n_keys is that of 'K'. */
int64_t psc_axis_extent(char letter, const psc_model_info *info, int64_t n_keys);

#endif
