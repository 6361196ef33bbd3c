/* Where a run's tensors are copied: the caller's copies and the captures, by point and layer.
 * Private to runtime/.
 * Threads: built before a run; during it only read, by any thread.
 * Ownership: psc_destinations owns its lists; the memory that receives the floats is borrowed. */
#ifndef DESTINATIONS_H
#define DESTINATIONS_H

#include "registry.h"

/* Rows of one input that a destination takes: psc_row.index begin..end-1. */
typedef struct psc_destination_part {
    int32_t begin, end;
    int64_t n_keys; /* of scores and pattern: the input's length after the run */
    int64_t n_rows; /* of the whole array, of which the part may be some */
    float
        *data; /* [end - begin, axes of the point]; of scores and pattern the rows of each head, in
                    [H, n_rows, n_keys] */
} psc_destination_part;

/* One tensor. */
typedef struct psc_destination {
    psc_point point;
    int32_t layer;               /* -1 where there is none */
    int32_t first_part, n_parts; /* in psc_destinations.parts, ascending rows */
    int32_t next;                /* another one of the same point and layer; -1: none */
} psc_destination;

typedef struct psc_destinations {
    psc_destination *list;
    psc_destination_part *parts;
    int32_t *first; /* [n_layers, PSC_POINT_COUNT], points without a layer at layer 0; -1: none */
    int32_t n, n_parts, n_layers;
    size_t room, room_parts;
    bool gradients; /* of gradients: keys past a row's own have 0 in scores, too */
} psc_destinations;

/* Empties the lists; the first call allocates. */
psc_status psc_destinations_clear(
    psc_destinations *destinations, int32_t n_layers, psc_error *error);
void psc_destinations_free(psc_destinations *destinations);
/* A new destination with room for n_parts; the caller fills its parts. Null without memory. */
psc_destination *psc_destinations_add(
    psc_destinations *destinations, psc_point point, int32_t layer, int32_t n_parts);
/* True if a destination of this point takes one of the rows. destinations may be null. */
bool psc_destinations_want(const psc_destinations *destinations, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows);
/* The first row of begin..end-1 (psc_row.index) that a destination takes; end: none. destinations may be
 * null. */
int32_t psc_destinations_first_row(
    const psc_destinations *destinations, int32_t begin, int32_t end);
/* True if a destination of this layer exists; with late, one of a late point. */
bool psc_destinations_want_layer(const psc_destinations *destinations, int32_t layer, bool late);
/* Copies rows begin..end-1 of a tensor [n_rows, ...] to all destinations of its point. */
void psc_destinations_take(const psc_destinations *destinations, psc_point point, int32_t layer,
    const psc_row *rows, const psc_view *tensor, int64_t begin, int64_t end);

/* Copies one head of scores or pattern, [n_rows, keys] with row stride ld, of which a row has keys up
 * to its own position. */
void psc_destinations_take_head(const psc_destinations *destinations, psc_point point,
    int32_t layer, int32_t head, const psc_row *rows, int32_t n_rows, const float *data, size_t ld);

/* Where the rows [n_rows, width] of a tensor go if the point has one destination, which takes all of
 * them and keeps them together; else null. Not for scores and pattern. */
float *psc_destinations_place(const psc_destinations *destinations, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows, size_t width);

#endif
